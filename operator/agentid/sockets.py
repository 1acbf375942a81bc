"""Sockets of outgoing connections that close what is theirs, and nothing else.

Where a server resets a connection before the first octet of TLS is written, uvloop 0.23 closes its
descriptor, and takes hold of the Python socket only then (`Loop.create_connection`, which attaches
`sock` to a transport that is closed already). That socket still has the number, and closes it once
more when it is collected: by then it may be somebody else's connection or file.
"""

from __future__ import annotations

import contextlib
import os
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiohttp import AddrInfoType

__all__ = ["make_socket"]


class _OwnSocket(socket.socket):
    def __init__(self, family: int, kind: int, protocol: int) -> None:
        super().__init__(family, kind, protocol)
        self._inode = os.fstat(self.fileno()).st_ino

    def __del__(self) -> None:
        descriptor = self.detach()
        with contextlib.suppress(OSError):  # nobody has it
            if descriptor >= 0 and os.fstat(descriptor).st_ino == self._inode:
                os.close(descriptor)


def make_socket(address: AddrInfoType) -> socket.socket:
    """Make the socket of a connection, as aiohttp's `socket_factory` is asked for it.

    Args:
        address: An entry of what `socket.getaddrinfo` returns.
    """
    family, kind, protocol, _, _ = address
    return _OwnSocket(family, kind, protocol)
