"""Carries out what `compaction` chooses: read, merge, commit, and only then delete."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import structlog

from agentid.errors import LedgerCorruptError, UnknownVersionError
from agentid.ledger.compaction import OUTPUT_BYTES, Merged, choose, forget, merge
from agentid.ledger.reading import decode
from agentid.ledger.records import Record, encode_record

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentid.ledger.committer import Committer
    from agentid.ledger.intake import Intake
    from agentid.ledger.segment import Segment
    from agentid.ledger.store import SegmentStore
    from agentid.ledger.verify import SegmentInfo

__all__ = ["Archive", "Compaction", "Compactor", "discard"]

_log = structlog.stdlib.get_logger(__name__)

Archive: TypeAlias = Callable[[tuple[Record, ...]], Awaitable[None]]
"""Takes records that leave the ledger because their certificates have expired. Each comes at least
once: a second time if the round was interrupted, or if it was on the ledger twice."""


async def discard(_: tuple[Record, ...]) -> None:
    """Archive nothing."""


@dataclass(frozen=True, slots=True)
class Compaction:
    """What one round did.

    Attributes:
        merged: Segments that a new one stands for.
        kept: Records that it holds.
        dropped: Records that had expired.
        deleted: Segments that were deleted, those of interrupted rounds included.
    """

    merged: int = 0
    kept: int = 0
    dropped: int = 0
    deleted: int = 0

    @property
    def did_something(self) -> bool:
        """Whether another round may find more to do."""
        return bool(self.merged or self.deleted)


class Compactor:
    """Compacts what one process sees of the ledger."""

    def __init__(self, store: SegmentStore, intake: Intake, committer: Committer) -> None:
        self._store = store
        self._intake = intake
        self._committer = committer

    async def round(self, archive: Archive) -> Compaction:
        """Delete what an interrupted round left, and merge some segments if it is worth it."""
        catalogue = self._intake.catalogue
        if catalogue.later is not None:
            return Compaction()  # what it stands for, and speaks of, is not known here
        leftovers = tuple(catalogue.leftovers())
        disputed = catalogue.verify().disputed if leftovers else frozenset[str]()
        deleted = await self._delete([one for one in leftovers if one.name not in disputed])
        chosen = self._choose()
        if not chosen:
            return Compaction(deleted=deleted)
        infos, merged = self._fit(await self._read(chosen))
        if not infos or (len(infos) == 1 and not merged.dropped):
            return Compaction(deleted=deleted)
        names = {info.name for info in infos}
        staying = [info for info in catalogue if info.name not in names]
        now = self._intake.trusted.now()
        covers = forget(merged.covers, staying, self._committer.writer, now)
        if merged.dropped:
            await archive(merged.dropped)
        await self._committer.replace(covers, merged.kept)
        deleted += await self._delete(infos)
        catalogue.forget_finished()
        _log.info(
            "ledger_compacted",
            merged=len(infos),
            kept=len(merged.kept),
            dropped=len(merged.dropped),
        )
        return Compaction(len(infos), len(merged.kept), len(merged.dropped), deleted)

    def _choose(self) -> tuple[SegmentInfo, ...]:
        catalogue = self._intake.catalogue
        now = self._intake.trusted.now()
        if not choose(catalogue, now):
            return ()  # the common case, without a look at all chains
        leave = catalogue.verify().disputed | {info.name for info in catalogue.leftovers()}
        return choose(catalogue, now, leave=leave)

    async def _read(self, chosen: Sequence[SegmentInfo]) -> list[tuple[SegmentInfo, Segment]]:
        """Read the segments again: what is deleted afterwards has to be what was merged."""
        found: list[tuple[SegmentInfo, Segment]] = []
        for info in chosen:
            stored = await self._store.read(info.name)
            if stored is None:
                continue  # another replica has compacted it, or the backend will report its loss
            try:
                segment = decode(stored.name, stored.data)
            except (LedgerCorruptError, UnknownVersionError):
                self._intake.present(stored)
                continue
            if segment.hash != info.hash:
                self._intake.present(stored)
                continue
            found.append((info, segment))
        return found

    def _fit(
        self, found: list[tuple[SegmentInfo, Segment]]
    ) -> tuple[tuple[SegmentInfo, ...], Merged]:
        """Merge as many as make a segment of the right size."""
        now = self._intake.trusted.now()
        while True:
            merged = merge([segment for _, segment in found], now)
            size = sum(len(encode_record(record)) + 1 for record in merged.kept)
            if size <= OUTPUT_BYTES or len(found) <= 1:
                return tuple(info for info, _ in found), merged
            found = found[:-1]

    async def _delete(self, infos: Sequence[SegmentInfo]) -> int:
        for info in infos:
            await self._store.delete(info.name)
        return len(infos)
