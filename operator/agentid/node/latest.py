"""One value that many wait for: only the latest counts, and nobody who is slow holds anybody up."""

from __future__ import annotations

import asyncio
from typing import Generic, TypeVar

__all__ = ["Latest"]

T = TypeVar("T")


class Latest(Generic[T]):
    """A value and its version; to be used within one event loop.

    A reader keeps the version that it saw and asks for a later one. What was set in between is
    never queued, so a thousand readers cost a thousand waiting tasks and no copies.
    """

    def __init__(self, value: T) -> None:
        self._value = value
        self._version = 1
        self._changed: asyncio.Event | None = None

    @property
    def value(self) -> T:
        """The value now."""
        return self._value

    @property
    def version(self) -> int:
        """The version of the value now; greater with each `put`."""
        return self._version

    def put(self, value: T) -> None:
        """Set the value and wake who waits."""
        self._value = value
        self._version += 1
        if self._changed is not None:
            self._changed.set()
            self._changed = None

    async def after(self, version: int) -> None:
        """Return once there is a later version than this one; at once if there is already."""
        while self._version <= version:
            if self._changed is None:
                self._changed = asyncio.Event()
            await self._changed.wait()
