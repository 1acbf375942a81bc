"""A watch that is left goes at once, whatever the API server does with its connection."""

from __future__ import annotations

import asyncio
import gc
import socket
import ssl
import threading
from contextlib import aclosing, contextmanager
from typing import TYPE_CHECKING

from agentid.kube.client import Client
from agentid.kube.objects import EventType
from agentid.kube.resources import SECRETS
from agentid.testing.api_server import StaticCredentials
from tests.support.webhook import serving_pair

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.webhook import Pair

EVENT = b'{"type":"ADDED","object":{}}\n'
ANSWER = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n" % (len(EVENT), EVENT)


@contextmanager
def never_letting_go(pair: Pair, directory: Path) -> Iterator[int]:
    """Serve one watch over TLS, and never answer when the client closes it; yields the port."""
    path = directory / "server.pem"
    path.touch(mode=0o600)
    path.write_bytes(pair.key + pair.certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            accepted, _ = listening.accept()
            with context.wrap_socket(accepted, server_side=True) as connection:
                connection.recv(65536)
                connection.sendall(ANSWER)
                over.wait(60)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            over.set()
            thread.join()


def test_a_watch_that_is_left_leaves_no_connection(tmp_path: Path) -> None:
    """Nobody waits for TLS's farewell: the loop may be over by then, and the socket leak."""
    pair = serving_pair()

    async def look(port: int) -> EventType:
        credentials = StaticCredentials(f"https://127.0.0.1:{port}")
        credentials.ssl_context = pair.trusting
        async with (
            Client(credentials) as client,
            aclosing(client.watch(SECRETS, resource_version="1")) as events,
        ):
            return (await anext(events)).type

    with never_letting_go(pair, tmp_path) as port:
        assert asyncio.run(look(port)) is EventType.ADDED
        gc.collect()  # a socket that is still open is told of as a ResourceWarning, an error here
