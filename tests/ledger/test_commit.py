"""Group commit: what callers are told, and what is written."""

from __future__ import annotations

import asyncio
import random
from datetime import timedelta
from itertools import chain
from typing import TYPE_CHECKING

import pytest

from agentid.errors import ForbiddenError, InputError, InternalError, UnavailableError
from agentid.identity import SerialNumber
from agentid.ledger import CommitLimits, Ledger
from agentid.ledger.reading import decode
from agentid.testing.ledger import in_virtual_time, make_issued, make_revoked, open_ledger
from agentid.testing.segments import Fault, MemorySegments

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentid.ledger import Record
    from agentid.ledger.segment import Segment
    from agentid.testing.clock import ManualClock


def segments(store: MemorySegments) -> list[Segment]:
    """Return what is stored, by name; each has to be sound."""
    return [decode(name, store.objects[name].data) for name in sorted(store.objects)]


def serials(store: MemorySegments) -> list[list[int]]:
    """Return the serials of each stored segment."""
    return [[record.serial.value for record in one.records] for one in segments(store)]


def creates(store: MemorySegments) -> list[str]:
    """Return the names that were created, or tried to, by their last digit."""
    return [name[-1] for verb, name in store.calls if verb == "create"]


def tasks_of(ledger: Ledger, *records: Record) -> asyncio.Task[None]:
    """Append in a task of its own."""
    return asyncio.create_task(ledger.append(*records))


async def test_a_record_is_durable_and_known_when_append_returns(
    clock: ManualClock, store: MemorySegments
) -> None:
    """Nothing is known before it is stored, everything is when the caller goes on."""
    async with open_ledger(store, clock) as ledger:
        await ledger.append(make_issued(1), make_revoked(1))
        assert serials(store) == [[1, 1]]
        assert ledger.state.is_revoked(SerialNumber(1))


async def test_what_waits_goes_into_the_next_segment(
    clock: ManualClock, store: MemorySegments
) -> None:
    """While the first caller's segment is under way, fifty others come; two segments in all."""
    async with open_ledger(store, clock) as ledger:
        held = asyncio.Event()

        async def hold(*_: str) -> None:
            await held.wait()

        store.gate = hold
        first = tasks_of(ledger, make_issued(1))
        await clock.settle()
        rest = [tasks_of(ledger, make_issued(n)) for n in range(2, 52)]
        await clock.settle()
        assert not ledger.state.count, "what is under way is not known yet"
        assert ledger.stats().waiting == 51
        held.set()
        await in_virtual_time(clock, asyncio.gather(first, *rest))
        assert serials(store) == [[1], list(range(2, 52))]


async def test_a_lone_caller_never_waits_for_others(
    clock: ManualClock, store: MemorySegments
) -> None:
    """Ten appends, one after the other, take no virtual time."""
    async with open_ledger(store, clock) as ledger:
        for n in range(1, 11):
            await ledger.append(make_issued(n))
        assert clock.monotonic() == 1000.0
        assert len(store.objects) == 10


async def test_a_busy_ledger_keeps_its_pace(clock: ManualClock, store: MemorySegments) -> None:
    """Twenty callers that never pause make twenty segments a second, not hundreds."""
    async with open_ledger(store, clock, limits=CommitLimits(pace=0.05)) as ledger:
        numbers = iter(range(1, 100_000))

        async def work() -> None:
            while True:
                await ledger.append(make_issued(next(numbers)))

        workers = [asyncio.create_task(work()) for _ in range(20)]
        await clock.run_for(1.0)
        assert 18 <= len(store.objects) <= 23
        for worker in workers:
            worker.cancel()
        await asyncio.wait(workers)


@pytest.mark.parametrize(
    ("limits", "sizes"),
    [
        pytest.param(CommitLimits(records=4), [4, 4, 2], id="records"),
        pytest.param(CommitLimits(bytes=1600), [3, 3, 3, 1], id="bytes"),
        pytest.param(CommitLimits(bytes=10), [1] * 10, id="each-too-large"),
    ],
)
async def test_a_long_append_is_cut_at_the_bounds(
    clock: ManualClock, store: MemorySegments, limits: CommitLimits, sizes: list[int]
) -> None:
    """In order, into as few segments as hold it; it returns once all of them are durable."""
    async with open_ledger(store, clock, limits=limits) as ledger:
        records = [make_issued(n) for n in range(1, 11)]
        await in_virtual_time(clock, ledger.append(*records))
        found = serials(store)
        assert [len(one) for one in found] == sizes
        assert [serial for one in found for serial in one] == list(range(1, 11))


async def test_nothing_to_record_writes_nothing(clock: ManualClock, store: MemorySegments) -> None:
    """An empty append is no commit."""
    async with open_ledger(store, clock) as ledger:
        await ledger.append()
        assert not store.objects


@pytest.mark.parametrize("fault", list(Fault))
async def test_a_lost_answer_is_resolved_by_name(
    clock: ManualClock, store: MemorySegments, fault: Fault
) -> None:
    """Whether the write was carried out or not, it is once in the end, and the caller goes on."""
    async with open_ledger(store, clock) as ledger:
        store.faults.extend([fault, fault])
        await in_virtual_time(clock, ledger.append(make_issued(1)))
        await ledger.append(make_issued(2))
        assert serials(store) == [[1], [2]]
        assert not ledger.verify().alarms
        assert set(creates(store)) == {"1", "2"}, "the same name was tried again"


async def test_an_outage_is_told_in_bounded_time(clock: ManualClock, store: MemorySegments) -> None:
    """Who waits is told after the time-out: that its records may come yet, or that they cannot."""
    async with open_ledger(store, clock, limits=CommitLimits(timeout=10)) as ledger:
        store.away = True
        sent = tasks_of(ledger, make_issued(1))
        await clock.run_for(1)
        unsent = tasks_of(ledger, make_issued(2))
        await clock.run_for(12)
        with pytest.raises(UnavailableError, match="may be on it or come onto it yet"):
            await sent
        with pytest.raises(UnavailableError, match="the records were not sent"):
            await unsent
        store.away = False
        await in_virtual_time(clock, ledger.append(make_issued(3)))
        assert serials(store) == [[1], [3]], "what was sent is tried on, what was not never will be"
        assert ledger.state.by_serial(SerialNumber(1)), "and is known once it is durable"
        assert not ledger.state.by_serial(SerialNumber(2))


async def test_what_became_durable_late_is_never_forgotten(
    clock: ManualClock, store: MemorySegments
) -> None:
    """The write is carried out, all answers are lost, and the caller has long given up."""
    async with open_ledger(store, clock, limits=CommitLimits(timeout=1)) as ledger:
        store.faults.append(Fault.AFTER)
        store.faults.extend([Fault.BEFORE] * 5)
        append = tasks_of(ledger, make_revoked(1))
        await clock.run_for(2)
        with pytest.raises(UnavailableError, match="may be on it"):
            await append
        assert ledger.state.is_revoked(SerialNumber(1)), "the backend has reported it"
        await clock.run_for(10)
        await in_virtual_time(clock, ledger.append(make_issued(2)))
        assert serials(store) == [[1], [2]]


async def test_a_refusal_is_told_at_once_and_costs_no_place(
    clock: ManualClock, store: MemorySegments
) -> None:
    """Nothing was written, so the next segment takes the same place in the chain."""
    async with open_ledger(store, clock) as ledger:
        store.refusal = ForbiddenError("RBAC says no", status=403)
        with pytest.raises(UnavailableError, match="refused and are not on it: RBAC says no"):
            await ledger.append(make_issued(1))
        store.refusal = None
        await ledger.append(make_issued(2))
        assert serials(store) == [[2]]
        assert segments(store)[0].header.sequence == 1


async def test_a_refusal_after_a_lost_answer_settles_nothing(
    clock: ManualClock, store: MemorySegments
) -> None:
    """The first attempt may have stored it, so its name and bytes are kept to until it is known."""
    async with open_ledger(store, clock) as ledger:
        store.faults.append(Fault.AFTER)
        append = tasks_of(ledger, make_issued(1))
        await clock.settle()
        store.refusal = ForbiddenError("RBAC says no", status=403)
        await clock.run_for(3)
        assert not append.done()
        store.refusal = None
        await in_virtual_time(clock, append)
        assert serials(store) == [[1]]


async def test_cancelling_before_sending_withdraws(
    clock: ManualClock, store: MemorySegments
) -> None:
    """A caller that has gone leaves nothing behind, and disturbs nobody."""
    async with open_ledger(store, clock) as ledger:
        store.faults.append(Fault.BEFORE)
        first = tasks_of(ledger, make_issued(1))
        await clock.settle()
        second, third = tasks_of(ledger, make_issued(2)), tasks_of(ledger, make_issued(3))
        await clock.settle()
        second.cancel()
        await in_virtual_time(clock, asyncio.gather(first, third))
        assert serials(store) == [[1], [3]]


async def test_cancelling_after_sending_loses_nothing(
    clock: ManualClock, store: MemorySegments
) -> None:
    """The segment holds others' records as well, so it goes its way."""
    async with open_ledger(store, clock) as ledger:
        store.faults.append(Fault.BEFORE)
        first, second = tasks_of(ledger, make_issued(1)), tasks_of(ledger, make_issued(2))
        await clock.settle()
        first.cancel()
        await in_virtual_time(clock, second)
        assert serials(store) == [[1, 2]]
        assert ledger.state.by_serial(SerialNumber(1))


async def test_an_oversized_record_is_refused_before_anything_is_sent(
    clock: ManualClock, store: MemorySegments
) -> None:
    """Also when others in the same call are well."""
    async with open_ledger(store, clock) as ledger:
        with pytest.raises(InputError, match="shorten the permissions"):
            await ledger.append(make_issued(1), make_issued(2, grant="x" * 70_000))
        assert not store.calls


async def test_closing_commits_what_waits(clock: ManualClock, store: MemorySegments) -> None:
    """A graceful stop loses nothing, and takes nothing more."""
    ledger = Ledger(store, clock=clock, writer="w")
    await ledger.start()
    appends = [tasks_of(ledger, make_issued(n)) for n in range(1, 5)]
    await clock.settle()
    await in_virtual_time(clock, ledger.close())
    await asyncio.gather(*appends)
    assert sorted(chain.from_iterable(serials(store))) == [1, 2, 3, 4]
    with pytest.raises(UnavailableError, match="closed"):
        await ledger.append(make_issued(5))
    await ledger.join()


async def test_closing_waits_for_a_bounded_time(clock: ManualClock, store: MemorySegments) -> None:
    """With the store away, callers are told what is known of their records."""
    ledger = Ledger(store, clock=clock, writer="w", limits=CommitLimits(drain=5, timeout=60))
    await ledger.start()
    store.away = True
    sent = tasks_of(ledger, make_issued(1))
    await clock.settle()
    unsent = tasks_of(ledger, make_issued(2))
    await clock.settle()
    await in_virtual_time(clock, ledger.close(), seconds=6)
    with pytest.raises(UnavailableError, match="closed; the records may be on it"):
        await sent
    with pytest.raises(UnavailableError, match="closed, the records are not on it"):
        await unsent


async def test_a_defect_leaves_nobody_waiting(clock: ManualClock, store: MemorySegments) -> None:
    """An error that no backend may raise ends the committer; callers and `join` are told."""
    async with open_ledger(store, clock) as ledger:
        store.refusal = ZeroDivisionError("a defect")
        with pytest.raises(InternalError, match="nothing more is recorded: a defect"):
            await ledger.append(make_issued(1))
        with pytest.raises(ZeroDivisionError, match="a defect"):
            await ledger.join()


async def test_a_taken_name_begins_another_chain(clock: ManualClock, store: MemorySegments) -> None:
    """Somebody else has our writer: it is said, and our records become durable all the same."""
    await store.create("agentid-ledger-w-00000000002", b"theirs", {})
    async with open_ledger(store, clock) as ledger:
        await ledger.append(make_issued(1))
        await ledger.append(make_issued(2))
        assert ledger.writer == "w.2"
        mine = decode(name := "agentid-ledger-w.2-00000000001", store.objects[name].data)
        assert [record.serial.value for record in mine.records] == [2]
        assert [(head.writer, head.sequence) for head in mine.header.heads] == [("w", 1)]
        assert any("somebody else wrote it" in str(alarm) for alarm in ledger.alarms)


async def test_an_idle_chain_is_not_gone_on_with(clock: ManualClock, store: MemorySegments) -> None:
    """After six hours the next commit begins another one, with the old one's head as witnessed."""
    async with open_ledger(store, clock) as ledger:
        await ledger.append(make_issued(1))
        clock.advance(timedelta(hours=6))
        await ledger.append(make_issued(2))
        assert ledger.writer == "w"
        clock.advance(timedelta(hours=6, seconds=1))
        await ledger.append(make_issued(3))
        assert ledger.writer == "w.2"
        heads = segments(store)[-1].header.heads
        assert [(head.writer, head.sequence) for head in heads] == [("w", 2)]
        assert not ledger.verify().alarms


@pytest.mark.parametrize("seed", range(30))
async def test_every_interleaving_keeps_the_promise(
    clock: ManualClock, store: MemorySegments, seed: int
) -> None:
    """Callers, faults, cancellations and pauses at random.

    What a caller was told is durable; what was never sent is not; the chain is whole; and a replay
    gives what the ledger knew.
    """
    dice = random.Random(seed)
    numbers: Iterator[int] = iter(range(1, 10_000))
    told: set[int] = set()
    withdrawn: set[int] = set()
    async with open_ledger(store, clock, limits=CommitLimits(records=7, timeout=3)) as ledger:

        async def call() -> None:
            mine = [next(numbers) for _ in range(dice.randint(1, 10))]
            try:
                await ledger.append(*(make_issued(n, f"agent-{n % 5}") for n in mine))
            except UnavailableError as error:
                if "not sent" in str(error) and len(mine) <= 7:
                    withdrawn.update(mine)
            else:
                told.update(mine)

        callers: list[asyncio.Task[None]] = []
        for _ in range(60):
            match dice.randint(0, 9):
                case 0:
                    store.faults.extend(dice.choices([*Fault, None], k=3))
                case 1:
                    store.away = not store.away
                case 2 if callers:
                    dice.choice(callers).cancel()
                case 3:
                    await clock.run_for(dice.random() * 4)
                case _:
                    callers.append(asyncio.create_task(call()))
                    await asyncio.sleep(0)
        store.away = False
        store.faults.clear()
        await clock.run_for(30)
        await asyncio.gather(*callers, return_exceptions=True)
        stored = {serial for one in serials(store) for serial in one}
        assert told <= stored
        assert not withdrawn & stored
        known = {entry.serial.value for entry in ledger.state.entries()}
        assert known == stored
        assert not ledger.verify().alarms
