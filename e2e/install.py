"""Puts agentid into a cluster, and runs its operator as its own ServiceAccount."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from e2e.errors import E2EError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from e2e.providers import Cluster

__all__ = [
    "ADMISSION_ACCOUNT",
    "NAMESPACE",
    "RESPONDER_ACCOUNT",
    "SERVICE_ACCOUNT",
    "Operator",
    "admission",
    "install",
    "operator",
    "operator_environment",
    "port_in_log",
    "responder",
    "samples",
    "start_operator",
]

NAMESPACE: Final = "agentid-system"
SERVICE_ACCOUNT: Final = "agentid-controller"
RESPONDER_ACCOUNT: Final = "agentid-responder"
ADMISSION_ACCOUNT: Final = "agentid-admission"

_ROOT: Final = Path(__file__).parent.parent
_TOKEN_LIFE: Final = "24h"  # noqa: S105 - a duration
_PROBE: Final = "policies-probe"


def install(cluster: Cluster) -> None:
    """Install CRDs, namespace, RBAC and policies, and wait until they are in force.

    Raises:
        E2EError: The cluster refuses them.
    """
    manifests = _ROOT / "manifests"
    cluster.kubectl("apply", "--server-side", "-f", str(_ROOT / "crds"))
    for part in ("namespace.yaml", "rbac", "policies"):
        cluster.kubectl("apply", "--server-side", "-f", str(manifests / part))
    cluster.kubectl("wait", "--for=condition=Established", "-f", str(_ROOT / "crds"))
    _until_policies_hold(cluster)


def samples(cluster: Cluster, *names: str) -> None:
    """Apply sample manifests, such as `issuer` and `agents`; `classes` are the starter classes."""
    manifests = _ROOT / "manifests"
    for name in names:
        chosen = ("-f", str(manifests / "samples" / f"{name}.yaml"))
        if name == "classes":
            chosen = ("-k", str(manifests / name))
        cluster.kubectl("apply", "--server-side", *chosen)


def _until_policies_hold(cluster: Cluster) -> None:
    """An admission policy is in force a second or two after it was accepted; ask it itself."""
    probe = {
        "apiVersion": "agentid.dev/v1alpha1",
        "kind": "AgentIdentity",
        "metadata": {"name": _PROBE, "namespace": "default"},
        "spec": {"className": "none", "subject": {"serviceAccountName": "default"}},
    }
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": _PROBE,
            "namespace": "default",
            "labels": {"agentid.dev/managed": "true", "agentid.dev/identity-uid": "none"},
        },
    }
    bundle = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": _PROBE,
            "namespace": "default",
            "labels": {"agentid.dev/managed": "true", "agentid.dev/issuer": "none"},
        },
    }
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        dry = ("create", "--dry-run=server", "-o", "json", "-f", "-")
        seen = cluster.kubectl(*dry, stdin=json.dumps(probe), check=False)
        refused = all(
            cluster.kubectl(*dry, stdin=json.dumps(each), check=False).returncode
            for each in (secret, bundle)
        )
        if "agentid.dev/revocation" in seen.stdout and refused:
            return
        time.sleep(0.2)
    msg = (
        "the admission policies are installed, but not in force after 30 s; see "
        "kubectl get validatingadmissionpolicies,mutatingadmissionpolicies -o yaml"
    )
    raise E2EError(msg)


def operator_environment(
    cluster: Cluster, service_account: str = SERVICE_ACCOUNT
) -> dict[str, str]:
    """The environment of a pod that runs as a ServiceAccount of ours, made outside of one.

    It has a token of that ServiceAccount, the cluster's CA and the API server's address, and no
    admin's rights.

    Args:
        cluster: Where agentid is installed.
        service_account: In agentid's namespace; the controller's unless told otherwise.
    """
    directory = cluster.directory / "operator" / service_account / "serviceaccount"
    directory.mkdir(parents=True, exist_ok=True)
    view = json.loads(
        cluster.kubectl("config", "view", "--raw", "--minify", "--flatten", "-o", "json").stdout
    )
    server = view["clusters"][0]["cluster"]
    token = cluster.kubectl(
        "create", "token", service_account, "--namespace", NAMESPACE, f"--duration={_TOKEN_LIFE}"
    ).stdout
    ca = base64.b64decode(server["certificate-authority-data"]).decode()
    for name, content in (("token", token), ("ca.crt", ca), ("namespace", NAMESPACE)):
        path = directory / name
        path.touch(mode=0o600)
        path.write_text(content, encoding="utf-8")
    address = urlsplit(server["server"])
    return {
        **{name: value for name, value in os.environ.items() if name != "KUBECONFIG"},
        "KUBERNETES_SERVICE_HOST": address.hostname or "",
        "KUBERNETES_SERVICE_PORT": str(address.port or 443),
        "AGENTID_SERVICEACCOUNT_DIR": str(directory),
    }


_LOG_SHOWN: Final = 30
"""Lines of a log that tell why an operator ended."""


@dataclass(frozen=True, slots=True)
class Operator:
    """An operator that runs in the background.

    Attributes:
        process: The process.
        log: Where its log goes.
        port: Of its probes and metrics.
    """

    process: subprocess.Popen[bytes]
    log: Path
    port: int

    def stop(self, seconds: float = 15.0) -> int:
        """Ask it to stop, and return its exit code; end it the hard way if it does not."""
        self.process.terminate()
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


@contextlib.contextmanager
def operator(cluster: Cluster, name: str = "operator", port: int = 0) -> Iterator[Operator]:
    """Run an operator while the context is open; where that fails, the end of its log is shown."""
    started = start_operator(cluster, name, port)
    try:
        yield started
    except BaseException:
        end = started.log.read_text(encoding="utf-8").splitlines()[-_LOG_SHOWN:]
        print(f"The log of {name} ends with:", *end, sep="\n", file=sys.stderr)
        raise
    finally:
        started.stop()


def start_operator(
    cluster: Cluster,
    name: str = "operator",
    port: int = 0,
    *,
    module: str = "agentid",
    issuer_port: int = 0,
    environment: Mapping[str, str] | None = None,
) -> Operator:
    """Start an operator in the background, as its own ServiceAccount.

    Args:
        cluster: Where agentid is installed.
        name: Of the replica and of its log file.
        port: Of its probes; 0 takes a free one, which its log tells.
        module: What to run in place of agentid itself, for tests of faults.
        issuer_port: Of the issuer service; 0 for none.
        environment: Variables on top of those that a pod has.
    """
    log = cluster.directory / "operator" / f"{name}.log"
    variables = {**operator_environment(cluster), **(environment or {})}
    command = [sys.executable, "-m", module, "operator", "--process", name]
    command += ["--probe-host", "127.0.0.1", "--probe-port", str(port)]
    command += ["--issuer-port", str(issuer_port)]
    with log.open("ab") as out:
        process = subprocess.Popen(
            command, env=variables, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
            start_new_session=True,
        )  # fmt: skip
    return Operator(process, log, port)


def port_in_log(log: Path, event: str, seconds: float = 60.0, *, key: str = "port") -> int:
    """The port that a process says in its log that it took.

    Args:
        log: JSON Lines.
        event: What the line is called, such as `http_serving`.
        seconds: How long to wait for it.
        key: Under which the line has it.

    Raises:
        E2EError: It does not say so in time.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for line in log.read_text(encoding="utf-8").splitlines():
            with contextlib.suppress(ValueError):
                told = json.loads(line)
                if isinstance(told, dict) and told.get("event") == event:
                    return int(told[key])
        time.sleep(0.05)
    msg = f"{event} does not stand in {log} after {seconds:.0f} s; the log may tell why"
    raise E2EError(msg)


@contextlib.contextmanager
def responder(cluster: Cluster, name: str = "responder", *options: str) -> Iterator[Operator]:
    """Run a responder while the context is open, as its own ServiceAccount.

    Its log tells the ports that it took.

    Args:
        cluster: Where agentid is installed.
        name: Of its log file.
        options: Of `agentid responder`, on top of addresses and ports.
    """
    ports = ("--http-port", "0", "--https-port", "0")
    with _server(cluster, RESPONDER_ACCOUNT, name, "responder", *ports, *options) as started:
        yield started


@contextlib.contextmanager
def admission(cluster: Cluster, name: str = "admission", *options: str) -> Iterator[Operator]:
    """Run a webhook while the context is open, as its own ServiceAccount.

    Its log tells the ports that it took.

    Args:
        cluster: Where agentid is installed.
        name: Of its log file.
        options: Of `agentid admission`, on top of addresses and ports.
    """
    port = ("--port", "0")
    with _server(cluster, ADMISSION_ACCOUNT, name, "admission", *port, *options) as started:
        yield started


@contextlib.contextmanager
def _server(
    cluster: Cluster, account: str, name: str, subcommand: str, *options: str
) -> Iterator[Operator]:
    command = [sys.executable, "-m", "agentid", subcommand, "--host", "127.0.0.1"]
    command += ["--probe-host", "127.0.0.1", "--probe-port", "0", *options]
    variables = operator_environment(cluster, account)
    log = cluster.directory / "operator" / f"{name}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, env=variables, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
            start_new_session=True,
        )  # fmt: skip
    started = Operator(process, log, 0)
    try:
        yield started
    finally:
        started.stop()


def openssl() -> str:
    """Return the path of OpenSSL's program.

    Raises:
        E2EError: There is none.
    """
    found = shutil.which("openssl")
    if found is None:
        msg = "openssl is not on PATH; on Debian: apt-get install openssl"
        raise E2EError(msg)
    return found
