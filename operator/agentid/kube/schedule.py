"""One timetable for all renewals, instead of a timer for each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from agentid.kube.heap import DueHeap
from agentid.kube.waiting import pause

if TYPE_CHECKING:
    from agentid.clock import Clock

__all__ = ["Schedule"]

K = TypeVar("K", bound=Hashable)

_LOOK_AGAIN: Final = 5.0
"""Seconds after which the wall clock is read again at the latest. Due times are wall-clock times,
so a clock that is set forward makes keys due earlier than a sleep begun before would end."""

_BATCH: Final = 500
"""Keys fired before others get a turn: firing adds to a queue, about a millisecond for these."""


class Schedule(Generic[K]):
    """Keys with the wall-clock time at which each is due; to be used within one event loop.

    A clock that is set back makes keys due later again, one that is set forward makes them due
    within five seconds; nothing is lost or fired twice.
    """

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._heap: DueHeap[K] = DueHeap()
        self._earlier = asyncio.Event()

    def __len__(self) -> int:
        """Return how many keys are scheduled."""
        return len(self._heap)

    def at(self, key: K, when: datetime) -> None:
        """Have the key fire at that time, in place of any other; at once when it is past.

        Args:
            key: What falls due.
            when: An aware time.
        """
        first = self._heap.first_due()
        due = when.timestamp()
        self._heap.put(key, due)
        if first is None or due < first:
            self._earlier.set()

    def cancel(self, key: K) -> None:
        """Have the key not fire; nothing happens when it is not scheduled."""
        self._heap.remove(key)

    def when(self, key: K) -> datetime | None:
        """Return the time at which the key is due, in UTC, or None."""
        due = self._heap.due_of(key)
        return None if due is None else datetime.fromtimestamp(due, UTC)

    def due_count(self, now: datetime) -> int:
        """Return how many keys are due and were not fired yet: the backlog."""
        return self._heap.due_count(now.timestamp())

    async def run(self, fire: Callable[[K], None]) -> None:
        """Call `fire` with each key once it is due, until cancelled.

        The key is off the schedule when `fire` is called, so `fire` may schedule it again. What is
        due while nobody runs is fired when somebody does.
        """
        while True:
            self._earlier.clear()
            now = self._clock.now().timestamp()
            for _ in range(_BATCH):
                key = self._heap.pop_due(now)
                if key is None:
                    break
                fire(key)
            else:
                await asyncio.sleep(0)
                continue
            first = self._heap.first_due()
            wait = None if first is None else min(max(first - now, 0.0), _LOOK_AGAIN)
            await pause(self._clock, wait, self._earlier)
