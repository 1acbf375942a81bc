"""Every ServiceAccount of ours tries what none of them may do, and the API server refuses it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
import yaml

from tests.manifests.conftest import User

if TYPE_CHECKING:
    from e2e.providers import Cluster

pytestmark = pytest.mark.integration

SYSTEM: Final = "agentid-system"
OURS: Final = "/apis/agentid.dev/v1alpha1"
MANIFESTS: Final = Path(__file__).parents[2] / "manifests"


def service_accounts() -> list[str]:
    """All that are installed; one that comes to them is tried too."""
    found = {
        each["metadata"]["name"]
        for path in MANIFESTS.rglob("*.yaml")
        for each in yaml.safe_load_all(path.read_text())
        if each and each["kind"] == "ServiceAccount"
    }
    # That of `helm test`, which no role is bound to; there need be none of that name to ask as it.
    return sorted(found | {"agentid-test"})


ACCOUNTS: Final = service_accounts()

READ: Final = ("get", "list", "watch")
WRITE: Final = ("create", "update", "patch", "delete", "deletecollection")

FORBIDDEN_EVERYWHERE: Final = {
    "pods": WRITE,
    "pods/status": WRITE,
    "pods/binding": ("create",),
    "bindings": ("create",),
    "pods/exec": ("create", "get"),
    "pods/attach": ("create", "get"),
    "pods/portforward": ("create", "get"),
    "pods/ephemeralcontainers": ("update", "patch"),
    "pods/eviction": ("create",),
    "secrets": ("patch", "delete", "deletecollection"),
    "serviceaccounts": WRITE,
    "serviceaccounts/token": ("create",),
    "deployments.apps": WRITE,
    "daemonsets.apps": WRITE,
    "jobs.batch": WRITE,
    "roles.rbac.authorization.k8s.io": (*WRITE, "bind", "escalate"),
    "rolebindings.rbac.authorization.k8s.io": WRITE,
    "clusterroles.rbac.authorization.k8s.io": (*WRITE, "bind", "escalate"),
    "clusterrolebindings.rbac.authorization.k8s.io": WRITE,
    "users": ("impersonate",),
    "groups": ("impersonate",),
    "nodes": ("list", "watch", *WRITE),
    "podcertificaterequests.certificates.k8s.io": WRITE,
    "nodes/proxy": ("get", "create"),
    "namespaces": ("get", *WRITE),
    "customresourcedefinitions.apiextensions.k8s.io": WRITE,
    "validatingadmissionpolicies.admissionregistration.k8s.io": WRITE,
    "validatingadmissionpolicybindings.admissionregistration.k8s.io": WRITE,
    "mutatingadmissionpolicies.admissionregistration.k8s.io": WRITE,
    "mutatingadmissionpolicybindings.admissionregistration.k8s.io": WRITE,
    "validatingwebhookconfigurations.admissionregistration.k8s.io": WRITE,
    "mutatingwebhookconfigurations.admissionregistration.k8s.io": (
        "create",
        "update",
        "delete",
        "deletecollection",
    ),
    "apiservices.apiregistration.k8s.io": WRITE,
    "certificatesigningrequests.certificates.k8s.io": WRITE,
    "certificatesigningrequests.certificates.k8s.io/approval": ("update", "patch"),
    "agentidentities.agentid.dev": ("create", "update", "delete", "deletecollection"),
    "agentclasses.agentid.dev": (*WRITE, "use"),
    "agentissuers.agentid.dev": WRITE,
    "agentrevocations.agentid.dev": WRITE,
    "persistentvolumes": (*READ, *WRITE),
}
"""In every namespace, the operator's own included."""


@pytest.mark.parametrize("account", ACCOUNTS)
def test_no_account_may_widen_what_it_may_do(installed: Cluster, account: str) -> None:
    """None reaches into pods, roles, policies, definitions, or into what people declare."""
    user = f"system:serviceaccount:{SYSTEM}:{account}"
    may = [
        f"{verb} {resource} in {namespace}"
        for namespace in (SYSTEM, "default", "kube-system")
        for resource, verb in review(installed, user, namespace)
        if verb in FORBIDDEN_EVERYWHERE.get(resource, ()) or verb == "*" or resource == "*"
    ]
    assert may == []


def review(cluster: Cluster, user: str, namespace: str) -> list[tuple[str, str]]:
    """Every right on a resource that the authorizer knows of, with `group` as kubectl prints it."""
    listed = ("auth", "can-i", "--list", "--no-headers", "-n", namespace)
    table = User(cluster, user)(*listed)
    assert table.returncode == 0, table.stderr
    found = []
    for line in table.stdout.splitlines():
        resource, _, rest = line.partition(" ")
        if not resource or resource.startswith("["):
            continue
        found += [(resource, verb) for verb in rest[rest.rindex("[") + 1 : -1].split()]
    assert found, "every user may ask what it may do"
    return found


@pytest.mark.parametrize("account", ACCOUNTS)
@pytest.mark.parametrize(
    "command",
    [
        pytest.param(("run", "shell", "--image=localhost/busybox:1"), id="start a pod"),
        pytest.param(("create", "token", "default"), id="take the token of another account"),
        pytest.param(
            ("create", "clusterrolebinding", "mine", "--clusterrole=cluster-admin", "--user=me"),
            id="become admin",
        ),
        pytest.param(
            ("create", "rolebinding", "mine", "--clusterrole=edit", "--user=me"), id="bind a role"
        ),
        pytest.param(
            ("delete", "validatingadmissionpolicybinding", "agentid-controller-secrets"),
            id="take a policy away",
        ),
        pytest.param(("delete", "crd", "agentidentities.agentid.dev"), id="delete a definition"),
        pytest.param(("delete", "namespace", "default"), id="delete a namespace"),
        pytest.param(("label", "namespace", "default", "a=b"), id="label a namespace"),
        pytest.param(("delete", "--raw", f"{OURS}/agentissuers/any"), id="delete an issuer"),
        pytest.param(("delete", "--raw", f"{OURS}/agentclasses/any"), id="delete a class"),
        pytest.param(
            ("delete", "--raw", f"{OURS}/namespaces/default/agentidentities/any"),
            id="delete an identity",
        ),
        pytest.param(("get", "secrets", "-A"), id="read all Secrets"),
        pytest.param(("get", "--raw", "/api/v1/nodes"), id="list nodes"),
        pytest.param(("get", "--raw", "/metrics"), id="read the API server's metrics"),
    ],
)
def test_it_is_refused(installed: Cluster, account: str, command: tuple[str, ...]) -> None:
    """Tried, not asked: the answer is 403, whatever else is wrong with the request."""
    user = User(installed, f"system:serviceaccount:{SYSTEM}:{account}")
    user.may_not(*command, because="forbidden: User")


def test_the_account_of_the_test_may_do_nothing_but_ask(installed: Cluster) -> None:
    """`helm test` runs as it: it may do what all who are authenticated may, and nothing else."""
    somebody, tester = (
        set(review(installed, f"system:serviceaccount:{SYSTEM}:{name}", SYSTEM))
        for name in ("somebody", "agentid-test")
    )
    assert tester == somebody
