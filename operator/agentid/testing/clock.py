"""Virtual time."""

from __future__ import annotations

import asyncio
import heapq
from datetime import UTC, datetime, timedelta

__all__ = ["ManualClock"]

# How often the loop is turned between two moments of virtual time. A chain of awaits that hands
# over more often than this between two sleeps would be seen one moment late; turning in vain costs
# well under a microsecond.
_TURNS = 50


class ManualClock:
    """A clock that moves only when told to.

    `advance` moves both readings and wakes who has slept long enough, from plain functions as well
    as from coroutines. `run_for` does so moment by moment, and lets everything that wakes run up to
    its next wait before time goes on: with it, a minute of three replicas is a deterministic
    millisecond. `step` moves the wall clock alone, as an administrator or NTP would.
    """

    def __init__(self, start: datetime = datetime(2026, 11, 1, 12, tzinfo=UTC)) -> None:
        if start.tzinfo is None:
            message = f"ManualClock starts at an aware time, found {start.isoformat()} without zone"
            raise ValueError(message)
        self._now = start.astimezone(UTC)
        self._monotonic = 1000.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._count = 0

    def now(self) -> datetime:
        """Return the virtual wall-clock time, aware, in UTC."""
        return self._now

    def monotonic(self) -> float:
        """Return the virtual seconds since an arbitrary start."""
        return self._monotonic

    async def sleep(self, seconds: float) -> None:
        """Return once the clock was advanced by so many seconds."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        self._count += 1
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._monotonic + seconds, self._count, woken))
        await woken

    def advance(self, by: timedelta | float) -> None:
        """Move both readings forward and wake whoever is due; they run when the loop next does."""
        seconds = by.total_seconds() if isinstance(by, timedelta) else by
        if seconds < 0:
            message = f"time can be advanced by 0 s or more, found {seconds} s; use step()"
            raise ValueError(message)
        self._monotonic += seconds
        self._now += timedelta(seconds=seconds)
        while self._sleepers and self._sleepers[0][0] <= self._monotonic:
            _, _, woken = heapq.heappop(self._sleepers)
            if not woken.done():
                woken.set_result(None)

    def step(self, by: timedelta) -> None:
        """Move the wall clock alone, either way; nobody wakes."""
        self._now += by

    async def run_for(self, by: timedelta | float) -> None:
        """Let virtual time pass, one sleeper's moment after the other."""
        seconds = by.total_seconds() if isinstance(by, timedelta) else by
        end = self._monotonic + seconds
        await self.settle()
        while (due := self._next_due()) is not None and due <= end:
            self.advance(max(due - self._monotonic, 0.0))
            await self.settle()
        self.advance(max(end - self._monotonic, 0.0))
        await self.settle()

    async def settle(self) -> None:
        """Let every task run until it waits for something; no time passes."""
        for _ in range(_TURNS):
            await asyncio.sleep(0)

    def _next_due(self) -> float | None:
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)  # its task was cancelled while it slept
        return self._sleepers[0][0] if self._sleepers else None
