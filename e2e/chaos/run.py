"""Runs courses on one cluster, and says what was broken."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from e2e.chaos.admin import Admin, RefusedError, ours
from e2e.chaos.authority import server_context
from e2e.chaos.course import CLASSES, REPLICAS, course
from e2e.chaos.etcd import Etcd
from e2e.chaos.faults import Faults
from e2e.chaos.history import History
from e2e.chaos.load import ISSUER, Load
from e2e.chaos.model import condition
from e2e.chaos.promises import Broken, kept
from e2e.chaos.proxy import Proxy
from e2e.chaos.replicas import Replica, own_environment
from e2e.chaos.settled import unsettled
from e2e.chaos.tampering import tamper, verifies
from e2e.install import install, operator_environment
from e2e.providers import DevCluster

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
    from pathlib import Path

    from e2e.chaos.course import Course, Step

__all__ = ["Arena", "Outcome", "arena"]

_SETTLES: Final = 150.0
"""Seconds within which everything has to be in order once nothing is wrong any more: a Lease that
runs out, back-offs of up to a minute, and two cores that others use as well."""


_REVOKED: Final = 75.0
"""Seconds that a promise may be open at most: or what is not revoked in time would count as in
order as soon as it has expired."""


@dataclass(slots=True)
class Outcome:
    """What came of a course.

    Attributes:
        seed: Of the course.
        broken: What was not kept; empty if everything was.
        settled: Seconds from the end of the faults until everything was in order.
        counts: How much happened, by what.
        last: What was in order last of all.
        log: Where each event stands.
    """

    seed: int
    broken: list[Broken]
    settled: float
    counts: Counter[str] = field(default_factory=Counter)
    last: list[Broken] = field(default_factory=list)
    log: str = ""


class Arena:
    """A cluster with replicas behind proxies, and an onlooker at its etcd."""

    def __init__(
        self,
        directory: Path,
        admin: Admin,
        faults: Faults,
        replicas: tuple[Replica, ...],
        etcd: Etcd,
        kubeconfig: Path,
    ) -> None:
        self.replicas = replicas
        self.history = History()
        self._directory = directory
        self._admin = admin
        self._faults = faults
        self._etcd = etcd
        self._last: list[Broken] = []
        self._blind: ValueError | None = None
        self._touched: frozenset[str] = frozenset()
        self._kubeconfig = kubeconfig

    async def look_on(self) -> None:
        """Follow etcd; has to run throughout."""
        try:
            async for write in self._etcd.writes(after=0):
                self.history.take(write, datetime.now(UTC))
        except ValueError as error:
            self._blind = error

    async def run(self, seed: int, seconds: float) -> Outcome:
        """Run the course of a seed, and judge."""
        events, load = course(seed, seconds), Load(self._admin, seed)
        path = self._directory / f"seed-{seed}.jsonl"
        counts: Counter[str] = Counter()
        for replica in self.replicas:
            replica.proxy.begin(seed)
        await load.prepare()
        await self._classes_are_ready(load)
        with path.open("w", encoding="utf-8") as log:
            began = time.monotonic()

            def tell(step: Step, came: str) -> None:
                counts[step.what] += 1
                line = {
                    "at": step.at, "began": round(time.monotonic() - began, 3), "what": step.what,
                    "of": step.of, "how": step.how, "came": came, "revision": self.history.revision,
                }  # fmt: skip
                print(json.dumps(line), file=log, flush=True)

            async def load_step(step: Step) -> None:
                try:
                    await load.do(step)
                except RefusedError as error:
                    tell(step, str(error)[:160])
                else:
                    tell(step, "done")

            async def fault_step(step: Step) -> None:
                tell(step, await self._faults.do(step))

            await asyncio.gather(
                _play(events.load, began, load_step), _play(events.faults, began, fault_step)
            )
            await self._faults.end()
        ended = time.monotonic()
        namespaces = frozenset(load.namespaces)
        left = await self._until_settled(namespaces)
        settled, last = time.monotonic() - ended, self._last
        broken = [*self._kept(namespaces), *left]
        broken += await self._end_by_tampering(events)
        broken += await self._until_settled(namespaces)
        await self._remove(load)
        broken += await self._until_settled(namespaces)
        broken += self._kept(namespaces)
        for replica in self.replicas:
            replica.start()  # counts one that has ended since the faults, and has it for the next
            if replica.died:
                broken.append(Broken(0, replica.name, f"ended by itself, {replica.died} times"))
                replica.died = 0
            counts.update({f"request {fate}": n for fate, n in replica.proxy.fates.items()})
        counts["certificates"] = sum(
            each.record["namespace"] in namespaces for each in self.history.issued.values()
        )
        return Outcome(seed, sorted(set(broken)), settled, counts, last, str(path))

    async def _end_by_tampering(self, events: Course) -> list[Broken]:
        whole = await verifies(self._kubeconfig)
        if whole is not (not self._touched):
            said = "is found whole" if whole else "is found broken"
            return [Broken(4, "the ledger", f"{said} by agentid ledger verify, and is not")]
        if not events.tampering:
            return []
        touched, broken = await tamper(
            self._admin, self.history, self.replicas, events.seed, events.tampering
        )
        self._touched |= touched
        if await verifies(self._kubeconfig):
            broken.append(Broken(4, "the ledger", f"{events.tampering}: found whole by verify"))
        return broken

    def _kept(self, namespaces: frozenset[str]) -> list[Broken]:
        """What was broken, but for what is told of records that an admin took away."""
        return self._untouched(kept(self.history, namespaces))

    def _untouched(self, found: Iterable[Broken]) -> list[Broken]:
        return [each for each in found if not any(serial in str(each) for serial in self._touched)]

    async def up_to_now(self) -> None:
        """Wait until everything that is in etcd by now was seen."""
        revision = await self._etcd.revision()
        while self.history.revision < revision:
            await asyncio.sleep(0.05)
            if self._blind is not None:
                raise self._blind

    async def _classes_are_ready(self, load: Load) -> None:
        deadline = time.monotonic() + _SETTLES
        names = [load.class_name(kind) for kind in CLASSES]
        while not all(
            condition(self.history.latest("agentclasses", name) or {}, "Ready").get("status")
            == "True"
            for name in names
        ):
            if time.monotonic() > deadline:
                msg = "the classes of a course are not Ready: does any replica run?"
                raise TimeoutError(msg)
            await asyncio.sleep(0.1)

    async def _until_settled(self, namespaces: frozenset[str]) -> list[Broken]:
        deadline = time.monotonic() + _SETTLES
        self._last = []
        since: dict[Broken, float] = {}
        late: set[Broken] = set()
        while True:
            await self.up_to_now()
            left = self._untouched(unsettled(self.history, namespaces, datetime.now(UTC)))
            now = time.monotonic()
            since = {each: since.get(each, now) for each in left}
            late |= {each for each in left if each.promise and now - since[each] > _REVOKED}
            if not left or now > deadline:
                return sorted({*left, *late})
            self._last = left
            await asyncio.sleep(0.5)

    async def _remove(self, load: Load) -> None:
        """Delete what the course made; all of it has to be revoked."""
        for namespace, name in list(self.history.identities):
            body = self.history.identities[namespace, name][-1].body
            if namespace in load.namespaces and body is not None:
                with contextlib.suppress(RefusedError):
                    await self._admin.insist("DELETE", ours("agentidentities", name, namespace))
        for (plural, name), changes in list(self.history.others.items()):
            if plural == "agentrevocations" and changes[-1].body is not None:
                with contextlib.suppress(RefusedError):
                    await self._admin.insist("DELETE", ours(plural, name))


async def _play(
    steps: Iterable[Step], began: float, do: Callable[[Step], Coroutine[None, None, None]]
) -> None:
    """Do each step at its time; those that take long do not hold up the ones behind them."""
    async with asyncio.TaskGroup() as group:
        for step in steps:
            await asyncio.sleep(max(0.0, began + step.at - time.monotonic()))
            group.create_task(do(step))


@contextlib.asynccontextmanager
async def arena(directory: Path) -> AsyncIterator[Arena]:
    """A cluster with agentid and its replicas, for as long as the context is open."""
    devcluster = DevCluster(directory / "cluster")
    try:
        cluster = await asyncio.to_thread(devcluster.up)
        await asyncio.to_thread(install, cluster)
        variables = await asyncio.to_thread(operator_environment, cluster)
        variables["PYTHONPATH"] = os.environ.get("PYTHONPATH", "")
        state = json.loads((cluster.directory / "state.json").read_text())
        admin, etcd = Admin(cluster), Etcd(state["ports"]["etcdClient"])
        context, ca = server_context(cluster.directory)
        replicas = []
        async with admin:
            for number in range(REPLICAS):
                proxy = Proxy(f"replica-{number}", 0, admin.server, admin.trust)
                port = await proxy.start(context)
                place = directory / proxy.name
                replicas.append(
                    Replica(proxy.name, place, proxy, own_environment(variables, place, port, ca))
                )
            faults = Faults(admin, devcluster, replicas)
            made = Arena(directory, admin, faults, tuple(replicas), etcd, cluster.kubeconfig)
            onlooker = asyncio.create_task(made.look_on())
            try:
                await admin.create(
                    "agentissuers",
                    {
                        "metadata": {"name": ISSUER},
                        "spec": {"trustDomain": "chaos.test", "ca": {"builtin": {}}},
                    },
                )
                for replica in replicas:
                    replica.start()
                yield made
            finally:
                onlooker.cancel()
                for replica in replicas:
                    replica.thaw()
                    replica.kill()
                    await replica.proxy.stop()
                await asyncio.gather(onlooker, return_exceptions=True)
                await etcd.close()
    finally:
        await asyncio.to_thread(devcluster.down)
