"""The ledger: what was issued and revoked, durable before anybody acts on it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Protocol

import structlog

from agentid.errors import InputError, UnavailableError, UnknownVersionError
from agentid.ledger.committer import Commit, CommitLimits, Committer
from agentid.ledger.compactor import Archive, Compaction, Compactor, discard
from agentid.ledger.naming import check_writer
from agentid.ledger.records import Issued, Revoked
from agentid.ledger.verify import Alarm, AlarmKind
from agentid.ledger.view import LedgerStats, LedgerView

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from agentid.clock import Clock
    from agentid.ledger.records import Record
    from agentid.ledger.segment import Head
    from agentid.ledger.store import SegmentStore, StoredSegment

__all__ = ["Ledger", "LedgerObserver", "LedgerStats"]

_log = structlog.stdlib.get_logger(__name__)

_FIRST_RETRY: Final = 1.0
_LAST_RETRY: Final = 60.0
"""Seconds between two attempts to mend, at most; the namespace itself may be going away."""

_HEADS_PER_COMMIT: Final = 32
"""Changed heads that one ordinary segment witnesses; the rest wait for the next."""


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


class Ledger(LedgerView):
    """A view that also appends, to a chain of its own, and mends what others damaged.

    `state` is fed from durable segments only: those of this process as soon as they are stored,
    those of others as soon as the backend reports them.

    Alarms say what a person has to look at. They do not stop what can be known to be right: a
    revocation must be possible in the worst of conditions, and an issuance adds no damage. Only
    beside a segment of a later format nothing is issued: which serials are on record, and what is
    revoked, is not known then, and will be to the release that can read it.

    What the readable part of a damaged segment counts for is said in `intake`.
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
        self._observer: LedgerObserver = observer or _Silence()
        super().__init__(store, clock=clock, on_alarm=self._observer.alarmed)
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
        self._compactor = Compactor(store, self._intake, self._committer)
        self._compacting = asyncio.Lock()
        self._witnessed: dict[str, int] = {}
        self._to_mend = asyncio.Event()

    # Life

    async def close(self) -> None:
        """Commit what waits, for `CommitLimits.drain` seconds at most, and stop.

        Callers that still wait get UnavailableError.
        """
        if not self._tasks:
            return
        self._committer.close()
        drained = asyncio.create_task(self._clock.sleep(self._limits.drain), name="ledger-drain")
        committing = self._tasks["committer"]
        await asyncio.wait((committing, drained), return_when=asyncio.FIRST_COMPLETED)
        drained.cancel()
        await self.abandon()

    async def abandon(self) -> None:
        """Stop at once. What waits is not recorded, and callers that wait get UnavailableError."""
        await super().abandon()

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
            UnknownVersionError: It is about a certificate that was issued, and a later release has
                written a segment; nothing is recorded.
            InputError: A record is larger than `MAX_RECORD_BYTES`, or a revocation names another
                notAfter than the certificate has, and would be dropped too early; nothing is
                recorded. `Entry.revocation` makes the right one.
            InternalError: The ledger has failed; `join` says why.

        Cancelling the caller withdraws records that were not sent yet; those that were sent go
        their way, as above.
        """
        later = self.later_format
        if later is not None and any(isinstance(record, Issued) for record in records):
            msg = f"nothing is issued, since not all of the ledger can be read: {later}"
            raise UnknownVersionError(msg)
        for record in records:
            entry = self.state.by_serial(record.serial)
            if isinstance(record, Revoked) and entry and entry.issued.not_after != record.not_after:
                msg = (
                    f"revocation of serial {record.serial}: notAfter {record.not_after} is not "
                    f"{entry.issued.not_after}, that of the certificate; use Entry.revocation()"
                )
                raise InputError(msg)
        await self._committer.append(records)

    async def compact(self, archive: Archive = discard) -> Compaction:
        """Do one round of compaction; again while it `did_something`.

        One process at a time should do this, the leader; that two do it by mistake costs nothing
        but duplicates. It may be interrupted anywhere.

        Args:
            archive: Given the records that leave the ledger because their certificates have
                expired, before they do. If it raises, the round ends and nothing is lost.

        Raises:
            UnavailableError: The store is away or refuses, the next round goes on.
        """
        async with self._compacting:
            return await self._compactor.round(archive)

    # Looking

    @property
    def writer(self) -> str:
        """The writer of the chain that this process appends to."""
        return self._committer.writer

    def stats(self) -> LedgerStats:
        """How large the ledger is."""
        return replace(super().stats(), waiting=self._committer.waiting)

    # Inside

    def _parts(self) -> dict[str, Coroutine[object, object, None]]:
        return {
            "committer": self._committer.run(),
            **super()._parts(),
            "mending": self._mend(),
        }

    def _is_own(self, stored: StoredSegment) -> bool:
        return self._committer.is_storing(stored.name, stored.data)

    def _checked(self) -> None:
        self._to_mend.set()

    def _tick(self) -> None:
        self._committer.expire()

    def _own_durable(self, commit: Commit) -> None:
        segment = commit.segment
        for head in segment.header.heads:
            self._witnessed[head.writer] = head.sequence
        self._observer.committed(
            records=len(segment.records), size=segment.size, seconds=commit.seconds
        )
        _log.debug("ledger_committed", segment=segment.name, records=len(segment.records))
        self._intake.own(commit)

    def _witness(self, everything: bool) -> tuple[Head, ...]:  # noqa: FBT001 - one question, twice
        own = self._committer.writer
        heads = (head for head in self._intake.catalogue.heads() if head.writer != own)
        if everything:
            return tuple(heads)
        changed = (head for head in heads if self._witnessed.get(head.writer, 0) < head.sequence)
        return tuple(head for head, _ in zip(changed, range(_HEADS_PER_COMMIT), strict=False))

    def _writer_shared(self, name: str) -> None:
        detail = (
            f"ledger segment {name}: somebody else wrote it, though this process alone has that "
            "writer; make sure that writers are random and that nobody else can write segments"
        )
        self._alarms.add(Alarm(AlarmKind.WRITER_SHARED, name, detail))

    async def _mend(self) -> None:
        """Record anew what no sound segment holds any more."""
        wait = _FIRST_RETRY
        while True:
            await self._to_mend.wait()
            self._to_mend.clear()
            lost, records = self._intake.to_mend()
            try:
                await self._committer.append(records)
            except UnavailableError as error:
                _log.warning("ledger_mending_retried", cause=str(error))
                await self._clock.sleep(wait)
                wait = min(2 * wait, _LAST_RETRY)
                self._to_mend.set()
                continue
            wait = _FIRST_RETRY
            self._intake.mended(lost)
            if records:
                _log.info("ledger_mended", records=len(records))
