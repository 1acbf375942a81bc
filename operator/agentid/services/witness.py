"""Where services say what they decided: to auditors in the audit stream, to people in Events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agentid.api.agentidentity import AgentIdentity
from agentid.api.agentissuer import AgentIssuer, AuthorityState
from agentid.api.agentrevocation import AgentRevocation
from agentid.api.conditions import ConditionStatus, ConditionType
from agentid.policy.authorities import (
    DropRoot,
    Promote,
    Remove,
    Revoke,
    StageGiven,
    StageIssuing,
    StageRoot,
)
from agentid.policy.judge import Refused
from agentid.policy.jwt_keys import DropJwtKey, PromoteJwtKey, StageJwtKey
from agentid.services.notices import Notice
from agentid.telemetry.audit import Counts, Decision

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agentid.api.agentidentity import AgentIdentityStatus
    from agentid.api.agentissuer import AgentIssuerStatus
    from agentid.api.conditions import Condition
    from agentid.api.model import ObjectMeta
    from agentid.identity import SerialNumber
    from agentid.kube.objects import ObjectKey
    from agentid.ledger import Issued
    from agentid.pki.jwt_svid import JwtSvid
    from agentid.policy.authorities import Step
    from agentid.policy.observed import Observed
    from agentid.policy.plan import Cause
    from agentid.services.auditing import Auditor
    from agentid.services.notices import Notices

__all__ = ["Witness"]

_STATES: Final = {
    ConditionType.SUSPENDED: Decision.SUSPENDED,
    ConditionType.STALLED: Decision.REFUSED,
}


class Witness:
    """Told of each decision; without parts it tells nobody."""

    def __init__(self, auditor: Auditor | None = None, notices: Notices | None = None) -> None:
        self._auditor = auditor
        self._notices = notices

    # Identities

    def will_issue(self, record: Issued, cause: Cause, seen: Observed) -> None:
        """A certificate is about to be recorded."""
        if self._auditor is not None:
            self._auditor.will_issue(record, cause, seen)

    def will_revoke(self, serials: Iterable[SerialNumber], seen: Observed | None = None) -> None:
        """Certificates are about to be revoked, for an identity that was seen or an incident."""
        if self._auditor is not None:
            self._auditor.will_revoke(serials, seen)

    def token_minted(self, record: Issued, svid: JwtSvid, seen: Observed) -> None:
        """A JWT-SVID was made, and is about to leave.

        Args:
            record: The certificate that it stands on.
            svid: It.
            seen: What was judged from.
        """
        if self._auditor is not None:
            self._auditor.token_minted(record, svid, seen)

    def identity_told(self, key: ObjectKey, seen: Observed, status: AgentIdentityStatus) -> None:
        """A status that differs from the one there is about to be written."""
        stalled = _condition(status.conditions, ConditionType.STALLED)
        nothing = _condition(status.conditions, ConditionType.SUSPENDED) or stalled
        if nothing is None:
            if self._auditor is not None:
                self._auditor.given_again(key)
            return
        before = _condition(seen.status.conditions, ConditionType(nothing.type))
        if before is not None and _same(before, nothing):
            return
        if self._auditor is not None:
            decision = (
                Decision.HELD if seen.hold is not None else _STATES[ConditionType(nothing.type)]
            )
            broken = seen.verdict.violations if isinstance(seen.verdict, Refused) else ()
            sentences = tuple(each.sentence for each in broken)
            self._auditor.given_nothing(seen, decision, nothing.reason, nothing.message, sentences)
        if self._notices is not None and stalled is not None and seen.metadata is not None:
            self._notices.tell(
                Notice.STALLED, AgentIdentity.KIND, seen.metadata, stalled.message, stalled.reason
            )

    def identity_gone(self, key: ObjectKey) -> None:
        """An identity is not there any more."""
        if self._auditor is not None:
            self._auditor.given_again(key)

    # Incidents

    def incident_started(self, resource: AgentRevocation, counts: Counts) -> None:
        """The cut-off of an incident stands."""
        if self._auditor is not None:
            self._auditor.incident(Decision.INCIDENT_STARTED, resource, counts)

    def incident_executed(self, resource: AgentRevocation, counts: Counts, message: str) -> None:
        """An incident has revoked all that it hit."""
        if self._auditor is not None:
            self._auditor.incident(Decision.INCIDENT_EXECUTED, resource, counts)
        if self._notices is not None:
            self._notices.tell(
                Notice.INCIDENT_EXECUTED, AgentRevocation.KIND, resource.metadata, message, ""
            )

    def incident_released(self, resource: AgentRevocation) -> None:
        """The hold of an incident has ended."""
        if self._auditor is not None:
            status = resource.status
            counts = Counts(status.matched or 0, status.revoked or 0, status.identities or 0)
            self._auditor.incident(Decision.INCIDENT_RELEASED, resource, counts)

    # Authorities

    def authority_step(self, issuer: AgentIssuer, step: Step, *, distrusted: bool) -> None:
        """A step of a rotation was stored.

        Args:
            issuer: Whose authorities they are.
            step: Which.
            distrusted: Whether it is about an authority that is distrusted.
        """
        match step:
            case StageIssuing(why=why) | StageRoot(why=why) | StageJwtKey(why=why):
                decision, authority = Decision.AUTHORITY_STAGED, ""
            case StageGiven():
                decision, authority, why = Decision.AUTHORITY_STAGED, "", "a successor was given"
            case Promote(id=authority) | PromoteJwtKey(kid=authority):
                decision, why = Decision.AUTHORITY_ROTATED, ""
            case Revoke(id=authority):
                decision, why = Decision.AUTHORITY_DISTRUSTED, ""
            case DropRoot(id=authority) | Remove(id=authority) | DropJwtKey(kid=authority):
                decision, why = Decision.AUTHORITY_REMOVED, ""
                if not isinstance(step, Remove) and distrusted:
                    decision = Decision.AUTHORITY_DISTRUSTED
            case _:
                return  # that a root has been delivered is an observation, and no decision
        if self._auditor is not None:
            self._auditor.authority(decision, issuer, authority, type(step).__name__, why)
        if self._notices is not None and decision is Decision.AUTHORITY_DISTRUSTED:
            message = (
                f"Nothing that the distrusted authority {authority} signed is trusted any more, or "
                "in use; leave it in spec.distrust until it is gone from status.authorities"
            )
            if isinstance(step, DropJwtKey):
                message = (
                    f"The distrusted key {authority} leaves every bundle; whoever has read the new "
                    "one refuses the JWT-SVIDs that it signed"
                )
            self._notices.tell(
                Notice.DISTRUST_FINISHED, AgentIssuer.KIND, issuer.metadata, message, authority
            )

    def issuer_told(self, metadata: ObjectMeta, status: AgentIssuerStatus) -> None:
        """The status of an issuer that differs from the one before was written."""
        if self._notices is None:
            return
        current = _condition(status.conditions, ConditionType.AUTHORITIES_CURRENT)
        if current is not None and current.status is ConditionStatus.FALSE:
            signing = [
                each.fingerprint
                for each in status.authorities
                if each.state is AuthorityState.SIGNING
            ]
            self._notices.tell(
                Notice.AUTHORITY_EXPIRES, AgentIssuer.KIND, metadata, current.message,
                " ".join(signing),
            )  # fmt: skip


def _condition(conditions: Iterable[Condition], kind: ConditionType) -> Condition | None:
    """The condition of a type that is True; for AuthoritiesCurrent whatever it is."""
    for each in conditions:
        if each.type == kind and (
            each.status is ConditionStatus.TRUE or kind is ConditionType.AUTHORITIES_CURRENT
        ):
            return each
    return None


def _same(one: Condition, other: Condition) -> bool:
    def told(each: Condition) -> tuple[object, ...]:
        return each.status, each.reason, each.message, each.observed_generation

    return told(one) == told(other)
