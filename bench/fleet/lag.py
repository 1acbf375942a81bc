"""How late event loops were: those of operator and webhook as they say, and our own.

A client that is late itself sees everything late.
"""

from __future__ import annotations

import asyncio
import math
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tests.support.probing import metric

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

__all__ = ["Lag", "lagging"]

_EVERY: Final = 1.0
"""Seconds between two looks, each of which costs the process some milliseconds."""

_OWN: Final = 0.1
"""Seconds between two looks at our own."""


@dataclass(slots=True)
class Lag:
    """Of one process.

    Attributes:
        worst: Seconds at most, of those looks that were answered.
        looks: How many were answered.
        silent: How many were not, in five seconds.
    """

    worst: float = 0.0
    looks: int = 0
    silent: int = 0

    def take(self, seconds: float) -> None:
        """Take in one look; no number stands for one that was not answered."""
        if math.isnan(seconds):
            self.silent += 1
        else:
            self.looks += 1
            self.worst = max(self.worst, seconds)


async def _follow(lag: Lag, port: int, gauge: str) -> None:
    while True:
        try:
            seconds = await asyncio.to_thread(metric, port, gauge)
        except OSError:  # such as a time-out in the middle of the answer
            seconds = math.nan
        lag.take(seconds)
        await asyncio.sleep(_EVERY)


async def _follow_own(lag: Lag) -> None:
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + _OWN
        await asyncio.sleep(_OWN)
        lag.take(loop.time() - due)


@asynccontextmanager
async def lagging(gauges: Mapping[str, tuple[int, str]]) -> AsyncIterator[Mapping[str, Lag]]:
    """Look while the context is open.

    Args:
        gauges: Port of the metrics, and name of the gauge, by process.

    Yields:
        By process what was found so far.
    """
    own = Lag()
    found = {"this client": own, **{name: Lag() for name in gauges}}
    work = [_follow(found[name], port, gauge) for name, (port, gauge) in gauges.items()]
    tasks = [asyncio.create_task(each) for each in (_follow_own(own), *work)]
    try:
        yield found
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
