"""Which segments are there, as far as this process has heard."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentid.ledger.segment import Head
from agentid.ledger.verify import SegmentInfo, VerifyReport, verify

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentid.ledger.segment import Cover

__all__ = ["Catalogue"]


class Catalogue:
    """All segments by name, the head of each chain, and who stands for whom.

    What was read once as sound is remembered until another segment stands for it, also when the
    object has gone or has changed: that is how a removal is noticed that nobody else witnessed.
    """

    def __init__(self) -> None:
        self._infos: dict[str, SegmentInfo] = {}
        self._covering: dict[str, SegmentInfo] = {}
        self._heads: dict[str, Head] = {}
        self._remembered: dict[tuple[str, int], str] = {}
        self._later: dict[str, SegmentInfo] = {}
        self._bytes = 0

    def get(self, name: str) -> SegmentInfo | None:
        """The segment of this name, None if it is not there."""
        return self._infos.get(name)

    def __iter__(self) -> Iterator[SegmentInfo]:
        """All segments that are there, oldest arrival first."""
        return iter(self._infos.values())

    def __len__(self) -> int:
        """How many there are."""
        return len(self._infos)

    @property
    def bytes(self) -> int:
        """How large they are together."""
        return self._bytes

    def add(self, info: SegmentInfo) -> bool:
        """Take in a segment that appeared or changed.

        Returns:
            Whether it goes on a chain where that ended; False asks for a verification.
        """
        before = self._infos.pop(info.name, None)
        self._bytes += info.size - (before.size if before else 0)
        self._infos[info.name] = info
        self._covering.pop(info.name, None)
        self._later.pop(info.name, None)
        if info.is_later:
            self._later[info.name] = info
        if info.covers:
            self._covering[info.name] = info
        if not info.is_sound or info.hash is None:
            return False
        known = self._heads.get(info.writer)
        extends = (
            before is None
            and info.sequence == (known.sequence if known else 0) + 1
            and info.previous == (known.hash if known else None)
            and all(self._knows(head) for head in info.heads)
        )
        if before is None and not self.stands_for(info):
            self._remembered.setdefault((info.writer, info.sequence), info.hash)
        self._advance(Head(info.writer, info.sequence, info.hash))
        for cover in info.covers:
            self._advance(Head(cover.writer, cover.last, cover.hash))
            self._forget(cover)
        return extends

    def leftovers(self) -> Iterator[SegmentInfo]:
        """Sound segments that another sound one stands for: a compaction was interrupted."""
        return (info for info in self._infos.values() if info.is_sound and self.stands_for(info))

    def remove(self, name: str) -> bool:
        """Take out a segment that is gone.

        Returns:
            Whether another one stands for it; False asks for a verification.
        """
        info = self._infos.pop(name, None)
        if info is None:
            return True
        self._covering.pop(name, None)
        self._later.pop(name, None)
        self._bytes -= info.size
        return self.stands_for(info)

    def stands_for(self, info: SegmentInfo) -> bool:
        """Whether another segment that is there stands for this one."""
        return any(
            cover.writer == info.writer and cover.first <= info.sequence <= cover.last
            for other in self._covering.values()
            if other.name != info.name
            for cover in other.covers
        )

    @property
    def later(self) -> str | None:
        """What is to be said of a segment of a later format; None where there is none."""
        return next((info.damage for info in self._later.values()), None)

    @property
    def chains(self) -> int:
        """How many chains are known."""
        return len(self._heads)

    def heads(self) -> Iterator[Head]:
        """The last sound segment of each chain that no other segment stands for.

        Also of those that are gone though they should not be: that has to be witnessed.
        """
        return (
            head
            for head in self._heads.values()
            if self._remembered.get((head.writer, head.sequence)) == head.hash
        )

    def verify(self) -> VerifyReport:
        """Verify all segments against each other and against what was read before."""
        remembered = [Head(*place, digest) for place, digest in self._remembered.items()]
        return verify(self._infos.values(), remembered)

    def forget_finished(self) -> None:
        """Let go of the heads of chains of which no segment that is there speaks any more."""
        spoken_of = {writer for writer, _ in self._remembered}
        for info in self._infos.values():
            spoken_of.add(info.writer)
            spoken_of.update(cover.writer for cover in info.covers)
        for writer in self._heads.keys() - spoken_of:
            del self._heads[writer]

    def _advance(self, head: Head) -> None:
        known = self._heads.get(head.writer)
        if known is None or head.sequence > known.sequence:
            self._heads[head.writer] = head

    def _knows(self, head: Head) -> bool:
        known = self._heads.get(head.writer)
        if known is None or head.sequence > known.sequence:
            return False
        return self._remembered.get((head.writer, head.sequence), head.hash) == head.hash

    def _forget(self, cover: Cover) -> None:
        if cover.last - cover.first < len(self._remembered):
            for sequence in range(cover.first, cover.last + 1):
                self._remembered.pop((cover.writer, sequence), None)
            return
        for place in [p for p in self._remembered if p[0] == cover.writer]:
            if cover.first <= place[1] <= cover.last:
                del self._remembered[place]
