"""Servers of HTTP whose connections are counted, and whose clients' patience is bounded."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
from typing import TYPE_CHECKING, Final, Protocol

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["BoundedServer", "ConnectionLimits", "client_of"]

_MAX_HEADERS: Final = 64
_MAX_FIELD: Final = 4096
"""A header of an OCSP client has less than 100 characters; proxies add the longest ones."""

_LINGER: Final = 2.0
"""Seconds that the rest of a refused request's body is read for, so that the client sees the
answer before the connection ends (RFC 9112 §9.6)."""


class ConnectionLimits(Protocol):
    """What connections may take."""

    @property
    def connections(self) -> int:
        """How many at a time."""

    @property
    def client_connections(self) -> int:
        """Of these from one address."""

    @property
    def idle_seconds(self) -> float:
        """For the head of a request, and between two requests."""

    @property
    def write_seconds(self) -> float:
        """How long a client may take no octet of what waits for it."""


def client_of(address: object) -> str:
    """Who is counted as one: an IPv4 address, or the /64 of an IPv6 address.

    Args:
        address: What the socket calls its peer: a tuple that begins with the address.
    """
    host = str(address[0]) if isinstance(address, tuple) and address else ""
    if ":" not in host:
        return host
    with contextlib.suppress(ValueError):
        parsed = ipaddress.IPv6Address(host.partition("%")[0])
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.IPv6Network((parsed.packed[:8] + bytes(8), 64)))
    return host


class BoundedServer(web.Server):
    """A server of HTTP with bounded connections, each with bounded patience.

    A connection has `idle_seconds` for the head of a request, the time-out of aiohttp's that also
    ends idle ones. `watch` has to run beside it.
    """

    def __init__(
        self,
        handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
        limits: ConnectionLimits,
        on_refused: Callable[[str], None],
        *,
        max_path: int,
    ) -> None:
        """Serve nothing yet; a server of the event loop's calls it for each connection.

        Args:
            handler: Answers requests.
            limits: What is allowed.
            on_refused: Told why a connection was refused or cut: `connections`, or `slow`.
            max_path: Characters of a path with its query.
        """
        super().__init__(
            handler,
            handler_cancellation=True,  # work for a client who has gone makes room at once
            access_log=None,
            keepalive_timeout=limits.idle_seconds,
            lingering_time=_LINGER,
            max_line_size=max_path + len("DELETE  HTTP/1.1"),
            max_headers=_MAX_HEADERS,
            max_field_size=_MAX_FIELD,
            auto_decompress=False,
        )
        self._limits = limits
        self._on_refused = on_refused
        self._count: dict[str, int] = {}
        self._clients: dict[web.RequestHandler, str] = {}
        self._stalled: dict[web.RequestHandler, tuple[int, float]] = {}

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        """Take a connection on, or refuse it."""
        super().connection_made(handler, transport)
        client = client_of(transport.get_extra_info("peername"))
        self._clients[handler] = client
        self._count[client] = self._count.get(client, 0) + 1
        if (
            len(self._clients) > self._limits.connections
            or self._count[client] > self._limits.client_connections
        ):
            self._on_refused("connections")
            transport.abort()

    def connection_lost(
        self, handler: web.RequestHandler, exc: BaseException | None = None
    ) -> None:
        """Forget a connection."""
        super().connection_lost(handler, exc)
        self._stalled.pop(handler, None)
        client = self._clients.pop(handler, None)
        if client is None:
            return
        self._count[client] -= 1
        if not self._count[client]:
            del self._count[client]

    @property
    def open_connections(self) -> int:
        """How many there are."""
        return len(self._clients)

    async def watch(self) -> None:
        """Cut connections whose clients take nothing of what waits for them; without end."""
        period = self._limits.write_seconds / 4
        while True:
            await asyncio.sleep(period)
            now = asyncio.get_running_loop().time()
            for handler in tuple(self._clients):
                self._look(handler, now)

    def _look(self, handler: web.RequestHandler, now: float) -> None:
        transport = handler.transport
        waiting = 0 if transport is None else transport.get_write_buffer_size()
        if not waiting or transport is None:
            self._stalled.pop(handler, None)
            return
        before, since = self._stalled.get(handler, (waiting + 1, now))
        if waiting != before:
            self._stalled[handler] = (waiting, now)
        elif now - since >= self._limits.write_seconds:
            self._on_refused("slow")
            transport.abort()
