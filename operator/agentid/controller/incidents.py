"""What the triggers set off for AgentRevocations.

They have a queue of their own, so that none waits behind issuers that are away, or identities that
come in thousands.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

import structlog

from agentid.errors import AgentIdError, UnavailableError
from agentid.kube.objects import ObjectKey, uid_of
from agentid.kube.queue import Lane, WorkQueue
from agentid.kube.resources import AGENT_REVOCATIONS
from agentid.kube.schedule import Schedule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from agentid.factory import Parts

__all__ = ["IncidentLoop"]

_log = structlog.stdlib.get_logger(__name__)

_WORKERS: Final = 4
"""Incidents at a time: one that waits for the ledger holds up no other."""

_RESYNC: Final = 600.0
"""Seconds between two looks at which incidents there are."""

_LIST_AGAIN: Final = 10.0


class IncidentLoop:
    """Keeps the world's incidents up to date, and has the leader execute them."""

    def __init__(self, parts: Parts, look_at: Callable[[Iterable[ObjectKey]], None]) -> None:
        """Take the parts; nothing runs yet.

        Args:
            parts: Of the operator.
            look_at: Has identities looked at, one after the other.
        """
        self._service = parts.incidents
        self._incidents = parts.world.incidents
        self._client = parts.client
        self._clock = parts.clock
        self._look_at = look_at
        self.queue: WorkQueue[str] = WorkQueue(
            clock=parts.clock, random=random.random, namespace_of=lambda _: ""
        )
        self._schedule: Schedule[str] = Schedule(clock=parts.clock)

    def seen(self, body: Mapping[str, object], *, gone: bool) -> None:
        """An AgentRevocation has appeared, changed or gone."""
        name = ObjectKey.of(body).name
        known = self._incidents.get(name)
        other = known is not None and uid_of(known.body) != uid_of(body)
        # A namesake ends what was there before it, whether its end is told or not.
        held = () if known is None or gone is other else self._held(name)
        if not gone:
            if self._incidents.put(body):
                self.queue.add(name, Lane.REVOCATION)
                if held:
                    self._look_at(held)
            return
        self._incidents.ended(body)
        if known is None or other:
            return  # an answer has told it, or a namesake has come since
        self._schedule.cancel(name)
        self._look_at(held)

    async def run(self) -> None:
        """Execute incidents, as the leader does, until cancelled or closed."""
        for name in self._incidents:
            self.queue.add(name, Lane.REVOCATION)
        async with asyncio.TaskGroup() as group:
            for _ in range(_WORKERS):
                group.create_task(self._work())
            group.create_task(self._resync())
            group.create_task(
                self._schedule.run(lambda name: self.queue.add(name, Lane.REVOCATION))
            )

    def _held(self, name: str) -> tuple[ObjectKey, ...]:
        incident = self._incidents.incident(name)
        return () if incident is None or not incident.hold else self._service.concerned(name)

    async def _resync(self) -> None:
        """Notice what no event told: a watch that was cut off says nothing of what went meanwhile.

        A hold whose object is gone would last for ever otherwise.
        """
        while True:
            before = {name: self._incidents.get(name) for name in self._incidents}
            there: set[str] = set()
            try:
                async with aclosing(self._client.list(AGENT_REVOCATIONS)) as listing:
                    async for body in listing:
                        there.add(uid_of(body))
                        self.seen(body, gone=False)
            except AgentIdError as error:
                _log.warning("incidents_not_listed", error=str(error))
                await self._clock.sleep(_LIST_AGAIN)
                continue
            for known in before.values():
                if known is not None and uid_of(known.body) not in there:
                    self.seen(known.body, gone=True)
            await self._clock.sleep(_RESYNC)

    async def _work(self) -> None:
        async for name in self.queue:
            try:
                outcome = await self._service.reconcile(name)
            except asyncio.CancelledError:
                self.queue.retry(name)
                raise
            except UnavailableError as error:
                _log.warning("incident_interrupted", incident=name, error=str(error))
                self.queue.retry(name, error.retry_after)
            except AgentIdError as error:
                _log.warning("incident_failed", incident=name, error=str(error))
                self.queue.retry(name)
            except Exception:  # noqa: BLE001 - as for identities: one must not end the others
                _log.exception("incident_crashed", incident=name)
                self.queue.retry(name)
            else:
                self.queue.done(name)
                self._look_at(outcome.concerned)
                if outcome.again is not None:
                    self._schedule.at(name, self._clock.now() + outcome.again)
