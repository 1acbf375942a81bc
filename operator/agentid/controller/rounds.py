"""What the leader does in rounds, beside what triggers tell: resync, clock, compaction.

Each of them runs until it is cancelled.
"""

from __future__ import annotations

from contextlib import aclosing
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import structlog

from agentid.errors import AgentIdError
from agentid.kube.objects import ObjectKey
from agentid.kube.queue import Lane
from agentid.kube.resources import AGENT_IDENTITIES

if TYPE_CHECKING:
    from agentid.factory import Parts
    from agentid.kube.queue import WorkQueue

__all__ = ["Rounds"]

_log = structlog.stdlib.get_logger(__name__)

_RESYNC: Final = timedelta(minutes=10)
"""Between two looks at everything: for what no event tells, such as a finalizer forced off while
nobody watched. A look that finds nothing writes nothing and takes some 0.2 ms."""

_CLOCK_LOOK: Final = 5.0
"""Seconds between two looks at whether the wall clock was set back."""

_CLOCK_STEP: Final = 30.0
"""Seconds by which it has to be set back to matter: certificates begin a minute before they are
made."""

_COUNT: Final = 60.0
"""Seconds that places in limited classes are kept back at most, after a replica began to lead: for
a first look at every identity, some seconds with 10,000 of them."""

_COMPACT: Final = 15.0
"""Seconds between two looks for ledger segments worth merging."""


class Rounds:
    """Finds what no event tells."""

    def __init__(self, parts: Parts, queue: WorkQueue[ObjectKey]) -> None:
        """Take the parts; nothing runs yet.

        Args:
            parts: Of the operator.
            queue: Where identities are put that have to be looked at.
        """
        self._client = parts.client
        self._ledger = parts.ledger
        self._world = parts.world
        self._clock = parts.clock
        self._queue = queue
        self._quotas = parts.quotas
        self._furthest = self._ahead()

    def went_by_clock(self) -> None:
        """A pass goes by the clock as it is now."""
        self._furthest = max(self._furthest, self._ahead())

    async def resync(self) -> None:
        """Look at all identities now and then, and at those that are gone."""
        while True:
            try:
                await self._find_orphans()
            except AgentIdError as error:
                _log.warning("resync_interrupted", error=str(error))
                await self._clock.sleep(10)
                continue
            await self._clock.sleep(_RESYNC.total_seconds())
            for key in self._world.identities:
                self._queue.add(key, Lane.BACKGROUND)

    async def notice_clock(self) -> None:
        """Look at all identities when the clock was set back: nothing falls due by itself then.

        It is held against the furthest that any pass went by, so that a clock that was ahead for a
        moment only is noticed too.
        """
        while True:
            await self._clock.sleep(_CLOCK_LOOK)
            ahead = self._ahead()
            if self._furthest - ahead > _CLOCK_STEP:
                _log.warning("clock_set_back", seconds=round(self._furthest - ahead, 1))
                self._furthest = ahead
                for key in self._world.identities:
                    self._queue.add(key, Lane.BACKGROUND)

    async def count_places(self) -> None:
        """Give places in limited classes at last, should a look at some identity never succeed."""
        await self._clock.sleep(_COUNT)
        self._quotas.open()

    def _ahead(self) -> float:
        return self._clock.now().timestamp() - self._clock.monotonic()

    async def _find_orphans(self) -> None:
        """Look at identities that are on the ledger and not in the API server."""
        there: set[tuple[str, str]] = set()
        # What comes while they are listed is not in the list.
        before = self._world.identities.uids()
        async with aclosing(self._client.list_metadata(AGENT_IDENTITIES)) as identities:
            async for body in identities:
                key = ObjectKey.of(body)
                there.add((key.namespace, key.name))
        self._quotas.expect(ObjectKey(namespace, name) for namespace, name in there)
        for namespace, name in tuple(self._ledger.state.keys()):
            if (namespace, name) not in there:
                key = ObjectKey(namespace, name)
                if (uid := before.get(key)) is not None:
                    gone = {"namespace": namespace, "name": name, "uid": uid}
                    self._world.identities.ended({"metadata": gone})
                self._queue.add(key, Lane.REVOCATION)

    async def compact(self) -> None:
        """Merge segments of the ledger wherever that is worth it."""
        while True:
            await self._clock.sleep(_COMPACT)
            try:
                while (await self._ledger.compact()).did_something:
                    pass
            except AgentIdError as error:
                _log.warning("ledger_compaction_interrupted", error=str(error))
