"""Several replicas of the issuer service: any answers, and none is missed."""

from __future__ import annotations

import asyncio
import itertools
import signal
from collections import Counter
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from agentid.errors import UnavailableError
from tests.issuing.asking import collect, come, following, serial_of, until_issued
from tests.issuing.conftest import start_service
from tests.support.api import until
from tests.support.node_plugins import csr
from tests.support.probing import leads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agentid.node.issuer import Change
    from agentid.node.service_client import IssuerServiceClient
    from tests.issuing.conftest import Service
    from tests.support.api import Api
    from tests.support.node_plugins import NodePlugins, OnNode

pytestmark = pytest.mark.integration


@pytest.fixture
def replicas(api: Api, plugins: NodePlugins) -> Iterator[tuple[Service, Service]]:
    """Two; the first leads."""
    api.free_lease()
    first = start_service(api, "issuing-one")
    second = None
    try:
        until("the leader", lambda: leads(first.probes))
        assert plugins.authorities()
        second = start_service(api, "issuing-two")
        yield first, second
    finally:
        first.operator.stop()
        if second is not None:
            second.operator.stop()


async def test_any_replica_answers_and_goes_on_without_the_other(
    replicas: tuple[Service, Service],
    plugins: NodePlugins,
    namespace: str,
    make_reader: Callable[..., str],
    api: Api,
) -> None:
    """A replica that does not lead issues too, sees what the other did, and ends in order."""
    service, other = replicas
    make_reader()
    pod = plugins.pod(namespace, "pod")
    async with plugins.client(service.port) as one, plugins.client(other.port) as two:
        first = await one.x509(pod.proof, csr())
        second = await until_issued(two, pod)
        replaced = api.ledger().issued[serial_of(second)].replaces
        assert str(replaced) == serial_of(first)
        assert (await two.jwt(pod.proof, ("x",))).spiffe_id == second.spiffe_id
        heard: list[tuple[float, Change]] = []
        task = asyncio.create_task(collect(two, heard))
        await following(other, 1)
        assert await asyncio.to_thread(other.operator.stop) == 0
        with pytest.raises((UnavailableError, asyncio.CancelledError)):
            await two.x509(pod.proof, csr())
        await asyncio.wait({task}, timeout=5)
        assert task.done(), "a stream ends with its replica"
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
async def test_the_end_of_the_leader_under_load_costs_nobody_a_certificate(
    replicas: tuple[Service, Service],
    plugins: NodePlugins,
    namespace: str,
    make_reader: Callable[..., str],
    api: Api,
    how: signal.Signals,
) -> None:
    """Whatever a pod has is on record, and each goes on renewing at the replica that is left."""
    make_reader()
    leader, _ = replicas
    pods = [plugins.pod(namespace, f"pod-{number}") for number in range(12)]
    received: dict[str, list[str]] = {pod.proof.uid: [] for pod in pods}
    missed: Counter[str] = Counter()
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(plugins.client(each.port)) for each in replicas]
        await until_issued(clients[1], pods[0])

        async def renew_on(pod: OnNode, turns: Iterator[IssuerServiceClient]) -> None:
            """As a plugin does by a Service: whoever answers, and again when nobody did."""
            for client in turns:
                try:
                    async with asyncio.timeout(10):
                        grant = await client.x509(pod.proof, csr())
                except (UnavailableError, TimeoutError):
                    missed[pod.proof.uid] += 1
                    await asyncio.sleep(0.02)
                else:
                    received[pod.proof.uid].append(serial_of(grant))

        renewing = [asyncio.create_task(renew_on(pod, itertools.cycle(clients))) for pod in pods]
        await come(lambda: all(len(each) >= 4 for each in received.values()))
        leader.operator.process.send_signal(how)
        code = await asyncio.to_thread(leader.operator.process.wait, 20)
        assert code == (0 if how is signal.SIGTERM else -signal.SIGKILL)
        had = {uid: len(each) for uid, each in received.items()}
        await come(lambda: all(len(each) >= had[uid] + 4 for uid, each in received.items()))
        for task in renewing:
            task.cancel()
        await asyncio.gather(*renewing, return_exceptions=True)
    ledger = api.ledger()
    serials = set(itertools.chain.from_iterable(received.values()))
    assert serials <= ledger.issued.keys(), "nothing is in use that is not on record"
    assert not serials & ledger.revoked.keys(), "and nothing that was delivered was taken back"
