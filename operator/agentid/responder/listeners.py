"""The two ports. HTTP is there from the start, HTTPS as soon as it has a certificate."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import structlog

from agentid.errors import InputError
from agentid.responder.limits import BoundedServer
from agentid.responder.tls import FILES

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator

    from agentid.responder.responder import Responder
    from agentid.responder.settings import TlsFiles

__all__ = ["Ports", "serve_ports", "watch_files"]

_log = structlog.stdlib.get_logger(__name__)

_HANDSHAKE: Final = 10.0
"""Seconds for a TLS handshake."""

_BACKLOG: Final = 1024

_LOOK_AT_FILES: Final = 5.0
"""Seconds between two looks at certificate files; the kubelet takes up to a minute to exchange
mounted ones."""


@dataclass(frozen=True, slots=True)
class Ports:
    """Where is served.

    Attributes:
        http: The port of HTTP.
        https: The port of HTTPS, once there is one.
    """

    http: int
    https: asyncio.Future[int]


@asynccontextmanager
async def serve_ports(responder: Responder) -> AsyncIterator[Ports]:
    """Serve while the context is open; at its end feeds end, and requests in work are answered."""
    settings = responder.settings
    loop = asyncio.get_running_loop()
    https: asyncio.Future[int] = loop.create_future()
    refused = responder.metrics.refused

    def count(limit: str) -> None:
        refused.labels(limit).inc()

    plain = BoundedServer(responder.plain_guard, settings.limits, count)
    secure = BoundedServer(responder.secure_guard, settings.limits, count)
    responder.connections = lambda: {
        "http": plain.open_connections,
        "https": secure.open_connections,
    }
    servers: list[asyncio.AbstractServer] = []

    async def listen(server: BoundedServer, port: int, context: ssl.SSLContext | None) -> int:
        listening = await loop.create_server(
            server,
            settings.host,
            port,
            ssl=context,
            ssl_handshake_timeout=None if context is None else _HANDSHAKE,
            backlog=_BACKLOG,
            reuse_address=True,
        )
        servers.append(listening)
        taken: int = listening.sockets[0].getsockname()[1]
        return taken

    async def listen_secure() -> None:
        tls = responder.publications.tls
        await tls.ready.wait()
        port = await listen(secure, settings.https_port, tls.context)
        _log.info("https_serving", port=port)
        https.set_result(port)

    http = await listen(plain, settings.http_port, None)
    _log.info("http_serving", port=http)
    tasks = [
        asyncio.create_task(listen_secure(), name="https"),
        asyncio.create_task(plain.watch(), name="http-watch"),
        asyncio.create_task(secure.watch(), name="https-watch"),
    ]
    try:
        yield Ports(http, https)
    finally:
        for listening in servers:
            listening.close()
        responder.stop_feeds()
        drain = settings.periods.drain.total_seconds()
        for server in (plain, secure):
            server.pre_shutdown()
        await asyncio.gather(plain.shutdown(drain), secure.shutdown(drain))
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        https.cancel()


async def watch_files(responder: Responder, files: TlsFiles) -> None:
    """Serve HTTPS with these files, and with what they become; without end.

    Raises:
        InputError: At the start they cannot be used. Later that is logged, and what was served
            before still is.
    """
    _load(responder, files)
    while True:
        await responder.clock.sleep(_LOOK_AT_FILES)
        try:
            _load(responder, files)
        except InputError as error:
            responder.metrics.publications_refused.labels("tls").inc()
            _log.warning("tls_files_refused", error=str(error))


def _load(responder: Responder, files: TlsFiles) -> None:
    try:
        chain, key = files.certificate.read_bytes(), files.key.read_bytes()
    except OSError as error:
        msg = f"{error.filename}: cannot be read ({error.strerror}); give a readable PEM file"
        raise InputError(msg) from error
    responder.publications.tls.publish(FILES, chain, key)
