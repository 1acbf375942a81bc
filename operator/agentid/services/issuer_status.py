"""What the status of an AgentIssuer tells of its authorities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from agentid.api.agentissuer import (
    AuthorityRole,
    AuthorityState,
    AuthorityStatus,
    JwtKeyStatus,
)
from agentid.api.conditions import ConditionStatus, ConditionType, Reason, Wanted
from agentid.api.fields import format_time
from agentid.api.violation import summarize
from agentid.issuers import authority_infos
from agentid.policy.jwt_rotation import jwt_due_time, jwt_waits_for
from agentid.policy.rotation import due_time
from agentid.policy.stages import Stage

if TYPE_CHECKING:
    from agentid.issuers import AuthoritySet
    from agentid.policy.rotation import Wish

__all__ = ["Found", "conditions_of", "told_authorities", "told_jwt_keys"]


@dataclass(frozen=True, slots=True)
class Found:
    """An issuer's authorities after a look.

    Attributes:
        authorities: As they are stored.
        wish: What the AgentIssuer asks for.
        waits: What a rotation waits for; empty if there is nothing.
    """

    authorities: AuthoritySet
    wish: Wish
    waits: str


def conditions_of(trust_domain: str, found: Found) -> tuple[Wanted, ...]:
    """The conditions of an issuer that can sign."""
    return (*_of_authorities(trust_domain, found), *_of_jwt_keys(found))


def _of_jwt_keys(found: Found) -> tuple[Wanted, ...]:
    records, wish = found.authorities.records, found.wish.jwt
    if wish is None:
        return ()
    kind, true, false = (
        ConditionType.JWT_KEYS_CURRENT,
        ConditionStatus.TRUE,
        ConditionStatus.FALSE,
    )
    waits = jwt_waits_for(records, wish)
    if found.authorities.jwt_faults:
        message = f"{summarize(found.authorities.jwt_faults)}; {waits}"
        return (Wanted(kind, false, Reason.AUTHORITY_INVALID, message),)
    signing, due = records.jwt_key_at(Stage.SIGNING), jwt_due_time(records, wish)
    if signing is None or due is None:
        message = f"Nothing signs JWT-SVIDs: {waits or 'a key is made at the next look'}"
        return (Wanted(kind, false, Reason.ROTATION_WAITS, message),)
    message = f"{signing.kid} signs JWT-SVIDs; " + (
        f"its successor is staged: {waits}"
        if waits
        else f"a successor is due by {format_time(due)}"
    )
    return (Wanted(kind, true, Reason.AVAILABLE, message),)


def _of_authorities(trust_domain: str, found: Found) -> tuple[Wanted, ...]:
    true, false = ConditionStatus.TRUE, ConditionStatus.FALSE
    records = found.authorities.records
    wanted = [Wanted(ConditionType.READY, true, Reason.AVAILABLE, f"Signs for {trust_domain}")]
    if records.at(Stage.STAGED) is not None:
        message = f"A successor is staged: {found.waits or 'it signs at the next look'}"
        wanted.append(Wanted(ConditionType.ROTATING, true, Reason.ROTATION_WAITS, message))
    elif found.waits:
        message = f"No successor can be made: {found.waits}"
        wanted.append(
            Wanted(ConditionType.AUTHORITIES_CURRENT, false, Reason.ROTATION_BLOCKED, message)
        )
        return tuple(wanted)
    signing, due = records.signing, due_time(records, found.wish)
    if signing is not None and due is not None:
        message = (
            f"{signing.id} signs until {format_time(signing.validity.not_after)}; a successor is "
            f"due at {format_time(due)}"
        )
        wanted.append(Wanted(ConditionType.AUTHORITIES_CURRENT, true, Reason.AVAILABLE, message))
    return tuple(wanted)


def told_authorities(found: Found) -> tuple[AuthorityStatus, ...]:
    """What is told of each authority, the roots first."""
    return tuple(
        AuthorityStatus(
            role=AuthorityRole(info.role.value),
            state=AuthorityState(info.state),
            id=info.id,
            subject=info.subject,
            serial=str(info.serial),
            algorithm=info.algorithm,
            fingerprint=info.fingerprint,
            not_before=info.validity.not_before,
            not_after=info.validity.not_after,
        )
        for info in authority_infos(found.authorities, found.wish.distrust)
    )


def told_jwt_keys(found: Found) -> tuple[JwtKeyStatus, ...]:
    """What is told of each key for JWT-SVIDs, the newest first."""
    keys = found.authorities.jwt_keys
    return tuple(
        JwtKeyStatus(
            kid=each.kid,
            state=AuthorityState(each.stage.value),
            algorithm=keys[each.kid].algorithm,
            fingerprint=each.fingerprint,
            since=each.since,
        )
        for each in found.authorities.records.jwt_keys
    )
