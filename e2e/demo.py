"""`make demo`: the whole story of three agents on a real cluster, told as it happens."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from e2e.errors import E2EError
from e2e.install import (
    NAMESPACE,
    SERVICE_ACCOUNT,
    install,
    openssl,
    operator_environment,
    port_in_log,
    responder,
    samples,
    start_operator,
)
from e2e.progress import say
from e2e.providers import provider

if TYPE_CHECKING:
    from collections.abc import Callable

    from e2e.providers import Cluster

_PATIENCE: Final = 60.0
"""Seconds for what takes a fraction of one."""


def main() -> int:
    """Tell the story; 1 if it does not come to its end."""
    directory = Path(os.environ.get("CLUSTER_DIR", ".cluster"))
    try:
        _tell(directory)
    except E2EError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    return 0


def _tell(directory: Path) -> None:
    _step("A Kubernetes cluster: API server, etcd, controller-manager")
    cluster = provider(directory).up()
    say(f"{cluster.name} answers; its kubeconfig is {cluster.kubeconfig}")

    _step("agentid: resource definitions, RBAC, admission policies")
    install(cluster)
    _end_earlier(cluster)
    operator = start_operator(cluster, "demo")
    (cluster.directory / "operator" / "demo.pid").write_text(str(operator.process.pid))
    say(f"the operator runs as ServiceAccount {NAMESPACE}/{SERVICE_ACCOUNT}, never as admin")
    say(f"its log is {operator.log}")
    try:
        with responder(cluster, "demo-responder") as serving:
            say("the responder runs as one of its own, which can read what is published, no more")
            _story(cluster, f"http://127.0.0.1:{port_in_log(serving.log, 'http_serving')}")
    finally:
        operator.stop()

    _step("What is left")
    say("The cluster is still up, the operator has stopped. Talk to it:")
    say(f"    export KUBECONFIG={cluster.kubeconfig}")
    say(f"    {' '.join(cluster.kubectl_command)} get agentidentities -A")
    say("Run the operator in the foreground:  make run")
    say("End everything:                      make demo-down")


def _story(cluster: Cluster, served: str) -> None:
    _step("An issuer, the starter classes, three agents")
    samples(cluster, "issuer", "classes", "agents")
    cluster.kubectl(
        "wait", "agentidentities", "--all", "-A", "--for=condition=Ready", "--timeout=60s"
    )
    say(cluster.kubectl("get", "agentidentities", "-A", "-o", "wide").stdout.rstrip())

    _step("Its certificate, verified by OpenSSL")
    _verify(cluster, "finance", "invoice-reader-agentid")

    _step("A renewal on request: a new key, a new serial")
    before = _serial(cluster, "finance", "invoice-reader")
    stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    while datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") == stamp:
        time.sleep(0.05)  # a request is heeded when it is newer than the certificate
    stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    cluster.kubectl(
        "annotate", "agentidentity", "invoice-reader", "-n", "finance", "--overwrite",
        f"agentid.dev/renew-requested={stamp}",
    )  # fmt: skip
    _until(
        "a new serial", lambda: _serial(cluster, "finance", "invoice-reader") not in {before, ""}
    )
    after = _serial(cluster, "finance", "invoice-reader")
    say(f"serial {before}  ->  {after}")
    say("the old certificate runs out by itself: pods may hold it until the kubelet swaps the file")

    _step("What a verifier asks: OpenSSL with the CRL that the certificate names, and by OCSP")
    agent = _Verifier(cluster, served, "finance", "invoice-reader-agentid")
    agent.ask(revoked=False)

    _step("An agent is deleted: every serial it held is revoked")
    cluster.kubectl("delete", "agentidentity", "invoice-reader", "-n", "finance", "--timeout=60s")
    for serial in (before, after):
        reason = _revocation(cluster, serial)
        if not reason:
            msg = f"serial {serial} is not revoked on the ledger"
            raise E2EError(msg)
        say(f"serial {serial}  revoked on the ledger, {reason}")
    agent.ask(revoked=True)
    # Within a second, but for a kind that is new: of those it learns twice a minute.
    say("Kubernetes' garbage collector removes its Secret …")
    cluster.kubectl(
        "wait", "--for=delete", "secret/invoice-reader-agentid", "-n", "finance", "--timeout=90s"
    )
    say(_ledger_verified(cluster))


def _end_earlier(cluster: Cluster) -> None:
    """End the operator of a demo that was interrupted, if it is still the same process."""
    record = cluster.directory / "operator" / "demo.pid"
    if not record.exists():
        return
    pid = record.read_text().strip()
    command = Path(f"/proc/{pid}/cmdline")
    if pid.isdecimal() and command.exists() and b"agentid\0operator" in command.read_bytes():
        os.kill(int(pid), 15)
        _until("the earlier operator's end", lambda: not command.exists())
    record.unlink()


def _verify(cluster: Cluster, namespace: str, secret: str) -> None:
    body = json.loads(
        cluster.kubectl("get", "secret", secret, "-n", namespace, "-o", "json").stdout
    )
    files = {name: base64.b64decode(data) for name, data in body["data"].items()}
    with tempfile.TemporaryDirectory() as scratch:
        for name in ("tls.crt", "ca.crt"):
            (Path(scratch) / name).write_bytes(files[name])
        command = [openssl(), "verify", "-x509_strict", "-purpose", "sslclient"]
        command += ["-CAfile", "ca.crt", "-untrusted", "tls.crt", "tls.crt"]
        done = subprocess.run(command, cwd=scratch, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            msg = f"OpenSSL refuses the chain:\n{done.stdout}{done.stderr}"
            raise E2EError(msg)
        say(f"$ openssl {' '.join(command[1:])}\n{done.stdout.strip()}")
        inspected = subprocess.run(
            [sys.executable, "-m", "agentid", "inspect", "tls.crt"],
            cwd=scratch, capture_output=True, text=True, check=True,
        )  # fmt: skip
    say(f"$ agentid inspect tls.crt\n{inspected.stdout.rstrip()}")
    say(f"$ cat agent.json\n{files['agent.json'].decode().rstrip()}")


class _Verifier:
    """Somebody who has an agent's certificate, its bundle and OpenSSL, and nothing of agentid.

    In a cluster the URLs in the certificate lead to the responder's Service; here it listens on a
    port of this machine, so the paths are asked there.
    """

    def __init__(self, cluster: Cluster, served: str, namespace: str, secret: str) -> None:
        body = json.loads(
            cluster.kubectl("get", "secret", secret, "-n", namespace, "-o", "json").stdout
        )
        self._served = served
        self._scratch = tempfile.TemporaryDirectory()
        for name in ("tls.crt", "ca.crt"):
            self._write(name, base64.b64decode(body["data"][name]))
        leaf, issuing = x509.load_pem_x509_certificates(base64.b64decode(body["data"]["tls.crt"]))
        points = leaf.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
        names = points[0].full_name or []
        self._crl = urlsplit(str(names[0].value)).path
        self._write("issuing.crt", issuing.public_bytes(Encoding.PEM))

    def ask(self, *, revoked: bool) -> None:
        """Ask both ways until the answer is the one that is due, and show it."""
        crl = ["verify", "-crl_check", "-CAfile", "ca.crt", "-untrusted", "tls.crt"]
        crl += ["-CRLfile", "shard.crl", "tls.crt"]
        asked = ["ocsp", "-issuer", "issuing.crt", "-cert", "tls.crt", "-CAfile", "ca.crt"]
        asked += ["-verify_other", "issuing.crt", "-url", f"{self._served}/ocsp"]
        for command, wanted in ((crl, "revoked" if revoked else "OK"),
                                (asked, "revoked" if revoked else "good")):  # fmt: skip
            _until(f"{wanted} from openssl {command[0]}", lambda: wanted in self._run(command))  # noqa: B023 - asked before the next turn
            lines = self._run(command).splitlines()
            shown = [each.strip() for each in lines if wanted in each or "verify OK" in each]
            say(f"$ openssl {' '.join(command)}\n" + "\n".join(shown))

    def _run(self, command: list[str]) -> str:
        with urllib.request.urlopen(f"{self._served}{self._crl}") as answer:  # noqa: S310 - http, ours
            self._write("shard.crl", answer.read())
        done = subprocess.run(
            [openssl(), *command],
            cwd=self._scratch.name, capture_output=True, text=True, check=False,
        )  # fmt: skip
        return done.stdout + done.stderr

    def _write(self, name: str, content: bytes) -> None:
        (Path(self._scratch.name) / name).write_bytes(content)


def _serial(cluster: Cluster, namespace: str, name: str) -> str:
    path = "jsonpath={.status.certificate.serial}"
    return cluster.kubectl("get", "agentidentity", name, "-n", namespace, "-o", path).stdout


def _revocation(cluster: Cluster, serial: str) -> str:
    """The reason for which the ledger says a serial is revoked; empty if it does not."""
    listed = cluster.kubectl(
        "get", "configmaps", "-n", NAMESPACE, "-l", "agentid.dev/ledger=segment", "-o", "json"
    ).stdout
    for segment in json.loads(listed)["items"]:
        for line in segment["data"]["segment.jsonl"].splitlines():
            record = json.loads(line)
            if record.get("type") == "revoked" and record["serial"] == serial:
                return str(record["reason"])
    return ""


def _ledger_verified(cluster: Cluster) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "agentid", "ledger", "verify", "--operator-namespace", NAMESPACE],
        env=operator_environment(cluster), capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise E2EError(done.stderr.strip() or done.stdout.strip())
    return f"$ agentid ledger verify\n{done.stdout.strip()}"


def _until(what: str, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            msg = f"{what} did not come within {_PATIENCE:.0f} s; the operator's log may tell why"
            raise E2EError(msg)
        time.sleep(0.05)


def _step(title: str) -> None:
    bold, plain = ("\033[1m", "\033[0m") if sys.stdout.isatty() else ("", "")
    say(f"\n{bold}== {title}{plain}")


if __name__ == "__main__":
    sys.exit(main())
