"""Durations as the API spells them: Go's notation in whole hours, minutes and seconds."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final

from agentid.api.violation import shown
from agentid.errors import InputError

__all__ = ["DURATION_PATTERN", "MAX_DURATION_LENGTH", "format_duration", "parse_duration"]

# 999999h + 9999999m + 999999999s is about 164 years. CEL's duration() holds 292 years in its 64
# bits of nanoseconds: every text that matches can be compared there without an overflow.
DURATION_PATTERN: Final = (
    "[0-9]{1,6}h([0-9]{1,7}m)?([0-9]{1,9}s)?|[0-9]{1,7}m([0-9]{1,9}s)?|[0-9]{1,9}s"
)

MAX_DURATION_LENGTH: Final = 25
"""The longest text that `DURATION_PATTERN` matches: 7 + 8 + 10 characters."""

_DURATION: Final = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", re.ASCII)


def parse_duration(text: str) -> timedelta:
    """Read a duration such as `1h30m`.

    Args:
        text: Hours, minutes and seconds in this order, each optional, at least one given.

    Returns:
        The duration in whole seconds, zero or positive.

    Raises:
        InputError: The text is not such a duration.
    """
    if re.fullmatch(DURATION_PATTERN, text) is None or (match := _DURATION.fullmatch(text)) is None:
        msg = (
            f"{shown(text)} is not a duration; "
            "write whole hours, minutes and seconds such as 1h30m, 45m or 90s"
        )
        raise InputError(msg)
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return timedelta(hours=hours, minutes=minutes, seconds=seconds)


def format_duration(duration: timedelta) -> str:
    """Write a duration the way `parse_duration` reads it, largest unit first, zero as `0s`.

    Args:
        duration: Zero or positive; a fraction of a second is dropped.
    """
    total = int(duration.total_seconds())
    hours, rest = divmod(total, 3600)
    minutes, seconds = divmod(rest, 60)
    parts = ((hours, "h"), (minutes, "m"), (seconds, "s"))
    return "".join(f"{count}{unit}" for count, unit in parts if count) or "0s"
