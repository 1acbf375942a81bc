"""Follows AgentIdentities, in every replica, so that each knows them all."""

from __future__ import annotations

import asyncio
import random
from contextlib import aclosing
from typing import TYPE_CHECKING, Final, Protocol

import structlog

from agentid.errors import ForbiddenError, NotFoundError
from agentid.kube.reflector import Change, ChangeType, reflect
from agentid.kube.resources import AGENT_IDENTITIES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentid.clock import Clock
    from agentid.errors import AgentIdError
    from agentid.kube.client import Client

__all__ = ["IdentityWatch", "Seen"]

_log = structlog.stdlib.get_logger(__name__)

_FOLLOW_AGAIN: Final = 10.0
"""Seconds until the next try to watch identities where the API server does not let us."""

_BREATH: Final = 100
"""Changes taken in without letting others on the event loop: some 5 ms."""


class Seen(Protocol):
    """Who is told of every identity."""

    def __call__(self, body: Mapping[str, object], *, gone: bool) -> None:
        """An AgentIdentity has appeared, changed or gone."""


class IdentityWatch:
    """Tells of every AgentIdentity that is there, and then of every change.

    Kopf could do that as well, at a quarter of what the operator costs while thousands are made:
    `docs/adr/0001-own-queue-beside-kopf.md`.

    Attributes:
        synced: Whether all that there were at the start have been told.
    """

    def __init__(self, client: Client, clock: Clock, seen: Seen) -> None:
        self._client = client
        self._clock = clock
        self._seen = seen
        self.synced = False

    async def run(self) -> None:
        """Follow them until cancelled."""
        while True:
            try:
                await self._follow()
            except (ForbiddenError, NotFoundError) as error:
                _log.warning("identities_not_watched", error=str(error), again_in=_FOLLOW_AGAIN)
            await self._clock.sleep(_FOLLOW_AGAIN)

    async def _follow(self) -> None:
        changes = reflect(
            self._client, AGENT_IDENTITIES, clock=self._clock, random=random.random,
            on_outage=_outage,
        )  # fmt: skip
        taken = 0
        async with aclosing(changes):
            async for change in changes:
                self._take(change)
                taken += 1
                if taken % _BREATH == 0:
                    await asyncio.sleep(0)

    def _take(self, change: Change) -> None:
        match change.type:
            case ChangeType.ADDED | ChangeType.MODIFIED:
                self._seen(change.object, gone=False)
            case ChangeType.DELETED:
                self._seen(change.object, gone=True)
            case ChangeType.SYNCED:
                self.synced = True
            case ChangeType.CURRENT:
                pass


def _outage(error: AgentIdError, seconds: float) -> None:
    _log.warning("identity_watch_interrupted", error=str(error), seconds=round(seconds, 1))
