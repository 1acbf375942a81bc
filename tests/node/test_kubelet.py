"""The CSI driver on a real kubelet: pods start with an identity, and keep it whatever restarts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from e2e.providers import DevCluster
from tests.support.api import until
from tests.support.leftovers import kill, processes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from e2e.providers import Cluster

pytestmark = [
    pytest.mark.node,
    pytest.mark.skipif(os.geteuid() != 0, reason="a kubelet needs root"),
]

Json = dict[str, Any]

DRIVER: Json = {
    "apiVersion": "storage.k8s.io/v1",
    "kind": "CSIDriver",
    "metadata": {"name": "csi.agentid.dev"},
    "spec": {
        "attachRequired": False,
        "podInfoOnMount": True,
        "volumeLifecycleModes": ["Ephemeral"],
        "tokenRequests": [{"audience": "agentid.dev", "expirationSeconds": 600}],
        "requiresRepublish": True,
        "serviceAccountTokenInSecrets": True,
        "fsGroupPolicy": "File",
    },
}
MOUNT = "/var/run/agentid"


class Plugin:
    """The node plugin, in the mount namespace of the node."""

    def __init__(self, sandbox: int, folder: Path, lifetime: float) -> None:
        root = Path(__file__).parent.parent.parent
        self.log = folder / f"plugin-{time.monotonic_ns()}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                ["nsenter", "--target", str(sandbox), "--mount", "--pid", sys.executable, "-m",
                 "tests.support.node_plugin", str(lifetime)],
                cwd=root, env={**os.environ, "PYTHONPATH": f"{root / 'operator'}:{root}"},
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
                start_new_session=True,
            )  # fmt: skip

    def tell(self, words: str) -> int:
        """Steer its issuer; how many certificates it has issued."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(words + "\n")
        self.process.stdin.flush()
        while line := self.process.stdout.readline():
            if line.startswith("done "):
                return int(line.removeprefix("done "))
        raise AssertionError(self.log.read_text())

    def end(self) -> None:
        """End it as a kubelet does that replaces it."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        """To nsenter and to its child; only the latter holds on to the pipe for long."""
        os.killpg(self.process.pid, number)
        self.process.communicate(timeout=20)


class Scene:
    """A node of this module's own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.devcluster = DevCluster(folder / "c")
        self.cluster: Cluster = self.devcluster.up(node=True, install_packages=True)
        self.apply(DRIVER)
        until("the ServiceAccount", lambda: self.try_("get", "serviceaccount", "default"), 120)

    @contextmanager
    def plugin(self, lifetime: float = 300) -> Iterator[Plugin]:
        """A plugin that is there until the context is left."""
        made = Plugin(processes(self.folder / "c")["sandbox"], self.folder, lifetime)
        try:
            yield made
        finally:
            if made.process.poll() is None:
                made.end()

    def apply(self, body: Json) -> None:
        """Apply an object."""
        self.cluster.kubectl("apply", "-f", "-", stdin=json.dumps(body))

    def try_(self, *words: str) -> bool:
        """Whether kubectl succeeds."""
        return self.cluster.kubectl(*words, check=False).returncode == 0

    def start(self, name: str, *, read_only: bool = True, **security: object) -> None:
        """Start a pod with an identity, which is not root unless told so."""
        volume = {
            "driver": "csi.agentid.dev",
            "readOnly": read_only,
            "volumeAttributes": {"agentid.dev/identity": name},
        }
        container = {
            "name": "main",
            "image": "localhost/busybox:1",
            "command": ["sh", "-c", f"cat {MOUNT}/tls.crt > /dev/null && sleep 1000"],
            "volumeMounts": [{"name": "agentid", "mountPath": MOUNT}],
        }
        spec = {
            "terminationGracePeriodSeconds": 0,
            "restartPolicy": "Never",
            "securityContext": {"runAsUser": 65532, "runAsGroup": 65532, **security},
            "containers": [container],
            "volumes": [{"name": "agentid", "csi": volume}],
        }
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
        self.apply(pod)

    def ready(self, name: str) -> None:
        """Wait until it runs."""
        done = self.cluster.kubectl(
            "wait", f"pod/{name}", "--for=condition=Ready", "--timeout=90s", check=False
        )
        assert done.returncode == 0, self.cluster.kubectl("describe", "pod", name).stdout

    def uid(self, name: str) -> str:
        """Of a pod."""
        return self.cluster.kubectl("get", "pod", name, "-o=jsonpath={.metadata.uid}").stdout

    def inside(self, name: str, command: str) -> str:
        """What a command in the pod prints."""
        return self.cluster.kubectl("exec", name, "--", "sh", "-c", command, check=False).stdout

    def certificate(self, name: str) -> str:
        """What the pod reads."""
        return self.inside(name, f"cat {MOUNT}/tls.crt")

    def end(self, name: str) -> None:
        """Delete it."""
        self.cluster.kubectl("delete", "pod", name, "--timeout=60s")

    def mounts(self) -> list[str]:
        """Mounts of our volumes in the node's namespace."""
        sandbox = processes(self.folder / "c")["sandbox"]
        lines = Path(f"/proc/{sandbox}/mounts").read_text().splitlines()
        paths = [line.split(" ")[1] for line in lines]
        return [p for p in paths if "csi.agentid.dev/state/" in p or "kubernetes.io~csi" in p]

    def state(self) -> list[str]:
        """What is in the plugin's folder of state."""
        sandbox = processes(self.folder / "c")["sandbox"]
        folder = f"/proc/{sandbox}/root/var/lib/kubelet/plugins/csi.agentid.dev/state"
        return sorted(entry.name for entry in Path(folder).iterdir())


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """One node for all tests here."""
    made = Scene(tmp_path_factory.mktemp("csi"))
    yield made
    made.devcluster.down()


def test_a_pod_has_its_identity_before_its_first_instruction(scene: Scene) -> None:
    """Not root, with and without fsGroup; the mount cannot be written to; then nothing is left."""
    with scene.plugin():
        scene.start("plain")
        scene.start("grouped", fsGroup=2000)
        scene.start("superuser", runAsUser=0)
        for name in ("plain", "grouped", "superuser"):
            scene.ready(name)
            listed = scene.inside(name, f"ls {MOUNT}").split()
            assert listed == [
                "agent.json", "ca.crt", "credentials.pem", "tls.crt", "tls.key", "workload.sock"
            ]  # fmt: skip
            assert "PRIVATE KEY" in scene.inside(name, f"cat {MOUNT}/tls.key")
            assert f"/agent/{name}" in scene.inside(name, f"cat {MOUNT}/agent.json")
            wrote = scene.inside(name, f"touch {MOUNT}/x 2>&1; rm -f {MOUNT}/tls.key 2>&1")
            assert "Read-only" in wrote
        assert "2000" in scene.inside("grouped", f"ls -lLn {MOUNT}/tls.key")
        for name in ("plain", "grouped", "superuser"):
            scene.end(name)
        until("unpublished", lambda: scene.mounts() == [] and scene.state() == [], 60)


def test_a_refusal_is_told_on_the_pod(scene: Scene) -> None:
    """A volume that may be written to is refused, and the pod's event says what to change."""
    with scene.plugin():
        scene.start("writable", read_only=False)

        def told() -> bool:
            events = scene.cluster.kubectl(
                "get", "events", "--field-selector=involvedObject.name=writable"
            )
            return "readOnly: true" in events.stdout

        until("the event", told, 60)
        scene.end("writable")
        until("nothing left", lambda: scene.mounts() == [] and scene.state() == [], 60)


def test_renewed_through_the_death_of_the_plugin_and_of_the_kubelet(scene: Scene) -> None:
    """Renewal every two seconds; SIGKILL of the plugin, its upgrade, and the kubelet's death."""
    with scene.plugin(lifetime=4) as plugin:
        scene.start("steady")
        scene.ready("steady")
        seen = scene.certificate("steady")
        until("renewed", lambda: scene.certificate("steady") not in {"", seen}, 10)
        plugin.kill()
        held = scene.certificate("steady")
        assert held
    with scene.plugin(lifetime=4) as second:
        until("renewed by another", lambda: scene.certificate("steady") not in {"", held}, 15)
        assert len([path for path in scene.mounts() if "kubernetes.io~csi" in path]) == 1
        kill(processes(scene.folder / "c")["kubelet"])
        count = second.tell("count")
        until("renewed without a kubelet", lambda: second.tell("count") > count + 1, 15)
        scene.cluster = scene.devcluster.up(node=True)
        scene.ready("steady")
        until("the kubelet", lambda: scene.certificate("steady") != "", 60)
        assert len([path for path in scene.mounts() if "kubernetes.io~csi" in path]) == 1
        scene.end("steady")
        until("nothing left", lambda: scene.mounts() == [] and scene.state() == [], 90)


def test_revoked_within_a_second(scene: Scene) -> None:
    """The pod's files are gone within a second, the pod stays, and a republish does not fail."""
    with scene.plugin() as plugin:
        scene.start("revoked")
        scene.ready("revoked")
        sandbox = processes(scene.folder / "c")["sandbox"]
        volume = Path(f"/proc/{sandbox}/root", next(
            path for path in scene.mounts() if "kubernetes.io~csi" in path
        ).lstrip("/"))  # fmt: skip
        assert (volume / "..data").is_symlink()
        began = time.monotonic()
        plugin.tell(f"revoke {scene.uid('revoked')}")
        until("gone", lambda: not (volume / "..data").is_symlink(), 2)
        assert time.monotonic() - began < 2
        assert scene.inside("revoked", f"ls {MOUNT}").split() == ["workload.sock"]
        plugin.tell(f"readmit {scene.uid('revoked')}")
        until("back", lambda: "BEGIN" in scene.certificate("revoked"), 10)
        scene.end("revoked")
        until("nothing left", lambda: scene.mounts() == [] and scene.state() == [], 60)


def test_a_pod_waits_for_the_issuer(scene: Scene) -> None:
    """With no issuer a pod does not start without an identity; once it is back, it starts."""
    with scene.plugin() as plugin:
        plugin.tell("down")
        scene.start("patient")

        def told() -> bool:
            events = scene.cluster.kubectl(
                "get", "events", "--field-selector=involvedObject.name=patient"
            )
            return "issuer service does not answer" in events.stdout

        until("the event", told, 60)
        assert not [path for path in scene.mounts() if "kubernetes.io~csi" in path]
        until("nothing mounted between two tries", lambda: scene.mounts() == [], 30)
        plugin.tell("up")
        scene.ready("patient")
        scene.end("patient")
        until("nothing left", lambda: scene.mounts() == [] and scene.state() == [], 60)
