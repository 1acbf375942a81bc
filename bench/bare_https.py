"""A server of HTTP that looks at nothing: what connections, clients and the machine take."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["constant"]

_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
_BLANK: Final = b"\r\n\r\n"


def constant(body: bytes) -> Callable[[], asyncio.Protocol]:
    """Return what answers each request with this body, for a server of the event loop's.

    Requests come one after the other on a connection, each with its Content-Length.
    """
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    return lambda: _Constant(head + body)


class _Constant(asyncio.Protocol):
    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self._buffer = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(_BLANK)
        if end < 0:
            return
        length = _LENGTH.search(self._buffer, 0, end + len(_BLANK))
        if length is not None and len(self._buffer) >= end + len(_BLANK) + int(length[1]):
            self._buffer.clear()
            self._transport.write(self._answer)
