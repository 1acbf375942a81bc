"""The work queue against a model: whatever happens in whatever order, no key is lost or doubled."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from agentid.kube.objects import ObjectKey
from agentid.kube.queue import Lane, WorkQueue
from agentid.testing.clock import ManualClock

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
KEYS = [ObjectKey(namespace, name) for namespace in "abc" for name in "xyz"]
keys = st.sampled_from(KEYS)
lanes = st.sampled_from(Lane)


@dataclass
class Waiting:
    """A key is to be handed out."""

    lane: Lane


@dataclass
class Working:
    """A key is with a worker; `again` when it is to be handed out afterwards."""

    lane: Lane
    again: Lane | None = None


@dataclass
class BackingOff:
    """A key is to be handed out at a time, or earlier when something changes."""

    lane: Lane
    due: float


class QueueMachine(RuleBasedStateMachine):
    """Adds, workers that come and go, successes, failures and time, against a dictionary.

    Every worker is a task that waits in `get`, so that a wake-up that is lost shows: a key waits
    while a worker does.
    """

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.clock = ManualClock()
        self.queue: WorkQueue[ObjectKey] = WorkQueue(
            clock=self.clock,
            random=lambda: 0.5,
            namespace_of=lambda key: key.namespace,
            on_get=lambda _, lane, __: self.lanes.append(lane),
        )
        self.lanes: list[Lane] = []
        self.model: dict[ObjectKey, Waiting | Working | BackingOff] = {}
        self.workers: list[asyncio.Task[ObjectKey]] = []

    def call(self, function: Callable[[], T]) -> T:
        """Call a plain function from within the loop, as the operator does."""

        async def inside() -> T:
            return function()

        return self.runner.run(inside())

    def end(self, workers: list[asyncio.Task[ObjectKey]]) -> None:
        """Wait until these workers are gone."""

        async def inside() -> None:
            await asyncio.gather(*workers, return_exceptions=True)

        self.runner.run(inside())

    def teardown(self) -> None:
        """End all workers."""
        self.runner.run(self.queue.close())
        self.end(self.workers)
        self.runner.close()

    def settle(self) -> None:
        """Let every worker run, and check what each of them got."""
        self.runner.run(self.clock.settle())
        lanes = []
        for worker in [worker for worker in self.workers if worker.done()]:
            self.workers.remove(worker)
            key = worker.result()
            state = self.model[key]
            assert isinstance(state, Waiting), f"{key} was handed out while {state}"
            self.model[key] = Working(state.lane)
            lanes.append(state.lane)
        assert sorted(lanes) == sorted(self.lanes)
        self.lanes.clear()

    @rule(key=keys, lane=lanes)
    def add(self, key: ObjectKey, lane: Lane) -> None:
        """Something happened to an object."""
        self.call(lambda: self.queue.add(key, lane))
        match self.model.get(key):
            case None:
                self.model[key] = Waiting(lane)
            case Working() as state:
                state.again = lane if state.again is None else min(lane, state.again)
            case Waiting() as state:
                state.lane = min(lane, state.lane)
            case BackingOff() as state if lane < Lane.BACKGROUND:
                self.model[key] = Waiting(min(lane, state.lane))
        self.settle()

    @rule()
    def worker_comes(self) -> None:
        """A worker asks for a key."""
        self.workers.append(self.call(lambda: asyncio.ensure_future(self.queue.get())))
        self.settle()

    @precondition(lambda self: self.workers)
    @rule(data=st.data())
    def worker_goes(self, data: st.DataObject) -> None:
        """A worker that waits is cancelled."""
        worker = data.draw(st.sampled_from(self.workers))
        worker.cancel()
        self.end([worker])
        self.workers.remove(worker)
        self.settle()

    @precondition(lambda self: self.workers)
    @rule(key=keys, lane=lanes)
    def worker_goes_as_a_key_comes(self, key: ObjectKey, lane: Lane) -> None:
        """A worker is cancelled in the very moment in which a key wakes it."""
        worker = self.workers.pop(0)

        def both() -> None:
            if key not in self.model:
                self.queue.add(key, lane)
                self.model[key] = Waiting(lane)
            worker.cancel()

        self.call(both)
        self.end([worker])
        self.settle()

    @rule(key=keys, success=st.booleans(), minutes=st.none() | st.integers(0, 3))
    def give_back(self, *, key: ObjectKey, success: bool, minutes: int | None) -> None:
        """A worker is done with a key, or failed with it."""
        state = self.model.get(key)
        if not isinstance(state, Working):
            return
        if success:
            self.call(lambda: self.queue.done(key))
            del self.model[key]
            if state.again is not None:
                self.model[key] = Waiting(state.again)
        else:
            after = None if minutes is None else timedelta(minutes=minutes)
            wait = self.call(lambda: self.queue.retry(key, after)).total_seconds()
            if state.again is not None and state.again < Lane.BACKGROUND:
                assert wait == 0
                self.model[key] = Waiting(min(state.again, state.lane))
            else:
                assert wait >= (minutes or 0) * 60
                self.model[key] = BackingOff(state.lane, self.clock.monotonic() + wait)
        self.settle()

    @rule(key=keys)
    def forget(self, key: ObjectKey) -> None:
        """An object is gone."""
        self.call(lambda: self.queue.forget(key))
        match self.model.get(key):
            case Working() as state:
                state.again = None
            case Waiting() | BackingOff():
                del self.model[key]
            case None:
                pass
        self.settle()

    # Back-offs are whole milliseconds here: the odd part keeps moments from falling on their ends.
    @rule(seconds=st.integers(1, 400_000).map(lambda number: number / 1000 + 0.000_003_7))
    def time_passes(self, seconds: float) -> None:
        """Back-offs end, in their order."""
        end = self.clock.monotonic() + seconds
        for key, state in self.model.items():
            if isinstance(state, BackingOff) and state.due <= end:
                self.model[key] = Waiting(state.lane)
        self.runner.run(self.clock.run_for(seconds))
        self.settle()

    @invariant()
    def nobody_waits_for_what_is_there(self) -> None:
        """A key and a worker never wait at the same time."""
        waiting = [key for key, state in self.model.items() if isinstance(state, Waiting)]
        assert not (waiting and self.workers), f"{waiting} wait, and so do {len(self.workers)}"

    @invariant()
    def counts_agree(self) -> None:
        """Metrics show what there is; a back-off that has just ended may count as either."""
        kinds = [type(state) for state in self.model.values()]
        assert self.queue.working == kinds.count(Working)
        assert self.queue.depth + self.queue.backing_off == len(kinds) - kinds.count(Working)
        assert self.queue.depth <= kinds.count(Waiting)
        assert len(self.queue._lane_after) == self.queue.backing_off
        assert sum(self.queue.depth_by_lane().values()) == self.queue.depth


TestQueueMachine = QueueMachine.TestCase
TestQueueMachine.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
