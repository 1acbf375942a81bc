"""`make screenshots`: the inventory page with agents of a real operator, into docs/images.

A cluster of its own is started and ended. What the pictures show differs from run to run by times
and serial numbers.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from e2e.browser import browser
from e2e.errors import E2EError
from e2e.install import NAMESPACE, install, operator, port_in_log, responder, samples
from e2e.progress import say
from e2e.providers import DevCluster

if TYPE_CHECKING:
    from collections.abc import Iterator

    from e2e.providers import Cluster

_ROOT: Final = Path(__file__).parent.parent
_IMAGES: Final = _ROOT / "docs" / "images"
_PATIENCE: Final = 120.0
_WIDTH: Final = 1280
_HEIGHT: Final = 480

Json = dict[str, object]


@dataclass(frozen=True, slots=True)
class _Picture:
    name: str
    path: str
    dark: bool = False


_PICTURES: Final = (
    _Picture("inventory-overview", "/"),
    _Picture("inventory-overview-dark", "/", dark=True),
    _Picture("inventory-agents", "/agents?namespace=finance&sort=tier&order=desc"),
    _Picture("inventory-agent", "/agents/finance/treasury-bot"),
    _Picture("inventory-authorities", "/authorities"),
)


def main() -> int:
    """Take all pictures; 1 if that cannot be done."""
    with tempfile.TemporaryDirectory() as scratch:
        provider = DevCluster(Path(scratch))
        try:
            _take(provider.up())
        except E2EError as error:
            print(error, file=sys.stderr)
            return 1
        finally:
            provider.down()
    return 0


def _take(cluster: Cluster) -> None:
    install(cluster)
    cluster.kubectl("apply", "--server-side", "-f", str(_ROOT / "manifests" / "inventory.yaml"))
    samples(cluster, "issuer", "classes", "agents")
    say("The operator issues certificates for some agents")
    with operator(cluster, "pictures"):
        for body in _agents():
            cluster.kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(body))
        _until_issued(cluster)
        gone = ("ledger-clerk-2", "ledger-clerk-4", "export-helper")
        cluster.kubectl("delete", "agentidentity", *gone, "-n", "finance", "--timeout=60s")
        at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        rotate = f"agentid.dev/rotate-requested={at}"
        cluster.kubectl("annotate", "agentissuer", "default", rotate)
        account = ("viewer", "-n", NAMESPACE)
        cluster.kubectl("create", "serviceaccount", *account)
        role = ("--clusterrole=agentid-view", f"--serviceaccount={NAMESPACE}:viewer")
        cluster.kubectl("create", "clusterrolebinding", "viewer", *role)
        token = cluster.kubectl("create", "token", *account, "--audience", "agentid-inventory")
        with responder(cluster, "pictures-responder", "--inventory-port", "0") as serving:
            port = port_in_log(serving.log, "inventory_serving")
            asyncio.run(_photograph(f"https://localhost:{port}", token.stdout.strip()))


async def _photograph(base: str, token: str) -> None:
    async with browser() as tab:
        await tab.shape(_WIDTH, _HEIGHT)
        await tab.open(f"{base}/")
        _write("inventory-login", await tab.picture())
        await tab.write(token)
        tab.expect()
        await tab.press("Enter")
        await tab.loaded()
        for each in _PICTURES:
            await tab.shape(_WIDTH, _HEIGHT, dark=each.dark)
            await tab.open(base + each.path)
            _write(each.name, await tab.picture())


def _write(name: str, picture: bytes) -> None:
    path = _IMAGES / f"{name}.png"
    path.write_bytes(picture)
    say(f"{path.relative_to(_ROOT)}  {len(picture) // 1024} KiB")


def _until_issued(cluster: Cluster) -> None:
    """Wait until every agent is as it will be."""
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        told = json.loads(cluster.kubectl("get", "agentidentities", "-A", "-o", "json").stdout)
        states = [each.get("status", {}).get("observedGeneration") for each in told["items"]]
        if all(states):
            return
        time.sleep(0.2)
    msg = f"not every agent was looked at after {_PATIENCE:.0f} s"
    raise E2EError(msg)


def _agents() -> Iterator[Json]:
    yield {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "platform"}}
    yield _object(
        "AgentClass", "", "operator", description="Runs the platform", issuerName="default",
        lifetime="1h", namespaces={"names": ["platform"]},
        permissions={"systems": ["ci.*", "k8s.*"],
                     "operations": ["list", "read", "create", "update", "delete", "execute"]},
    )  # fmt: skip
    for number in range(1, 9):
        yield _agent("finance", f"ledger-clerk-{number}", "clerk", "erp.orders", "update",
                     "accounting@example.com", "Books incoming orders")  # fmt: skip
    yield _agent("finance", "export-helper", "assistant", "erp.reports", "read",
                 "controlling@example.com", "Prepares the monthly report")  # fmt: skip
    yield _agent("finance", "treasury-bot", "clerk", "erp.treasury", "read",
                 "treasury@example.com", "Watches balances")  # fmt: skip
    yield _agent("finance", "dunning-agent", "clerk", "erp.invoices", "create",
                 "receivables@example.com", "Writes reminders", suspend=True)  # fmt: skip
    for number in range(1, 7):
        yield _agent("support", f"answer-bot-{number}", "assistant", "crm.tickets", "read",
                     "support-leads@example.com", "Answers customers")  # fmt: skip
    yield _agent("support", "unsponsored", "assistant", "crm.tickets", "read", "", "Forgotten")
    for number in range(1, 6):
        yield _agent("sandbox", f"summary-{number}", "task-worker", "docs.reports", "read",
                     "research@example.com", "Summarises one document")  # fmt: skip
    for name in ("release-pilot", "node-medic", "capacity-planner"):
        yield _agent("platform", name, "operator", "k8s.nodes", "execute",
                     "platform@example.com", "Keeps the platform running")  # fmt: skip
    yield _agent("platform", "night-watch", "watcher", "k8s.nodes", "read",
                 "platform@example.com", "Its class is not there yet")  # fmt: skip


def _agent(
    namespace: str, name: str, class_name: str, system: str, operation: str, sponsor: str,
    purpose: str, **more: object,
) -> Json:  # fmt: skip
    return _object(
        "AgentIdentity", namespace, name, className=class_name, purpose=purpose,
        subject={"serviceAccountName": name}, **({"sponsor": sponsor} if sponsor else {}),
        permissions={
            "systems": [system], "operations": [operation], **_SCHEDULES.get(class_name, {}),
        },
        **more,
    )  # fmt: skip


_SCHEDULES: Final[dict[str, Json]] = {
    "clerk": {
        "schedule": {
            "timeZone": "Europe/Berlin",
            "windows": [{"days": ["Mon", "Tue", "Wed"], "start": "08:00", "end": "18:00"}],
        }
    }
}
"""What the sample class asks of its agents."""


def _object(kind: str, namespace: str, name: str, **spec: object) -> Json:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {
        "apiVersion": "agentid.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec,
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
