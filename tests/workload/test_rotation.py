"""Agents talk all the time while keys, certificates and roots are exchanged; no request fails."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Self

import aiohttp
import pytest
import uvloop

from agentid.workload import Workload, exactly
from agentid.workload import aiohttp as on_aiohttp
from agentid.workload import httpx as on_httpx
from tests.support import serving
from tests.support.workloads import Domain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agentid.workload import Peers

WORKERS = 4
WANTED = 150
"""Requests of each worker, each with a handshake of its own."""


class Rotating:
    """Renews the files of two agents without a pause, and their root with overlap.

    Attributes:
        done: How many requests each worker has ended; the workers count.
        renewals: How often files were exchanged.
        roots: How many roots there were.
    """

    def __init__(self, domain: Domain, *names: str) -> None:
        self.done = [0] * WORKERS
        self.renewals, self.roots = 0, 1
        self._domain, self._names = domain, names
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._turn)

    def __enter__(self) -> Self:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        self._ended.set()
        self._thread.join()

    def _renew(self) -> None:
        """Exchange the files until no handshake is left that began with others before.

        So long does a step of a rotation last: `propagationTime` says so of a real one.
        """
        begun = list(self.done)
        while True:
            for name in self._names:
                self._domain.agent(name)
                self.renewals += 1
            after = zip(begun, self.done, strict=True)
            if self._ended.wait(0.02) or all(now - then >= 2 for then, now in after):
                return

    def _turn(self) -> None:
        domain = self._domain
        while not self._ended.is_set():
            before, fresh = domain.roots[-1], domain.authority(f"root {self.roots}")
            # It is in every bundle before it signs; then it signs; then the other one goes.
            for roots in ([fresh, before], [before, fresh], [fresh]):
                domain.roots = roots
                self._renew()
            self.roots += 1


@pytest.fixture
def domain(tmp_path_factory: pytest.TempPathFactory) -> Domain:
    """With two agents."""
    made = Domain(tmp_path_factory.mktemp("rotating"))
    made.agent("server")
    made.agent("client")
    return made


@pytest.fixture(params=[serving.by_uvicorn, serving.by_aiohttp])
def port(domain: Domain, request: pytest.FixtureRequest) -> Iterator[int]:
    """Where the server listens."""
    server = Workload(domain.agent("server"))
    with request.param(server, exactly(domain.spiffe_id("client"))) as number:
        yield number


def by_threads(client: Workload, peers: Peers, port: int, done: list[int]) -> Counter[str]:
    """Threads with httpx."""
    outcomes: Counter[str] = Counter()
    url = f"https://127.0.0.1:{port}/"

    def call(worker: int) -> None:
        with on_httpx.client(client, peers) as session:
            for _ in range(WANTED):
                try:
                    answer = session.get(url, headers={"Connection": "close"})
                    outcomes[answer.json()["peer"]] += 1
                except Exception as error:  # noqa: BLE001 - the test tells
                    outcomes[repr(error)] += 1
                done[worker] += 1

    threads = [threading.Thread(target=call, args=(worker,)) for worker in range(WORKERS)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    return outcomes


def by_tasks(client: Workload, peers: Peers, port: int, done: list[int]) -> Counter[str]:
    """Tasks with aiohttp on uvloop."""
    outcomes: Counter[str] = Counter()
    url = f"https://127.0.0.1:{port}/"

    async def call(session: aiohttp.ClientSession, worker: int) -> None:
        for _ in range(WANTED):
            try:
                async with session.get(url, headers={"Connection": "close"}) as answer:
                    outcomes[(await answer.json())["peer"]] += 1
            except Exception as error:  # noqa: BLE001 - the test tells
                outcomes[repr(error)] += 1
            done[worker] += 1

    async def run() -> None:
        connector = on_aiohttp.connector(client, peers)
        async with aiohttp.ClientSession(connector=connector) as session:
            await asyncio.gather(*(call(session, worker) for worker in range(WORKERS)))
        # Connections that aiohttp closed by itself end in the background; nothing tells when.
        await asyncio.sleep(0.5)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())
    return outcomes


@pytest.mark.parametrize("calling", [by_threads, by_tasks])
def test_no_request_fails_while_everything_is_exchanged(
    domain: Domain,
    port: int,
    calling: Callable[[Workload, Peers, int, list[int]], Counter[str]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Promise 5: keys and certificates, and the roots above them, under load."""
    seen: set[int] = set()
    client = Workload(
        domain.folder / "client",
        on_reload=lambda reload: seen.add(reload.identity.serial.value),
    )
    began = time.monotonic()
    with Rotating(domain, "server", "client") as rotating:
        outcomes = calling(client, exactly(domain.spiffe_id("server")), port, rotating.done)
    print(  # noqa: T201 - shown with -s
        f"{outcomes.total()} handshakes in {time.monotonic() - began:.1f} s, "
        f"{rotating.renewals} renewals, {rotating.roots} roots, {len(seen)} versions seen"
    )
    assert set(outcomes) == {domain.spiffe_id("client")}, outcomes
    assert rotating.roots > 3
    assert len(seen) > 5
    assert [each for each in caplog.messages if "refused" in each or "stays" in each] == []
