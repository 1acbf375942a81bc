"""Renewal times are inside the validity, early enough and spread out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentid.identity import Validity
from agentid.policy import renewal_time

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)


def lasting(seconds: int) -> Validity:
    """A validity of so many seconds between its ends."""
    return Validity(START, START + seconds * SECOND)


seeds = st.binary(min_size=1, max_size=40)
wishes = st.none() | st.integers(1, 2 * 86400).map(lambda seconds: seconds * SECOND)


@given(st.integers(2, 10 * 365 * 86400), wishes, seeds)
def test_strictly_inside_the_validity(seconds: int, before: timedelta | None, seed: bytes) -> None:
    """Whatever is asked for, a renewal comes after the beginning and before the end."""
    validity = lasting(seconds)
    due = renewal_time(validity, before, seed)
    assert validity.not_before < due < validity.not_after
    assert due.microsecond == 0


@pytest.mark.parametrize("seconds", [0, 1])
def test_validity_without_an_inside_renews_at_its_beginning(seconds: int) -> None:
    """There is no second in between, so there is nothing to wait for."""
    assert renewal_time(lasting(seconds), None, b"seed") == START


@given(st.integers(60, 10**8), seeds)
def test_default_is_two_thirds_less_a_tenth_of_jitter(seconds: int, seed: bytes) -> None:
    """The last third is never touched, and jitter takes at most a tenth of the lifetime."""
    waited = (renewal_time(lasting(seconds), None, seed) - START) // SECOND
    latest = seconds - (seconds + 1) // 3
    assert latest - seconds // 10 <= waited <= latest


@given(st.integers(60, 10**8), st.integers(1, 10**8), seeds)
def test_asked_for_is_kept_up_to_three_quarters(seconds: int, before: int, seed: bytes) -> None:
    """RenewBefore is a promise of time left; only jitter adds to it."""
    due = renewal_time(lasting(seconds), before * SECOND, seed)
    left = (START + seconds * SECOND - due) // SECOND
    if before * 4 <= (seconds + 1) * 3:
        assert before <= left <= before + seconds // 10
    else:
        assert left >= seconds // 3


@pytest.mark.parametrize("lifetime", [timedelta(minutes=1), timedelta(minutes=5), 8 * HOUR])
def test_three_quarters_of_a_lifetime_are_kept(lifetime: timedelta) -> None:
    """The most that a class may ask for is what its certificates have."""
    before = lifetime * 3 / 4
    validity = Validity.of(START, lifetime, timedelta(0))
    for n in range(100):
        left = validity.not_after - renewal_time(validity, before, f"uid-{n}".encode())
        assert before <= left <= before + lifetime / 10


@given(st.integers(120, 10**6), wishes, seeds)
def test_same_seed_same_time(seconds: int, before: timedelta | None, seed: bytes) -> None:
    """Looking again does not move the time."""
    assert renewal_time(lasting(seconds), before, seed) == renewal_time(
        lasting(seconds), before, seed
    )


def test_jitter_spreads_a_herd_evenly() -> None:
    """A thousand certificates of one moment fill the whole tenth, none of its parts empty."""
    tenth = 86400 // 10
    due = [renewal_time(lasting(86400), None, f"uid-{n}".encode()) for n in range(1000)]
    waits = [(each - START) // SECOND - (86400 * 2 // 3 - tenth) for each in due]
    buckets = [sum(1 for wait in waits if wait * 10 // tenth == part) for part in range(10)]
    assert all(60 <= count <= 140 for count in buckets), buckets


@pytest.mark.parametrize(
    "before", [pytest.param(HOUR, id="equal"), pytest.param(timedelta(minutes=59), id="nearly")]
)
def test_lifetime_that_a_tier_has_cut_falls_back_to_a_third(before: timedelta) -> None:
    """A renewBefore meant for a longer lifetime does not renew without end."""
    due = renewal_time(lasting(3600), before, b"seed")
    assert due >= START + timedelta(minutes=34)


@pytest.mark.parametrize("before", [None, timedelta(seconds=45)])
def test_shortest_lifetime_is_not_due_when_it_is_issued(before: timedelta | None) -> None:
    """A minute, back-dated by another and renewed as early as a class may ask, still waits."""
    issued = START
    validity = Validity.of(issued, timedelta(minutes=1), timedelta(minutes=1))
    for n in range(500):
        assert renewal_time(validity, before, f"uid-{n}".encode()) > issued
