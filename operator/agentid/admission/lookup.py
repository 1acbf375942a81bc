"""Asks the API server about an identity that the watch has not told of.

An identity and the Deployment that names it are often applied in one breath, and the pod is here
before the watch's news. What is asked for at the same time is asked once, and an absence is
believed for a second, so a Deployment with a mistyped label costs a request a second.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from agentid.errors import AgentIdError, NotFoundError
from agentid.kube.resources import AGENT_IDENTITIES

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentid.clock import Clock
    from agentid.kube.client import Client
    from agentid.kube.objects import JsonObject, ObjectKey

__all__ = ["LOOKUP_SECONDS", "Lookup"]

LOOKUP_SECONDS: Final = 1.0
"""For the answer. The API server waits three seconds for a review, and then lets the pod pass as it
is; a refusal that says why is better."""

_ABSENT_SECONDS: Final = 1.0

_REMEMBERED: Final = 4096
"""Names that are remembered as absent."""


class Lookup:
    """Reads single AgentIdentities.

    Args:
        client: With a time-out of `LOOKUP_SECONDS`, and few connections: what waits for one in vain
            is refused.
        clock: For how long an absence is believed.
    """

    def __init__(self, client: Client, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._absent: dict[ObjectKey, float] = {}
        self._asked: dict[ObjectKey, asyncio.Task[JsonObject | None]] = {}
        self.on_request: Callable[[], None] = lambda: None

    async def __call__(self, key: ObjectKey) -> JsonObject | None:
        """Return the identity, None if there is none.

        Raises:
            AgentIdError: It could not be asked.
        """
        until = self._absent.get(key)
        if until is not None and self._clock.monotonic() < until:
            return None
        task = self._asked.get(key)
        if task is None:
            task = self._asked[key] = asyncio.create_task(self._ask(key), name=f"lookup {key}")
            task.add_done_callback(lambda done: self._answered(key, done))
        # Whoever stops waiting does not take the answer from others.
        return await asyncio.shield(task)

    async def _ask(self, key: ObjectKey) -> JsonObject | None:
        self.on_request()
        try:
            return await self._client.get(AGENT_IDENTITIES, key.name, key.namespace)
        except NotFoundError:
            return None

    def _answered(self, key: ObjectKey, done: asyncio.Task[JsonObject | None]) -> None:
        del self._asked[key]
        if done.cancelled() or isinstance(done.exception(), AgentIdError):
            return
        if done.exception() is None and done.result() is None:
            if len(self._absent) >= _REMEMBERED:
                self._absent.clear()
            self._absent[key] = self._clock.monotonic() + _ABSENT_SECONDS
        else:
            self._absent.pop(key, None)

    async def close(self) -> None:
        """Wait for what was asked."""
        await asyncio.gather(*self._asked.values(), return_exceptions=True)
