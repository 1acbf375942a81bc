"""Revokes what was recorded and did not leave: nobody has it, and nobody should come to have it.

```
 add ───────────────────────────────► waiting ─► revoked
 add_doubtful ─► doubtful ─► recorded ──┘
                     └─► expired
```
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

import structlog

from agentid.errors import AgentIdError
from agentid.identity import RevocationReason
from agentid.services.gathering import held_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agentid.clock import Clock
    from agentid.ledger import Durable, Issued, Ledger
    from agentid.services.revocations import Revocations

__all__ = ["ACTOR", "Undelivered"]

_log = structlog.stdlib.get_logger(__name__)

ACTOR: Final = "agentid-issuer"
"""Who revokes, on the ledger, what was made and not used."""

_PACE: Final = 0.5
"""Seconds between two rounds: many together cost one commit, and nobody waits for it."""


_DOUBTFUL: Final = 16_384
"""Certificates of which it is not known whether they are on record; the latest ones. While the API
server is away each try adds one, and they are too many only after all pods have tried for hours."""


class Undelivered:
    """Keeps what is to be revoked until it is; of a process that dies, expiry is the end."""

    def __init__(self, *, ledger: Ledger, revocations: Revocations, clock: Clock) -> None:
        """Take the parts."""
        self._ledger = ledger
        self._revocations = revocations
        self._clock = clock
        self._waiting: list[Issued] = []
        self._doubtful: OrderedDict[int, Issued] = OrderedDict()
        self._news = asyncio.Event()
        ledger.subscribe(self._learn)

    @property
    def waiting(self) -> int:
        """How many are still to be revoked."""
        return len(self._waiting)

    @property
    def doubtful(self) -> int:
        """Of how many it is not known whether they are on record."""
        return len(self._doubtful)

    def add(self, records: Iterable[Issued]) -> None:
        """These certificates must not be used."""
        self._waiting.extend(records)
        self._news.set()

    def add_doubtful(self, record: Issued) -> None:
        """This certificate must not be used; the ledger has not said whether it is on record."""
        if self._ledger.state.by_serial(record.serial) is not None:
            self.add((record,))
            return
        self._doubtful[record.serial.value] = record
        now = self._clock.now()
        while self._doubtful:
            oldest = next(iter(self._doubtful.values()))
            if len(self._doubtful) <= _DOUBTFUL and oldest.not_after >= now:
                break
            del self._doubtful[oldest.serial.value]

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

    def _learn(self, durable: Durable) -> None:
        if not self._doubtful:
            return
        found = (self._doubtful.pop(each.serial.value, None) for each in durable.records)
        if recorded := [each for each in found if each is not None]:
            self.add(recorded)
