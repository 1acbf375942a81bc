"""What the ledger says of pods, as another process reads it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from agentid.ledger import Issued, Revoked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agentid.ledger import Durable
    from tests.support.api import LedgerView

__all__ = ["Recorded", "unrevoked"]


class Recorded:
    """Notes when certificates of pods were revoked; to be told from before the first is issued.

    Args:
        seen: Called after every piece of news.
        now: The moment, in seconds.
    """

    def __init__(self, seen: Callable[[], None], now: Callable[[], float] = time.monotonic) -> None:
        self._seen = seen
        self._now = now
        self._serials: dict[str, set[str]] = {}
        self._revoked: dict[str, float] = {}

    def learn(self, durable: Durable) -> None:
        """Take in what has become durable; a record that comes again changes nothing."""
        now = self._now()
        for record in durable.records:
            if isinstance(record, Revoked):
                self._revoked.setdefault(str(record.serial), now)
            elif record.pod is not None:
                self._serials.setdefault(record.pod.uid, set()).add(str(record.serial))
        self._seen()

    @property
    def certificates(self) -> int:
        """How many were issued for pods."""
        return sum(map(len, self._serials.values()))

    def revoked_at(self, uid: str) -> float | None:
        """When the last certificate of a pod was seen to be revoked.

        None where it has none, or one that is not.
        """
        moments = [self._revoked.get(serial) for serial in self._serials.get(uid, ())]
        known = [moment for moment in moments if moment is not None]
        return max(known) if known and len(known) == len(moments) else None


def unrevoked(view: LedgerView) -> Iterator[Issued]:
    """Certificates of pods that stand on the ledger and are not revoked."""
    for serial, issued in view.issued.items():
        if issued.pod is not None and serial not in view.revoked:
            yield issued
