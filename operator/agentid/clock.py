"""Where time comes from.

Whoever needs the time is handed a `Clock`; nothing else in the package reads one. `SystemClock` is
the real one, `agentid.testing.clock.ManualClock` the one for tests.
"""

from __future__ import annotations

import asyncio
import sys
import time
from datetime import UTC, datetime
from typing import Protocol

__all__ = ["Clock", "SystemClock"]


class Clock(Protocol):
    """Two readings and a way to wait.

    `now` is for what is written down or compared with something written down; an administrator or
    NTP may move it either way. `monotonic` is for measuring how long something took, and for
    deadlines of one's own; it never goes back.
    """

    def now(self) -> datetime:
        """Return the wall-clock time, aware, in UTC."""

    def monotonic(self) -> float:
        """Return seconds from an arbitrary start; they also pass while the machine sleeps."""

    async def sleep(self, seconds: float) -> None:
        """Return after so many seconds at the earliest; zero or less lets others run once."""


class SystemClock:
    """The clock of the machine.

    `monotonic` reads CLOCK_BOOTTIME where there is one (Linux). CLOCK_MONOTONIC stands still while
    a machine is suspended; a leader that slept through its Lease would still believe in it.
    `sleep` counts in the event loop's time, which may stand still meanwhile: whoever waits for a
    moment has to look at the clock again once awake.
    """

    def now(self) -> datetime:
        """Return the wall-clock time, aware, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds since boot, suspension included where the system can tell."""
        if sys.platform == "linux":
            return time.clock_gettime(time.CLOCK_BOOTTIME)
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Return after so many seconds at the earliest."""
        await asyncio.sleep(max(seconds, 0.0))
