"""The ledger as a whole: replay, several writers, damage and repair."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from agentid.errors import ForbiddenError, InputError, InternalError
from agentid.identity import SerialNumber
from agentid.ledger import Alarm, AlarmKind, Durable, Ledger, SegmentEvent, StoredSegment
from agentid.ledger.naming import segment_name
from agentid.ledger.reading import decode
from agentid.testing.ledger import (
    NOON,
    in_virtual_time,
    make_issued,
    make_revoked,
    open_ledger,
    snapshot,
)
from agentid.testing.segments import Fault

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from agentid.ledger.store import CreateOutcome
    from agentid.testing.clock import ManualClock
    from agentid.testing.segments import MemorySegments

FIRST, SECOND, THIRD = (segment_name("w", n) for n in (1, 2, 3))


async def three_segments(store: MemorySegments, clock: ManualClock) -> object:
    """Leave three segments behind: two certificates, a revocation, a certificate and a revocation.

    Returns:
        What was known in the end.
    """
    async with open_ledger(store, clock) as ledger:
        await ledger.append(make_issued(1), make_issued(2, replaces=SerialNumber(1)))
        await ledger.append(make_revoked(1))
        await ledger.append(make_issued(3), make_revoked(3))
        return snapshot(ledger.state)


async def test_a_replay_gives_the_same_state(clock: ManualClock, store: MemorySegments) -> None:
    """A new process knows what the one before knew."""
    before = await three_segments(store, clock)
    async with open_ledger(store, clock, "v") as ledger:
        assert snapshot(ledger.state) == before
        assert ledger.alarms == ()


async def test_replicas_follow_each_other(clock: ManualClock, store: MemorySegments) -> None:
    """What one records the other knows, and says so to those who listen."""
    async with open_ledger(store, clock, "a") as one, open_ledger(store, clock, "b") as two:
        heard: list[tuple[int, bool]] = []

        def listen(durable: Durable) -> None:
            assert all(two.state.by_serial(record.serial) for record in durable.records)
            heard.extend((record.serial.value, durable.own) for record in durable.records)

        two.subscribe(listen)
        for n in range(1, 6):
            await (one if n % 2 else two).append(make_issued(n))
            await clock.settle()
        assert snapshot(one.state) == snapshot(two.state)
        assert heard == [(1, False), (2, True), (3, False), (4, True), (5, False)]


async def test_what_is_reported_before_it_is_answered_is_ones_own_all_the_same(
    clock: ManualClock, store: MemorySegments
) -> None:
    """Once, so that nobody counts it as another's; a replica hears it as another's."""
    async with open_ledger(store, clock, "a") as one, open_ledger(store, clock, "b") as two:
        heard: dict[str, list[bool]] = {"a": [], "b": []}
        one.subscribe(lambda durable: heard["a"].append(durable.own))
        two.subscribe(lambda durable: heard["b"].append(durable.own))
        store.faults.append(Fault.AFTER)
        await in_virtual_time(clock, one.append(make_issued(1)))
        await clock.settle()
        assert heard == {"a": [True], "b": [False]}


async def test_what_others_have_compacted_before_it_is_answered_is_gone(
    clock: ManualClock, store: MemorySegments
) -> None:
    """Nobody would tell its end again: compaction would delete it over and over."""
    answered = asyncio.Event()
    create = store.create

    async def late(name: str, data: bytes, labels: Mapping[str, str]) -> CreateOutcome:
        outcome = await create(name, data, labels)
        if "-a-" in name:
            await answered.wait()
        return outcome

    store.create = late  # type: ignore[method-assign]
    async with open_ledger(store, clock, "a") as one, open_ledger(store, clock, "b") as two:
        heard: list[bool] = []
        one.subscribe(lambda durable: heard.append(durable.own))
        waiting = asyncio.create_task(one.append(make_issued(1)))
        for number in range(2, 9):
            await in_virtual_time(clock, two.append(make_issued(number)))
        assert (await in_virtual_time(clock, two.compact())).merged == 8
        answered.set()
        await in_virtual_time(clock, waiting)
        await clock.settle()
        assert one.stats().segments == len(store.objects) == 1
        assert heard.count(True) == 1
        assert not (await in_virtual_time(clock, one.compact())).did_something


async def test_a_chain_witnesses_the_others(clock: ManualClock, store: MemorySegments) -> None:
    """The first segment names every other chain's head, later ones those that changed since."""
    await three_segments(store, clock)
    async with open_ledger(store, clock, "a") as one, open_ledger(store, clock, "b") as two:
        await one.append(make_issued(10))
        await clock.settle()
        await two.append(make_issued(11))
        await clock.settle()
        await two.append(make_issued(12))
        await one.append(make_issued(13))
        await clock.settle()
        await two.append(make_issued(14))

    def heads(writer: str, sequence: int) -> list[tuple[str, int]]:
        name = segment_name(writer, sequence)
        found = decode(name, store.objects[name].data).header.heads
        return sorted((head.writer, head.sequence) for head in found)

    assert heads("a", 1) == [("w", 3)]
    assert heads("b", 1) == [("a", 1), ("w", 3)]
    assert heads("b", 2) == []
    assert heads("a", 2) == [("b", 2)] or heads("a", 2) == [("b", 1)]
    assert heads("b", 3) == [("a", 2)]


async def test_a_listener_that_fails_costs_nothing(
    clock: ManualClock, store: MemorySegments
) -> None:
    """It is logged; the record is durable, and other listeners hear of it."""
    async with open_ledger(store, clock) as ledger:
        heard: list[Durable] = []

        def fail(_: Durable) -> None:
            message = "a listener's defect"
            raise ValueError(message)

        stop = ledger.subscribe(fail)
        ledger.subscribe(heard.append)
        with capture_logs() as logs:
            await ledger.append(make_issued(1))
        assert [event["segment"] for event in logs if event["log_level"] == "error"] == [FIRST]
        assert len(heard) == 1
        stop()
        await ledger.append(make_issued(2))
        assert len(heard) == 2


async def test_a_revocation_with_another_end_is_refused(
    clock: ManualClock, store: MemorySegments
) -> None:
    """It would be dropped while the certificate is good."""
    async with open_ledger(store, clock) as ledger:
        await ledger.append(make_issued(1))
        wrong = replace(make_revoked(1), not_after=NOON)
        with pytest.raises(InputError, match=r"serial 01: notAfter .* is not .* use Entry"):
            await ledger.append(wrong)


# Damage found at a start


def flipped(data: bytes, at: bytes) -> bytes:
    """Return the bytes with the first one of `at` changed."""
    place = data.index(at)
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


@pytest.mark.parametrize(
    "at",
    [
        b'"covers"',
        b'"revokes":["03"',
        b'03"],"sequence"',
        b'"actor"',
        b'"type":"revoked"',
        b'{"act',
    ],
)
async def test_a_revocation_in_a_damaged_segment_is_not_forgotten(
    clock: ManualClock, store: MemorySegments, at: bytes
) -> None:
    """Wherever the byte is: in the header, in the record, or between them. The alarm names it."""
    await three_segments(store, clock)
    await store.tamper(THIRD, flipped(store.objects[THIRD].data, at))
    async with open_ledger(store, clock, "v") as ledger:
        assert ledger.state.is_revoked(SerialNumber(1))
        assert ledger.state.is_revoked(SerialNumber(3))
        (alarm,) = ledger.alarms
        assert alarm.kind is AlarmKind.DAMAGED
        assert alarm.subject == THIRD


async def test_what_a_damaged_segment_says_of_a_certificate_is_doubted(
    clock: ManualClock, store: MemorySegments
) -> None:
    """It can be revoked; that another one was delivered before cannot be concluded from it."""
    await three_segments(store, clock)
    await store.tamper(FIRST, flipped(store.objects[FIRST].data, b'"sha256"'))
    store.away = True
    async with open_ledger(store, clock, "v") as ledger:
        entries = {entry.serial.value: entry for entry in ledger.state.entries()}
        assert [entries[n].doubtful for n in (1, 2, 3)] == [True, True, False]
        assert {entry.serial.value for entry in ledger.state.unrevoked("demo", "reader")} == {2}
        store.away = False
        await clock.run_for(1)
        mended = ledger.state.by_serial(SerialNumber(2))
        assert mended is not None
        assert (mended.doubtful, mended.issued.replaces) == (False, None)


async def test_what_a_damaged_segment_holds_is_recorded_anew_once(
    clock: ManualClock, store: MemorySegments
) -> None:
    """So the damaged object can be taken away; each start does not write it again."""
    await three_segments(store, clock)
    await store.tamper(THIRD, flipped(store.objects[THIRD].data, b'"actor"'))
    async with open_ledger(store, clock, "v") as ledger:
        await clock.run_for(1)
        mended = decode(name := segment_name("v", 1), store.objects[name].data)
        assert {record.serial.value for record in mended.records} == {3}
        assert ledger.state.is_revoked(SerialNumber(3))
    await store.tamper(THIRD, None)
    async with open_ledger(store, clock, "u") as ledger:
        await clock.run_for(5)
        assert ledger.state.is_revoked(SerialNumber(3))
        assert ledger.writer == "u"
        assert segment_name("u", 1) not in store.objects
        assert ledger.alarms == ()


async def test_revocations_go_on_under_an_alarm(clock: ManualClock, store: MemorySegments) -> None:
    """An alarm stops nothing."""
    await three_segments(store, clock)
    await store.tamper(SECOND, None)
    async with open_ledger(store, clock, "v") as ledger:
        assert [alarm.kind for alarm in ledger.alarms] == [AlarmKind.MISSING]
        await ledger.append(make_revoked(2))
        assert ledger.state.is_revoked(SerialNumber(2))


# Damage done while running


@pytest.mark.parametrize(
    ("touch", "kind"),
    [
        pytest.param(None, AlarmKind.MISSING, id="removed"),
        pytest.param(b"{}", AlarmKind.DAMAGED, id="emptied"),
    ],
)
async def test_what_is_lost_while_running_is_recorded_anew(
    clock: ManualClock, store: MemorySegments, touch: bytes | None, kind: AlarmKind
) -> None:
    """An administrator removes the last segment: it is said, and the ledger holds it all again."""
    async with open_ledger(store, clock) as ledger:
        await ledger.append(make_issued(1), make_issued(2))
        await ledger.append(make_revoked(1), make_issued(3, replaces=SerialNumber(2)))
        before = snapshot(ledger.state)
        await store.tamper(SECOND, touch)
        await clock.run_for(5)
        assert kind in [alarm.kind for alarm in ledger.alarms]
        assert snapshot(ledger.state) == before
    async with open_ledger(store, clock, "v") as successor:
        assert snapshot(successor.state) == before


async def test_a_forged_segment_takes_nothing_back(
    clock: ManualClock, store: MemorySegments
) -> None:
    """Other records under a fitting seal: the original's count, the alarm says what differs."""
    async with open_ledger(store, clock) as ledger, open_ledger(store, clock, "x") as forger:
        await ledger.append(make_revoked(1))
        await forger.append(make_issued(7))
        forged = store.objects[segment_name("x", 1)].data.replace(b'"x"', b'"w"')
        await store.tamper(FIRST, forged)
        await clock.run_for(5)
        assert ledger.state.is_revoked(SerialNumber(1))
        assert {alarm.subject for alarm in ledger.alarms} == {FIRST}


async def test_an_alarm_goes_when_the_object_comes_back(
    clock: ManualClock, store: MemorySegments
) -> None:
    """Restored from a backup; that is logged as well."""
    async with open_ledger(store, clock) as ledger:
        await ledger.append(make_issued(1))
        await ledger.append(make_issued(2))
        data = store.objects[FIRST].data
        await store.tamper(FIRST, None)
        with capture_logs() as logs:
            await clock.run_for(5)
            assert [alarm.kind for alarm in ledger.alarms] == [AlarmKind.MISSING]
            await store.tamper(FIRST, data)
            await clock.run_for(5)
        assert ledger.alarms == ()
        events = [event["event"] for event in logs]
        assert events.count("ledger_alarm_raised") == 1
        assert events.count("ledger_alarm_cleared") == 1


async def test_an_object_that_is_gone_for_a_moment_is_no_alarm(
    clock: ManualClock, store: MemorySegments
) -> None:
    """A backend that looks at everything anew reports one object after the other."""
    async with open_ledger(store, clock) as ledger:
        await ledger.append(make_issued(1))
        data = store.objects[FIRST].data
        with capture_logs() as logs:
            await store.tamper(FIRST, None)
            await clock.run_for(1)
            await store.tamper(FIRST, data)
            await clock.run_for(5)
        assert not [event for event in logs if event["log_level"] == "error"]
        assert len(store.objects) == 1


async def test_a_serial_on_record_twice_is_an_alarm(
    clock: ManualClock, store: MemorySegments
) -> None:
    """With different certificates; which one it concerns is said."""
    async with open_ledger(store, clock) as ledger:
        await ledger.append(make_issued(1))
        await ledger.append(make_issued(1, "other"))
        (alarm,) = ledger.alarms
        assert alarm.kind is AlarmKind.ISSUED_TWICE
        assert "serial 01" in str(alarm)


async def test_the_observer_hears_of_commits_and_alarms(
    clock: ManualClock, store: MemorySegments
) -> None:
    """Each once, with what a metric needs."""

    class Observer:
        def __init__(self) -> None:
            self.commits: list[int] = []
            self.alarms: list[Alarm] = []

        def committed(self, *, records: int, size: int, seconds: float) -> None:
            assert size > 100
            assert seconds >= 0
            self.commits.append(records)

        def alarmed(self, alarm: Alarm) -> None:
            self.alarms.append(alarm)

    observer = Observer()
    ledger = Ledger(store, clock=clock, writer="w", observer=observer)
    await ledger.start()
    await ledger.append(make_issued(1), make_issued(2))
    await ledger.append(make_revoked(1))
    await store.tamper(FIRST, None)
    await clock.run_for(10)
    assert observer.commits == [2, 1, 3], "the third is what was recorded anew"
    assert [alarm.subject for alarm in observer.alarms] == [FIRST]
    stats = ledger.stats()
    assert (stats.entries, stats.revoked, stats.identities) == (2, 1, 1)
    assert (stats.segments, stats.chains, stats.waiting) == (2, 1, 0)
    assert stats.bytes == sum(len(stored.data) for stored in store.objects.values())
    await ledger.abandon()


# Life


class Refusing:
    """A backend that may not be read, or ends its reports."""

    def __init__(self, error: Exception | None) -> None:
        self.error = error

    async def follow(self) -> AsyncIterator[SegmentEvent]:
        """Raise, or end at once."""
        if self.error is not None:
            raise self.error
        no_events: tuple[SegmentEvent, ...] = ()
        for event in no_events:
            yield event

    def __getattr__(self, name: str) -> object:
        raise NotImplementedError(name)


@pytest.mark.parametrize(
    ("error", "raised", "message"),
    [
        (ForbiddenError("RBAC says no", status=403), ForbiddenError, "RBAC says no"),
        (None, InternalError, "stopped to report"),
    ],
)
async def test_a_ledger_that_cannot_be_read_does_not_start(
    clock: ManualClock, error: Exception | None, raised: type[Exception], message: str
) -> None:
    """The reason is the backend's own."""
    ledger = Ledger(Refusing(error), clock=clock, writer="w")  # type: ignore[arg-type]
    with pytest.raises(raised, match=message):
        await ledger.start()


async def test_join_returns_when_closed(clock: ManualClock, store: MemorySegments) -> None:
    """Whoever watches over the ledger is not told of a failure that is none."""
    ledger = Ledger(store, clock=clock, writer="w")
    await ledger.join()
    await ledger.start()
    joining = asyncio.create_task(ledger.join())
    await in_virtual_time(clock, ledger.close())
    await joining
    await ledger.close()


def test_a_writer_that_fits_no_name_is_refused(clock: ManualClock, store: MemorySegments) -> None:
    """Before anything is written."""
    with pytest.raises(InputError, match='writer "No Name" is not 1 to 63'):
        Ledger(store, clock=clock, writer="No Name")


async def test_expired_entries_are_on_record_until_they_are_forgotten(
    clock: ManualClock, store: MemorySegments
) -> None:
    """`live` goes by the caller's clock, `unrevoked` by what is on record."""
    async with open_ledger(store, clock) as ledger:
        await ledger.append(make_issued(1))
        late = NOON + timedelta(hours=1, seconds=1)
        assert not ledger.state.live("demo", "reader", now=late)
        assert ledger.state.unrevoked("demo", "reader")
        assert ledger.trusted_now() == NOON


async def test_bytes_without_a_name_are_no_segment(
    clock: ManualClock, store: MemorySegments
) -> None:
    """An object under the ledger's label that is none: an alarm, and nothing else."""
    store.objects["stray"] = StoredSegment("stray", b"hello\n")
    async with open_ledger(store, clock) as ledger:
        assert [alarm.subject for alarm in ledger.alarms] == ["stray"]
        await ledger.append(make_issued(1))
