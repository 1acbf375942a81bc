"""Brings faults about, and takes every one of them back at the end."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from e2e.chaos.admin import RefusedError
from e2e.chaos.load import ISSUER
from e2e.chaos.weather import CALM, WEATHERS

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from e2e.chaos.admin import Admin
    from e2e.chaos.course import Step
    from e2e.chaos.history import Json
    from e2e.chaos.replicas import Replica
    from e2e.providers import DevCluster

__all__ = ["CONTROLLER", "Faults"]

CONTROLLER: Final = "system:serviceaccount:agentid-system:agentid-controller"
_COLLECTOR: Final = "kube-controller-manager"
_LEASES: Final = "/apis/coordination.k8s.io/v1/namespaces/agentid-system/leases"
_LEASE: Final = f"{_LEASES}/agentid-controller"
_SECRETS: Final = "/api/v1/namespaces/agentid-system/secrets"
_AUTHORITY: Final = f"{_SECRETS}/agentid-ca-{ISSUER}"


class Faults:
    """Whatever can go wrong, on one cluster with some replicas."""

    def __init__(self, admin: Admin, cluster: DevCluster, replicas: Sequence[Replica]) -> None:
        self._admin = admin
        self._cluster = cluster
        self._replicas = replicas
        self._running: set[asyncio.Task[None]] = set()
        self._component = asyncio.Lock()
        self._authority: Json | None = None
        self._authority_away = asyncio.Lock()

    async def do(self, step: Step) -> str:
        """Bring one about; what takes time goes on beside. Returns what it was done to."""
        match step.what:
            case "weather":
                replica = self._replicas[int(step.of)]
                replica.proxy.turn(WEATHERS[step.how])
                return replica.name
            case "clock":
                replica = self._replicas[int(step.of)]
                replica.set_clock(step.how)
                return replica.name
            case "kill" | "freeze":
                replica = await self._chosen(step.of)
                self._begin(self._away(replica, float(step.how), freeze=step.what == "freeze"))
                return replica.name
            case "outage":
                self._begin(self._outage(step.of, float(step.how)))
                return step.of
            case "lease":
                return await self._lease(step.how)
            case "ca":
                self._begin(self._without_authority(float(step.how)))
                return ISSUER
            case _:
                msg = f"{step.what}: nobody knows how to do that"
                raise ValueError(msg)

    async def end(self) -> None:
        """Take everything back: from now on nothing is wrong."""
        for replica in self._replicas:
            replica.proxy.turn(CALM)
            replica.set_clock("0")
        await asyncio.gather(*self._running)
        # It collects what namesakes left, after outages minutes later or never.
        await asyncio.to_thread(self._cluster.run, "stop", _COLLECTOR, "--kill")
        await asyncio.to_thread(self._cluster.run, "start", _COLLECTOR)
        for replica in self._replicas:
            replica.thaw()
            replica.start()
            await replica.proxy.settle()

    async def leader(self) -> Replica | None:
        """Who holds the Lease, None while nobody knows."""
        try:
            lease = await self._admin.ask("GET", _LEASE)
        except RefusedError:
            return None
        holder = str(lease["spec"].get("holderIdentity", ""))
        return next((each for each in self._replicas if holder.startswith(each.name)), None)

    def _begin(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._running.add(task)
        # Only one that succeeded is let go of: `end` raises what another one raised.
        task.add_done_callback(
            lambda done: (
                None if done.cancelled() or done.exception() else self._running.discard(done)
            )
        )

    async def _chosen(self, who: str) -> Replica:
        if who.isdigit():
            return self._replicas[int(who)]
        leader = await self.leader() or self._replicas[0]
        return leader if who == "leader" else next(e for e in self._replicas if e is not leader)

    async def _away(self, replica: Replica, seconds: float, *, freeze: bool) -> None:
        if freeze:
            replica.freeze()
            await asyncio.sleep(seconds)
            replica.thaw()
        else:
            replica.kill()
            await asyncio.sleep(seconds)
            replica.start()

    async def _outage(self, component: str, seconds: float) -> None:
        async with self._component:
            await asyncio.to_thread(self._cluster.run, "stop", component, "--kill")
            await asyncio.sleep(seconds)
            await asyncio.to_thread(self._cluster.run, "start", component)

    async def _lease(self, how: str) -> str:
        """Take the Lease from whoever holds it, in the middle of its work."""
        try:
            if how == "delete":
                await self._admin.ask("DELETE", _LEASE)
            else:
                now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
                spec = {"holderIdentity": "a-thief", "renewTime": now, "leaseDurationSeconds": 3}
                await self._admin.ask("PATCH", _LEASE, {"spec": spec}, patch=True)
        except RefusedError as error:
            return str(error)
        return how

    async def _without_authority(self, seconds: float) -> None:
        """Lose the CA's keys for a while, and restore them from a backup."""
        async with self._authority_away:
            if self._authority is None:
                try:
                    self._authority = await self._admin.ask("GET", _AUTHORITY)
                except RefusedError:
                    return
            about = self._authority["metadata"]
            kept = {
                **self._authority,
                "metadata": {name: about[name] for name in ("name", "namespace", "labels")},
            }
            try:
                await self._admin.ask("DELETE", _AUTHORITY)
            except RefusedError:
                return
            await asyncio.sleep(seconds)
            try:
                await self._admin.insist("POST", _SECRETS, kept)
            except RefusedError as error:
                if error.code != 409:  # noqa: PLR2004 - a try that got no answer had come through
                    raise
