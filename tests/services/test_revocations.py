"""Taking revocations to the ledger: each serial once, whatever happens to who asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from agentid.identity import RevocationReason
from agentid.services.gathering import held_of
from agentid.services.revocations import Revocations
from agentid.telemetry.metrics import Metrics
from agentid.testing.clock import ManualClock
from agentid.testing.ledger import in_virtual_time, make_issued, open_ledger
from agentid.testing.segments import MemorySegments

if TYPE_CHECKING:
    from agentid.identity import SerialNumber
    from agentid.services.witness import Witness


class Deaf:
    """A witness that hears nothing, or breaks as often as it is told to."""

    def __init__(self) -> None:
        self.breaks = 0
        self.told: list[SerialNumber] = []

    def will_revoke(self, serials: tuple[SerialNumber, ...], _: object) -> None:
        """Take it in."""
        if self.breaks:
            self.breaks -= 1
            message = "nobody foresaw this"
            raise RuntimeError(message)
        self.told += serials


async def test_a_serial_that_is_named_twice_is_revoked_once() -> None:
    """For the reason that is given first."""
    clock, witness, metrics = ManualClock(), Deaf(), Metrics()
    async with open_ledger(MemorySegments(clock.now), clock) as ledger:
        issued = make_issued(1)
        await in_virtual_time(clock, ledger.append(issued))
        revocations = Revocations(
            ledger=ledger, metrics=metrics, witness=cast("Witness", witness), actor="a-test"
        )
        held = held_of(issued)
        twice = (
            (held, RevocationReason.KEY_COMPROMISE),
            (held, RevocationReason.SUPERSEDED),
        )
        await in_virtual_time(clock, revocations.revoke(twice, {}, clock.now()))
        entry = ledger.state.by_serial(issued.serial)
        assert entry is not None
        assert entry.revoked is not None
        assert entry.revoked.reason is RevocationReason.KEY_COMPROMISE
    assert witness.told == [issued.serial]
    assert metrics.revocations.labels("keyCompromise")._value.get() == 1


async def test_who_comes_after_one_that_broke_does_not_wait_for_ever() -> None:
    """A defect in what is told beside must not keep a certificate from being revoked."""
    clock, witness = ManualClock(), Deaf()
    async with open_ledger(MemorySegments(clock.now), clock) as ledger:
        issued = make_issued(1)
        await in_virtual_time(clock, ledger.append(issued))
        revocations = Revocations(
            ledger=ledger, metrics=Metrics(), witness=cast("Witness", witness), actor="a-test"
        )
        revoke = ((held_of(issued), RevocationReason.CESSATION_OF_OPERATION),)
        witness.breaks = 1
        with pytest.raises(RuntimeError, match="nobody foresaw this"):
            await revocations.revoke(revoke, {}, clock.now())
        await in_virtual_time(clock, revocations.revoke(revoke, {}, clock.now()))
        entry = ledger.state.by_serial(issued.serial)
        assert entry is not None
        assert entry.revoked is not None
