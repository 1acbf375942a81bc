"""What the webhook counts, in Prometheus' terms; `docs/reference/admission.md` lists it.

Labels are bounded: reasons are closed lists.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentid.admission.verdict import Verdict

__all__ = ["AdmissionMetrics", "AdmissionSnapshot", "AdmissionSnapshotSource"]

_PREFIX: Final = "agentid_admission"

_SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 1.0, 2.5)
"""Below the time-out of three seconds that the API server is told."""


@dataclass(frozen=True, slots=True)
class AdmissionSnapshot:
    """The webhook's state at one moment.

    Attributes:
        identities: AgentIdentities that are known.
        connections: Open connections.
        heard: Seconds since the API server was last heard of; infinite before the first time.
        tls_expiry: Seconds until the serving certificate expires, None before there is one.
        loop_lag: How late the event loop was at its last check.
    """

    identities: int
    connections: int
    heard: float
    tls_expiry: float | None
    loop_lag: float


class AdmissionSnapshotSource(Protocol):
    """Whoever can tell the state of the webhook."""

    def __call__(self) -> AdmissionSnapshot:
        """Return the state now; called on every scrape, so it has to be cheap."""


class _StateCollector(Collector):
    def __init__(self, source: AdmissionSnapshotSource) -> None:
        self._source = source

    def collect(self) -> Iterator[GaugeMetricFamily]:
        now = self._source()
        for name, text, value in (
            ("identities", "AgentIdentities that are known", now.identities),
            ("connections", "Open connections", now.connections),
            ("cache_age_seconds", "Since the API server was last heard of", now.heard),
            ("event_loop_lag_seconds", "Lateness of the event loop", now.loop_lag),
        ):
            yield GaugeMetricFamily(f"{_PREFIX}_{name}", text, value=value)
        if now.tls_expiry is not None:
            yield GaugeMetricFamily(
                f"{_PREFIX}_tls_expiry_seconds",
                "Until the serving certificate expires",
                value=now.tls_expiry,
            )


class AdmissionMetrics:
    """All counters of one process, on a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._reviews = Counter(
            f"{_PREFIX}_reviews",
            "Reviews by whether the pod may be made, and why",
            ["allowed", "reason"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            f"{_PREFIX}_review_seconds",
            "From the end of a review's head to its answer",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.refused = Counter(
            f"{_PREFIX}_refused",
            "Requests and connections that were no review, or were refused or cut by a limit",
            ["limit"],
            registry=self.registry,
        )
        self.lookups = Counter(
            f"{_PREFIX}_lookups",
            "Identities that the API server was asked about, since no watch had told of them",
            registry=self.registry,
        )
        self.tls_refused = Counter(
            f"{_PREFIX}_tls_refused",
            "Serving certificates that could not be used",
            registry=self.registry,
        )
        self._children: dict[tuple[bool, str], Counter] = {}

    def count_review(self, verdict: Verdict) -> None:
        """Count an answered review."""
        key = (verdict.allowed, verdict.reason)
        child = self._children.get(key)
        if child is None:
            allowed = "true" if verdict.allowed else "false"
            child = self._children[key] = self._reviews.labels(allowed, verdict.reason)
        child.inc()

    def observe_state(self, source: AdmissionSnapshotSource) -> None:
        """Take the gauges from this source at every scrape."""
        self.registry.register(_StateCollector(source))

    def render(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self.registry)
