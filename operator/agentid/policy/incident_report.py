"""What the status of an AgentRevocation says: the same words for the same state, at every look."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agentid.api.agentrevocation import MAX_HELD, AgentRevocationStatus, HeldIdentity, Hit, Phase
from agentid.api.conditions import (
    Condition,
    ConditionStatus,
    ConditionType,
    Reason,
    Wanted,
    set_conditions,
)
from agentid.api.violation import summarize

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from agentid.api.agentrevocation import AgentRevocation
    from agentid.api.model import ObjectMeta

__all__ = [
    "Found",
    "after_dry_run",
    "after_failure",
    "after_release",
    "invalid",
    "too_many_held",
    "under_way",
    "when_executed",
]

_TRUE, _FALSE = ConditionStatus.TRUE, ConditionStatus.FALSE

_READY, _RECONCILING, _STALLED = (
    ConditionType.READY,
    ConditionType.RECONCILING,
    ConditionType.STALLED,
)


@dataclass(frozen=True, slots=True)
class Found:
    """What a look at the ledger found.

    Attributes:
        hits: The first certificates that are hit.
        matched: How many are hit, those that the incident has revoked already included.
        revoked: How many it has revoked.
        identities: Whose they are, in the order of namespace and name.
        unknown: How many of the serials in the selection are on no record.
    """

    hits: tuple[Hit, ...] = ()
    matched: int = 0
    revoked: int = 0
    identities: tuple[tuple[str, str], ...] = ()
    unknown: int = 0


def after_dry_run(resource: AgentRevocation, found: Found, now: datetime) -> AgentRevocationStatus:
    """The status of an incident that is not meant yet: what it would hit."""
    whose = _of(len(found.identities)) + (" and hold them" if resource.spec.hold else "")
    message = (
        f"A dry run: would revoke {_certificates(found.matched)} of {whose}"
        f"{_on_no_record(found)}; nothing is revoked. Set spec.dryRun to false to execute it"
    )
    return _status(
        resource,
        found,
        (Wanted(_READY, _TRUE, Reason.DRY_RUN, message),),
        now,
        phase=Phase.DRY_RUN,
        completed_at=now,
    )


def too_many_held(resource: AgentRevocation, found: Found, now: datetime) -> AgentRevocationStatus:
    """The status of an incident that would hold more identities than can be named; none is."""
    then = (
        "change the selection"
        if resource.spec.dry_run
        else "delete this object and create another with such a selection"
    )
    message = (
        f"spec.hold: true would hold {len(found.identities)} identities, and a selection by "
        f"serials or by time of issuance can hold {MAX_HELD}; nothing is revoked. Select by "
        f"namespaces, classNames or labelSelector instead, or do without the hold: {then}"
    )
    phase = Phase.DRY_RUN if resource.spec.dry_run else Phase.PENDING
    return _status(
        resource,
        found,
        (
            Wanted(_READY, _FALSE, Reason.TOO_MANY_HELD, message),
            Wanted(_STALLED, _TRUE, Reason.TOO_MANY_HELD, message),
        ),
        now,
        phase=phase,
        completed_at=now if resource.spec.dry_run else None,
    )


def under_way(
    resource: AgentRevocation,
    found: Found,
    held: tuple[HeldIdentity, ...] | None,
    started_at: datetime | None,
    now: datetime,
) -> AgentRevocationStatus:
    """The status of an incident that is being executed.

    Args:
        resource: The incident.
        found: What is hit, and what of it is revoked.
        held: Who is held by name; None for those who are.
        started_at: The cut-off; None for the one that stands.
        now: The time of a transition.
    """
    old = resource.status
    matched, revoked, identities = _counts(old, found)
    message = f"{revoked} of {matched} certificates are revoked"
    if revoked >= matched:
        message = (
            f"{_certificates(matched)} of {_of(identities)} revoked; looks once more for those "
            "that were being issued as it began"
        )
    return _status(
        resource,
        found,
        (
            Wanted(_READY, _FALSE, Reason.EXECUTING, message),
            Wanted(_RECONCILING, _TRUE, Reason.EXECUTING, message),
        ),
        now,
        phase=Phase.EXECUTING,
        started_at=started_at or old.started_at,
        held=old.held if held is None else held,
    )


def when_executed(resource: AgentRevocation, found: Found, now: datetime) -> AgentRevocationStatus:
    """The status of an incident that has been executed."""
    hold = ""
    if resource.spec.hold:
        hold = "; the identities that it selects are held until spec.release is true"
    matched, _, identities = _counts(resource.status, found)
    message = f"{_certificates(matched)} of {_of(identities)} revoked{_on_no_record(found)}{hold}"
    return _status(
        resource,
        found,
        (Wanted(_READY, _TRUE, Reason.EXECUTED, message),),
        now,
        phase=Phase.EXECUTED,
        started_at=resource.status.started_at,
        completed_at=now,
        held=resource.status.held,
    )


def after_release(resource: AgentRevocation, now: datetime) -> AgentRevocationStatus:
    """The status of an executed incident whose hold has ended."""
    message = (
        f"{_certificates(resource.status.matched or 0)} revoked, for good; the hold has ended, and "
        "identities that it held get new certificates"
    )
    wanted = (Wanted(_READY, _TRUE, Reason.RELEASED, message),)
    update = {
        "phase": Phase.RELEASED,
        "conditions": _conditions(resource.status, wanted, now, resource.metadata),
        "observed_generation": resource.metadata.generation,
    }
    return resource.status.model_copy(update=update)


def after_failure(
    resource: AgentRevocation, found: Found, reason: Reason, message: str, now: datetime
) -> AgentRevocationStatus:
    """The status of an incident that goes on as soon as it can."""
    whole = f"{found.revoked} of {found.matched} certificates are revoked; retries: {message}"
    wanted = (
        Wanted(_READY, _FALSE, reason, whole),
        Wanted(_RECONCILING, _TRUE, reason, whole),
    )
    old = resource.status
    return old.model_copy(
        update={
            "revoked": max(found.revoked, old.revoked or 0),
            "progress": _percent(found.matched, found.revoked),
            "conditions": _conditions(old, wanted, now, resource.metadata),
            "observed_generation": resource.metadata.generation,
        }
    )


def invalid(
    metadata: ObjectMeta, old: AgentRevocationStatus, faults: Sequence[str], now: datetime
) -> AgentRevocationStatus:
    """The status of an incident whose spec does not parse; what was done stands."""
    message = summarize(faults)
    wanted = (
        Wanted(_READY, _FALSE, Reason.INVALID_SPEC, message),
        Wanted(_STALLED, _TRUE, Reason.INVALID_SPEC, message),
    )
    return old.model_copy(
        update={
            "phase": old.phase or Phase.PENDING,
            "conditions": _conditions(old, wanted, now, metadata),
            "observed_generation": metadata.generation,
        }
    )


def _status(
    resource: AgentRevocation,
    found: Found,
    wanted: tuple[Wanted, ...],
    now: datetime,
    *,
    phase: Phase,
    started_at: datetime | None = None,
    completed_at: datetime | None = None,
    held: tuple[HeldIdentity, ...] = (),
) -> AgentRevocationStatus:
    executes, old = started_at is not None, resource.status
    matched, revoked, identities = _counts(old, found)
    hits = found.hits if len(found.hits) >= len(old.hits) or not executes else old.hits
    return AgentRevocationStatus(
        observed_generation=resource.metadata.generation,
        conditions=_conditions(old, wanted, now, resource.metadata),
        phase=phase,
        started_at=started_at,
        completed_at=None if completed_at is None else completed_at.replace(microsecond=0),
        matched=matched,
        identities=identities,
        revoked=revoked,
        progress=_percent(matched, revoked) if executes else None,
        hits=hits,
        more=max(matched - len(hits), 0),
        held=held,
    )


def _counts(old: AgentRevocationStatus, found: Found) -> tuple[int, int, int]:
    """Certificates hit, those revoked, and identities; what was counted once stays counted.

    Records leave the ledger when their certificates expire.
    """
    if old.started_at is None:
        return found.matched, found.revoked, len(found.identities)
    revoked = max(found.revoked, old.revoked or 0)
    return max(found.matched, revoked), revoked, max(len(found.identities), old.identities or 0)


def _conditions(
    old: AgentRevocationStatus, wanted: tuple[Wanted, ...], now: datetime, metadata: ObjectMeta
) -> tuple[Condition, ...]:
    # Whole seconds, as they are stored, so that what was written compares equal.
    at = now.replace(microsecond=0)
    return set_conditions(old.conditions, wanted, at, metadata.generation)


_ALL: Final = 100


def _percent(matched: int, revoked: int) -> int:
    return _ALL if revoked >= matched else _ALL * revoked // matched


def _certificates(count: int) -> str:
    return "1 certificate" if count == 1 else f"{count} certificates"


def _of(identities: int) -> str:
    return "1 identity" if identities == 1 else f"{identities} identities"


def _on_no_record(found: Found) -> str:
    if not found.unknown:
        return ""
    return f" ({found.unknown} of the serials are on no record, or have expired)"
