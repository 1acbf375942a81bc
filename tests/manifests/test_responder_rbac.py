"""What the responder's ServiceAccount may do: read in one namespace, and one Secret by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from tests.manifests.conftest import User
from tests.manifests.test_rbac import SYSTEM, granted
from tests.support.inventory import rights

if TYPE_CHECKING:
    from collections.abc import Iterator

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


@pytest.fixture(scope="module")
def with_page(installed: Cluster) -> Iterator[User]:
    """The responder's ServiceAccount where the inventory page is on."""
    with rights(installed):
        yield User(installed, RESPONDER)


def test_with_the_page_it_reads_agents_everywhere_and_writes_nothing(with_page: User) -> None:
    """What `manifests/inventory.yaml` adds: reads of two kinds, and two reviews."""
    added = {("agentidentities.agentid.dev", "get list watch")}
    found = granted(with_page, "default")
    assert {resource for resource, _ in found} == {resource for resource, _ in EVERYBODY | added}
    assert {verb for _, verbs in found for verb in verbs.split()} == {"get", "list", "watch"}
    for review in (
        "tokenreviews.authentication.k8s.io",
        "subjectaccessreviews.authorization.k8s.io",
    ):
        answer = with_page("auth", "can-i", "create", review)
        assert answer.stdout.strip() == "yes", review


@pytest.mark.parametrize(
    "what",
    [
        f"{verb} {resource}"
        for resource in (
            "configmaps", "secrets", "agentidentities.agentid.dev", "agentissuers.agentid.dev",
            "agentidentities.agentid.dev/status", "serviceaccounts/token",
            "clusterrolebindings.rbac.authorization.k8s.io",
        )
        for verb in ("create", "update", "patch", "delete", "deletecollection")
    ]
    + ["list secrets", "get secrets/agentid-issuer-main", "get pods", "impersonate users",
       "create localsubjectaccessreviews.authorization.k8s.io"],
)  # fmt: skip
def test_with_the_page_it_may_not(with_page: User, what: str) -> None:
    """Reviews are the only thing that it may create, and nothing is stored of one."""
    verb, resource = what.split()
    answer = with_page("auth", "can-i", verb, resource, "-n", SYSTEM)
    assert answer.stdout.strip().startswith("no"), answer.stdout


def test_a_review_leaves_nothing_behind(with_page: User) -> None:
    """There is no such object to read, neither before nor after."""
    body = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenReview",
        "spec": {"token": "garbage"},
    }
    done = with_page("create", "-f", "-", "-o", "json", body=body)
    assert '"authenticated": true' not in done.stdout
    told = with_page("get", "--raw", "/apis/authentication.k8s.io/v1/tokenreviews")
    assert told.returncode != 0
