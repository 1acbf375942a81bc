"""One at a time for each key."""

from __future__ import annotations

import asyncio

from agentid.node.turns import Turns


async def test_never_two_for_one_key() -> None:
    """Whoever comes while others wait waits too, also after the first has gone; nothing is kept."""
    turns, inside, most = Turns(), 0, 0

    async def come(key: str) -> None:
        nonlocal inside, most
        async with turns.of(key):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1

    first = [asyncio.create_task(come("a")) for _ in range(3)]
    for _ in range(20):
        await asyncio.sleep(0)
        first.append(asyncio.create_task(come("a")))
    await asyncio.gather(*first)
    assert most == 1
    assert len(turns) == 0


async def test_other_keys_do_not_wait() -> None:
    """One that is held up holds up its own key alone, and who gives up leaves nothing behind."""
    turns, held = Turns(), asyncio.Event()

    async def hold() -> None:
        async with turns.of("a"):
            await held.wait()

    holding = asyncio.create_task(hold())
    waiting = asyncio.create_task(hold())
    await asyncio.sleep(0)
    async with turns.of("b"):
        assert not holding.done()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    held.set()
    await holding
    assert len(turns) == 0
