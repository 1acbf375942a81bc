"""Keys in the order in which they fall due."""

from __future__ import annotations

import heapq
from collections.abc import Hashable
from typing import Final, Generic, TypeVar

__all__ = ["DueHeap"]

K = TypeVar("K", bound=Hashable)

_SMALL: Final = 64
"""Entries below which sweeping up is not worth its while."""


class DueHeap(Generic[K]):
    """Keys, each with one due time, the earliest first and equal ones in the order they came.

    A key that is moved or removed leaves its old entry behind; when more than half of the entries
    are such, they are swept up. So every operation is O(log n) in the long run, and memory stays
    within twice what the keys need, however often they are moved.
    """

    __slots__ = ("_count", "_entries", "_live")

    def __init__(self) -> None:
        self._entries: list[tuple[float, int, K]] = []
        self._live: dict[K, tuple[float, int]] = {}
        self._count = 0

    def __len__(self) -> int:
        """Return how many keys there are."""
        return len(self._live)

    def __contains__(self, key: K) -> bool:
        """Return whether the key has a due time."""
        return key in self._live

    def put(self, key: K, due: float) -> None:
        """Give the key this due time in place of any other."""
        self._count += 1
        self._live[key] = (due, self._count)
        heapq.heappush(self._entries, (due, self._count, key))
        self._sweep()

    def remove(self, key: K) -> bool:
        """Forget the key; whether it was there."""
        found = self._live.pop(key, None) is not None
        self._sweep()
        return found

    def due_of(self, key: K) -> float | None:
        """Return the due time of the key, or None when it has none."""
        entry = self._live.get(key)
        return entry[0] if entry else None

    def first_due(self) -> float | None:
        """Return the earliest due time, or None when there is no key."""
        while self._entries and self._is_stale(self._entries[0]):
            heapq.heappop(self._entries)
        return self._entries[0][0] if self._entries else None

    def pop_due(self, now: float) -> K | None:
        """Take out the earliest key that is due, or return None when none is."""
        due = self.first_due()
        if due is None or due > now:
            return None
        _, _, key = heapq.heappop(self._entries)
        del self._live[key]
        return key

    def due_count(self, now: float) -> int:
        """Return how many keys are due; looks at these only, not at all."""
        entries, found, places = self._entries, 0, [0]
        while places:
            place = places.pop()
            if place < len(entries) and entries[place][0] <= now:
                found += not self._is_stale(entries[place])
                places += (2 * place + 1, 2 * place + 2)
        return found

    def _is_stale(self, entry: tuple[float, int, K]) -> bool:
        due, count, key = entry
        return self._live.get(key) != (due, count)

    def _sweep(self) -> None:
        if len(self._entries) > _SMALL and len(self._entries) > 2 * len(self._live):
            self._entries = [(due, count, key) for key, (due, count) in self._live.items()]
            heapq.heapify(self._entries)
