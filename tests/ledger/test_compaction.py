"""Compaction: what is chosen, what comes out, and what survives an interruption at any step."""

from __future__ import annotations

import asyncio
import itertools
import random
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentid.errors import UnavailableError
from agentid.identity import SerialNumber
from agentid.identity.revocation import RevocationReason
from agentid.ledger import CommitLimits, Ledger, LedgerState, verify_segments
from agentid.ledger.compaction import FORGET_AFTER, RETENTION, choose, forget, join_covers, merge
from agentid.ledger.naming import segment_name
from agentid.ledger.reading import decode, inspect
from agentid.ledger.records import Record, Revoked, encode_record
from agentid.ledger.segment import Cover, Header, Segment, seal
from agentid.ledger.verify import SegmentInfo
from agentid.testing.clock import ManualClock
from agentid.testing.ledger import (
    NOON,
    make_issued,
    make_revoked,
    open_ledger,
    snapshot,
)
from agentid.testing.segments import Fault, MemorySegments

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentid.ledger import Issued

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)


def make_segment(sequence: int, *records: Record, writer: str = "w") -> tuple[Segment, SegmentInfo]:
    """Return one segment, and what is remembered of it; its predecessor is made up."""
    previous = None if sequence == 1 else f"{sequence - 1:064x}"
    revokes = [record.serial for record in records if isinstance(record, Revoked)]
    header = Header(writer, sequence, previous, NOON + sequence * timedelta(seconds=1))
    made = seal(header, [encode_record(record) for record in records], revokes)
    info = SegmentInfo.of(inspect(made.name, made.data), made.data)
    return decode(made.name, made.data), info


def infos(count: int, *, size: int = 1, lifetime: timedelta = HOUR) -> list[SegmentInfo]:
    """Return what is remembered of segments of about so many KiB each."""
    return [
        make_segment(n, make_issued(n, grant="x" * 1024 * size, lifetime=lifetime))[1]
        for n in range(1, count + 1)
    ]


# Choosing


@pytest.mark.parametrize(
    ("candidates", "after", "chosen"),
    [
        pytest.param(infos(7), timedelta(0), 0, id="few-small-ones"),
        pytest.param(infos(8), timedelta(0), 8, id="eight-small-ones"),
        pytest.param(infos(100), timedelta(0), 64, id="a-hundred-small-ones"),
        pytest.param(infos(8, size=60), timedelta(0), 8, id="eight-of-60-KiB"),
        pytest.param(
            [
                make_segment(n, *(make_issued(100 * n + k, grant="x" * 60_000) for k in range(6)))[
                    1
                ]
                for n in range(1, 20)
            ],
            timedelta(0),
            0,
            id="large-ones",
        ),
        pytest.param(infos(7), HOUR + RETENTION, 0, id="the-last-second-of-retention"),
        pytest.param(infos(7), HOUR + RETENTION + MINUTE, 0, id="spent-but-few-and-young"),
        pytest.param(infos(1), 2 * HOUR + RETENTION + MINUTE, 1, id="spent-for-an-hour"),
        pytest.param(infos(8, size=60), HOUR + RETENTION + MINUTE, 8, id="spent-and-many"),
        pytest.param([], 9 * HOUR, 0, id="nothing"),
    ],
)
def test_what_is_worth_a_merge(
    candidates: list[SegmentInfo], after: timedelta, chosen: int
) -> None:
    """Many of one size, or many of which nothing is needed, or a few that linger."""
    assert len(choose(candidates, NOON + after)) == chosen


def test_without_a_trusted_time_nothing_counts_as_expired() -> None:
    """Small ones are still merged."""
    assert not choose(infos(1), None)
    assert len(choose(infos(8), None)) == 8


def test_what_is_not_to_be_touched_is_left() -> None:
    """Disputed segments are evidence."""
    candidates = infos(9)
    chosen = choose(candidates, NOON, leave={candidates[4].name})
    assert [info.sequence for info in chosen] == [1, 2, 3, 4, 6, 7, 8, 9]


def test_damaged_segments_are_never_chosen() -> None:
    """Nobody deletes what could not be read."""
    _, info = make_segment(9, make_issued(9))
    damaged = SegmentInfo.of(inspect(info.name, b"x"), b"x")
    assert damaged not in choose([*infos(8), damaged], NOON + 24 * HOUR)


def test_segments_that_stand_for_the_old_are_brought_together() -> None:
    """Two that divide a finished chain between them would keep it for ever, each for the other."""

    def standing(sequence: int, *covers: Cover) -> SegmentInfo:
        header = Header("v", sequence, "0" * 64 if sequence > 1 else None, NOON, covers=covers)
        line = encode_record(make_issued(sequence, lifetime=timedelta(days=9)))
        made = seal(header, [line], [])
        return SegmentInfo.of(inspect(made.name, made.data), made.data)

    divided = [standing(1, A, C), standing(2, B)]
    assert not choose(divided, NOON + FORGET_AFTER - MINUTE)
    assert not choose([divided[0], standing(2)], NOON + FORGET_AFTER)
    assert not choose(divided, None)
    assert list(choose(divided, NOON + FORGET_AFTER)) == divided


# Covers

A, B, C = (
    Cover("w", n, n, None if n == 1 else f"{n - 1:064x}", f"{n:064x}", NOON) for n in (1, 2, 3)
)


def test_runs_that_touch_become_one() -> None:
    """However they were divided, and whoever listed them first."""
    whole = Cover("w", 1, 3, None, C.hash, NOON)
    assert join_covers([C, A, B]) == (whole,)
    assert join_covers([whole, B]) == (whole,)
    assert join_covers([join_covers([A, B])[0], join_covers([B, C])[0]]) == (whole,)
    assert join_covers([A, C]) == (A, C)


def test_runs_that_do_not_fit_stay_apart() -> None:
    """A verification is to see both."""
    stranger = Cover("w", 2, 2, "ff" * 32, B.hash, NOON)
    assert join_covers([A, stranger]) == (A, stranger)


def test_a_finished_chain_is_forgotten_when_nobody_speaks_of_it() -> None:
    """A day after its last segment, and not while another segment witnesses it."""
    other = make_segment(5, make_issued(1), writer="other")[1]
    late = NOON + FORGET_AFTER
    assert forget([A], [other], "me", late) == ()
    assert forget([A], [other], "me", late - MINUTE) == (A,)
    assert forget([A], [other], "w", late) == (A,)
    assert forget([A], [other], "me", None) == (A,)
    assert forget([A], [make_segment(5, make_issued(1))[1]], "me", late) == (A,)


# Merging

record = st.builds(
    lambda n, revoked: (
        make_revoked(n, lifetime=(1 + n % 4) * HOUR)
        if revoked
        else make_issued(n, f"agent-{n % 3}", lifetime=(1 + n % 4) * HOUR)
    ),
    st.integers(1, 9),
    st.booleans(),
)


@given(st.lists(st.lists(record, max_size=5), min_size=1, max_size=6), st.integers(0, 5))
def test_a_merge_says_what_its_parts_said(parts: list[list[Record]], hours: int) -> None:
    """For everything that has not expired; and every record is kept or dropped."""
    now = NOON + hours * HOUR
    segments = [make_segment(n, *records)[0] for n, records in enumerate(parts, start=1)]
    merged = merge(segments, now)
    before, after = LedgerState(), LedgerState()
    for record in (record for records in parts for record in records):
        before.apply(record)
    for record in merged.kept:
        after.apply(record)
    before.expire(now - RETENTION)
    after.expire(now - RETENTION)
    assert snapshot(before) == snapshot(after)
    everything = {record for records in parts for record in records}
    assert set(merged.kept) | set(merged.dropped) == everything
    assert all(record.not_after < now - RETENTION for record in merged.dropped)
    assert sum(cover.last - cover.first + 1 for cover in merged.covers) == len(parts)


# On a ledger


async def fill(ledger: Ledger, count: int) -> None:
    """Record so many certificates, each in a segment of its own, every third of them revoked."""
    for n in range(1, count + 1):
        lifetime = (1 + n % 3) * HOUR
        await ledger.append(make_issued(n, f"agent-{n % 4}", lifetime=lifetime))
        if n % 3 == 0:
            await ledger.append(make_revoked(n, lifetime=lifetime))


async def settled(ledger: Ledger) -> int:
    """Compact until there is nothing to do, and return how many rounds it took."""
    rounds = 0
    while (await ledger.compact()).did_something:
        rounds += 1
        assert rounds < 50, "compaction comes to an end"
    return rounds


async def replayed(store: MemorySegments, clock: ManualClock) -> object:
    """Return what a new process knows; it must find nothing wrong."""
    async with open_ledger(store, clock, f"reader-{len(store.calls)}") as reader:
        assert reader.alarms == ()
        return snapshot(reader.state)


async def test_state_is_the_same_before_and_after(
    clock: ManualClock, store: MemorySegments
) -> None:
    """In memory and replayed; in a few objects instead of many."""
    async with open_ledger(store, clock) as ledger:
        await fill(ledger, 40)
        before = snapshot(ledger.state)
        assert await settled(ledger) > 0
        assert snapshot(ledger.state) == before
        assert await replayed(store, clock) == before
        assert len(store.objects) < 12
        assert ledger.verify().alarms == ()


async def test_what_has_expired_goes_to_the_archive_and_away(
    clock: ManualClock, store: MemorySegments
) -> None:
    """Each record once, none that is still needed."""
    archived: list[Record] = []

    async def archive(records: Sequence[Record]) -> None:
        archived.extend(records)

    async with open_ledger(store, clock) as ledger:
        await fill(ledger, 12)
        clock.advance(HOUR + RETENTION + MINUTE)
        result = await ledger.compact(archive)
        assert result.dropped == len(archived) > 0
        assert len(set(archived)) == len(archived)
        assert all(one.not_after == NOON + HOUR for one in archived)
        clock.advance(24 * HOUR)
        await settled(ledger)
        kept = [
            one
            for stored in store.objects.values()
            for one in decode(stored.name, stored.data).records
        ]
        assert kept == []


async def test_an_archive_that_fails_ends_the_round_and_loses_nothing(
    clock: ManualClock, store: MemorySegments
) -> None:
    """Nothing is merged and nothing deleted before it has taken the records."""

    async def archive(_: Sequence[Record]) -> None:
        message = "the audit stream is away"
        raise UnavailableError(message)

    async with open_ledger(store, clock) as ledger:
        await fill(ledger, 12)
        clock.advance(HOUR + RETENTION + MINUTE)
        names = set(store.objects)
        with pytest.raises(UnavailableError, match="audit stream"):
            await ledger.compact(archive)
        assert set(store.objects) == names


async def test_a_clock_set_forward_drops_nothing(clock: ManualClock, store: MemorySegments) -> None:
    """Neither from the ledger nor from memory; once set back, everything can be revoked."""
    async with open_ledger(store, clock) as ledger:
        await fill(ledger, 12)
        before = snapshot(ledger.state)
        clock.step(24 * HOUR)
        await ledger.append(make_issued(100, "late"))
        await settled(ledger)
        await clock.run_for(130)
        clock.step(-24 * HOUR)
        assert ledger.state.count == 13
        assert await replayed(store, clock) == snapshot(ledger.state) != before


async def test_entries_that_have_expired_leave_the_memory(
    clock: ManualClock, store: MemorySegments
) -> None:
    """Also in a replica that only follows."""
    async with open_ledger(store, clock) as ledger, open_ledger(store, clock, "v") as follower:
        await fill(ledger, 12)
        await clock.settle()
        assert follower.state.count == 12
        clock.advance(3 * HOUR + RETENTION + MINUTE)
        await clock.run_for(90)
        assert ledger.state.count == 0
        assert follower.state.count == 0


WRITES = 27


@pytest.mark.parametrize("fault", list(Fault))
@pytest.mark.parametrize("step", range(WRITES))
async def test_an_interruption_at_any_step_loses_nothing(
    clock: ManualClock, store: MemorySegments, step: int, fault: Fault
) -> None:
    """The process dies at each write of a round, carried out or not; its successor goes on.

    No alarm, no lost record, and what was left over is deleted.
    """
    async with open_ledger(store, clock, "first", limits=CommitLimits(timeout=1)) as ledger:
        await fill(ledger, 20)
        before = snapshot(ledger.state)
        died = asyncio.Event()
        writes = itertools.count()

        async def die(verb: str, name: str) -> None:
            del verb, name
            if next(writes) == step:
                store.gate = None
                store.faults.append(fault)
                died.set()

        store.gate = die
        compaction = asyncio.create_task(ledger.compact())
        dying = asyncio.create_task(died.wait())
        await asyncio.wait((compaction, dying), return_when=asyncio.FIRST_COMPLETED)
        assert died.is_set(), "the round has more writes than this"
        for _ in range(3):
            await asyncio.sleep(0)
        dying.cancel()
        compaction.cancel()
        await asyncio.gather(compaction, dying, return_exceptions=True)
    store.gate = None
    store.faults.clear()
    assert await replayed(store, clock) == before
    async with open_ledger(store, clock, "second") as ledger:
        assert ledger.alarms == ()
        await ledger.append(make_revoked(1, lifetime=2 * HOUR))
        await settled(ledger)
        assert ledger.verify().alarms == ()
        ledger.state.expire(NOON)
        covered = [
            (cover.writer, n)
            for stored in store.objects.values()
            for cover in decode(stored.name, stored.data).header.covers
            for n in range(cover.first, cover.last + 1)
        ]
        assert not {segment_name(*one) for one in covered} & set(store.objects), "nothing left over"
        after = snapshot(ledger.state)
    assert await replayed(store, clock) == after


async def test_the_steps_of_a_round_are_all_swept(
    clock: ManualClock, store: MemorySegments
) -> None:
    """First the merged segment, then one deletion for each that it stands for."""
    async with open_ledger(store, clock) as ledger:
        await fill(ledger, 20)
        calls = len(store.calls)
        await ledger.compact()
        writes = [verb for verb, _ in store.calls[calls:] if verb != "read"]
        assert writes == ["create"] + ["delete"] * (WRITES - 1)


async def test_two_replicas_that_compact_at_once_harm_nothing(
    clock: ManualClock, store: MemorySegments
) -> None:
    """Both believe that they lead, for a while."""
    async with open_ledger(store, clock, "a") as one, open_ledger(store, clock, "b") as two:
        await fill(one, 20)
        await two.append(make_issued(1000, "other"))
        await clock.settle()
        before = snapshot(one.state)
        await asyncio.gather(one.compact(), two.compact())
        await clock.settle()
        await settled(one)
        await settled(two)
        await clock.run_for(5)
        assert one.alarms == two.alarms == ()
        assert snapshot(one.state) == snapshot(two.state) == before
        assert await replayed(store, clock) == before


async def test_a_segment_that_was_altered_meanwhile_is_not_merged(
    clock: ManualClock, store: MemorySegments
) -> None:
    """What is deleted has to be what was merged, so it is read again."""
    async with open_ledger(store, clock) as ledger:
        await fill(ledger, 12)
        name = segment_name("w", 3)
        stored = store.objects[name]
        store.objects[name] = type(stored)(name, stored.data.replace(b"demo", b"dem0"))
        await settled(ledger)
        assert name in store.objects
        await clock.run_for(5)
        assert any(alarm.subject == name for alarm in ledger.alarms)


class Days:
    """Three replicas of which one leads, and what they have to know."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.clock = ManualClock()
        self.store = MemorySegments(self.clock.now)
        self.replicas: list[Ledger] = []
        self.good: dict[int, Issued] = {}
        self.revoked: set[int] = set()
        self.number = 0
        self.started = 0

    async def start(self) -> None:
        """Start a replica."""
        self.started += 1
        writer = f"r{self.started}"
        ledger = Ledger(self.store, clock=self.clock, writer=writer, limits=CommitLimits(pace=0))
        await ledger.start()
        self.replicas.append(ledger)

    async def issue(self, ledger: Ledger) -> None:
        """Record a certificate."""
        self.number += 1
        now = self.clock.now()
        lifetime = self.dice.choice([HOUR, 2 * HOUR, 24 * HOUR])
        name = f"agent-{self.number % 7}"
        record = make_issued(
            self.number, name, issued_at=now, not_before=now, not_after=now + lifetime
        )
        await ledger.append(record)
        self.good[self.number] = record

    async def revoke(self, ledger: Ledger) -> None:
        """Revoke some certificate that is good."""
        entry = ledger.state.by_serial(self.dice.choice(list(self.good.values())).serial)
        assert entry is not None
        reason = RevocationReason.SUPERSEDED
        await ledger.append(entry.revocation(reason, at=self.clock.now(), actor="a test"))
        self.revoked.add(entry.serial.value)

    async def live_for(self, time: timedelta) -> None:
        """Let replicas learn of each other, and time pass."""
        await self.clock.run_for(3)
        self.clock.advance(time)
        self.good = {n: one for n, one in self.good.items() if one.not_after >= self.clock.now()}

    def check(self) -> None:
        """Every replica knows everything that is good, and nobody is alarmed."""
        for replica in self.replicas:
            assert replica.alarms == ()
            assert all(replica.state.by_serial(one.serial) for one in self.good.values())
            revoked = self.revoked & set(self.good)
            assert all(replica.state.is_revoked(SerialNumber(n)) for n in revoked)


@pytest.mark.parametrize("seed", range(6))
async def test_two_days_of_three_replicas(seed: int) -> None:
    """Issuing, revoking, restarting and compacting at random; the ledger stays small."""
    days = Days(seed)
    for _ in range(3):
        await days.start()
    for _ in range(48 * 4):
        for _ in range(days.dice.randint(0, 4)):
            await days.issue(days.dice.choice(days.replicas))
        await days.clock.settle()
        if days.good and days.dice.random() < 0.3:
            await days.revoke(days.dice.choice(days.replicas))
        if days.dice.random() < 0.1:
            await days.replicas.pop(days.dice.randrange(3)).abandon()
            await days.start()
        if days.dice.random() < 0.7:
            await settled(days.replicas[0])
        await days.live_for(15 * MINUTE)
        days.check()
    assert len(days.store.objects) < 40
    report = verify_segments(days.store.objects.values())
    assert report.alarms == ()
    for _ in range(30):
        for replica in days.replicas:
            await days.issue(replica)
        await settled(days.replicas[0])
        await days.live_for(HOUR)
        days.check()
    left = verify_segments(days.store.objects.values())
    assert left.alarms == ()
    assert len(left.chains) < len(report.chains), "chains that are over are forgotten"
    for replica in days.replicas:
        await replica.abandon()
