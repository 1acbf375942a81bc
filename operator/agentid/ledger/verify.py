"""Whether a set of segments is what its writers wrote, all of it.

Two rules say everything about the chains:

1. Everybody agrees on each hash. The hash of a segment is stated by its own bytes, by its
   successor's `previous`, by the runs that stand for it or begin behind it, by the heads that other
   writers witnessed, and by what this process has read before.
2. Every place of a chain, from the first to the highest that anybody states, is held by a segment,
   or by a run in a sound one.

A segment of a later format, whose seal holds, is none of these: which places it holds is not known
here. It has an alarm of its own, and nothing counts as missing beside it.

So a segment that was altered, exchanged, moved or removed is noticed as soon as one other object
speaks of it. What only a signature could notice is somebody who rewrites all of them.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from typing import TYPE_CHECKING

from agentid.errors import InputError
from agentid.ledger.naming import parse_segment_name, segment_name
from agentid.ledger.reading import Reading, inspect

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from agentid.ledger.segment import Cover, Head
    from agentid.ledger.store import StoredSegment

__all__ = [
    "Alarm",
    "AlarmKind",
    "ChainReport",
    "SegmentInfo",
    "VerifyReport",
    "verify",
    "verify_segments",
]


class AlarmKind(StrEnum):
    """What is wrong; the spelling is that of the metric's label."""

    DAMAGED = "Damaged"
    """A segment is not what any writer would have written."""
    CONTRADICTED = "Contradicted"
    """Objects state different hashes for one segment."""
    MISSING = "Missing"
    """A segment that somebody speaks of is not there."""
    ISSUED_TWICE = "IssuedTwice"
    """Two different certificates are on record under one serial."""
    LATER_FORMAT = "LaterFormat"
    """A later release wrote a segment, and this one cannot read it."""
    WRITER_SHARED = "WriterShared"
    """Somebody else wrote a segment into the chain of this process."""


@dataclass(frozen=True, slots=True, order=True)
class Alarm:
    """Something about the ledger that a person has to look at.

    Attributes:
        kind: What is wrong.
        subject: Name of the segment it is about.
        detail: What differs, as a sentence that names the segment.
    """

    kind: AlarmKind
    subject: str
    detail: str

    def __str__(self) -> str:
        """The detail."""
        return self.detail


@dataclass(frozen=True, slots=True)
class SegmentInfo:
    """What is remembered of a segment once its records are in the state.

    Attributes:
        name: Of the object.
        writer: By its name; empty if it has none of a segment's.
        sequence: By its name.
        previous: What its header names, None if it begins its chain or is damaged.
        hash: Of the segment, None if it is damaged.
        created: By the header, None if it is damaged.
        size: Bytes.
        heads: Witnessed in its header.
        covers: In its header.
        serials: Of its records, in order.
        not_afters: Of its records, as seconds since the epoch, ascending.
        content: SHA-256 of all its bytes, to tell whether it is still the same.
        damage: What is wrong with it, None if nothing is.
        is_later: Whether that is a later format, and no damage.
    """

    name: str
    writer: str
    sequence: int
    previous: str | None
    hash: str | None
    created: datetime | None
    size: int
    heads: tuple[Head, ...]
    covers: tuple[Cover, ...]
    serials: tuple[int, ...] = field(repr=False)
    not_afters: array[int] = field(repr=False)
    content: bytes = field(repr=False)
    damage: str | None = None
    is_later: bool = False

    @classmethod
    def of(cls, reading: Reading, data: bytes) -> SegmentInfo:
        """Keep what matters of a segment that was read."""
        try:
            writer, sequence = parse_segment_name(reading.name)
        except InputError:
            writer, sequence = "", 0
        header = None if reading.faults else reading.header
        return cls(
            name=reading.name,
            writer=writer,
            sequence=sequence,
            previous=None if header is None else header.previous,
            hash=None if header is None else reading.hash,
            created=None if header is None else header.created,
            size=reading.size,
            heads=() if header is None else header.heads,
            covers=() if header is None else header.covers,
            serials=tuple(record.serial.value for record in reading.records),
            not_afters=array(
                "q", sorted(int(record.not_after.timestamp()) for record in reading.records)
            ),
            content=sha256(data).digest(),
            damage=reading.sentence if reading.faults else None,
            is_later=reading.later is not None,
        )

    def is_content(self, data: bytes) -> bool:
        """Whether these are its bytes."""
        return len(data) == self.size and sha256(data).digest() == self.content

    @property
    def is_sound(self) -> bool:
        """Whether it is as some writer wrote it; nothing is said about its place."""
        return self.damage is None


@dataclass(frozen=True, slots=True)
class ChainReport:
    """One writer's chain.

    Attributes:
        writer: Whose.
        last: The highest place that anybody speaks of.
        hash: Of the segment there, None if it is damaged or disputed.
        present: Segments that are there.
    """

    writer: str
    last: int
    hash: str | None
    present: int


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What a look at all segments found.

    Attributes:
        chains: By writer.
        alarms: What is wrong, empty if nothing is.
        segments: How many there are.
        records: How many they hold.
        bytes: How large they are together.
        disputed: Names of segments about whose hash there is disagreement.
    """

    chains: tuple[ChainReport, ...]
    alarms: tuple[Alarm, ...]
    segments: int
    records: int
    bytes: int
    disputed: frozenset[str]


def verify_segments(stored: Iterable[StoredSegment]) -> VerifyReport:
    """Verify segments as they are stored, in a cluster or as exported files; in any order."""
    infos = [SegmentInfo.of(inspect(one.name, one.data), one.data) for one in stored]
    return verify(infos)


def verify(infos: Iterable[SegmentInfo], remembered: Iterable[Head] = ()) -> VerifyReport:
    """Verify segments that were read.

    Args:
        infos: All segments that are there.
        remembered: What this process has read before, and what nobody may have removed since.
    """
    infos = tuple(infos)
    alarms = [
        Alarm(
            AlarmKind.LATER_FORMAT if info.is_later else AlarmKind.DAMAGED, info.name, info.damage
        )
        for info in infos
        if info.damage is not None
    ]
    can_judge_gaps = not any(info.is_later for info in infos)
    claims = _Claims()
    for info in infos:
        claims.add_segment(info)
    for head in remembered:
        claims.add(head.writer, head.sequence, head.hash, "what this process read before")
    chains: list[ChainReport] = []
    disputed: set[str] = set()
    for writer in sorted(claims.by_writer):
        chain = claims.by_writer[writer]
        for place in sorted(chain.stated):
            if len(chain.stated[place]) > 1:
                name = segment_name(writer, place)
                disputed.add(name)
                alarms.append(Alarm(AlarmKind.CONTRADICTED, name, _dispute(name, chain, place)))
        if can_judge_gaps:
            alarms.extend(chain.gaps(writer))
        last = chain.last
        stated = chain.stated.get(last, {})
        chains.append(
            ChainReport(
                writer, last, next(iter(stated)) if len(stated) == 1 else None, len(chain.present)
            )
        )
    return VerifyReport(
        chains=tuple(chains),
        alarms=tuple(sorted(alarms)),
        segments=len(infos),
        records=sum(len(info.serials) for info in infos),
        bytes=sum(info.size for info in infos),
        disputed=frozenset(disputed),
    )


_OWN = "its own bytes"


class _Chain:
    """Everything that anybody states about one writer's segments."""

    def __init__(self) -> None:
        self.stated: dict[int, dict[str, list[str]]] = {}  # place → hash → who states it
        self.present: set[int] = set()
        self.covered: list[tuple[int, int]] = []

    @property
    def last(self) -> int:
        """The highest place that is stated or held."""
        return max((*self.stated, *self.present), default=0)

    def gaps(self, writer: str) -> Iterable[Alarm]:
        """One alarm for each run of places that nothing holds."""
        runs = sorted([*self.covered, *((place, place) for place in self.present)])
        expected = 1
        for first, last in [*runs, (self.last + 1, self.last + 1)]:
            if first > expected:
                yield self._gap(writer, expected, first - 1)
            expected = max(expected, last + 1)

    def _gap(self, writer: str, first: int, last: int) -> Alarm:
        name = segment_name(writer, first)
        what = name if first == last else f"{name} to {segment_name(writer, last)}"
        who = next(
            (
                sources[0]
                for place in range(first, last + 1)
                for sources in self.stated.get(place, {}).values()
            ),
            "a later segment of the chain",
        )
        count = "segment" if first == last else "segments"
        detail = (
            f"ledger {count} {what}: missing, and no segment stands for it, but {who} "
            "speaks of it; restore the object from a backup, or find out who deleted it"
        )
        return Alarm(AlarmKind.MISSING, name, detail)


class _Claims:
    def __init__(self) -> None:
        self.by_writer: dict[str, _Chain] = {}

    def add(self, writer: str, place: int, digest: str | None, source: str) -> None:
        chain = self.by_writer.setdefault(writer, _Chain())
        if place > 0 and digest is not None:
            chain.stated.setdefault(place, {}).setdefault(digest, []).append(source)

    def add_segment(self, info: SegmentInfo) -> None:
        if info.writer:
            self.by_writer.setdefault(info.writer, _Chain()).present.add(info.sequence)
        if not info.is_sound:
            return
        self.add(info.writer, info.sequence, info.hash, _OWN)
        self.add(info.writer, info.sequence - 1, info.previous, f"{info.name} as its predecessor")
        for head in info.heads:
            self.add(head.writer, head.sequence, head.hash, f"{info.name} as a witness")
        for cover in info.covers:
            self.add(cover.writer, cover.last, cover.hash, f"{info.name}, which stands for it")
            self.add(
                cover.writer,
                cover.first - 1,
                cover.previous,
                f"{info.name}, which stands for its successor",
            )
            self.by_writer[cover.writer].covered.append((cover.first, cover.last))


def _dispute(name: str, chain: _Chain, place: int) -> str:
    told = [(sources[0], digest) for digest, sources in chain.stated[place].items()]
    told.sort(key=lambda one: (one[0] != _OWN, one))
    says = [f"{source} {'have' if source == _OWN else 'says'} {digest}" for source, digest in told]
    return (
        f"ledger segment {name}: its hash is disputed: {', '.join(says)}; one of these objects "
        "was altered or exchanged, compare them with a backup"
    )
