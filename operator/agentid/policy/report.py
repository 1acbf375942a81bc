"""What the status of an identity says: the same words for the same state, at every look.

A status that equals the one written last is not written, so nothing here may depend on when it is
computed, but for the transition times, which `set_conditions` keeps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agentid.api.agentidentity import (
    AgentIdentityStatus,
    CertificateStatus,
    ClassificationStatus,
    DeliveryStatus,
    PodCertificateStatus,
    PodsStatus,
    RefusalStatus,
)
from agentid.api.conditions import (
    Condition,
    ConditionStatus,
    ConditionType,
    Reason,
    Wanted,
    set_conditions,
)
from agentid.api.fields import format_time
from agentid.api.violation import summarize
from agentid.api.vocabulary import DeliveryMode
from agentid.constants import LABEL_IDENTITY, cluster_trust_bundle_name
from agentid.policy.judge import Granted, Refused
from agentid.policy.observed import Blocked
from agentid.policy.plan import Standing
from agentid.policy.pod_plan import pods_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from agentid.policy.classification import Classification
    from agentid.policy.grant import Grant
    from agentid.policy.observed import Held, Observed
    from agentid.policy.plan import Plan

__all__ = ["after_failure", "after_issuing", "after_plan"]

_TRUE, _FALSE = ConditionStatus.TRUE, ConditionStatus.FALSE

_MAX_REFUSAL: Final = 1024
_MAX_SHOWN: Final = 253
"""Characters of a refusal, and of its pod and reason, that the status holds."""


def after_issuing(
    seen: Observed,
    grant: Grant,
    certificate: CertificateStatus,
    delivery: DeliveryStatus,
    now: datetime,
) -> AgentIdentityStatus:
    """The status of an identity whose new certificate has just been delivered."""
    verdict = seen.verdict
    classification = verdict.classification if isinstance(verdict, Granted) else None
    # It is among what was seen already if an earlier try recorded it and came no further.
    active = {str(each.serial) for each in seen.own if each.validity.not_after >= now}
    return AgentIdentityStatus(
        observed_generation=_generation(seen),
        conditions=_conditions(seen, (_issued(certificate, delivery.secret_name),), now),
        spiffe_id=str(grant.spiffe_id),
        classification=_classification(classification),
        certificate=certificate,
        delivery=delivery,
        pods=_pods(seen, (each for each in seen.own if each.validity.not_after >= now)),
        withdrawal_time=seen.status.withdrawal_time,
        active_certificates=len(active | {certificate.serial}),
    )


def after_plan(
    seen: Observed,
    done: Plan,
    certificate: CertificateStatus | None,
    now: datetime,
) -> AgentIdentityStatus:
    """The status of an identity for which nothing was issued.

    Args:
        seen: What the plan was made from.
        done: The plan, which was carried out.
        certificate: Of `done.current`.
        now: The time of a transition.

    Returns:
        The new status. It equals the old one but for `active_certificates` when there is nothing
        else to say; that alone is no reason to write.
    """
    verdict, old = seen.verdict, seen.status
    stays = done.withdraw is None
    revoked = {each.serial for each, _ in done.revoke}
    live = [each for each in seen.own if each.validity.not_after >= now]
    active = sum(each.serial not in revoked for each in live)
    classification = old.classification
    if isinstance(verdict, Granted | Refused):
        classification = _classification(verdict.classification)
    return AgentIdentityStatus(
        observed_generation=_generation(seen),
        conditions=_conditions(seen, _wanted(seen, done, certificate, now), now),
        spiffe_id=str(verdict.grant.spiffe_id) if isinstance(verdict, Granted) else old.spiffe_id,
        classification=classification,
        certificate=certificate,
        delivery=old.delivery if stays else None,
        pod_certificate=old.pod_certificate if _waits(verdict) else _pod_certificate(verdict),
        pods=_pods(seen, [each for each in live if each.serial not in revoked]),
        # A class that is gone for a moment must not make the grace period begin anew.
        withdrawal_time=old.withdrawal_time if _waits(verdict) else done.withdrawal,
        active_certificates=active,
    )


def after_failure(
    seen: Observed, reason: Reason, message: str, now: datetime, *, stalled: bool = False
) -> AgentIdentityStatus:
    """The status of an identity for which something could not be done.

    A certificate that is still valid stays in the status, and Ready stays as it is: the agent can
    go on working with it.

    Args:
        seen: What the plan was made from.
        reason: What failed.
        message: What happened, and what will or has to be done about it.
        now: The time of a transition.
        stalled: Whether trying again does not help.
    """
    valid = _valid(seen, now)
    in_use = valid or _pods_live(seen, now)
    kind = ConditionType.STALLED if stalled else ConditionType.RECONCILING
    wanted = (
        _still_ready(seen, valid=valid)
        if in_use
        else Wanted(ConditionType.READY, _FALSE, reason, message),
        Wanted(kind, _TRUE, reason, message),
    )
    return seen.status.model_copy(
        update={
            "observed_generation": _generation(seen),
            "conditions": _conditions(seen, wanted, now),
            "certificate": seen.status.certificate if valid else None,
        }
    )


def _wanted(
    seen: Observed, done: Plan, certificate: CertificateStatus | None, now: datetime
) -> tuple[Wanted, ...]:
    match done.standing, seen.verdict:
        case Standing.SUSPENDED, _:
            message = (
                "spec.suspend is true: every certificate is revoked and none is issued; "
                "set it to false for a new one"
            )
            return (
                Wanted(ConditionType.READY, _FALSE, Reason.SUSPENDED, message),
                Wanted(ConditionType.SUSPENDED, _TRUE, Reason.SUSPENDED, message),
            )
        case Standing.HELD, _ if seen.hold is not None:
            return (
                Wanted(ConditionType.READY, _FALSE, Reason.HELD, seen.hold.message),
                Wanted(ConditionType.STALLED, _TRUE, Reason.HELD, seen.hold.message),
            )
        case Standing.REFUSED, Refused() as refused:
            message = summarize([each.sentence for each in refused.violations])
            return (
                Wanted(ConditionType.READY, _FALSE, refused.reason, message),
                Wanted(ConditionType.STALLED, _TRUE, refused.reason, message),
            )
        case Standing.BLOCKED, Blocked() as blocked:
            kind = ConditionType.STALLED if blocked.stalled else ConditionType.RECONCILING
            ready = Wanted(ConditionType.READY, _FALSE, blocked.reason, blocked.message)
            if not blocked.stalled and (certificate is not None or _pods_live(seen, now)):
                ready = _still_ready(seen, valid=certificate is not None)
            return (ready, Wanted(kind, _TRUE, blocked.reason, blocked.message))
        case _, Granted(grant=grant):
            return _given(grant, done, certificate)
        case _:
            return ()


def _given(grant: Grant, done: Plan, certificate: CertificateStatus | None) -> tuple[Wanted, ...]:
    if grant.secret_name is None:
        return (_available(grant, done.withdrawal),)
    return () if certificate is None else (_issued(certificate, grant.secret_name),)


def _issued(certificate: CertificateStatus, secret_name: str | None) -> Wanted:
    where = "" if secret_name is None else f" is in Secret {secret_name}"
    message = (
        f"Certificate {certificate.serial}{where}, valid until "
        f"{format_time(certificate.not_after)}, renewed at {format_time(certificate.renewal_time)}"
    )
    return Wanted(ConditionType.READY, _TRUE, Reason.ISSUED, message)


def _available(grant: Grant, withdrawal: datetime | None) -> Wanted:
    name = grant.agent.name
    message = (
        f"Pods that run as ServiceAccount {grant.service_account} and have the label "
        f"{LABEL_IDENTITY}: {name} get certificates as they start"
    )
    if withdrawal is not None:
        message += (
            f"; certificates that give more than is granted now are revoked at "
            f"{format_time(withdrawal)}, restart the pods that hold them before"
        )
    return Wanted(ConditionType.READY, _TRUE, Reason.AVAILABLE, message)


def _pod_certificate(verdict: object) -> PodCertificateStatus | None:
    match verdict:
        case Granted(grant=grant) if grant.delivery is DeliveryMode.POD_CERTIFICATE:
            return PodCertificateStatus(
                key_type=grant.key_algorithm,
                max_expiration_seconds=int(grant.lifetime.total_seconds()),
                trust_bundle=cluster_trust_bundle_name(grant.issuer_name),
            )
        case _:
            return None


def _waits(verdict: object) -> bool:
    """Whether what was granted last may be granted again, without a change of the identity."""
    return isinstance(verdict, Blocked) and not verdict.stalled


def _pods(seen: Observed, live: Iterable[Held]) -> PodsStatus | None:
    """Nothing is told of an identity whose pods never had anything to do with it."""
    ends, refusal, old = pods_of(live), seen.refusal, seen.status.pods
    told = None if old is None else old.last_refusal
    if refusal is not None and (told is None or refusal.time > told.time):
        told = RefusalStatus(
            time=refusal.time.replace(microsecond=0),
            pod=refusal.pod[:_MAX_SHOWN],
            reason=refusal.reason[:_MAX_SHOWN],
            message=summarize([refusal.message])[:_MAX_REFUSAL],
        )
    if not ends and told is None and old is None:
        return None
    return PodsStatus(
        certificates=len(ends),
        earliest_not_after=min(ends.values(), default=None),
        last_refusal=told,
    )


def _still_ready(seen: Observed, *, valid: bool) -> Wanted:
    """Ready as it was, since the certificate it speaks of is still valid, or pods have others."""
    certificate, delivery = seen.status.certificate, seen.status.delivery
    if certificate is None or not valid:
        message = "Pods hold certificates that are in force"
        return Wanted(ConditionType.READY, _TRUE, Reason.AVAILABLE, message)
    return _issued(certificate, None if delivery is None else delivery.secret_name)


def _valid(seen: Observed, now: datetime) -> bool:
    certificate = seen.status.certificate
    if certificate is None:
        return False
    if seen.ledger_unread:
        return certificate.not_after >= now  # it may be on record where nobody can read it
    return any(
        str(each.serial) == certificate.serial and each.validity.not_after >= now
        for each in seen.own
    )


def _pods_live(seen: Observed, now: datetime) -> bool:
    """Whether a pod has a certificate in force, one that is gone left out."""
    return any(
        each.pod is not None and each.pod.uid not in seen.gone and each.validity.not_after >= now
        for each in seen.own
    )


def _classification(found: Classification | None) -> ClassificationStatus | None:
    if found is None:
        return None
    return ClassificationStatus(tier=found.tier, score=found.score, reasons=found.reasons)


def _generation(seen: Observed) -> int:
    return 0 if seen.metadata is None else seen.metadata.generation


def _conditions(seen: Observed, wanted: tuple[Wanted, ...], now: datetime) -> tuple[Condition, ...]:
    return set_conditions(seen.status.conditions, wanted, now, _generation(seen))
