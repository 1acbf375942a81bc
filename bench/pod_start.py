"""`python -m bench.pod_start`: how much later a pod starts that gets a certificate.

Each pod writes the time of its first instruction, by the clock that counts since the machine was
started, which containers and this process share. Three kinds take turns on a real node: without a
volume, with a projected ServiceAccount token, and with an identity. The chart is installed by Helm;
root is needed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agentid.constants import LABEL_IDENTITY
from bench.figures import Latency
from e2e import toolchain
from e2e.chart import CHART
from e2e.errors import E2EError
from e2e.image import image, load
from e2e.providers import DevCluster

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from e2e.providers import Cluster

_AGENTS: Final = "agents"
_OPERATOR: Final = "agentid-system"
_AGENT: Final = "starter"
_PATIENCE: Final = 120.0
_PODS_AT_ONCE: Final = 20

Json = dict[str, object]

_TOKEN: Final[Json] = {
    "name": "token",
    "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]},
}


def _pod(name: str, kind: str) -> Json:
    mounts: list[Json] = []
    volumes: list[Json] = []
    if kind == "token":
        mounts, volumes = [{"name": "token", "mountPath": "/token"}], [_TOKEN]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": _AGENTS,
            "labels": {LABEL_IDENTITY: _AGENT} if kind == "identity" else {},
        },
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": False,
            "containers": [
                {
                    "name": "main",
                    "image": "localhost/busybox:1",
                    "imagePullPolicy": "Never",
                    "command": ["sh", "-c", "cut -d ' ' -f 1 /proc/uptime; exec sleep 3600"],
                    "volumeMounts": mounts,
                }
            ],
            "volumes": volumes,
        },
    }


def _resources() -> tuple[Json, ...]:
    head: Json = {"apiVersion": "agentid.dev/v1alpha1"}
    permissions: Json = {"systems": ["chat"], "operations": ["read"]}
    agent_class: Json = {
        **head,
        "kind": "AgentClass",
        "metadata": {"name": _AGENT},
        "spec": {
            "issuerName": "default",
            "lifetime": "1h",
            "namespaces": {"names": [_AGENTS]},
            "permissions": permissions,
            "delivery": {"modes": ["PodCertificate"]},
        },
    }
    agent: Json = {
        **head,
        "kind": "AgentIdentity",
        "metadata": {"name": _AGENT, "namespace": _AGENTS},
        "spec": {
            "className": _AGENT,
            "sponsor": "team@example.com",
            "subject": {"serviceAccountName": "default"},
            "permissions": permissions,
            "delivery": {"mode": "PodCertificate"},
        },
    }
    return agent_class, agent


def uptime() -> float:
    """Seconds since the machine was started, in hundredths."""
    return float(Path("/proc/uptime").read_text().split()[0])


class _Node:
    """The installation on a node."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def install(self, mode: str) -> None:
        """Install by Helm, and wait until a pod of the agent would be mounted."""
        values = {
            "image": {"pullPolicy": "Never"},
            "issuer": {"trustDomain": "agents.example.com"},
            "admission": {"mode": mode},
        }
        file = self._cluster.directory / "values.yaml"
        file.write_text(json.dumps(values))
        command = [str(toolchain.helm()), "upgrade", "--install", "agentid", str(CHART)]
        command += ["--namespace", _OPERATOR, "--create-namespace", "--values", str(file)]
        done = subprocess.run(
            [*command, "--wait", "--timeout", "180s"],
            capture_output=True, text=True, check=False,
            env={**os.environ, "KUBECONFIG": str(self._cluster.kubeconfig)},
        )  # fmt: skip
        if done.returncode != 0:
            raise E2EError(done.stderr)
        self._cluster.kubectl("create", "namespace", _AGENTS, check=False)
        for each in _resources():
            self._cluster.kubectl("apply", "-f", "-", stdin=json.dumps(each))
        trial = json.dumps(_pod("trial", "identity"))
        command = ["create", "--dry-run=server", "-o", "json", "-f", "-"]
        self._until(
            "pods are mounted",
            lambda: (
                "credentials.pem"
                in self._cluster.kubectl(*command, stdin=trial, check=False).stdout
            ),
        )

    def start(self, names: Mapping[str, str]) -> list[float]:
        """Create pods at once, and wait for them: seconds to the first instruction of each."""
        text = json.dumps(
            {"apiVersion": "v1", "kind": "List",
             "items": [_pod(name, kind) for name, kind in names.items()]}
        )  # fmt: skip
        began = uptime()
        self._cluster.kubectl("create", "-f", "-", stdin=text)
        found = [self._first_instruction(name) - began for name in names]
        self._cluster.kubectl("delete", "pods", "-n", _AGENTS, "--all", "--wait=true")
        return found

    def _first_instruction(self, name: str) -> float:
        told = ""

        def wrote() -> bool:
            nonlocal told
            told = self._cluster.kubectl("logs", name, "-n", _AGENTS, check=False).stdout
            return bool(told.strip())

        self._until(f"pod {name} runs", wrote)
        return float(told)

    def _until(self, what: str, holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _PATIENCE
        while not holds():
            if time.monotonic() > deadline:
                msg = f"{what}: not within {_PATIENCE:.0f} s"
                raise E2EError(msg)
            time.sleep(0.1)


def main(given: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.pod_start", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="pods of each kind")
    parser.add_argument("--mode", choices=["Webhook", "Policy"], default="Webhook")
    chosen = parser.parse_args(given)
    kinds = ("none", "token", "identity")
    with tempfile.TemporaryDirectory() as directory:
        devcluster = DevCluster(Path(directory) / "cluster")
        try:
            node = _Node(devcluster.up(node=True, install_packages=True))
            load(image(), Path(directory) / "cluster")
            node.install(chosen.mode)
            seconds: dict[str, list[float]] = {kind: [] for kind in kinds}
            node.start({"warm": "identity"})
            for number in range(chosen.rounds):
                for kind in kinds:
                    seconds[kind] += node.start({f"{kind}-{number}": kind})
            together = {
                kind: node.start({f"{kind}-{number}": kind for number in range(_PODS_AT_ONCE)})
                for kind in kinds[1:]
            }
        except E2EError as error:
            print(error, file=sys.stderr)
            return 1
        finally:
            devcluster.down()
    for kind in kinds:
        print(f"{kind:9} one at a time  {_shown(seconds[kind])}")
    for kind, found in together.items():
        print(f"{kind:9} {_PODS_AT_ONCE} at once      {_shown(found)}")
    return 0


def _shown(seconds: Sequence[float]) -> str:
    found = Latency.of(seconds)
    return f"p50 {found.p50 * 1000:5.0f} ms   p99 {found.p99 * 1000:5.0f} ms"


if __name__ == "__main__":
    sys.exit(main())
