"""What the operator counts, in Prometheus' terms; names and meaning: `docs/reference/metrics.md`.

Counters and histograms are fed as things happen. Gauges of state are computed from the caches at
the moment of a scrape, so that they can neither drift nor cost anything between scrapes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

__all__ = ["Metrics", "Snapshot", "SnapshotSource"]

Key = TypeVar("Key", bound=tuple[str, ...])

_FAST = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Buckets in seconds: the figure to hold is 100 ms from create to Ready on an idle cluster."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The operator's state at one moment, for the gauges.

    Attributes:
        leader: Whether this replica reconciles.
        identities: Number of AgentIdentities seen.
        queue_depth: Waiting keys by lane.
        queue_oldest_seconds: How long the longest-waiting key has waited.
        renewals_due: Identities whose renewal time has passed and that still wait.
        live_certificates: Live certificates by tier.
        expiry_seconds: Seconds until the first live certificate of each tier expires.
        authority_expiry_seconds: Seconds until an authority expires, by (issuer, role, id).
        keys_in_use: Live certificates by (class, key algorithm).
        crl_seconds: Seconds until the first CRL of an issuer runs out, by issuer.
        ledger: Segments, bytes and entries of the ledger, by these names.
        ledger_alarms: Faults found in the ledger's chains that still stand.
        incidents: AgentRevocations by phase.
        loop_lag_seconds: How late the event loop was at its last check.
        not_ready: Identities that are not Ready, by the reason that they give.
        overdue: Certificates in use whose renewal time has passed.
        overdue_seconds: How long ago the first of these renewal times was.
        issuer_conditions: Whether a condition of an issuer is True, by (issuer, type).
        authorities: Number of authorities by (issuer, role, state).
        bundles: Sequence of the trust bundle of an issuer's authorities.
        published_bundles: Sequence of the one that responders serve, by issuer.
        federation_age_seconds: Since the last fetch that succeeded, by (issuer, trust domain).
        audit_failing: Whether the last write of the audit stream failed.
        webhook_configured: Whether API servers are told to ask a webhook of ours about pods.
    """

    leader: bool
    identities: int
    queue_depth: Mapping[str, int]
    queue_oldest_seconds: float
    renewals_due: int
    live_certificates: Mapping[str, int]
    expiry_seconds: Mapping[str, float]
    authority_expiry_seconds: Mapping[tuple[str, str, str], float]
    keys_in_use: Mapping[tuple[str, str], int]
    crl_seconds: Mapping[str, float]
    ledger: Mapping[str, int]
    ledger_alarms: int
    incidents: Mapping[str, int]
    loop_lag_seconds: float
    not_ready: Mapping[str, int]
    overdue: int
    overdue_seconds: float
    issuer_conditions: Mapping[tuple[str, str], bool]
    authorities: Mapping[tuple[str, str, str], int]
    bundles: Mapping[str, int]
    published_bundles: Mapping[str, int]
    federation_age_seconds: Mapping[tuple[str, str], float]
    audit_failing: bool
    webhook_configured: bool


class SnapshotSource(Protocol):
    """Whoever can tell the state of the operator."""

    def __call__(self) -> Snapshot:
        """Return the state now; called on every scrape, so it has to be cheap."""


class _StateCollector(Collector):
    def __init__(self, source: SnapshotSource) -> None:
        self._source = source

    def collect(self) -> Iterator[GaugeMetricFamily]:
        now = self._source()
        for name, text, value in (
            ("agentid_leader", "1 on the replica that reconciles, else 0", float(now.leader)),
            ("agentid_identities", "AgentIdentities seen", now.identities),
            ("agentid_queue_oldest_seconds", "Longest wait in the queue", now.queue_oldest_seconds),
            ("agentid_renewals_due", "Renewals that are due and still wait", now.renewals_due),
            ("agentid_ledger_alarms", "Faults in the ledger's chains", now.ledger_alarms),
            ("agentid_event_loop_lag_seconds", "Lateness of the event loop", now.loop_lag_seconds),
            ("agentid_renewals_overdue", "Certificates past their renewal time", now.overdue),
            (
                "agentid_renewal_overdue_seconds",
                "Since the first of these renewal times",
                now.overdue_seconds,
            ),
            (
                "agentid_webhook_configured",
                "1 while API servers are told to ask the webhook, else 0",
                float(now.webhook_configured),
            ),
            (
                "agentid_audit_failing",
                "1 while the audit stream cannot be written, else 0",
                float(now.audit_failing),
            ),
        ):
            yield GaugeMetricFamily(name, text, value=value)
        yield _family("agentid_queue_depth", "Waiting keys", "lane", now.queue_depth)
        yield _family("agentid_incidents", "AgentRevocations", "phase", now.incidents)
        yield _family(
            "agentid_live_certificates", "Certificates in force", "tier", now.live_certificates
        )
        yield _family(
            "agentid_certificate_expiry_seconds",
            "Seconds until the first certificate of a tier expires",
            "tier",
            now.expiry_seconds,
        )
        for what, number in now.ledger.items():
            yield GaugeMetricFamily(f"agentid_ledger_{what}", f"The ledger's {what}", value=number)
        yield _family(
            "agentid_crl_next_update_seconds",
            "Seconds until the first CRL of an issuer runs out",
            "issuer",
            now.crl_seconds,
        )
        yield _family("agentid_identities_not_ready", "Not Ready", "reason", now.not_ready)
        yield _family("agentid_bundle_sequence", "Of the authorities", "issuer", now.bundles)
        yield _family(
            "agentid_bundle_published_sequence", "As served", "issuer", now.published_bundles
        )
        yield _families(
            "agentid_authority_expiry_seconds",
            "Seconds until an authority expires",
            ("issuer", "role", "authority"),
            now.authority_expiry_seconds,
        )
        yield _families(
            "agentid_live_keys",
            "Certificates in use by class and key algorithm",
            ("class", "algorithm"),
            now.keys_in_use,
        )
        yield _families(
            "agentid_authorities",
            "Authorities by how far they are in their life",
            ("issuer", "role", "state"),
            now.authorities,
        )
        yield _families(
            "agentid_issuer_condition",
            "1 while a condition of an AgentIssuer is True, else 0",
            ("issuer", "condition"),
            now.issuer_conditions,
        )
        yield _families(
            "agentid_federation_age_seconds",
            "Since a foreign bundle was last fetched",
            ("issuer", "trust_domain"),
            now.federation_age_seconds,
        )


class _RequestsCollector(Collector):
    def __init__(self, source: Callable[[], Mapping[str, Sequence[float]]]) -> None:
        self._source = source

    def collect(self) -> Iterator[GaugeMetricFamily]:
        waits = self._source()
        yield _family(
            "agentid_pod_certificate_requests_waiting",
            "PodCertificateRequests without an answer",
            "reason",
            {reason: len(each) for reason, each in waits.items()},
        )
        yield _family(
            "agentid_pod_certificate_requests_oldest_seconds",
            "Longest wait of a PodCertificateRequest without an answer",
            "reason",
            {reason: max(each) for reason, each in waits.items()},
        )


def _families(
    name: str, text: str, labels: tuple[str, ...], values: Mapping[Key, float]
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def _family(name: str, text: str, label: str, values: Mapping[str, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


class Metrics:
    """All counters and histograms of one process, on a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.issuances = Counter(
            "agentid_issuances",
            "Certificates issued, recorded and delivered",
            ["door", "issuer", "cause"],
            registry=self.registry,
        )
        self.failures = Counter(
            "agentid_failures",
            "Passes over an identity that did not come to their end, by condition reason",
            ["reason"],
            registry=self.registry,
        )
        self.revocations = Counter(
            "agentid_revocations",
            "Serials revoked on the ledger, by RFC 5280 reason",
            ["reason"],
            registry=self.registry,
        )
        self.api_writes = Counter(
            "agentid_api_writes",
            "Write requests to the API server by their outcome",
            ["resource", "verb", "code"],
            registry=self.registry,
        )
        self.queue_seconds = Histogram(
            "agentid_queue_wait_seconds",
            "How long a key waited before it was looked at",
            buckets=_FAST,
            registry=self.registry,
        )
        self.issue_seconds = Histogram(
            "agentid_issue_seconds",
            "From the beginning of a pass that issued to its written status",
            buckets=_FAST,
            registry=self.registry,
        )
        self.commit_seconds = Histogram(
            "agentid_ledger_commit_seconds",
            "How long a ledger commit took until it was durable",
            buckets=_FAST,
            registry=self.registry,
        )
        self.commit_bytes = Counter(
            "agentid_ledger_commit_bytes",
            "Bytes written to the ledger",
            registry=self.registry,
        )
        self.commit_records = Histogram(
            "agentid_ledger_commit_records",
            "Records in one ledger commit",
            buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512),
            registry=self.registry,
        )

        self.crls = Counter(
            "agentid_crls_published", "CRLs signed and stored", ["issuer"], registry=self.registry
        )
        self.crl_failures = Counter(
            "agentid_crl_failures",
            "Rounds of CRL publication that did not come to their end",
            registry=self.registry,
        )
        self.crl_seconds = Histogram(
            "agentid_crl_publish_seconds",
            "From the beginning of the signature of a CRL until it was stored",
            buckets=_FAST,
            registry=self.registry,
        )

        self.authority_steps = Counter(
            "agentid_authority_steps",
            "Steps of rotations that were stored",
            ["issuer", "step"],
            registry=self.registry,
        )
        self.federation_failures = Counter(
            "agentid_federation_failures",
            "Fetches of foreign bundles that failed",
            ["issuer", "trust_domain"],
            registry=self.registry,
        )
        self.pod_certificates = Counter(
            "agentid_pod_certificate_requests",
            "PodCertificateRequests answered",
            ["answer", "reason"],
            registry=self.registry,
        )
        self.pod_certificate_seconds = Histogram(
            "agentid_pod_certificate_seconds",
            "From the sight of a PodCertificateRequest to its certificate",
            buckets=_FAST,
            registry=self.registry,
        )
        self.audit_events = Counter(
            "agentid_audit_events",
            "Decisions that were told to the audit stream",
            ["decision"],
            registry=self.registry,
        )
        self.audit_lost = Counter(
            "agentid_audit_lost",
            "Audit events that were lost, since the stream had no room",
            registry=self.registry,
        )

    def observe_state(self, source: SnapshotSource) -> None:
        """Take the gauges from this source at every scrape."""
        self.registry.register(_StateCollector(source))

    def observe_requests(self, source: Callable[[], Mapping[str, Sequence[float]]]) -> None:
        """Take the gauges of waiting PodCertificateRequests from this source at every scrape.

        Args:
            source: For how many seconds each has waited, by the reason; none is empty.
        """
        self.registry.register(_RequestsCollector(source))

    def count_write(self, resource: str, verb: str, code: int) -> None:
        """Count one write request; the hook that `agentid.kube.Client` calls."""
        self.api_writes.labels(resource, verb, str(code)).inc()

    def render(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self.registry)
