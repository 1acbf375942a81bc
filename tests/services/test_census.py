"""What is in force, as gauges and classes tell it."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import timedelta

from agentid.identity import RevocationReason, SerialNumber
from agentid.ledger import LedgerState
from agentid.pki import KeyAlgorithm
from agentid.policy.tiers import Tier
from agentid.services.census import Census, take_census
from agentid.testing.ledger import NOON, make_issued
from tests.policy.test_grant import SAMPLE

LOW = SAMPLE.to_json()
HIGH = replace(SAMPLE, tier=Tier.HIGH, key_algorithm=KeyAlgorithm.ECDSAP384).to_json()
HOUR = timedelta(hours=1)


def test_what_is_in_force_is_counted() -> None:
    """By tier with the first expiry, by class and key without what was replaced."""
    state = LedgerState()
    for record in (
        make_issued(1, grant=LOW, lifetime=2 * HOUR),
        make_issued(2, grant=LOW, replaces=SerialNumber(1)),
        make_issued(3, grant=HIGH),
        make_issued(4, grant="of a later release"),
        make_issued(5, grant=HIGH),
        make_issued(6, grant=HIGH, lifetime=timedelta(minutes=1)),
    ):
        assert state.apply(record)
    entry = state.by_serial(SerialNumber(5))
    assert entry is not None
    state.apply(entry.revocation(RevocationReason.SUPERSEDED, at=NOON, actor="test"))

    census = asyncio.run(take_census(state, NOON + HOUR / 2))
    assert census.live == {Tier.LOW.value: 2, Tier.HIGH.value: 1, "unknown": 1}
    left = (HOUR / 2).total_seconds()
    assert census.expiry_seconds == {Tier.LOW.value: left, Tier.HIGH.value: left, "unknown": left}
    both = Counter({KeyAlgorithm.ECDSAP256: 1, KeyAlgorithm.ECDSAP384: 1})
    assert census.keys == {"batch": both}


def test_nothing_is_in_force() -> None:
    """An empty ledger is an empty census."""
    assert asyncio.run(take_census(LedgerState(), NOON)) == Census()


def test_others_have_their_turn() -> None:
    """Counting ten thousand certificates holds up nobody for all of them, and bears new ones."""
    state = LedgerState()
    for number in range(1, 10_001):
        state.apply(make_issued(number, grant=LOW))

    async def count() -> tuple[Census, int]:
        task, turns = asyncio.create_task(take_census(state, NOON)), 0
        while not task.done():
            await asyncio.sleep(0)
            turns += 1
            state.apply(make_issued(20_000 + turns, grant=LOW))
        return await task, turns

    census, turns = asyncio.run(count())
    assert turns >= 20
    assert census.live == {Tier.LOW.value: 10_000}
