"""Each admission policy refuses what it is there for, and lets through what it is not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.support.api import until
from tests.support.manifests import identity

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.manifests.conftest import Json, User

pytestmark = pytest.mark.integration

FINALIZER = "agentid.dev/revocation"


def agent(namespace: str, class_name: str, **metadata: object) -> Json:
    """An AgentIdentity as it is applied."""
    body = identity("reader", class_name)
    body["apiVersion"], body["kind"] = "agentid.dev/v1alpha1", "AgentIdentity"
    body["metadata"] |= {"namespace": namespace, **metadata}
    return body


def secret(namespace: str, *, owner: str | None = "uid-1", name: str = "reader") -> Json:
    """A Secret as the controller writes it; without our labels if it has no owner."""
    labels = {"agentid.dev/managed": "true", "agentid.dev/identity-uid": owner} if owner else {}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"namespace": namespace, "name": name, "labels": labels},
        "stringData": {"key": "value"},
    }


def segment(namespace: str, *, labelled: bool = True) -> Json:
    """A ledger segment, or what looks like one but for the label."""
    labels = {"agentid.dev/ledger": "segment"} if labelled else {}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"namespace": namespace, "name": "segment", "labels": labels},
        "immutable": True,
        "data": {"segment.jsonl": ""},
    }


def bundle(
    namespace: str, *, labelled: bool = True, name: str = "agentid-bundle-test", text: str = "one"
) -> Json:
    """A trust bundle as the controller writes it, or what looks like one but for the labels."""
    labels = {"agentid.dev/managed": "true", "agentid.dev/issuer": "test"} if labelled else {}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"namespace": namespace, "name": name, "labels": labels},
        "data": {"ca.crt": text},
    }


# agentid-class-use


def test_a_class_that_may_not_be_used_is_refused_with_the_way_to_get_it(
    team: User, namespace: str
) -> None:
    """Without the verb `use` on the class nobody creates an identity of it."""
    team.may_not(
        "create", "-f", "-", body=agent(namespace, "assistant"),
        because=f"spec.className: {team.name} may not use AgentClass assistant; ask its owner",
    )  # fmt: skip


def test_a_class_that_may_be_used_is_let_through(
    team: User, namespace: str, allow_use: Callable[[User, str], None]
) -> None:
    """With it they do; and for that class alone."""
    allow_use(team, "assistant")
    team.may("create", "-f", "-", body=agent(namespace, "assistant"))
    edit = json.dumps({"spec": {"className": "root"}})
    patch = ("patch", "agentidentity", "reader", "-n", namespace, "--type=merge", "-p")
    team.may_not(*patch, edit, because="may not use AgentClass root")
    team.may(*patch, json.dumps({"spec": {"purpose": "Reads other things"}}))


def test_who_may_not_use_the_class_changes_no_spec_but_metadata(
    admin: User, team: User, namespace: str
) -> None:
    """What does not touch the spec asks for no right on the class: labels, also the deletion."""
    admin.may("create", "-f", "-", body=agent(namespace, "assistant"))
    patch = ("patch", "agentidentity", "reader", "-n", namespace, "--type=merge", "-p")
    wider = json.dumps({"spec": {"permissions": {"systems": ["everything"]}}})
    team.may_not(*patch, wider, because="may not use AgentClass assistant")
    team.may(*patch, json.dumps({"metadata": {"labels": {"team": "finance"}}}))
    team.may("delete", "agentidentity", "reader", "-n", namespace, "--wait=false")


@pytest.mark.parametrize(
    "value", ["now", "2026-01-31", "2026-01-31 12:00:00Z", "2026-01-31T12:00:00"]
)
def test_a_request_for_renewal_without_a_time_is_refused(
    admin: User, namespace: str, value: str
) -> None:
    """The annotation holds an RFC 3339 time with a zone, or nothing is written."""
    annotated = agent(namespace, "a", annotations={"agentid.dev/renew-requested": value})
    admin.may_not("create", "-f", "-", body=annotated, because="not an RFC 3339 time; write one")


@pytest.mark.parametrize("value", ["2026-01-31T12:00:00Z", "2026-01-31T12:00:00.25+01:00"])
def test_a_request_for_renewal_with_a_time_is_let_through(
    admin: User, namespace: str, value: str
) -> None:
    """Fractions and offsets are times as well."""
    annotated = agent(namespace, "a", annotations={"agentid.dev/renew-requested": value})
    admin.may("create", "-f", "-", body=annotated)


# agentid-finalizer


@pytest.mark.parametrize("others", [None, [], ["example.com/other"], [FINALIZER]])
def test_an_identity_is_born_with_the_finalizer(
    admin: User, namespace: str, others: list[str] | None
) -> None:
    """Once, and beside the finalizers of others."""
    metadata = {} if others is None else {"finalizers": others}
    admin.may("create", "-f", "-", body=agent(namespace, "a", **metadata))
    told = admin(
        "get", "agentidentity", "reader", "-n", namespace, "-o", "jsonpath={.metadata.finalizers}"
    )
    expected = {*(others or ()), FINALIZER}
    assert sorted(json.loads(told.stdout)) == sorted(expected)
    clear = json.dumps({"metadata": {"finalizers": []}})
    admin.may("patch", "agentidentity", "reader", "-n", namespace, "--type=merge", "-p", clear)


# agentid-managed-secrets


def test_a_managed_secret_is_changed_and_deleted_by_nobody_else(
    admin: User, controller: User, namespace: str
) -> None:
    """Not by the cluster's admin either; the message says what to do instead."""
    controller.may("create", "-f", "-", body=secret(namespace))
    instead = f"Secret {namespace}/reader is managed by agentid"
    edit = ("patch", "secret", "reader", "-n", namespace, "--type=merge", "-p")
    admin.may_not(*edit, json.dumps({"stringData": {"key": "mine"}}), because=instead)
    off = json.dumps({"metadata": {"labels": {"agentid.dev/managed": None}}})
    admin.may_not(*edit, off, because=instead)
    admin.may_not("delete", "secret", "reader", "-n", namespace, because=instead)
    admin.may_not("create", "-f", "-", body=secret(namespace, name="other"), because="managed by")


def test_a_secret_without_our_label_is_none_of_our_business(admin: User, namespace: str) -> None:
    """Everybody else's Secrets are written as ever."""
    admin.may("create", "-f", "-", body=secret(namespace, owner=None))
    edit = ("patch", "secret", "reader", "-n", namespace, "--type=merge", "-p")
    admin.may(*edit, json.dumps({"stringData": {"key": "mine"}}))
    admin.may("delete", "secret", "reader", "-n", namespace)


def test_garbage_collection_takes_a_managed_secret(
    admin: User, controller: User, namespace: str
) -> None:
    """The Secret goes with its owner."""
    admin.may("create", "configmap", "owner", "-n", namespace)
    uid = admin("get", "configmap", "owner", "-n", namespace, "-o", "jsonpath={.metadata.uid}")
    body = secret(namespace)
    body["metadata"]["ownerReferences"] = [
        {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": uid.stdout}
    ]
    controller.may("create", "-f", "-", body=body)
    admin.may("delete", "configmap", "owner", "-n", namespace)
    gone = ("get", "secret", "reader", "-n", namespace, "--ignore-not-found", "-o", "name")
    until("the Secret's end", lambda: not admin(*gone).stdout)


def test_deletion_of_the_namespace_takes_a_managed_secret_and_a_segment(
    admin: User, controller: User, make_namespace: Callable[[], str]
) -> None:
    """No policy keeps a namespace from going."""
    namespace = make_namespace()
    controller.may("create", "-f", "-", body=secret(namespace))
    admin.may("delete", "namespace", namespace, "--wait=false")
    gone = ("get", "namespace", namespace, "--ignore-not-found", "-o", "name")
    until("the namespace's end", lambda: not admin(*gone).stdout)


def test_the_secret_of_an_authority_is_restored_by_people(admin: User) -> None:
    """It carries the label too, and who may write it is a matter of RBAC."""
    body = secret("agentid-system", name="agentid-ca-restored")
    del body["metadata"]["labels"]["agentid.dev/identity-uid"]
    admin.may("create", "-f", "-", body=body)
    admin.may("delete", "secret", "agentid-ca-restored", "-n", "agentid-system")


# agentid-controller-secrets


def test_the_controller_touches_no_secret_without_our_label(
    admin: User, controller: User, namespace: str
) -> None:
    """It neither makes one, nor takes one over, nor lets one of ours go."""
    without = f"Secret {namespace}/reader does not carry the label agentid.dev/managed=true"
    controller.may_not("create", "-f", "-", body=secret(namespace, owner=None), because=without)
    admin.may("create", "-f", "-", body=secret(namespace, owner=None))
    path = f"/api/v1/namespaces/{namespace}/secrets/reader"
    replace = ("replace", "--raw", path, "-f", "-")
    controller.may_not(*replace, body=secret(namespace, owner=None), because=without)
    controller.may_not(*replace, body=secret(namespace), because=without)
    controller.may("create", "-f", "-", body=secret(namespace, name="ours"))
    let_go = secret(namespace, name="ours", owner=None)
    ours = f"/api/v1/namespaces/{namespace}/secrets/ours"
    controller.may_not("replace", "--raw", ours, "-f", "-", body=let_go, because="does not carry")
    controller.may("replace", "--raw", ours, "-f", "-", body=secret(namespace, name="ours"))


def test_the_controller_gives_no_secret_from_one_identity_to_another(
    controller: User, namespace: str
) -> None:
    """Which object a Secret belongs to stays as it was created."""
    controller.may("create", "-f", "-", body=secret(namespace, owner="uid-1"))
    path = f"/api/v1/namespaces/{namespace}/secrets/reader"
    replace = ("replace", "--raw", path, "-f", "-")
    other = secret(namespace, owner="uid-2")
    controller.may_not(*replace, body=other, because="belongs to another AgentIdentity")
    controller.may(*replace, body=secret(namespace, owner="uid-1"))


@pytest.mark.parametrize("field", ["type", "immutable"])
def test_no_refusal_tells_the_controller_what_a_secret_holds(
    admin: User, controller: User, namespace: str, field: str
) -> None:
    """Who has the controller's token and a Secret's name learns its UID, and no data."""
    held = secret(namespace, owner=None)
    held["stringData"] = {"password": "precious"}
    held["immutable"] = field == "immutable"
    admin.may("create", "-f", "-", body=held)
    body = secret(namespace)
    body["type"] = "kubernetes.io/tls" if field == "type" else "Opaque"
    body["metadata"]["uid"] = "00000000-0000-0000-0000-000000000000"
    path = f"/api/v1/namespaces/{namespace}/secrets/reader"
    told = [controller("replace", "--raw", path, "-f", "-", body=body)]
    uid = admin("get", "secret", "reader", "-n", namespace, "-o", "jsonpath={.metadata.uid}")
    assert uid.stdout in told[0].stderr
    body["metadata"]["uid"] = uid.stdout
    told.append(controller("replace", "--raw", path, "-f", "-", body=body))
    merge = ("patch", "secret", "reader", "-n", namespace, "--type=merge", "-p", "{}")
    told.append(controller(*merge))
    for answer in told:
        assert answer.returncode != 0
        assert "precious" not in answer.stdout + answer.stderr
        assert "cHJlY2lvdXM" not in answer.stdout + answer.stderr


# agentid-ledger


def test_a_segment_is_written_and_deleted_by_nobody_else(admin: User, controller: User) -> None:
    """The record of what was issued and revoked is the controller's alone; all may read it."""
    namespace = "agentid-system"
    because = f"ConfigMap {namespace}/segment is a segment of the agentid ledger"
    admin.may_not("create", "-f", "-", body=segment(namespace), because=because)
    controller.may("create", "-f", "-", body=segment(namespace))
    try:
        admin.may_not("delete", "configmap", "segment", "-n", namespace, because=because)
        off = json.dumps({"metadata": {"labels": {"agentid.dev/ledger": None}}})
        patch = ("patch", "configmap", "segment", "-n", namespace, "--type=merge", "-p", off)
        admin.may_not(*patch, because=because)
        admin.may("get", "configmap", "segment", "-n", namespace)
    finally:
        controller.may("delete", "configmap", "segment", "-n", namespace)


def test_a_config_map_that_is_no_segment_is_written_as_ever(admin: User, namespace: str) -> None:
    """The policy looks at nothing else."""
    admin.may("create", "-f", "-", body=segment(namespace, labelled=False))
    admin.may("delete", "configmap", "segment", "-n", namespace)


# agentid-controller-configmaps


@pytest.fixture
def asking(admin: User, namespace: str) -> str:
    """A namespace that asks for trust bundles."""
    admin.may("label", "namespace", namespace, "agentid.dev/trust-bundle=enabled")
    return namespace


def test_the_controller_writes_trust_bundles_and_no_other_config_map(
    admin: User, controller: User, asking: str
) -> None:
    """Nothing without the labels, nothing under another name, and nothing of somebody else's."""
    path = f"/api/v1/namespaces/{asking}/configmaps/agentid-bundle-test"
    replace = ("replace", "--raw", path, "-f", "-")
    because = "is not the trust bundle of an AgentIssuer"
    controller.may_not("create", "-f", "-", body=bundle(asking, labelled=False), because=because)
    controller.may_not("create", "-f", "-", body=bundle(asking, name="settings"), because=because)
    admin.may("create", "-f", "-", body=bundle(asking, labelled=False))
    controller.may_not(*replace, body=bundle(asking), because=because)
    controller.may_not("delete", "--raw", path, because=because)
    admin.may("delete", "configmap", "agentid-bundle-test", "-n", asking)
    controller.may("create", "-f", "-", body=bundle(asking))
    controller.may(*replace, body=bundle(asking, text="two"))
    controller.may_not(*replace, body=bundle(asking, labelled=False), because=because)
    controller.may("delete", "--raw", path)


def test_the_controller_writes_no_trust_bundle_where_none_is_wanted(
    admin: User, controller: User, asking: str, make_namespace: Callable[[], str]
) -> None:
    """Only what is left from before may go."""
    other = make_namespace()
    because = f"Namespace {other} does not ask for trust bundles"
    controller.may_not("create", "-f", "-", body=bundle(other), because=because)
    controller.may("create", "-f", "-", body=bundle(asking))
    admin.may("label", "namespace", asking, "agentid.dev/trust-bundle-")
    path = f"/api/v1/namespaces/{asking}/configmaps/agentid-bundle-test"
    until(
        "the label to count",
        lambda: controller("replace", "--raw", path, "-f", "-", body=bundle(asking)).returncode,
    )
    controller.may("delete", "--raw", path)


# agentid-managed-configmaps


def test_a_trust_bundle_is_changed_by_nobody_else(
    admin: User, controller: User, team: User, asking: str
) -> None:
    """Who could would decide whom everybody in the namespace believes."""
    controller.may("create", "-f", "-", body=bundle(asking))
    because = f"ConfigMap {asking}/agentid-bundle-test is the trust bundle of an AgentIssuer"
    edit = ("patch", "configmap", "agentid-bundle-test", "-n", asking, "--type=merge", "-p")
    for user in (admin, team):
        user.may_not(*edit, json.dumps({"data": {"ca.crt": "mine"}}), because=because)
        off = json.dumps({"metadata": {"labels": {"agentid.dev/managed": None}}})
        user.may_not(*edit, off, because=because)
        user.may_not("delete", "configmap", "agentid-bundle-test", "-n", asking, because=because)
        user.may("get", "configmap", "agentid-bundle-test", "-n", asking)
    another = bundle(asking, name="agentid-bundle-other")
    team.may_not("create", "-f", "-", body=another, because="is the trust bundle of an AgentIssuer")


def test_a_namespace_with_a_trust_bundle_can_be_deleted(
    admin: User, controller: User, asking: str
) -> None:
    """No policy keeps it from going."""
    controller.may("create", "-f", "-", body=bundle(asking))
    admin.may("delete", "namespace", asking, "--wait=false")
    gone = ("get", "namespace", asking, "--ignore-not-found", "-o", "name")
    until("the namespace's end", lambda: not admin(*gone).stdout)


def test_trust_bundles_at_home_are_a_matter_of_rbac(admin: User) -> None:
    """Who recovers from a backup may remove what was published."""
    admin.may("create", "-f", "-", body=bundle("agentid-system", name="agentid-bundle-lost"))
    admin.may("delete", "configmap", "agentid-bundle-lost", "-n", "agentid-system")
