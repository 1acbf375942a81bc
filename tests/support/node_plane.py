"""The node plugin as the chart installs it, on a node of our own: what it does, what is left."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from e2e.chart import CHART
from e2e.image import image, load, node_of
from e2e.providers import DevCluster
from tests.support.api import until
from tests.support.leftovers import processes
from tests.support.opted_in import agent, agent_class, pod
from tests.support.release import AGENTS, NAMESPACE, Release

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["BRISK", "MOUNT", "NodePlane", "Watched", "leaf_of"]

Json = dict[str, Any]

BRISK: Final = ("1m", "45s")
"""Lifetime and renewBefore of the shortest class that the API takes: renewed after 9 to 14 s."""
MOUNT: Final = "/var/run/agentid"
VALUES: Final[Json] = {
    "image": {"pullPolicy": "Never"},
    "issuer": {"trustDomain": "agents.example.com"},
}
_KUBELET: Final = "var/lib/kubelet"
_SELECTOR: Final = "app.kubernetes.io/component=node"


class NodePlane:
    """The chart on a node, with plugins that reach the issuer service."""

    def __init__(self, directory: Path) -> None:
        """Start cluster and node, and give it the image; nothing is installed yet."""
        self.directory = directory
        self.devcluster = DevCluster(directory)
        self.release = Release(self.devcluster.up(node=True, install_packages=True))
        load(image(), directory)
        for namespace, level in ((NAMESPACE, "privileged"), (AGENTS, "restricted")):
            self.kubectl("create", "namespace", namespace)
            self.kubectl(
                "label", "namespace", namespace, f"pod-security.kubernetes.io/enforce={level}"
            )

    def kubectl(self, *args: str) -> str:
        """What kubectl prints."""
        return self.release.cluster.kubectl(*args).stdout

    def install(self) -> None:
        """Install the chart.

        There is no DNS on this node, so the plugin is told by /etc/hosts what DNS tells elsewhere:
        the address of the Service. Names and trust are as they ship.
        """
        self.release.install(CHART, VALUES)
        where = ("-n", NAMESPACE, "-o", "jsonpath={.spec.clusterIP}")
        address = self.kubectl("get", "service", "agentid-issuer", *where)
        alias = {"ip": address, "hostnames": [f"agentid-issuer.{NAMESPACE}.svc"]}
        patch = {"spec": {"template": {"spec": {"hostAliases": [alias]}}}}
        self.patch_plugin(patch)

    def patch_plugin(self, patch: Json) -> None:
        """Change the DaemonSet, and wait until its pods are those of the change."""
        where = ("daemonset/agentid-node", "-n", NAMESPACE)
        self.kubectl("patch", *where, "--type=merge", "-p", json.dumps(patch))
        self.kubectl("rollout", "status", *where, "--timeout=120s")

    def end(self) -> None:
        """End cluster and node."""
        self.devcluster.down()

    # Agents

    def settle(self, name: str, lifetime: str, renew_before: str = "", **spec: object) -> None:
        """Have an identity with delivery CSI, in a class of its own, that may have certificates.

        Args:
            name: Of identity and class.
            lifetime: Of its certificates, as the class has it.
            renew_before: Likewise; by default a third of the lifetime.
            spec: What else the class says.
        """
        renewal = {"renewal": {"renewBefore": renew_before}} if renew_before else {}
        body = agent_class(lifetime=lifetime, delivery={"modes": ["CSI"]}, **renewal, **spec)
        body["metadata"]["name"] = name
        self.release.apply(body, agent(name, className=name, delivery={"mode": "CSI"}))

        def ready() -> bool:
            text = self.kubectl("get", "agentidentity", name, "-n", AGENTS, "-o", "json")
            conditions = json.loads(text).get("status", {}).get("conditions", ())
            return any((each["type"], each["status"]) == ("Ready", "True") for each in conditions)

        until(f"agent {name}", ready, 90)

    def start(self, name: str, identity: str, **spec: object) -> None:
        """Start a pod that asks for an identity by its label, and wait until it runs."""
        self.release.apply(pod(name, identity, **spec))
        self.running(name)

    def running(self, name: str, seconds: float = 90) -> None:
        """Wait until a pod runs."""
        done = self.release.cluster.kubectl(
            "wait", f"pod/{name}", "-n", AGENTS, "--for=condition=Ready",
            f"--timeout={seconds:.0f}s", check=False,
        )  # fmt: skip
        if done.returncode != 0:
            logs = ("logs", "-n", NAMESPACE, "-l", _SELECTOR, "--tail=40")
            told = self.release.cluster.kubectl(*logs, check=False).stdout
            raise AssertionError(self.kubectl("describe", "pod", name, "-n", AGENTS) + told)

    def inside(self, name: str, command: str) -> str:
        """What a command in the pod prints."""
        return self.kubectl("exec", name, "-n", AGENTS, "-c", "main", "--", "sh", "-c", command)

    def pod(self, name: str) -> Json:
        """A pod of an agent."""
        found: Json = json.loads(self.kubectl("get", "pod", name, "-n", AGENTS, "-o", "json"))
        return found

    def uid(self, name: str) -> str:
        """Of a pod of an agent."""
        return str(self.pod(name)["metadata"]["uid"])

    def delete(self, name: str) -> None:
        """Delete a pod of an agent, and wait until the node has nothing of it."""
        uid = self.uid(name)
        self.kubectl("delete", "pod", name, "-n", AGENTS, "--wait=true", "--timeout=90s")
        self.until_nothing_is_left(uid)

    # The plugin, and the controller

    def plugins(self) -> list[Json]:
        """Pods of the plugin."""
        text = self.kubectl("get", "pods", "-n", NAMESPACE, "-l", _SELECTOR, "-o", "json")
        items: list[Json] = json.loads(text)["items"]
        return items

    def plugin_ready(self) -> bool:
        """Whether the one plugin can publish."""
        found = self.plugins()
        return len(found) == 1 and all(
            each["ready"] for each in found[0]["status"].get("containerStatuses", ())
        )

    def kill_plugin(self) -> None:
        """SIGKILL, as when the kernel needs memory; the kubelet starts it again."""
        (found,) = self.plugins()
        (status,) = found["status"]["containerStatuses"]
        container = status["containerID"].removeprefix("containerd://")
        socket = node_of(self.directory)
        assert socket is not None
        ctr = ["ctr", "--address", str(socket), "--namespace", "k8s.io"]
        subprocess.run([*ctr, "tasks", "kill", "--signal", "SIGKILL", container], check=True)

        def again() -> bool:
            return self.plugin_ready() and (
                self.plugins()[0]["status"]["containerStatuses"][0]["containerID"]
                != status["containerID"]
            )

        until("the plugin again", again, 60)

    def scale_controllers(self, replicas: int) -> None:
        """Have so many replicas of the controller, each with the issuer service."""
        scale = ("scale", "deployment/agentid-controller", "-n", NAMESPACE)
        self.kubectl(*scale, f"--replicas={replicas}")
        selector = ("-l", "app.kubernetes.io/component=controller")

        def there() -> bool:
            text = self.kubectl("get", "pods", "-n", NAMESPACE, *selector, "-o", "json")
            pods = json.loads(text)["items"]
            ready = [
                status["ready"]
                for each in pods
                for status in each["status"].get("containerStatuses", ())
            ]
            return len(pods) == replicas and len(ready) == replicas and all(ready)

        until(f"{replicas} controllers", there, 180)

    # The node

    @property
    def node(self) -> Path:
        """The node's root, as this machine sees it."""
        return Path(f"/proc/{processes(self.directory)['sandbox']}/root")

    def volume(self, uid: str) -> Path:
        """The volume of a pod, as its containers see it."""
        return self.node / _KUBELET / "pods" / uid / "volumes/kubernetes.io~csi/agentid/mount"

    def mounts(self) -> list[str]:
        """Mounts of the plugin's volumes that the node has."""
        sandbox = processes(self.directory)["sandbox"]
        lines = Path(f"/proc/{sandbox}/mounts").read_text().splitlines()
        paths = [line.split(" ")[1] for line in lines]
        return [each for each in paths if "csi.agentid.dev/state/" in each or "~csi" in each]

    def left_of(self, uid: str) -> list[str]:
        """What the node still has of a pod: mounts, folders, and what the plugin keeps."""
        found = [each for each in self.mounts() if uid in each]
        folder = self.node / _KUBELET / "plugins/csi.agentid.dev/state"
        for path in folder.glob("*.json"):
            if uid in path.read_text():
                found += [str(path), *(each for each in self.mounts() if path.stem in each)]
        return found + [str(path) for path in (self.node / _KUBELET / "pods").glob(uid)]

    def until_nothing_is_left(self, uid: str, seconds: float = 90) -> None:
        """Wait until the node has forgotten a pod."""
        until(f"nothing left of {uid}", lambda: not self.left_of(uid), seconds)

    def serial(self, uid: str) -> str:
        """Of the certificate that a pod holds, in hexadecimal; empty while it holds none."""
        with suppress(FileNotFoundError):
            return f"{leaf_of((self.volume(uid) / 'tls.crt').read_bytes()).serial_number:x}"
        return ""

    @contextmanager
    def watched(self, uid: str) -> Iterator[Watched]:
        """Look at a pod's files all the time; what was wrong with them is raised at the end."""
        made = Watched(self.volume(uid))
        made.start()
        try:
            yield made
        finally:
            made.stop()
        assert made.wrong == [], made.wrong[:5]


class Watched:
    """A pod's files, read some twenty times a second as an agent would."""

    def __init__(self, volume: Path) -> None:
        """Look at nothing yet."""
        self._volume = volume
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look, name="watched")
        self.wrong: list[str] = []
        self.serials: list[str] = []

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Stop."""
        self._end.set()
        self._thread.join()

    @property
    def renewals(self) -> int:
        """How many other certificates were seen after the first."""
        return len(self.serials) - 1

    def renewed(self, seconds: float = 60) -> None:
        """Wait until another certificate is there than the ones so far."""
        count = len(self.serials)
        until("a renewal", lambda: len(self.serials) > count, seconds)

    def _look(self) -> None:
        while not self._end.wait(0.05):
            try:
                content = (self._volume / "credentials.pem").read_bytes()
                leaf = leaf_of(content)
                key = load_pem_private_key(content, None)
                if key.public_key() != leaf.public_key():
                    self.wrong.append("key and certificate do not belong together")
                if leaf.not_valid_after_utc <= datetime.now(UTC):
                    self.wrong.append(f"it ran out at {leaf.not_valid_after_utc}")
            except (OSError, ValueError) as error:
                self.wrong.append(f"{time.monotonic():.1f}: {error}")
                continue
            serial = f"{leaf.serial_number:x}"
            if serial not in self.serials:
                self.serials.append(serial)


def leaf_of(pem: bytes) -> x509.Certificate:
    """The first certificate of a file, which may hold keys too."""
    return x509.load_pem_x509_certificates(pem)[0]
