"""Durations in Go's notation."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentid.api.duration import MAX_DURATION_LENGTH, format_duration, parse_duration
from agentid.errors import InputError

YEARS_292 = timedelta(days=292 * 365)
"""What CEL's duration can hold, rounded down."""


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        pytest.param("1h30m", timedelta(minutes=90), id="hours-and-minutes"),
        pytest.param("90m", timedelta(minutes=90), id="more-minutes-than-an-hour"),
        pytest.param("1h0m5s", timedelta(hours=1, seconds=5), id="all-units"),
        pytest.param("1h5s", timedelta(hours=1, seconds=5), id="a-unit-left-out"),
        pytest.param("0s", timedelta(0), id="zero"),
        pytest.param("0h0m0s", timedelta(0), id="zero-at-length"),
        pytest.param("876000h", timedelta(days=36500), id="a-hundred-years"),
    ],
)
def test_reads_hours_minutes_and_seconds(text: str, duration: timedelta) -> None:
    """Each unit may be left out, and no unit is bounded by the next."""
    assert parse_duration(text) == duration


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("-1h", id="negative"),
        pytest.param("+1h", id="signed"),
        pytest.param("1", id="no-unit"),
        pytest.param("h", id="no-number"),
        pytest.param("1.5h", id="fraction"),
        pytest.param("1d", id="days"),
        pytest.param("100y", id="years"),
        pytest.param("500ms", id="milliseconds"),
        pytest.param("5s1h", id="wrong-order"),
        pytest.param("1h1h", id="unit-twice"),
        pytest.param(" 1h", id="space-before"),
        pytest.param("1h\n", id="line-break-behind"),
        pytest.param("\u0661h", id="arabic-digit"),
        pytest.param("\uff11h", id="full-width-digit"),
        pytest.param("PT1H", id="iso-8601"),
        pytest.param("1H", id="upper-case"),
        pytest.param("1234567h", id="more-digits-than-cel-can-hold"),
        pytest.param("9" * 5000 + "s", id="endless-digits"),
    ],
)
def test_refuses_everything_else(text: str) -> None:
    """What Go would read differently, or CEL not at all, is no duration."""
    with pytest.raises(InputError, match=r"is not a duration; write whole hours, minutes"):
        parse_duration(text)


@given(st.integers(0, 10**9))
def test_writes_what_it_reads(seconds: int) -> None:
    """Every duration of whole seconds survives being written and read."""
    duration = timedelta(seconds=seconds)
    text = format_duration(duration)
    if seconds < 999_999 * 3600:
        assert parse_duration(text) == duration


def test_longest_text_stays_within_the_bound_and_within_cel() -> None:
    """The greatest numbers that match fit into maxLength and into CEL's 64 bits of nanoseconds."""
    longest = "999999h9999999m999999999s"
    assert len(longest) == MAX_DURATION_LENGTH
    assert parse_duration(longest) < YEARS_292
