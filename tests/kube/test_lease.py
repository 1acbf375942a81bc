"""Leader election: at most one leader, and soon another when it is gone."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentid.errors import (
    AgentIdError,
    AlreadyExistsError,
    ConflictError,
    ForbiddenError,
    NotFoundError,
    UnavailableError,
)
from agentid.kube.lease import Leader, LeaseRecord, LeaseTimes
from agentid.testing.clock import ManualClock

if TYPE_CHECKING:
    from collections.abc import Iterable


EXISTS = AlreadyExistsError("exists", status=409)
GONE = NotFoundError("gone", status=404)
CHANGED = ConflictError("changed", status=409)
REFUSED = ForbiddenError("no leases for you", status=403)
AWAY = UnavailableError("no route to host")


class MemoryLease:
    """A Lease with compare-and-swap, shared by all candidates."""

    def __init__(self) -> None:
        self.record: LeaseRecord | None = None
        self.reads = 0
        self.writes = 0

    def take(self, record: LeaseRecord) -> LeaseRecord:
        """Store a record as a new version."""
        self.writes += 1
        self.record = replace(record, version=str(self.writes))
        return self.record


class Connection:
    """One candidate's way to the Lease, with switches to fail.

    Attributes:
        away: Every request fails.
        refused: Every request is refused.
        silent: Requests are never answered; those that write are carried out all the same.
        late: Seconds of virtual time an answer takes.
    """

    def __init__(self, lease: MemoryLease, clock: ManualClock) -> None:
        self._lease = lease
        self._clock = clock
        self.away = False
        self.silent = False
        self.refused = False
        self.late = 0.0

    async def read(self) -> LeaseRecord | None:
        """Return the Lease."""
        self._check()
        self._lease.reads += 1
        found = self._lease.record
        await self._answer()
        return found

    async def create(self, record: LeaseRecord) -> LeaseRecord:
        """Make the Lease."""
        self._check()
        if self._lease.record is not None:
            raise EXISTS
        written = self._lease.take(record)
        await self._answer()
        return written

    async def update(self, record: LeaseRecord) -> LeaseRecord:
        """Swap the Lease."""
        self._check()
        if self._lease.record is None:
            raise GONE
        if record.version != self._lease.record.version:
            raise CHANGED
        written = self._lease.take(record)
        await self._answer()
        return written

    def _check(self) -> None:
        if self.refused:
            raise REFUSED
        if self.away:
            raise AWAY

    async def _answer(self) -> None:
        if self.silent:
            await asyncio.Event().wait()
        await self._clock.sleep(self.late)


class Candidate:
    """A replica: its leader election, what it was told, and who it believes to be."""

    def __init__(self, name: str, lease: MemoryLease, clock: ManualClock) -> None:
        self.name = name
        self.connection = Connection(lease, clock)
        self.troubles: list[AgentIdError] = []
        self.told: list[str] = []
        self.leader = Leader(
            self.connection,
            identity=name,
            clock=clock,
            random=random.Random(name).random,
            on_trouble=self.troubles.append,
        )
        self.task = asyncio.ensure_future(
            self.leader.run(
                lambda: self.told.append("started"), lambda: self.told.append("stopped")
            )
        )

    async def kill(self) -> None:
        """End without giving anything up, as SIGKILL does."""
        self.connection.away = True
        self.task.cancel()
        with suppress(asyncio.CancelledError):
            await self.task


class Field:
    """Candidates for one Lease, in virtual time."""

    def __init__(self, clock: ManualClock, names: Iterable[str]) -> None:
        self.clock = clock
        self.lease = MemoryLease()
        self.candidates = {name: Candidate(name, self.lease, clock) for name in names}

    def __getitem__(self, name: str) -> Candidate:
        return self.candidates[name]

    def leaders(self) -> list[str]:
        """Return who believes to lead."""
        return [name for name, one in self.candidates.items() if one.leader.is_leader()]

    async def run(self, seconds: float) -> None:
        """Let time pass, and look at every tenth of a second that at most one leads."""
        for _ in range(round(seconds * 10)):
            await self.clock.run_for(0.1)
            assert len(self.leaders()) <= 1

    async def until_led(self, *, by: str | None = None, within: float = 60.0) -> float:
        """Let time pass until somebody leads; how long it took."""
        for tick in range(round(within * 10)):
            if self.leaders() and by in {None, *self.leaders()}:
                return tick / 10
            await self.run(0.1)
        pytest.fail(f"nobody came to lead within {within} s")

    async def close(self) -> None:
        """End all candidates."""
        for one in self.candidates.values():
            await one.kill()


# Getting it


async def test_a_single_candidate_leads_at_once_and_stays(clock: ManualClock) -> None:
    """The first to come makes the Lease and holds it, with one write every two seconds."""
    field = Field(clock, ["a"])
    await field.run(0.1)
    assert field.leaders() == ["a"]
    await field.run(60)
    assert (field["a"].told, field.lease.reads) == (["started"], 1)
    assert field.lease.writes == 31
    await field.close()


async def test_of_three_that_start_together_one_leads(clock: ManualClock) -> None:
    """A Lease that does not exist is made once; the others wait, and look once a second."""
    field = Field(clock, ["a", "b", "c"])
    await field.run(60)
    assert [one.told for one in field.candidates.values()].count(["started"]) == 1
    assert [one.told for one in field.candidates.values()].count([]) == 2
    assert 2 * 45 < field.lease.reads < 2 * 75 + 5
    assert {one.leader.holder for one in field.candidates.values()} == set(field.leaders())
    await field.close()


async def test_a_held_lease_is_left_alone_for_its_duration(clock: ManualClock) -> None:
    """A candidate that finds a Lease waits as long as it was promised to the holder."""
    field = Field(clock, ["a"])
    field["a"].connection.away = True
    field.lease.take(LeaseRecord("somebody", 30, "", "2001-01-01T00:00:00.000000Z", 4))
    field["a"].connection.away = False
    waited = await field.until_led()
    assert 30 <= waited <= 32
    assert field.lease.record is not None
    assert field.lease.record.transitions == 5
    await field.close()


@pytest.mark.parametrize("duration", [0, -5, 10**9])
async def test_a_senseless_duration_is_taken_for_ours(clock: ManualClock, duration: int) -> None:
    """A Lease that claims no time, or years, is waited for as one of ours is."""
    field = Field(clock, [])
    field.lease.take(LeaseRecord("somebody", duration, "", "", 0))
    field.candidates["a"] = Candidate("a", field.lease, clock)
    assert 15 <= await field.until_led() <= 17
    await field.close()


# Giving it up


async def test_a_graceful_stop_hands_over_within_about_a_second(clock: ManualClock) -> None:
    """Whoever stops gives the Lease up, and another has it by its next look."""
    field = Field(clock, ["a", "b"])
    await field.until_led()
    first, second = field.leaders()[0], ({"a", "b"} - set(field.leaders())).pop()
    field[first].leader.stop()
    assert await field.until_led(by=second) <= 1.3
    await field[first].task
    assert field[first].told == ["started", "stopped"]
    await field.close()


async def test_a_cancelled_leader_gives_up_the_lease_too(clock: ManualClock) -> None:
    """Cancelling the task ends like a stop; only a kill leaves others waiting."""
    field = Field(clock, ["a"])
    await field.until_led()
    field["a"].task.cancel()
    await field.run(0.1)
    assert field["a"].task.cancelled()
    assert field["a"].told == ["started", "stopped"]
    assert field.lease.record is not None
    assert (field.lease.record.holder, field.lease.record.duration) == ("", 1)


async def test_a_stop_does_not_hang_on_a_silent_server(clock: ManualClock) -> None:
    """Giving up is tried for three seconds; the process has ten to end in."""
    field = Field(clock, ["a"])
    await field.until_led()
    field["a"].connection.silent = True
    field["a"].leader.stop()
    await field.run(3.1)
    assert field["a"].task.done()


async def test_a_stop_before_the_start_never_leads(clock: ManualClock) -> None:
    """Stopped while it starts up, a replica takes nothing."""
    field = Field(clock, ["a"])
    field["a"].leader.stop()
    await field["a"].task
    assert (field["a"].told, field.lease.writes) == ([], 0)


async def test_what_is_given_up_is_not_somebody_elses(clock: ManualClock) -> None:
    """A stopping replica that lost the Lease meanwhile does not clear the new holder."""
    field = Field(clock, ["a"])
    await field.until_led()
    field.lease.take(LeaseRecord("b", 15, "", "", 1))
    field["a"].leader.stop()
    await field["a"].task
    assert field.lease.record is not None
    assert field.lease.record.holder == "b"


async def test_a_lease_that_somebody_annotated_is_given_up_all_the_same(
    clock: ManualClock,
) -> None:
    """A new version that is still ours is looked at, and given up in the second try."""
    field = Field(clock, ["a"])
    await field.until_led()
    assert field.lease.record is not None
    field.lease.take(field.lease.record)
    field["a"].leader.stop()
    await field["a"].task
    assert field.lease.record.holder == ""


# Losing it


async def test_a_killed_leader_is_replaced_after_the_duration(clock: ManualClock) -> None:
    """Without a release, another takes over when the Lease has not changed for 15 s."""
    field = Field(clock, ["a", "b"])
    await field.until_led()
    first = field.leaders()[0]
    await field[first].kill()
    assert field.leaders() == []
    assert 12.5 <= await field.until_led() <= 17
    assert field.leaders() != [first]
    await field.close()


@pytest.mark.parametrize("fault", ["away", "silent", "refused"])
async def test_a_leader_cut_off_stops_before_another_starts(clock: ManualClock, fault: str) -> None:
    """Whether requests fail, hang or are refused: ten seconds on, it no longer leads."""
    field = Field(clock, ["a", "b"])
    await field.until_led()
    first = field.leaders()[0]
    await field.run(0.9)
    setattr(field[first].connection, fault, True)
    await field.run(8)
    assert field.leaders() == [first]
    await field.run(2.2)
    assert field.leaders() == []
    assert field[first].told == ["started", "stopped"]
    await field.until_led()
    assert field.leaders() != [first]
    await field.close()


async def test_a_short_outage_is_ridden_out(clock: ManualClock) -> None:
    """Renewals that fail for seven seconds cost nothing, and each failure is told."""
    field = Field(clock, ["a", "b"])
    await field.until_led()
    first = field.leaders()[0]
    field[first].connection.away = True
    await field.run(7)
    field[first].connection.away = False
    await field.run(60)
    assert field[first].told == ["started"]
    assert [str(error) for error in field[first].troubles] == ["no route to host"] * 3
    await field.close()


async def test_all_cut_off_and_back_one_leads_again(clock: ManualClock) -> None:
    """After an outage of the API server for everybody, the Lease is taken up once."""
    field = Field(clock, ["a", "b", "c"])
    await field.until_led()
    for one in field.candidates.values():
        one.connection.away = True
    await field.run(60)
    assert field.leaders() == []
    for one in field.candidates.values():
        one.connection.away = False
    assert await field.until_led() <= 2
    await field.run(30)
    await field.close()


async def test_a_stopped_process_knows_at_its_first_question(clock: ManualClock) -> None:
    """After SIGSTOP, a stuck loop or a suspended machine, `is_leader` is false before any task ran.

    Advancing the clock without letting the loop run is what such a process goes through.
    """
    field = Field(clock, ["a"])
    await field.until_led()
    clock.advance(9.8)
    assert field["a"].leader.is_leader()
    clock.advance(0.3)
    assert not field["a"].leader.is_leader()
    await clock.settle()
    assert field["a"].told[:2] == ["started", "stopped"]
    await field.close()


async def test_a_stopped_leader_stays_out_when_another_has_taken_over(clock: ManualClock) -> None:
    """Woken after minutes, it finds the Lease changed, and does not take it back."""
    field = Field(clock, ["b"])
    stopped = Candidate("a", MemoryLease(), clock)
    await field.until_led(by="b")
    # To "a", which slept, this Lease was its own at version 1.
    stopped.connection._lease = field.lease
    await clock.settle()
    clock.advance(60)
    assert not stopped.leader.is_leader()
    field.candidates["a"] = stopped
    await field.run(1)
    assert not stopped.leader.is_leader()
    await field.close()


async def test_an_answer_that_comes_too_late_does_not_count(clock: ManualClock) -> None:
    """A renewal that takes longer than the deadline ends the term, though it was carried out."""
    field = Field(clock, ["a"])
    await field.until_led()
    await field.run(0.5)
    field["a"].connection.late = 9.5
    await field.run(10.5)
    assert field["a"].told[:2] == ["started", "stopped"]
    field["a"].connection.late = 0.0
    await field.until_led(within=12)
    await field.close()


async def test_validity_counts_from_when_the_renewal_was_sent(clock: ManualClock) -> None:
    """Others have counted since the server wrote it, which may be long before the answer."""
    field = Field(clock, ["a"])
    await field.until_led()
    field["a"].connection.late = 1.5
    await field.run(2)
    began = clock.monotonic() - 0.1  # it looks every tenth of a second
    await field.run(1.5)
    field["a"].connection.away = True
    await clock.run_for(began + 9.9 - clock.monotonic())
    assert field["a"].leader.is_leader()
    await clock.run_for(0.2)
    assert not field["a"].leader.is_leader()
    await field.close()


async def test_a_conflict_that_is_no_loss_costs_nothing(clock: ManualClock) -> None:
    """Somebody annotates the Lease: it is looked at, and renewed in the same try."""
    field = Field(clock, ["a"])
    await field.until_led()
    for _ in range(20):
        assert field.lease.record is not None
        field.lease.take(field.lease.record)
        await field.run(2)
    assert field["a"].told == ["started"]
    assert field["a"].troubles == []
    await field.close()


async def test_a_lease_taken_away_is_lost_at_the_next_renewal(clock: ManualClock) -> None:
    """An administrator who writes another holder is obeyed within two seconds."""
    field = Field(clock, ["a"])
    await field.until_led()
    field.lease.take(LeaseRecord("b", 15, "", "", 7))
    await field.run(2.2)
    assert field["a"].told == ["started", "stopped"]
    assert field["a"].leader.holder == "b"
    await field.close()


async def test_annotations_do_not_keep_a_dead_holder_alive(clock: ManualClock) -> None:
    """Only what the holder writes counts as a sign of life, not every new version."""
    field = Field(clock, ["a", "b"])
    await field.until_led()
    await field[field.leaders()[0]].kill()
    for _ in range(17):
        assert field.lease.record is not None
        field.lease.take(field.lease.record)
        await field.run(1)
    assert len(field.leaders()) == 1
    await field.close()


async def test_a_deleted_lease_makes_no_second_leader(clock: ManualClock) -> None:
    """Others leave a deleted Lease to its holder for its time; the holder makes it anew."""
    field = Field(clock, ["a", "b", "c"])
    await field.until_led()
    first = field.leaders()[0]
    await field.run(5.5)
    for _ in range(3):
        field.lease.record = None
        await field.run(5)
        assert field.leaders() == [first]
    await field.close()


# Clocks


async def test_wall_clocks_do_not_matter(clock: ManualClock) -> None:
    """Clocks that are set back or forward by days neither end a term nor begin one."""
    field = Field(clock, ["a", "b"])
    await field.until_led()
    first = field.leaders()
    for days in (-400, 800, -400):
        clock.step(timedelta(days=days))
        await field.run(20)
    assert field.leaders() == first
    await field.close()


def test_times_that_would_let_two_lead_are_refused() -> None:
    """The holder has to give up before others may begin, and to try more than once."""
    LeaseTimes(duration=6, renew_deadline=4, retry_period=1)
    for wrong in ((10, 10.0, 2.0), (15, 2.0, 2.0), (15, 10.0, 0.0)):
        with pytest.raises(ValueError, match="duration > renew_deadline > "):
            LeaseTimes(*wrong)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "b", "c"]),
            st.sampled_from(["away", "silent", "refused", "heal", "slow", "kill"]),
            st.integers(1, 120),
        ),
        max_size=12,
    )
)
def test_never_two_leaders_and_one_again_in_the_end(
    script: list[tuple[str, str, int]],
) -> None:
    """Whatever fails, for whom and when: never two at once, and one soon after all is well."""

    async def play() -> None:
        clock = ManualClock()
        field = Field(clock, ["a", "b", "c"])
        for name, what, tenths in script:
            one = field[name]
            match what:
                case "heal":
                    one.connection.away = one.connection.silent = one.connection.refused = False
                    one.connection.late = 0.0
                case "slow":
                    one.connection.late = tenths / 10
                case "kill":
                    await one.kill()
                    field.candidates[name] = Candidate(name, field.lease, clock)
                case _:
                    setattr(one.connection, what, True)
            await field.run(tenths / 10)
        for one in field.candidates.values():
            one.connection.away = one.connection.silent = one.connection.refused = False
            one.connection.late = 0.0
        await field.until_led(within=40)
        await field.run(20)
        assert len(field.leaders()) == 1
        await field.close()

    asyncio.run(play())
