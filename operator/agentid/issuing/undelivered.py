"""Revokes what was recorded and did not leave: nobody has it, and nobody should come to have it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import structlog

from agentid.errors import AgentIdError
from agentid.identity import RevocationReason
from agentid.services.gathering import held_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agentid.clock import Clock
    from agentid.ledger import Issued
    from agentid.services.revocations import Revocations

__all__ = ["ACTOR", "Undelivered"]

_log = structlog.stdlib.get_logger(__name__)

ACTOR: Final = "agentid-issuer"
"""Who revokes, on the ledger, what was made and not used."""

_PACE: Final = 0.5
"""Seconds between two rounds: many together cost one commit, and nobody waits for it."""


class Undelivered:
    """Keeps what is to be revoked until it is; of a process that dies, expiry is the end."""

    def __init__(self, *, revocations: Revocations, clock: Clock) -> None:
        """Take the parts."""
        self._revocations = revocations
        self._clock = clock
        self._waiting: list[Issued] = []
        self._news = asyncio.Event()

    @property
    def waiting(self) -> int:
        """How many are still to be revoked."""
        return len(self._waiting)

    def add(self, records: Iterable[Issued]) -> None:
        """These certificates must not be used."""
        self._waiting.extend(records)
        self._news.set()

    async def run(self) -> None:
        """Revoke, until cancelled."""
        while True:
            await self._news.wait()
            self._news.clear()
            await self.revoke()
            await self._clock.sleep(_PACE)

    async def revoke(self) -> None:
        """Revoke all that wait; what cannot be revoked now waits on."""
        taken, self._waiting = self._waiting, []
        if not taken:
            return
        try:
            await self._revocations.revoke(
                tuple((held_of(each), RevocationReason.SUPERSEDED) for each in taken),
                {},
                self._clock.now(),
            )
        except AgentIdError as error:
            self.add(taken)
            _log.warning("undelivered_not_revoked", certificates=len(taken), error=str(error))
