"""The parts of the issuer service that need no cluster."""

from __future__ import annotations

import asyncio

import orjson

from agentid.identity import PodRef
from agentid.issuing.changes import Changes, Follower
from agentid.issuing.limits import Limits, Work
from agentid.testing.ledger import make_issued
from tests.signer.world import READER, scene
from tests.support.coroutines import pytest_pyfunc_call

__all__ = ["pytest_pyfunc_call"]


def test_takes_on_so_much_and_no_more() -> None:
    """One node cannot take what others need, and what has ended makes room."""
    work = Work(Limits(items=10, node_items=6))
    assert work.begin("a", 6)
    assert not work.begin("a", 1)
    assert work.begin("b", 4)
    assert not work.begin("c", 1)
    work.end("a", 6)
    assert work.begin("c", 6)
    work.end("b", 4)
    work.end("c", 6)
    assert work.idle


def test_lets_a_follower_go_that_takes_nothing() -> None:
    """What waits for one is bounded; beyond that it is behind, and keeps what it had."""

    async def fill() -> tuple[bool, bool, bytes]:
        follower = Follower("node-a")
        for _ in range(2048):
            follower.put(b"x")
        before = follower.behind
        follower.put(b"y")
        return before, follower.behind, await follower.take(1)

    assert asyncio.run(fill()) == (False, True, b"x" * 2048)


def test_a_follower_that_nothing_came_for_is_told_so() -> None:
    """It takes nothing, which is the time for a sign of life."""
    assert asyncio.run(Follower("node-a").take(0.01)) == b""


async def test_what_no_watch_has_told_of_yet_is_not_told_to_be_gone() -> None:
    """Another replica may have issued already, and the pod would lose what it holds."""
    async with scene() as there:
        ref = PodRef("reader-1", "p-1", "node-a", "r-1")
        record = make_issued(1, "reader", namespace="finance", uid="u-1", pod=ref)
        there.ledger.state.apply(record)
        changes = Changes(world=there.world, ledger=there.ledger, clock=there.clock)
        other = there.put_identity(seen=False)
        other["metadata"] |= {"name": "other", "uid": "u-2"}
        there.world.identities.put(other)
        known = there.world.identities.get(READER) or {}

        async def told() -> list[str]:
            with changes.follow("node-a") as follower:
                return [
                    orjson.loads(line)["type"] for line in (await follower.take(1)).splitlines()
                ]

        there.world.identities.drop(READER)
        assert await told() == ["synced"]
        there.world.identities.ended(known)
        assert await told() == ["revoked", "synced"]
