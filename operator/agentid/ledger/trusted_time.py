"""What time it certainly is: the basis for dropping records of certificates that have expired.

A record that is dropped while its certificate is still good makes a revocation impossible, so a
clock that jumps ahead must not drop any. A record that is dropped late costs a kilobyte.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from agentid.clock import Clock

__all__ = ["TrustedTime"]

_CATCH_UP: Final = 2.0
"""How fast this time may run, in seconds for each that has passed. At twice the pace a clock that
was rightly set forward by an hour is believed an hour later, and one that was wrongly set forward
has that hour to be set back."""


class TrustedTime:
    """The earlier of two clocks, never running faster than twice the monotonic one.

    The two are our own and the backend's, which stamps what it stores. Until anything stored has
    been seen there is no trusted time, and nothing is dropped. What was stored before this process
    began only tells how late it is at least; the pace is held to from the first thing on that is
    stored while it runs.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._stamp: datetime | None = None  # the backend's time when the monotonic clock was 0
        self._believed: tuple[datetime, float] | None = None

    def stored(self, at: datetime | None) -> None:
        """Take note that the backend has just stored something for us.

        Args:
            at: When, by its clock; None if it has none, then ours is the only one.
        """
        self._stamp = self._origin(at or self._clock.now())
        self._hold_pace()

    def seen(self, at: datetime | None, *, just_now: bool) -> None:
        """Take note of something that the backend stored for whomever: it is at least as late.

        Args:
            at: When, by its clock; None if it has none.
            just_now: Whether it was stored while this process ran.
        """
        if at is None:
            return
        if self._stamp is None or self._stamp < self._origin(at):
            self._stamp = self._origin(at)
        if just_now:
            self._hold_pace()

    def now(self) -> datetime | None:
        """The time that it is at least, None while it is not known."""
        if self._stamp is None:
            return None
        monotonic = self._clock.monotonic()
        evidence = min(self._clock.now(), self._stamp + timedelta(seconds=monotonic))
        if self._believed is None:
            return evidence
        believed, believed_at = self._believed
        limit = believed + timedelta(seconds=_CATCH_UP * (monotonic - believed_at))
        self._believed = min(evidence, limit), monotonic
        return self._believed[0]

    def _hold_pace(self) -> None:
        if (now := self.now()) is not None:
            self._believed = now, self._clock.monotonic()

    def _origin(self, at: datetime) -> datetime:
        return at - timedelta(seconds=self._clock.monotonic())
