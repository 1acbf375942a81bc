"""Follows the PodCertificateRequests and has them answered, in every replica.

```
 watch ─► requests ─► queue ─► worker ─► PodCertificates.answer ─┐
             │          ▲                                        │ waits: told, tried again
             │          └── back-off, or something has changed ◄─┘
             └─► ended: settling
```

The leader answers at once. Other replicas answer what has waited for long, so that requests go on
while nobody leads, and two replicas rarely make a certificate each for one request.

Requests are answered in the order of need: first those of pods that have no certificate, which
cannot start without; then those whose last one ends soon; then ordinary refreshes. A kubelet that
was restarted asks for all its pods at once.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import structlog

from agentid.constants import LABEL_IDENTITY, SIGNER_NAME
from agentid.errors import AgentIdError, ForbiddenError, InputError, NotFoundError
from agentid.kube.backoff import Backoff
from agentid.kube.objects import ObjectKey, uid_of
from agentid.kube.queue import Lane, WorkQueue
from agentid.kube.reflector import ChangeType, reflect
from agentid.kube.resources import POD_CERTIFICATE_REQUESTS, Selector
from agentid.policy.observed import PodRefusal
from agentid.signer.reasons import Waiting
from agentid.signer.request import AnswerType, PodCertificateRequest
from agentid.telemetry.tracing import follow

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from agentid.clock import Clock
    from agentid.kube.client import Client
    from agentid.kube.objects import JsonObject
    from agentid.kube.reflector import Change
    from agentid.services.standby import StandbyIssuers
    from agentid.signer.service import Answered, PodCertificates
    from agentid.signer.settling import Settling
    from agentid.signer.telling import Telling
    from agentid.telemetry.metrics import Metrics
    from agentid.telemetry.tracing import Tracer

__all__ = ["SignerLoop"]

_log = structlog.stdlib.get_logger(__name__)

_OURS: Final = Selector(fields=f"spec.signerName={SIGNER_NAME}")

WORKERS: Final = 96
"""Requests looked at at a time. Most of a look is waiting for the ledger, which commits ten times a
second in a burst: as many as the client's 32 connections would come to some hundred a second, less
than an API server takes. Far more would let what is urgent stand behind what was begun."""

_PATIENCE: Final = 5.0
"""Seconds that a replica leaves a request to the leader. A leader answers in some hundredths."""

_LIVELY: Final = 3.0
"""Seconds since the last answer of somebody else, below which somebody works off a burst."""

_END_OF_PATIENCE: Final = 30.0
"""Seconds after which it is answered even so; a kubelet has its pod wait for minutes."""

_LOOK: Final = 0.25
"""Seconds between two looks for requests whose turn has come by the passing of time alone."""

_SOON: Final = timedelta(minutes=15)
"""Below this, the last certificate of a pod ends soon. A kubelet begins to refresh ten minutes
before the end at the latest, give or take five."""

_ABSENT: Final = 60.0
"""Seconds until the kind is looked for again in a cluster that does not serve it, or not to us."""

LASTS: Final = 2.0
"""Seconds after which a wait is worth an Event: what was applied together has come by then."""

_BACKOFF: Final = Backoff(base=timedelta(seconds=0.5), ceiling=timedelta(seconds=30))
"""For a request that waits. It is looked at at once when what it waits for changes here; this is
for what nobody tells."""


@dataclass(slots=True)
class _Seen:
    """A request that has no answer yet."""

    request: PodCertificateRequest
    since: float
    left_since: float
    """Since when it has been left to the leader, on a replica that does not lead."""
    patience: float = _PATIENCE
    """For how many seconds it is."""
    offered: bool = False
    waiting: Waiting | None = None
    told: set[str] = field(default_factory=set)

    @property
    def reason(self) -> str:
        return "" if self.waiting is None else str(self.waiting.reason)

    @property
    def identity(self) -> ObjectKey:
        name = self.request.annotations.get(LABEL_IDENTITY, "")
        return ObjectKey(self.request.key.namespace, name)


class SignerLoop:
    """One for each process."""

    def __init__(  # noqa: PLR0913 - each is a part of its own
        self,
        *,
        client: Client,
        service: PodCertificates,
        settling: Settling,
        telling: Telling,
        standby: StandbyIssuers,
        metrics: Metrics,
        clock: Clock,
        random: Callable[[], float],
        leads: Callable[[], bool],
        tracer: Tracer | None = None,
    ) -> None:
        """Take the parts; nothing runs yet.

        Args:
            client: The API server.
            service: Answers one request.
            settling: Told how requests end.
            telling: Told why requests are not granted.
            standby: Has issuers sign while this replica does not lead; told that it is needed.
            metrics: Counts answers.
            clock: For waits.
            random: A number in [0, 1) at each call.
            leads: Whether this replica leads.
            tracer: Follows each look, if there is one.
        """
        self._client = client
        self._service = service
        self._settling = settling
        self._telling = telling
        self._standby = standby
        self._metrics = metrics
        self._clock = clock
        self._random = random
        self._leads = leads
        self._tracer = tracer
        self._seen: dict[ObjectKey, _Seen] = {}
        # UIDs of what was answered here, until the watch tells of it: before that it may tell of
        # what was changed earlier, and such a request looks as if it still waited.
        self._over: set[str] = set()
        self._others_answered = float("-inf")
        self._queue: WorkQueue[ObjectKey] = WorkQueue(
            clock=clock, random=random, namespace_of=lambda key: key.namespace, backoff=_BACKOFF
        )

    # Life

    async def run(self) -> None:
        """Answer requests until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch())
            group.create_task(self._look_again())
            group.create_task(self._settling.run())
            for _ in range(WORKERS):
                group.create_task(self._work())

    async def drain(self) -> None:
        """Begin nothing more, and return once what was begun has come to its end."""
        await self._queue.close()
        while self._queue.working:
            await self._clock.sleep(0.02)

    def changed(self, identity: ObjectKey | None) -> None:
        """Something has changed that requests may wait for.

        Args:
            identity: What is known to have changed; None for what concerns many.
        """
        now = self._clock.monotonic()
        for key, seen in self._seen.items():
            if not seen.reason or identity not in {None, seen.identity}:
                continue
            if seen.offered:
                self._queue.add(key, Lane.CHANGE)
            else:
                seen.left_since, seen.patience = now, _PATIENCE

    def waiting(self) -> Mapping[str, Sequence[float]]:
        """For how many seconds requests have waited, by the reason.

        Those that were not looked at are `Unseen`.
        """
        now = self._clock.monotonic()
        waits: dict[str, list[float]] = {}
        for seen in self._seen.values():
            waits.setdefault(seen.reason or "Unseen", []).append(now - seen.since)
        return waits

    # What the watch tells

    async def _watch(self) -> None:
        while True:
            try:
                await self._follow()
            except (NotFoundError, ForbiddenError) as error:
                _log.info("pod_certificate_requests_not_served", error=str(error))
            await self._clock.sleep(_ABSENT)

    async def _follow(self) -> None:
        self._over.clear()
        changes = reflect(
            self._client,
            POD_CERTIFICATE_REQUESTS,
            clock=self._clock,
            random=self._random,
            selector=_OURS,
            on_outage=_outage,
        )
        async with aclosing(changes):
            async for change in changes:
                self._standby.need()  # the cluster serves the kind, so there may be requests
                self._take(change)

    def _take(self, change: Change) -> None:
        key = change.key
        if key is None:
            return
        if change.type is ChangeType.DELETED:
            self._gone(key, change.object)
            return
        try:
            request = PodCertificateRequest.parse(change.object)
        except InputError as error:
            _log.error("request_not_understood", request=str(key), error=str(error))
            return
        if request.answer is not None:
            self._answered_by_somebody(request)
            return
        if request.uid in self._over:
            return
        known = self._seen.get(key)
        if known is not None and known.request.uid == request.uid:
            known.request = request
            return
        now = self._clock.monotonic()
        self._seen[key] = _Seen(request, now, now)
        self._offer(key)

    def _answered_by_somebody(self, request: PodCertificateRequest) -> None:
        waited = self._seen.pop(request.key, None) is not None
        if waited and not self._queue.is_working(request.key):
            self._others_answered = self._clock.monotonic()
        self._end(request)
        answer = request.answer
        if answer is not None and answer.type is not AnswerType.ISSUED:
            refusal = PodRefusal(answer.time, request.pod_name, answer.reason, answer.message)
            self._telling.refused(request, refusal)

    def _gone(self, key: ObjectKey, body: JsonObject) -> None:
        seen = self._seen.pop(key, None)
        self._over.discard(uid_of(body))
        self._queue.forget(key)
        try:
            self._end(PodCertificateRequest.parse(body))
        except InputError:
            # Its deletion was found by a new list, which does not tell how it ended.
            if seen is not None:
                self._service.ended(seen.request.uid)

    def _end(self, request: PodCertificateRequest) -> None:
        self._over.discard(request.uid)
        self._queue.forget(request.key)
        self._service.ended(request.uid)
        self._settling.ended(request)

    # Whose turn it is

    def _offer(self, key: ObjectKey) -> None:
        seen = self._seen[key]
        if seen.offered or not self._is_ours(seen):
            return
        seen.offered = True
        self._queue.add(key, self._lane(seen.request))

    def _is_ours(self, seen: _Seen) -> bool:
        if self._leads():
            return True
        now = self._clock.monotonic()
        waited = now - seen.left_since
        lively = now - self._others_answered < _LIVELY
        return waited >= (_END_OF_PATIENCE if lively else seen.patience)

    def _lane(self, request: PodCertificateRequest) -> Lane:
        now = self._clock.now()
        end = self._service.last_end(request, now)
        if end is None:
            return Lane.REVOCATION
        return Lane.CHANGE if end - now < _SOON else Lane.BACKGROUND

    async def _look_again(self) -> None:
        while True:
            await self._clock.sleep(_LOOK)
            for key, seen in tuple(self._seen.items()):
                self._offer(key)
                self._tell_lasting(seen)

    # Work

    async def _work(self) -> None:
        async for key in self._queue:
            seen = self._seen.get(key)
            if seen is None:
                self._queue.done(key)
                continue
            waited = self._clock.monotonic() - seen.since
            about = {"namespace": key.namespace, "request": key.name}
            try:
                with follow(self._tracer, self._clock, waited, about):
                    outcome = await self._service.answer(seen.request)
            except asyncio.CancelledError:
                self._queue.retry(key)
                raise
            except AgentIdError as error:
                _log.warning("request_interrupted", request=str(key), error=str(error))
                self._queue.retry(key)
            except Exception:  # noqa: BLE001 - see below
                # The boundary of a look: a defect that shows on one request must not end the
                # answers to all others. It is told in full and tried again, ever more slowly.
                _log.exception("request_crashed", request=str(key))
                self._queue.retry(key)
            else:
                if isinstance(outcome, Waiting):
                    self._waits(seen, outcome)
                    self._again(seen, outcome)
                else:
                    self._queue.done(key)
                    self._answered(seen, outcome)
            if self._seen.get(key) is not seen:  # it has ended
                self._service.ended(seen.request.uid)

    def _again(self, seen: _Seen, waiting: Waiting) -> None:
        """Have it looked at again, by the leader first: all replicas wait for the same change."""
        key = seen.request.key
        if self._leads() or self._seen.get(key) is not seen:
            self._queue.retry(key, waiting.retry_after)
            return
        self._queue.done(key)
        seen.offered = False
        seen.left_since = self._clock.monotonic()
        seen.patience = _END_OF_PATIENCE if waiting.retry_after is None else _PATIENCE

    def _answered(self, seen: _Seen, outcome: Answered) -> None:
        key = seen.request.key
        if self._seen.get(key) is seen:
            del self._seen[key]
            self._over.add(seen.request.uid)
        if outcome.denial is not None:
            reason = outcome.denial.reason.value
            self._metrics.pod_certificates.labels(AnswerType.DENIED.value, reason).inc()
        elif outcome.serial:
            self._metrics.pod_certificates.labels(AnswerType.ISSUED.value, "").inc()
            self._metrics.pod_certificate_seconds.observe(self._clock.monotonic() - seen.since)

    def _waits(self, seen: _Seen, waiting: Waiting) -> None:
        before, seen.waiting = seen.waiting, waiting
        if before is None or before.reason != waiting.reason:
            _log.info(
                "request_waits",
                request=str(seen.request.key),
                pod=seen.request.pod_name,
                reason=str(waiting.reason),
                message=waiting.message,
            )
        # Once each: many pods that wait would take turns as the last that was refused.
        if before is None or (before.reason, before.message) != (waiting.reason, waiting.message):
            self._telling.waits(seen.request, waiting)
        self._tell_lasting(seen)

    def _tell_lasting(self, seen: _Seen) -> None:
        waiting = seen.waiting
        lasts = self._clock.monotonic() - seen.since >= LASTS
        if waiting is not None and lasts and seen.reason not in seen.told and self._leads():
            seen.told.add(seen.reason)
            self._telling.lasts(seen.request, waiting)


def _outage(error: AgentIdError, seconds: float) -> None:
    _log.warning("request_watch_interrupted", error=str(error), seconds=round(seconds, 1))
