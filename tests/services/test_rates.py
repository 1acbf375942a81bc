"""The rate of a class, over restarts, replicas and clocks."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from agentid.api import AgentClass, Reason
from agentid.ledger import Durable, Issued, Ledger
from agentid.services.failure import PassError
from agentid.services.rates import Rates
from agentid.services.world import Parsed, World
from agentid.testing.clock import ManualClock
from agentid.testing.ledger import NOON, in_virtual_time, make_issued, open_ledger
from agentid.testing.segments import MemorySegments
from tests.support.manifests import agent_class

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentid.clock import Clock


class Told:
    """A ledger that tells what it is told to."""

    def __init__(self) -> None:
        self.listeners: list[Callable[[Durable], None]] = []

    def subscribe(self, listener: Callable[[Durable], None]) -> Callable[[], None]:
        """Tell it from now on."""
        self.listeners.append(listener)
        return lambda: None

    def tell(self, *records: Issued, own: bool = False) -> None:
        """These are durable."""
        for listener in self.listeners:
            listener(Durable(records, own))


def rates_of(ledger: Ledger | Told, clock: Clock, limit: int | None = 2) -> Rates:
    """The rates of a process that knows the class `batch`."""
    world, limits = World(), dict[str, Any]()
    if limit is not None:
        limits = {"issuancesPerMinutePerNamespace": limit}
    body = agent_class("batch", limits=limits)
    world.classes["batch"] = Parsed.of(AgentClass.parse, body)
    assert world.classes["batch"].model is not None
    return Rates(world=world, ledger=ledger, clock=clock)  # type: ignore[arg-type]  # has enough


def waits(rates: Rates, whose: str, namespace: str = "finance", *, due: bool = False) -> float:
    """How long one has to wait, 0 if it has not."""
    try:
        rates.take("batch", namespace, whose, due=due)
    except PassError as error:
        told = error.reason, error.stalled, error.retry_after
    else:
        return 0.0
    reason, stalled, retry_after = told
    assert (reason, stalled) == (Reason.RATE_LIMITED, False)
    assert retry_after is not None
    return retry_after.total_seconds()


def record(number: int, age: float = 0.0, class_name: str = "batch") -> Issued:
    """Of a certificate for the namespace finance."""
    return make_issued(
        number,
        namespace="finance",
        grant=f'{{"class":"{class_name}"}}',
        issued_at=NOON - timedelta(seconds=age),
    )


def test_each_namespace_has_its_own() -> None:
    """One that is over the rate takes nothing from another."""
    rates = rates_of(Told(), ManualClock())
    assert [waits(rates, f"u-{n}") for n in range(3)] == [0, 0, 60]
    assert waits(rates, "u-9", "support") == 0


def test_who_waits_is_told_by_numbers() -> None:
    """How many are allowed, by which field, and what to do; the same words at each try."""
    clock = ManualClock()
    rates = rates_of(Told(), clock, 1)
    rates.take("batch", "finance", "u-1", due=False)
    words = set()
    for _ in range(2):
        with pytest.raises(PassError) as caught:
            rates.take("batch", "finance", "u-2", due=False)
        words.add(str(caught.value))
        clock.advance(7)
    (told,) = words
    assert told == (
        "AgentClass batch limits certificates for namespace finance to 1 a minute "
        "(spec.limits.issuancesPerMinutePerNamespace), and as many were made in the last one; "
        "agentid issues when its turn comes. Ask the class owner for more if that takes too long"
    )


@pytest.mark.parametrize("limit", [pytest.param(None, id="none"), pytest.param(60_000, id="most")])
def test_nobody_waits_where_nothing_is_said(limit: int | None) -> None:
    """Defaults change nothing; nor does a class that is not known here."""
    rates = rates_of(Told(), ManualClock(), limit)
    assert all(waits(rates, f"u-{n}") == 0 for n in range(1000))
    rates.take("unknown", "finance", "u-1", due=False)


def test_what_another_replica_recorded_counts() -> None:
    """As soon as the ledger tells, once however often it does, and of this class alone."""
    told = Told()
    rates = rates_of(told, ManualClock())
    told.tell(record(1), record(9, class_name="other"))
    told.tell(record(1))
    assert waits(rates, "u-1") == 0
    assert waits(rates, "u-2") > 0


def test_what_this_process_recorded_counts_once() -> None:
    """It counted as it was made; compaction by another replica tells of it again."""
    told = Told()
    rates = rates_of(told, ManualClock())
    assert waits(rates, "u-1") == 0
    told.tell(record(1), own=True)
    told.tell(record(1))
    assert waits(rates, "u-2") == 0


@pytest.mark.parametrize(
    ("age", "wait"),
    [
        pytest.param(59.0, 1.0, id="last-minute"),
        pytest.param(61.0, 0.0, id="older"),
        # A clock that is ahead makes records of the future; they count as new.
        pytest.param(-3600.0, 60.0, id="clock-ahead"),
    ],
)
def test_records_count_by_their_age(age: float, wait: float) -> None:
    """Whatever the clock of who made them."""
    told = Told()
    rates = rates_of(told, ManualClock(), 1)
    told.tell(record(1, age))
    assert waits(rates, "u-1") == pytest.approx(wait)


def test_a_clock_that_is_set_changes_no_rate() -> None:
    """Neither forward nor back: what is waited for is measured by a clock that never goes back."""
    clock = ManualClock()
    rates = rates_of(Told(), clock, 1)
    assert waits(rates, "u-1") == 0
    for hours in (5, -9):
        clock.step(timedelta(hours=hours))
        assert waits(rates, "u-2") == pytest.approx(60.0)


def test_a_record_of_another_release_is_counted_for_no_class() -> None:
    """It cannot be read, and stops nothing."""
    told = Told()
    rates = rates_of(told, ManualClock(), 1)
    for number, grant in enumerate(("nonsense", "[]", '{"class":7}'), 1):
        told.tell(make_issued(number, namespace="finance", grant=grant))
    assert waits(rates, "u-1") == 0


async def test_a_restart_gives_no_fresh_minute() -> None:
    """The ledger, which is replayed, says what was made in the last one."""
    clock = ManualClock()
    store = MemorySegments(clock.now)
    async with open_ledger(store, clock) as ledger:
        await in_virtual_time(clock, ledger.append(record(1), record(2)))
    clock.advance(20)
    began_anew = Ledger(store, clock=clock, writer="x")
    rates = rates_of(began_anew, clock)
    await began_anew.start()
    try:
        assert began_anew.state.count == 2
        assert waits(rates, "u-1") == pytest.approx(40.0, abs=1.0)
        assert waits(rates, "u-1", "support") == 0
    finally:
        await began_anew.abandon()
