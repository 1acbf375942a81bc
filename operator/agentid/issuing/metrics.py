"""What the issuer service counts, beside what the operator does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from prometheus_client import Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prometheus_client import CollectorRegistry

__all__ = ["IssuingMetrics"]

_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1, 2.5, 5, 10)


class _State(Collector):
    def __init__(self, connections: Callable[[], int], followers: Callable[[], int]) -> None:
        self._connections = connections
        self._followers = followers

    def collect(self) -> Iterator[GaugeMetricFamily]:
        for name, text, value in (
            ("connections", "Connections of node plugins", self._connections()),
            ("followers", "Node plugins that follow changes", self._followers()),
        ):
            yield GaugeMetricFamily(f"agentid_issuer_service_{name}", text, value)


class IssuingMetrics:
    """Made once for each process, in the operator's registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._answers = Counter(
            "agentid_issuer_service_answers",
            "Certificates and tokens that node plugins asked for; reason is empty if given",
            ["what", "reason"],
            registry=registry,
        )
        self.refused = Counter(
            "agentid_issuer_service_refused",
            "Requests and connections that were refused unread",
            ["limit"],
            registry=registry,
        )
        self.seconds = Histogram(
            "agentid_issuer_service_seconds",
            "From the end of a request to its answer",
            ["path"],
            buckets=_SECONDS,
            registry=registry,
        )

    def x509_answered(self, reason: str) -> None:
        """Count a certificate, or why there is none."""
        self._answers.labels("x509", reason).inc()

    def jwt_answered(self, reason: str) -> None:
        """Count a token, or why there is none."""
        self._answers.labels("jwt", reason).inc()

    def observe(self, connections: Callable[[], int], followers: Callable[[], int]) -> None:
        """Take the gauges from these at every scrape."""
        self._registry.register(_State(connections, followers))
