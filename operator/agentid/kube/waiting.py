"""Waiting for the first of two things."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from agentid.clock import Clock

__all__ = ["pause", "within"]

T = TypeVar("T")


async def pause(clock: Clock, seconds: float | None, woken: asyncio.Event) -> None:
    """Return after so many seconds, or once woken; None waits for the latter alone."""
    if seconds is None:
        await woken.wait()
        return
    await within(clock, seconds, woken.wait())


async def within(clock: Clock, seconds: float, work: Coroutine[object, object, T]) -> T | None:
    """Return the result of the work, or None, with the work cancelled, when time is up first.

    Unlike `asyncio.timeout`, it goes by the injected clock. Work that ends in the moment that
    time is up has ended in time.
    """
    working = asyncio.ensure_future(work)
    sleeping = asyncio.ensure_future(clock.sleep(seconds))
    try:
        await asyncio.wait({working, sleeping}, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        for task in (working, sleeping):
            task.cancel()
        await asyncio.gather(working, sleeping, return_exceptions=True)
