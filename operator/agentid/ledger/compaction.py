"""Which segments are merged, and into what. Pure: segments in, a new one's contents out.

    small segments ──┐
    mostly expired ──┼─► one new segment: records still needed + `covers`, ─► durable ─► only then
    all expired ─────┘   which says for which runs of segments it stands                 are they
                         records that have expired ─► archive                            deleted

A crash in between leaves records twice, which is harmless, and segments that another one stands
for, which the next round deletes.

Segments are merged with others of about their size, measured by what is still needed of them. So a
record is rewritten about three times in its life, and a large segment not until most of it has
expired.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from agentid.ledger.segment import Cover, Segment

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from datetime import datetime

    from agentid.ledger.records import Record
    from agentid.ledger.verify import SegmentInfo

__all__ = [
    "FORGET_AFTER",
    "OUTPUT_BYTES",
    "RETENTION",
    "Merged",
    "choose",
    "forget",
    "join_covers",
    "merge",
]

RETENTION: Final = timedelta(minutes=10)
"""How long a record is kept after its certificate's notAfter. A verifier's clock may be five
minutes behind ours, and so may be the one that stamped notAfter; until both agree that the
certificate has expired, its revocation has to be found. A revoked serial also has to appear on one
CRL that is issued after it has expired (RFC 5280 §3.3)."""

FORGET_AFTER: Final = timedelta(days=1)
"""Age of the last segment of a chain at which nothing more is said about it, once all of it has
been merged and nobody else speaks of it. Four times as long as any writer goes on with an idle
chain (`committer.ROLLOVER`)."""

OUTPUT_BYTES: Final = 700 * 1024
"""Records in a merged segment; as in a commit, header and covers have 200 KiB left then."""

_TIERS: Final = (8 * 1024, 64 * 1024, OUTPUT_BYTES // 2)
"""Upper bounds of the sizes that are merged with each other; of the largest two still fit into one.
What is larger stays as it is."""

_FANOUT: Final = 8
"""Segments in a tier that are worth a merge. With fewer a record is rewritten more often, with more
the segments are more; at 8 there are about 25 beside the large ones."""

_MOST: Final = 64
"""Segments merged at once; each has to be read again and deleted."""

_SPENT_BYTES: Final = 1024 * 1024
_SPENT_FOR: Final = timedelta(hours=1)
"""Segments of which nothing is needed go when they are many, or large together, or have been spent
for so long; one at a time would cost a write for each."""


@dataclass(frozen=True, slots=True)
class Merged:
    """The contents of a merged segment.

    Attributes:
        covers: The runs of segments that it stands for.
        kept: Records that are still needed.
        dropped: Records that are not, to be archived.
    """

    covers: tuple[Cover, ...]
    kept: tuple[Record, ...] = field(repr=False)
    dropped: tuple[Record, ...] = field(repr=False)


def choose(
    infos: Iterable[SegmentInfo], now: datetime | None, *, leave: Collection[str] = ()
) -> tuple[SegmentInfo, ...]:
    """The segments to be merged next, oldest first; empty if it is not worth it.

    Args:
        infos: All segments that are there.
        now: The time that it certainly is; None if unknown, then nothing counts as expired.
        leave: Names of segments that are not to be touched.
    """
    candidates = [info for info in infos if info.is_sound and info.name not in leave]
    candidates.sort(key=lambda info: (info.created, info.writer, info.sequence))
    order = {info.name: place for place, info in enumerate(candidates)}
    before = float("-inf") if now is None else (now - RETENTION).timestamp()
    spent: list[SegmentInfo] = []
    tiers: list[list[tuple[SegmentInfo, float]]] = [[] for _ in _TIERS]
    for info in candidates:
        needed = _needed_bytes(info, before)
        if not needed:
            spent.append(info)
        elif (tier := next((n for n, top in enumerate(_TIERS) if needed < top), None)) is not None:
            tiers[tier].append((info, needed))
    if _is_worth_it(spent, before):
        return tuple(spent[:_MOST])
    for tier_members in tiers:
        if len(tier_members) >= _FANOUT:
            # Whatever is spent goes along; it adds nothing to what is written.
            chosen = [*_as_fit(tier_members), *spent][:_MOST]
            return tuple(sorted(chosen, key=lambda info: order[info.name]))
    rest = [one for members in tiers for one in members]
    chosen = _as_fit(one for one in rest if now is not None and _speaks_of_old(one[0], now))
    if len(chosen) > 1:
        chosen = [*chosen, *spent][:_MOST]
        return tuple(sorted(chosen, key=lambda info: order[info.name]))
    return ()


def merge(segments: Sequence[Segment], now: datetime | None) -> Merged:
    """Put segments together.

    Args:
        segments: In the order in which their records are to stand.
        now: As for `choose`.
    """
    kept: dict[Record, None] = {}
    dropped: dict[Record, None] = {}
    covers: list[Cover] = []
    for segment in segments:
        header = segment.header
        covers += header.covers
        covers.append(
            Cover(
                header.writer,
                header.sequence,
                header.sequence,
                header.previous,
                segment.hash,
                header.created,
            )
        )
        for record in segment.records:
            is_needed = now is None or record.not_after >= now - RETENTION
            (kept if is_needed else dropped)[record] = None
    return Merged(join_covers(covers), tuple(kept), tuple(dropped))


def join_covers(covers: Iterable[Cover]) -> tuple[Cover, ...]:
    """The same runs, those that touch or overlap as one; by writer and place."""
    joined: list[Cover] = []
    for cover in sorted(covers, key=lambda one: (one.writer, one.first, -one.last)):
        last = joined[-1] if joined else None
        if last is None or last.writer != cover.writer or last.last + 1 < cover.first:
            joined.append(cover)
            continue
        if last.last + 1 == cover.first and last.hash != cover.previous:
            joined.append(cover)  # not the same chain; a verification is to see that
            continue
        if cover.last > last.last:
            created = max(last.created, cover.created)
            joined[-1] = replace(last, last=cover.last, hash=cover.hash, created=created)
    return tuple(joined)


def forget(
    covers: Iterable[Cover], staying: Iterable[SegmentInfo], own: str, now: datetime | None
) -> tuple[Cover, ...]:
    """Leave out the runs of chains that are over and of which nobody speaks any more.

    Args:
        covers: Of the segment that is to be written.
        staying: Segments that it does not stand for.
        own: The writer of that segment.
        now: As for `choose`.
    """
    covers = tuple(covers)
    if now is None:
        return covers
    spoken_of = {own}
    for info in staying:
        spoken_of.add(info.writer)
        spoken_of.update(head.writer for head in info.heads)
        spoken_of.update(cover.writer for cover in info.covers)
    young = {cover.writer for cover in covers if cover.created > now - FORGET_AFTER}
    return tuple(cover for cover in covers if cover.writer in spoken_of | young)


def _needed_bytes(info: SegmentInfo, before: float) -> float:
    count = len(info.not_afters)
    if not count:
        return 0.0
    expired = bisect_left(info.not_afters, before)
    return info.size * (count - expired) / count


def _is_worth_it(spent: Sequence[SegmentInfo], before: float) -> bool:
    holding = [info for info in spent if info.not_afters]
    return (
        len(spent) >= _FANOUT
        or sum(info.size for info in holding) >= _SPENT_BYTES
        or any(info.not_afters[-1] < before - _SPENT_FOR.total_seconds() for info in holding)
    )


def _speaks_of_old(info: SegmentInfo, now: datetime) -> bool:
    """Whether it stands for a run that is old enough to be forgotten.

    Of a chain that is over, two segments may stand for different runs. As long as they are merged
    with others in turn, each keeps what the other says of it; together they can forget it.
    """
    return any(cover.created <= now - FORGET_AFTER for cover in info.covers)


def _as_fit(members: Iterable[tuple[SegmentInfo, float]]) -> list[SegmentInfo]:
    chosen: list[SegmentInfo] = []
    total = 0.0
    for info, needed in members:
        total += needed
        if total > OUTPUT_BYTES:
            break
        chosen.append(info)
    return chosen
