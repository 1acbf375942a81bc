"""One connection between two contexts, by each way in which Python speaks TLS."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

import uvloop

from agentid.workload import PeerRefusedError, peer_of

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

__all__ = ["WAYS", "Talk"]

TIMEOUT: Final = 10.0


@dataclass(slots=True)
class Talk:
    """What came of a connection.

    Attributes:
        said: What the client heard in answer, empty if nothing.
        at_server: Whom the server saw, or why it refused; a side that is not of ours sees nobody.
        at_client: Likewise.
    """

    said: bytes = b""
    at_server: str = ""
    at_client: str = ""


def _seen(connection: object) -> str:
    try:
        return str(peer_of(connection))
    except PeerRefusedError:
        return "unverified"


def by_sockets(server: ssl.SSLContext, client: ssl.SSLContext) -> Talk:
    """Blocking sockets, a thread for each side."""
    talk = Talk()

    def serve(listener: socket.socket) -> None:
        plain, _ = listener.accept()
        plain.settimeout(TIMEOUT)
        try:
            with server.wrap_socket(plain, server_side=True) as connection:
                talk.at_server = _seen(connection)
                connection.sendall(connection.recv(16).upper())
        except OSError as error:
            talk.at_server = str(error)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        plain = socket.create_connection(listener.getsockname(), TIMEOUT)
        try:
            with client.wrap_socket(plain, server_hostname="any.host") as connection:
                talk.at_client = _seen(connection)
                connection.sendall(b"hello")
                talk.said = connection.recv(16)
        except OSError as error:
            talk.at_client = talk.at_client or str(error)
        thread.join()
    return talk


async def _talk(server: ssl.SSLContext, client: ssl.SSLContext) -> Talk:
    talk = Talk()
    ended = asyncio.Event()

    class Serving(asyncio.Protocol):
        """What is behind the handshake, and must not hear of one that failed."""

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            """Remember who it is."""
            talk.at_server = _seen(transport)
            self.transport = cast("asyncio.Transport", transport)

        def data_received(self, data: bytes) -> None:
            """Answer."""
            self.transport.write(data.upper())
            self.transport.close()

        def connection_lost(self, error: Exception | None) -> None:
            """Let the client's side end."""
            del error
            ended.set()

    loop = asyncio.get_running_loop()
    listening = await loop.create_server(Serving, "127.0.0.1", 0, ssl=server)
    async with asyncio.timeout(TIMEOUT):
        try:
            reader, writer = await asyncio.open_connection(
                *listening.sockets[0].getsockname(), ssl=client, server_hostname="any.host"
            )
            talk.at_client = _seen(writer)
            writer.write(b"hello")
            talk.said = await reader.read(16)
            writer.close()
            await writer.wait_closed()
        except OSError as error:
            talk.at_client = talk.at_client or str(error)
        if talk.at_server:
            await ended.wait()
    listening.close()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(TIMEOUT):
            await listening.wait_closed()
    return talk


def by_asyncio(server: ssl.SSLContext, client: ssl.SSLContext) -> Talk:
    """The event loop of the standard library."""
    return asyncio.run(_talk(server, client))


def by_uvloop(server: ssl.SSLContext, client: ssl.SSLContext) -> Talk:
    """The other one."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_talk(server, client))


WAYS: Final[dict[str, Callable[[ssl.SSLContext, ssl.SSLContext], Talk]]] = {
    "sockets": by_sockets,
    "asyncio": by_asyncio,
    "uvloop": by_uvloop,
}
