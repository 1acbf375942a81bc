"""Answers one request: attest, judge, sign, record, answer.

```
 parse ─► attest ─► judge ─► sign ─► ledger ─► PUT status
            │         │                           │ lost, or somebody else was first
          Denied    waits                         └─► look at the request, and go on from there
```

A certificate that was made for a request is kept until the request is known to be answered: a try
that failed on the way to the status goes on with the same one. What is on record for a request and
is not what the request was answered with is revoked by `settling`, once the request has ended.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import structlog

from agentid.errors import (
    ConflictError,
    ForbiddenError,
    InputError,
    InvalidError,
    NotFoundError,
    UnavailableError,
)
from agentid.identity import PodRef
from agentid.kube.resources import POD_CERTIFICATE_REQUESTS
from agentid.policy.plan import renewal_of
from agentid.policy.rate import renewal_is_due
from agentid.services.failure import PassError
from agentid.services.gathering import held_of
from agentid.services.issuance import cause_of, held_by_pod, tell_issued
from agentid.signer import answers
from agentid.signer.reasons import Denial, Waiting, WaitingReason
from agentid.signer.request import PodCertificateRequest
from agentid.signer.timing import LEAST, lifetime_within, refresh_within, total
from agentid.telemetry import tracing

if TYPE_CHECKING:
    from datetime import datetime

    from agentid.clock import Clock
    from agentid.kube.client import Client
    from agentid.kube.objects import JsonObject
    from agentid.ledger import Ledger
    from agentid.policy.grant import Grant
    from agentid.services.issuance import Issuance, Made
    from agentid.services.witness import Witness
    from agentid.signer.deciding import Decided, Deciding
    from agentid.telemetry.metrics import Metrics

__all__ = ["Answered", "PodCertificates"]

_log = structlog.stdlib.get_logger(__name__)

_FRESH: Final = timedelta(minutes=2)
"""For how long a certificate that was made may still be the answer: the API server takes a
notBefore of at most five minutes ago, and ours is back-dated by one."""

_WRITES_AT_ONCE: Final = 24
"""Answers on their way at a time: the client's 32 connections serve the ledger and revocations too,
which must not stand in line behind a burst."""

_TRIES: Final = 3
"""Tries to write an answer while others write to the same request."""

_REFUSED_AGAIN: Final = timedelta(seconds=30)
"""Until a request whose answer was not taken is looked at again: each try is a record."""


@dataclass(frozen=True, slots=True)
class Answered:
    """A request that has its answer.

    Attributes:
        denial: Why it was denied, None if it was issued or somebody else answered.
        serial: Of the certificate, empty if there is none of ours.
    """

    denial: Denial | None = None
    serial: str = ""


@dataclass(frozen=True, slots=True)
class _Kept:
    """A certificate that was made for a request, and may have been its answer already."""

    made: Made
    grant: Grant
    refresh_at: datetime
    at: datetime


class PodCertificates:
    """One look at a time for each request; the queue sees to that."""

    def __init__(
        self,
        *,
        deciding: Deciding,
        issuance: Issuance,
        ledger: Ledger,
        client: Client,
        clock: Clock,
        metrics: Metrics,
        witness: Witness,
    ) -> None:
        """Take the parts; each is made and closed by the composition root."""
        self._deciding = deciding
        self._issuance = issuance
        self._ledger = ledger
        self._client = client
        self._clock = clock
        self._metrics = metrics
        self._witness = witness
        self._kept: dict[str, _Kept] = {}
        self._writing = asyncio.Semaphore(_WRITES_AT_ONCE)

    async def answer(self, request: PodCertificateRequest) -> Answered | Waiting:
        """Answer a request, or tell why it has to wait."""
        try:
            return await self._answer(request)
        except PassError as error:
            return Waiting(error.reason, str(error), error.retry_after)
        except UnavailableError as error:
            return Waiting(WaitingReason.API_UNAVAILABLE, str(error), error.retry_after)
        except ForbiddenError as error:
            return Waiting(WaitingReason.API_UNAVAILABLE, str(error))

    def ended(self, request: str) -> None:
        """A request of this UID has ended, whoever answered it."""
        self._kept.pop(request, None)

    def last_end(self, request: PodCertificateRequest, now: datetime) -> datetime | None:
        """When the last certificate of the pod ends, None if it has none."""
        live = [
            entry.issued.not_after
            for entry in self._ledger.state.of_pod(request.pod_uid)
            if entry.is_live(now)
        ]
        return max(live, default=None)

    async def _answer(self, request: PodCertificateRequest) -> Answered | Waiting:
        if request.uid in self._kept:
            # It may have been answered by a try whose end is not known.
            current = await self._current(request)
            if current is None:
                return Answered()
            request = current
        with tracing.step("attest"):
            decided = await self._deciding.decide(request)
        match decided:
            case Waiting():
                return decided
            case Denial():
                return await self._deny(request, decided)
            case _:
                kept = self._left_over(decided) or await self._make(decided)
                if isinstance(kept, Waiting):
                    return kept
                return await self._issue(decided.request, kept)

    # Make

    def _left_over(self, granted: Decided) -> _Kept | None:
        """The certificate of an earlier try, if it still fits."""
        kept = self._kept.get(granted.request.uid)
        if kept is None or kept.grant != granted.grant:
            return None
        entry = self._ledger.state.by_serial(kept.made.leaf.serial)
        fits = entry is not None and entry.revoked is None
        return kept if fits and abs(self._clock.now() - kept.at) < _FRESH else None

    async def _make(self, granted: Decided) -> _Kept | Waiting:
        request, grant, entitled = granted.request, granted.grant, granted.entitled
        pod = PodRef(request.pod_name, request.pod_uid, request.node_name, request.uid)
        before = held_by_pod(
            self._ledger.state, pod.uid, entitled.owner, grant.delivery, self._clock.now(),
            request=pod.request,
        )  # fmt: skip
        renews = before is not None and renewal_is_due(
            held_of(before.issued), entitled.seen, self._clock.now()
        )
        self._issuance.take_turn(entitled.owner, grant, request.uid, due=renews)
        with tracing.step("sign"):
            made = await self._issuance.sign(
                entitled.owner,
                grant,
                entitled.issuer,
                granted.stub.key,
                replaces=None if before is None else before.serial,
                pod=pod,
                lifetime=lifetime_within(grant.lifetime, request.max_lifetime),
            )
        validity = made.leaf.validity
        if total(validity) < LEAST:
            message = (
                f"a certificate would be valid from {validity}, and the API server takes none for "
                f"less than {LEAST}; AgentIssuer {grant.issuer_name} has to renew its authority"
            )
            return Waiting(WaitingReason.VALIDITY_TOO_SHORT, message)
        due = renewal_of(held_of(made.record), entitled.seen.agent_class)
        kept = _Kept(made, grant, refresh_within(validity, due), made.record.issued_at)
        # Before the ledger is asked: it may say no and have it recorded all the same.
        self._kept[request.uid] = kept
        self._witness.will_issue(made.record, cause_of(made.record), entitled.seen)
        with tracing.step("ledger commit"):
            await self._issuance.record(made)
        return kept

    # Answer

    async def _issue(self, request: PodCertificateRequest, kept: _Kept) -> Answered | Waiting:
        leaf = kept.made.leaf
        body = answers.issued(request, leaf, kept.refresh_at, self._clock.now())
        try:
            with tracing.step("status write"):
                written = await self._write(request, body)
        except InvalidError as error:
            self._kept.pop(request.uid, None)  # its end may have been seen meanwhile
            _log.error(
                "answer_refused", request=str(request.key), serial=str(leaf.serial),
                error=str(error),
            )  # fmt: skip
            message = f"{error}; compare the clocks of the API server and of agentid"
            return Waiting(WaitingReason.ANSWER_REFUSED, message, _REFUSED_AGAIN)
        self._kept.pop(request.uid, None)
        if not written:
            return Answered()
        grant = kept.grant
        tell_issued(self._metrics, kept.made, grant)
        tracing.issued()
        tracing.note(
            spiffe_id=str(leaf.spiffe_id),
            serial=str(leaf.serial),
            class_name=grant.class_name,
            issuer=grant.issuer_name,
            tier=grant.tier.value,
            cause=cause_of(kept.made.record).value,
        )
        return Answered(serial=str(leaf.serial))

    async def _deny(self, request: PodCertificateRequest, denial: Denial) -> Answered:
        written = await self._write(request, answers.denied(request, denial, self._clock.now()))
        self._kept.pop(request.uid, None)
        if not written:
            return Answered()
        _log.warning(
            "pod_certificate_denied",
            namespace=request.key.namespace,
            pod=request.pod_name,
            request=request.key.name,
            reason=denial.reason.value,
            message=denial.message,
        )
        return Answered(denial=denial)

    async def _write(self, request: PodCertificateRequest, body: JsonObject) -> bool:
        """Write the status; False if the request has ended without it.

        Raises:
            InvalidError: The API server does not take it.
            UnavailableError: Whether it was written is not known.
        """
        for _ in range(_TRIES):
            try:
                async with self._writing:
                    await self._client.replace_status(POD_CERTIFICATE_REQUESTS, body)
            except (ConflictError, NotFoundError):
                current = await self._current(request)
                if current is None:
                    return False
                metadata = body["metadata"]
                if isinstance(metadata, dict):
                    metadata["resourceVersion"] = current.version
            else:
                return True
        message = f"PodCertificateRequest {request.key} is being written to by others"
        raise UnavailableError(message)

    async def _current(self, request: PodCertificateRequest) -> PodCertificateRequest | None:
        """The request as it is now; None if it is gone, or answered."""
        try:
            body = await self._client.get(
                POD_CERTIFICATE_REQUESTS, request.key.name, request.key.namespace
            )
            current = PodCertificateRequest.parse(body)
        except (NotFoundError, InputError):
            return None
        return current if current.uid == request.uid and current.answer is None else None
