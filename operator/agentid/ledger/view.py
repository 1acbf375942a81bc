"""The ledger as somebody sees it who only reads: everything that is durable, and how fresh it is.

No method writes, and a view asks for a `SegmentSource` only, which cannot. Two things follow from
that. A view cannot mend what was damaged: the alarm stands until a process that writes has done so.
And it has no chain, so what it read before and was removed is noticed by it, yet witnessed by
nobody.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from agentid.errors import InternalError
from agentid.ledger.alarms import AlarmBook
from agentid.ledger.intake import Intake
from agentid.ledger.store import SegmentEventType, StoredSegment

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping
    from datetime import datetime

    from agentid.clock import Clock
    from agentid.ledger.intake import Listener
    from agentid.ledger.state import LedgerState
    from agentid.ledger.store import SegmentSource
    from agentid.ledger.verify import Alarm, VerifyReport

__all__ = ["LedgerStats", "LedgerView"]

_TICK: Final = 1.0
"""Seconds between two looks at suspicions, and whatever else a ledger has to look at."""

_EXPIRY_TICKS: Final = 60
"""Ticks between two looks for entries that have expired; each looks at every entry."""


@dataclass(frozen=True, slots=True)
class LedgerStats:
    """How large the ledger is; cheap enough for every scrape.

    Attributes:
        segments: Objects.
        bytes: Of all objects.
        entries: Certificates on record.
        revoked: Revocations on record.
        identities: With a certificate on record.
        chains: Writers that are spoken of.
        waiting: Records that are not durable yet.
    """

    segments: int
    bytes: int
    entries: int
    revoked: int
    identities: int
    chains: int
    waiting: int


class LedgerView:
    """Reads everything at start, and follows what is written from then on.

    Alarms say what a person has to look at. They stop nothing: who only reads has to go on with
    what can be read, since a revocation that is not passed on helps nobody. What the readable part
    of a damaged segment counts for is said in `intake`.
    """

    def __init__(
        self,
        source: SegmentSource,
        *,
        clock: Clock,
        on_alarm: Callable[[Alarm], None] | None = None,
    ) -> None:
        """Connect nothing yet.

        Args:
            source: Where segments are kept.
            clock: For waits and deadlines.
            on_alarm: Told about every alarm when it is raised; must neither raise nor block.
        """
        self._clock = clock
        self._source = source
        self._alarms = AlarmBook(on_alarm or (lambda _: None))
        self._intake = Intake(clock, self._alarms, self._is_own)
        self._synced = asyncio.Event()
        self._current: tuple[datetime, float] | None = None
        self._tasks: Mapping[str, asyncio.Task[None]] = {}

    # Life

    async def start(self) -> None:
        """Read and verify all segments, and begin to follow.

        Returns once `state` holds everything that was durable at some moment after the call.

        Raises:
            AgentIdError: The backend refuses to be read; outages are waited out.
        """
        self._tasks = {
            name: asyncio.create_task(part, name=f"ledger-{name}")
            for name, part in self._parts().items()
        }
        ready = asyncio.create_task(self._synced.wait(), name="ledger-start")
        try:
            await asyncio.wait((ready, *self._tasks.values()), return_when=asyncio.FIRST_COMPLETED)
        finally:
            ready.cancel()
        if not self._synced.is_set():
            await self.abandon()
            await self.join()

    async def join(self) -> None:
        """Return once closed; raise as soon as a part of the ledger has failed.

        To be awaited by who runs the process: a ledger that has failed neither records nor follows.
        """
        if not self._tasks:
            return
        parts = self._tasks.values()
        done, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error

    async def close(self) -> None:
        """Stop."""
        await self.abandon()

    async def abandon(self) -> None:
        """Stop at once, whatever is under way."""
        for task in self._tasks.values():
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks.values())

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Be told about all records that become durable from now on, in order.

        When the listener is called, `state` holds the records already. It must not block; if it
        raises, that is logged, and neither the ledger nor other listeners are affected.

        Returns:
            A function that ends the subscription.
        """
        listeners = self._intake.listeners
        listeners.append(listener)
        return lambda: listeners.remove(listener)

    # Looking

    @property
    def state(self) -> LedgerState:
        """What is on record."""
        return self._intake.state

    @property
    def alarms(self) -> tuple[Alarm, ...]:
        """What a person has to look at, sorted; empty if all is well."""
        return tuple(self._alarms)

    @property
    def later_format(self) -> str | None:
        """What is to be said of a segment that a later release wrote; None where there is none.

        While there is one, what is on record is not known as a whole.
        """
        return self._intake.catalogue.later

    @property
    def synced_at(self) -> datetime | None:
        """When the backend last said that everything was reported, by our clock; None before.

        It says so about once a minute. What is reported in between is in `state` at once, but does
        not move this moment: after an outage the first reports are about what happened during it.
        """
        return None if self._current is None else self._current[0]

    @property
    def lag(self) -> timedelta | None:
        """How long ago that was, whatever was done to the clock meanwhile.

        Up to two minutes is what a healthy backend makes. What has grown older may lack
        revocations. A backend that has itself lost its storage may not know it, and say on.
        """
        if self._current is None:
            return None
        return timedelta(seconds=self._clock.monotonic() - self._current[1])

    def verify(self) -> VerifyReport:
        """Verify all segments as this process knows them, now."""
        return self._intake.catalogue.verify()

    def stats(self) -> LedgerStats:
        """How large the ledger is."""
        return LedgerStats(
            segments=len(self._intake.catalogue),
            bytes=self._intake.catalogue.bytes,
            entries=self.state.count,
            revoked=self.state.revoked_count,
            identities=self.state.identity_count,
            chains=self._intake.catalogue.chains,
            waiting=0,
        )

    def trusted_now(self) -> datetime | None:
        """The time that it certainly is, None while unknown; see `TrustedTime`."""
        return self._intake.trusted.now()

    # Inside: what a ledger that writes adds to

    def _parts(self) -> dict[str, Coroutine[object, object, None]]:
        """What runs between `start` and `close`, by name; when one fails, so has all."""
        return {"follower": self._follow(), "housekeeping": self._keep_house()}

    def _is_own(self, stored: StoredSegment) -> bool:
        """Whether a segment that the backend reports is one that this process has just sent."""
        del stored
        return False

    def _checked(self) -> None:
        """All chains were verified."""

    def _tick(self) -> None:
        """Another second has passed."""

    async def _follow(self) -> None:
        async for event in self._source.follow():
            match event.type, event.segment:
                case SegmentEventType.SYNCED, _:
                    self._intake.check()
                    self._checked()
                    self._now_current()
                    self._synced.set()
                case SegmentEventType.CURRENT, _:
                    self._now_current()
                case SegmentEventType.PRESENT, StoredSegment() as stored:
                    self._intake.present(stored, just_now=self._synced.is_set())
                    await asyncio.sleep(0)  # a large segment takes milliseconds
                case SegmentEventType.GONE, StoredSegment() as stored:
                    self._intake.gone(stored.name)
                case _:
                    message = f"the ledger's backend reports {event.type} of nothing"
                    raise InternalError(message)
        message = "the ledger's backend has stopped to report"
        raise InternalError(message)

    def _now_current(self) -> None:
        self._current = self._clock.now(), self._clock.monotonic()

    async def _keep_house(self) -> None:
        ticks = 0
        while True:
            await self._clock.sleep(_TICK)
            ticks += 1
            self._tick()
            if self._intake.check_if_suspicious():
                self._checked()
            if ticks % _EXPIRY_TICKS == 0:
                self._intake.expire()
