"""Where segments come in, one's own and those of others: into catalogue, state and alarms.

What is read of a damaged segment counts as follows. Every revocation counts, and every serial that
its header names as revoked, even if the record cannot be read. A certificate counts as issued, so
that it can be revoked, but its entry is `doubtful`: that it was delivered, or that it replaced
another, must not be concluded from it.

What stood only in a segment that was damaged, altered or removed is recorded anew (`to_mend`), so
that the ledger does not depend on the memory of a process. Of a certificate that is recorded anew
from a damaged segment, what it replaced is left out.

A segment of a later format counts as a damaged one does, so that what can be read of it can be
revoked. But it is whole, for a release that can read it: while there is one, nothing is recorded
anew, since that release would find two records of one certificate.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import structlog

from agentid.identity.revocation import RevocationReason
from agentid.ledger.catalogue import Catalogue
from agentid.ledger.compaction import RETENTION
from agentid.ledger.reading import Reading, inspect
from agentid.ledger.records import Issued, Record, Revoked
from agentid.ledger.state import LedgerState
from agentid.ledger.trusted_time import TrustedTime
from agentid.ledger.verify import Alarm, AlarmKind, SegmentInfo

if TYPE_CHECKING:
    from datetime import datetime

    from agentid.clock import Clock
    from agentid.ledger.alarms import AlarmBook
    from agentid.ledger.committer import Commit
    from agentid.ledger.store import StoredSegment

__all__ = ["DAMAGED_ACTOR", "Durable", "Intake", "Listener", "named_as_revoked"]

_log = structlog.stdlib.get_logger(__name__)

DAMAGED_ACTOR: Final = "ledger: named as revoked by a damaged segment"
"""Actor of a revocation whose own record cannot be read."""

_UNKNOWN_LIFETIME: Final = timedelta(days=366)
"""How long a revocation is kept whose certificate is unknown, and with it its notAfter; no
certificate of an agent lives for longer (`policy.grant`)."""

_SETTLE: Final = 2.0
"""Seconds that a suspicion has to stand before it is an alarm: while a backend looks at everything
anew, it reports objects one after the other, and some are spoken of before they are reported."""


@dataclass(frozen=True, slots=True)
class Durable:
    """Records that have become durable, here or in another replica; in the order of the chains.

    Attributes:
        records: As they were recorded. Duplicates are possible, after compaction above all.
        own: Whether this process recorded them.
        doubtful: Whether they come from a segment that is damaged or was altered.
    """

    records: tuple[Record, ...]
    own: bool
    doubtful: bool = False


Listener = Callable[[Durable], None]


class Intake:
    """Takes in what is durable.

    Args:
        clock: For times that damaged segments do not tell, and for suspicions.
        alarms: Where faults are written down.
        is_own: Whether this process has sent a segment that was not answered yet.
    """

    def __init__(
        self, clock: Clock, alarms: AlarmBook, is_own: Callable[[StoredSegment], bool]
    ) -> None:
        self.state = LedgerState()
        self.catalogue = Catalogue()
        self.trusted = TrustedTime(clock)
        self.listeners: list[Listener] = []
        self._clock = clock
        self._alarms = alarms
        self._is_own = is_own
        # What was reported before it was answered: it may be gone again by then.
        self._early: set[str] = set()
        self._lost: dict[str, SegmentInfo] = {}
        self._suspicious_since: float | None = None

    def own(self, commit: Commit) -> None:
        """A segment of this process became durable."""
        self.trusted.stored(commit.outcome.at)
        segment = commit.segment
        if segment.name in self._early:
            self._early.discard(segment.name)
            return
        reading = Reading(
            segment.name, segment.header, segment.records, (), segment.hash, segment.size, ()
        )
        self._take(reading, SegmentInfo.of(reading, commit.data), own=True, doubtful=False)

    def present(self, stored: StoredSegment, *, just_now: bool = False) -> None:
        """The backend reports that a segment is there.

        Args:
            stored: The segment.
            just_now: Whether it came there while this process ran.
        """
        self.trusted.seen(stored.created_at, just_now=just_now)
        known = self.catalogue.get(stored.name)
        if known is not None and known.is_content(stored.data):
            return  # our own, or its metadata changed
        reading = inspect(stored.name, stored.data)
        if known is not None:
            self._lose(known)
        doubtful = known is not None or bool(reading.faults)
        if own := self._is_own(stored):
            self._early.add(stored.name)
        self._take(reading, SegmentInfo.of(reading, stored.data), own=own, doubtful=doubtful)

    def gone(self, name: str) -> None:
        """The backend reports that a segment is not there any more."""
        info = self.catalogue.get(name)
        if info is not None and not self.catalogue.remove(name):
            self._lose(info)

    def check(self) -> None:
        """Verify all chains, and raise and clear alarms by what is found."""
        self._suspicious_since = None
        self._alarms.found(self.catalogue.verify().alarms)

    def check_if_suspicious(self) -> bool:
        """Verify if something looked wrong a while ago and nothing has explained it since.

        Returns:
            Whether it was done.
        """
        since = self._suspicious_since
        if since is None or self._clock.monotonic() - since < _SETTLE:
            return False
        self.check()
        return True

    def expire(self) -> None:
        """Forget entries that have expired, with the same margin as compaction."""
        if (now := self.trusted.now()) is not None:
            self.state.expire(now - RETENTION)

    def to_mend(self) -> tuple[frozenset[str], tuple[Record, ...]]:
        """What has to be recorded anew.

        Returns:
            Names of segments that are lost, to be given to `mended` afterwards, and the records of
            which no sound segment holds a copy.
        """
        records: list[Record] = []
        if self.catalogue.later is not None:
            return frozenset(), ()
        for name, info in tuple(self._lost.items()):
            now = self.catalogue.get(name)
            restored = now is not None and now.content == info.content
            if restored or self.catalogue.stands_for(info):
                del self._lost[name]
                continue
            for value in info.serials:
                if (entry := self.state.by_value(value)) is not None:
                    records += [] if entry.doubtful else [entry.issued]
                    records += [entry.revoked] if entry.revoked else []
        records += [
            replace(record, replaces=None) if isinstance(record, Issued) else record
            for record in self.state.doubtful()
        ]
        return frozenset(self._lost), tuple(dict.fromkeys(records))

    def mended(self, names: frozenset[str]) -> None:
        """What these segments held is on the ledger again."""
        for name in names:
            self._lost.pop(name, None)

    def _lose(self, info: SegmentInfo) -> None:
        self._suspect()
        if info.is_sound:
            self._lost[info.name] = info

    def _take(self, reading: Reading, info: SegmentInfo, *, own: bool, doubtful: bool) -> None:
        if not self.catalogue.add(info) or doubtful:
            self._suspect()
        records = reading.records
        if doubtful:
            records = (*records, *named_as_revoked(reading, self.state, self._clock.now()))
        for record in records:
            if not self.state.apply(record, doubtful=doubtful):
                self._issued_twice(record, reading.name)
        durable = Durable(records, own, doubtful)
        for listener in tuple(self.listeners):
            try:
                listener(durable)
            except Exception:  # noqa: BLE001 - a listener's defect must not cost the record
                _log.exception("ledger_listener_failed", segment=reading.name)

    def _suspect(self) -> None:
        if self._suspicious_since is None:
            self._suspicious_since = self._clock.monotonic()

    def _issued_twice(self, record: Record, name: str) -> None:
        self._alarms.add(
            Alarm(
                AlarmKind.ISSUED_TWICE,
                name,
                f"ledger segment {name}: serial {record.serial} is on record with another "
                "certificate as well; an issuer has given it twice, or a segment was forged",
            )
        )


def named_as_revoked(reading: Reading, state: LedgerState, now: datetime) -> tuple[Revoked, ...]:
    """Revocations that the header of a damaged segment names, and no record that can be read.

    Args:
        reading: What could be read of it.
        state: What is known besides.
        now: The time; it stands for that of the revocation if the segment does not tell its own.
    """
    readable = {record.serial for record in reading.records if isinstance(record, Revoked)}
    at = now if reading.header is None else reading.header.created
    found: list[Revoked] = []
    for serial in reading.revokes:
        if serial in readable or state.is_revoked(serial):
            continue
        entry = state.by_serial(serial)
        until = entry.issued.not_after if entry else at + _UNKNOWN_LIFETIME
        reason = RevocationReason.UNSPECIFIED
        found.append(Revoked(serial, reason, at, until.replace(microsecond=0), DAMAGED_ACTOR))
    return tuple(found)
