"""What the page needs is granted on its own, and nothing of it lets the responder write."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.api import until
from tests.support.inventory import rights, site_of, token_of
from tests.support.probing import ask

if TYPE_CHECKING:
    from collections.abc import Callable

    from e2e.providers import Cluster

pytestmark = pytest.mark.integration


def test_the_page_waits_for_its_rights_and_verifiers_do_not(
    installed: Cluster, make_namespace: Callable[[], str]
) -> None:
    """Without them it says what to apply, and HTTP serves; once they are granted, it is there."""
    namespace = make_namespace()
    installed.kubectl("create", "serviceaccount", "viewer", "-n", namespace)
    role = ("--clusterrole=agentid-view", f"--serviceaccount={namespace}:viewer")
    installed.kubectl("create", "rolebinding", "viewer", "-n", namespace, *role)
    token = token_of(installed, namespace, "viewer")
    path = f"/agents.json?namespace={namespace}"
    with site_of(installed, "inventory-late", "--inventory-review", "1") as site:
        until("a log line", lambda: "inventory_not_readable" in site.running.log.read_text())
        answer = site.ask(path, token)
        assert answer.status == 503
        assert answer.json["error"].startswith("The responder may not ask the API server")
        assert "manifests/inventory.yaml" in answer.json["error"]
        probes = site.told("responder_started", "probes")
        assert isinstance(probes, int)
        assert "agentid_responder_ledger_entries" in ask(probes, "/metrics")[1]
        until("readiness", lambda: ask(probes, "/readyz")[0] == 200)
        assert "the inventory page cannot read agentidentities" in ask(probes, "/readyz")[1]
        with rights(installed):
            until("the page", lambda: site.ask(path, token).status == 200, 60)
        assert site.running.stop() == 0
