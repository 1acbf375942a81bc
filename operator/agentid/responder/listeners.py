"""The ports. HTTP is there from the start, HTTPS as soon as it has a certificate."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

import structlog

from agentid.errors import InputError
from agentid.responder.settings import MAX_PATH
from agentid.responder.tls import FILES
from agentid.serving.bounded import BoundedServer
from agentid.serving.listening import listen

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from aiohttp import web

    from agentid.responder.inventory import Inventory
    from agentid.responder.responder import Responder
    from agentid.responder.settings import TlsFiles

__all__ = ["Ports", "serve_ports", "watch_files"]

_log = structlog.stdlib.get_logger(__name__)

Handler: TypeAlias = "Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]"

_LOOK_AT_FILES: Final = 5.0
"""Seconds between two looks at certificate files; the kubelet takes up to a minute to exchange
mounted ones."""


@dataclass(frozen=True, slots=True)
class Ports:
    """Where is served.

    Attributes:
        http: The port of HTTP.
        https: The port of HTTPS, once it is served.
        inventory: Likewise that of the page for people; None if there is none.
    """

    http: int
    https: asyncio.Future[int]
    inventory: asyncio.Future[int] | None = None

    @property
    def later(self) -> tuple[asyncio.Future[int], ...]:
        """Those that wait for a certificate."""
        return (self.https,) if self.inventory is None else (self.https, self.inventory)

    def check(self) -> None:
        """Tell of a port that could not be taken.

        Raises:
            InputError: There is one.
        """
        for port in self.later:
            if port.done():
                port.result()


@asynccontextmanager
async def serve_ports(
    responder: Responder, inventory: Inventory | None = None
) -> AsyncIterator[Ports]:
    """Serve while the context is open; at its end feeds end, and requests in work are answered.

    Args:
        responder: What answers verifiers.
        inventory: The page for people, if there is to be one.

    Raises:
        InputError: The port of HTTP cannot be taken. If it is another one, `Ports.check` raises.
    """
    settings, refused = responder.settings, responder.metrics.refused
    handlers: dict[str, Handler] = {"http": responder.plain_guard, "https": responder.secure_guard}
    if inventory is not None:
        handlers["inventory"] = inventory.handler
    servers = {
        name: BoundedServer(
            handler,
            settings.limits,
            lambda limit: refused.labels(limit).inc(),
            max_path=MAX_PATH,
        )
        for name, handler in handlers.items()
    }
    responder.connections = lambda: {
        name: server.open_connections for name, server in servers.items()
    }
    opened = ExitStack()
    with opened:
        http = await listen(opened, servers["http"], settings.host, settings.http_port)
        _log.info("http_serving", port=http)

        def secure(name: str, port: int) -> asyncio.Future[int]:
            return asyncio.ensure_future(
                _listen_secure(opened, servers[name], responder, port, f"{name}_serving")
            )

        ports = Ports(
            http,
            secure("https", settings.https_port),
            None if inventory is None else secure("inventory", inventory.port),
        )
        watching = [asyncio.create_task(server.watch()) for server in servers.values()]
        try:
            yield ports
        finally:
            for port in ports.later:
                port.cancel()
            await asyncio.gather(*ports.later, return_exceptions=True)
            opened.close()
            responder.stop_feeds()
            drain = settings.periods.drain.total_seconds()
            for server in servers.values():
                server.pre_shutdown()
            await asyncio.gather(*(server.shutdown(drain) for server in servers.values()))
            for task in watching:
                task.cancel()
            await asyncio.gather(*watching, return_exceptions=True)


async def _listen_secure(
    opened: ExitStack, server: BoundedServer, responder: Responder, port: int, event: str
) -> int:
    tls, settings = responder.publications.tls, responder.settings
    await tls.ready.wait()
    number = await listen(opened, server, settings.host, port, tls.context)
    _log.info(event, port=number)
    return number


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
