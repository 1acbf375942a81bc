"""The dashboard, as Grafana imports it: one row a question, the queries beneath it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

__all__ = ["ROWS", "Panel", "Row", "render"]


@dataclass(frozen=True, slots=True)
class Query:
    """One line of a panel.

    Attributes:
        expr: In PromQL.
        legend: With the labels of the series in it.
    """

    expr: str
    legend: str


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture.

    Attributes:
        title: What it shows.
        queries: Its lines.
        unit: As Grafana calls it.
        kind: `timeseries` or `stat`.
        tells: What to see in it.
        red_from: The value from which on it is red; below which it is, with `red_below`.
        red_below: Whether small values are the bad ones.
    """

    title: str
    queries: tuple[Query, ...]
    unit: str = "short"
    kind: str = "timeseries"
    tells: str = ""
    red_from: float | None = None
    red_below: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """Panels that answer one question together."""

    title: str
    panels: tuple[Panel, ...]


_WIDTH: Final = 8
_HEIGHT: Final = 7
_WHOLE: Final = 24
_RATE: Final = "[$__rate_interval]"


def _q(expr: str, legend: str = "") -> Query:
    return Query(expr, legend)


def _leads(expr: str) -> str:
    """A gauge as the leader shows it."""
    return f"{expr} and on (instance) agentid_leader == 1"


def _rate(metric: str, by: str) -> Query:
    return Query(
        f"sum by ({by}) (rate({metric}{_RATE}))", f"{{{{{by.split(', ', maxsplit=1)[0]}}}}}"
    )


def _quantiles(metric: str) -> tuple[Query, ...]:
    return tuple(
        Query(
            f"histogram_quantile({quantile}, sum by (le) (rate({metric}_bucket{_RATE})))",
            f"p{quantile * 100:.0f}",
        )
        for quantile in (0.5, 0.95, 0.99)
    )


ROWS: Final = (
    Row(
        "Does it work?",
        (
            Panel(
                "Leaders", (_q("sum(agentid_leader)"),), kind="stat", red_from=1, red_below=True,
                tells="One. None, and nothing is issued, renewed or revoked.",
            ),
            Panel(
                "Longest wait in the queue", (_q(_leads("agentid_queue_oldest_seconds"), "wait"),),
                unit="s", kind="stat", red_from=300,
            ),
            Panel(
                "Renewals overdue", (_q(_leads("agentid_renewals_overdue"), "certificates"),),
                kind="stat", red_from=1,
                tells="Certificates past their renewalTime that have not been renewed.",
            ),
            Panel(
                "Identities not Ready, by reason",
                (_q(_leads("agentid_identities_not_ready"), "{{reason}}"),),
            ),
            Panel("Queue", (_q(_leads("agentid_queue_depth"), "{{lane}}"),)),
            Panel(
                "Event loop lag", (_q("agentid_event_loop_lag_seconds", "{{instance}}"),), unit="s"
            ),
        ),
    ),
    Row(
        "What is it doing?",
        (
            Panel("Issued, by cause", (_rate("agentid_issuances_total", "cause"),), unit="ops"),
            Panel(
                "From the beginning of a look to the status", _quantiles("agentid_issue_seconds"),
                unit="s",
            ),
            Panel("Wait in the queue", _quantiles("agentid_queue_wait_seconds"), unit="s"),
            Panel("Failures, by reason", (_rate("agentid_failures_total", "reason"),), unit="ops"),
            Panel(
                "Revocations, by reason", (_rate("agentid_revocations_total", "reason"),),
                unit="ops",
            ),
            Panel("Incidents, by phase", (_q(_leads("agentid_incidents"), "{{phase}}"),)),
        ),
    ),
    Row(
        "Which certificates are there?",
        (
            Panel("Live, by tier", (_q(_leads("agentid_live_certificates"), "{{tier}}"),)),
            Panel(
                "In use, by class and algorithm",
                (_q(_leads("agentid_live_keys"), "{{class}} {{algorithm}}"),),
                tells="How far a migration to another algorithm is.",
            ),
            Panel(
                "Until the first of a tier expires",
                (_q(_leads("agentid_certificate_expiry_seconds"), "{{tier}}"),), unit="s",
            ),
            Panel("AgentIdentities", (_q(_leads("agentid_identities"), "identities"),)),
            Panel(
                "Renewal overdue for", (_q(_leads("agentid_renewal_overdue_seconds"), "longest"),),
                unit="s",
            ),
            Panel("Due to be looked at", (_q(_leads("agentid_renewals_due"), "identities"),)),
        ),
    ),
    Row(
        "How are the authorities?",
        (
            Panel(
                "Until an authority expires",
                (_q(_leads("agentid_authority_expiry_seconds"),
                    "{{issuer}} {{role}} {{authority}}"),),
                unit="s",
            ),
            Panel(
                "Authorities, by state",
                (_q(_leads("agentid_authorities"), "{{issuer}} {{role}} {{state}}"),),
                tells="Staged for a while, then Signing: a rotation.",
            ),
            Panel(
                "Steps of rotations",
                (_q(f"sum by (issuer, step) (increase(agentid_authority_steps_total{_RATE}))",
                    "{{issuer}} {{step}}"),),
            ),
            Panel(
                "Conditions of issuers",
                (_q(_leads("agentid_issuer_condition"), "{{issuer}} {{condition}}"),),
            ),
            Panel(
                "Trust bundle",
                (
                    _q(_leads("agentid_bundle_sequence"), "{{issuer}}"),
                    _q(_leads("agentid_bundle_published_sequence"), "{{issuer}}, published"),
                ),
                tells="The two lines of an issuer lie on one another.",
            ),
            Panel(
                "Foreign bundles",
                (
                    _q(_leads("agentid_federation_age_seconds"),
                       "{{issuer}} {{trust_domain}}, age"),
                    _q("sum by (trust_domain) "
                       f"(increase(agentid_federation_failures_total{_RATE}))",
                       "{{trust_domain}}, failures"),
                ),
            ),
        ),
    ),
    Row(
        "Are CRLs fresh?",
        (
            Panel(
                "Until the first CRL runs out",
                (_q(_leads("agentid_crl_next_update_seconds"), "{{issuer}}"),), unit="s",
            ),
            Panel(
                "CRLs published and failed",
                (
                    _rate("agentid_crls_published_total", "issuer"),
                    _q(f"sum(rate(agentid_crl_failures_total{_RATE}))", "failed rounds"),
                ),
                unit="ops",
            ),
            Panel(
                "From signing to stored", _quantiles("agentid_crl_publish_seconds"), unit="s"
            ),
        ),
    ),
    Row(
        "Is the ledger well?",
        (
            Panel(
                "Alarms", (_q("max(agentid_ledger_alarms)", "faults"),), kind="stat", red_from=1
            ),
            Panel("Commits", _quantiles("agentid_ledger_commit_seconds"), unit="s"),
            Panel(
                "Records in a commit",
                (_q(f"sum(rate(agentid_ledger_commit_records_sum{_RATE})) / "
                    f"sum(rate(agentid_ledger_commit_records_count{_RATE}))", "on average"),),
            ),
            Panel(
                "Size",
                (_q(_leads("agentid_ledger_bytes"), "on record"),
                 _q(f"sum(rate(agentid_ledger_commit_bytes_total{_RATE}))", "written a second")),
                unit="bytes",
            ),
            Panel(
                "Objects and entries",
                (_q(_leads("agentid_ledger_segments"), "segments"),
                 _q(_leads("agentid_ledger_entries"), "entries")),
            ),
            Panel(
                "Audit stream",
                (
                    _rate("agentid_audit_events_total", "decision"),
                    _q(f"sum(rate(agentid_audit_lost_total{_RATE}))", "lost"),
                    _q("max(agentid_audit_failing)", "failing"),
                ),
                unit="ops",
            ),
        ),
    ),
    Row(
        "What does it cost the API server?",
        (
            Panel(
                "Writes, by resource",
                (_q(f"sum by (resource, verb) (rate(agentid_api_writes_total{_RATE}))",
                    "{{verb}} {{resource}}"),),
                unit="reqps",
            ),
            Panel(
                "Writes that failed",
                (_q("sum by (resource, code) (rate(agentid_api_writes_total"
                    f'{{code!~"2.."}}{_RATE}))', "{{resource}} {{code}}"),),
                unit="reqps", tells="409 is another writer; 0 is no answer.",
            ),
        ),
    ),
    Row(
        "What do verifiers get?",
        (
            Panel(
                "Requests, by route", (_rate("agentid_responder_requests_total", "route"),),
                unit="reqps",
            ),
            Panel(
                "Requests, by status", (_rate("agentid_responder_requests_total", "code"),),
                unit="reqps",
            ),
            Panel(
                "OCSP answers", (
                    _rate("agentid_responder_ocsp_answers_total", "status"),
                    _q(f"sum(rate(agentid_responder_ocsp_signatures_total{_RATE}))", "signed"),
                ), unit="reqps",
            ),
            Panel(
                "Refused, by limit", (_rate("agentid_responder_refused_total", "limit"),),
                unit="reqps",
            ),
            Panel(
                "Heard of the ledger, and of what is published",
                (
                    _q("agentid_responder_ledger_age_seconds", "{{instance}} ledger"),
                    _q("agentid_responder_publications_age_seconds", "{{instance}} published"),
                ),
                unit="s",
            ),
            Panel(
                "Until a served CRL runs out",
                (_q("agentid_responder_crl_next_update_seconds", "{{instance}} {{issuer}}"),),
                unit="s",
            ),
            Panel(
                "Until a certificate of the responder expires",
                (
                    _q("min by (issuer) (agentid_responder_ocsp_expiry_seconds)",
                       "{{issuer}} OCSP"),
                    _q("min by (issuer) (agentid_responder_tls_expiry_seconds)",
                       "{{issuer}} HTTPS"),
                ),
                unit="s",
            ),
            Panel(
                "Connections and feeds",
                (
                    _q("sum by (port) (agentid_responder_connections)", "{{port}}"),
                    _q("sum(agentid_responder_feed_clients)", "feeds"),
                    _q(f"sum by (reason) (rate(agentid_responder_feed_endings_total{_RATE}))",
                       "feeds ended, {{reason}}"),
                ),
            ),
            Panel(
                "Bundle that is served",
                (_q("agentid_responder_bundle_sequence", "{{instance}} {{issuer}}"),),
            ),
        ),
    ),
)  # fmt: skip


def render() -> str:
    """The file."""
    panels: list[dict[str, object]] = []
    top = 0
    for row in ROWS:
        panels.append(
            {
                "id": len(panels) + 1,
                "type": "row",
                "title": row.title,
                "collapsed": False,
                "gridPos": {"x": 0, "y": top, "w": _WHOLE, "h": 1},
                "panels": [],
            }
        )
        top += 1
        for position, panel in enumerate(row.panels):
            x, line = position * _WIDTH % _WHOLE, position * _WIDTH // _WHOLE
            place = {"x": x, "y": top + line * _HEIGHT, "w": _WIDTH, "h": _HEIGHT}
            panels.append(_panel(len(panels) + 1, panel, place))
        top += -(-len(row.panels) * _WIDTH // _WHOLE) * _HEIGHT
    dashboard = {
        "uid": "agentid",
        "title": "agentid",
        "description": "Generated by `make monitoring` from monitoring/dashboard.py.",
        "tags": ["agentid"],
        "schemaVersion": 39,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "browser",
        "templating": {
            "list": [
                {
                    "name": "datasource",
                    "label": "Prometheus",
                    "type": "datasource",
                    "query": "prometheus",
                    "current": {},
                    "hide": 0,
                }
            ]
        },
        "annotations": {"list": []},
        "links": [],
        "panels": panels,
    }
    return json.dumps(dashboard, indent=2) + "\n"


def _panel(number: int, panel: Panel, place: dict[str, int]) -> dict[str, object]:
    source = {"type": "prometheus", "uid": "${datasource}"}
    steps: list[dict[str, object]] = [{"color": "green", "value": None}]
    if panel.red_from is not None:
        if panel.red_below:
            steps[0]["color"] = "red"
        steps.append({"color": "green" if panel.red_below else "red", "value": panel.red_from})
    options: dict[str, object] = {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    if panel.kind == "stat":
        options = {
            "colorMode": "background",
            "graphMode": "area",
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        }
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.tells,
        "datasource": source,
        "gridPos": place,
        "fieldConfig": {
            "defaults": {
                "unit": panel.unit,
                "thresholds": {"mode": "absolute", "steps": steps},
            },
            "overrides": [],
        },
        "options": options,
        "targets": [
            {
                "refId": chr(ord("A") + index),
                "datasource": source,
                "expr": query.expr,
                "legendFormat": query.legend or "__auto",
            }
            for index, query in enumerate(panel.queries)
        ],
    }
