"""Deletions are revoked together, and none waits for what the passes of others do."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from agentid.controller.revoking import RevocationLoop
from agentid.errors import UnavailableError
from agentid.kube.objects import ObjectKey

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from agentid.services.identities import IdentityService

ONE, TWO, THREE = (ObjectKey("finance", name) for name in ("one", "two", "three"))


class SlowLedger:
    """Revokes when it is let; stands for a service whose commit takes its time."""

    def __init__(self) -> None:
        self.asked: list[list[ObjectKey]] = []
        self.let = asyncio.Event()
        self.refuse = False

    async def revoke_due(self, keys: Iterable[ObjectKey]) -> None:
        """Wait until the commit is through."""
        self.asked.append(list(keys))
        await self.let.wait()
        if self.refuse:
            message = "the ledger is away"
            raise UnavailableError(message)


class Stage:
    """A loop that runs, its service, and what it had looked at."""

    def __init__(self) -> None:
        self.service = SlowLedger()
        self.looked_at: list[ObjectKey] = []
        service: IdentityService = self.service  # type: ignore[assignment]
        self.loop = RevocationLoop(service, self.looked_at.append)


@asynccontextmanager
async def running() -> AsyncIterator[Stage]:
    """A leader."""
    made = Stage()
    task = asyncio.create_task(made.loop.run())
    await settled()
    yield made
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def settled() -> None:
    """Let everything run that can."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_what_waits_goes_together() -> None:
    """One commit for all, each once; the rest of the passes comes after it."""
    async with running() as stage:
        for key in (ONE, TWO, ONE):
            stage.loop.add(key)
        await settled()
        assert stage.service.asked == [[ONE, TWO]]
        assert stage.looked_at == [], "a pass would revoke the same once more"
        stage.service.let.set()
        await settled()
        assert stage.looked_at == [ONE, TWO]


async def test_a_deletion_does_not_wait_for_the_commit_before_it() -> None:
    """It has one of its own, while the first is still under way."""
    async with running() as stage:
        stage.loop.add(ONE)
        await settled()
        stage.loop.add(TWO)
        await settled()
        assert stage.service.asked == [[ONE], [TWO]]


async def test_a_failure_leaves_it_to_the_passes() -> None:
    """Promise 4: who could not be revoked is looked at as a whole, and the loop goes on."""
    async with running() as stage:
        stage.service.refuse = True
        stage.service.let.set()
        stage.loop.add(ONE)
        stage.loop.add(TWO)
        await settled()
        assert stage.looked_at == [ONE, TWO]
        stage.loop.add(THREE)
        await settled()
        assert stage.looked_at == [ONE, TWO, THREE]


async def test_what_a_leader_had_begun_is_not_lost_with_its_lease() -> None:
    """Promise 4: cut off amid the commit, the identities wait in the queue for who leads next."""
    stage = Stage()
    task = asyncio.create_task(stage.loop.run())
    await settled()
    stage.loop.add(ONE)
    await settled()
    stage.loop.add(TWO)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert sorted(stage.looked_at, key=str) == [ONE, TWO]


async def test_nothing_waits_where_nobody_leads() -> None:
    """A replica that follows hands everything to its queue, before it leads and afterwards."""
    stage = Stage()
    stage.loop.add(ONE)
    assert stage.looked_at == [ONE]
    task = asyncio.create_task(stage.loop.run())
    await settled()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    stage.loop.add(TWO)
    assert stage.looked_at == [ONE, TWO]
    assert stage.service.asked == []
