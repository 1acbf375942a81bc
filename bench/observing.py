"""`python -m bench.observing`: what an audit event and a trace cost, in microseconds of processor.

An event is that of an issuance, the largest there is: announced, found on the ledger, put together
with the hashes of three specs, written as JSON and handed to the thread that writes it to a file;
the time of that thread counts too. A pass is followed as the operator does it, with its eight
steps. Of the rounds the median is told: other programs use the machine too.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from agentid.api import AgentClass, AgentIdentity, AgentIssuer, DeliveryMode
from agentid.clock import SystemClock
from agentid.identity import SerialNumber, TrustDomain
from agentid.kube.objects import ObjectKey
from agentid.ledger import Durable, Issued, LedgerState
from agentid.policy.judge import Granted, judge
from agentid.policy.observed import Observed
from agentid.policy.plan import Cause
from agentid.services.auditing import Auditor
from agentid.services.world import Parsed, World
from agentid.telemetry import tracing
from agentid.telemetry.audit_stream import AuditStream
from agentid.telemetry.metrics import Metrics
from agentid.telemetry.otel import OtelTracer
from agentid.testing.ledger import make_issued
from tests.support.manifests import agent_class, identity, issuer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from opentelemetry.sdk.trace import ReadableSpan

__all__ = ["audit", "passes"]

_STEPS = ("gather", "judge", "sign", "ledger commit", "secret write", "status write", "gather")


def _world(number: int) -> tuple[World, list[tuple[Issued, Observed]]]:
    """So many identities that were granted, and what is recorded of each."""
    world = World()
    meta = {"resourceVersion": "7", "generation": 1}
    class_body, issuer_body = agent_class("batch"), issuer("test")
    for body, uid in ((class_body, "c"), (issuer_body, "i")):
        body["metadata"] |= meta | {"uid": uid}
    world.classes["batch"] = Parsed.of(AgentClass.parse, class_body)
    world.issuers["test"] = Parsed.of(AgentIssuer.parse, issuer_body)
    kind = AgentClass.parse(class_body)
    found = []
    for each in range(1, number + 1):
        body = identity(f"agent-{each}", "batch")
        body["metadata"] |= meta | {"namespace": "finance", "uid": f"u-{each}"}
        world.identities.put(body)
        parsed = AgentIdentity.parse(body)
        verdict = judge(
            parsed, kind, TrustDomain.parse("agents.test"),
            available_deliveries=frozenset({DeliveryMode.SECRET}), now=SystemClock().now(),
        )  # fmt: skip
        if not isinstance(verdict, Granted):
            raise TypeError(verdict)
        record = make_issued(
            each, serial=SerialNumber(each), name=f"agent-{each}", namespace="finance",
            grant=verdict.grant.to_json(),
        )  # fmt: skip
        status = AgentIdentity.status_of(body)
        found.append((record, Observed(parsed.metadata, parsed, status, (), kind, verdict)))
    return world, found


def audit(number: int, path: Path) -> float:
    """Microseconds of processor time for an audit event."""
    world, found = _world(number)
    stream = AuditStream(path, waiting=1 << 30)
    auditor = Auditor(
        world=world, ledger=LedgerState(), clock=SystemClock(), metrics=Metrics(),
        source="w", write=stream.write,
    )  # fmt: skip
    began = time.process_time()
    for record, seen in found:
        auditor.will_issue(record, Cause.FIRST, seen)
        auditor.learn(Durable((record,), own=True))
    stream.close(60)
    took = time.process_time() - began
    if len(path.read_bytes().splitlines()) != number:
        raise ValueError(number)
    return took / number * 1e6


class _Nowhere(SpanExporter):
    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send nothing."""
        del spans
        return SpanExportResult.SUCCESS


def passes(number: int, *, traced: bool) -> float:
    """Microseconds of processor time for following a pass that issues; sending left out."""
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(_Nowhere()))
    tracer = OtelTracer(provider) if traced else None
    clock, key = SystemClock(), ObjectKey("finance", "reader")
    began = time.process_time()
    for _ in range(number):
        about = {"namespace": key.namespace, "name": key.name}
        with tracing.follow(tracer, clock, 0.01, about):
            for name in _STEPS:
                with tracing.step(name):
                    pass
            tracing.issued()
            tracing.note(serial="0a", tier="Low")
    took = time.process_time() - began
    provider.shutdown()
    return took / number * 1e6


def _median(rounds: int, measure: Callable[[], float]) -> str:
    return f"{statistics.median(measure() for _ in range(rounds)):6.1f} µs"


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--number", type=int, default=5_000)
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    numbers = iter(range(1_000_000))
    with tempfile.TemporaryDirectory() as directory:
        print(
            "an audit event     ",
            _median(
                chosen.rounds,
                lambda: audit(chosen.number, Path(directory) / f"{next(numbers)}.jsonl"),
            ),
        )
    print(
        "a pass, not traced ",
        _median(chosen.rounds, lambda: passes(chosen.number, traced=False)),
    )
    print(
        "a pass, traced     ",
        _median(chosen.rounds, lambda: passes(chosen.number, traced=True)),
    )


if __name__ == "__main__":
    main()
