"""A collector of traces on the loopback, which decodes OTLP as any collector does."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Collector", "Span", "collecting"]


@dataclass(frozen=True, slots=True)
class Span:
    """One span as it came over the wire.

    Attributes:
        trace: Id of its trace.
        id: Its own.
        parent: That of the span above it, empty for the first.
        name: What was done.
        begin: Nanoseconds since the epoch.
        end: Likewise.
        about: Its attributes.
        resource: Attributes of the process.
        error: What went wrong; empty if nothing did.
    """

    trace: bytes
    id: bytes
    parent: bytes
    name: str
    begin: int
    end: int
    about: dict[str, str]
    resource: dict[str, str]
    error: str


@dataclass(slots=True)
class Collector:
    """What came.

    Attributes:
        url: Where it listens.
        spans: In the order in which they came.
        headers: Of the last request.
    """

    url: str = ""
    spans: list[Span] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)

    def take(self, body: bytes) -> None:
        """Decode a request."""
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            process = {each.key: each.value.string_value for each in resource.resource.attributes}
            for scope in resource.scope_spans:
                self.spans += [
                    Span(
                        each.trace_id, each.span_id, each.parent_span_id, each.name,
                        each.start_time_unix_nano, each.end_time_unix_nano,
                        {about.key: about.value.string_value for about in each.attributes},
                        process, each.status.message,
                    )
                    for each in scope.spans
                ]  # fmt: skip

    def traces_of(self, name: str) -> list[list[Span]]:
        """The traces about an identity, each with its first span first."""
        spans = tuple(self.spans)
        roots = [each for each in spans if each.about.get("agentid.name") == name]
        return [[root, *(each for each in spans if each.parent == root.id)] for root in roots]


@contextmanager
def collecting() -> Iterator[Collector]:
    """Listen while the context is open."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            collector.headers = {key.lower(): value for key, value in self.headers.items()}
            right = self.path == "/v1/traces"
            if right:
                collector.take(body)
            answer = ExportTraceServiceResponse().SerializeToString()
            self.send_response(200 if right else 404)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    collector.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield collector
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
