"""Sends passes as OpenTelemetry traces, over OTLP and HTTP; off unless the environment asks for it.

Where to, with which headers, certificates, sampling and batches is said by OpenTelemetry's own
variables (`OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_TRACES_SAMPLER`,
`OTEL_BSP_…`, `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`), which its SDK reads. Spans are sent
in batches by a thread of the SDK; those that find no room are dropped.
"""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from agentid.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.sdk.trace import TracerProvider

    from agentid.telemetry.tracing import Pass

__all__ = ["OtelTracer", "open_tracer"]

_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_HTTP: Final = "http/protobuf"

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def open_tracer(environment: Mapping[str, str], *, instance: str) -> OtelTracer | None:
    """Begin to trace, if the environment names an endpoint.

    Args:
        environment: Variables.
        instance: Name of this replica.

    Raises:
        InputError: It asks for what is not served here.
    """
    if not _is_wanted(environment):
        return None
    # The SDK takes some 20 MB and half a second, so it is imported by who traces alone.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415 - as said
        OTLPSpanExporter,
    )
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    named = {} if "OTEL_SERVICE_NAME" in environment else {"service.name": "agentid-operator"}
    resource = Resource.create({**named, "service.instance.id": instance})
    # Closed by us, in our order and time; not once more when the interpreter ends.
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return OtelTracer(provider)


def _is_wanted(environment: Mapping[str, str]) -> bool:
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporter = environment.get("OTEL_TRACES_EXPORTER", "otlp").strip()
    if exporter not in {"otlp", "none", ""}:
        message = f"OTEL_TRACES_EXPORTER: {exporter} is not served here; set it to otlp or none"
        raise InputError(message)
    if exporter == "none" or not any(environment.get(name) for name in _ENDPOINTS):
        return False
    for name in _PROTOCOLS:
        protocol = environment.get(name) or _HTTP
        if protocol != _HTTP:
            message = f"{name}: {protocol} is not served here; set it to {_HTTP}"
            raise InputError(message)
    return True


class OtelTracer:
    """A pass becomes a trace: one span for the whole, one below it for each step."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("agentid")

    def take(self, done: Pass, end: datetime) -> None:
        """Send a pass that is over."""
        from opentelemetry import trace  # noqa: PLC0415 - as above

        attributes = {f"agentid.{name}": value for name, value in done.about.items()}
        whole = self._tracer.start_span(
            "issue", start_time=_nanoseconds(done.begin), attributes=attributes
        )
        if done.error:
            whole.set_status(trace.Status(trace.StatusCode.ERROR, done.error))
        context = trace.set_span_in_context(whole)
        for step in done.steps:
            span = self._tracer.start_span(
                step.name, context=context, start_time=_nanoseconds(step.begin)
            )
            span.end(_nanoseconds(step.end))
        whole.end(_nanoseconds(end))

    def close(self, seconds: float) -> None:
        """Send what waits, for so long at most."""
        # A collector that is away must not hold up the end of the process.
        ending = threading.Thread(target=self._provider.shutdown, name="tracing-end", daemon=True)
        ending.start()
        ending.join(seconds)


def _nanoseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1) * 1000
