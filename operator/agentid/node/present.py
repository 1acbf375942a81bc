"""What time it is by the issuer's clock, on a node whose own may be wrong.

Certificates need no wall clock here: their periods are counted from when the issuer answered. A
JWT-SVID says when it ends in the issuer's time, so whoever validates one has to know that time.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from agentid.clock import Clock

__all__ = ["IssuersPresent"]


class IssuersPresent:
    """The issuer's present as it last told it, and what has passed since.

    Until the issuer has told it, the node's own wall clock.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._told: tuple[datetime, float] | None = None

    def tell(self, present: datetime) -> None:
        """Take the issuer's word, which has just arrived.

        It is as old as the answer was under way, so the present here is late by so much: within
        the leeway of validation, where the node's clock may be off by anything.
        """
        self._told = (present, self._clock.monotonic())

    def now(self) -> datetime:
        """The present, aware, in UTC."""
        if self._told is None:
            return self._clock.now()
        present, since = self._told
        return present + timedelta(seconds=self._clock.monotonic() - since)
