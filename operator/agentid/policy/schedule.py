"""Weekly windows in a time zone, and whether one schedule lies within another.

A week has 10,080 minutes, so a set of weekly minutes is an integer of as many bits: bit 0 is Monday
00:00 on the clock of the zone. Union, difference and shift are then exact and take microseconds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from agentid.api.names import load_zone
from agentid.api.vocabulary import Weekday
from agentid.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from zoneinfo import ZoneInfo

    from agentid.api.permissions import ScheduleSpec

__all__ = ["HORIZON", "Gap", "Schedule"]

HORIZON: Final = timedelta(days=400)
"""How far ahead two schedules of different zones are compared: every change of clocks of a year
and some days. Certificates live for a day at most and are judged anew for each; the year makes the
verdict one that does not turn with the season."""

_DAY: Final = 24 * 60
_WEEK: Final = 7 * _DAY
_ALWAYS: Final = (1 << _WEEK) - 1
_MINUTE: Final = timedelta(minutes=1)
_DAYS: Final = tuple(Weekday)
_RUN: Final = re.compile(r"([A-Z][a-z]{2}) (\d\d):(\d\d)/([A-Z][a-z]{2}) (\d\d):(\d\d)", re.ASCII)


def _span(start: int, length: int) -> int:
    """The minutes of the week from `start` on, going on at Monday when Sunday is over."""
    return _shifted((1 << length) - 1, start)


def _shifted(minutes: int, by: int) -> int:
    """Move every minute later, around the end of the week; `by` may be negative."""
    by %= _WEEK
    return ((minutes << by) | (minutes >> (_WEEK - by))) & _ALWAYS


def _minute_of_day(text: str) -> int:
    hours, minutes = text.split(":")
    return int(hours) * 60 + int(minutes)


def _runs(minutes: int) -> Iterator[tuple[int, int]]:
    """The maximal runs of a set, as (first minute, minute after the last), ascending."""
    position = 0
    while rest := minutes >> position:
        first = position + (rest & -rest).bit_length() - 1
        # The lowest zero above `first` ends the run.
        ones = minutes >> first
        position = first + (~ones & (ones + 1)).bit_length() - 1
        yield first, position


def _clock(minute: int, *, ends: bool = False) -> str:
    """Write a minute of the week as `Mon 08:00`; the end of a day as its own 24:00."""
    day, rest = divmod(minute - ends, _DAY)
    hours, minutes = divmod(rest + ends, 60)
    return f"{_DAYS[day]} {hours:02}:{minutes:02}"


def _whole_minutes(offset: timedelta | None) -> int:
    # Offsets with seconds are history: the last one went in 1972 (Liberia).
    return (offset or timedelta(0)) // _MINUTE


@lru_cache(maxsize=256)
def _offsets(zone: str, first_day: datetime) -> tuple[tuple[datetime, int], ...]:
    """The offsets from UTC of a zone over the horizon, each with the instant it begins.

    Looks once a day and closes in on the minute where two looks differ. No zone changes its clock
    to and fro within a day.
    """
    loaded = load_zone(zone)
    found = [(first_day, _offset(loaded, first_day))]
    for day in range(HORIZON.days + 2):
        before, after = first_day + timedelta(days=day), first_day + timedelta(days=day + 1)
        wanted = _offset(loaded, after)
        if wanted == _offset(loaded, before):
            continue
        while after - before > _MINUTE:
            middle = before + (after - before) // _MINUTE // 2 * _MINUTE
            if _offset(loaded, middle) == wanted:
                after = middle
            else:
                before = middle
        found.append((after, wanted))
    return tuple(found)


def _offset(zone: ZoneInfo, instant: datetime) -> int:
    return _whole_minutes(instant.astimezone(zone).utcoffset())


@dataclass(frozen=True, slots=True)
class Gap:
    """Time that one schedule covers and another does not.

    Attributes:
        text: The first such span, on the clock of the covering schedule: `Sat 09:00 to Sat 17:00`.
    """

    text: str


@dataclass(frozen=True, slots=True)
class Schedule:
    """When permissions hold.

    Attributes:
        time_zone: A zone of the IANA database.
        minutes: The minutes of the week on that zone's clock, bit 0 is Monday 00:00.
    """

    time_zone: str
    minutes: int

    @classmethod
    def of(cls, spec: ScheduleSpec) -> Schedule:
        """Make the value of a parsed spec. A window that ends at or before its start wraps."""
        minutes = 0
        for window in spec.windows:
            start, end = _minute_of_day(window.start), _minute_of_day(window.end)
            length = end - start if end > start else end - start + _DAY
            for day in window.days:
                minutes |= _span(_DAYS.index(day) * _DAY + start, length)
        return cls(spec.time_zone, minutes)

    @classmethod
    def from_json(cls, data: object) -> Schedule:
        """Read what `to_json` writes.

        Raises:
            InputError: It is something else.
        """
        match data:
            case {"timeZone": str(zone), "windows": [*windows]}:
                load_zone(zone)
                minutes = 0
                for text in windows:
                    first, last = _parse_run(text)
                    minutes |= _span(first, last - first)
                return cls(zone, minutes)
            case _:
                msg = "schedule: is not an object of timeZone and windows"
                raise InputError(msg)

    def to_json(self) -> dict[str, object]:
        """Write it canonically: the same minutes of the week make the same text."""
        return {"timeZone": self.time_zone, "windows": self._windows()}

    def __repr__(self) -> str:
        """The windows, since ten thousand bits say nothing to a reader."""
        return f"Schedule({', '.join((self.time_zone, *self._windows()))})"

    def __str__(self) -> str:
        """The windows and the zone, for people."""
        return f"{', '.join(self._windows())}; {self.time_zone}"

    def _windows(self) -> list[str]:
        return [f"{_clock(a)}/{_clock(b, ends=True)}" for a, b in _runs(self.minutes)]

    @property
    def windows(self) -> tuple[tuple[int, int], ...]:
        """The windows in minutes of the week: the first, and the one after the last; ascending."""
        return tuple(_runs(self.minutes))

    def covers(self, instant: datetime) -> bool:
        """Whether permissions hold at an instant, which has to be aware."""
        local = instant.astimezone(load_zone(self.time_zone))
        minute = local.weekday() * _DAY + local.hour * 60 + local.minute
        return bool(self.minutes >> minute & 1)

    def gap(self, other: Schedule, *, now: datetime) -> Gap | None:
        """Find time that this schedule covers and the other does not.

        Within one zone the weeks are compared, which holds for all times. Between two zones every
        stretch of the coming `HORIZON` is looked at in which neither changes its clock, so that
        the answer is exact for every minute of it.

        Args:
            other: The schedule that may be wider.
            now: The start of the horizon, aware.

        Returns:
            The first gap, None if this schedule lies within the other.
        """
        if self.time_zone == other.time_zone:
            return self._described(self.minutes & ~other.minutes)
        start = now.astimezone(UTC).replace(second=0, microsecond=0)
        for begin, end, own, others in _stretches(self.time_zone, other.time_zone, start):
            length = (end - begin) // _MINUTE
            missing = self.minutes & ~_shifted(other.minutes, own - others)
            if length < _WEEK:
                local = (begin + own * _MINUTE).replace(tzinfo=None)
                first = local.weekday() * _DAY + local.hour * 60 + local.minute
                missing &= _span(first, length)
            if missing:
                return self._described(missing)
        return None

    def _described(self, missing: int) -> Gap | None:
        for first, last in _runs(missing):
            return Gap(f"{_clock(first)} to {_clock(last, ends=True)} {self.time_zone}")
        return None


def _parse_run(text: object) -> tuple[int, int]:
    match = _RUN.fullmatch(text) if isinstance(text, str) else None
    if match is not None and match[1] in _DAYS and match[4] in _DAYS:
        first, last = (
            _DAYS.index(Weekday(match[at])) * _DAY + int(match[at + 1]) * 60 + int(match[at + 2])
            for at in (1, 4)
        )
        if first < last <= _WEEK:
            return first, last
    msg = "schedule: a window is not written as Mon 08:00/Mon 17:00"
    raise InputError(msg)


def _stretches(
    zone: str, other: str, start: datetime
) -> Iterator[tuple[datetime, datetime, int, int]]:
    """Cut the horizon where either zone changes its clock: begin, end and the two offsets."""
    day = start.replace(hour=0, minute=0)
    end = start + HORIZON
    own, others = _offsets(zone, day), _offsets(other, day)
    cuts = sorted({start, end, *(at for at, _ in own + others if start < at < end)})
    for begin, until in pairwise(cuts):
        yield begin, until, _in_force(own, begin), _in_force(others, begin)


def _in_force(offsets: tuple[tuple[datetime, int], ...], instant: datetime) -> int:
    return next(offset for at, offset in reversed(offsets) if at <= instant)
