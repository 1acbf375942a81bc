"""The time by which records are dropped."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from agentid.ledger.trusted_time import TrustedTime
from agentid.testing.clock import ManualClock
from agentid.testing.ledger import NOON

HOUR = timedelta(hours=1)


def test_unknown_until_something_was_stored(clock: ManualClock) -> None:
    """With nothing to compare with, no time is trusted."""
    time = TrustedTime(clock)
    assert time.now() is None
    time.seen(None, just_now=True)
    assert time.now() is None
    time.stored(None)
    assert time.now() == NOON


def test_it_follows_two_clocks_that_agree(clock: ManualClock) -> None:
    """An hour later it is an hour later."""
    time = TrustedTime(clock)
    time.stored(NOON)
    clock.advance(HOUR)
    assert time.now() == NOON + HOUR


def test_the_earlier_clock_counts(clock: ManualClock) -> None:
    """Whichever it is."""
    time = TrustedTime(clock)
    time.stored(NOON - HOUR)
    assert time.now() == NOON - HOUR
    time.stored(NOON + HOUR)
    clock.advance(3 * HOUR)
    assert time.now() == NOON + 3 * HOUR


def test_a_clock_set_forward_is_not_believed(clock: ManualClock) -> None:
    """Neither ours alone, nor both: within a minute it gains a minute, and setting back undoes."""
    time = TrustedTime(clock)
    time.stored(NOON)
    clock.step(HOUR)
    assert time.now() == NOON
    time.stored(NOON + HOUR)
    clock.advance(60)
    assert time.now() == NOON + timedelta(minutes=2)
    clock.step(-HOUR)
    assert time.now() == NOON + timedelta(minutes=1)


def test_a_clock_rightly_set_forward_is_believed_in_time(clock: ManualClock) -> None:
    """An hour ahead is caught up with within an hour."""
    time = TrustedTime(clock)
    time.seen(NOON, just_now=True)
    clock.step(HOUR)
    time.stored(NOON + HOUR)
    clock.advance(HOUR)
    assert time.now() == clock.now() == NOON + 2 * HOUR


def test_old_objects_tell_how_late_it_is_at_least(clock: ManualClock) -> None:
    """The newest of them does; the first thing that is stored now tells how late it is."""
    time = TrustedTime(clock)
    time.seen(NOON - 5 * HOUR, just_now=False)
    assert time.now() == NOON - 5 * HOUR
    time.seen(NOON - 2 * HOUR, just_now=False)
    time.seen(NOON - 3 * HOUR, just_now=False)
    assert time.now() == NOON - 2 * HOUR
    time.seen(NOON, just_now=True)
    assert time.now() == NOON


@given(
    st.lists(st.tuples(st.sampled_from("astw"), st.integers(-7200, 7200)), min_size=1, max_size=20)
)
def test_it_never_runs_ahead(steps: list[tuple[str, int]]) -> None:
    """Never later than our clock, never faster than twice the monotonic one."""
    clock = ManualClock()
    time = TrustedTime(clock)
    time.stored(NOON)
    before, at = time.now(), clock.monotonic()
    for kind, seconds in steps:
        match kind:
            case "a":
                clock.advance(abs(seconds))
            case "s":
                clock.step(timedelta(seconds=seconds))
            case "t":
                time.stored(clock.now() + timedelta(seconds=seconds))
            case _:
                time.seen(clock.now() + timedelta(seconds=seconds), just_now=seconds % 2 == 0)
        now = time.now()
        assert now is not None
        assert before is not None
        assert now <= clock.now()
        assert (now - before).total_seconds() <= 2 * (clock.monotonic() - at) + 1e-6
        before, at = now, clock.monotonic()
