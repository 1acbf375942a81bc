"""What the responder counts, in Prometheus' terms; `docs/reference/responder.md` lists it.

Labels are bounded: routes and codes by what there is, issuers and authorities by what is
published.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["ResponderMetrics", "ResponderSnapshot", "ResponderSnapshotSource"]


@dataclass(frozen=True, slots=True)
class ResponderSnapshot:
    """The responder's state at one moment.

    Attributes:
        ledger_age: Seconds since the ledger was last heard of; infinite before the first time.
        publications_age: Likewise of what the operator publishes.
        ledger_entries: Certificates on record.
        ledger_revoked: Revocations on record.
        feed_clients: Clients that follow a feed.
        connections: Open connections by port: `http` and `https`.
        crls: Number of CRLs by issuer.
        crl_age: Seconds since the oldest current CRL of an issuer was made.
        crl_next_update: Seconds until the first nextUpdate among an issuer's CRLs; negative if it
            has passed.
        bundle_sequence: `spiffe_sequence` by issuer.
        ocsp_expiry: Seconds until a delegated OCSP certificate expires, by (issuer, authority).
        tls_expiry: Seconds until an HTTPS certificate expires, by issuer; `files` for files.
        loop_lag: How late the event loop was at its last check.
    """

    ledger_age: float
    publications_age: float
    ledger_entries: int
    ledger_revoked: int
    feed_clients: int
    connections: Mapping[str, int]
    crls: Mapping[str, int]
    crl_age: Mapping[str, float]
    crl_next_update: Mapping[str, float]
    bundle_sequence: Mapping[str, int]
    ocsp_expiry: Mapping[tuple[str, str], float]
    tls_expiry: Mapping[str, float]
    loop_lag: float


class ResponderSnapshotSource(Protocol):
    """Whoever can tell the state of the responder."""

    def __call__(self) -> ResponderSnapshot:
        """Return the state now; called on every scrape, so it has to be cheap."""


class _StateCollector(Collector):
    def __init__(self, source: ResponderSnapshotSource) -> None:
        self._source = source

    def collect(self) -> Iterator[GaugeMetricFamily]:
        now = self._source()
        for name, text, value in (
            ("ledger_age_seconds", "Since the ledger was last heard of", now.ledger_age),
            ("publications_age_seconds", "Since publications were heard of", now.publications_age),
            ("ledger_entries", "Certificates on record", now.ledger_entries),
            ("ledger_revoked", "Revocations on record", now.ledger_revoked),
            ("feed_clients", "Clients that follow a deny feed", now.feed_clients),
            ("event_loop_lag_seconds", "Lateness of the event loop", now.loop_lag),
        ):
            yield GaugeMetricFamily(f"{_PREFIX}_{name}", text, value=value)
        for name, text, label, values in (
            ("connections", "Open connections", "port", now.connections),
            ("crls", "CRLs that are served", "issuer", now.crls),
            ("crl_age_seconds", "Since the oldest current CRL was made", "issuer", now.crl_age),
            (
                "crl_next_update_seconds",
                "Until the first nextUpdate of a current CRL",
                "issuer",
                now.crl_next_update,
            ),
            ("bundle_sequence", "spiffe_sequence of the bundle", "issuer", now.bundle_sequence),
            ("tls_expiry_seconds", "Until an HTTPS certificate expires", "issuer", now.tls_expiry),
        ):
            family = GaugeMetricFamily(f"{_PREFIX}_{name}", text, labels=[label])
            for key, value in values.items():
                family.add_metric([key], value)
            yield family
        signers = GaugeMetricFamily(
            f"{_PREFIX}_ocsp_expiry_seconds",
            "Until a delegated OCSP certificate expires",
            labels=["issuer", "authority"],
        )
        for labels, seconds in now.ocsp_expiry.items():
            signers.add_metric(labels, seconds)
        yield signers


_PREFIX = "agentid_responder"


class ResponderMetrics:
    """All counters of one process, on a registry of their own.

    The two that count every request keep their children, since looking one up by labels takes as
    long as serving a cached answer.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            f"{_PREFIX}_requests",
            "Requests by route and HTTP status",
            ["route", "code"],
            registry=self.registry,
        )
        self._ocsp = Counter(
            f"{_PREFIX}_ocsp_answers",
            "OCSP answers by what they say",
            ["status"],
            registry=self.registry,
        )
        self.signatures = Counter(
            f"{_PREFIX}_ocsp_signatures",
            "OCSP answers signed, the others were at hand",
            registry=self.registry,
        )
        self.refused = Counter(
            f"{_PREFIX}_refused",
            "Requests and connections refused or cut by a limit",
            ["limit"],
            registry=self.registry,
        )
        self.feed_endings = Counter(
            f"{_PREFIX}_feed_endings",
            "Feeds that ended, by why",
            ["reason"],
            registry=self.registry,
        )
        self.publications_refused = Counter(
            f"{_PREFIX}_publications_refused",
            "Published objects that could not be served",
            ["kind"],
            registry=self.registry,
        )
        self._request_children: dict[tuple[str, int], Counter] = {}
        self._ocsp_children: dict[str, Counter] = {}

    def count_request(self, route: str, code: int) -> None:
        """Count an answered request."""
        child = self._request_children.get((route, code))
        if child is None:
            child = self._request_children[route, code] = self._requests.labels(route, str(code))
        child.inc()

    def count_ocsp(self, status: str) -> None:
        """Count an OCSP answer."""
        child = self._ocsp_children.get(status)
        if child is None:
            child = self._ocsp_children[status] = self._ocsp.labels(status)
        child.inc()

    def observe_state(self, source: ResponderSnapshotSource) -> None:
        """Take the gauges from this source at every scrape."""
        self.registry.register(_StateCollector(source))

    def render(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self.registry)
