"""The ledger: what was issued and revoked, durable before anybody acts on it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Protocol

import structlog

from agentid.errors import InternalError
from agentid.identity.revocation import RevocationReason
from agentid.ledger.catalogue import Catalogue
from agentid.ledger.committer import Commit, CommitLimits, Committer
from agentid.ledger.naming import check_writer
from agentid.ledger.records import Record, Revoked
from agentid.ledger.segment import Head, Reading, inspect
from agentid.ledger.state import LedgerState
from agentid.ledger.store import SegmentEventType, StoredSegment
from agentid.ledger.trusted_time import TrustedTime
from agentid.ledger.verify import Alarm, AlarmKind, SegmentInfo, VerifyReport

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from agentid.clock import Clock
    from agentid.ledger.store import SegmentStore

__all__ = ["DAMAGED_ACTOR", "Durable", "Ledger", "LedgerObserver", "LedgerStats"]

_log = structlog.stdlib.get_logger(__name__)

DAMAGED_ACTOR: Final = "ledger: named as revoked by a damaged segment"
"""Actor of a revocation whose own record cannot be read."""

_UNKNOWN_LIFETIME: Final = timedelta(days=366)
"""How long a revocation is kept whose certificate is unknown, and with it its notAfter; no
certificate of an agent lives for longer (`policy.grant`)."""

_TICK: Final = 1.0
"""Seconds between two looks at waiting callers, and at suspicions."""

_SETTLE: Final = 2.0
"""Seconds that a suspicion has to stand before it is an alarm: while a backend looks at everything
anew, it reports objects one after the other, and some are spoken of before they are reported."""

_HEADS_PER_COMMIT: Final = 32
"""Changed heads that one ordinary segment witnesses; the rest wait for the next."""


@dataclass(frozen=True, slots=True)
class Durable:
    """Records that have become durable, here or in another replica; in the order of the chains.

    Attributes:
        records: As they were recorded. Duplicates are possible, after compaction above all.
        own: Whether this process recorded them.
        doubtful: Whether they come from a damaged segment.
    """

    records: tuple[Record, ...]
    own: bool
    doubtful: bool = False


@dataclass(frozen=True, slots=True)
class LedgerStats:
    """How large the ledger is; cheap enough for every scrape.

    Attributes:
        segments: Objects.
        bytes: Of all objects.
        entries: Certificates on record.
        revoked: Revocations on record.
        identities: With a certificate on record.
        chains: Writers that are spoken of.
        waiting: Records that are not durable yet.
    """

    segments: int
    bytes: int
    entries: int
    revoked: int
    identities: int
    chains: int
    waiting: int


class LedgerObserver(Protocol):
    """Told about what happens, for metrics. Must neither raise nor block."""

    def committed(self, *, records: int, size: int, seconds: float) -> None:
        """One commit of this process became durable."""

    def alarmed(self, alarm: Alarm) -> None:
        """An alarm was raised that did not stand before."""


class _Silence:
    def committed(self, *, records: int, size: int, seconds: float) -> None:
        """Ignore it."""

    def alarmed(self, alarm: Alarm) -> None:
        """Ignore it."""


class Ledger:
    """Reads everything at start, follows what others write, and appends to a chain of its own.

    `state` is fed from durable segments only: those of this process as soon as they are stored,
    those of others as soon as the backend reports them.

    Alarms say what a person has to look at. They stop nothing: a revocation must be possible in
    the worst of conditions, and an issuance adds no damage.

    What is read of a damaged segment counts as follows. Every revocation counts, and every serial
    that its header names as revoked, even if the record cannot be read. A certificate counts as
    issued, so that it can be revoked, but its entry is `doubtful`: that it was delivered, or that
    it replaced another, must not be concluded from it.
    """

    def __init__(
        self,
        store: SegmentStore,
        *,
        clock: Clock,
        writer: str,
        limits: CommitLimits | None = None,
        observer: LedgerObserver | None = None,
    ) -> None:
        """Connect nothing yet.

        Args:
            store: Where segments are kept.
            clock: For times, waits and deadlines.
            writer: From `new_writer`; of this run of the process and no other.
            limits: How commits are made up.
            observer: Told about what happens.

        Raises:
            InputError: The writer could not be part of a name.
        """
        check_writer(writer)
        self.state = LedgerState()
        self._store = store
        self._clock = clock
        self._observer: LedgerObserver = observer or _Silence()
        self._catalogue = Catalogue()
        self._trusted = TrustedTime(clock)
        self._limits = limits or CommitLimits()
        self._committer = Committer(
            store,
            clock,
            writer,
            witness=self._witness,
            on_durable=self._own_durable,
            on_shared_writer=self._writer_shared,
            limits=self._limits,
        )
        self._listeners: list[Callable[[Durable], None]] = []
        self._witnessed: dict[str, int] = {}
        self._alarms: frozenset[Alarm] = frozenset()
        self._lasting_alarms: set[Alarm] = set()
        self._suspicious_since: float | None = None
        self._synced = asyncio.Event()
        self._tasks: tuple[asyncio.Task[None], ...] = ()

    # Life

    async def start(self) -> None:
        """Read and verify all segments, and begin to follow and to commit.

        Returns once `state` holds everything that was durable at some moment after the call.

        Raises:
            AgentIdError: The backend refuses to be read; outages are waited out.
        """
        self._tasks = (
            asyncio.create_task(self._committer.run(), name="ledger-committer"),
            asyncio.create_task(self._follow(), name="ledger-follower"),
            asyncio.create_task(self._keep_house(), name="ledger-housekeeping"),
        )
        ready = asyncio.create_task(self._synced.wait(), name="ledger-start")
        try:
            await asyncio.wait((ready, *self._tasks), return_when=asyncio.FIRST_COMPLETED)
        finally:
            ready.cancel()
        if not self._synced.is_set():
            await self._end()
            await self.join()

    async def join(self) -> None:
        """Return once closed; raise as soon as a part of the ledger has failed.

        To be awaited by who runs the process: a ledger that has failed neither records nor follows.
        """
        if not self._tasks:
            return
        done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error

    async def close(self) -> None:
        """Commit what waits, for `CommitLimits.drain` seconds at most, and stop.

        Callers that still wait get UnavailableError.
        """
        if not self._tasks:
            return
        self._committer.close()
        drained = asyncio.create_task(self._clock.sleep(self._limits.drain), name="ledger-drain")
        await asyncio.wait((self._tasks[0], drained), return_when=asyncio.FIRST_COMPLETED)
        drained.cancel()
        await self._end()

    async def _end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)

    # Recording

    async def append(self, *records: Record) -> None:
        """Return once the records are durable and in `state`.

        Records of one call become durable together if they fit into one segment (500 records,
        700 KiB), else in several, in order. They are committed with those of other callers that
        wait at the same time.

        Raises:
            UnavailableError: They are not known to be durable. Either they were never sent and
                never will be (the message says so), or their fate is unknown: then they are tried
                until it is known, and come into `state` when they turn out durable, however late.
                For a caller both are alike: look at `state` before the next try. An `Issued`
                record whose append failed may stand on the ledger without its certificate having
                been used; that is what revoking undelivered certificates is for. Once part of a
                long call has failed, other parts may be durable.
            InputError: A record is larger than `MAX_RECORD_BYTES`; nothing is recorded.
            InternalError: The ledger has failed; `join` says why.

        Cancelling the caller withdraws records that were not sent yet; those that were sent go
        their way, as above.
        """
        await self._committer.append(records)

    def subscribe(self, listener: Callable[[Durable], None]) -> Callable[[], None]:
        """Be told about all records that become durable from now on, in order.

        When the listener is called, `state` holds the records already. It must not block; if it
        raises, that is logged, and neither the ledger nor other listeners are affected.

        Returns:
            A function that ends the subscription.
        """
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    # Looking

    @property
    def writer(self) -> str:
        """The writer of the chain that this process appends to."""
        return self._committer.writer

    @property
    def alarms(self) -> tuple[Alarm, ...]:
        """What a person has to look at, sorted; empty if all is well."""
        return tuple(sorted(self._alarms | self._lasting_alarms))

    def verify(self) -> VerifyReport:
        """Verify all segments as this process knows them, now."""
        return self._catalogue.verify()

    def stats(self) -> LedgerStats:
        """How large the ledger is."""
        return LedgerStats(
            segments=len(self._catalogue),
            bytes=self._catalogue.bytes,
            entries=self.state.count,
            revoked=self.state.revoked_count,
            identities=self.state.identity_count,
            chains=sum(1 for _ in self._catalogue.heads()),
            waiting=self._committer.waiting,
        )

    def trusted_now(self) -> datetime | None:
        """The time that it certainly is, None while unknown; see `TrustedTime`."""
        return self._trusted.now()

    # Own segments

    def _own_durable(self, commit: Commit) -> None:
        self._trusted.stamped(commit.outcome.at)
        segment = commit.segment
        for head in segment.header.heads:
            self._witnessed[head.writer] = head.sequence
        self._witnessed[segment.header.writer] = segment.header.sequence
        self._observer.committed(
            records=len(segment.records), size=segment.size, seconds=commit.seconds
        )
        _log.debug("ledger_committed", segment=segment.name, records=len(segment.records))
        if (known := self._catalogue.get(segment.name)) is not None and known.is_sound:
            return  # the backend reported it before it answered
        reading = Reading(
            segment.name, segment.header, segment.records, (), segment.hash, segment.size, ()
        )
        self._take_in(reading, commit.data, own=True)

    def _witness(self, everything: bool) -> tuple[Head, ...]:  # noqa: FBT001 - two cases of one question
        own = self._committer.writer
        if everything:
            return tuple(head for head in self._catalogue.heads() if head.writer != own)
        changed = (
            head
            for head in self._catalogue.heads()
            if head.writer != own and self._witnessed.get(head.writer, 0) < head.sequence
        )
        return tuple(head for head, _ in zip(changed, range(_HEADS_PER_COMMIT), strict=False))

    def _writer_shared(self, name: str) -> None:
        self._raise_alarm(
            Alarm(
                AlarmKind.WRITER_SHARED,
                name,
                f"ledger segment {name}: somebody else wrote it, though this process alone has "
                "that writer; make sure that writers are random, and that nobody else has write "
                "access to the ledger",
            )
        )

    # All segments

    async def _follow(self) -> None:
        async for event in self._store.follow():
            match event.type, event.segment:
                case SegmentEventType.SYNCED, _:
                    self._check()
                    self._synced.set()
                case SegmentEventType.PRESENT, StoredSegment() as stored:
                    self._seen(stored)
                    await asyncio.sleep(0)  # a large segment takes milliseconds
                case SegmentEventType.GONE, StoredSegment() as stored:
                    if not self._catalogue.remove(stored.name):
                        self._suspect()
                case _:
                    message = f"the ledger's backend reports {event.type} of nothing"
                    raise InternalError(message)
        message = "the ledger's backend has stopped to report"
        raise InternalError(message)

    def _seen(self, stored: StoredSegment) -> None:
        known = self._catalogue.get(stored.name)
        if known is not None and known.is_content(stored.data):
            return  # our own, or its metadata changed
        reading = inspect(stored.name, stored.data)
        self._take_in(reading, stored.data, own=False, altered=known is not None)

    def _take_in(self, reading: Reading, data: bytes, *, own: bool, altered: bool = False) -> None:
        doubtful = altered or bool(reading.faults)
        if not self._catalogue.add(SegmentInfo.of(reading, data)) or altered:
            self._suspect()
        records = reading.records
        if doubtful:
            records = (*records, *self._named_as_revoked(reading))
        for record in records:
            if not self.state.apply(record, doubtful=doubtful):
                self._issued_twice(record, reading.name)
        durable = Durable(records, own, doubtful)
        for listener in tuple(self._listeners):
            try:
                listener(durable)
            except Exception:  # noqa: BLE001 - a listener's defect must not cost the record
                _log.exception("ledger_listener_failed", segment=reading.name)

    def _named_as_revoked(self, reading: Reading) -> tuple[Revoked, ...]:
        readable = {record.serial for record in reading.records if isinstance(record, Revoked)}
        now = self._clock.now() if reading.header is None else reading.header.created
        found: list[Revoked] = []
        for serial in reading.revokes:
            if serial in readable or self.state.is_revoked(serial):
                continue
            entry = self.state.by_serial(serial)
            until = entry.issued.not_after if entry else now + _UNKNOWN_LIFETIME
            found.append(
                Revoked(
                    serial,
                    RevocationReason.UNSPECIFIED,
                    now,
                    until.replace(microsecond=0),
                    DAMAGED_ACTOR,
                )
            )
        return tuple(found)

    # Alarms

    async def _keep_house(self) -> None:
        while True:
            await self._clock.sleep(_TICK)
            self._committer.expire()
            since = self._suspicious_since
            if since is not None and self._clock.monotonic() - since >= _SETTLE:
                self._check()

    def _suspect(self) -> None:
        if self._suspicious_since is None:
            self._suspicious_since = self._clock.monotonic()

    def _check(self) -> None:
        self._suspicious_since = None
        before, self._alarms = self._alarms, frozenset(self._catalogue.verify().alarms)
        for alarm in sorted(self._alarms - before):
            self._announce(alarm)
        for alarm in sorted(before - self._alarms):
            _log.info("ledger_alarm_cleared", kind=alarm.kind.value, segment=alarm.subject)

    def _raise_alarm(self, alarm: Alarm) -> None:
        if alarm not in self._lasting_alarms:
            self._lasting_alarms.add(alarm)
            self._announce(alarm)

    def _announce(self, alarm: Alarm) -> None:
        _log.error(
            "ledger_alarm_raised",
            kind=alarm.kind.value,
            segment=alarm.subject,
            detail=alarm.detail,
        )
        self._observer.alarmed(alarm)

    def _issued_twice(self, record: Record, name: str) -> None:
        self._raise_alarm(
            Alarm(
                AlarmKind.ISSUED_TWICE,
                name,
                f"ledger segment {name}: serial {record.serial} is on record with another "
                "certificate as well; an issuer has given it twice, or a segment was forged",
            )
        )
