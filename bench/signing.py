"""`python -m bench.signing`: from a kubelet's PodCertificateRequest to its certificate.

Nodes and pods are objects that nobody runs; their requests are made by impersonating the nodes'
kubelets, so all rules of the API server apply. One request at a time first, then as many at once as
a node makes whose kubelet was restarted; and once more with the operator down while they come, so
that its start meets them all.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import itertools
import sys
import tempfile
import time
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import uvloop
from cryptography.hazmat.primitives.asymmetric import ec

from agentid.clock import SystemClock
from agentid.constants import LABEL_IDENTITY, SIGNER_NAME
from agentid.errors import AgentIdError, NotFoundError
from agentid.kube.client import Client
from agentid.kube.credentials import load_credentials
from agentid.kube.objects import ObjectKey, metadata_of, uid_of
from agentid.kube.reflector import ChangeType, reflect
from agentid.kube.resources import (
    AGENT_CLASSES,
    AGENT_IDENTITIES,
    AGENT_ISSUERS,
    NAMESPACES,
    NODES,
    POD_CERTIFICATE_REQUESTS,
    PODS,
    SERVICE_ACCOUNTS,
)
from bench.__main__ import positive
from bench.counting import counts
from bench.figures import Counts, Latency
from bench.load import many
from bench.processes import Meter, control_plane
from e2e.errors import E2EError
from e2e.install import install, operator
from e2e.progress import say
from e2e.providers import DevCluster
from tests.support import manifests
from tests.support.pod_requests import stub

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Mapping, Sequence

    from agentid.kube.credentials import Credentials
    from agentid.kube.objects import JsonObject
    from e2e.providers import Cluster

_HOME: Final = "bench-signing"
_NODES: Final = 10
"""Kubelets that ask; a node has some hundred pods."""

_PATIENCE: Final = 120.0
_PAUSE: Final = 0.1
"""Seconds between two requests made one at a time."""


class AsNode:
    """The credentials of an administrator who acts as a kubelet."""

    def __init__(self, admin: Credentials, node: str) -> None:
        self._admin = admin
        self._acting = {
            "Impersonate-User": f"system:node:{node}",
            "Impersonate-Group": "system:nodes",
        }
        self.server: str = admin.server
        self.namespace: str = admin.namespace
        self.ssl_context: ssl.SSLContext | None = admin.ssl_context
        self.server_hostname: str | None = admin.server_hostname
        self.proxy: str | None = admin.proxy

    async def headers(self) -> Mapping[str, str]:
        """Those of the administrator, and whom he acts as."""
        return {**await self._admin.headers(), **self._acting}

    async def renew(self, refused: Mapping[str, str]) -> bool:
        """As the administrator does."""
        return await self._admin.renew(refused)

    def as_kopf_fields(self) -> dict[str, object]:
        """Nothing; Kopf is not there."""
        return {}


@dataclass
class Kubelets:
    """Pods, and the kubelets that ask for them.

    Attributes:
        clients: By node.
        bodies: The request of each pod, and the node that makes it.
        sent: When each was sent, by the name of its pod.
        made: When the API server had it.
        issued: When it was seen to be issued.
    """

    clients: dict[str, Client]
    bodies: list[tuple[str, JsonObject]] = field(default_factory=list)
    sent: dict[str, float] = field(default_factory=dict)
    made: dict[str, float] = field(default_factory=dict)
    issued: dict[str, float] = field(default_factory=dict)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def ask(self, node: str, body: JsonObject) -> None:
        """Make one request."""
        name = _pod_of(body)
        self.sent[name] = time.monotonic()
        await self.clients[node].create(POD_CERTIFICATE_REQUESTS, body)
        self.made[name] = time.monotonic()

    async def until_issued(self, names: Sequence[str]) -> None:
        """Wait until all of these have their certificates."""
        deadline = time.monotonic() + _PATIENCE
        while not all(name in self.issued for name in names):
            if time.monotonic() > deadline:
                missing = sum(name not in self.issued for name in names)
                msg = f"{missing} of {len(names)} requests were not issued in {_PATIENCE:.0f} s"
                raise E2EError(msg)
            self.changed.clear()
            await asyncio.wait({asyncio.ensure_future(self.changed.wait())}, timeout=1)

    async def watch(self, client: Client) -> None:
        """Note when requests are issued, until cancelled."""
        changes = reflect(
            client, POD_CERTIFICATE_REQUESTS, _HOME, clock=SystemClock(), random=lambda: 0.5
        )
        async with aclosing(changes) as seen:
            async for change in seen:
                if change.type in {ChangeType.ADDED, ChangeType.MODIFIED} and _is_issued(
                    change.object
                ):
                    self.issued.setdefault(_pod_of(change.object), time.monotonic())
                    self.changed.set()


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.signing", description=__doc__)
    parser.add_argument("--samples", type=positive, default=100, help="requests made one by one")
    parser.add_argument("--number", type=positive, default=1000, help="requests made at once")
    return parser.parse_args(given)


def main() -> int:
    """Measure, and print the report."""
    given = arguments()
    with tempfile.TemporaryDirectory(prefix="agentid-bench-") as directory:
        chosen = DevCluster(Path(directory))
        try:
            cluster = chosen.up(fsync=True)
            install(cluster)
            uvloop.run(_measure(cluster, given))
        except (E2EError, AgentIdError) as error:
            print(f"\n{error}", file=sys.stderr)
            return 1
        finally:
            chosen.down()
    return 0


async def _measure(cluster: Cluster, given: argparse.Namespace) -> None:
    credentials = await load_credentials(clock=SystemClock(), kubeconfig=cluster.kubeconfig)
    async with Client(credentials, connections=64, field_manager="bench") as admin:
        with operator(cluster, "bench-signing") as running:
            await _declare(admin)
            async with _kubelets(admin, credentials, given.samples + 2 * given.number) as kubelets:
                bodies = iter(kubelets.bodies)
                say(f"{given.samples} requests, one at a time")
                idle = list(itertools.islice(bodies, given.samples))
                for node, body in idle:
                    await kubelets.ask(node, body)
                    await kubelets.until_issued([_pod_of(body)])
                    await asyncio.sleep(_PAUSE)
                _report("one at a time", kubelets, idle)

                say(f"{given.number} requests at once")
                before = await counts(admin)
                meter = Meter({"operator": running.process.pid, **control_plane(cluster.directory)})
                burst = list(itertools.islice(bodies, given.number))
                await many(partial(kubelets.ask, node, body) for node, body in burst)
                await kubelets.until_issued([_pod_of(body) for _, body in burst])
                _report("at once", kubelets, burst)
                await asyncio.sleep(3)
                usage = meter.read()
                after = (await counts(admin)).since(before)
                _costs(after, given.number)
                shown = [
                    f"{name} {1000 * each.cpu / given.number:.1f} ms"
                    for name, each in usage.items()
                    if 1000 * each.cpu > given.number / 10
                ]
                print(f"CPU for each: {', '.join(shown)}")

                say(f"{given.number} requests while the operator is down")
                running.stop()
                herd = list(itertools.islice(bodies, given.number))
                await many(partial(kubelets.ask, node, body) for node, body in herd)
                began = time.monotonic()
                with operator(cluster, "bench-signing-again"):
                    names = [_pod_of(body) for _, body in herd]
                    await kubelets.until_issued(names)
                    first = min(kubelets.issued[name] for name in names)
                    last = max(kubelets.issued[name] for name in names)
                    print(
                        f"from the start of an operator: the first after {first - began:.1f} s, "
                        f"then all within {last - first:.1f} s"
                    )


async def _declare(client: Client) -> None:
    """An issuer and a class, once for the cluster."""
    for resource, body in (
        (AGENT_ISSUERS, manifests.issuer()),
        (
            AGENT_CLASSES,
            manifests.agent_class("pods", delivery={"modes": ["PodCertificate"]}),
        ),
    ):
        whole = {"apiVersion": resource.api_version, "kind": resource.kind, **body}
        await client.create(resource, whole)


@asynccontextmanager
async def _kubelets(
    admin: Client, credentials: Credentials, number: int
) -> AsyncIterator[Kubelets]:
    """Nodes, an identity, its pods, and kubelets that have not asked yet."""
    nodes = {f"bench-{each}": "" for each in range(_NODES)}
    async with AsyncExitStack() as stack:
        # It goes with the cluster: pods on nodes that nobody runs are not deleted by asking.
        await admin.create(
            NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": _HOME}}
        )
        for name in nodes:
            made = await admin.create(
                NODES, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}
            )
            nodes[name] = uid_of(made)
        clients = {
            name: await stack.enter_async_context(
                Client(AsNode(credentials, name), connections=8, timeout=60)
            )
            for name in nodes
        }
        body = manifests.identity("reader", "pods", delivery={"mode": "PodCertificate"})
        body["metadata"]["namespace"] = _HOME
        body |= {"apiVersion": AGENT_IDENTITIES.api_version, "kind": AGENT_IDENTITIES.kind}
        await admin.create(AGENT_IDENTITIES, body)
        account = await _account(admin)
        kubelets = Kubelets(clients)
        say(f"{number} pods on {_NODES} nodes")
        made_pods: list[JsonObject] = []

        async def start(index: int, node: str) -> None:
            made_pods.append(await admin.create(PODS, _pod(index, node)))

        turns = zip(range(number), itertools.cycle(nodes), strict=False)
        await many(partial(start, index, node) for index, node in turns)
        for pod in made_pods:
            node = str(_field(pod, "spec", "nodeName"))
            kubelets.bodies.append((node, _request(pod, account, node, nodes[node])))
        await asyncio.sleep(5)  # for the API server's own caches
        watch = asyncio.create_task(kubelets.watch(admin))
        try:
            yield kubelets
        finally:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)


async def _account(client: Client) -> str:
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        try:
            return uid_of(await client.get(SERVICE_ACCOUNTS, "default", _HOME))
        except NotFoundError:
            await asyncio.sleep(0.2)
    msg = f"ServiceAccount default of namespace {_HOME} is not made; does the cluster run whole?"
    raise E2EError(msg)


def _pod(index: int, node: str) -> JsonObject:
    volume = {
        "signerName": SIGNER_NAME,
        "keyType": "ECDSAP256",
        "credentialBundlePath": "credentials.pem",
        "userAnnotations": {LABEL_IDENTITY: "reader"},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"reader-{index}",
            "namespace": _HOME,
            "labels": {LABEL_IDENTITY: "reader"},
        },
        "spec": {
            "nodeName": node,
            "containers": [{"name": "agent", "image": "agent"}],
            "volumes": [
                {"name": "agentid", "projected": {"sources": [{"podCertificate": volume}]}}
            ],
        },
    }


def _request(pod: JsonObject, account: str, node: str, node_uid: str) -> JsonObject:
    key = ObjectKey.of(pod)
    return {
        "apiVersion": POD_CERTIFICATE_REQUESTS.api_version,
        "kind": POD_CERTIFICATE_REQUESTS.kind,
        "metadata": {"name": f"req-{key.name}", "namespace": _HOME},
        "spec": {
            "signerName": SIGNER_NAME,
            "podName": key.name,
            "podUID": uid_of(pod),
            "serviceAccountName": "default",
            "serviceAccountUID": account,
            "nodeName": node,
            "nodeUID": node_uid,
            "maxExpirationSeconds": 3600,
            "stubPKCS10Request": base64.b64encode(
                stub(ec.generate_private_key(ec.SECP256R1()))
            ).decode(),
            "unverifiedUserAnnotations": {LABEL_IDENTITY: "reader"},
        },
    }


def _field(body: JsonObject, *path: str) -> object:
    found: object = body
    for name in path:
        found = found.get(name) if isinstance(found, dict) else None
    return found


def _pod_of(request: JsonObject) -> str:
    return str(metadata_of(request)["name"]).removeprefix("req-")


def _is_issued(request: JsonObject) -> bool:
    return _field(request, "status", "certificateChain") is not None


def _report(what: str, kubelets: Kubelets, asked: Sequence[tuple[str, JsonObject]]) -> None:
    names = [_pod_of(body) for _, body in asked]
    created = Latency.of([kubelets.issued[name] - kubelets.made[name] for name in names])
    sent = Latency.of([kubelets.issued[name] - kubelets.sent[name] for name in names])
    began = min(kubelets.sent[name] for name in names)
    whole = max(kubelets.issued[name] for name in names) - began
    print(
        f"{what}: created to issued {_text(created)}; sent to issued {_text(sent)}; "
        f"all within {whole:.1f} s, {len(names) / whole:.0f} a second"
    )


def _costs(counts: Counts, number: int) -> None:
    writes = {name: n for name, n in sorted(counts.done.items()) if n * 50 > number}
    shown = ", ".join(f"{verb} {name} {n / number:.3f}" for (name, verb), n in writes.items())
    print(f"writes for each, the kubelet's own included: {shown}")


def _text(found: Latency) -> str:
    p50, p99, worst = (1000 * each for each in (found.p50, found.p99, found.worst))
    return f"p50 {p50:.0f} ms, p99 {p99:.0f} ms, worst {worst:.0f} ms"


if __name__ == "__main__":
    sys.exit(main())
