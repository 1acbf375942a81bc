"""The two ports. HTTP is there from the start, HTTPS as soon as it has a certificate."""

from __future__ import annotations

import asyncio
import socket
from contextlib import ExitStack, asynccontextmanager
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
        https: The port of HTTPS, once it is served.
    """

    http: int
    https: asyncio.Future[int]


@asynccontextmanager
async def serve_ports(responder: Responder) -> AsyncIterator[Ports]:
    """Serve while the context is open; at its end feeds end, and requests in work are answered.

    Raises:
        InputError: The port of HTTP cannot be taken. If it is that of HTTPS, `Ports.https` raises.
    """
    settings, refused = responder.settings, responder.metrics.refused
    plain, secure = (
        BoundedServer(guard, settings.limits, lambda limit: refused.labels(limit).inc())
        for guard in (responder.plain_guard, responder.secure_guard)
    )
    responder.connections = lambda: {
        "http": plain.open_connections,
        "https": secure.open_connections,
    }
    opened = ExitStack()
    with opened:
        http = await _listen(opened, plain, settings.host, settings.http_port)
        _log.info("http_serving", port=http)
        https = asyncio.ensure_future(_listen_secure(opened, secure, responder))
        watching = [asyncio.create_task(server.watch()) for server in (plain, secure)]
        try:
            yield Ports(http, https)
        finally:
            https.cancel()
            await asyncio.gather(https, return_exceptions=True)
            opened.close()
            responder.stop_feeds()
            drain = settings.periods.drain.total_seconds()
            for server in (plain, secure):
                server.pre_shutdown()
            await asyncio.gather(plain.shutdown(drain), secure.shutdown(drain))
            for task in watching:
                task.cancel()
            await asyncio.gather(*watching, return_exceptions=True)


async def _listen_secure(opened: ExitStack, server: BoundedServer, responder: Responder) -> int:
    tls, settings = responder.publications.tls, responder.settings
    await tls.ready.wait()
    port = await _listen(opened, server, settings.host, settings.https_port, tls.context)
    _log.info("https_serving", port=port)
    return port


async def _listen(
    opened: ExitStack,
    server: BoundedServer,
    host: str,
    port: int,
    context: ssl.SSLContext | None = None,
) -> int:
    """Take a port and serve on it until the stack is closed."""
    six = ":" in host
    try:
        taken = socket.create_server(
            (host, port),
            family=socket.AF_INET6 if six else socket.AF_INET,
            backlog=_BACKLOG,
            dualstack_ipv6=six and socket.has_dualstack_ipv6(),
        )
    except OSError as error:
        msg = f"port {port} of {host} cannot be taken ({error.strerror}); choose another one"
        raise InputError(msg) from error
    opened.enter_context(taken)
    listening = await asyncio.get_running_loop().create_server(
        server,
        sock=taken,
        ssl=context,
        ssl_handshake_timeout=None if context is None else _HANDSHAKE,
        backlog=_BACKLOG,
    )
    number: int = taken.getsockname()[1]
    opened.callback(listening.close)
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
