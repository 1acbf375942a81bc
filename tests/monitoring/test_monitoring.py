"""Rules, dashboard, runbooks and schema: generated, and made of what is really there."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from typer.testing import CliRunner

from agentid.api.conditions import Reason
from agentid.cli.app import app
from agentid.policy.entitlement import WithheldReason
from agentid.signer.reasons import WaitingReason
from monitoring.__main__ import FILES, main
from monitoring.cases import CASES
from monitoring.dashboard import ROWS
from monitoring.documented import ROOT, documented, unknown_in
from monitoring.rules import ALERTS, Alert

if TYPE_CHECKING:
    from pathlib import Path

    from monitoring.dashboard import Panel

PAGES = ROOT / "docs/operations/runbooks"
PANELS = [panel for row in ROWS for panel in row.panels]


def test_generated_files_are_current(capsys: pytest.CaptureFixture[str]) -> None:
    """What is checked in is what the code says."""
    assert main(["--check"]) == 0, capsys.readouterr().err


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_an_alert_asks_for_what_there_is(alert: Alert) -> None:
    """Each metric and label of its expression is documented, as are the labels in its sentence."""
    assert unknown_in(alert.expr) == []
    known = frozenset(label for family in documented().values() for label in family.labels)
    for label in re.findall(r"\$labels\.(\w+)", alert.summary):
        assert label in known | {"instance"}
        assert "by (" not in alert.expr or re.search(rf"by \([^)]*\b{label}\b", alert.expr)


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel.title)
def test_a_panel_asks_for_what_there_is(panel: Panel) -> None:
    """In each query, and in the legend."""
    for query in panel.queries:
        assert unknown_in(query.expr) == []
        legend = " ".join(re.findall(r"{{(\w+)}}", query.legend))
        assert unknown_in(f"sum by ({', '.join(legend.split())}) ({query.expr})") == []


THE_PODS_OWN = {
    WaitingReason.SERVICE_ACCOUNT_NOT_FOUND,
    WithheldReason.IDENTITY_NOT_FOUND,
    WithheldReason.DELIVERED_OTHERWISE,
    WithheldReason.NOT_ITS_SERVICE_ACCOUNT,
    WithheldReason.UNSUPPORTED_KEY_TYPE,
}
"""What whoever wrote the pod mends; nobody is called for it."""


def test_whoever_is_called_for_a_waiting_pod_can_mend_it() -> None:
    """The alert names reasons that there are, and every one that is not the pod's own."""
    (alert,) = [each for each in ALERTS if each.name == "AgentidPodCertificatesWait"]
    (pattern,) = re.findall(r'reason=~"([^"]*)"', alert.expr)
    called = set(pattern.split("|"))
    own_to_requests = {*WaitingReason, *WithheldReason}
    assert called <= own_to_requests | set(Reason) | {"Unseen"}
    assert own_to_requests - called == THE_PODS_OWN


def test_a_wrong_query_is_noticed() -> None:
    """A metric, a label and a histogram that are not there, each told."""
    assert unknown_in("sum(agentid_leaders)") == ["agentid_leaders is no metric"]
    assert unknown_in('agentid_queue_depth{lan="x"}') == ["agentid_queue_depth has no label lan"]
    assert unknown_in("sum by (tier) (agentid_queue_depth)") == ["nothing in it has a label tier"]
    assert unknown_in("agentid_issue_seconds") == [
        "agentid_issue_seconds is a histogram; take its _bucket, _sum or _count"
    ]
    assert unknown_in("agentid_leader_count") == ["agentid_leader_count is no metric"]


def test_each_alert_is_tried() -> None:
    """By `make monitoring-test`, with series that raise it and series that do not."""
    assert {case.alert for case in CASES} == {alert.name for alert in ALERTS}
    assert all(case.raises != case.stays for case in CASES)


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_an_alert_has_its_page(alert: Alert) -> None:
    """What it means, what users notice and what to do, in this order; the index leads to it."""
    page = (PAGES / f"{alert.name}.md").read_text()
    titles = re.findall(r"^#+ (.*)", page, re.MULTILINE)
    assert titles == [alert.name, "What it means", "What users notice", "What to do"]
    assert f"[{alert.name}]({alert.name}.md)" in (PAGES / "README.md").read_text()


@pytest.mark.parametrize("page", sorted(PAGES.glob("*.md")), ids=lambda page: page.stem)
def test_a_page_names_commands_and_pages_that_exist(page: Path) -> None:
    """Whoever is woken up types them as they stand there."""
    text = page.read_text()
    for line in re.findall(r"^ *agentid (.*)|`agentid ([a-z ]+)", text, re.MULTILINE):
        words = re.match(r"[a-z ]*(?![A-Z-])", "".join(line))
        assert words is not None
        result = CliRunner().invoke(app, [*words[0].split(), "--help"])
        assert result.exit_code == 0, (line, result.output)
        for option in re.findall(r"--[a-z-]+", line[0]):
            assert option in result.output
    for link in re.findall(r"\]\(([^)#]+)", text):
        assert (page.parent / link).exists(), link


def test_no_page_is_left_over() -> None:
    """An alert that went takes its page with it."""
    pages = {page.stem for page in PAGES.glob("*.md")} - {"README"}
    assert pages == {alert.name for alert in ALERTS}


def test_rules_are_a_prometheus_rule() -> None:
    """The groups, and nothing that differs from one installation to another."""
    rules: Any = yaml.safe_load(FILES["helm/agentid/files/rules.yaml"]())
    assert [group["name"] for group in rules["groups"]] == [
        "agentid-operator", "agentid-webhook", "agentid-responder", "agentid-node",
    ]  # fmt: skip
    names = [rule["alert"] for group in rules["groups"] for rule in group["rules"]]
    assert sorted(names) == sorted(alert.name for alert in ALERTS)
    assert all((ROOT / rule["annotations"]["runbook"]).exists()
               for group in rules["groups"] for rule in group["rules"])  # fmt: skip


def test_panels_of_the_dashboard_do_not_lie_on_one_another() -> None:
    """Each has a number of its own and a place of its own within the width."""
    dashboard: Any = json.loads(FILES["helm/agentid/files/dashboard.json"]())
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert max(x for x, _ in cells) < 24
        assert not cells & taken
        taken |= cells
