"""Certificates that another replica made for pods, on a real API server: they end with the pod."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agentid.api.vocabulary import DeliveryMode
from agentid.clock import SystemClock
from agentid.identity import PodRef, RevocationReason, SerialNumber
from agentid.kube.client import Client
from agentid.kube.credentials import ServiceAccountCredentials
from agentid.kube.kubeconfig import KubeconfigCredentials
from agentid.kube.stores import ConfigMaps
from agentid.ledger import Ledger, new_writer
from agentid.ledger.configmaps import ConfigMapSegments
from agentid.services.doors import REQUESTS_POLICY, Doors
from e2e.install import NAMESPACE, operator, operator_environment
from tests.support.api import until
from tests.support.manifests import identity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from agentid.ledger import Issued
    from e2e.providers import Cluster
    from tests.support.api import Api

pytestmark = pytest.mark.integration

GONE = RevocationReason.CESSATION_OF_OPERATION


_serials = iter(range(10_000, 20_000))

RIGHTS = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "ClusterRole",
    "metadata": {"name": "pods-in-tests"},
    "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}],
}


@pytest.fixture(scope="module", autouse=True)
def rights(api: Api) -> Iterator[None]:
    """The controller sees pods."""
    kubectl = api.cluster.kubectl
    kubectl("apply", "-f", "-", stdin=json.dumps(RIGHTS))
    account = f"{NAMESPACE}:agentid-controller"
    kubectl(
        "create", "clusterrolebinding", "pods-in-tests", "--clusterrole=pods-in-tests",
        f"--serviceaccount={account}",
    )  # fmt: skip
    yield
    kubectl("delete", "clusterrolebinding", "pods-in-tests")
    kubectl("delete", "clusterrole", "pods-in-tests")


def run_pod(cluster: Cluster, namespace: str, name: str, agent: str = "reader") -> str:
    """Create a pod that no node runs, with the label and the volume of an identity; its UID."""
    manifest = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {"agentid.dev/identity": agent},
        },
        "spec": {
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "agent", "image": "agent.invalid/agent:1"}],
            "volumes": [
                {"name": "agentid", "secret": {"secretName": f"{agent}-agentid", "optional": True}}
            ],
        },
    }
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))
    return cluster.kubectl(
        "get", "pod", name, "-n", namespace, "-o", "jsonpath={.metadata.uid}"
    ).stdout.strip()  # fmt: skip


async def _append(cluster: Cluster, *records: Issued) -> None:
    environment = operator_environment(cluster)
    host = f"{environment['KUBERNETES_SERVICE_HOST']}:{environment['KUBERNETES_SERVICE_PORT']}"
    directory = Path(environment["AGENTID_SERVICEACCOUNT_DIR"])
    clock = SystemClock()
    credentials = ServiceAccountCredentials(f"https://{host}", directory, clock=clock)
    async with Client(credentials, connections=4) as client:
        store = ConfigMaps(client, clock=clock, random=lambda: 0.5)
        writer = new_writer("another", next(_serials).to_bytes(5, "big"))
        ledger = Ledger(ConfigMapSegments(store, NAMESPACE), clock=clock, writer=writer)
        await ledger.start()
        await ledger.append(*records)
        await ledger.close()


def issue(api: Api, namespace: str, pods: dict[str, str], agent: str = "reader") -> list[str]:
    """Record certificates of pods, by name and UID, as another replica would; their serials.

    They are like the one in the identity's Secret, but for whom they are.
    """
    latest = api.ledger().of(namespace, agent)[-1]
    records = [
        replace(
            latest,
            serial=(serial := SerialNumber(next(_serials))),
            fingerprint=f"{serial.value:064x}",
            issued_at=datetime.now(UTC),
            door=DeliveryMode.POD_CERTIFICATE,
            replaces=None,
            pod=PodRef(name, uid, "node-1", f"request-{serial}"),
        )
        for name, uid in pods.items()
    ]
    asyncio.run(_append(api.cluster, *records))
    return [str(each.serial) for each in records]


def until_revoked(api: Api, serials: list[str], seconds: float = 30.0) -> None:
    """Wait until all of these are revoked, since their pods are gone."""
    until(f"{serials} revoked", lambda: set(serials) <= set(api.ledger().revoked), seconds)
    assert {api.ledger().revoked[serial].reason for serial in serials} == {GONE}


@pytest.fixture
def reader(api: Api, namespace: str, make_class: Callable[..., str]) -> str:
    """An identity that is to be made Ready by an operator; its class."""
    api.cluster.kubectl("create", "serviceaccount", "default", "-n", namespace, check=False)
    name = make_class()
    api.create("agentidentities", identity("reader", name), namespace)
    return name


def end(api: Api, namespace: str, pod: str, how: str) -> None:
    """Let a pod end."""
    kubectl = api.cluster.kubectl
    match how:
        case "deleted":
            kubectl("delete", "pod", pod, "-n", namespace, "--force", "--grace-period=0")
        case "label-taken-away":
            kubectl("label", "pod", pod, "-n", namespace, "agentid.dev/identity-")
        case _:
            patch = json.dumps({"status": {"phase": "Succeeded"}})
            kubectl(
                "patch", "pod", pod, "-n", namespace, "--subresource=status", "--type=merge",
                "-p", patch,
            )  # fmt: skip


HOW = ["deleted", "label-taken-away", "finished"]


@pytest.mark.usefixtures("reader")
def test_with_the_pod_its_certificate_ends(api: Api, namespace: str) -> None:
    """Promise 4: of each way to end, those of the pod that ended and no other."""
    api.free_lease()
    with operator(api.cluster, "pods"):
        api.until_ready(namespace, "reader")
        uids = {name: run_pod(api.cluster, namespace, name) for name in (*HOW, "stays")}
        serials = dict(zip(uids, issue(api, namespace, uids), strict=True))
        until(
            "four pods in the status",
            lambda: (api.status(namespace, "reader").get("pods") or {}).get("certificates") == 4,
        )
        assert not set(serials.values()) & set(api.ledger().revoked)
        for how in HOW:
            end(api, namespace, how, how)
            until_revoked(api, [serials[how]], 5.0)
        # A request that was under way when its pod went.
        late = issue(api, namespace, {"deleted": uids["deleted"]})
        until_revoked(api, late, 10.0)
        assert serials["stays"] not in api.ledger().revoked
        until(
            "one pod in the status",
            lambda: (api.status(namespace, "reader").get("pods") or {}).get("certificates") == 1,
            60.0,
        )


@pytest.mark.usefixtures("reader")
def test_what_went_while_nobody_ran_is_revoked_by_who_comes(api: Api, namespace: str) -> None:
    """Promise 4: whatever way it went, and whoever leads then; a namesake keeps its own."""
    api.free_lease()
    with operator(api.cluster, "first"):
        api.until_ready(namespace, "reader")
        uids = {name: run_pod(api.cluster, namespace, name) for name in (*HOW, "stays")}
        serials = dict(zip(uids, issue(api, namespace, uids), strict=True))
    for how in HOW:
        end(api, namespace, how, how)
    again = run_pod(api.cluster, namespace, "deleted")
    kept = issue(api, namespace, {"deleted": again})
    api.free_lease()
    with operator(api.cluster, "second"):
        until_revoked(api, [serials[how] for how in HOW])
        assert not {serials["stays"], *kept} & set(api.ledger().revoked)


@pytest.mark.usefixtures("reader")
def test_a_certificate_that_comes_after_the_suspension_does_not_stay(
    api: Api, namespace: str
) -> None:
    """Promise 4: another replica had not heard of it yet; it is revoked at once."""
    api.free_lease()
    with operator(api.cluster, "late"):
        api.until_ready(namespace, "reader")
        uid = run_pod(api.cluster, namespace, "slow")
        api.patch("agentidentities", "reader", {"spec": {"suspend": True}}, namespace)
        until("suspended", lambda: api.condition(namespace, "reader", "Suspended"))
        serials = issue(api, namespace, {"slow": uid})
        until("revoked", lambda: set(serials) <= set(api.ledger().revoked))
        reason = api.ledger().revoked[serials[0]].reason
        assert reason is RevocationReason.PRIVILEGE_WITHDRAWN


# The door


def policy(kind: str, spec: Mapping[str, object]) -> str:
    """A policy, or its binding, of the name that the door goes by."""
    metadata = {"name": REQUESTS_POLICY}
    api_version = "admissionregistration.k8s.io/v1"
    return json.dumps({"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec})


POLICY = policy(
    "ValidatingAdmissionPolicy",
    {
        "failurePolicy": "Fail",
        "matchConstraints": {
            "resourceRules": [
                {
                    "apiGroups": ["certificates.k8s.io"],
                    "apiVersions": ["*"],
                    "resources": ["podcertificaterequests"],
                    "operations": ["CREATE"],
                }
            ]
        },
        "validations": [{"expression": "object.spec.signerName != 'agentid.dev/agent'"}],
    },
)


def binding(*actions: str) -> str:
    """A binding that does this with what the policy refuses."""
    spec = {"policyName": REQUESTS_POLICY, "validationActions": list(actions)}
    return policy("ValidatingAdmissionPolicyBinding", spec)


async def _look(cluster: Cluster) -> tuple[frozenset[DeliveryMode], Doors]:
    credentials = await KubeconfigCredentials.load(str(cluster.kubeconfig))
    async with Client(credentials, connections=2) as client:
        doors = Doors(client)
        return await doors.look(), doors


def test_the_door_is_open_while_the_policy_stops_requests(api: Api) -> None:
    """As a real API server has policy and binding, with everything that it adds to them."""
    kubectl, kinds = (
        api.cluster.kubectl,
        ("validatingadmissionpolicy", "validatingadmissionpolicybinding"),
    )
    before = [
        kubectl("get", kind, REQUESTS_POLICY, "-o", "json", "--ignore-not-found").stdout
        for kind in kinds
    ]
    try:
        for kind in kinds:
            kubectl("delete", kind, REQUESTS_POLICY, "--ignore-not-found")
        found, doors = asyncio.run(_look(api.cluster))
        assert found == frozenset()
        assert "is not there" in doors.closed[DeliveryMode.POD_CERTIFICATE]
        kubectl("apply", "-f", "-", stdin=POLICY)
        kubectl("apply", "-f", "-", stdin=binding("Audit"))
        found, doors = asyncio.run(_look(api.cluster))
        assert "stops nothing" in doors.closed[DeliveryMode.POD_CERTIFICATE]
        kubectl("apply", "-f", "-", stdin=binding("Deny"))
        found, doors = asyncio.run(_look(api.cluster))
        assert found == frozenset({DeliveryMode.POD_CERTIFICATE}), doors.closed
        assert doors.guarded_since is not None
        assert abs((datetime.now(UTC) - doors.guarded_since).total_seconds()) < 60
    finally:
        for kind, body in zip(kinds, before, strict=True):
            kubectl("delete", kind, REQUESTS_POLICY, "--ignore-not-found")
            if body:
                content = json.loads(body)
                content["metadata"] = {
                    key: content["metadata"][key]
                    for key in ("name", "labels", "annotations")
                    if key in content["metadata"]
                }
                kubectl("create", "-f", "-", stdin=json.dumps(content))
