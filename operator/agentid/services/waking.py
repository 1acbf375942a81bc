"""Waiting for news, or for some time, whichever comes first."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agentid.clock import Clock

__all__ = ["Bell"]


class Bell:
    """Rung by whoever has news; several rings before a look count as one."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._rung = asyncio.Event()

    def ring(self) -> None:
        """There is something to look at."""
        self._rung.set()

    def clear(self) -> None:
        """Somebody looks now."""
        self._rung.clear()

    async def wait(self, seconds: float) -> None:
        """Return when it is rung, or after so long."""
        timer = asyncio.ensure_future(self._clock.sleep(seconds))
        rung = asyncio.ensure_future(self._rung.wait())
        try:
            await asyncio.wait({timer, rung}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
            rung.cancel()
