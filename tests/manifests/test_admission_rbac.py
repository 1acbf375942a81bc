"""What the webhook's ServiceAccount may do: read what it mounts, and one Secret by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from tests.manifests.conftest import User
from tests.manifests.test_rbac import SYSTEM, granted

if TYPE_CHECKING:
    from e2e.providers import Cluster

pytestmark = pytest.mark.integration

KINDS: Final = {
    (f"{kind}.agentid.dev", "get list watch")
    for kind in ("agentidentities", "agentclasses", "agentissuers", "agentrevocations")
}
POLICY: Final = "agentid-pod-certificate-requests"


@pytest.fixture
def webhook(installed: Cluster) -> User:
    """The webhook's ServiceAccount."""
    return User(installed, f"system:serviceaccount:{SYSTEM}:agentid-admission")


def test_it_reads_identities_and_one_secret(webhook: User) -> None:
    """All that RBAC grants, and no verb among it that writes."""
    assert granted(webhook, "default") == KINDS
    assert granted(webhook, SYSTEM) == KINDS | {("secrets", "get list watch")}
    table = webhook("auth", "can-i", "--list", "--no-headers", "-n", SYSTEM)
    (line,) = [one for one in table.stdout.splitlines() if one.startswith("secrets")]
    assert "[agentid-admission]" in line


@pytest.mark.parametrize("kind", ["policies", "policybindings"])
def test_it_sees_whether_the_door_for_pods_is_guarded(webhook: User, kind: str) -> None:
    """By the name of one policy."""
    resource = f"validatingadmission{kind}.admissionregistration.k8s.io"
    webhook.may("auth", "can-i", "get", f"{resource}/{POLICY}")
    for what in ("update", "patch", "delete"):
        assert webhook("auth", "can-i", what, f"{resource}/{POLICY}").returncode, what
    assert webhook("auth", "can-i", "list", resource).returncode


@pytest.mark.parametrize(
    "what",
    [
        "get secrets", "get secrets/agentid-responder", "get pods", "create pods",
        "update agentidentities.agentid.dev", "patch mutatingwebhookconfigurations/agentid-pods",
        "get configmaps", "update secrets/agentid-admission", "delete secrets/agentid-admission",
    ],
)  # fmt: skip
def test_it_may_not(webhook: User, what: str) -> None:
    """At home; elsewhere it may less."""
    assert webhook("auth", "can-i", *what.split(), "-n", SYSTEM).returncode
