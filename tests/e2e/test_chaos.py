"""A short course of every fault, and whether the judge would see a promise broken."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from e2e.chaos.run import arena

if TYPE_CHECKING:
    from pathlib import Path

    from e2e.chaos.run import Outcome

SEED = 166
SECONDS = 20.0


@pytest.mark.chaos
def test_no_fault_breaks_a_promise(tmp_path: Path) -> None:
    """Promises 1 to 5 hold under a load, bad weather, kills, freezes and outages."""

    async def run() -> Outcome:
        async with arena(tmp_path) as made:
            return await made.run(SEED, SECONDS)

    outcome = asyncio.run(run())
    again = f"make chaos SEEDS={SEED} CHAOS_SECONDS={SECONDS:g}"
    assert not outcome.broken, "\n".join([*map(str, outcome.broken), again])
    assert outcome.counts["certificates"] > 20, "there was a load"
    assert sum(outcome.counts[f"request {fate}"] for fate in ("lost", "unheard", "refused")) > 0
