"""Makes objects as fast as the cluster takes them, and sees when each is Ready, or gone."""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING

from agentid.clock import SystemClock
from agentid.errors import NotFoundError
from agentid.kube.reflector import ChangeType, reflect
from bench.templates import is_ready
from e2e.errors import E2EError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

    from agentid.kube.client import Client
    from agentid.kube.objects import JsonObject
    from agentid.kube.resources import Resource

__all__ = ["IN_FLIGHT", "Watcher", "many", "watching"]

IN_FLIGHT = 32
"""Requests at a time; more only queue up in the API server."""

_PATIENCE = 300.0
"""Seconds without any progress after which a run is given up."""


class Watcher:
    """When objects were created, Ready and gone.

    Attributes:
        created: When each create was sent, by name.
        ready: When each object was first seen Ready.
        gone: When each was seen gone.
    """

    def __init__(self, condition: str = "Ready") -> None:
        """Begin with nothing.

        Args:
            condition: The condition whose truth makes an object Ready.
        """
        self._condition = condition
        self._changed = asyncio.Event()
        self.created: dict[str, float] = {}
        self.ready: dict[str, float] = {}
        self.gone: dict[str, float] = {}

    def see(self, name: str, body: JsonObject | None) -> None:
        """Note the moment, None for an object that is gone; whoever waits looks again."""
        now = time.monotonic()
        if body is None:
            self.gone.setdefault(name, now)
        elif is_ready(body, self._condition):
            self.ready.setdefault(name, now)
        self._changed.set()

    async def until(self, what: str, condition: Callable[[], bool]) -> None:
        """Wait until the condition holds.

        Raises:
            E2EError: Nothing happened for minutes.
        """
        while not condition():
            self._changed.clear()
            try:
                await asyncio.wait_for(self._changed.wait(), _PATIENCE)
            except TimeoutError:
                msg = f"{what}: nothing has happened for {_PATIENCE:.0f} s"
                raise E2EError(msg) from None

    def latencies(self, names: Iterable[str]) -> list[float]:
        """Seconds from create to Ready."""
        return [self.ready[name] - self.created[name] for name in names]


@asynccontextmanager
async def watching(
    client: Client, resource: Resource, namespace: str, seen: Watcher
) -> AsyncIterator[None]:
    """Watch a kind in a namespace while the context is open, and tell what is seen.

    Raises:
        AgentIdError: It cannot be watched.
    """
    synced = asyncio.Event()

    async def follow() -> None:
        changes = reflect(client, resource, namespace, clock=SystemClock(), random=random.random)
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
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def many(work: Iterable[Callable[[], Awaitable[object]]]) -> float:
    """Do all of it, some at a time, and return how many seconds it took.

    Raises:
        AgentIdError: One of it failed; the rest is not done then.
    """
    waiting = iter(work)

    async def worker() -> None:
        for each in waiting:
            try:
                await each()
            except NotFoundError:
                continue  # what is to be deleted may be gone

    began = time.monotonic()
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(IN_FLIGHT):
                group.create_task(worker())
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from errors
    return time.monotonic() - began
