"""Conditions: what a person, Argo CD, Flux and `kubectl wait` read off a resource."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Final

from agentid.api.fields import Generation, Items, Prose, Text, Timestamp
from agentid.api.model import Model
from agentid.api.violation import summarize

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "PENDING",
    "REASON_MEANINGS",
    "Condition",
    "ConditionStatus",
    "ConditionType",
    "Conditions",
    "Reason",
    "Wanted",
    "set_conditions",
]

MAX_MESSAGE = 32768
"""metav1.Condition's own limit."""


class ConditionType(StrEnum):
    """The conditions that agentid writes, read by kstatus (Flux) and by Argo CD alike."""

    READY = "Ready"
    """Whether the object can be used now. A renewal never turns it off."""
    RECONCILING = "Reconciling"
    """Present and True while the controller still works on the spec or retries."""
    STALLED = "Stalled"
    """Present and True if nothing will happen until somebody changes something."""
    SUSPENDED = "Suspended"
    """Present and True while `spec.suspend` holds the identity back."""
    ROTATING = "Rotating"
    """Present and True while the successor of an authority is there and does not sign yet."""
    AUTHORITIES_CURRENT = "AuthoritiesCurrent"
    """False when an authority is due to be replaced and cannot be; else True, with its end."""
    JWT_KEYS_CURRENT = "JWTKeysCurrent"
    """True if a key signs JWT-SVIDs, with the time of its successor; False if none does, or its
    successor cannot be made."""
    BUNDLE_WITHHELD = "BundleWithheld"
    """Present and True while the trust bundle of the authorities is not published."""


class ConditionStatus(StrEnum):
    """The status of a condition."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Reason(StrEnum):
    """Why a condition is as it is; what each means stands in `REASON_MEANINGS`."""

    ISSUED = "Issued"
    PENDING = "Pending"
    CLASS_NOT_FOUND = "ClassNotFound"
    ISSUER_NOT_FOUND = "IssuerNotFound"
    ISSUER_NOT_READY = "IssuerNotReady"
    ISSUER_UNAVAILABLE = "IssuerUnavailable"
    ISSUER_DENIED = "IssuerDenied"
    INVALID_SPEC = "InvalidSpec"
    EXCEEDS_CLASS = "ExceedsClass"
    NAMESPACE_NOT_SERVED = "NamespaceNotServed"
    SPONSOR_REQUIRED = "SponsorRequired"
    DELIVERY_NOT_ALLOWED = "DeliveryNotAllowed"
    DELIVERY_UNAVAILABLE = "DeliveryUnavailable"
    TIER_NOT_ALLOWED = "TierNotAllowed"
    QUOTA_EXCEEDED = "QuotaExceeded"
    RATE_LIMITED = "RateLimited"
    SECRET_CONFLICT = "SecretConflict"  # noqa: S105 (a reason, not a password)
    SECRET_REFUSED = "SecretRefused"  # noqa: S105 (a reason, not a password)
    LEDGER_UNAVAILABLE = "LedgerUnavailable"
    SUSPENDED = "Suspended"
    HELD = "Held"
    DELETING = "Deleting"
    INTERNAL_ERROR = "InternalError"
    AVAILABLE = "Available"
    AUTHORITY_INVALID = "AuthorityInvalid"
    ROTATION_WAITS = "RotationWaits"
    ROTATION_BLOCKED = "RotationBlocked"
    BUNDLE_OLDER = "BundleOlder"
    RENEWING = "Renewing"
    DRY_RUN = "DryRun"
    EXECUTING = "Executing"
    EXECUTED = "Executed"
    RELEASED = "Released"
    TOO_MANY_HELD = "TooManyHeld"
    INCIDENT_UNREADABLE = "IncidentUnreadable"


REASON_MEANINGS: Final = {
    Reason.ISSUED: "A certificate is issued and delivered.",
    Reason.PENDING: "The controller has not looked at the object yet.",
    Reason.CLASS_NOT_FOUND: "No AgentClass has the name in spec.className. "
    "Create it, or name another; the identity proceeds by itself.",
    Reason.ISSUER_NOT_FOUND: "No AgentIssuer has the name that the AgentClass gives. "
    "Create it, or correct spec.issuerName of the class.",
    Reason.ISSUER_NOT_READY: "The AgentIssuer exists but cannot sign yet; its own conditions "
    "tell why.",
    Reason.ISSUER_UNAVAILABLE: "The certificate authority is away or throttles agentid, which "
    "retries. A certificate that is still valid stays.",
    Reason.ISSUER_DENIED: "The certificate authority refuses the request; the message repeats "
    "its words. Retried when the spec or the issuer changes.",
    Reason.INVALID_SPEC: "The spec breaks the rules of its kind; the message lists each violation.",
    Reason.EXCEEDS_CLASS: "The identity asks for more than its AgentClass allows; the message "
    "lists each violation.",
    Reason.NAMESPACE_NOT_SERVED: "The AgentClass does not serve the identity's namespace.",
    Reason.SPONSOR_REQUIRED: "The AgentClass asks for a sponsor and spec.sponsor is missing.",
    Reason.DELIVERY_NOT_ALLOWED: "The AgentClass, or the identity's tier, does not allow "
    "spec.delivery.mode.",
    Reason.DELIVERY_UNAVAILABLE: "Nothing in this cluster serves spec.delivery.mode.",
    Reason.TIER_NOT_ALLOWED: "The identity is classified above spec.maxTier of its AgentClass.",
    Reason.QUOTA_EXCEEDED: "The AgentClass has as many identities as its spec.limits allow, in all "
    "or in this namespace. The identity proceeds by itself when another one goes.",
    Reason.RATE_LIMITED: "The namespace was given as many certificates of the AgentClass in the "
    "last minute as its spec.limits allow; agentid issues as soon as they allow another one. A "
    "certificate that is still valid stays, and is renewed when that is due.",
    Reason.SECRET_CONFLICT: "A Secret of the wanted name exists and is not this identity's. "
    "Choose another spec.delivery.secretName, or remove the Secret.",
    Reason.SECRET_REFUSED: "The API server refuses the Secret; the message repeats its words. "
    "agentid retries.",
    Reason.LEDGER_UNAVAILABLE: "The ledger cannot be written, or a later release has written into "
    "it, so nothing may be issued; agentid retries.",
    Reason.SUSPENDED: "spec.suspend is true: every certificate is revoked, none is issued.",
    Reason.HELD: "An AgentRevocation revoked the identity's certificates and keeps it from getting "
    "another; the message names it, whom to ask, and how it is released.",
    Reason.DELETING: "The object is being deleted; its certificates are being revoked.",
    Reason.INTERNAL_ERROR: "A defect in agentid; the message holds the id under which the "
    "controller's log tells more.",
    Reason.AVAILABLE: "The class or issuer can be used.",
    Reason.AUTHORITY_INVALID: "The stored authorities of the issuer cannot be used; the message "
    "lists each fault. They are never overwritten.",
    Reason.ROTATION_WAITS: "A successor authority is there; the message says what it waits for "
    "before it signs.",
    Reason.ROTATION_BLOCKED: "An authority is due to be replaced, and agentid cannot do it; the "
    "message says why and what to do.",
    Reason.BUNDLE_OLDER: "A later trust bundle than that of the stored authorities was published "
    "already, so these come from an older backup; the message says what to do.",
    Reason.RENEWING: "A new certificate is being issued; the current one stays in use.",
    Reason.DRY_RUN: "The AgentRevocation tells what it would hit, and has revoked nothing; "
    "set spec.dryRun to false to execute it.",
    Reason.EXECUTING: "The AgentRevocation is revoking; status.progress tells how far it is.",
    Reason.EXECUTED: "The AgentRevocation has revoked everything that it hit, for good.",
    Reason.RELEASED: "The AgentRevocation was executed, and its hold has ended.",
    Reason.TOO_MANY_HELD: "A hold by serial or by time of issuance names each identity, and there "
    "are too many; select by namespace, class or labels instead. Nothing was revoked.",
    Reason.INCIDENT_UNREADABLE: "An AgentRevocation holds identities, and this release cannot read "
    "whom, so nobody is given a certificate; the message names it. Those in use stay.",
}
"""What each reason means and what to do, for the documentation and for `kubectl` users."""


class Condition(Model):
    """One observation, in the shape of metav1.Condition.

    Type and reason are plain strings: another controller may have added a condition of its own.
    """

    type: Annotated[
        str,
        Text(
            "([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?",
            max_length=316,
            allowed="is not a condition type",
            remedy="write it in CamelCase",
            by_people=False,
        ),
    ]
    """What is observed: Ready, Reconciling, Stalled or Suspended."""
    status: ConditionStatus
    """Whether it holds: True, False or Unknown."""
    observed_generation: Generation | None = None
    """The metadata.generation of the spec that was judged; absent before the first look."""
    last_transition_time: Timestamp
    """When `status` last changed."""
    reason: Annotated[
        str,
        Text(
            "[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?",
            max_length=1024,
            allowed="is not a reason",
            remedy="write it in CamelCase",
            by_people=False,
        ),
    ]
    """Why, in one word from a closed list, for machines."""
    message: Annotated[str, Prose(MAX_MESSAGE)]
    """Why, in sentences, for people: field, found, allowed, next step."""


Conditions = Annotated[tuple[Condition, ...], Items(32, list_type="map", keys=("type",))]

PENDING: Final = Condition(
    type=ConditionType.READY,
    status=ConditionStatus.UNKNOWN,
    last_transition_time=datetime(1970, 1, 1, tzinfo=UTC),
    reason=Reason.PENDING,
    message="Waiting for the controller",
)
"""What the API server shows before the controller has written a status: a default of the schema,
so that no write is needed. The epoch stands for "before anybody looked", as in the Gateway API."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A condition as it should be, without the time that only its history can tell."""

    type: ConditionType
    status: ConditionStatus
    reason: Reason
    message: str


def set_conditions(
    old: Iterable[Condition],
    wanted: Iterable[Wanted],
    now: datetime,
    generation: int,
) -> tuple[Condition, ...]:
    """Bring conditions up to date.

    Args:
        old: The conditions that stand in the status.
        wanted: Everything agentid has to say; a condition of ours that is not among it goes.
        now: The time of a transition.
        generation: The metadata.generation that was judged.

    Returns:
        The wanted conditions in their order, each with its old `last_transition_time` where the
        status is unchanged, then those of other controllers untouched. Equal to `old` if there is
        nothing to write.
    """
    by_type = {condition.type: condition for condition in old}
    ours = tuple(_updated(by_type.get(want.type), want, now, generation) for want in wanted)
    known = frozenset(ConditionType)
    return ours + tuple(condition for kind, condition in by_type.items() if kind not in known)


def _updated(before: Condition | None, want: Wanted, now: datetime, generation: int) -> Condition:
    unchanged = before is not None and before.status is want.status
    return Condition(
        type=want.type,
        status=want.status,
        observed_generation=generation,
        last_transition_time=before.last_transition_time if before and unchanged else now,
        reason=want.reason,
        message=summarize([want.message]),
    )
