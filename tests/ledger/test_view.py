"""The ledger of somebody who only reads."""

from __future__ import annotations

from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from agentid.errors import ForbiddenError
from agentid.identity import SerialNumber
from agentid.ledger import Alarm, AlarmKind, Durable, LedgerView
from agentid.ledger.naming import segment_name
from agentid.testing.ledger import NOON, make_issued, make_revoked, open_ledger, snapshot

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from agentid.ledger import SegmentEvent
    from agentid.testing.clock import ManualClock
    from agentid.testing.segments import MemorySegments

FIRST, SECOND = (segment_name("w", n) for n in (1, 2))


class ReadOnly:
    """A backend with nothing but what a `SegmentSource` promises; writing is an AttributeError."""

    def __init__(self, store: MemorySegments) -> None:
        self.read, self.list, self.follow = store.read, store.list, store.follow


@asynccontextmanager
async def open_view(
    store: MemorySegments, clock: ManualClock, alarms: list[Alarm] | None = None
) -> AsyncIterator[LedgerView]:
    """Return a view that has started."""
    on_alarm = None if alarms is None else alarms.append
    view = LedgerView(ReadOnly(store), clock=clock, on_alarm=on_alarm)
    await view.start()
    try:
        yield view
    finally:
        await view.close()


async def test_a_view_knows_what_the_ledger_knows(
    clock: ManualClock, store: MemorySegments
) -> None:
    """What was there before it, and what came after; its listeners hear of the latter, once."""
    async with open_ledger(store, clock) as ledger:
        await ledger.append(make_issued(1), make_issued(2))
        async with open_view(store, clock) as view:
            assert snapshot(view.state) == snapshot(ledger.state)
            heard: list[Durable] = []
            stop = view.subscribe(heard.append)
            await ledger.append(make_issued(3), make_revoked(1))
            await clock.settle()
            assert snapshot(view.state) == snapshot(ledger.state)
            assert heard == [Durable((make_issued(3), make_revoked(1)), own=False)]
            stop()
            await ledger.append(make_issued(4))
            await clock.settle()
            assert len(heard) == 1
            assert view.alarms == ()
            assert view.stats() == ledger.stats()


async def test_a_view_follows_through_compaction(clock: ManualClock, store: MemorySegments) -> None:
    """Segments that go since another stands for them take nothing away, and alarm nobody."""
    async with open_ledger(store, clock) as ledger, open_view(store, clock) as view:
        for n in range(1, 10):
            await ledger.append(make_issued(n))
        while (await ledger.compact()).did_something:
            await clock.settle()
        await clock.run_for(5)
        assert len(store.objects) < 9
        assert snapshot(view.state) == snapshot(ledger.state)
        assert view.alarms == ()


async def test_a_view_writes_nothing_whatever_is_wrong(
    clock: ManualClock, store: MemorySegments
) -> None:
    """A writer would mend; a view raises the alarm, goes on with what it knows, and waits."""
    async with open_ledger(store, clock) as ledger:
        await ledger.append(make_issued(1), make_revoked(1))
        await ledger.append(make_issued(2))
    raised: list[Alarm] = []
    store.calls.clear()
    async with open_view(store, clock, raised) as view:
        await store.tamper(SECOND, store.objects[SECOND].data.replace(b"reader", b"raider"))
        await store.tamper(FIRST, None)
        await clock.run_for(120)
        assert view.state.is_revoked(SerialNumber(1))
        expected = {(AlarmKind.DAMAGED, SECOND), (AlarmKind.MISSING, FIRST)}
        assert {(alarm.kind, alarm.subject) for alarm in raised} == expected
        assert set(view.alarms) == set(raised)
        assert store.calls == []


async def test_a_revocation_in_a_damaged_segment_counts(
    clock: ManualClock, store: MemorySegments
) -> None:
    """Found at the start, with the record unreadable: the header still names the serial."""
    async with open_ledger(store, clock) as ledger:
        await ledger.append(make_issued(1))
        await ledger.append(make_revoked(1))
    data = store.objects[SECOND].data
    await store.tamper(SECOND, data.replace(b'"actor"', b'"actoR"'))
    async with open_view(store, clock) as view:
        assert view.state.is_revoked(SerialNumber(1))
        assert [alarm.kind for alarm in view.alarms] == [AlarmKind.DAMAGED]


async def test_a_view_says_how_fresh_it_is(clock: ManualClock, store: MemorySegments) -> None:
    """From its start, and again whenever the backend says that nothing else has happened."""
    view = LedgerView(store, clock=clock)
    assert (view.synced_at, view.lag) == (None, None)
    await view.start()
    assert (view.synced_at, view.lag) == (NOON, timedelta(0))
    await clock.run_for(70)
    assert view.lag == timedelta(seconds=70)
    await store.say_current()
    await clock.run_for(5)
    assert view.synced_at == NOON + timedelta(seconds=70)
    assert view.lag == timedelta(seconds=5)
    clock.step(timedelta(hours=-3))
    assert view.lag == timedelta(seconds=5), "a clock that is set makes nothing fresh or stale"
    await view.close()
    await view.join()


@pytest.mark.parametrize("anew", [False, True], ids=["taken-up", "looked-at-anew"])
async def test_an_outage_shows_and_what_happened_in_it_comes(
    clock: ManualClock, store: MemorySegments, *, anew: bool
) -> None:
    """The lag grows until everything of the outage is known; reports about it end it not before."""
    async with open_ledger(store, clock) as ledger, open_view(store, clock) as view:
        await ledger.append(make_issued(1))
        await clock.settle()
        store.fall_silent()
        await ledger.append(make_revoked(1))
        await clock.run_for(300)
        assert not view.state.is_revoked(SerialNumber(1))
        assert view.lag == timedelta(seconds=300)
        await store.speak(anew=anew)
        await clock.settle()
        assert view.state.is_revoked(SerialNumber(1))
        assert view.lag == (timedelta(0) if anew else timedelta(seconds=300))
        await store.say_current()
        await clock.settle()
        assert view.lag == timedelta(0)


async def test_what_was_removed_in_an_outage_is_an_alarm(
    clock: ManualClock, store: MemorySegments
) -> None:
    """Looking at everything anew does not make a view forget what it has read."""
    async with open_ledger(store, clock) as ledger:
        await ledger.append(make_issued(1), make_revoked(1))
    async with open_view(store, clock) as view:
        store.fall_silent()
        await store.tamper(FIRST, None)
        await store.speak(anew=True)
        await clock.settle()
        assert [(alarm.kind, alarm.subject) for alarm in view.alarms] == [
            (AlarmKind.MISSING, FIRST)
        ]
        assert view.state.is_revoked(SerialNumber(1))


async def test_what_has_expired_leaves_the_memory(
    clock: ManualClock, store: MemorySegments
) -> None:
    """With the same margin as in a ledger that writes."""
    async with open_ledger(store, clock) as ledger, open_view(store, clock) as view:
        await ledger.append(make_issued(1), make_issued(2, lifetime=timedelta(hours=9)))
        await clock.run_for(timedelta(hours=3))
        await ledger.append(make_issued(3, lifetime=timedelta(hours=9)))
        await clock.run_for(timedelta(hours=2))
        assert {entry.serial.value for entry in view.state.entries()} == {2, 3}


async def test_a_view_that_may_not_read_does_not_start(clock: ManualClock) -> None:
    """The reason is the backend's own, and it fails whoever waits for it."""

    class Refusing:
        read = list = None

        async def follow(self) -> AsyncIterator[SegmentEvent]:
            """Refuse."""
            message = "RBAC says no"
            raise ForbiddenError(message, status=403)
            yield

    view = LedgerView(Refusing(), clock=clock)  # type: ignore[arg-type]
    with pytest.raises(ForbiddenError, match="RBAC says no"):
        await view.start()
    assert view.synced_at is None
