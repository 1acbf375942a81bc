"""What is served for Prometheus is what the page says, and every reason stands there."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

from agentid.admission.metrics import AdmissionMetrics, AdmissionSnapshot
from agentid.admission.verdict import Outcome, Verdict
from agentid.api.conditions import Reason
from monitoring.documented import ROOT, documented

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = (ROOT / "docs/reference/admission.md").read_text(encoding="utf-8")


def served() -> Iterator[tuple[str, str, frozenset[str]]]:
    """Name, kind and labels of everything, after everything was counted once."""
    metrics = AdmissionMetrics()
    metrics.count_review(Verdict(Outcome.MOUNTED))
    metrics.refused.labels("path").inc()
    metrics.observe_state(lambda: AdmissionSnapshot(1, 2, 3.0, 4.0, 0.1))
    for family in text_string_to_metric_families(metrics.render().decode()):
        if family.name.endswith("_created"):
            continue
        labels = {name for sample in family.samples for name in sample.labels} - {"le"}
        name = f"{family.name}_total" if family.type == "counter" else family.name
        yield name, family.type, frozenset(labels)


def test_the_page_lists_what_is_served() -> None:
    """With kind and labels, and nothing that is not."""
    page = {
        name: (family.kind, family.labels)
        for name, family in documented().items()
        if name.startswith("agentid_admission_")
    }
    assert {name: (kind, labels) for name, kind, labels in served()} == page


def test_before_there_is_a_certificate_it_has_no_expiry() -> None:
    """Rather than a wrong one."""
    metrics = AdmissionMetrics()
    metrics.observe_state(lambda: AdmissionSnapshot(0, 0, float("inf"), None, 0.0))
    assert b"tls_expiry" not in metrics.render()


@pytest.mark.parametrize("outcome", list(Outcome))
def test_the_page_tells_every_outcome(outcome: Outcome) -> None:
    """Whoever reads one in a metric finds it."""
    assert f"`{outcome}`" in PAGE


def test_the_reasons_on_the_page_exist() -> None:
    """Each is an outcome or the reason of a condition."""
    table = PAGE.partition("## Why a pod is refused")[2].partition("## Metrics")[0]
    found = set(re.findall(r"`([A-Z][A-Za-z]+)`", table))
    assert found <= {*map(str, Outcome), *map(str, Reason)}
