"""Executes AgentRevocations: once, whatever happens in between.

```
 dry run ─► what it would hit stands in the status                        nothing is revoked
 execute ─► startedAt in the status ─► ledger ─► look again ─► Executed   revoked, for good
                 durable, the cut-off     │           │
                                          └───────────┴─ a crash anywhere: the next pass goes on
```

Nothing but the ledger says what is done: what is left to revoke is what the selection hits, was
issued until the cut-off, and is not revoked. So a pass that was interrupted anywhere is completed
by the next, and no serial is revoked twice. The ledger is asked and not the API server: it knows
certificates of identities that are gone.

A certificate may be on its way to the ledger as an incident begins. So there is a second look,
later than the ledger lets anybody wait; only then it is over. Why so: `docs/adr/0008`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import chain
from typing import TYPE_CHECKING, Final

import structlog

from agentid.api.agentrevocation import (
    MAX_HELD,
    AgentRevocation,
    HeldIdentity,
    Phase,
)
from agentid.api.conditions import Reason
from agentid.errors import AgentIdError, ConflictError, NotFoundError, UnavailableError
from agentid.kube.objects import ObjectKey, uid_of
from agentid.kube.resources import AGENT_REVOCATIONS
from agentid.policy import incident_report as report
from agentid.services.incident_hits import Lookout
from agentid.services.witness import Witness
from agentid.telemetry.audit import Counts

if TYPE_CHECKING:
    from datetime import datetime

    from agentid.api.agentrevocation import AgentRevocationStatus
    from agentid.api.model import ObjectMeta
    from agentid.clock import Clock
    from agentid.kube.client import Client
    from agentid.ledger import Ledger
    from agentid.policy.incident import Incident
    from agentid.services.incident_hits import Hits
    from agentid.services.world import World
    from agentid.telemetry.metrics import Metrics

__all__ = ["IncidentService", "Outcome"]

_log = structlog.stdlib.get_logger(__name__)

SETTLE: Final = timedelta(seconds=12)
"""From the first look to the last. The ledger tells whoever waits for it after ten seconds that it
is away (`CommitLimits.timeout`); what was being issued as the incident began is on record by
then."""

CHUNK: Final = 10_000
"""Revocations in one append; the status counts them after each. That many are durable in about a
second, far within the ten that the ledger lets anybody wait."""

_TRIES: Final = 3
"""To write a status while others write the object; each looks at it anew."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a pass over an incident leads to.

    Attributes:
        again: When to look at it again, None if there is no such time.
        concerned: Identities to look at: their certificates were revoked, or a hold on them has
            begun or ended.
    """

    again: timedelta | None = None
    concerned: tuple[ObjectKey, ...] = ()


class IncidentService:
    """One pass at a time for each AgentRevocation; `WorkQueue` sees to that."""

    def __init__(
        self,
        *,
        world: World,
        client: Client,
        ledger: Ledger,
        clock: Clock,
        metrics: Metrics,
        witness: Witness | None = None,
    ) -> None:
        """Take the parts."""
        self._world = world
        self._client = client
        self._ledger = ledger
        self._lookout = Lookout(client=client, ledger=ledger)
        self._clock = clock
        self._metrics = metrics
        self._witness = witness or Witness()
        # When this process first looked, by the monotonic clock: the wall clock may be set back.
        self._began: dict[str, float] = {}
        # By name, whom to look at once a pass has come to its end: what the next one finds done
        # already was done by this one, whose answers were lost.
        self._owed: dict[str, dict[ObjectKey, None]] = {}

    async def reconcile(self, name: str) -> Outcome:
        """Do what has to be done about an incident now.

        Raises:
            UnavailableError: API server or ledger is away; what was revoked is revoked, and the
                next pass goes on.
            AgentIdError: The API server refuses.
        """
        for _ in range(_TRIES):
            try:
                outcome = await self._pass(name)
                return replace(outcome, concerned=tuple(self._owed.pop(name, ())))
            except ConflictError:
                # Somebody wrote the object: another leader may have come further than we know.
                await self._refresh(name)
        message = f"AgentRevocation {name} changes faster than its status is written"
        raise UnavailableError(message)

    def concerned(self, name: str) -> tuple[ObjectKey, ...]:
        """The identities there are that a hold of the incident would hold."""
        incident = self._world.incidents.incident(name)
        if incident is None or not incident.resource.spec.hold:
            return ()
        return tuple(
            key
            for key in self._world.identities
            if incident.may_concern(key.namespace, key.name)
            and (body := self._world.identities.get(key)) is not None
            and incident.concerns(self._world.bearer_of(body))
        )

    # A pass

    async def _pass(self, name: str) -> Outcome:
        parsed, now = self._world.incidents.get(name), self._clock.now()
        if parsed is None:
            return Outcome()
        metadata = AgentRevocation.metadata_of(parsed.body)
        incident = self._world.incidents.incident(name)
        if incident is None:
            old = AgentRevocation.status_of(parsed.body)
            await self._store(metadata, old, report.invalid(metadata, old, parsed.faults, now))
            return Outcome()
        resource = incident.resource
        phase = resource.status.phase
        if phase in {Phase.EXECUTED, Phase.RELEASED}:
            return await self._after_execution(resource, now)
        if resource.status.started_at is None:
            if metadata.deletion_timestamp is not None or _told(resource):
                return Outcome()
            if resource.spec.dry_run:
                return await self._dry_run(incident, now)
        return await self._execute(incident, now)

    async def _dry_run(self, incident: Incident, now: datetime) -> Outcome:
        resource = incident.resource
        found = (await self._lookout.look(incident, now, now)).found
        status = report.after_dry_run(resource, found, now)
        if _cannot_be_held(resource, found):
            status = report.too_many_held(resource, found, now)
        await self._write(resource, status)
        _log.info("incident_dry_run", incident=resource.metadata.name, matched=found.matched)
        return Outcome()

    async def _execute(self, incident: Incident, now: datetime) -> Outcome:
        resource, began = incident.resource, incident.resource.status.started_at
        started = began or now
        hits = await self._lookout.look(incident, started, now)
        if began is None and _cannot_be_held(resource, hits.found):
            await self._write(resource, report.too_many_held(resource, hits.found, now))
            return Outcome()
        held = _held(resource, hits.found)
        if began is None or held != resource.status.held:
            # Before the first revocation: from here on the cut-off stands, and the hold holds.
            status = report.under_way(resource, hits.found, held, started, now)
            stored = await self._write(resource, status)
            if stored is None:
                return Outcome()
            resource = stored
            if began is None:
                self._witness.incident_started(resource, _counts(hits.found))
                _log.warning(
                    "incident_started", incident=resource.metadata.name,
                    uid=resource.metadata.uid, reason=resource.spec.reason.value,
                    matched=hits.found.matched, identities=len(hits.found.identities),
                )  # fmt: skip
        unseen = bool(hits.left) or resource.status.progress != 100  # noqa: PLR2004 - percent
        found = await self._revoke(resource, hits)
        if unseen:
            self._owe(resource.metadata.name, self._concerned(resource, found))
        return await self._conclude(resource, found)

    async def _revoke(self, resource: AgentRevocation, hits: Hits) -> report.Found:
        """Revoke what is left, and tell in between how far it is."""
        found, reason = hits.found, resource.revocation_reason
        for start in range(0, len(hits.left), CHUNK):
            if start:
                await self._tell_progress(resource, found)
            part = hits.left[start : start + CHUNK]
            at = self._clock.now()
            records = [entry.revocation(reason, at=at, actor=resource.actor) for entry in part]
            self._witness.will_revoke(each.serial for each in records)
            try:
                await self._ledger.append(*records)
            except UnavailableError as error:
                await self._tell_failure(resource, found, error)
                raise
            self._metrics.revocations.labels(reason.value).inc(len(records))
            found = replace(found, revoked=found.revoked + len(records))
        return found

    async def _conclude(self, began: AgentRevocation, found: report.Found) -> Outcome:
        """Tell that everything found is revoked, and whether that is all."""
        resource, now = self._current(began), self._clock.now()
        if resource is None:  # deleted meanwhile; what is revoked is revoked
            return Outcome()
        settled = self._settles_in(resource.metadata.uid)
        if settled > timedelta(0):
            await self._write(resource, report.under_way(resource, found, None, None, now))
            return Outcome(settled)
        status = report.when_executed(resource, found, now)
        await self._write(resource, status)
        self._witness.incident_executed(resource, _counts(found), status.conditions[0].message)
        self._began.pop(resource.metadata.uid, None)
        _log.warning(
            "incident_executed", incident=resource.metadata.name, uid=resource.metadata.uid,
            revoked=found.revoked, identities=len(found.identities),
        )  # fmt: skip
        return Outcome(timedelta(0) if resource.spec.release else None)

    async def _after_execution(self, resource: AgentRevocation, now: datetime) -> Outcome:
        released = resource.spec.hold and resource.spec.release
        if not released or resource.status.phase is Phase.RELEASED:
            return Outcome()
        name = resource.metadata.name
        self._owe(name, self.concerned(name))
        await self._write(resource, report.after_release(resource, now))
        self._witness.incident_released(resource)
        _log.warning("incident_released", incident=name)
        return Outcome()

    def _owe(self, name: str, concerned: tuple[ObjectKey, ...]) -> None:
        self._owed.setdefault(name, {}).update(dict.fromkeys(concerned))

    def _settles_in(self, uid: str) -> timedelta:
        now = self._clock.monotonic()
        return SETTLE - timedelta(seconds=now - self._began.setdefault(uid, now))

    def _concerned(self, resource: AgentRevocation, found: report.Found) -> tuple[ObjectKey, ...]:
        hit = (ObjectKey(*key) for key in found.identities)
        return tuple(dict.fromkeys(chain(hit, self.concerned(resource.metadata.name))))

    async def _tell_progress(self, began: AgentRevocation, found: report.Found) -> None:
        if (resource := self._current(began)) is not None:
            status = report.under_way(resource, found, None, None, self._clock.now())
            await self._write(resource, status)

    async def _tell_failure(
        self, began: AgentRevocation, found: report.Found, error: UnavailableError
    ) -> None:
        """Write into the status that the ledger is away; best effort, the pass has failed."""
        if (resource := self._current(began)) is None:
            return
        reason, now = Reason.LEDGER_UNAVAILABLE, self._clock.now()
        try:
            status = report.after_failure(resource, found, reason, str(error), now)
            await self._write(resource, status)
        except AgentIdError as failed:
            name = resource.metadata.name
            _log.warning("incident_status_not_written", incident=name, error=str(failed))

    # Writing

    async def _write(
        self, resource: AgentRevocation, status: AgentRevocationStatus
    ) -> AgentRevocation | None:
        """Replace the status, and return the object as it is then; None if it is gone."""
        await self._store(resource.metadata, resource.status, status)
        return self._current(resource)

    def _current(self, known: AgentRevocation) -> AgentRevocation | None:
        """The object as it is now, None if it is gone or another one has its name."""
        incident = self._world.incidents.incident(known.metadata.name)
        if incident is None or incident.resource.metadata.uid != known.metadata.uid:
            return None
        return incident.resource

    async def _store(
        self, metadata: ObjectMeta, old: AgentRevocationStatus, status: AgentRevocationStatus
    ) -> None:
        """Replace the status, if there is anything to write, and take the object in as stored.

        Raises:
            ConflictError: The object is not as we know it; look at it again.
        """
        if status == old:
            return
        body = {
            "apiVersion": AGENT_REVOCATIONS.api_version,
            "kind": AGENT_REVOCATIONS.kind,
            "metadata": {
                "name": metadata.name,
                "uid": metadata.uid,
                "resourceVersion": metadata.resource_version,
            },
            "status": status.to_api(),
        }
        try:
            self._world.incidents.put(await self._client.replace_status(AGENT_REVOCATIONS, body))
        except NotFoundError:
            self._gone(metadata.name, metadata.uid)

    async def _refresh(self, name: str) -> None:
        known = self._world.incidents.get(name)
        uid = "" if known is None else uid_of(known.body)
        try:
            body = await self._client.get(AGENT_REVOCATIONS, name)
        except NotFoundError:
            self._gone(name, uid)
            return
        if uid != uid_of(body):
            self._gone(name, uid)
        self._world.incidents.put(body)

    def _gone(self, name: str, uid: str) -> None:
        """An object is gone, by an answer; the watch may have told of a namesake by now."""
        if not uid:
            return  # the watch has told it
        incident = self._world.incidents.incident(name)
        if incident is not None and incident.resource.metadata.uid == uid and incident.hold:
            self._owe(name, self.concerned(name))
        self._world.incidents.ended({"metadata": {"name": name, "uid": uid}})


def _counts(found: report.Found) -> Counts:
    return Counts(found.matched, found.revoked, len(found.identities))


def _told(resource: AgentRevocation) -> bool:
    """Whether the status tells already all there is to tell of this spec."""
    status = resource.status
    if status.observed_generation != resource.metadata.generation:
        return False
    stalled = any(each.reason == Reason.TOO_MANY_HELD for each in status.conditions)
    return stalled or (resource.spec.dry_run and status.phase is Phase.DRY_RUN)


def _cannot_be_held(resource: AgentRevocation, found: report.Found) -> bool:
    spec = resource.spec
    return spec.hold and spec.select.by_certificate and len(found.identities) > MAX_HELD


def _held(resource: AgentRevocation, found: report.Found) -> tuple[HeldIdentity, ...]:
    """Who is held by name: who was, and who is hit now as well."""
    spec = resource.spec
    if not (spec.hold and spec.select.by_certificate):
        return ()
    before = ((each.namespace, each.name) for each in resource.status.held)
    everyone = dict.fromkeys(chain(before, found.identities))
    return tuple(HeldIdentity(namespace=one, name=other) for one, other in everyone)[:MAX_HELD]
