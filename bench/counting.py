"""What the API server counts: read, and waited for until nothing is written any more."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

from bench.figures import Counts

if TYPE_CHECKING:
    from agentid.kube.client import Client

__all__ = ["counts", "quiet"]

_NEVER_QUIET: Final = 120.0
"""Seconds after which somebody else must be writing, and counting goes on regardless."""

_LOOK: Final = 5.0
"""Seconds between two looks at the API server's counters, which cost it some CPU."""


async def counts(client: Client) -> Counts:
    """Writes up to now."""
    return Counts.parse((await client.get_raw("/metrics")).decode())


async def quiet(client: Client, seconds: float) -> Counts:
    """Wait until nothing was written for so long, two minutes at most; writes up to then."""
    began = changed = time.monotonic()
    found = await counts(client)
    while (now := time.monotonic()) - changed < seconds and now - began < _NEVER_QUIET:
        await asyncio.sleep(min(_LOOK, seconds / 4))
        before, found = found, await counts(client)
        if found.done != before.done:
            changed = time.monotonic()
    return found
