"""Schedules: what they cover, and subset decided exactly."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentid.api.names import load_zone
from agentid.api.permissions import ScheduleSpec
from agentid.errors import InputError
from agentid.policy import Schedule
from agentid.policy.schedule import _offsets

NOW = datetime(2026, 3, 1, 12, 34, 56, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
WEEK = 7 * 24 * 60


def schedule(zone: str, *windows: tuple[str, str, str]) -> Schedule:
    """A schedule of windows given as days ("Mon Tue"), start and end."""
    return Schedule.of(
        ScheduleSpec.model_validate(
            {
                "timeZone": zone,
                "windows": [
                    {"days": days.split(), "start": start, "end": end}
                    for days, start, end in windows
                ],
            }
        )
    )


OFFICE = ("Mon Tue Wed Thu Fri", "08:00", "17:00")
NIGHT = ("Fri Sun", "22:00", "06:00")


@pytest.mark.parametrize(
    ("windows", "instant", "covered"),
    [
        pytest.param([OFFICE], "2026-03-02T07:00Z", True, id="first-minute-in-winter"),
        pytest.param([OFFICE], "2026-03-02T06:59Z", False, id="minute-before-in-winter"),
        pytest.param([OFFICE], "2026-03-02T15:59:59Z", True, id="last-second"),
        pytest.param([OFFICE], "2026-03-02T16:00Z", False, id="end-does-not-count"),
        pytest.param([OFFICE], "2026-07-06T06:00Z", True, id="first-minute-in-summer"),
        pytest.param([OFFICE], "2026-03-07T10:00Z", False, id="saturday"),
        pytest.param([NIGHT], "2026-03-06T22:30Z", True, id="friday-night"),
        pytest.param([NIGHT], "2026-03-07T04:59Z", True, id="saturday-morning-belongs-to-friday"),
        pytest.param([NIGHT], "2026-03-07T05:00Z", False, id="saturday-six"),
        pytest.param([NIGHT], "2026-03-02T04:00Z", True, id="monday-morning-belongs-to-sunday"),
        pytest.param([NIGHT], "2026-03-03T04:00Z", False, id="tuesday-morning"),
        pytest.param([("Sun", "00:00", "24:00")], "2026-03-01T22:59Z", True, id="whole-day"),
        pytest.param([("Sun", "00:00", "24:00")], "2026-03-01T23:00Z", False, id="day-is-over"),
        pytest.param([("Sun", "02:00", "03:00")], "2026-03-29T01:00Z", False, id="hour-skipped"),
        pytest.param([("Sun", "02:00", "03:00")], "2026-10-25T00:30Z", True, id="hour-once"),
        pytest.param([("Sun", "02:00", "03:00")], "2026-10-25T01:30Z", True, id="hour-again"),
    ],
)
def test_covers(windows: list[tuple[str, str, str]], instant: str, covered: bool) -> None:  # noqa: FBT001
    """Windows are read on the clock of Berlin, summer time and wrapped midnights included."""
    assert schedule("Europe/Berlin", *windows).covers(datetime.fromisoformat(instant)) is covered


@pytest.mark.parametrize(
    ("own", "other", "gap"),
    [
        pytest.param(
            schedule("UTC", ("Mon", "09:00", "12:00")),
            schedule("UTC", ("Mon", "08:00", "13:00")),
            None,
            id="inside",
        ),
        pytest.param(
            schedule("UTC", ("Mon Sat", "09:00", "12:00")),
            schedule("UTC", OFFICE),
            "Sat 09:00 to Sat 12:00 UTC",
            id="a-day-too-many",
        ),
        pytest.param(
            schedule("UTC", ("Mon", "07:30", "17:00")),
            schedule("UTC", OFFICE),
            "Mon 07:30 to Mon 08:00 UTC",
            id="too-early",
        ),
        pytest.param(
            schedule("UTC", ("Sun", "20:00", "24:00")),
            schedule("UTC", ("Sun", "20:00", "23:00")),
            "Sun 23:00 to Sun 24:00 UTC",
            id="to-the-end-of-the-week",
        ),
        pytest.param(
            schedule("UTC", ("Mon", "00:00", "12:00"), ("Mon", "12:00", "24:00")),
            schedule("UTC", ("Mon", "00:00", "24:00")),
            None,
            id="two-windows-in-one",
        ),
        pytest.param(
            schedule("UTC", ("Sun", "23:00", "01:00")),
            schedule("UTC", ("Sun", "00:00", "24:00"), ("Mon", "00:00", "01:00")),
            None,
            id="wrapped-into-two-parts",
        ),
        pytest.param(
            schedule("Europe/Vienna", OFFICE),
            schedule("Europe/Berlin", OFFICE),
            None,
            id="zones-of-the-same-clock",
        ),
        pytest.param(
            schedule("UTC", ("Mon", "08:00", "15:00")),
            schedule("Europe/Berlin", ("Mon", "09:00", "17:00")),
            None,
            id="fits-in-winter-and-in-summer",
        ),
        pytest.param(
            schedule("UTC", ("Mon", "08:00", "16:00")),
            schedule("Europe/Berlin", ("Mon", "09:00", "17:00")),
            "Mon 15:00 to Mon 16:00 UTC",
            id="fits-in-winter-only",
        ),
        pytest.param(
            # From 8 to 29 March 2026 New York is in summer and Berlin is not: five hours, not six.
            schedule("America/New_York", ("Mon", "03:00", "04:00")),
            schedule("Europe/Berlin", ("Mon", "09:00", "10:00")),
            "Mon 03:00 to Mon 04:00 America/New_York",
            id="three-weeks-a-year-apart",
        ),
        pytest.param(
            # Both change their clocks at 01:00 UTC on the same Sundays.
            schedule("Europe/Lisbon", OFFICE),
            schedule("Europe/Berlin", ("Mon Tue Wed Thu Fri", "09:00", "18:00")),
            None,
            id="an-hour-apart-all-year",
        ),
        pytest.param(
            # Chicago follows New York an hour later, on a Sunday at night: no Monday is touched.
            schedule("America/Chicago", ("Mon", "08:00", "17:00")),
            schedule("America/New_York", ("Mon", "09:00", "18:00")),
            None,
            id="an-hour-of-difference-on-sundays-does-not-matter-on-mondays",
        ),
        pytest.param(
            # When clocks go back, New York reads 01:00 for a second time while Chicago still does.
            schedule("America/Chicago", ("Sun", "01:00", "24:00")),
            schedule("America/New_York", ("Sun", "02:00", "24:00"), ("Mon", "00:00", "01:00")),
            "Sun 01:00 to Sun 02:00 America/Chicago",
            id="an-hour-of-difference-on-one-sunday-does",
        ),
    ],
)
def test_gap(own: Schedule, other: Schedule, gap: str | None) -> None:
    """A schedule that is not inside another says where it first sticks out."""
    found = own.gap(other, now=NOW)
    assert (found.text if found else None) == gap


days = st.lists(
    st.sampled_from(["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]),
    min_size=1, max_size=7, unique=True,
).map(" ".join)  # fmt: skip
clock_times = st.builds("{:02}:{:02}".format, st.integers(0, 23), st.sampled_from([0, 15, 30, 59]))
windows = st.tuples(days, clock_times, clock_times | st.just("24:00")).filter(
    lambda w: w[1] != w[2]
)
ZONES = [
    "UTC",
    "Europe/Berlin",
    "Europe/Lisbon",
    "America/New_York",
    "America/Chicago",
    "Asia/Kolkata",
    "Australia/Lord_Howe",  # half an hour of summer time, on the southern side
    "Africa/Casablanca",  # winter time in Ramadan
    "Pacific/Kiritimati",  # fourteen hours ahead
    "Pacific/Pago_Pago",  # eleven behind
]
zones = st.sampled_from(ZONES)
schedules = st.builds(
    lambda zone, given: schedule(zone, *given), zones, st.lists(windows, min_size=1, max_size=4)
)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Schedule, Schedule]:
    """Two schedules, where the second is often only just wide enough, or just not."""
    own = draw(schedules)
    if draw(st.booleans()):
        return own, draw(schedules)
    zone = draw(zones)
    differences = {
        minutes_apart(own.time_zone, zone, NOW + timedelta(days=day)) for day in range(0, 366, 5)
    }
    kept = draw(st.sets(st.sampled_from(sorted(differences)), min_size=1))
    minutes = 0
    for minute in (n for n in range(WEEK) if own.minutes >> n & 1):
        for difference in kept:
            minutes |= 1 << (minute + difference) % WEEK
    return own, Schedule(zone, minutes)


def minutes_apart(one: str, two: str, instant: datetime) -> int:
    """How far the clock of the second zone is ahead of the first."""
    offsets = [instant.astimezone(load_zone(zone)).utcoffset() for zone in (one, two)]
    return (offsets[1] - offsets[0]) // MINUTE  # type: ignore[operator]


HORIZON_STARTS = [
    NOW,
    datetime(2026, 3, 8, 6, 30, tzinfo=UTC),  # half an hour before New York changes its clock
    datetime(2026, 10, 25, 0, 59, 30, tzinfo=UTC),  # half a minute before Europe does
]


def covers_by_wall_clock(of: Schedule, instant: datetime) -> bool:
    """The plain reading of a schedule, minute by minute."""
    local = instant.astimezone(load_zone(of.time_zone))
    return bool(of.minutes >> (local.weekday() * 1440 + local.hour * 60 + local.minute) & 1)


def offset_pairs(one: str, two: str, start: datetime) -> list[datetime]:
    """Hours of a coming year and more at which either zone is about to change its clock."""
    hours = [start + timedelta(hours=hour) for hour in range(400 * 24)]

    def both(instant: datetime) -> tuple[timedelta | None, timedelta | None]:
        return (
            instant.astimezone(load_zone(one)).utcoffset(),
            instant.astimezone(load_zone(two)).utcoffset(),
        )

    seen = [(hour, both(hour)) for hour in hours]
    return [start] + [before for (before, a), (_, b) in pairwise(seen) if a != b]


@settings(max_examples=60, deadline=None)
@given(pairs(), st.sampled_from(HORIZON_STARTS))
def test_subset_agrees_with_every_minute(pair: tuple[Schedule, Schedule], now: datetime) -> None:
    """Around every change of clocks of the year, looking at each minute gives the same answer."""
    own, other = pair
    start = now.replace(second=0, microsecond=0)
    inside = own.gap(other, now=now) is None
    counterexample = any(
        covers_by_wall_clock(own, instant) and not covers_by_wall_clock(other, instant)
        for change in offset_pairs(own.time_zone, other.time_zone, start)
        for instant in (max(start, change - timedelta(hours=1)) + n * MINUTE for n in range(WEEK))
        if instant < start + timedelta(days=400)
    )
    assert inside is not counterexample


# Zones come from the data that agentid ships: the machine's own may know other rules.
def reads_plainly(zone: str, given_windows: list[tuple[str, str, str]], instant: datetime) -> bool:
    """The windows as a person reads them: this day's, or yesterday's that wraps."""
    local = instant.astimezone(load_zone(zone))
    clock = f"{local:%H:%M}"
    today, yesterday = f"{local:%a}", f"{local - timedelta(days=1):%a}"
    return any(
        (today in days and start <= clock < end)
        if start < end
        else (today in days and clock >= start) or (yesterday in days and clock < end)
        for days, start, end in given_windows
    )


@given(
    zones,
    st.lists(windows, min_size=1, max_size=4),
    st.datetimes(datetime(2026, 1, 1), datetime(2028, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
)
def test_covers_what_a_person_reads(
    zone: str, given_windows: list[tuple[str, str, str]], instant: datetime
) -> None:
    """The minutes of the week say the same as the windows they were made of."""
    expected = reads_plainly(zone, given_windows, instant)
    assert schedule(zone, *given_windows).covers(instant) is expected


@pytest.mark.parametrize("zone", ZONES)
def test_changes_of_clocks_are_found_to_the_minute(zone: str) -> None:
    """Each stretch begins in the very minute in which the offset becomes another."""
    loaded = load_zone(zone)
    (_, first), *changes = _offsets(zone, NOW.replace(hour=0, minute=0, second=0))
    before = first
    for at, offset in changes:
        assert (at - MINUTE).astimezone(loaded).utcoffset() == timedelta(minutes=before)
        assert at.astimezone(loaded).utcoffset() == timedelta(minutes=offset)
        before = offset


@given(schedules, schedules)
def test_union_holds_both_parts(one: Schedule, two: Schedule) -> None:
    """Within one zone a schedule lies inside every union that it is part of."""
    union = Schedule(one.time_zone, one.minutes | two.minutes)
    assert one.gap(union, now=NOW) is None
    assert Schedule(one.time_zone, two.minutes).gap(union, now=NOW) is None


@given(schedules)
def test_json_round_trip(original: Schedule) -> None:
    """What is written is read back, and the same minutes make the same text."""
    assert Schedule.from_json(original.to_json()) == original


def test_repr_is_readable() -> None:
    """A failed assertion or a log line shows windows, not bits."""
    assert repr(schedule("UTC", NIGHT)) == (
        "Schedule(UTC, Mon 00:00/Mon 06:00, Fri 22:00/Sat 06:00, Sun 22:00/Sun 24:00)"
    )


def test_json_is_canonical_and_readable() -> None:
    """Two spellings of one week are one text, which an auditor can read."""
    one = schedule("UTC", ("Mon", "08:00", "12:00"), ("Mon", "12:00", "17:00"), NIGHT)
    two = schedule("UTC", ("Sun Fri", "22:00", "06:00"), ("Mon", "08:00", "17:00"))
    assert one == two
    assert one.to_json() == {
        "timeZone": "UTC",
        "windows": [
            "Mon 00:00/Mon 06:00",
            "Mon 08:00/Mon 17:00",
            "Fri 22:00/Sat 06:00",
            "Sun 22:00/Sun 24:00",
        ],
    }


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param(None, "is not an object of timeZone and windows", id="null"),
        pytest.param({"timeZone": "UTC"}, "is not an object of timeZone", id="no-windows"),
        pytest.param(
            {"timeZone": "Mars/Base", "windows": []}, "is not a time zone", id="unknown-zone"
        ),
        pytest.param({"timeZone": "UTC", "windows": [7]}, "is not written as Mon", id="number"),
        pytest.param(
            {"timeZone": "UTC", "windows": ["Mon 08:00/Xyz 09:00"]}, "is not written as", id="day"
        ),
        pytest.param(
            {"timeZone": "UTC", "windows": ["Tue 08:00/Mon 09:00"]}, "is not written", id="backward"
        ),
        pytest.param(
            {"timeZone": "UTC", "windows": ["Sun 08:00/Sun 25:00"]}, "is not written", id="too-late"
        ),
    ],
)
def test_refuses_other_json(data: object, message: str) -> None:
    """A damaged record is told, not guessed."""
    with pytest.raises(InputError, match=message):
        Schedule.from_json(data)
