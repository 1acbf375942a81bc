"""Pods of agents, which talk to one another with the certificates in their Secrets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from e2e.image import IMAGE
from tests.support.api import until
from tests.support.release import AGENTS

if TYPE_CHECKING:
    from tests.support.release import Release

__all__ = ["agent", "agent_class", "ask", "run_once", "serve"]

Json = dict[str, Any]

PORT: Final = 9443

_HEAD: Final = """
import json, socket, sys
from pathlib import Path
sys.path.insert(0, "/scripts")
from peer import Files, call, serve
files = Files(Path("/identity"))
"""
_SERVER: Final = f"{_HEAD}serve(files, socket.create_server(('0.0.0.0', {PORT})), sys.argv[1])"
_CLIENT: Final = f"{_HEAD}print(json.dumps(call(files, {PORT}, sys.argv[1], sys.argv[2])))"


def agent_class() -> Json:
    """A class for the agents of the tests."""
    return {
        "apiVersion": "agentid.dev/v1alpha1",
        "kind": "AgentClass",
        "metadata": {"name": "talker"},
        "spec": {
            "issuerName": "default",
            "lifetime": "8h",
            "namespaces": {"names": [AGENTS]},
            "permissions": {"systems": ["chat"], "operations": ["read"]},
        },
    }


def agent(name: str) -> Json:
    """An agent of that class."""
    return {
        "apiVersion": "agentid.dev/v1alpha1",
        "kind": "AgentIdentity",
        "metadata": {"name": name, "namespace": AGENTS},
        "spec": {
            "className": "talker",
            "sponsor": "team@example.com",
            "subject": {"serviceAccountName": "default"},
            "permissions": {"systems": ["chat"], "operations": ["read"]},
            "delivery": {"secretName": name},
        },
    }


def spiffe_id(name: str) -> str:
    """Of one of these agents."""
    return f"spiffe://agents.example.com/ns/{AGENTS}/agent/{name}"


def pod(name: str, *command: str, secret: str = "") -> Json:
    """A pod of the image, as Pod Security `restricted` wants it."""
    mounts, volumes = [], []
    if secret:
        mounts = [
            {"name": "identity", "mountPath": "/identity"},
            {"name": "scripts", "mountPath": "/scripts"},
        ]
        volumes = [
            {"name": "identity", "secret": {"secretName": secret, "defaultMode": 0o440}},
            {"name": "scripts", "configMap": {"name": "scripts"}},
        ]
    container = {
        "name": "main",
        "image": IMAGE,
        "imagePullPolicy": "Never",
        "command": ["/usr/bin/python3", *command],
        "volumeMounts": mounts,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": AGENTS},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 65532,
                "fsGroup": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
            "volumes": volumes,
        },
    }


def serve(release: Release, name: str, *, client: str) -> None:
    """Start a pod of an agent that answers another one."""
    script = (Path(__file__).parent / "peer.py").read_text()
    scripts = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "scripts", "namespace": AGENTS},
        "data": {"peer.py": script},
    }
    release.apply(scripts, pod(name, "-c", _SERVER, spiffe_id(client), secret=name))
    release.cluster.kubectl(
        "wait", f"pod/{name}", "-n", AGENTS, "--for=condition=Ready", "--timeout=90s"
    )


def ask(release: Release, name: str, *, server: str, expected: str = "", run: str) -> Json:
    """Have an agent's pod call another's; what came of it.

    Args:
        release: The installation.
        name: Of the agent that calls.
        server: Of the agent whose pod it calls.
        expected: Whom it means to reach, the server unless told otherwise.
        run: Name of the pod.
    """
    where = ("-n", AGENTS, "-o", "jsonpath={.status.podIP}")
    address = release.cluster.kubectl("get", "pod", server, *where).stdout
    command = ("-c", _CLIENT, spiffe_id(expected or server), address)
    told: Json = json.loads(run_once(release, pod(run, *command, secret=name)))
    return told


def run_once(release: Release, body: Json) -> str:
    """Run a pod to its end; what it wrote."""
    name = body["metadata"]["name"]
    release.apply(body)
    phase = ("get", "pod", name, "-n", AGENTS, "-o", "jsonpath={.status.phase}")

    def ended() -> bool:
        return release.cluster.kubectl(*phase).stdout in {"Succeeded", "Failed"}

    until(f"the end of pod {name}", ended, 90)
    told = release.cluster.kubectl("logs", name, "-n", AGENTS).stdout
    assert release.cluster.kubectl(*phase).stdout == "Succeeded", told
    return told
