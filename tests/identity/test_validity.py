"""Validity periods, RFC 5280 §4.1.2.5."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentid.errors import InputError
from agentid.identity import Validity

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)

instants = st.datetimes(
    datetime(1960, 1, 1),  # noqa: DTZ001 - the strategy adds the zone
    datetime(2200, 1, 1),  # noqa: DTZ001
    timezones=st.just(UTC),
)
lifetimes = st.timedeltas(SECOND, timedelta(days=36500))
backdates = st.timedeltas(timedelta(0), timedelta(days=1))


def test_both_ends_count() -> None:
    """An hour from noon, a minute back-dated: the last second is 12:59:59."""
    validity = Validity.of(NOON, HOUR, MINUTE)
    assert validity.not_before == NOON - MINUTE
    assert validity.not_after == NOON + HOUR - SECOND
    assert validity.lifetime == HOUR + MINUTE


@given(instants, lifetimes, backdates)
def test_it_serves_for_the_whole_lifetime_and_not_longer(
    now: datetime, lifetime: timedelta, backdate: timedelta
) -> None:
    """It holds now, holds until the lifetime is over, and never a second beyond it."""
    validity = Validity.of(now, lifetime, backdate)
    present = now.replace(microsecond=0)
    whole = timedelta(seconds=lifetime // SECOND)
    assert validity.contains(now)
    assert validity.contains(present + whole - timedelta(microseconds=1))
    assert not validity.contains(present + whole)
    assert validity.not_after - present < lifetime
    assert validity.not_before.microsecond == validity.not_after.microsecond == 0


@given(instants, lifetimes, st.timedeltas(timedelta(0), timedelta(days=36500)))
def test_it_never_reaches_beyond_the_limit(
    now: datetime, lifetime: timedelta, remaining: timedelta
) -> None:
    """Given the end of the chain, it is cut there and nowhere else."""
    limit = (now + remaining).replace(microsecond=0)
    validity = Validity.of(now, lifetime, MINUTE, limit)
    assert validity.not_after == min(limit, Validity.of(now, lifetime, MINUTE).not_after)


def test_nothing_is_left_after_the_limit() -> None:
    """A chain that has ended gives no validity; the message says what to renew."""
    with pytest.raises(InputError, match=r"nothing may be valid beyond .*renew the authority"):
        Validity.of(NOON, HOUR, MINUTE, NOON - SECOND)


def test_the_last_second_of_the_limit_still_serves() -> None:
    """A chain that ends in this very second gives one second, since its end counts."""
    validity = Validity.of(NOON, HOUR, timedelta(0), NOON)
    assert (validity.not_before, validity.not_after) == (NOON, NOON)
    assert validity.lifetime == SECOND


@pytest.mark.parametrize(
    ("lifetime", "backdate", "message"),
    [
        pytest.param(timedelta(0), MINUTE, "lifetime of 0:00:00 was asked for", id="zero"),
        pytest.param(-HOUR, MINUTE, "at least one second", id="negative"),
        pytest.param(timedelta(milliseconds=999), MINUTE, "at least one second", id="sub-second"),
        pytest.param(timedelta(days=365 * 9000), MINUTE, "after the year 9999", id="9000-years"),
        pytest.param(HOUR, -MINUTE, "must not be negative", id="backdate-negative"),
        pytest.param(HOUR, timedelta(days=365 * 100), "before 1950", id="backdate-a-century"),
    ],
)
def test_impossible_periods_are_refused(
    lifetime: timedelta, backdate: timedelta, message: str
) -> None:
    """Each refusal says what was asked for and what is possible."""
    with pytest.raises(InputError, match=message):
        Validity.of(NOON, lifetime, backdate)


@pytest.mark.parametrize(
    ("not_before", "not_after", "message"),
    [
        pytest.param(NOON.replace(tzinfo=None), NOON, "must be UTC in whole seconds", id="naive"),
        pytest.param(
            NOON.astimezone(timezone(HOUR)), NOON, "must be UTC in whole seconds", id="other-zone"
        ),
        pytest.param(
            NOON, NOON.replace(microsecond=1), "notAfter .* whole seconds", id="microseconds"
        ),
        pytest.param(NOON, NOON - SECOND, "before it begins", id="backwards"),
        pytest.param(NOON.replace(year=1949), NOON, "before 1950", id="before-1950"),
    ],
)
def test_ends_that_cannot_stand_in_a_certificate_are_refused(
    not_before: datetime, not_after: datetime, message: str
) -> None:
    """The constructor checks as well as the parser."""
    with pytest.raises(InputError, match=message):
        Validity(not_before, not_after)


def test_a_present_in_another_zone_is_converted() -> None:
    """Only the instant counts."""
    there = NOON.astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert Validity.of(there, HOUR, MINUTE) == Validity.of(NOON, HOUR, MINUTE)


def test_a_present_without_zone_is_refused() -> None:
    """A naive time is nobody's."""
    with pytest.raises(InputError, match="without a time zone"):
        Validity.of(NOON.replace(tzinfo=None), HOUR, MINUTE)


@given(instants, instants, instants, instants)
def test_within_means_no_instant_outside(
    a: datetime, b: datetime, c: datetime, d: datetime
) -> None:
    """One period is within another exactly when both its ends are contained in it."""
    inner = Validity(*sorted(end.replace(microsecond=0) for end in (a, b)))
    outer = Validity(*sorted(end.replace(microsecond=0) for end in (c, d)))
    assert inner.within(outer) == (
        outer.contains(inner.not_before) and outer.contains(inner.not_after)
    )


def test_text_is_rfc_3339() -> None:
    """As Kubernetes writes times."""
    assert str(Validity.of(NOON, HOUR, MINUTE)) == "2026-11-01T11:59:00Z to 2026-11-01T12:59:59Z"
