"""Webhooks of others, in a thread: one that adds a container, and one that never answers."""

from __future__ import annotations

import base64
import json
import ssl
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.webhook import Pair

__all__ = ["adding_a_container", "never_answering"]


class _Quiet(BaseHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, ANN401 - as inherited
        """Say nothing."""


class _Adds(_Quiet):
    def do_POST(self) -> None:
        """Add a container at the front, unless it is there."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        request = body["request"]
        names = [each["name"] for each in request["object"]["spec"]["containers"]]
        response: dict[str, Any] = {"uid": request["uid"], "allowed": True}
        if "added" not in names:
            added = {"name": "added", "image": "localhost/busybox:1"}
            patch = [{"op": "add", "path": "/spec/containers/0", "value": added}]
            response |= {
                "patchType": "JSONPatch",
                "patch": base64.b64encode(json.dumps(patch).encode()).decode(),
            }
        answer = {"apiVersion": body["apiVersion"], "kind": body["kind"], "response": response}
        payload = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)


def _silent(end: threading.Event) -> type[_Quiet]:
    class _Waits(_Quiet):
        def do_POST(self) -> None:
            """Answer nothing until the end."""
            end.wait(60)

    return _Waits


@contextmanager
def _serving(handler: type[_Quiet], pair: Pair, directory: Path) -> Iterator[int]:
    path = directory / "webhook.pem"
    path.touch(mode=0o600)
    path.write_bytes(pair.key + pair.certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def adding_a_container(pair: Pair, directory: Path) -> Iterator[int]:
    """Serve a webhook that adds a container; yields its port."""
    with _serving(_Adds, pair, directory) as port:
        yield port


@contextmanager
def never_answering(pair: Pair, directory: Path) -> Iterator[int]:
    """Serve one that takes reviews and does not answer them; yields its port."""
    end = threading.Event()
    with _serving(_silent(end), pair, directory) as port:
        try:
            yield port
        finally:
            end.set()
