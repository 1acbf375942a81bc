"""The clusters that agentid can be tried on, behind one small interface.

`CLUSTER` chooses: `devcluster` (the default) is built from source and runs on this machine with
neither Docker nor root; `kind` asks the `kind` command for one; `current` takes what KUBECONFIG
points at, and never ends it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from e2e import toolchain
from e2e.errors import E2EError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["Cluster", "ClusterProvider", "CurrentCluster", "DevCluster", "KindCluster", "provider"]

KIND_NAME: Final = "agentid"

_ENDED: Final = "Nothing of it runs any more."


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster that answers.

    Attributes:
        name: What to call it before a person.
        directory: Where state about it may be kept.
        kubeconfig: How to reach it as its admin.
        kubectl_command: The program, and its first arguments, that serves as kubectl.
    """

    name: str
    directory: Path
    kubeconfig: Path
    kubectl_command: tuple[str, ...]

    def kubectl(
        self, *args: str, stdin: str | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl as admin.

        Raises:
            E2EError: It failed, and `check` is set; the message holds what it wrote.
        """
        done = subprocess.run(
            [*self.kubectl_command, *args],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "KUBECONFIG": str(self.kubeconfig)},
        )
        if check and done.returncode != 0:
            msg = f"kubectl {' '.join(args)} failed:\n{done.stderr.strip()}"
            raise E2EError(msg)
        return done


class ClusterProvider(Protocol):
    """One kind of cluster."""

    def up(
        self, *, fsync: bool = False, node: bool = False, install_packages: bool = False
    ) -> Cluster:
        """Return the cluster once it answers; start it if that is ours to do.

        Args:
            fsync: Make its storage durable, as a benchmark needs it.
            node: Give it a real kubelet; needs root where the node is of our own making.
            install_packages: Install the Debian packages that such a node lacks.
        """

    def down(self) -> str:
        """End what `up` started, and nothing else; return what to tell about it."""


class DevCluster:
    """The cluster of our own: `e2e/devcluster`, run out of one directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory.absolute()

    def up(
        self, *, fsync: bool = False, node: bool = False, install_packages: bool = False
    ) -> Cluster:
        """Start it, or what of it is not running."""
        flags = ["--fsync"] * fsync + ["--node"] * node
        flags += ["--install-packages"] * install_packages
        self.run("up", *flags)
        program = str(toolchain.devcluster())
        kubeconfig = self._directory / "kubeconfig"
        return Cluster("devcluster", self._directory, kubeconfig, (program, "kubectl"))

    def down(self) -> str:
        """End it and remove its directory."""
        if self._directory.exists():
            self.run("down", "--purge")
        return _ENDED

    def run(self, *args: str) -> str:
        """Run a command of the devcluster program, such as `stop kube-apiserver`."""
        program = toolchain.devcluster()
        done = subprocess.run(
            [program, *args, "--dir", self._directory],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode != 0:
            raise E2EError(done.stderr.strip() or done.stdout.strip())
        return done.stdout.strip()


class CurrentCluster:
    """A cluster of somebody else's; agentid is installed into it, and it is never ended."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory.absolute()

    def up(
        self, *, fsync: bool = False, node: bool = False, install_packages: bool = False
    ) -> Cluster:
        """Copy the chosen context of KUBECONFIG into the directory."""
        del fsync, node, install_packages  # all as its owner made them
        kubectl = shutil.which("kubectl")
        if kubectl is None:
            msg = "CLUSTER=current needs kubectl on PATH"
            raise E2EError(msg)
        view = ("config", "view", "--minify", "--flatten")
        flat = subprocess.run([kubectl, *view], capture_output=True, text=True, check=False)
        if flat.returncode != 0 or "server:" not in flat.stdout:
            msg = "CLUSTER=current: KUBECONFIG names no usable context; try `kubectl config view`"
            raise E2EError(msg)
        return _reached("current", self._directory, flat.stdout)

    def down(self) -> str:
        """Forget the copy of the kubeconfig."""
        (self._directory / "kubeconfig").unlink(missing_ok=True)
        return "The cluster goes on, with agentid installed: CLUSTER=current is not ours to end."


class KindCluster:
    """A cluster in Docker containers, by the `kind` command."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory.absolute()

    def _kind(self, *args: str) -> str:
        kind = shutil.which("kind")
        if kind is None or shutil.which("docker") is None:
            msg = "CLUSTER=kind needs the programs kind and docker on PATH; or leave CLUSTER unset"
            raise E2EError(msg)
        done = subprocess.run([kind, *args], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            msg = f"kind {' '.join(args)} failed:\n{done.stderr.strip()}"
            raise E2EError(msg)
        return done.stdout

    def up(
        self, *, fsync: bool = False, node: bool = False, install_packages: bool = False
    ) -> Cluster:
        """Create the cluster `agentid` if there is none."""
        del fsync, node, install_packages  # kind has them
        if KIND_NAME not in self._kind("get", "clusters").split():
            self._kind("create", "cluster", "--name", KIND_NAME, "--wait", "120s")
        return _reached(
            "kind", self._directory, self._kind("get", "kubeconfig", "--name", KIND_NAME)
        )

    def down(self) -> str:
        """Delete the cluster `agentid`."""
        self._kind("delete", "cluster", "--name", KIND_NAME)
        return _ENDED


def _reached(name: str, directory: Path, kubeconfig: str) -> Cluster:
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "kubeconfig"
    path.touch(mode=0o600)
    path.write_text(kubeconfig, encoding="utf-8")
    program = shutil.which("kubectl")
    command = (program,) if program else (str(toolchain.devcluster()), "kubectl")
    cluster = Cluster(name, directory, path, command)
    cluster.kubectl("get", "--raw", "/readyz")
    return cluster


def provider(directory: Path) -> ClusterProvider:
    """Return the provider that the environment variable CLUSTER names.

    Raises:
        E2EError: There is no such kind of cluster.
    """
    kinds: dict[str, Callable[[Path], ClusterProvider]] = {
        "devcluster": DevCluster,
        "current": CurrentCluster,
        "kind": KindCluster,
    }
    name = os.environ.get("CLUSTER") or "devcluster"
    if name not in kinds:
        msg = f'CLUSTER: "{name}" is no kind of cluster; choose one of {", ".join(kinds)}'
        raise E2EError(msg)
    return kinds[name](directory)
