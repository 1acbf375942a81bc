"""A node of our own: a real kubelet and containerd, which run pods and leave nothing behind."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from e2e.providers import DevCluster
from tests.support.leftovers import kill, kill_everything, leftovers, processes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from e2e.providers import Cluster

pytestmark = [
    pytest.mark.node,
    pytest.mark.skipif(os.geteuid() != 0, reason="a kubelet needs root"),
]

SCRIPT = """
set -e
test "$(id -u)" = 1000
timeout 10 nc -w 5 $KUBERNETES_SERVICE_HOST $KUBERNETES_SERVICE_PORT < /dev/null
echo reached the API server through its Service
cat /etc/greeting/text
"""


class Node:
    """A cluster with a node, in a directory of this module's own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.devcluster = DevCluster(directory)

    def up(self) -> Cluster:
        """Start what does not run."""
        return self.devcluster.up(node=True, install_packages=True)

    @property
    def link(self) -> Path:
        """Its link to this machine."""
        number = json.loads((self.directory / "state.json").read_text())["node"]["number"]
        return Path("/sys/class/net", f"devcluster{number}")

    def cgroups(self) -> set[Path]:
        """Its control groups, those of its pods included."""
        return {path for path in cgroups() if self.link.name in path.parts}


def cgroups() -> set[Path]:
    """All control groups of this machine."""
    return {path for path in Path("/sys/fs/cgroup").rglob("*/") if path.is_dir()}


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """One node for all tests here; they leave it running."""
    made = Node(tmp_path_factory.mktemp("node"))
    yield made
    made.devcluster.down()


def of_a_node(group: Path) -> bool:
    """Whether a control group is below that of a node, this one or one that runs beside it."""
    return any(part.startswith("devcluster") for part in group.parts)


def run_once(cluster: Cluster, name: str) -> str:
    """Run a pod as agents run, wait for its end, and return what it wrote."""
    mount = {"name": "greeting", "mountPath": "/etc/greeting"}
    security = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }
    container = {
        "name": "main",
        "image": "localhost/busybox:1",
        "command": ["sh", "-c", SCRIPT],
        "volumeMounts": [mount],
        "securityContext": security,
    }
    spec = {
        "restartPolicy": "Never",
        "securityContext": {
            "runAsUser": 1000,
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [{"name": "greeting", "secret": {"secretName": name}}],
    }
    cluster.kubectl("create", "secret", "generic", name, f"--from-literal=text=hello from {name}")
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(pod))
    ended = cluster.kubectl(
        "wait", f"pod/{name}", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s",
        check=False,
    )  # fmt: skip
    told = cluster.kubectl("logs", name, check=False).stdout
    assert ended.returncode == 0, told + cluster.kubectl("describe", "pod", name).stdout
    return told


def test_a_pod_runs_to_completion(node: Node) -> None:
    """Scheduled, started by the kubelet, with a Secret, a network and a log that can be read."""
    cluster = node.up()
    assert run_once(cluster, "complete").splitlines() == [
        "reached the API server through its Service",
        "hello from complete",
    ]


def test_what_the_kubelet_mounts_is_the_nodes_alone(node: Node) -> None:
    """A pod that runs has its volumes mounted, and this machine sees none of them."""
    cluster = node.up()
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "stays"},
        "spec": {
            "containers": [
                {"name": "main", "image": "localhost/busybox:1", "command": ["sleep", "1000"]}
            ]
        },
    }
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(pod))
    cluster.kubectl("wait", "pod/stays", "--for=condition=Ready", "--timeout=60s")
    sandbox = processes(node.directory)["sandbox"]
    there = Path(f"/proc/{sandbox}/mounts").read_text()
    assert "/var/lib/kubelet/pods/" in there
    assert "/var/lib/kubelet/" not in Path("/proc/self/mounts").read_text()
    assert "uid=0" in cluster.kubectl("exec", "stays", "--", "id").stdout
    assert [path for path in node.cgroups() if "k8s.io" in path.parts], "the pod has none"
    assert not [path for path in cgroups() if "k8s.io" in path.parts and not of_a_node(path)]


def test_the_end_of_the_sandbox_is_the_end_of_the_node(node: Node) -> None:
    """SIGKILL of one process ends every container; `up` makes the node whole again."""
    node.up()
    before = processes(node.directory)
    kill(before["sandbox"])
    cluster = node.up()
    after = processes(node.directory)
    assert after["kube-apiserver"] == before["kube-apiserver"]
    assert after["kubelet"] != before["kubelet"]
    assert "hello from again" in run_once(cluster, "again")


def test_killed_altogether_nothing_is_left(node: Node) -> None:
    """After SIGKILL of everything `down` finds no process, mount, link or control group of it."""
    node.up()
    link, used = node.link, node.cgroups()
    assert link.exists()
    assert used
    kill_everything(node.directory)
    node.devcluster.down()
    assert leftovers(node.directory) == []
    assert not node.directory.exists()
    assert not link.exists()
    assert used & cgroups() == set()


def test_without_a_node_what_a_killed_one_left_is_removed(node: Node) -> None:
    """Whoever starts the control plane alone after a crash is rid of the node's control groups."""
    run_once(node.up(), "before")
    used = node.cgroups()
    kill_everything(node.directory)
    assert used & cgroups(), "there is nothing to remove"
    node.devcluster.up()
    assert used & cgroups() == set()
    node.devcluster.down()


def test_two_nodes_run_side_by_side(node: Node, tmp_path: Path) -> None:
    """Each has its own network, mounts and images; both run pods."""
    other = Node(tmp_path / "other")
    try:
        first, second = node.up(), other.up()
        assert node.link != other.link
        assert "hello from here" in run_once(first, "here")
        assert "hello from there" in run_once(second, "there")
    finally:
        other.devcluster.down()
    assert "hello from still" in run_once(first, "still")
