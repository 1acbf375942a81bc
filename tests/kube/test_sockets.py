"""A client that is closed leaves no connection, whatever the API server does with its end."""

from __future__ import annotations

import asyncio
import gc
import socket
import ssl
import threading
from contextlib import aclosing, contextmanager
from typing import TYPE_CHECKING

import pytest

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
def never_letting_go(
    pair: Pair, directory: Path, answer: bytes, asked: threading.Event
) -> Iterator[int]:
    """Serve one watch over TLS, and say nothing when the client closes it; yields the port."""
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
                connection.sendall(answer)
                asked.set()
                over.wait(60)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            over.set()
            thread.join()


@pytest.mark.parametrize("answer", [ANSWER, b""], ids=["answered", "unanswered"])
def test_a_watch_that_is_left_leaves_no_connection(tmp_path: Path, answer: bytes) -> None:
    """Nobody waits for TLS's farewell: the loop may be over by then, and the socket leak."""
    pair, asked = serving_pair(), threading.Event()

    async def look(port: int) -> None:
        credentials = StaticCredentials(f"https://127.0.0.1:{port}")
        credentials.ssl_context = pair.trusting
        async with (
            Client(credentials) as client,
            aclosing(client.watch(SECRETS, resource_version="1")) as events,
        ):
            first = asyncio.ensure_future(anext(events))
            assert await asyncio.to_thread(asked.wait, 10)
            if answer:
                assert (await first).type is EventType.ADDED
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)

    with never_letting_go(pair, tmp_path, answer, asked) as port:
        asyncio.run(look(port))
        gc.collect()  # a socket that is still open is told of as a ResourceWarning, an error here
