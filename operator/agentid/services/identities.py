"""Looks after one identity: gather, judge, plan, apply.

`gather` reads, `judge` and `plan` are pure, and `apply` writes, in an order that can be interrupted
anywhere:

    revoke ─► finalizer ─► sign ─► ledger ─► Secret ─► status        (a certificate is issued)
    revoke ─► withdraw ─► status ─► let go                           (nothing is)

Revocations come first, since nothing that follows may delay them. A certificate is on the ledger
before it is in the Secret, and in the status after it was delivered; what a crash leaves between
these steps, the next pass sees on the ledger. The steps stand in one module, however long, so that
their order can be read in one place.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

import structlog

from agentid.api.agentidentity import CertificateStatus, DeliveryStatus
from agentid.api.conditions import Reason
from agentid.errors import (
    AgentIdError,
    ConflictError,
    InternalError,
    PreconditionError,
    UnavailableError,
)
from agentid.identity import RevocationReason
from agentid.kube.objects import ObjectKey
from agentid.policy.judge import Granted
from agentid.policy.plan import Plan, Standing, plan, renewal_of
from agentid.policy.rate import is_due
from agentid.policy.report import after_failure, after_issuing, after_plan
from agentid.services.failure import PassError
from agentid.services.gathering import held_of
from agentid.services.issuance import make_key
from agentid.services.pacing import Pacing
from agentid.services.quotas import Quotas
from agentid.services.revocations import Revocations
from agentid.services.secrets import Credential
from agentid.services.witness import Witness
from agentid.telemetry import tracing

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agentid.api.agentidentity import AgentIdentityStatus
    from agentid.api.model import ObjectMeta
    from agentid.clock import Clock
    from agentid.identity import SerialNumber
    from agentid.ledger import Issued, Ledger
    from agentid.policy.grant import Grant
    from agentid.policy.observed import Held, Observed
    from agentid.policy.plan import Cause
    from agentid.services.gathering import Gatherer
    from agentid.services.issuance import Issuance
    from agentid.services.objects import IdentityObjects
    from agentid.services.secrets import SecretDelivery
    from agentid.services.world import World
    from agentid.telemetry.metrics import Metrics

__all__ = ["ACTOR", "IdentityService"]

_log = structlog.stdlib.get_logger(__name__)

ACTOR = "agentid-controller"
"""Who revokes, on the ledger, what a change of a resource makes necessary."""


_LET_GO_AT_ONCE: Final = 8
"""Finalizers removed at a time. Nobody's safety waits for it: with as many as there are passes, the
commits and CRLs of a flood of deletions waited at the API server behind them for two seconds."""

_BREATH: Final = 50
"""Plans without letting others on the event loop: some 10 ms."""


class IdentityService:
    """One pass at a time for each identity; `WorkQueue` sees to that."""

    def __init__(  # noqa: PLR0913 - each is a part of its own
        self,
        *,
        world: World,
        gatherer: Gatherer,
        issuance: Issuance,
        delivery: SecretDelivery,
        ledger: Ledger,
        objects: IdentityObjects,
        clock: Clock,
        metrics: Metrics,
        witness: Witness | None = None,
        quotas: Quotas | None = None,
    ) -> None:
        """Take the parts; each is made and closed by the composition root."""
        self._world = world
        self._gatherer = gatherer
        self._issuance = issuance
        self._delivery = delivery
        self._ledger = ledger
        self._objects = objects
        self._clock = clock
        self._metrics = metrics
        self._witness = witness or Witness()
        self._quotas = quotas or Quotas(world)
        # Certificates that are on record, or may be, and are not known to be delivered. A try that
        # failed on the way to the Secret or the status goes on with the same certificate.
        self._undelivered: dict[ObjectKey, Credential] = {}
        self._letting_go = asyncio.Semaphore(_LET_GO_AT_ONCE)
        self._pacing = Pacing(clock)
        self._revocations = Revocations(
            ledger=ledger, metrics=metrics, witness=self._witness, actor=ACTOR
        )

    def begin(self) -> None:
        """Lead from now on: what Secrets were when this replica led last is not known any more."""
        self._delivery.forget_all()

    async def reconcile(self, key: ObjectKey) -> datetime | None:
        """Do what has to be done about an identity now.

        Returns:
            When to look again if nothing happens before; None if there is no such time.

        Raises:
            PassError: Something could not be done; the status tells it, if it could be written.
            AgentIdError: Nothing could be done, not even that.
        """
        now = self._clock.now()
        with tracing.step("gather"):
            seen = self._quotas.admit(key, await self._gatherer.gather(key, now), now)
        todo = plan(seen, now)
        if todo.issue is None:
            self._undelivered.pop(key, None)
        try:
            again = await self._apply(key, seen, todo, now)
            revoked = frozenset(each.serial for each, _ in todo.revoke)
            self._quotas.settle(key, seen, revoked, now)
        except PassError as error:
            await self._tell(key, seen, error)
            raise
        except (UnavailableError, ConflictError, PreconditionError):
            raise
        except AgentIdError as error:
            raise await self._defect(key, seen, error) from error
        if isinstance(again, datetime):
            return again if todo.look_again is None else min(again, todo.look_again)
        if again is None:
            return todo.look_again
        # What was issued may have left something to revoke, now or later. The next pass gathers
        # anew; when that is has to be known now, and whatever else has changed brings its own look.
        now = self._clock.now()
        following = plan(again, now)
        return now if following.acts else following.look_again

    async def revoke_due(self, keys: Iterable[ObjectKey]) -> None:
        """Revoke what these must not have any more, in one commit; the rest is for their passes.

        Raises:
            AgentIdError: It could not be done; a pass of each does it, or tells why not.
        """
        now = self._clock.now()
        due: list[tuple[Held, RevocationReason]] = []
        whose: dict[SerialNumber, Observed] = {}
        for number, key in enumerate(keys, 1):
            seen = await self._gatherer.gather(key, now)
            revoke = plan(seen, now).revoke
            due += revoke
            whose.update((held.serial, seen) for held, _ in revoke)
            if number % _BREATH == 0:
                await asyncio.sleep(0)
        await self._revocations.revoke(tuple(due), whose, now)

    async def revoke_pods(self, uids: Iterable[str]) -> frozenset[ObjectKey]:
        """Revoke what pods held that are gone, in one commit.

        Returns:
            Whose certificates they were.

        Raises:
            AgentIdError: It could not be done.
        """
        now = self._clock.now()
        entries = [
            entry
            for uid in uids
            for entry in self._ledger.state.of_pod(uid)
            if entry.revoked is None and not self._carried(uid, entry.issued)
        ]
        due = tuple(
            (held_of(entry.issued), RevocationReason.CESSATION_OF_OPERATION) for entry in entries
        )
        await self._revocations.revoke(due, {}, now)
        return frozenset(ObjectKey(each.issued.namespace, each.issued.name) for each in entries)

    def _carried(self, uid: str, issued: Issued) -> bool:
        """Whether a certificate belongs in its pod after all, such as after its label came back."""
        pod = self._world.pods.get(uid)
        return pod is not None and pod.carries(issued.namespace, issued.name)

    # Apply

    async def _apply(
        self, key: ObjectKey, seen: Observed, todo: Plan, now: datetime
    ) -> Observed | datetime | None:
        """Carry out a plan.

        Returns:
            What there is after a certificate was issued; a time if the status waits for it.
        """
        whose = {held.serial: seen for held, _ in todo.revoke}
        await self._revocations.revoke(todo.revoke, whose, now)
        metadata = seen.metadata
        if metadata is None:
            self._witness.identity_gone(key)
            self._pacing.forget(key)
            return None
        if todo.add_finalizer:
            metadata = await self._objects.add_finalizer(metadata)
        if todo.issue is not None and isinstance(seen.verdict, Granted):
            return await self._issue(key, seen, metadata, seen.verdict.grant, todo, todo.issue)
        if todo.withdraw is not None:
            delivered = seen.status.delivery or DeliveryStatus()
            await self._delivery.withdraw(metadata, todo.withdraw, delivered.secret_uid)
        for name in todo.clear:
            await self._clear(metadata, name)
        if todo.standing is Standing.DELETING:
            delivered = seen.status.delivery or DeliveryStatus()
            if delivered.secret_name is not None:
                self._delivery.forget(key.namespace, delivered.secret_name)
            if todo.release:
                async with self._letting_go:
                    await self._objects.release(metadata)
            return None
        self._check_readable(todo)
        status = after_plan(seen, todo, self._certificate_of(seen, todo.current), now)
        if _differs(status, seen.status):
            return await self._write(key, seen, metadata, status, todo.standing)
        self._pacing.settled(key)
        return None

    def _check_readable(self, todo: Plan) -> None:
        """Write no status of what is granted where not all of the ledger can be read.

        Raises:
            PassError: What the status says of a certificate may be on record all the same.
        """
        if todo.standing is Standing.BLOCKED and (unread := self._gatherer.unread) is not None:
            raise PassError(Reason.LEDGER_UNAVAILABLE, unread)

    async def _clear(self, metadata: ObjectMeta, name: str) -> None:
        """Empty a Secret of which nobody knows whether it was ever written.

        One that is somebody else's never held anything of ours.
        """
        try:
            await self._delivery.withdraw(metadata, name, None)
        except PassError as error:
            if error.reason is not Reason.SECRET_CONFLICT:
                raise
            _log.warning(
                "secret_left_alone", namespace=metadata.namespace, name=metadata.name,
                secret=name, error=str(error),
            )  # fmt: skip

    async def _write(
        self,
        key: ObjectKey,
        seen: Observed,
        metadata: ObjectMeta,
        status: AgentIdentityStatus,
        standing: Standing,
    ) -> datetime | None:
        """Write a status that says something new; a time if it has to wait."""
        if _differs(status, seen.status, "pods"):
            self._witness.identity_told(key, seen, status)
        elif (wait := self._pacing.wait(key)) > 0:
            # Nothing else is new: pods come and go by the hundred.
            return self._clock.now() + timedelta(seconds=wait)
        await self._objects.write_status(metadata, status)
        if status.pods is not None:
            self._pacing.written(key)
        _log.info(
            "identity_judged",
            namespace=metadata.namespace,
            name=metadata.name,
            standing=standing.value,
            reason=status.conditions[0].reason if status.conditions else "",
        )
        return None

    async def _issue(
        self,
        key: ObjectKey,
        seen: Observed,
        metadata: ObjectMeta,
        grant: Grant,
        todo: Plan,
        cause: Cause,
    ) -> Observed:
        """Make a certificate and deliver it, and return what there is afterwards."""
        began = self._clock.monotonic()
        credential, held = self._left_over(key, seen, grant), seen.held
        if credential is None:
            credential, record = await self._make(key, seen, metadata, grant, todo.replaces, cause)
            held = (held_of(record), *held)
        delivered = seen.status.delivery or DeliveryStatus()
        if todo.withdraw is not None:
            await self._delivery.withdraw(metadata, todo.withdraw, delivered.secret_uid)
        name = grant.secret_name
        if name is None:
            message = f"delivery {grant.delivery} was granted, and only Secrets are served here"
            raise InternalError(message)
        known = delivered.secret_uid if delivered.secret_name == name else None
        with tracing.step("secret write"):
            uid = await self._delivery.deliver(metadata, name, credential, known)
        delivered = DeliveryStatus(secret_name=name, secret_uid=uid)
        now = self._clock.now()
        status = after_issuing(seen, grant, _certificate(credential), delivered, now)
        with tracing.step("status write"):
            await self._objects.write_status(metadata, status)
        del self._undelivered[key]
        leaf = credential.leaf
        self._metrics.issuances.labels(grant.delivery.value, grant.issuer_name, cause.value).inc()
        self._metrics.issue_seconds.observe(self._clock.monotonic() - began)
        tracing.issued()
        tracing.note(
            spiffe_id=str(leaf.spiffe_id),
            serial=str(leaf.serial),
            class_name=grant.class_name,
            issuer=grant.issuer_name,
            tier=grant.tier.value,
            cause=cause.value,
        )
        _log.info(
            "svid_issued",
            namespace=metadata.namespace,
            name=metadata.name,
            spiffe_id=str(leaf.spiffe_id),
            serial=str(leaf.serial),
            not_after=leaf.validity.not_after.isoformat(),
            issuer=grant.issuer_name,
            tier=grant.tier.value,
            cause=cause.value,
        )
        return replace(seen, metadata=metadata, status=status, held=held)

    async def _make(
        self,
        key: ObjectKey,
        seen: Observed,
        metadata: ObjectMeta,
        grant: Grant,
        replaces: SerialNumber | None,
        cause: Cause,
    ) -> tuple[Credential, Issued]:
        state = self._world.issuer_states.get(grant.issuer_name)
        if state is None or state.issuer is None:
            message = f"AgentIssuer {grant.issuer_name} cannot sign any more"
            raise PassError(Reason.ISSUER_NOT_READY, message)
        now = self._clock.now()
        self._issuance.take_turn(metadata, grant, metadata.uid, due=is_due(cause, seen, now))
        with tracing.step("sign"):
            private_key, key_pem = await make_key(grant.key_algorithm)
            made = await self._issuance.sign(
                metadata, grant, state.issuer, private_key.public_key(), replaces=replaces
            )
        credential = Credential(
            leaf=made.leaf,
            key_pem=key_pem,
            bundle_pem=state.issuer.bundle().pem,
            grant=grant,
            renewal_time=renewal_of(held_of(made.record), seen.agent_class),
            issued_at=made.record.issued_at,
        )
        # Before the ledger is asked: it may say no and have it recorded all the same.
        self._undelivered[key] = credential
        self._witness.will_issue(made.record, cause, seen)
        with tracing.step("ledger commit"):
            await self._issuance.record(made)
        return credential, made.record

    def _left_over(self, key: ObjectKey, seen: Observed, grant: Grant) -> Credential | None:
        """The certificate of an earlier try, if it is on record as the newest and still fits."""
        credential, own = self._undelivered.get(key), seen.own
        if (
            credential is not None
            and own
            and own[0].serial == credential.leaf.serial
            and not own[0].doubtful
            and credential.grant == grant
            and self._clock.now() < credential.renewal_time
            and (seen.identity is None or not _asked_since(seen, credential.issued_at))
        ):
            return credential
        return None

    def _certificate_of(self, seen: Observed, held: Held | None) -> CertificateStatus | None:
        """What the status says about a certificate that stays."""
        known = seen.status.certificate
        if held is None or known is None:
            return None
        return known.model_copy(update={"renewal_time": renewal_of(held, seen.agent_class)})

    # Telling

    async def _tell(self, key: ObjectKey, seen: Observed, error: PassError) -> None:
        """Write into the status that something failed; best effort, the pass has failed anyway."""
        self._metrics.failures.labels(error.reason.value).inc()
        status = after_failure(
            seen, error.reason, str(error), self._clock.now(), stalled=error.stalled
        )
        news = seen.metadata is not None and _differs(status, seen.status)
        # A tenant that is over its rate is no matter for anybody else, at each of its tries.
        level = "warning" if news or error.reason is not Reason.RATE_LIMITED else "debug"
        getattr(_log, level)(
            "pass_failed", namespace=key.namespace, name=key.name,
            reason=error.reason.value, error=str(error),
        )  # fmt: skip
        tracing.failed(f"{error.reason.value}: {error}")
        if seen.metadata is None or not news:
            return
        self._witness.identity_told(key, seen, status)
        try:
            await self._objects.write_status(seen.metadata, status)
        except AgentIdError as failed:
            _log.warning(
                "status_not_written", namespace=key.namespace, name=key.name, error=str(failed)
            )

    async def _defect(self, key: ObjectKey, seen: Observed, error: AgentIdError) -> PassError:
        """Turn what nobody foresaw into a condition, with an id to find the log line by."""
        # The same for the same fault: a message that changes would be a write at each retry.
        told = f"{key.namespace}/{key.name} {error!r}".encode()
        correlation = hashlib.sha256(told).hexdigest()[:12]
        _log.error(
            "pass_broken", namespace=key.namespace, name=key.name, id=correlation, exc_info=error
        )
        message = f"agentid could not go on ({correlation}); its log says more under this id"
        failure = PassError(Reason.INTERNAL_ERROR, message)
        await self._tell(key, seen, failure)
        return failure


def _asked_since(seen: Observed, issued_at: datetime) -> bool:
    requested = None if seen.identity is None else seen.identity.renewal_requested
    return requested is not None and issued_at < requested


def _certificate(credential: Credential) -> CertificateStatus:
    validity = credential.leaf.validity
    return CertificateStatus(
        serial=str(credential.leaf.serial),
        fingerprint=credential.leaf.fingerprint,
        not_before=validity.not_before,
        not_after=validity.not_after,
        renewal_time=credential.renewal_time,
        issuer=credential.grant.issuer_name,
        key_algorithm=credential.grant.key_algorithm,
    )


def _differs(new: AgentIdentityStatus, old: AgentIdentityStatus, *leave_out: str) -> bool:
    """Whether there is anything to write; a count that moved is no reason of its own."""
    ignored = {"active_certificates", *leave_out}
    return new.model_dump(exclude=ignored) != old.model_dump(exclude=ignored)
