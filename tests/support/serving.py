"""Servers that run beside a test, in a thread with an event loop of its own."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import uvicorn
from aiohttp import web
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from agentid.workload import aiohttp as on_aiohttp
from agentid.workload.uvicorn import peer_of, secure
from tests.support.api import until
from tests.support.probing import ports

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.requests import Request

    from agentid.workload import Peers, Workload

__all__ = ["by_aiohttp", "by_uvicorn"]


async def _answer(request: Request) -> JSONResponse:
    """Who calls, and what was sent."""
    return JSONResponse({"peer": str(peer_of(request.scope)), "sent": len(await request.body())})


@contextmanager
def by_uvicorn(workload: Workload, peers: Peers, *, http: str = "auto") -> Iterator[int]:
    """An ASGI application that tells callers who they are; the port."""
    (port,) = ports(1)
    app = Starlette(routes=[Route("/", _answer, methods=["GET", "POST"])])
    config = uvicorn.Config(
        app, host="127.0.0.1", port=port, http=http, log_config=None, timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(secure(config, workload, peers))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        until("the server", lambda: server.started)
        yield port
    finally:
        server.should_exit = True
        thread.join()


@contextmanager
def by_aiohttp(workload: Workload, peers: Peers) -> Iterator[int]:
    """The same by aiohttp; the port."""
    (port,) = ports(1)
    loop = asyncio.new_event_loop()

    async def answer(request: web.Request) -> web.Response:
        body = await request.read()
        return web.json_response({"peer": str(on_aiohttp.peer_of(request)), "sent": len(body)})

    async def start() -> web.AppRunner:
        app = web.Application()
        app.add_routes([web.get("/", answer), web.post("/", answer)])
        runner = web.AppRunner(app)
        await runner.setup()
        context = workload.server_context(peers)
        await web.TCPSite(runner, "127.0.0.1", port, ssl_context=context).start()
        return runner

    runner = loop.run_until_complete(start())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield port
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
