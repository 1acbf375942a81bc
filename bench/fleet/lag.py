"""How late event loops were: those of operator and webhook as they say, and our own.

A client that is late itself sees everything late.
"""

from __future__ import annotations

import asyncio
import math
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
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


@dataclass(slots=True)
class _Looks:
    found: dict[str, Lag] = field(default_factory=dict)

    async def follow(self, name: str, port: int, gauge: str) -> None:
        lag = self.found.setdefault(name, Lag())
        while True:
            try:
                seconds = await asyncio.to_thread(metric, port, gauge)
            except OSError:  # such as a time-out in the middle of the answer
                seconds = math.nan
            lag.take(seconds)
            await asyncio.sleep(_EVERY)

    async def follow_own(self) -> None:
        lag = self.found.setdefault("this client", Lag())
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
    looks = _Looks()
    work = [looks.follow(name, port, gauge) for name, (port, gauge) in gauges.items()]
    tasks = [asyncio.create_task(each) for each in (looks.follow_own(), *work)]
    try:
        yield looks.found
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
