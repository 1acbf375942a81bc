"""The alert rules, as Prometheus loads them.

A gauge that only the leader keeps is read off the leader: a replica that led before would go on
showing what it knew then. Each alert has a page in docs/operations/runbooks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import yaml

__all__ = ["ALERTS", "Alert", "render"]


@dataclass(frozen=True, slots=True)
class Alert:
    """One rule.

    Attributes:
        name: Of the alert, and of its page.
        group: Which process it is about.
        expr: When it holds, in PromQL.
        wait: For how long it has to hold.
        severity: `critical` wakes somebody; `warning` can wait for the morning.
        summary: A sentence with the labels of the series in it.
    """

    name: str
    group: str
    expr: str
    wait: str
    severity: str
    summary: str


def _leaders(expr: str) -> str:
    return f"{expr} and on (instance) agentid_leader == 1"


_OPERATOR, _RESPONDER = "agentid-operator", "agentid-responder"
_WEBHOOK, _NODE = "agentid-webhook", "agentid-node"
_CRITICAL, _WARNING = "critical", "warning"

_CONDITION: Final = 'agentid_issuer_condition{{condition="{}"}} == {}'

ALERTS: Final = (
    Alert(
        "AgentidNoLeader", _OPERATOR,
        "(max(agentid_leader) or vector(0)) < 1", "2m", _CRITICAL,
        "No agentid operator leads: nothing is issued, renewed or revoked",
    ),
    Alert(
        "AgentidTwoLeaders", _OPERATOR,
        "sum(agentid_leader) > 1", "2m", _CRITICAL,
        "{{ $value }} agentid operators say that they lead",
    ),
    Alert(
        "AgentidQueueStuck", _OPERATOR,
        _leaders("agentid_queue_oldest_seconds > 300"), "5m", _CRITICAL,
        "An identity has waited for {{ $value | humanizeDuration }} to be looked at",
    ),
    Alert(
        "AgentidRenewalsOverdue", _OPERATOR,
        _leaders("agentid_renewal_overdue_seconds > 600"), "5m", _CRITICAL,
        "A certificate was due to be renewed {{ $value | humanizeDuration }} ago and was not",
    ),
    Alert(
        "AgentidIdentitiesNotReady", _OPERATOR,
        'max by (reason) (agentid_identities_not_ready{reason=~"InternalError|IssuerDenied|'
        'IssuerNotReady|IssuerUnavailable|LedgerUnavailable|SecretConflict|SecretRefused"}) > 0',
        "10m", _WARNING,
        "{{ $value }} identities are not Ready: {{ $labels.reason }}",
    ),
    Alert(
        "AgentidInternalError", _OPERATOR,
        'sum(increase(agentid_failures_total{reason="InternalError"}[15m])) > 0', "0m", _WARNING,
        "A pass over an identity met a defect in agentid",
    ),
    Alert(
        "AgentidIssuerNotReady", _OPERATOR,
        _leaders(_CONDITION.format("Ready", 0)), "5m", _CRITICAL,
        "AgentIssuer {{ $labels.issuer }} cannot sign",
    ),
    Alert(
        "AgentidAuthorityNotReplaced", _OPERATOR,
        _leaders(_CONDITION.format("AuthoritiesCurrent", 0)), "30m", _WARNING,
        "An authority of {{ $labels.issuer }} is due to be replaced and cannot be",
    ),
    Alert(
        "AgentidAuthorityExpires", _OPERATOR,
        _leaders(
            "min by (issuer, instance) (agentid_authority_expiry_seconds) < 7 * 86400 "
            "and on (issuer, instance) " + _CONDITION.format("AuthoritiesCurrent", 0)
        ),
        "5m", _CRITICAL,
        "An authority of {{ $labels.issuer }} expires in {{ $value | humanizeDuration }}, and no "
        "successor can be made",
    ),
    Alert(
        "AgentidJwtKeysNotCurrent", _OPERATOR,
        _leaders(_CONDITION.format("JWTKeysCurrent", 0)), "30m", _WARNING,
        "No key of {{ $labels.issuer }} signs JWT-SVIDs, or its successor cannot be made",
    ),
    Alert(
        "AgentidRotationStuck", _OPERATOR,
        _leaders(_CONDITION.format("Rotating", 1)), "24h", _WARNING,
        "The rotation of {{ $labels.issuer }} has not come to its end for a day",
    ),
    Alert(
        "AgentidBundleWithheld", _OPERATOR,
        _leaders(_CONDITION.format("BundleWithheld", 1)), "5m", _CRITICAL,
        "The trust bundle of {{ $labels.issuer }} is not published: a later one was before",
    ),
    Alert(
        "AgentidBundleNotPublished", _OPERATOR,
        _leaders(
            "(agentid_bundle_sequence > on (issuer, instance) agentid_bundle_published_sequence "
            "or agentid_bundle_sequence unless on (issuer, instance) "
            "agentid_bundle_published_sequence)"
        ),
        "10m", _CRITICAL,
        "The trust bundle {{ $value }} of {{ $labels.issuer }} is not published",
    ),
    Alert(
        "AgentidFederationStale", _OPERATOR,
        _leaders("agentid_federation_age_seconds > 2 * 86400"), "5m", _WARNING,
        "The bundle of {{ $labels.trust_domain }} was last fetched "
        "{{ $value | humanizeDuration }} ago, for {{ $labels.issuer }}",
    ),
    Alert(
        "AgentidCrlFailing", _OPERATOR,
        "sum(increase(agentid_crl_failures_total[15m])) > 3", "5m", _WARNING,
        "CRLs cannot be published; they are tried again",
    ),
    Alert(
        "AgentidCrlRunsOut", _OPERATOR,
        _leaders("agentid_crl_next_update_seconds < 600"), "1m", _CRITICAL,
        "A CRL of {{ $labels.issuer }} runs out in {{ $value | humanizeDuration }}",
    ),
    Alert(
        "AgentidLedgerAlarm", _OPERATOR,
        "max(agentid_ledger_alarms) > 0", "1m", _CRITICAL,
        "{{ $value }} faults stand in the ledger's chains",
    ),
    Alert(
        "AgentidLedgerSlow", _OPERATOR,
        "histogram_quantile(0.99, sum by (le) (rate(agentid_ledger_commit_seconds_bucket[10m])))"
        " > 2.5",
        "10m", _WARNING,
        "A commit of the ledger takes {{ $value | humanizeDuration }}; issuing and revoking wait",
    ),
    Alert(
        "AgentidIncidentUnfinished", _OPERATOR,
        _leaders('agentid_incidents{phase="Executing"} > 0'), "5m", _CRITICAL,
        "{{ $value }} AgentRevocations do not come to their end",
    ),
    Alert(
        "AgentidApiWritesRefused", _OPERATOR,
        'sum by (resource, verb, code) (rate(agentid_api_writes_total{code=~"0|403|422|5.."}[10m]))'
        " > 0.05",
        "15m", _WARNING,
        "The API server refuses to {{ $labels.verb }} {{ $labels.resource }}: {{ $labels.code }}",
    ),
    Alert(
        "AgentidAuditFailing", _OPERATOR,
        "max(agentid_audit_failing) > 0", "2m", _CRITICAL,
        "The audit stream cannot be written; events wait in memory",
    ),
    Alert(
        "AgentidAuditLost", _OPERATOR,
        "sum(increase(agentid_audit_lost_total[15m])) > 0", "0m", _CRITICAL,
        "Audit events were lost; the ledger still has what was issued and revoked",
    ),
    Alert(
        "AgentidEventLoopLate", _OPERATOR,
        "max by (instance) (agentid_event_loop_lag_seconds) > 1", "5m", _WARNING,
        "The event loop of {{ $labels.instance }} is {{ $value | humanizeDuration }} late",
    ),
    Alert(
        "AgentidPodCertificatesWait", _OPERATOR,
        _leaders(
            "max by (reason, instance) (agentid_pod_certificate_requests_oldest_seconds"
            '{reason=~"AnswerRefused|ApiServerUnavailable|CacheBehind|DeliveryUnavailable|'
            "IssuerDenied|IssuerNotReady|IssuerUnavailable|LedgerUnavailable|NodeNotFound|Pending|"
            'Unguarded|Unseen|ValidityTooShort"}) > 180'
        ),
        "2m", _CRITICAL,
        "A pod has waited for {{ $value | humanizeDuration }} for its certificate: "
        "{{ $labels.reason }}",
    ),
    Alert(
        "AgentidWebhookDown", _WEBHOOK,
        "max(" + _leaders("agentid_webhook_configured") + ") > 0 "
        "unless on () max(agentid_admission_tls_expiry_seconds) > 0",
        "5m", _CRITICAL,
        "No agentid webhook serves with a certificate in force: pods with an identity are refused",
    ),
    Alert(
        "AgentidWebhookErrors", _WEBHOOK,
        'sum by (limit) (rate(agentid_admission_refused_total{limit=~"defect|unready|waiting|'
        'connections"}[5m])) > 0.02 '
        'or sum by (reason) (rate(agentid_admission_reviews_total{reason="Unavailable"}[5m]))'
        " > 0.02",
        "5m", _WARNING,
        "The webhook does not answer reviews of pods: {{ $labels.limit }}{{ $labels.reason }}",
    ),
    Alert(
        "AgentidWebhookStale", _WEBHOOK,
        "max by (instance) (agentid_admission_cache_age_seconds) > 180", "2m", _WARNING,
        "{{ $labels.instance }} has heard nothing for {{ $value | humanizeDuration }}",
    ),
    Alert(
        "AgentidWebhookCertificateExpires", _WEBHOOK,
        "min by (instance) (agentid_admission_tls_expiry_seconds) < 3 * 86400", "15m", _WARNING,
        "The certificate that {{ $labels.instance }} serves with expires in "
        "{{ $value | humanizeDuration }}",
    ),
    Alert(
        "AgentidResponderDown", _RESPONDER,
        "absent(agentid_responder_ledger_age_seconds)", "5m", _CRITICAL,
        "No agentid responder is seen: CRLs, OCSP and bundles may not be served",
    ),
    Alert(
        "AgentidResponderStale", _RESPONDER,
        "max by (instance) (agentid_responder_ledger_age_seconds) > 180 "
        "or max by (instance) (agentid_responder_publications_age_seconds) > 180",
        "2m", _CRITICAL,
        "{{ $labels.instance }} has heard nothing for {{ $value | humanizeDuration }}",
    ),
    Alert(
        "AgentidResponderCrlRunsOut", _RESPONDER,
        "min by (issuer) (agentid_responder_crl_next_update_seconds) < 600", "2m", _CRITICAL,
        "A served CRL of {{ $labels.issuer }} runs out in {{ $value | humanizeDuration }}",
    ),
    Alert(
        "AgentidResponderCertificateExpires", _RESPONDER,
        "min by (issuer) (agentid_responder_ocsp_expiry_seconds) < 3 * 86400 "
        "or min by (issuer) (agentid_responder_tls_expiry_seconds) < 3 * 86400",
        "15m", _WARNING,
        "A certificate of the responder for {{ $labels.issuer }} expires in "
        "{{ $value | humanizeDuration }}",
    ),
    Alert(
        "AgentidResponderRefusesPublication", _RESPONDER,
        "sum by (kind) (increase(agentid_responder_publications_refused_total[15m])) > 0",
        "0m", _CRITICAL,
        "What was published cannot be served: {{ $labels.kind }}",
    ),
    Alert(
        "AgentidResponderErrors", _RESPONDER,
        'sum by (route, code) (rate(agentid_responder_requests_total{code=~"5.."}[5m])) > 0.1',
        "10m", _WARNING,
        "{{ $labels.route }} is answered with {{ $labels.code }}",
    ),
    Alert(
        "AgentidResponderRefusesClients", _RESPONDER,
        "sum by (limit) (rate(agentid_responder_refused_total[5m])) > 1", "10m", _WARNING,
        "{{ $value | humanize }} requests a second meet the limit {{ $labels.limit }}",
    ),
    Alert(
        "AgentidNodeIssuerAway", _NODE,
        "agentid_node_issuer_silence_seconds > 60", "0m", _CRITICAL,
        "{{ $labels.instance }} has not heard of the issuer service for "
        "{{ $value | humanizeDuration }}: revocations do not reach its pods",
    ),
    Alert(
        "AgentidNodeRenewalsOverdue", _NODE,
        "agentid_node_renewal_overdue_seconds > 60", "0m", _CRITICAL,
        "A pod's certificate on {{ $labels.instance }} was due to be renewed "
        "{{ $value | humanizeDuration }} ago and was not",
    ),
    Alert(
        "AgentidNodeCertificateExpires", _NODE,
        "agentid_node_certificate_expiry_seconds < 15", "0m", _CRITICAL,
        "A running pod's certificate on {{ $labels.instance }} expires in "
        "{{ $value | humanizeDuration }}",
    ),
)  # fmt: skip


def render() -> str:
    """The file, as `rule_files` of Prometheus and `spec` of a PrometheusRule take it."""
    groups = [
        {
            "name": group,
            "rules": [
                {
                    "alert": alert.name,
                    "expr": alert.expr,
                    "for": alert.wait,
                    "labels": {"severity": alert.severity},
                    "annotations": {
                        "summary": alert.summary,
                        "runbook": f"docs/operations/runbooks/{alert.name}.md",
                    },
                }
                for alert in ALERTS
                if alert.group == group
            ],
        }
        for group in (_OPERATOR, _WEBHOOK, _RESPONDER, _NODE)
    ]
    text: str = yaml.safe_dump({"groups": groups}, sort_keys=False, width=100)
    return f"# Generated by `make monitoring` from monitoring/rules.py.\n{text}"
