"""The timetable of renewals."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING

from agentid.kube.schedule import Schedule

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from agentid.testing.clock import ManualClock


@asynccontextmanager
async def running(clock: ManualClock, schedule: Schedule[str]) -> AsyncIterator[list[str]]:
    """Run the schedule; yields what has fired."""
    fired: list[str] = []
    task = asyncio.ensure_future(schedule.run(fired.append))
    await clock.settle()
    try:
        yield fired
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def later(clock: ManualClock, **by: float) -> datetime:
    """Return the time so much from now."""
    return clock.now() + timedelta(**by)


async def test_keys_fire_when_due_and_not_before(clock: ManualClock) -> None:
    """Each key fires once, in the order of the times, whatever order they were given in."""
    schedule: Schedule[str] = Schedule(clock=clock)
    async with running(clock, schedule) as fired:
        schedule.at("second", later(clock, hours=2))
        schedule.at("first", later(clock, hours=1))
        await clock.run_for(timedelta(minutes=59, seconds=59))
        assert fired == []
        await clock.run_for(1)
        assert fired == ["first"]
        await clock.run_for(timedelta(hours=5))
        assert fired == ["first", "second"]
        assert len(schedule) == 0


async def test_an_earlier_key_is_not_slept_over(clock: ManualClock) -> None:
    """Inserting something earlier than all the rest wakes the schedule."""
    schedule: Schedule[str] = Schedule(clock=clock)
    async with running(clock, schedule) as fired:
        schedule.at("late", later(clock, seconds=4))
        await clock.run_for(1)
        schedule.at("early", later(clock, seconds=1))
        await clock.run_for(1)
        assert fired == ["early"]


async def test_a_new_time_replaces_the_old_one(clock: ManualClock) -> None:
    """A key has one time; cancelled, it has none."""
    schedule: Schedule[str] = Schedule(clock=clock)
    async with running(clock, schedule) as fired:
        schedule.at("moved", later(clock, seconds=10))
        schedule.at("moved", later(clock, seconds=60))
        schedule.at("cancelled", later(clock, seconds=10))
        assert schedule.when("moved") == later(clock, seconds=60)
        schedule.cancel("cancelled")
        schedule.cancel("unknown")
        assert schedule.when("cancelled") is None
        await clock.run_for(30)
        assert fired == []
        await clock.run_for(30)
        assert fired == ["moved"]


async def test_what_is_past_fires_at_once(clock: ManualClock) -> None:
    """A renewal that fell due while nobody ran is fired when somebody does."""
    schedule: Schedule[str] = Schedule(clock=clock)
    schedule.at("past", later(clock, days=-1))
    assert schedule.due_count(clock.now()) == 1
    async with running(clock, schedule) as fired:
        assert fired == ["past"]
        assert schedule.due_count(clock.now()) == 0
        schedule.at("past too", later(clock, days=-1))
        await clock.settle()
        assert fired == ["past", "past too"]


async def test_a_clock_set_forward_is_noticed_within_seconds(clock: ManualClock) -> None:
    """An hour forward: what is due by the new time fires within five seconds."""
    schedule: Schedule[str] = Schedule(clock=clock)
    async with running(clock, schedule) as fired:
        schedule.at("renewal", later(clock, minutes=50))
        await clock.run_for(1)
        clock.step(timedelta(hours=1))
        await clock.run_for(5)
        assert fired == ["renewal"]


async def test_a_clock_set_back_fires_nothing_early_or_twice(clock: ManualClock) -> None:
    """An hour back: what is still to come waits for its time, what has fired stays fired."""
    schedule: Schedule[str] = Schedule(clock=clock)
    async with running(clock, schedule) as fired:
        schedule.at("first", later(clock, minutes=1))
        schedule.at("second", later(clock, minutes=10))
        await clock.run_for(timedelta(minutes=2))
        clock.step(timedelta(hours=-1))
        await clock.run_for(timedelta(minutes=60))
        assert fired == ["first"]
        await clock.run_for(timedelta(minutes=9))
        assert fired == ["first", "second"]


async def test_firing_may_schedule_again(clock: ManualClock) -> None:
    """A key is off the schedule when it fires."""
    schedule: Schedule[str] = Schedule(clock=clock)
    fired: list[datetime] = []

    def fire(key: str) -> None:
        fired.append(clock.now())
        schedule.at(key, later(clock, minutes=1))

    schedule.at("again", clock.now())
    task = asyncio.ensure_future(schedule.run(fire))
    await clock.run_for(timedelta(minutes=3))
    assert len(fired) == 4
    task.cancel()


async def test_a_herd_lets_others_take_their_turns(clock: ManualClock) -> None:
    """Ten thousand keys due at once are fired in portions, and all of them."""
    schedule: Schedule[str] = Schedule(clock=clock)
    fired: list[str] = []
    for number in range(10_000):
        schedule.at(str(number), clock.now())
    task = asyncio.ensure_future(schedule.run(fired.append))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert 0 < len(fired) < 10_000
    await clock.settle()
    await clock.settle()
    assert len(fired) == 10_000
    task.cancel()


async def test_times_of_any_zone_are_the_same_moment(clock: ManualClock) -> None:
    """A time is a moment; what is handed back is in UTC."""
    schedule: Schedule[str] = Schedule(clock=clock)
    schedule.at("a", datetime(2026, 11, 1, 14, tzinfo=timezone(timedelta(hours=2))))
    assert schedule.when("a") == datetime(2026, 11, 1, 12, tzinfo=UTC)
    assert schedule.due_count(clock.now()) == 1
