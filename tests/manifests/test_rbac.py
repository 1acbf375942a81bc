"""What the controller's ServiceAccount may do, and all that it may not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agentid.testing.ca import ThrowawayCA
from tests.manifests.conftest import User

if TYPE_CHECKING:
    from e2e.providers import Cluster
    from tests.manifests.conftest import Json

pytestmark = pytest.mark.integration

SYSTEM = "agentid-system"
SAMPLE = Path(__file__).parents[2] / "manifests" / "samples" / "incident.yaml"

EVERYWHERE = {
    ("agentclasses.agentid.dev", "get list watch"),
    ("agentissuers.agentid.dev", "get list watch"),
    ("agentrevocations.agentid.dev", "get list watch"),
    ("agentidentities.agentid.dev", "get list watch patch"),
    ("agentclasses.agentid.dev/status", "update"),
    ("agentissuers.agentid.dev/status", "update"),
    ("agentrevocations.agentid.dev/status", "update"),
    ("agentidentities.agentid.dev/status", "update"),
    ("agentidentities.agentid.dev/finalizers", "update"),
    ("secrets", "create update"),
    ("configmaps", "create update delete"),
    ("namespaces", "list watch"),
    ("pods", "get list watch"),
    ("serviceaccounts", "get"),
    ("nodes", "get"),
}
"""Beside what every authenticated user may: ask what it may do itself."""


def granted(user: User, namespace: str) -> set[tuple[str, str]]:
    """All rights on resources that RBAC gives in a namespace."""
    table = user("auth", "can-i", "--list", "--no-headers", "-n", namespace)
    assert table.returncode == 0, table.stderr
    found = set()
    for line in table.stdout.splitlines():
        resource, _, rest = line.partition(" ")
        verbs = rest[rest.rindex("[") + 1 : rest.rindex("]")]
        if resource and "k8s.io" not in resource:
            found.add((resource, verbs))
    return found


def test_nothing_but_this_is_granted_in_any_namespace(controller: User) -> None:
    """No read on Secrets, no patch on them, nothing of roles; of pods and nodes a look alone."""
    rights: dict[str, set[str]] = {}
    for resource, verbs in granted(controller, "default"):
        rights.setdefault(resource, set()).update(verbs.split())
    assert rights == {resource: set(verbs.split()) for resource, verbs in EVERYWHERE}


@pytest.mark.parametrize(
    "what",
    [
        "get secrets", "list secrets", "watch secrets", "patch secrets", "delete secrets",
        "deletecollection secrets",
        "create agentidentities.agentid.dev", "update agentidentities.agentid.dev",
        "delete agentidentities.agentid.dev", "use agentclasses.agentid.dev",
        "update agentclasses.agentid.dev", "patch agentissuers.agentid.dev",
        "create agentrevocations.agentid.dev", "patch agentrevocations.agentid.dev",
        "delete agentrevocations.agentid.dev",
        "escalate clusterroles", "bind clusterroles", "escalate roles", "bind roles",
        "create rolebindings", "create clusterrolebindings", "update clusterroles",
        "impersonate users", "impersonate groups", "impersonate serviceaccounts",
        "create serviceaccounts/token", "approve signers.certificates.k8s.io",
        "sign signers.certificates.k8s.io", "create pods", "update pods", "create pods/exec",
        "update pods/status", "create podcertificaterequests.certificates.k8s.io",
        "update mutatingwebhookconfigurations", "patch mutatingwebhookconfigurations",
        "list mutatingwebhookconfigurations", "create mutatingwebhookconfigurations",
        "list nodes", "list serviceaccounts",
        "get nodes --subresource=proxy", "create events",
        "get namespaces", "update namespaces", "patch namespaces",
        "get configmaps", "list configmaps", "watch configmaps", "patch configmaps",
        "deletecollection configmaps", "attest signers.certificates.k8s.io",
        "patch clustertrustbundles.certificates.k8s.io",
        "update validatingadmissionpolicies", "delete mutatingadmissionpolicybindings",
    ],
)  # fmt: skip
def test_it_may_not(controller: User, what: str) -> None:
    """Asked of the API server's own authorizer, outside the operator's namespace."""
    answer = controller("auth", "can-i", *what.split(), "-n", "default")
    assert answer.stdout.strip().startswith("no"), answer.stdout


@pytest.mark.parametrize(
    "what",
    [
        "list secrets", "watch secrets", "patch secrets", "delete secrets",
        "patch configmaps", "deletecollection configmaps", "delete leases",
        "create serviceaccounts/token", "create pods", "create pods/exec", "create rolebindings",
    ],
)  # fmt: skip
def test_it_may_not_at_home(controller: User, what: str) -> None:
    """Its own namespace is no playground."""
    verb, resource = what.split()
    answer = controller("auth", "can-i", verb, resource, "-n", SYSTEM)
    assert answer.stdout.strip().startswith("no"), answer.stdout


@pytest.mark.parametrize(
    "what",
    [
        "get secrets", "get configmaps", "list configmaps", "watch configmaps",
        "create configmaps", "update configmaps", "delete configmaps", "get leases",
        "create leases", "update leases",
    ],
)  # fmt: skip
def test_it_may_at_home(controller: User, what: str) -> None:
    """Authorities, the ledger and the Lease."""
    verb, resource = what.split()
    assert controller("auth", "can-i", verb, resource, "-n", SYSTEM).stdout.strip() == "yes"


def test_it_attests_for_its_own_signer_and_no_other(controller: User) -> None:
    """What stands in a ClusterTrustBundle of a signer is believed of that signer."""

    def trust_bundle(signer: str) -> Json:
        name = f"{signer.replace('/', ':')}:rbac-test"
        return {
            "apiVersion": "certificates.k8s.io/v1",
            "kind": "ClusterTrustBundle",
            "metadata": {"name": name},
            "spec": {"signerName": signer, "trustBundle": ThrowawayCA().bundle.pem.decode()},
        }

    create = ("create", "--dry-run=server", "-f", "-")
    controller.may(*create, body=trust_bundle("agentid.dev/agent"))
    controller.may_not(
        *create,
        body=trust_bundle("kubernetes.io/kube-apiserver-serving"),
        because="not permitted to attest",
    )


@pytest.mark.parametrize("verb", ["attest", "sign"])
def test_it_signs_for_its_own_signer_and_no_other(
    installed: Cluster, controller: User, verb: str
) -> None:
    """Who may sign for a signer answers its requests; asked of the authorizer."""

    def may(signer: str) -> bool:
        attributes = {
            "group": "certificates.k8s.io", "resource": "signers", "verb": verb, "name": signer,
        }  # fmt: skip
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {"user": controller.name, "resourceAttributes": attributes},
        }
        told = installed.kubectl("create", "-o", "json", "-f", "-", stdin=json.dumps(review))
        allowed: bool = json.loads(told.stdout)["status"]["allowed"]
        return allowed

    assert may("agentid.dev/agent")
    assert not may("agentid.dev/other")
    assert not may("agentid.dev/*")
    assert not may("kubernetes.io/kube-apiserver-client-pod")


def test_of_webhook_configurations_it_changes_its_own(controller: User) -> None:
    """ADR 13: what that is worth, and how to do without."""
    resource = "mutatingwebhookconfigurations.admissionregistration.k8s.io"
    controller.may("auth", "can-i", "patch", f"{resource}/agentid-pods")
    controller.may("auth", "can-i", "get", f"{resource}/agentid-pods")
    for what in ("update", "delete", "create"):
        assert controller("auth", "can-i", what, f"{resource}/agentid-pods").returncode, what
    assert controller("auth", "can-i", "patch", f"{resource}/other").returncode


def test_an_agent_team_sees_classes_and_edits_its_identities(team: User, namespace: str) -> None:
    """By the built-in role `edit`; classes are the platform's, statuses the operator's."""
    for verb in ("get", "create", "update", "patch", "delete"):
        team.may("auth", "can-i", verb, "agentidentities.agentid.dev", "-n", namespace)
    team.may("auth", "can-i", "list", "agentclasses.agentid.dev")
    for *what, namespace_of in (
        ("update", "agentclasses.agentid.dev", namespace),
        ("create", "agentissuers.agentid.dev", namespace),
        ("update", "agentidentities.agentid.dev", "--subresource=status", namespace),
        ("get", "agentrevocations.agentid.dev", namespace),
        ("create", "agentrevocations.agentid.dev", namespace),
        ("get", "configmaps", SYSTEM),
    ):
        answer = team("auth", "can-i", *what, "-n", namespace_of)
        assert answer.returncode != 0, what


def test_a_security_officer_revokes_and_reads(installed: Cluster) -> None:
    """By the role `agentid-security-officer`: incidents are theirs, identities are the teams'."""
    role = "--clusterrole=agentid-security-officer"
    installed.kubectl("create", "clusterrolebinding", "officer", role, "--user=officer")
    officer = User(installed, "officer")
    for verb in ("get", "list", "watch", "create", "update", "patch", "delete"):
        officer.may("auth", "can-i", verb, "agentrevocations.agentid.dev")
    officer.may("auth", "can-i", "list", "agentidentities.agentid.dev", "-A")
    officer.may("create", "--dry-run=server", "-f", str(SAMPLE))
    for *what, where in (
        ("update", "agentidentities.agentid.dev", "default"),
        ("create", "agentidentities.agentid.dev", "default"),
        ("update", "agentrevocations.agentid.dev", "--subresource=status", "default"),
        ("get", "configmaps", SYSTEM),
        ("get", "secrets", "default"),
    ):
        assert officer("auth", "can-i", *what, "-n", where).returncode != 0, what
