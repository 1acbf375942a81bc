"""Metrics as Prometheus scrapes them: what the page about them says, and its conventions."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from agentid.issuing.metrics import IssuingMetrics
from agentid.policy.plan import Cause
from agentid.telemetry.metrics import Metrics, Snapshot
from agentid.telemetry.probes import serve_probes

if TYPE_CHECKING:
    from collections.abc import Sequence

PAGE = Path(__file__).parents[2] / "docs/reference/metrics.md"
STATE = Snapshot(
    leader=True,
    identities=3,
    queue_depth={"revocation": 1, "change": 2},
    queue_oldest_seconds=1.5,
    renewals_due=4,
    live_certificates={"Low": 5},
    expiry_seconds={"Low": 600.0},
    authority_expiry_seconds={("main", "Root", "aa" * 8): -7.0},
    ledger={"segments": 2, "bytes": 2048, "entries": 6},
    ledger_alarms=1,
    keys_in_use={("batch", "ECDSAP256"): 5},
    crl_seconds={"main": 900.0},
    incidents={"Executed": 2},
    loop_lag_seconds=0.25,
    not_ready={"ExceedsClass": 2},
    overdue=2,
    overdue_seconds=90.0,
    issuer_conditions={("main", "Ready"): True, ("main", "AuthoritiesCurrent"): False},
    authorities={("main", "Issuing", "Staged"): 1},
    bundles={"main": 3},
    published_bundles={"main": 2},
    federation_age_seconds={("main", "partner.example"): 60.0},
    audit_failing=False,
    webhook_configured=True,
)


@dataclass(frozen=True, slots=True)
class Family:
    """A metric by what a query has to know of it."""

    kind: str
    labels: frozenset[str]


class Healthy:
    """Nothing is wrong."""

    def unhealthy(self) -> Sequence[str]:
        """Nothing."""
        return ()

    def unready(self) -> Sequence[str]:
        """Nothing."""
        return ()


def used() -> Metrics:
    """All metrics, each fed once."""
    metrics = Metrics()
    metrics.issuances.labels("Secret", "main", "first").inc()
    metrics.failures.labels("LedgerUnavailable").inc()
    metrics.revocations.labels("superseded").inc(2)
    metrics.count_write("secrets", "create", 201)
    metrics.queue_seconds.observe(0.02)
    metrics.issue_seconds.observe(0.04)
    metrics.commit_seconds.observe(0.01)
    metrics.commit_bytes.inc(512)
    metrics.commit_records.observe(3)
    metrics.crls.labels("main").inc()
    metrics.crl_failures.inc()
    metrics.crl_seconds.observe(0.03)
    metrics.authority_steps.labels("main", "Promote").inc()
    metrics.federation_failures.labels("main", "partner.example").inc()
    metrics.audit_events.labels("Issued").inc()
    metrics.audit_lost.inc()
    metrics.pod_certificates.labels("Issued", "").inc()
    metrics.pod_certificate_seconds.observe(0.02)
    metrics.observe_requests(lambda: {"Suspended": [3.0, 61.5]})
    metrics.observe_state(lambda: STATE)
    issuer_service = IssuingMetrics(metrics.registry)
    issuer_service.x509_answered("")
    issuer_service.refused.labels("size").inc()
    issuer_service.seconds.labels("/node/v1/x509").observe(0.01)
    issuer_service.observe(lambda: 1, lambda: 2)
    return metrics


def exposed(text: str) -> dict[str, Family]:
    """What a scrape holds, by the names that queries use."""
    found = {}
    for family in text_string_to_metric_families(text):
        if family.name.endswith("_created"):
            continue
        labels = frozenset(
            label for sample in family.samples for label in sample.labels if label != "le"
        )
        name = f"{family.name}_total" if family.type == "counter" else family.name
        found[name] = Family(family.type, labels)
    return found


def documented() -> dict[str, Family]:
    """What the page says, row by row."""
    rows = re.findall(r"^\| `(agentid_\w+)` \| (\w+) \|([^|]*)\|", PAGE.read_text(), re.MULTILINE)
    return {
        name: Family(kind, frozenset(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows
    }


async def scrape(metrics: Metrics) -> str:
    """Get the metrics as Prometheus does."""
    async with (
        serve_probes("127.0.0.1", 0, Healthy(), metrics.render) as port,
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}/metrics") as answer,
    ):
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "text/plain; version=0.0.4"
        return await answer.text()


def value(text: str, name: str, **labels: str) -> float:
    """One sample."""
    (found,) = [
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name and sample.labels == labels
    ]
    return found


async def test_the_page_and_the_registry_say_the_same() -> None:
    """Every metric has its row, and every row its metric, with the same type and labels."""
    assert exposed(await scrape(used())) == documented()


def test_the_page_names_every_cause() -> None:
    """The values of a label that people write into queries are complete."""
    (row,) = [each for each in PAGE.read_text().splitlines() if "`agentid_issuances_total`" in each]
    for cause in Cause:
        assert f"`{cause.value}`" in row


@pytest.mark.parametrize("name", sorted(documented()))
def test_names_follow_the_conventions(name: str) -> None:
    """Counters end in _total and nothing else does; base units, and never a unit in a label."""
    family = exposed(used().render().decode())[name]
    assert name.endswith("_total") == (family.kind == "counter")
    assert not re.search(r"_(ms|millis|milliseconds|minutes|hours|kb|mb|kilobytes|percent)\b", name)
    assert not re.search(r"_(count|sum|bucket|info)$", name)
    assert not family.labels & {"unit", "le", "quantile", "instance", "job", "pod"}
    if family.kind == "histogram":
        assert re.search(r"_(seconds|bytes|records)$", name)


async def test_counts_what_happened() -> None:
    """Counters and histograms, under the names that dashboards use."""
    text = await scrape(used())
    labels = {"door": "Secret", "issuer": "main", "cause": "first"}
    assert value(text, "agentid_issuances_total", **labels) == 1
    assert value(text, "agentid_revocations_total", reason="superseded") == 2
    written = {"resource": "secrets", "verb": "create", "code": "201"}
    assert value(text, "agentid_api_writes_total", **written) == 1
    assert value(text, "agentid_queue_wait_seconds_sum") == 0.02
    assert value(text, "agentid_issue_seconds_count") == 1
    assert value(text, "agentid_issue_seconds_bucket", le="0.025") == 0
    assert value(text, "agentid_issue_seconds_bucket", le="0.05") == 1
    assert value(text, "agentid_ledger_commit_bytes_total") == 512


async def test_state_is_read_at_every_scrape() -> None:
    """Gauges show the moment; what is gone leaves no last value behind."""
    metrics, states = Metrics(), [STATE]
    metrics.observe_state(lambda: states[-1])
    first = await scrape(metrics)
    assert value(first, "agentid_leader") == 1
    assert value(first, "agentid_identities") == 3
    assert value(first, "agentid_queue_depth", lane="change") == 2
    assert value(first, "agentid_queue_oldest_seconds") == 1.5
    assert value(first, "agentid_renewals_due") == 4
    assert value(first, "agentid_live_certificates", tier="Low") == 5
    assert value(first, "agentid_certificate_expiry_seconds", tier="Low") == 600
    assert (
        value(
            first,
            "agentid_authority_expiry_seconds",
            issuer="main",
            role="Root",
            authority="aa" * 8,
        )
        == -7
    )
    assert value(first, "agentid_ledger_bytes") == 2048
    assert value(first, "agentid_ledger_alarms") == 1
    assert value(first, "agentid_event_loop_lag_seconds") == 0.25
    states.append(replace(STATE, leader=False, live_certificates={}))
    second = await scrape(metrics)
    assert value(second, "agentid_leader") == 0
    assert "agentid_live_certificates{" not in second
