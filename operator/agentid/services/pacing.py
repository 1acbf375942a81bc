"""How often a status may be written for nothing but the number of pods.

A Deployment of a hundred replicas starts a hundred pods in a few seconds, and renewals go on all
day: what they change in the status is worth one write now and then, however many they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from agentid.clock import Clock
    from agentid.kube.objects import ObjectKey

__all__ = ["Pacing"]

_SETTLE: Final = 2.0
"""Seconds from the first change to its write: the pods of one rollout come together."""

_BETWEEN: Final = 30.0
"""Seconds between two writes, at least."""


class Pacing:
    """Tells when a status may be written that differs in its pods alone."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._noted: dict[ObjectKey, float] = {}
        self._written: dict[ObjectKey, float] = {}

    def wait(self, key: ObjectKey) -> float:
        """Seconds until it may be written; none or less if it may be now."""
        now = self._clock.monotonic()
        first = self._noted.setdefault(key, now)
        return max(first + _SETTLE, self._written.get(key, float("-inf")) + _BETWEEN) - now

    def settled(self, key: ObjectKey) -> None:
        """What the status says is the case: a change that was noted has taken itself back."""
        self._noted.pop(key, None)

    def written(self, key: ObjectKey) -> None:
        """A status was written, whatever for."""
        self._noted.pop(key, None)
        self._written[key] = self._clock.monotonic()

    def forget(self, key: ObjectKey) -> None:
        """The identity is gone."""
        self._noted.pop(key, None)
        self._written.pop(key, None)
