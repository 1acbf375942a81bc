"""What the node plugin counts, in Prometheus' terms; `docs/reference/node.md` lists it.

Labels are bounded: all are closed lists. Nothing tells one pod from another.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from agentid.errors import InputError, UnavailableError
from agentid.node.issuer import RefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["NodeMetrics", "NodeSnapshot", "NodeSnapshotSource", "failure"]

_PREFIX: Final = "agentid_node"

_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0)
"""Around 50 ms and 200 ms, which publishing is to keep to, and up to when it gives up."""


@dataclass(frozen=True, slots=True)
class NodeSnapshot:
    """The state of a node's volumes at one moment.

    Attributes:
        volumes: How many there are, by `serving`, `starting`, `ended`, and `unread` for those of a
            later release.
        expiry: Seconds until the first certificate of a running pod expires, negative once it has;
            None where no pod holds one.
        overdue: Seconds since the first renewal was due that did not succeed yet; 0 without one.
    """

    volumes: Mapping[str, int]
    expiry: float | None
    overdue: float


class NodeSnapshotSource(Protocol):
    """Whoever can tell the state of the volumes."""

    def __call__(self) -> NodeSnapshot:
        """Return the state now; called on every scrape, so it has to be cheap."""


class Seconds(Protocol):
    """Whoever can tell a number of seconds; called on every scrape."""

    def __call__(self) -> float:
        """Return it now."""


class _StateCollector(Collector):
    def __init__(self, source: NodeSnapshotSource, silence: Seconds, lag: Seconds) -> None:
        self._source = source
        self._silence = silence
        self._lag = lag

    def collect(self) -> Iterator[GaugeMetricFamily]:
        now = self._source()
        volumes = GaugeMetricFamily(
            f"{_PREFIX}_volumes", "Volumes by what their pods hold", labels=["state"]
        )
        for state, count in now.volumes.items():
            volumes.add_metric([state], count)
        yield volumes
        if now.expiry is not None:
            yield GaugeMetricFamily(
                f"{_PREFIX}_certificate_expiry_seconds",
                "Until the first certificate of a running pod expires",
                value=now.expiry,
            )
        for name, text, value in (
            ("renewal_overdue_seconds", "Since the first renewal was due", now.overdue),
            ("issuer_silence_seconds", "Since the issuer service was heard of", self._silence()),
            ("event_loop_lag_seconds", "Lateness of the event loop", self._lag()),
        ):
            yield GaugeMetricFamily(f"{_PREFIX}_{name}", text, value=value)


class NodeMetrics:
    """All counters of one process, on a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.publications = Counter(
            f"{_PREFIX}_publications",
            "First publications of volumes, by why not",
            ["reason"],
            registry=self.registry,
        )
        self.publish_seconds = Histogram(
            f"{_PREFIX}_publish_seconds",
            "From the kubelet's request until the files of a new volume could be read",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.renewals = Counter(
            f"{_PREFIX}_renewals",
            "Renewals of certificates, by why not",
            ["reason"],
            registry=self.registry,
        )
        self.takings = Counter(
            f"{_PREFIX}_takings",
            "Identities that were taken away from running pods",
            ["cause"],
            registry=self.registry,
        )
        self._calls = Counter(
            f"{_PREFIX}_calls",
            "Calls on pods' sockets that have ended",
            ["method", "code"],
            registry=self.registry,
        )
        self._open = Gauge(
            f"{_PREFIX}_open_calls",
            "Calls and streams on pods' sockets that are open",
            ["method"],
            registry=self.registry,
        )

    def opened(self, method: str) -> None:
        """Count a call that has begun."""
        self._open.labels(method).inc()

    def ended(self, method: str, code: str) -> None:
        """Count a call that has ended."""
        self._open.labels(method).dec()
        self._calls.labels(method, code).inc()

    def observe_state(self, source: NodeSnapshotSource, silence: Seconds, lag: Seconds) -> None:
        """Take the gauges from these at every scrape."""
        self.registry.register(_StateCollector(source, silence, lag))

    def render(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self.registry)


def failure(error: BaseException) -> str:
    """The label for what went wrong."""
    match error:
        case RefusedError():
            return "Refused"
        case UnavailableError():
            return "Unavailable"
        case InputError():
            return "Malformed"
        case Exception():
            return "InternalError"
        case _:
            return "Cancelled"
