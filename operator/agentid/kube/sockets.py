"""Sockets of a client, so that none is open any more when it is closed.

A connection that is given up, such as that of a watch that is left, takes its leave by TLS, and
waits for the server to do so as well: seconds, or half a minute with one that is gone. Nobody waits
for that when a client is closed, and its event loop may be over by then.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING, Final
from weakref import WeakSet

from agentid.sockets import make_socket

if TYPE_CHECKING:
    from aiohttp import AddrInfoType

__all__ = ["Sockets"]

_TURNS: Final = 100
"""Of the event loop at most, for transports to see that their sockets have ended: a few will do."""


class Sockets:
    """Those that were made, as long as they are open."""

    def __init__(self) -> None:
        """None yet."""
        self._made: WeakSet[socket.socket] = WeakSet()

    def make(self, address: AddrInfoType) -> socket.socket:
        """Make the socket of a connection, as aiohttp asks for it."""
        made = make_socket(address)
        self._made.add(made)
        return made

    async def end(self) -> None:
        """End all that are still open, and return once their transports have closed them."""
        for each in self._made:
            with contextlib.suppress(OSError):  # closed, or never connected
                each.shutdown(socket.SHUT_RDWR)
        for _ in range(_TURNS):
            if all(each.fileno() < 0 for each in self._made):
                return
            await asyncio.sleep(0)
