"""What to look at next: a level-triggered queue of keys.

A key is a hint to look at an object, whatever happened to it, so ten changes before the look are
one look. It goes round like this:

```
            add                    get                      done
  (idle) ─────────► waiting ────────────────► in work ────────────────► (idle)
                       ▲                        │  │ added meanwhile
                       │  add, urgent           │  └─────────────► waiting
                       └────────── backing off ◄┘ retry
```
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Hashable
from dataclasses import dataclass
from datetime import timedelta
from enum import IntEnum
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from agentid.errors import InternalError
from agentid.kube.backoff import Backoff
from agentid.kube.heap import DueHeap

if TYPE_CHECKING:
    from agentid.clock import Clock

__all__ = ["Lane", "QueueClosedError", "WorkQueue"]

K = TypeVar("K", bound=Hashable)


class Lane(IntEnum):
    """How urgent a look is; the smaller, the more."""

    REVOCATION = 0
    """Something may have to be taken away: a deletion, a suspension, an incident."""

    CHANGE = 1
    """Somebody changed the object, or something it depends on came about, and waits for us."""

    BACKGROUND = 2
    """Renewals, resynchronisation, a class that was edited: soon, but nobody waits."""


_PASSED_OVER_MAX: Final = {Lane.CHANGE: 7, Lane.BACKGROUND: 15}
"""How often a lane stands back for more urgent ones before it gets a turn: under a flood of
revocations every eighth turn is a change and about every sixteenth a renewal, so that a flood of
one kind cannot let certificates run out."""


class QueueClosedError(Exception):
    """The queue was closed: nothing more is handed out."""


@dataclass(slots=True)
class _Work:
    """A key in work: the lane it came from, and the lane it was added to meanwhile."""

    lane: Lane
    again: Lane | None = None


class WorkQueue(Generic[K]):
    """Keys to look at; any number of workers within one event loop.

    - A key is with one worker at a time. Added meanwhile, it is handed out again afterwards.
    - Lanes: the most urgent first, yet none is starved.
    - Within a lane, namespaces take turns: a tenant with thousands of keys delays another's key by
      one turn.
    - A key that failed backs off by itself and holds up nobody.

    Every key from `get` is given back once, by `done` or by `retry`. All methods but `get` and
    `close` are plain functions, a few microseconds each.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        random: Callable[[], float],
        namespace_of: Callable[[K], str],
        backoff: Backoff | None = None,
        on_get: Callable[[K, Lane, float], None] | None = None,
    ) -> None:
        """Make an empty queue.

        Args:
            clock: For waits and back-off, by its monotonic reading.
            random: A number in [0, 1) at each call, such as `random.random`.
            namespace_of: Whose turn a key takes.
            backoff: How long a key that failed is left alone.
            on_get: Told key, lane and seconds waited whenever a key is handed out.
        """
        self._clock = clock
        self._random = random
        self._namespace_of = namespace_of
        self._backoff = backoff or Backoff()
        self._on_get = on_get
        # Per lane, namespaces in the order of their turns; per namespace, keys in the order they
        # came, each with the moment since when it has waited.
        self._lanes: dict[Lane, OrderedDict[str, OrderedDict[K, float]]] = {
            lane: OrderedDict() for lane in Lane
        }
        self._waiting: dict[K, Lane] = {}
        self._passed_over = dict.fromkeys(_PASSED_OVER_MAX, 0)
        self._working: dict[K, _Work] = {}
        self._backing_off: DueHeap[K] = DueHeap()
        self._lane_after: dict[K, Lane] = {}
        self._failures: dict[K, int] = {}
        self._getters: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.Task[None] | None = None
        self._timer_due = 0.0
        self._closed = False
        self._handed_out_at = clock.monotonic()

    def add(self, key: K, lane: Lane = Lane.CHANGE) -> None:
        """Have the key looked at.

        Waiting already, it moves to the more urgent lane of the two. Backing off, it is looked at
        now, with its failures forgotten, unless the lane is BACKGROUND: then it keeps waiting,
        since nothing has changed that would make it succeed. So add with CHANGE what a user did,
        and not the echo of a status that we wrote: a failing key would come again at once.

        After `close` nothing happens.
        """
        if self._closed:
            return
        urgent = lane < Lane.BACKGROUND
        if urgent:
            self._failures.pop(key, None)
        work = self._working.get(key)
        if work is not None:
            work.again = lane if work.again is None else min(work.again, lane)
        elif key in self._waiting:
            self._raise_lane(key, lane)
        elif key in self._backing_off:
            after = min(lane, self._lane_after[key])
            self._lane_after[key] = after
            if urgent:
                self._backing_off.remove(key)
                del self._lane_after[key]
                self._enqueue(key, after, self._clock.monotonic())
        else:
            self._enqueue(key, lane, self._clock.monotonic())

    async def get(self) -> K:
        """Return the next key, which then is in work; wait for one if need be.

        Raises:
            QueueClosedError: The queue is closed; keys that still wait are not handed out.
        """
        while True:
            if self._closed:
                raise QueueClosedError
            self._end_backoffs()
            if self._waiting:
                return self._take()
            await self._wait()

    async def __aiter__(self) -> AsyncIterator[K]:
        """Yield keys until the queue is closed; each is given back by `done` or `retry`."""
        while True:
            try:
                key = await self.get()
            except QueueClosedError:
                return
            yield key

    def done(self, key: K) -> None:
        """Give back a key that was dealt with; its failures are forgotten.

        Raises:
            InternalError: It is not in work.
        """
        work = self._give_back(key)
        self._failures.pop(key, None)
        if work.again is not None:
            self._requeue(key, work.again)

    def retry(self, key: K, after: timedelta | None = None) -> timedelta:
        """Give back a key that failed, to be handed out again after a while.

        At once, when it was added meanwhile as urgent: what failed was not the latest.

        Args:
            key: The key.
            after: How long the other side asked to be left alone, as in
                `UnavailableError.retry_after`; it may be longer, never shorter.

        Returns:
            How long it is left alone.

        Raises:
            InternalError: It is not in work.
        """
        work = self._give_back(key)
        if self._closed:
            return timedelta(0)
        if work.again is not None and work.again < Lane.BACKGROUND:
            self._requeue(key, min(work.again, work.lane))
            return timedelta(0)
        failures = self._failures.get(key, 0) + 1
        self._failures[key] = failures
        wait = self._backoff.seconds(failures, self._random(), after)
        self._lane_after[key] = work.lane
        self._backing_off.put(key, self._clock.monotonic() + wait)
        self._set_timer()
        return timedelta(seconds=wait)

    def forget(self, key: K) -> None:
        """Drop a key whose object is gone; in work, it is given back as ever, and not again."""
        self._failures.pop(key, None)
        if (work := self._working.get(key)) is not None:
            work.again = None
        if (lane := self._waiting.pop(key, None)) is not None:
            self._withdraw(key, lane)
        if self._backing_off.remove(key):
            del self._lane_after[key]

    async def close(self) -> None:
        """Hand out nothing more, and tell who waits in `get`; what is in work is given back."""
        self._closed = True
        for getter in self._getters:
            if not getter.done():
                getter.set_result(None)
        self._getters.clear()
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
            await asyncio.gather(timer, return_exceptions=True)

    # What metrics show

    @property
    def depth(self) -> int:
        """Keys that wait to be handed out; those backing off do not count."""
        return len(self._waiting)

    @property
    def working(self) -> int:
        """Keys in work."""
        return len(self._working)

    def is_working(self, key: K) -> bool:
        """Whether a key is in work."""
        return key in self._working

    @property
    def backing_off(self) -> int:
        """Keys that failed and are left alone for a while."""
        return len(self._backing_off)

    def depth_by_lane(self) -> dict[Lane, int]:
        """Return the keys that wait, by lane."""
        return {
            lane: sum(len(keys) for keys in namespaces.values())
            for lane, namespaces in self._lanes.items()
        }

    def oldest_wait(self) -> timedelta:
        """Return how long the longest-waiting key has waited; looks at all, so once per scrape."""
        since = [
            moment
            for namespaces in self._lanes.values()
            for keys in namespaces.values()
            for moment in keys.values()
        ]
        return timedelta(seconds=self._clock.monotonic() - min(since)) if since else timedelta(0)

    def stuck_for(self) -> timedelta:
        """Return how long a key has waited while none was handed out at all.

        A flood makes keys wait for long; that is no reason to believe that the workers hang.
        """
        quiet = timedelta(seconds=self._clock.monotonic() - self._handed_out_at)
        return min(quiet, self.oldest_wait())

    # How

    def _enqueue(self, key: K, lane: Lane, since: float) -> None:
        self._waiting[key] = lane
        namespaces = self._lanes[lane]
        namespace = self._namespace_of(key)
        keys = namespaces.get(namespace)
        if keys is None:
            keys = namespaces[namespace] = OrderedDict()
        keys[key] = since
        self._wake_one()

    def _withdraw(self, key: K, lane: Lane) -> float:
        namespace = self._namespace_of(key)
        keys = self._lanes[lane][namespace]
        since = keys.pop(key)
        if not keys:
            del self._lanes[lane][namespace]
        return since

    def _raise_lane(self, key: K, lane: Lane) -> None:
        current = self._waiting[key]
        if lane < current:
            self._enqueue(key, lane, self._withdraw(key, current))

    def _requeue(self, key: K, lane: Lane) -> None:
        if not self._closed:
            self._enqueue(key, lane, self._clock.monotonic())

    def _take(self) -> K:
        lane = self._next_lane()
        namespaces = self._lanes[lane]
        namespace, keys = next(iter(namespaces.items()))
        key, since = keys.popitem(last=False)
        if keys:
            namespaces.move_to_end(namespace)
        else:
            del namespaces[namespace]
        del self._waiting[key]
        self._working[key] = _Work(lane)
        self._handed_out_at = self._clock.monotonic()
        if self._on_get is not None:
            self._on_get(key, lane, self._clock.monotonic() - since)
        return key

    def _next_lane(self) -> Lane:
        filled = [lane for lane in Lane if self._lanes[lane]]
        chosen = filled[0]
        for lane in filled[1:]:
            if self._passed_over[lane] >= _PASSED_OVER_MAX[lane]:
                chosen = lane
                break
        for lane in self._passed_over:
            passed = lane in filled and lane is not chosen
            self._passed_over[lane] = self._passed_over[lane] + 1 if passed else 0
        return chosen

    def _give_back(self, key: K) -> _Work:
        work = self._working.pop(key, None)
        if work is None:
            message = f"{key} was given back, but is not in work"
            raise InternalError(message)
        return work

    # Waiting and waking: one getter is woken for each key that comes to wait, and one that was
    # woken in vain (cancelled) passes it on, as in asyncio.Queue.

    async def _wait(self) -> None:
        getter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._getters.append(getter)
        self._set_timer()
        try:
            await getter
        except asyncio.CancelledError:
            if getter.cancelled():
                with contextlib.suppress(ValueError):  # it may have been skipped already
                    self._getters.remove(getter)
            elif self._waiting:
                self._wake_one()
            raise

    def _wake_one(self) -> None:
        while self._getters:
            getter = self._getters.popleft()
            if not getter.done():
                getter.set_result(None)
                return

    def _end_backoffs(self) -> None:
        if not self._backing_off:
            return
        now = self._clock.monotonic()
        while (key := self._backing_off.pop_due(now)) is not None:
            self._enqueue(key, self._lane_after.pop(key), now)

    def _set_timer(self) -> None:
        """See to it that somebody is woken when the next back-off ends."""
        due = self._backing_off.first_due()
        if due is None or not self._getters or self._closed:
            return
        if self._timer is not None and not self._timer.done():
            if self._timer_due <= due:
                return
            self._timer.cancel()
        self._timer_due = due
        self._timer = asyncio.create_task(self._wake_at(due))

    async def _wake_at(self, due: float) -> None:
        await self._clock.sleep(due - self._clock.monotonic())
        self._timer = None
        self._end_backoffs()
        self._set_timer()
