"""Taking ports."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Final

from agentid.errors import InputError

if TYPE_CHECKING:
    import ssl
    from contextlib import ExitStack

    from agentid.serving.bounded import BoundedServer

__all__ = ["listen"]

_HANDSHAKE: Final = 10.0
"""Seconds for a TLS handshake."""

_BACKLOG: Final = 1024


async def listen(
    opened: ExitStack,
    server: BoundedServer,
    host: str,
    port: int,
    context: ssl.SSLContext | None = None,
) -> int:
    """Take a port and serve on it until the stack is closed; open connections are the server's.

    Args:
        opened: What closes the port.
        server: Is given each connection.
        host: Address to listen on; an IPv6 one takes IPv4 as well where the system can.
        port: Port to listen on; 0 takes a free one.
        context: Of TLS; None for plain HTTP.

    Returns:
        The port that was taken.

    Raises:
        InputError: It cannot be taken.
    """
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
