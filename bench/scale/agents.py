"""The identities of a run as a watch tells of them."""

from __future__ import annotations

import asyncio
import random
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from agentid.clock import SystemClock
from agentid.kube.reflector import ChangeType, reflect
from agentid.kube.resources import AGENT_IDENTITIES
from bench.templates import is_ready
from e2e.errors import E2EError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from agentid.kube.client import Client
    from agentid.kube.objects import JsonObject

__all__ = ["Agents", "following"]

_STUCK: Final = 300.0
"""Seconds without a word of any identity after which a run is given up."""


@dataclass(slots=True)
class Agents:
    """What was seen last, and how late each certificate was replaced.

    Attributes:
        serials: Of the certificate in each status, by name.
        ready: Names of those that are Ready.
        changed_at: When the serial of each was first seen, by name.
        lateness: Seconds from the time at which a renewal was due until another serial was seen.
        present: Names of all.
    """

    serials: dict[str, str] = field(default_factory=dict)
    ready: set[str] = field(default_factory=set)
    changed_at: dict[str, datetime] = field(default_factory=dict)
    lateness: list[float] = field(default_factory=list)
    present: set[str] = field(default_factory=set)
    _due: dict[str, datetime] = field(default_factory=dict)
    _told: asyncio.Event = field(default_factory=asyncio.Event)

    def see(self, name: str, body: JsonObject | None) -> None:
        """Take note of an identity, None for one that is gone."""
        self._told.set()
        if body is None:
            self.present.discard(name)
            self.ready.discard(name)
            self.serials.pop(name, None)
            return
        self.present.add(name)
        (self.ready.add if is_ready(body, "Ready") else self.ready.discard)(name)
        match body.get("status"):
            case {"certificate": {"serial": str(serial), "renewalTime": str(due)}}:
                self._certificate(name, serial, datetime.fromisoformat(due))
            case _:
                self.serials.pop(name, None)

    def _certificate(self, name: str, serial: str, due: datetime) -> None:
        if self.serials.get(name) == serial:
            return
        now = datetime.now(UTC)
        if name in self.serials and self._due[name] <= now:
            self.lateness.append((now - self._due[name]).total_seconds())
        self.serials[name], self._due[name], self.changed_at[name] = serial, due, now

    async def until(self, what: str, holds: Callable[[], bool]) -> None:
        """Wait until something holds.

        Raises:
            E2EError: Nothing was heard for minutes.
        """
        while not holds():
            self._told.clear()
            try:
                await asyncio.wait_for(self._told.wait(), _STUCK)
            except TimeoutError:
                msg = f"{what}: nothing was heard of any identity for {_STUCK:.0f} s"
                raise E2EError(msg) from None


@asynccontextmanager
async def following(client: Client, namespace: str) -> AsyncIterator[Agents]:
    """Follow the identities of a namespace while the context is open.

    Raises:
        AgentIdError: They cannot be watched.
    """
    seen, synced = Agents(), asyncio.Event()

    async def follow() -> None:
        changes = reflect(
            client, AGENT_IDENTITIES, namespace, clock=SystemClock(), random=random.random
        )
        async with aclosing(changes):
            async for change in changes:
                if change.key is None:
                    synced.set()
                else:
                    gone = change.type is ChangeType.DELETED
                    seen.see(change.key.name, None if gone else change.object)

    task = asyncio.create_task(follow())
    task.add_done_callback(lambda _: synced.set())
    try:
        await synced.wait()
        if task.done():
            await task  # it ended before it began, and says why
        yield seen
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
