"""Virtual time, which all tests of waiting lean on, and the real clock behind the same protocol."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta

import pytest

from agentid.clock import Clock, SystemClock
from agentid.testing.clock import ManualClock


def test_time_stands_still_until_advanced() -> None:
    """Both readings move together, and only when told to."""
    clock = ManualClock(datetime(2026, 1, 1, tzinfo=UTC))
    before = clock.monotonic()
    assert clock.now() == clock.now() == datetime(2026, 1, 1, tzinfo=UTC)
    clock.advance(1.5)
    clock.advance(timedelta(minutes=1))
    assert clock.now() == datetime(2026, 1, 1, 0, 1, 1, 500_000, tzinfo=UTC)
    assert clock.monotonic() - before == 61.5


def test_a_step_moves_the_wall_clock_alone() -> None:
    """An administrator sets the clock; what is measured does not notice."""
    clock = ManualClock()
    before = clock.monotonic(), clock.now()
    clock.step(timedelta(hours=-1))
    assert clock.monotonic() == before[0]
    assert clock.now() == before[1] - timedelta(hours=1)


def test_a_start_without_a_zone_is_refused() -> None:
    """A clock tells aware times only."""
    with pytest.raises(ValueError, match=r"found 2026-01-01T00:00:00 without zone"):
        ManualClock(datetime(2026, 1, 1))  # noqa: DTZ001 - the fault that is tested


def test_time_cannot_be_advanced_backwards() -> None:
    """Going back is what step is for."""
    with pytest.raises(ValueError, match=r"found -1 s; use step\(\)"):
        ManualClock().advance(-1)


def test_sleepers_wake_in_their_order() -> None:
    """Each sleeper sees the very moment it slept for, also one that goes to sleep on the way."""

    async def scenario() -> list[tuple[str, float]]:
        clock = ManualClock()
        start = clock.monotonic()
        woken: list[tuple[str, float]] = []

        async def sleeper(name: str, *naps: float) -> None:
            for nap in naps:
                await clock.sleep(nap)
                woken.append((name, clock.monotonic() - start))

        tasks = [asyncio.ensure_future(sleeper("a", 3, 3)), asyncio.ensure_future(sleeper("b", 5))]
        cancelled = asyncio.ensure_future(sleeper("c", 1))
        await clock.settle()
        cancelled.cancel()
        await clock.run_for(10)
        assert clock.monotonic() - start == 10
        assert all(task.done() for task in tasks)
        return woken

    assert asyncio.run(scenario()) == [("a", 3), ("b", 5), ("a", 6)]


def test_a_sleep_of_nothing_lets_others_run() -> None:
    """Zero seconds and less hand over once and return."""

    async def scenario() -> list[str]:
        seen: list[str] = []

        async def other() -> None:
            seen.append("other")

        task = asyncio.ensure_future(other())
        await ManualClock().sleep(0)
        seen.append("slept")
        await task
        return seen

    assert asyncio.run(scenario()) == ["other", "slept"]


def test_the_real_clock_counts_the_time_asleep() -> None:
    """On Linux, deadlines are measured by the clock that runs on while the machine is suspended."""
    clock: Clock = SystemClock()
    boot = time.clock_gettime(time.CLOCK_BOOTTIME)
    assert boot <= clock.monotonic() <= boot + 60
    assert abs(clock.now() - datetime.now(UTC)) < timedelta(seconds=60)
    asyncio.run(clock.sleep(-1))
