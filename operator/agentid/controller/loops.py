"""What the triggers set off: queues, workers and the timetable.

```
 triggers ─► world ─► queue ─► worker ─► IdentityService.reconcile ─┐
               │        ▲                                           │ when to look again
               │        ├───────────── timetable ◄──────────────────┘
               └─► revoking, what was deleted or suspended
```

Every replica keeps world and queue up to date; workers run on the leader alone.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import aclosing
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import structlog

from agentid.api.agentclass import AgentClass
from agentid.api.agentissuer import AgentIssuer
from agentid.controller.events import is_older, lane_of, rotations_asked, same_generation
from agentid.controller.incidents import IncidentLoop
from agentid.controller.pods import PodLoop
from agentid.controller.revoking import RevocationLoop
from agentid.controller.rounds import Rounds
from agentid.controller.trust import TrustLoop
from agentid.errors import AgentIdError, UnavailableError
from agentid.kube.objects import ObjectKey
from agentid.kube.queue import Lane, WorkQueue
from agentid.kube.resources import AGENT_CLASSES, AGENT_ISSUERS, AGENT_REVOCATIONS
from agentid.kube.schedule import Schedule
from agentid.services.failure import PassError
from agentid.services.world import Parsed
from agentid.telemetry.tracing import follow

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable, Mapping
    from contextlib import AbstractContextManager
    from datetime import datetime

    from agentid.controller.companion import Companion
    from agentid.factory import Parts
    from agentid.services.issuers import Looked

__all__ = ["Loops"]

_log = structlog.stdlib.get_logger(__name__)

WORKERS: Final = 32
"""Passes at a time. The API server's CPU is what they wait for; more would only queue up there, and
fewer would make the ledger's commits smaller."""

_SPREAD: Final = 0.01
"""Seconds between two identities that are looked at since their class changed: a class with
thousands of agents is gone through without delaying what users do meanwhile."""

_SETTLE: Final = timedelta(seconds=2)
"""From what a status says besides to the look that writes it: more of the like often follows."""

_COUNT_KEYS: Final = timedelta(seconds=30)
"""Between two counts of the keys of a class that migrates; each may write its status."""

_CLASS, _ISSUER = "AgentClass", "AgentIssuer"


class Loops:
    """Everything that runs besides Kopf."""

    def __init__(self, parts: Parts) -> None:
        """Take the parts; nothing runs yet."""
        self._parts = parts
        self.companions: tuple[Companion, ...] = ()
        self._world = parts.world
        self._clock = parts.clock
        # Seconds that each key in work has waited, while somebody traces.
        self._waited: dict[ObjectKey, float] = {}
        self.queue: WorkQueue[ObjectKey] = WorkQueue(
            clock=parts.clock,
            random=random.random,
            namespace_of=lambda key: key.namespace,
            on_get=self._handed_out,
        )
        self.revoking = RevocationLoop(
            parts.identities, lambda key: self.queue.add(key, Lane.REVOCATION)
        )
        # Kind and name, as a key of the kind: they are few, so one worker looks after them.
        self._catalogue: WorkQueue[ObjectKey] = WorkQueue(
            clock=parts.clock, random=random.random, namespace_of=lambda key: key.namespace
        )
        self.schedule: Schedule[ObjectKey] = Schedule(clock=parts.clock)
        self.incidents = IncidentLoop(parts, self._look_at)
        self.trust = TrustLoop(parts, self._catalogue.add)
        self.pods = PodLoop(
            parts,
            look_at=self._look_at,
            look_soon=self.look_soon,
            revoke=self.revoking.add,
        )
        # When keys in work are to be looked at again, whatever their passes say at their end.
        self._soon: dict[ObjectKey, datetime] = {}
        self._catalogue_times: Schedule[ObjectKey] = Schedule(clock=parts.clock)
        self._leading: tuple[asyncio.Task[None], ...] = ()
        self._rounds = Rounds(parts, self.queue)
        self.primed = False
        self.crashed = asyncio.Event()

    # Triggers

    def identity_seen(self, body: Mapping[str, object], *, gone: bool) -> None:
        """An AgentIdentity has appeared, changed or gone."""
        key = ObjectKey.of(body)
        if gone:
            self._world.identities.ended(body)
            self._world.refusals.drop(key.namespace, key.name)
            self.schedule.cancel(key)
            self.queue.add(key, Lane.REVOCATION)
            self._tell_companions(key)
        elif self._world.identities.put(body):
            self._tell_companions(key)
            lane = lane_of(body)
            if lane is Lane.REVOCATION:
                self.revoking.add(key)
            else:
                self.queue.add(key, lane)

    def class_seen(self, body: Mapping[str, object], *, gone: bool) -> None:
        """An AgentClass has appeared, changed or gone."""
        name = ObjectKey.of(body).name
        before = self._world.classes.get(name)
        if before is not None and is_older(body, before.body, gone=gone):
            return
        if gone:
            self._world.classes.pop(name, None)
        else:
            self._world.classes[name] = Parsed.of(AgentClass.parse, body)
        if before is None or gone or not same_generation(before.body, body):
            self._catalogue.add(ObjectKey(_CLASS, name))
            self._look_at(self._world.identities.of_classes(frozenset({name})))

    def issuer_seen(self, body: Mapping[str, object], *, gone: bool) -> None:
        """An AgentIssuer has appeared, changed or gone."""
        name = ObjectKey.of(body).name
        before = self._world.issuers.get(name)
        if before is not None and is_older(body, before.body, gone=gone):
            return
        if gone:
            self._world.issuers.pop(name, None)
        else:
            self._world.issuers[name] = Parsed.of(AgentIssuer.parse, body)
        if before is not None and not gone and same_generation(before.body, body):
            if rotations_asked(before.body) != rotations_asked(body):
                self._catalogue.add(ObjectKey(_ISSUER, name))
        else:
            self._catalogue.add(ObjectKey(_ISSUER, name))
            for each in self._world.classes_of(name):
                self._catalogue.add(ObjectKey(_CLASS, each))
            self.trust.issuer_seen()

    def _look_at(self, keys: Iterable[ObjectKey]) -> None:
        """Look at many identities, one after the other."""
        self._tell_companions(None)
        due = self._clock.now()
        for key in keys:
            if self.queue.is_working(key):
                # Its pass may have gathered before this, and sets the timetable at its end.
                self.queue.add(key, Lane.BACKGROUND)
                continue
            due += timedelta(seconds=_SPREAD)
            planned = self.schedule.when(key)
            if planned is None or planned > due:
                self.schedule.at(key, due)

    def look_soon(self, key: ObjectKey, after: timedelta = _SETTLE) -> None:
        """Look at an identity after a while, or when it is planned anyway if that is sooner."""
        due, planned = self._clock.now() + after, self.schedule.when(key)
        if self.queue.is_working(key):
            # Its pass may have gathered before this, and sets the timetable at its end.
            self._soon.setdefault(key, due)
        if planned is None or planned > due:
            self.schedule.at(key, due)

    def _tell_companions(self, identity: ObjectKey | None) -> None:
        for each in self.companions:
            each.changed(identity)

    # Life

    async def prime(self) -> None:
        """Know what judgements depend on before the first identity is judged.

        That is classes, issuers, incidents, namespaces, and the doors that this cluster serves.

        Raises:
            AgentIdError: They cannot be listed; the message says what is missing.
        """
        client = self._parts.client
        async with aclosing(client.list(AGENT_ISSUERS)) as issuers:
            async for body in issuers:
                self.issuer_seen(body, gone=False)
        async with aclosing(client.list(AGENT_CLASSES)) as classes:
            async for body in classes:
                self.class_seen(body, gone=False)
        async with aclosing(client.list(AGENT_REVOCATIONS)) as incidents:
            async for body in incidents:
                self.incidents.seen(body, gone=False)
        await self.trust.prime()
        await self.pods.prime()
        self.primed = True

    def started(self) -> None:
        """This replica leads from now on."""
        _log.info("leading_started")
        self._parts.identities.begin()
        self._parts.quotas.begin(
            wake=lambda key: self.queue.add(key, Lane.CHANGE), placed=self._tell_companions
        )
        loops: tuple[Coroutine[None, None, None], ...] = (
            self._lead(),
            self._look_after_catalogue(),
            self._rounds.compact(),
            self.revoking.run(),
            self.pods.run(),
            self.incidents.run(),
            self.schedule.run(lambda key: self.queue.add(key, Lane.BACKGROUND)),
            self._catalogue_times.run(self._catalogue.add),
            self._parts.crls.run(),
            self.trust.run(),
            self._parts.credentials_of_responders.run(),
            self._parts.credentials_of_admission.run(),
            self._parts.notices.run(),
        )
        self._leading = tuple(asyncio.create_task(self._guarded(loop)) for loop in loops)

    def stopped(self) -> None:
        """This replica does not lead any more: everything that writes ends at once."""
        if self._leading:
            _log.info("leading_stopped")
        for task in self._leading:
            task.cancel()
        self._leading = ()

    async def drain(self, seconds: float) -> None:
        """Hand out nothing more, and let what is in work come to its end for so long."""
        await self.queue.close()
        deadline = self._clock.monotonic() + seconds
        while self.queue.working and self._clock.monotonic() < deadline:
            await self._clock.sleep(0.02)
        await self._catalogue.close()
        await self.incidents.queue.close()
        ending = self._leading
        self.stopped()
        if ending:
            await asyncio.wait(ending, timeout=1.0)

    async def _guarded(self, loop: Coroutine[None, None, None]) -> None:
        """Run a loop of the leader; if it ends by a defect, the process is not to go on."""
        try:
            await loop
        except Exception:
            _log.exception("leader_loop_crashed")
            self.crashed.set()
            raise

    async def _lead(self) -> None:
        for name in tuple(self._world.issuers):
            await self._try(ObjectKey(_ISSUER, name))
        for key in self._world.identities:
            self.queue.add(key, Lane.BACKGROUND)
        async with asyncio.TaskGroup() as group:
            for _ in range(WORKERS):
                group.create_task(self._work())
            group.create_task(self._rounds.resync())
            group.create_task(self._rounds.notice_clock())
            group.create_task(self._rounds.count_places())

    async def _work(self) -> None:
        async for key in self.queue:
            self._rounds.went_by_clock()
            try:
                with self._followed(key):
                    again = await self._parts.identities.reconcile(key)
            except asyncio.CancelledError:
                self.queue.retry(key)
                raise
            except PassError as error:
                self._after_failure(key, error)
            except UnavailableError as error:
                _log.warning(
                    "pass_interrupted",
                    namespace=key.namespace, name=key.name, error=str(error),
                )  # fmt: skip
                self.queue.retry(key, error.retry_after)
            except AgentIdError as error:
                _log.info(
                    "pass_overtaken", namespace=key.namespace, name=key.name, error=str(error)
                )
                self.queue.retry(key)
            except Exception:  # noqa: BLE001 - see below
                # The boundary of a pass: a defect that shows on one identity must not end the
                # passes over all others. It is told in full and tried again, ever more slowly.
                _log.exception("pass_crashed", namespace=key.namespace, name=key.name)
                self.queue.retry(key)
            else:
                self.queue.done(key)
                soon = self._soon.pop(key, None)
                again = soon if again is None or (soon is not None and soon < again) else again
                if again is None:
                    self.schedule.cancel(key)
                else:
                    self.schedule.at(key, again)

    def _handed_out(self, key: ObjectKey, _: Lane, seconds: float) -> None:
        self._parts.metrics.queue_seconds.observe(seconds)
        if self._parts.tracer is not None:
            self._waited[key] = seconds

    def _followed(self, key: ObjectKey) -> AbstractContextManager[None]:
        about = {"namespace": key.namespace, "name": key.name}
        waited = self._waited.pop(key, 0.0)
        return follow(self._parts.tracer, self._clock, waited, about)

    def _after_failure(self, key: ObjectKey, error: PassError) -> None:
        if error.stalled:
            self.queue.done(key)  # it comes again when the spec, the class or the issuer changes
        else:
            self.queue.retry(key, error.retry_after)

    # The small kinds

    async def _look_after_catalogue(self) -> None:
        async for key in self._catalogue:
            if await self._try(key):
                self._catalogue.done(key)
            else:
                self._catalogue.retry(key)

    async def _try(self, key: ObjectKey) -> bool:
        kind, name = key.namespace, key.name
        try:
            if kind == _CLASS:
                await self._parts.classes.reconcile(name)
                self._plan_class(key)
                return True
            looked = await self._parts.issuers.reconcile(name)
            self._follow_issuer(name, looked)
        except AgentIdError as error:
            _log.warning("catalogue_failed", kind=kind, name=name, error=str(error))
            return False
        state = self._world.issuer_states.get(name)
        return state is None or not state.passing

    def _follow_issuer(self, name: str, looked: Looked) -> None:
        """Look at the identities that an issuer's look concerns, and at the issuer again."""
        self._parts.crls.poke()
        self.trust.authorities_seen()
        self._parts.credentials_of_responders.poke()
        concerned = self._world.identities.of_classes(self._world.classes_of(name))
        if looked.availability:
            self._tell_companions(None)
            for key in concerned:
                self.queue.add(key, Lane.CHANGE)
        elif looked.demands:
            self._look_at(concerned)
        if name in self._world.issuers:
            again = self._clock.now() + looked.again
            self._catalogue_times.at(ObjectKey(_ISSUER, name), again)

    def _plan_class(self, key: ObjectKey) -> None:
        """Count the keys of a class again while it migrates to another algorithm."""
        if key.name in self._parts.classes.migrating():
            self._catalogue_times.at(key, self._clock.now() + _COUNT_KEYS)
