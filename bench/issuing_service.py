"""`python -m bench.issuing_service`: certificates a second that node plugins get, and revocations.

Nodes and pods are objects that nobody runs; their tokens, the ledger and its commits are real.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import ssl
import sys
import tempfile
import time
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import aiohttp
import orjson
import uvloop

from agentid.errors import AgentIdError
from agentid.issuing.limits import MAX_ITEMS
from agentid.node.issuer import ChangeKind
from bench.__main__ import positive
from bench.figures import Counts, Latency
from bench.processes import Meter
from e2e.errors import E2EError
from e2e.install import install, start_operator
from e2e.progress import say
from e2e.providers import DevCluster
from tests.support import manifests
from tests.support.api import Api
from tests.support.node_plugins import SERVED_NAME, NodePlugins, csr
from tests.support.probing import ports

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from typing import Self

    from agentid.node.service_client import IssuerServiceClient
    from e2e.providers import Cluster
    from tests.support.node_plugins import OnNode

_HOME: Final = "bench-issuing"
_PATIENCE: Final = 60.0


def main(given: Sequence[str] | None = None) -> int:
    """Measure, and print the report."""
    parser = argparse.ArgumentParser(prog="python -m bench.issuing_service", description=__doc__)
    parser.add_argument("--nodes", type=positive, default=8, help="plugins that ask")
    parser.add_argument("--pods", type=positive, default=50, help="pods on each node")
    parser.add_argument("--rounds", type=positive, default=10, help="renewals of each pod")
    parser.add_argument("--revocations", type=positive, default=100, help="made one by one")
    options = parser.parse_args(given)
    with tempfile.TemporaryDirectory(prefix="agentid-bench-") as directory:
        chosen = DevCluster(Path(directory))
        try:
            cluster = chosen.up(fsync=True)
            install(cluster)
            _measure(cluster, options)
        except (E2EError, AgentIdError) as error:
            print(f"\n{error}", file=sys.stderr)
            return 1
        finally:
            chosen.down()
    return 0


def _measure(cluster: Cluster, options: argparse.Namespace) -> None:
    api = Api(cluster)
    plugins = NodePlugins(cluster)
    plugins.install()
    api.create("agentissuers", manifests.issuer())
    api.create("agentclasses", manifests.agent_class("pods"))
    cluster.kubectl("create", "namespace", _HOME)
    for number in range(options.revocations):
        name = f"single-{number}"
        body = manifests.identity(name, "pods", delivery={"mode": "CSI"})
        api.create("agentidentities", body, _HOME)
    body = manifests.identity("reader", "pods", delivery={"mode": "CSI"})
    api.create("agentidentities", body, _HOME)
    say(f"{options.nodes} nodes of {options.pods} pods")
    pods = {
        f"bench-{node}": [
            plugins.pod(_HOME, f"pod-{node}-{number}", node=f"bench-{node}")
            for number in range(options.pods)
        ]
        for node in range(options.nodes)
    }
    singles = [
        plugins.pod(_HOME, f"single-{number}", identity=f"single-{number}", node="bench-0")
        for number in range(options.revocations)
    ]
    port, probes = ports(2)
    running = start_operator(cluster, "bench-issuing", probes, issuer_port=port)
    try:
        api.until_ready(_HOME, "reader", _PATIENCE)
        plugins.authorities()
        uvloop.run(_ask(api, plugins, port, pods, singles, options.rounds, running.process.pid))
    finally:
        running.stop()


async def _ask(
    api: Api,
    plugins: NodePlugins,
    port: int,
    pods: dict[str, list[OnNode]],
    singles: list[OnNode],
    rounds: int,
    pid: int,
) -> None:
    async with AsyncExitStack() as stack:
        first = next(iter(pods))
        client = await stack.enter_async_context(plugins.client(port, first))
        requests = [csr() for _ in range(64)]
        await _until_answered(client, pods[first][0], requests[0])

        load = {
            node: await stack.enter_async_context(_Load.of(plugins, port, node, some, requests))
            for node, some in pods.items()
        }
        await asyncio.gather(*(each.renew(1) for each in load.values()))  # tokens are new to it
        before, meter = _counts(api), Meter({"operator": pid})
        began = time.monotonic()
        asked = [each.renew(rounds) for each in load.values()]
        taken = [each for some in await asyncio.gather(*asked) for each in some]
        seconds = time.monotonic() - began
        usage, made = meter.read()["operator"], _counts(api).since(before)
        count = rounds * sum(map(len, pods.values()))
        print(
            f"{count} certificates in {seconds:.1f} s: {count / seconds:.0f} a second, "
            f"a request of up to {MAX_ITEMS} {_text(Latency.of(taken))}; "
            f"{1000 * usage.cpu / count:.2f} ms CPU each, so {count / usage.cpu:.0f} a second of a "
            f"core; {usage.cpu / seconds:.2f} cores, {usage.peak / 1e6:.0f} MB at most"
        )
        calls = {name: n for name, n in sorted(made.done.items()) if n}
        print(
            "writes that the API server counted:",
            ", ".join(f"{v} {k} {n}" for (k, v), n in calls.items()),
        )
        latencies = await _revoke(api, client, singles, requests[0])
        print(f"from a suspension until its line has come: {_text(Latency.of(latencies))}")


class _Load:
    """The renewals of a node, by requests that were made beforehand and answers that are counted.

    The plugin's client reads what it is answered; here that would be measured with the service.
    """

    def __init__(self, session: aiohttp.ClientSession, bodies: list[bytes], pods: int) -> None:
        self._session = session
        self._bodies = bodies
        self._pods = pods

    @classmethod
    @asynccontextmanager
    async def of(
        cls, plugins: NodePlugins, port: int, node: str, pods: list[OnNode], requests: list[bytes]
    ) -> AsyncIterator[Self]:
        """Connect as the plugin of a node."""
        trusted = ssl.create_default_context(cadata=plugins.authorities().decode())
        items = [
            {"podToken": pod.token, "csr": base64.b64encode(requests[at % len(requests)]).decode()}
            for at, pod in enumerate(pods)
        ]
        bodies = [
            orjson.dumps({"items": items[at : at + MAX_ITEMS]})
            for at in range(0, len(items), MAX_ITEMS)
        ]
        async with aiohttp.ClientSession(
            f"https://127.0.0.1:{port}",
            headers={"Authorization": f"Bearer {plugins.node_token(node)}"},
            connector=aiohttp.TCPConnector(ssl=trusted),
        ) as session:
            yield cls(session, bodies, len(pods))

    async def renew(self, rounds: int) -> list[float]:
        """All pods, at once and again; seconds of each request."""
        taken: list[float] = []

        async def one(body: bytes) -> int:
            began = time.monotonic()
            async with self._session.post(
                "/node/v1/x509", data=body, server_hostname=SERVED_NAME
            ) as answer:
                issued = (await answer.read()).count(b'"issued":')
            taken.append(time.monotonic() - began)
            return issued

        for _ in range(rounds):
            issued = sum(await asyncio.gather(*map(one, self._bodies)))
            if issued != self._pods:
                msg = f"{issued} of {self._pods} pods were issued a certificate"
                raise E2EError(msg)
        return taken


async def _until_answered(client: IssuerServiceClient, pod: OnNode, request: bytes) -> None:
    deadline = time.monotonic() + _PATIENCE
    while True:
        with suppress(AgentIdError):
            await client.x509(pod.proof, request)
            return
        if time.monotonic() > deadline:
            msg = "the issuer service does not answer; its log is in the cluster's directory"
            raise E2EError(msg)
        await asyncio.sleep(0.2)


async def _revoke(
    api: Api, client: IssuerServiceClient, pods: list[OnNode], request: bytes
) -> list[float]:
    """Suspend identities one by one; until the line of the revoked serial is there."""
    await asyncio.gather(*(client.x509(pod.proof, request) for pod in pods))
    came: dict[str, asyncio.Future[float]] = {
        pod.proof.uid: asyncio.get_running_loop().create_future() for pod in pods
    }

    async def follow() -> None:
        async with aclosing(client.changes()) as changes:
            async for change in changes:
                told = came.get(change.pod or "")
                about = change.kind is ChangeKind.REVOKED and change.serial is not None
                if about and told is not None and not told.done():
                    told.set_result(time.monotonic())

    following = asyncio.create_task(follow())
    await asyncio.sleep(1)
    taken = []
    for pod in pods:
        began = time.monotonic()
        await asyncio.to_thread(
            api.patch, "agentidentities", pod.proof.identity, {"spec": {"suspend": True}}, _HOME
        )
        taken.append(await asyncio.wait_for(came[pod.proof.uid], _PATIENCE) - began)
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    return taken


def _counts(api: Api) -> Counts:
    return Counts.parse(api.cluster.kubectl("get", "--raw", "/metrics").stdout)


def _text(found: Latency) -> str:
    p50, p99, worst = (1000 * each for each in (found.p50, found.p99, found.worst))
    return f"p50 {p50:.0f} ms, p99 {p99:.0f} ms, worst {worst:.0f} ms"


if __name__ == "__main__":
    sys.exit(main())
