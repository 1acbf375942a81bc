"""Times and numbers in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["ago_or_in", "counted", "moment", "span"]

_UNITS: Final = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def span(seconds: float) -> str:
    """A length of time in its two largest units, such as `2 h 5 min`."""
    left = int(abs(seconds))
    for at, (size, unit) in enumerate(_UNITS):
        if left < size:
            continue
        whole, rest = divmod(left, size)
        more = _UNITS[at + 1] if at + 1 < len(_UNITS) else None
        if more is not None and rest >= more[0] and whole < _ALONE:
            return f"{whole} {unit} {rest // more[0]} {more[1]}"
        return f"{whole} {unit}"
    return "0 s"


_ALONE: Final = 10
"""Beside so many of a unit the next smaller one is noise."""


def ago_or_in(instant: datetime, now: datetime) -> str:
    """How far a moment is away, such as `in 5 min` or `5 min ago`."""
    seconds = (instant - now).total_seconds()
    return f"in {span(seconds)}" if seconds >= 0 else f"{span(seconds)} ago"


def moment(instant: datetime) -> str:
    """A moment in UTC, such as `2026-11-25 14:30:05 UTC`."""
    return instant.strftime("%Y-%m-%d %H:%M:%S UTC")


def counted(number: int, one: str, many: str = "") -> str:
    """A number with its noun, such as `1 agent` or `12,000 agents`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
