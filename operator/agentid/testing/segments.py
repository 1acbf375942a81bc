"""A ledger backend in memory, with switches to fail, and the checks that every backend passes."""

# ruff: noqa: S101 - the checks of a conformance suite are asserts

from __future__ import annotations

import asyncio
from collections import deque
from datetime import UTC, datetime
from enum import Enum, auto
from typing import TYPE_CHECKING

from agentid.errors import UnavailableError
from agentid.ledger.store import (
    CreateOutcome,
    SegmentEvent,
    SegmentEventType,
    SegmentStore,
    StoredSegment,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping

__all__ = ["Fault", "MemorySegments", "check_segment_store"]


class Fault(Enum):
    """How an operation goes wrong."""

    BEFORE = auto()
    """It is not carried out, and the answer is UnavailableError."""
    AFTER = auto()
    """It is carried out, and the answer is UnavailableError nevertheless."""
    LATE = auto()
    """The answer is UnavailableError, and it is carried out at the next operation."""


class MemorySegments:
    """Segments in a dictionary; several ledgers may share one, as replicas share a cluster.

    Switches to fail:
        faults: What happens to the next writes, one each; empty means that all is well.
        away: While set, every operation fails before it does anything.
        gate: Awaited before each write with its verb and name; a test may hold it there, or raise.
        refusal: Raised by the next writes instead of an outage.
        fall_silent, speak: Whoever follows hears nothing in between, and everything afterwards.
        say_current: Whoever follows hears that nothing else has happened.

    What was done is in `calls` as (verb, name).
    """

    def __init__(self, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.objects: dict[str, StoredSegment] = {}
        self.calls: list[tuple[str, str]] = []
        self.faults: deque[Fault | None] = deque()
        self.away = False
        self.refusal: Exception | None = None
        self.gate: Callable[[str, str], Awaitable[None]] | None = None
        self._now = now
        self._log: list[SegmentEvent] = []
        self._changed = asyncio.Condition()
        self._late: list[Callable[[], bool]] = []
        self._silent = False
        self._looks = 0

    async def create(self, name: str, data: bytes, labels: Mapping[str, str]) -> CreateOutcome:
        """Store an object unless there is one of this name."""
        del labels
        stored = StoredSegment(name, bytes(data), self._now().replace(microsecond=0))

        def apply() -> bool:
            if name in self.objects:
                return False
            self.objects[name] = stored
            self._report(SegmentEventType.PRESENT, stored)
            return True

        created = await self._write("create", name, apply)
        return CreateOutcome(created, stored.created_at if created else None)

    async def read(self, name: str) -> StoredSegment | None:
        """Return an object, None if there is none."""
        self.calls.append(("read", name))
        await asyncio.sleep(0)
        self._check_present()
        return self.objects.get(name)

    async def list(self) -> AsyncIterator[StoredSegment]:
        """Yield all objects as of this moment."""
        self._check_present()
        for stored in list(self.objects.values()):
            await asyncio.sleep(0)
            yield stored

    async def delete(self, name: str) -> None:
        """Delete an object, if it is there."""

        def apply() -> bool:
            if (stored := self.objects.pop(name, None)) is not None:
                self._report(SegmentEventType.GONE, stored)
            return True

        await self._write("delete", name, apply)

    async def follow(self) -> AsyncIterator[SegmentEvent]:
        """Yield everything, SYNCED, then every change."""
        known: dict[str, StoredSegment] = {}
        position, looks = 0, -1
        while True:
            while not self._silent and (looks < self._looks or position < len(self._log)):
                if looks < self._looks:
                    position, looks = len(self._log), self._looks
                    for event in self._look(known):
                        yield event
                    continue
                event = self._log[position]
                position += 1
                if event.segment is not None:
                    known[event.segment.name] = event.segment
                    if event.type is SegmentEventType.GONE:
                        del known[event.segment.name]
                yield event
            async with self._changed:
                if self._silent or (looks == self._looks and position == len(self._log)):
                    await self._changed.wait()

    # How the backend is to those who follow

    def fall_silent(self) -> None:
        """Report nothing from now on."""
        self._silent = True

    async def speak(self, *, anew: bool = False) -> None:
        """Report again, first what happened meanwhile.

        Args:
            anew: It is forgotten what happened: everything is looked at anew, and what differs is
                reported, with another SYNCED.
        """
        self._silent = False
        self._looks += anew
        await self._announce()

    async def say_current(self) -> None:
        """Report that nothing else has happened."""
        self._log.append(SegmentEvent(SegmentEventType.CURRENT))
        await self._announce()

    # What an administrator does behind the ledger's back

    async def tamper(self, name: str, data: bytes | None) -> None:
        """Replace the bytes of an object, or remove it; whoever follows is told."""
        before = self.objects.pop(name, None)
        if data is None:
            if before is not None:
                self._report(SegmentEventType.GONE, before)
        else:
            self.objects[name] = StoredSegment(name, data, before.created_at if before else None)
            self._report(SegmentEventType.PRESENT, self.objects[name])
        await self._announce()

    # Inside

    def _look(self, known: dict[str, StoredSegment]) -> Iterator[SegmentEvent]:
        now = dict(sorted(self.objects.items()))
        for name in known.keys() - now.keys():
            yield SegmentEvent(SegmentEventType.GONE, known.pop(name))
        for name, stored in now.items():
            if known.get(name) != stored:
                known[name] = stored
                yield SegmentEvent(SegmentEventType.PRESENT, stored)
        yield SegmentEvent(SegmentEventType.SYNCED)

    async def _write(self, verb: str, name: str, apply: Callable[[], bool]) -> bool:
        self.calls.append((verb, name))
        if self.gate is not None:
            await self.gate(verb, name)
        await asyncio.sleep(0)
        self._check_present()
        if self._late:
            for late in self._late:
                late()
            self._late.clear()
            await self._announce()
        if self.refusal is not None:
            raise self.refusal
        fault = self.faults.popleft() if self.faults else None
        if fault is Fault.BEFORE:
            raise UnavailableError(_SILENT)
        if fault is Fault.LATE:
            self._late.append(apply)
            raise UnavailableError(_SILENT)
        done = apply()
        await self._announce()
        if fault is Fault.AFTER:
            raise UnavailableError(_SILENT)
        return done

    def _check_present(self) -> None:
        if self.away:
            message = "the segment store in memory is switched off"
            raise UnavailableError(message)

    def _report(self, kind: SegmentEventType, stored: StoredSegment) -> None:
        self._log.append(SegmentEvent(kind, stored))

    async def _announce(self) -> None:
        async with self._changed:
            self._changed.notify_all()


_SILENT = "no answer from the segment store in memory"


async def check_segment_store(make_store: Callable[[], Awaitable[SegmentStore]]) -> None:
    """Hold a backend to what the ledger needs of it; raises AssertionError where it falls short.

    Args:
        make_store: Returns a store that holds nothing, on every call another one.
    """
    store = await make_store()
    await _check_create_and_read(store)
    await _check_delete(store)
    await _check_follow(await make_store())
    await _check_content(await make_store())


_FIRST = "agentid-ledger-check-00000000001"
_SECOND = "agentid-ledger-check-00000000002"
_LABELS = {"agentid.dev/ledger": "segment", "agentid.dev/ledger-writer": "check"}


async def _check_create_and_read(store: SegmentStore) -> None:
    assert await store.read(_FIRST) is None, "reading what is not there gives None"
    outcome = await store.create(_FIRST, b"one\n", _LABELS)
    assert outcome.created, "the first create creates"
    again = await store.create(_FIRST, b"other\n", _LABELS)
    assert not again.created, "the second create of a name says that there is one"
    found = await store.read(_FIRST)
    assert found is not None, "what was created is there"
    assert found.data == b"one\n", "the second create changes nothing"
    names = [stored.name async for stored in store.list()]
    assert names == [_FIRST], f"the list holds what was created, found {names}"
    racers = [store.create(_SECOND, f"{n}\n".encode(), _LABELS) for n in range(8)]
    winners = [n for n, one in enumerate(await asyncio.gather(*racers)) if one.created]
    assert len(winners) == 1, f"of racing creates one wins, found {winners}"
    found = await store.read(_SECOND)
    assert found is not None, "the winner's object is there"
    assert found.data == f"{winners[0]}\n".encode(), "the object is the winner's"


async def _check_delete(store: SegmentStore) -> None:
    await store.delete(_FIRST)
    assert await store.read(_FIRST) is None, "what was deleted is gone"
    await store.delete(_FIRST)  # deleting what is gone is no error


async def _check_follow(store: SegmentStore) -> None:
    await store.create(_FIRST, b"one\n", _LABELS)
    events = store.follow()
    first = await anext(events)
    assert first.type is SegmentEventType.PRESENT, "what is there comes first"
    assert first.segment is not None
    assert first.segment.data == b"one\n", "an event carries the bytes"
    synced = await anext(events)
    assert synced.type is SegmentEventType.SYNCED, "then comes SYNCED"
    await store.create(_SECOND, b"two\n", _LABELS)
    await store.delete(_FIRST)
    seen = [await anext(events) for _ in range(2)]
    found = [(event.type, event.segment.name if event.segment else "") for event in seen]
    wanted = [(SegmentEventType.PRESENT, _SECOND), (SegmentEventType.GONE, _FIRST)]
    assert found == wanted, f"changes come in their order, found {found}"


async def _check_content(store: SegmentStore) -> None:
    large = ('{"text":"\\"quoted\\" and Ünïcode"}\n' * 24_000).encode()
    await store.create(_FIRST, large, _LABELS)
    found = await store.read(_FIRST)
    assert found is not None, "900 KB can be stored"
    assert found.data == large, "bytes come back as they were"
