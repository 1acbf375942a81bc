"""Revokes what was made for a request and is not what the request was answered with.

A certificate is on record before its request is answered. In between the process may die, another
replica may be faster, or the answer may be lost; then a certificate stands on the ledger that
nobody has. It is revoked as superseded once its request has ended, by whom there is known how:

```
 Issued with another one, Denied, Failed ─────► what is on record for it is revoked
 deleted while it waited ─────────────────────► likewise: no kubelet can have it
 gone while nobody looked ────────────────────► how it ended is not known, so nothing is taken away
```
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import structlog

from agentid.identity import RevocationReason
from agentid.ledger import Issued
from agentid.services.failure import PassError
from agentid.services.gathering import held_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentid.clock import Clock
    from agentid.ledger import Durable, Entry, Ledger
    from agentid.services.revocations import Revocations
    from agentid.signer.request import PodCertificateRequest

__all__ = ["Settling"]

_log = structlog.stdlib.get_logger(__name__)

_PACE: Final = 1.0
"""Seconds between two rounds. Nobody has what is revoked here, so nobody waits for it, and a
round that takes many together costs one commit."""

_REMEMBERED: Final = 1200.0
"""Seconds that the end of a request is remembered: the cluster deletes requests after fifteen
minutes, and no replica answers one that it does not see."""


@dataclass(frozen=True, slots=True)
class _End:
    pod: str
    fingerprint: str
    since: float


class Settling:
    """Remembers how requests ended, in every replica; the leader alone revokes."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        revocations: Revocations,
        clock: Clock,
        leads: Callable[[], bool],
    ) -> None:
        """Take the parts.

        Args:
            ledger: What was recorded.
            revocations: Takes revocations to it.
            clock: For waits.
            leads: Whether this replica leads.
        """
        self._ledger = ledger
        self._revocations = revocations
        self._clock = clock
        self._leads = leads
        self._ends: OrderedDict[str, _End] = OrderedDict()
        self._open: set[str] = set()
        ledger.subscribe(self._learn)

    def ended(self, request: PodCertificateRequest) -> None:
        """A request was seen to have its answer, or to have been deleted without one."""
        fingerprint = "" if request.answer is None else request.answer.fingerprint
        end = _End(request.pod_uid, fingerprint, self._clock.monotonic())
        self._ends[request.uid] = end
        self._ends.move_to_end(request.uid)
        self._open.add(request.uid)

    async def run(self) -> None:
        """Revoke as the leader does, until cancelled."""
        while True:
            await self._clock.sleep(_PACE)
            self._forget()
            if self._open and self._leads():
                await self._settle()

    def _learn(self, durable: Durable) -> None:
        """A certificate for a request that has ended comes late, as from a replica that died."""
        for record in durable.records:
            if isinstance(record, Issued) and record.pod and record.pod.request in self._ends:
                self._open.add(record.pod.request)

    async def _settle(self) -> None:
        # Taken out first: what comes while these are revoked opens its request anew.
        asked, self._open = self._open, set()
        stray = [entry for request in asked for entry in self._stray(request)]
        try:
            await self._revocations.revoke(
                tuple((held_of(each.issued), RevocationReason.SUPERSEDED) for each in stray),
                {},
                self._clock.now(),
            )
        except PassError as error:
            _log.warning("settling_interrupted", certificates=len(stray), error=str(error))
            self._open |= asked

    def _stray(self, request: str) -> list[Entry]:
        end = self._ends.get(request)
        if end is None:
            return []
        return [
            entry
            for entry in self._ledger.state.of_pod(end.pod)
            if entry.revoked is None
            and entry.issued.pod is not None
            and entry.issued.pod.request == request
            and entry.issued.fingerprint != end.fingerprint
        ]

    def _forget(self) -> None:
        long_ago = self._clock.monotonic() - _REMEMBERED
        while self._ends and next(iter(self._ends.values())).since < long_ago:
            request, _ = self._ends.popitem(last=False)
            self._open.discard(request)
