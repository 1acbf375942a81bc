"""For each alert: series that raise it, and series that come close and do not.

Values are in promtool's notation, a sample a minute: `0x90` is zero ninety-one times, `0+5x90`
grows by five each time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["CASES", "HEALTHY", "Case"]


@dataclass(frozen=True, slots=True)
class Case:
    """What is seen, and whether an alert is raised by it.

    Attributes:
        alert: Its name.
        raises: Series that raise it.
        stays: Series that do not.
        minutes: When to look.
        count: How many alerts are raised then.
    """

    alert: str
    raises: Mapping[str, str]
    stays: Mapping[str, str] = field(default_factory=dict)
    minutes: int = 80
    count: int = 1


_LEADER: Final = {
    'agentid_leader{instance="a"}': "1x2000",
    'agentid_leader{instance="b"}': "0x2000",
}


def _of_leader(
    metric: str, labels: str, bad: str, good: str, *, alert: str, minutes: int = 80
) -> Case:
    """The leader raises it; the same from another replica does not, nor does a good value."""

    def series(instance: str, value: str) -> dict[str, str]:
        names = ",".join(filter(None, (labels, f'instance="{instance}"')))
        return {f"{metric}{{{names}}}": f"{value}x{minutes + 10}"}

    return Case(
        alert,
        _LEADER | series("a", bad),
        _LEADER | series("a", good) | series("b", bad),
        minutes,
    )


def _condition(kind: str, bad: str, good: str, *, alert: str, minutes: int = 80) -> Case:
    labels = f'issuer="main",condition="{kind}"'
    metric = "agentid_issuer_condition"
    return _of_leader(metric, labels, bad, good, alert=alert, minutes=minutes)


_CURRENT: Final = (
    'agentid_issuer_condition{issuer="main",condition="AuthoritiesCurrent",instance="a"}'
)
_EXPIRY: Final = (
    'agentid_authority_expiry_seconds{issuer="main",role="Root",authority="aa",instance="a"}'
)
_BUNDLE: Final = 'agentid_bundle_sequence{issuer="main",instance="a"}'
_PUBLISHED: Final = 'agentid_bundle_published_sequence{issuer="main",instance="a"}'
_CONFIGURED: Final = 'agentid_webhook_configured{instance="a"}'
_OLDEST: Final = "agentid_pod_certificate_requests_oldest_seconds"
_SERVED: Final = 'agentid_admission_tls_expiry_seconds{instance="w"}'
_SLOW: Final = "agentid_ledger_commit_seconds_bucket"

CASES: Final = (
    Case("AgentidNoLeader", {'agentid_leader{instance="a"}': "0x90"}, _LEADER),
    Case("AgentidNoLeader", {}, _LEADER),
    Case(
        "AgentidTwoLeaders",
        {'agentid_leader{instance="a"}': "1x90", 'agentid_leader{instance="b"}': "1x90"},
        _LEADER,
    ),
    _of_leader("agentid_queue_oldest_seconds", "", "301", "300", alert="AgentidQueueStuck"),
    _of_leader("agentid_renewal_overdue_seconds", "", "601", "600", alert="AgentidRenewalsOverdue"),
    Case(
        "AgentidIdentitiesNotReady",
        {'agentid_identities_not_ready{reason="LedgerUnavailable",instance="a"}': "2x90"},
        {'agentid_identities_not_ready{reason="ExceedsClass",instance="a"}': "2x90"},
    ),
    Case(
        "AgentidInternalError",
        {'agentid_failures_total{reason="InternalError",instance="a"}': "0x70 1x20"},
        {
            'agentid_failures_total{reason="InternalError",instance="a"}': "3x90",
            'agentid_failures_total{reason="LedgerUnavailable",instance="a"}': "0+1x90",
        },
    ),
    _condition("Ready", "0", "1", alert="AgentidIssuerNotReady"),
    _condition("AuthoritiesCurrent", "0", "1", alert="AgentidAuthorityNotReplaced"),
    Case(
        "AgentidAuthorityExpires",
        _LEADER | {_CURRENT: "0x90", _EXPIRY: "604799x90"},
        _LEADER | {_CURRENT: "1x90", _EXPIRY: "100x90"},
    ),
    Case(
        "AgentidAuthorityExpires",
        _LEADER | {_CURRENT: "0x90", _EXPIRY: "-5x90"},
        _LEADER | {_CURRENT: "0x90", _EXPIRY: "604801x90"},
    ),
    _condition("JWTKeysCurrent", "0", "1", alert="AgentidJwtKeysNotCurrent"),
    _condition("Rotating", "1", "0", alert="AgentidRotationStuck", minutes=1500),
    _condition("BundleWithheld", "1", "0", alert="AgentidBundleWithheld"),
    Case(
        "AgentidBundleNotPublished",
        _LEADER | {_BUNDLE: "3x90", _PUBLISHED: "2x90"},
        _LEADER | {_BUNDLE: "3x90", _PUBLISHED: "3x90"},
    ),
    Case("AgentidBundleNotPublished", _LEADER | {_BUNDLE: "1x90"}, _LEADER),
    _of_leader(
        "agentid_federation_age_seconds", 'issuer="main",trust_domain="partner.example"',
        "172801", "172800", alert="AgentidFederationStale",
    ),
    Case(
        "AgentidCrlFailing",
        {'agentid_crl_failures_total{instance="a"}': "0+1x90"},
        {'agentid_crl_failures_total{instance="a"}': "0x70 1x20"},
    ),
    _of_leader(
        "agentid_crl_next_update_seconds", 'issuer="main"', "599", "600", alert="AgentidCrlRunsOut"
    ),
    Case(
        "AgentidLedgerAlarm",
        {'agentid_ledger_alarms{instance="b"}': "1x90"},
        {'agentid_ledger_alarms{instance="b"}': "0x90"},
    ),
    Case(
        "AgentidLedgerSlow",
        {f'{_SLOW}{{le="2.5"}}': "0x90", f'{_SLOW}{{le="5.0"}}': "0+9x90",
         f'{_SLOW}{{le="+Inf"}}': "0+9x90"},
        {f'{_SLOW}{{le="2.5"}}': "0+9x90", f'{_SLOW}{{le="5.0"}}': "0+9x90",
         f'{_SLOW}{{le="+Inf"}}': "0+9x90"},
    ),
    Case(
        "AgentidIncidentUnfinished",
        _LEADER | {'agentid_incidents{phase="Executing",instance="a"}': "1x90"},
        _LEADER | {'agentid_incidents{phase="Executed",instance="a"}': "1x90"},
    ),
    Case(
        "AgentidApiWritesRefused",
        {'agentid_api_writes_total{resource="secrets",verb="update",code="403"}': "0+6x90"},
        {'agentid_api_writes_total{resource="secrets",verb="update",code="409"}': "0+6x90"},
    ),
    Case(
        "AgentidAuditFailing",
        {'agentid_audit_failing{instance="a"}': "1x90"},
        {'agentid_audit_failing{instance="a"}': "0x90"},
    ),
    Case(
        "AgentidAuditLost",
        {'agentid_audit_lost_total{instance="a"}': "0x70 7x20"},
        {'agentid_audit_lost_total{instance="a"}': "7x90"},
    ),
    Case(
        "AgentidEventLoopLate",
        {'agentid_event_loop_lag_seconds{instance="b"}': "1.5x90"},
        {'agentid_event_loop_lag_seconds{instance="b"}': "1x90"},
    ),
    Case("AgentidResponderDown", {}, {"agentid_responder_ledger_age_seconds": "1x90"}),
    Case(
        "AgentidResponderStale",
        {'agentid_responder_ledger_age_seconds{instance="r"}': "181x90"},
        {'agentid_responder_ledger_age_seconds{instance="r"}': "120x90"},
    ),
    Case(
        "AgentidResponderStale",
        {'agentid_responder_publications_age_seconds{instance="r"}': "999999x90"},
        {'agentid_responder_publications_age_seconds{instance="r"}': "180x90"},
    ),
    Case(
        "AgentidResponderCrlRunsOut",
        {'agentid_responder_crl_next_update_seconds{issuer="main",instance="r"}': "-1x90"},
        {'agentid_responder_crl_next_update_seconds{issuer="main",instance="r"}': "600x90"},
    ),
    _of_leader(
        "agentid_pod_certificate_requests_oldest_seconds",
        'reason="Unseen"', "181", "180", alert="AgentidPodCertificatesWait",
    ),
    Case(
        "AgentidPodCertificatesWait",
        _LEADER | {f'{_OLDEST}{{reason="LedgerUnavailable",instance="a"}}': "0+60x90"},
        _LEADER | {f'{_OLDEST}{{reason="Suspended",instance="a"}}': "0+60x90"},
    ),
    Case(
        "AgentidWebhookDown",
        _LEADER | {_CONFIGURED: "1x90"},
        _LEADER | {_CONFIGURED: "1x90", _SERVED: "600000x90"},
    ),
    Case(
        "AgentidWebhookDown",
        _LEADER | {_CONFIGURED: "1x90", _SERVED: "-1x90"},
        _LEADER | {_CONFIGURED: "0x90"},
    ),
    Case(
        "AgentidWebhookDown",
        _LEADER | {_CONFIGURED: "1x90"},
        _LEADER | {'agentid_webhook_configured{instance="b"}': "1x90"},
    ),
    Case(
        "AgentidWebhookErrors",
        {'agentid_admission_refused_total{limit="defect",instance="w"}': "0+2x90"},
        {'agentid_admission_refused_total{limit="path",instance="w"}': "0+60x90"},
    ),
    Case(
        "AgentidWebhookErrors",
        {'agentid_admission_reviews_total{allowed="false",reason="Unavailable"}': "0+2x90"},
        {'agentid_admission_reviews_total{allowed="false",reason="NoSuchIdentity"}': "0+60x90"},
    ),
    Case(
        "AgentidWebhookStale",
        {'agentid_admission_cache_age_seconds{instance="w"}': "0+60x90"},
        {'agentid_admission_cache_age_seconds{instance="w"}': "180x90"},
    ),
    Case(
        "AgentidWebhookCertificateExpires",
        {_SERVED: "259199x90"},
        {_SERVED: "259200x90"},
    ),
    Case(
        "AgentidResponderCertificateExpires",
        {'agentid_responder_ocsp_expiry_seconds{issuer="main",authority="aa"}': "259199x90"},
        {'agentid_responder_ocsp_expiry_seconds{issuer="main",authority="aa"}': "259200x90"},
    ),
    Case(
        "AgentidResponderCertificateExpires",
        {'agentid_responder_tls_expiry_seconds{issuer="files"}': "0x90"},
        {'agentid_responder_tls_expiry_seconds{issuer="files"}': "604800x90"},
    ),
    Case(
        "AgentidResponderRefusesPublication",
        {'agentid_responder_publications_refused_total{kind="crl"}': "0x70 1x20"},
        {'agentid_responder_publications_refused_total{kind="crl"}': "1x90"},
    ),
    Case(
        "AgentidResponderErrors",
        {'agentid_responder_requests_total{route="crl",code="503"}': "0+60x90"},
        {'agentid_responder_requests_total{route="crl",code="404"}': "0+60x90"},
    ),
    Case(
        "AgentidResponderRefusesClients",
        {'agentid_responder_refused_total{limit="rate"}': "0+120x90"},
        {'agentid_responder_refused_total{limit="rate"}': "0+30x90"},
    ),
    Case(
        "AgentidNodeIssuerAway",
        {'agentid_node_issuer_silence_seconds{instance="n"}': "0x79 61x10"},
        {'agentid_node_issuer_silence_seconds{instance="n"}': "60x90"},
    ),
    Case(
        "AgentidNodeRenewalsOverdue",
        {'agentid_node_renewal_overdue_seconds{instance="n"}': "0x79 61x10"},
        {'agentid_node_renewal_overdue_seconds{instance="n"}': "60x90"},
    ),
    Case(
        "AgentidNodeCertificateExpires",
        {'agentid_node_certificate_expiry_seconds{instance="n"}': "-3x90"},
        {'agentid_node_certificate_expiry_seconds{instance="n"}': "15x90"},
    ),
)  # fmt: skip

HEALTHY: Final = _LEADER | {
    _CURRENT: "1x90",
    _EXPIRY: "9000000x90",
    _BUNDLE: "1x90",
    _PUBLISHED: "1x90",
    'agentid_issuer_condition{issuer="main",condition="Ready",instance="a"}': "1x90",
    'agentid_queue_oldest_seconds{instance="a"}': "0x90",
    'agentid_renewal_overdue_seconds{instance="a"}': "0x90",
    'agentid_crl_next_update_seconds{issuer="main",instance="a"}': "12000x90",
    'agentid_ledger_alarms{instance="a"}': "0x90",
    'agentid_audit_failing{instance="a"}': "0x90",
    'agentid_audit_lost_total{instance="a"}': "0x90",
    'agentid_crl_failures_total{instance="a"}': "0x90",
    _CONFIGURED: "1x90",
    _SERVED: "600000x90",
    f'{_OLDEST}{{reason="Unseen",instance="a"}}': "0x90",
    'agentid_admission_cache_age_seconds{instance="w"}': "60x90",
    'agentid_responder_ledger_age_seconds{instance="r"}': "60x90",
    'agentid_responder_publications_age_seconds{instance="r"}': "60x90",
    'agentid_responder_crl_next_update_seconds{issuer="main",instance="r"}': "12000x90",
    'agentid_responder_ocsp_expiry_seconds{issuer="main",authority="aa",instance="r"}': "600000x90",
    'agentid_responder_tls_expiry_seconds{issuer="main",instance="r"}': "600000x90",
    'agentid_node_issuer_silence_seconds{instance="n"}': "10x90",
    'agentid_node_renewal_overdue_seconds{instance="n"}': "0x90",
    'agentid_node_certificate_expiry_seconds{instance="n"}': "150x90",
}
"""What a scrape of a healthy installation shows; it raises nothing."""
