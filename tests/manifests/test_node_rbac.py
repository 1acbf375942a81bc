"""What the node plugin's ServiceAccount may do: tell pods why they have no identity."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from tests.manifests.conftest import User
from tests.manifests.test_service_accounts import SYSTEM, review

if TYPE_CHECKING:
    from e2e.providers import Cluster

pytestmark = pytest.mark.integration

EVENTS: Final = {("events.events.k8s.io", "create")}


@pytest.fixture
def plugin(installed: Cluster) -> User:
    """The node plugin's ServiceAccount."""
    return User(installed, f"system:serviceaccount:{SYSTEM}:agentid-node")


@pytest.mark.parametrize("namespace", ["default", SYSTEM, "kube-system"])
def test_it_writes_events_and_nothing_else(installed: Cluster, namespace: str) -> None:
    """All that it has beyond any other ServiceAccount; it reads nothing, at home neither."""
    somebody, plugin = (
        set(review(installed, f"system:serviceaccount:{SYSTEM}:{name}", namespace))
        for name in ("somebody", "agentid-node")
    )
    assert plugin - somebody == EVENTS


@pytest.mark.parametrize(
    "what",
    [
        "get secrets/agentid-issuer", "get configmaps/agentid-issuer-ca", "get pods", "get nodes",
        "get agentidentities.agentid.dev", "create serviceaccounts/token",
        "create tokenreviews.authentication.k8s.io", "get csidrivers.storage.k8s.io",
        "patch events.events.k8s.io", "create events", "create podcertificaterequests",
    ],
)  # fmt: skip
def test_it_may_not(plugin: User, what: str) -> None:
    """At home; elsewhere it may less."""
    assert plugin("auth", "can-i", *what.split(), "-n", SYSTEM).returncode
