"""`python -m bench.signing`: from a kubelet's PodCertificateRequest to its certificate.

Nodes and pods are objects that nobody runs; their requests are made by impersonating the nodes'
kubelets, so all rules of the API server apply. One request at a time first, then as many at once as
a node makes whose kubelet was restarted; and once more with the operator down while they come, so
that its start meets them all.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import sys
import tempfile
import time
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import uvloop

from agentid.clock import SystemClock
from agentid.constants import LABEL_IDENTITY, SIGNER_NAME
from agentid.errors import AgentIdError
from agentid.kube.client import Client
from agentid.kube.credentials import load_credentials
from agentid.kube.objects import uid_of
from agentid.kube.resources import (
    AGENT_CLASSES,
    AGENT_IDENTITIES,
    AGENT_ISSUERS,
    NAMESPACES,
    NODES,
    PODS,
)
from bench.__main__ import positive
from bench.counting import counts
from bench.figures import Counts, Latency
from bench.kubelets import AsNode, Kubelets, account_uid, member, pod_of, request_for
from bench.load import many
from bench.processes import Meter, control_plane
from e2e.errors import E2EError
from e2e.install import install, operator
from e2e.progress import say
from e2e.providers import DevCluster
from tests.support import manifests
from tests.support.pod_requests import stub

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from agentid.kube.credentials import Credentials
    from agentid.kube.objects import JsonObject
    from e2e.providers import Cluster

_HOME: Final = "bench-signing"
_NODES: Final = 10
"""Kubelets that ask; a node has some hundred pods."""

_PAUSE: Final = 0.1
"""Seconds between two requests made one at a time."""


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
            number = given.samples + 2 * given.number
            async with _kubelets(admin, credentials, number) as (kubelets, requests):
                bodies = iter(requests)
                say(f"{given.samples} requests, one at a time")
                idle = list(itertools.islice(bodies, given.samples))
                for node, body in idle:
                    await kubelets.ask(node, body)
                    await kubelets.until_issued([pod_of(body)])
                    await asyncio.sleep(_PAUSE)
                _report("one at a time", kubelets, idle)

                say(f"{given.number} requests at once")
                before = await counts(admin)
                meter = Meter({"operator": running.process.pid, **control_plane(cluster.directory)})
                burst = list(itertools.islice(bodies, given.number))
                await many(partial(kubelets.ask, node, body) for node, body in burst)
                await kubelets.until_issued([pod_of(body) for _, body in burst])
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
                    names = [pod_of(body) for _, body in herd]
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
) -> AsyncIterator[tuple[Kubelets, list[tuple[str, JsonObject]]]]:
    """Nodes, an identity, its pods, and kubelets with what they are going to ask, and where."""
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
        account = await account_uid(admin, _HOME)
        kubelets = Kubelets(clients)
        requests: list[tuple[str, JsonObject]] = []
        say(f"{number} pods on {_NODES} nodes")
        made_pods: list[JsonObject] = []

        async def start(index: int, node: str) -> None:
            made_pods.append(await admin.create(PODS, _pod(index, node)))

        turns = zip(range(number), itertools.cycle(nodes), strict=False)
        await many(partial(start, index, node) for index, node in turns)
        for pod in made_pods:
            node = str(member(pod, "spec", "nodeName"))
            asked = request_for(pod, account_uid=account, node_uid=nodes[node], stub_der=stub())
            requests.append((node, asked))
        await asyncio.sleep(5)  # for the API server's own caches
        watch = asyncio.create_task(kubelets.watch(admin, _HOME))
        try:
            yield kubelets, requests
        finally:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)


def _pod(index: int, node: str) -> JsonObject:
    volume = {
        "signerName": SIGNER_NAME,
        "keyType": "ECDSAP256",
        "maxExpirationSeconds": 3600,
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


def _report(what: str, kubelets: Kubelets, asked: Sequence[tuple[str, JsonObject]]) -> None:
    names = [pod_of(body) for _, body in asked]
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
