"""What the responder's ServiceAccount may do: read in one namespace, and one Secret by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from tests.manifests.conftest import User
from tests.manifests.test_rbac import SYSTEM, granted

if TYPE_CHECKING:
    from e2e.providers import Cluster

pytestmark = pytest.mark.integration

RESPONDER: Final = "system:serviceaccount:agentid-system:agentid-responder"

EVERYBODY: Final = {
    ("agentclasses.agentid.dev", "get list watch"),
    ("agentissuers.agentid.dev", "get list watch"),
}
"""What every authenticated user may read (`manifests/rbac/users.yaml`)."""


@pytest.fixture
def responder(installed: Cluster) -> User:
    """The responder's ServiceAccount."""
    return User(installed, RESPONDER)


def test_it_reads_in_its_own_namespace_alone(responder: User) -> None:
    """All that RBAC grants, and no verb among it that writes."""
    assert granted(responder, "default") == EVERYBODY
    assert granted(responder, SYSTEM) == EVERYBODY | {
        ("configmaps", "get list watch"),
        ("secrets", "get list watch"),
    }
    table = responder("auth", "can-i", "--list", "--no-headers", "-n", SYSTEM)
    (line,) = [one for one in table.stdout.splitlines() if one.startswith("secrets")]
    assert "[agentid-responder]" in line


@pytest.mark.parametrize(
    "what",
    [
        f"{verb} {resource}"
        for resource in (
            "configmaps", "secrets", "secrets/agentid-responder", "leases.coordination.k8s.io",
            "events", "serviceaccounts/token", "agentidentities.agentid.dev",
            "agentissuers.agentid.dev",
        )
        for verb in ("create", "update", "patch", "delete", "deletecollection")
    ]
    + [
        "get secrets", "list secrets", "watch secrets", "get secrets/agentid-issuer-main",
        "get pods", "get agentidentities.agentid.dev", "impersonate users", "bind roles",
        "escalate roles",
    ],
)  # fmt: skip
def test_it_may_not(responder: User, what: str) -> None:
    """Asked of the API server's own authorizer."""
    verb, resource = what.split()
    answer = responder("auth", "can-i", verb, resource, "-n", SYSTEM)
    assert answer.stdout.strip().startswith("no"), answer.stdout


@pytest.mark.parametrize(
    "what",
    ["get configmaps", "list configmaps", "watch configmaps", "get secrets/agentid-responder"],
)
def test_it_may(responder: User, what: str) -> None:
    """What it is for."""
    verb, resource = what.split()
    assert responder("auth", "can-i", verb, resource, "-n", SYSTEM).stdout.strip() == "yes"
