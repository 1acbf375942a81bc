"""The times of an answer, held against the API server's rules as its sources have them."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from agentid.identity import Validity
from agentid.issuers import BACKDATE
from agentid.signer.timing import LEAST, lifetime_within, refresh_within, total
from agentid.testing.ca import NOON

SECOND = timedelta(seconds=1)
MINUTES = timedelta(minutes=10)
lifetimes = st.integers(3600, 7_862_400).map(lambda seconds: timedelta(seconds=seconds))


@given(granted=lifetimes, longest=lifetimes)
def test_a_certificate_is_as_long_as_may_be(granted: timedelta, longest: timedelta) -> None:
    """It keeps to both limits, reaches one of them, and is never below an hour."""
    lifetime = lifetime_within(granted, longest)
    validity = Validity.of(NOON, lifetime, BACKDATE)
    assert LEAST <= total(validity) <= longest
    assert validity.not_after < NOON + granted
    assert total(validity) == longest or validity.not_after == NOON + granted - SECOND


@given(
    granted=lifetimes,
    due=st.integers(-7200, 9_000_000).map(lambda seconds: NOON + timedelta(seconds=seconds)),
)
def test_the_refresh_is_within_its_window(granted: timedelta, due: object) -> None:
    """It is when it is due, or as near to it as the API server takes."""
    validity = Validity.of(NOON, lifetime_within(granted, granted), BACKDATE)
    at = refresh_within(validity, due)  # type: ignore[arg-type]
    assert validity.not_before + MINUTES <= at <= validity.not_after - MINUTES
    assert at == due or at in {validity.not_before + MINUTES, validity.not_after - MINUTES}
