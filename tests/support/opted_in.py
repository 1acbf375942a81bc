"""Pods that ask for an identity by their label, as agents' teams write them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from tests.support.api import until
from tests.support.command import Command
from tests.support.release import AGENTS, NAMESPACE

if TYPE_CHECKING:
    from tests.support.release import Release

__all__ = [
    "CLASS",
    "agent",
    "agent_class",
    "deployment",
    "live_by_pod",
    "names_of",
    "on_record",
    "pod",
    "refused",
    "told",
]

Json = dict[str, Any]

BUSYBOX: Final = "localhost/busybox:1"
CLASS: Final = "pods"

LOOK: Final = """
for file in credentials.pem tls.key tls.crt ca.crt; do
  test -s "$AGENTID_DIR/$file" || { echo "$file is not there"; exit 1; }
done
echo "{\\"id\\": \\"$AGENTID_SPIFFE_ID\\", \\"who\\": \\"$(id -u)\\"}"
cat "$AGENTID_DIR/tls.crt"
"""
"""The first instruction of a container."""


def agent_class(**spec: object) -> Json:
    """A class whose agents get theirs in their pods."""
    return {
        "apiVersion": "agentid.dev/v1alpha1",
        "kind": "AgentClass",
        "metadata": {"name": CLASS},
        "spec": {
            "issuerName": "default",
            "lifetime": "8h",
            "namespaces": {"names": [AGENTS]},
            "permissions": {"systems": ["chat"], "operations": ["read"]},
            "delivery": {"modes": ["PodCertificate"]},
            **spec,
        },
    }


def agent(name: str, **spec: object) -> Json:
    """An agent of that class."""
    return {
        "apiVersion": "agentid.dev/v1alpha1",
        "kind": "AgentIdentity",
        "metadata": {"name": name, "namespace": AGENTS},
        "spec": {
            "className": CLASS,
            "sponsor": "team@example.com",
            "subject": {"serviceAccountName": "default"},
            "permissions": {"systems": ["chat"], "operations": ["read"]},
            "delivery": {"mode": "PodCertificate"},
            **spec,
        },
    }


def _container(name: str, script: str) -> Json:
    return {
        "name": name,
        "image": BUSYBOX,
        "imagePullPolicy": "Never",
        "command": ["sh", "-c", script],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }


def _template(name: str, **spec: object) -> Json:
    """A pod as Pod Security `restricted` wants it: it looks, and then sleeps."""
    return {
        "metadata": {"labels": {"app": name, "agentid.dev/identity": name}},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 1000,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "initContainers": [_container("first", LOOK)],
            "containers": [_container("main", f"{LOOK}\nexec sleep 86400")],
            **spec,
        },
    }


def pod(name: str, identity: str, **spec: object) -> Json:
    """A pod of its own that asks for an identity."""
    body = _template(identity, **spec)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {**body["metadata"], "name": name, "namespace": AGENTS},
        "spec": body["spec"],
    }


def deployment(name: str, replicas: int, **spec: object) -> Json:
    """A Deployment whose pods ask for the identity of the same name."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": AGENTS},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": _template(name, **spec),
        },
    }


def names_of(release: Release, name: str, count: int, seconds: float = 90) -> list[str]:
    """Wait until so many pods of an agent run; their names."""
    where = ("-n", AGENTS, "-l", f"app={name}", "-o", "json")

    def running() -> list[str]:
        items = json.loads(release.cluster.kubectl("get", "pods", *where).stdout)["items"]
        return [
            each["metadata"]["name"]
            for each in items
            if each["status"].get("phase") == "Running"
            and "deletionTimestamp" not in each["metadata"]
            and all(one["ready"] for one in each["status"].get("containerStatuses", ()))
        ]

    until(f"{count} running pods of {name}", lambda: len(running()) == count, seconds)
    return running()


def told(release: Release, pod_name: str, container: str = "main") -> tuple[Json, str]:
    """What a container found at its first instruction, and the chain that it had then (PEM)."""
    text = release.cluster.kubectl("logs", pod_name, "-n", AGENTS, "-c", container).stdout
    head, chain = text.split("\n", 1)
    found: Json = json.loads(head)
    return found, chain


def refused(release: Release, *bodies: Json) -> str:
    """Apply what the API server has to refuse; what its author reads."""
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": bodies})
    done = release.cluster.kubectl("apply", "-f", "-", stdin=text, check=False)
    assert done.returncode != 0, f"it was taken: {done.stdout}"
    return done.stderr


def on_record(release: Release, name: str) -> dict[str, Json]:
    """The certificates on record of an agent, by serial: what `agentid ledger list` prints."""
    agentid = Command(str(release.cluster.kubeconfig))
    done = agentid(
        "ledger", "list", "--operator-namespace", NAMESPACE, "--identity", f"{AGENTS}/{name}",
        "-o", "json",
    )  # fmt: skip
    assert done.code == 0, done.err
    return {each["serial"]: each for each in json.loads(done.out)}


def live_by_pod(release: Release, name: str) -> dict[str, list[str]]:
    """The serials in force of an agent, by name of the pod."""
    found: dict[str, list[str]] = {}
    for serial, each in on_record(release, name).items():
        if each["state"] == "live":
            found.setdefault(each["certificate"]["pod"]["podName"], []).append(serial)
    return found
