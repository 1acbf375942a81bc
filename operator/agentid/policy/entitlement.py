"""What an identity lets a pod have, by whatever door it comes, from what was observed of it; pure.

A door knows beforehand which pod asks and what its ServiceAccount is; here it is told whether that
pod gets anything, and afterwards it says what a refusal means to who asked: to be waited for, or
final.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from agentid.api.conditions import Reason
from agentid.api.violation import summarize
from agentid.constants import FINALIZER
from agentid.policy.judge import Granted, Refused
from agentid.policy.quota import bounds, is_placed, told_shortage
from agentid.policy.tiers import template_for

if TYPE_CHECKING:
    from agentid.api.vocabulary import DeliveryMode
    from agentid.pki import KeyAlgorithm
    from agentid.policy.grant import Grant
    from agentid.policy.observed import Observed

__all__ = [
    "Withheld",
    "WithheldReason",
    "entitled",
    "grant_for_key",
    "nothing_at_all",
    "unplaced",
]


class WithheldReason(StrEnum):
    """Why a pod gets nothing, beside the reasons that conditions of an AgentIdentity give."""

    IDENTITY_NOT_FOUND = "IdentityNotFound"
    """There is no AgentIdentity of this name in the pod's namespace."""
    DELIVERED_OTHERWISE = "DeliveredOtherwise"
    """The AgentIdentity delivers by another door."""
    NOT_ITS_SERVICE_ACCOUNT = "NotItsServiceAccount"
    """The identity is bound to another ServiceAccount than the pod runs as."""
    UNSUPPORTED_KEY_TYPE = "UnsupportedKeyType"
    """The key is of another algorithm than the class asks for."""
    CACHE_BEHIND = "CacheBehind"
    """What this replica knows of the identity or its class is older than what is in force."""


@dataclass(frozen=True, slots=True)
class Withheld:
    """A pod gets nothing.

    Attributes:
        reason: One of `WithheldReason`, or of the conditions' reasons.
        message: Why, in a sentence; a door may add what to do at its own.
        key_algorithm: The kind of key to ask with instead, where that is the matter.
    """

    reason: str
    message: str
    key_algorithm: KeyAlgorithm | None = None


def entitled(
    whose: str, seen: Observed | None, *, door: DeliveryMode, service_account: str
) -> Granted | Withheld:
    """What the identity grants a pod.

    Args:
        whose: Namespace and name of the identity.
        seen: What is known of it; None if there is none.
        door: By which the pod asks.
        service_account: That the pod runs as; it was attested.
    """
    if seen is None or seen.metadata is None:
        message = (
            f"there is no AgentIdentity {whose}; create it, or correct the label of the pod. The "
            "pod proceeds by itself once it is there"
        )
        return Withheld(WithheldReason.IDENTITY_NOT_FOUND, message)
    verdict = seen.verdict
    if not isinstance(verdict, Granted):
        return _stopped(whose, seen)
    grant = verdict.grant
    if grant.delivery is not door:
        message = (
            f"AgentIdentity {whose} delivers by {grant.delivery}; set spec.delivery.mode to "
            f"{door}, or create the pod anew with the volume of that mode"
        )
        return Withheld(WithheldReason.DELIVERED_OTHERWISE, message)
    if grant.service_account != service_account:
        message = (
            f"AgentIdentity {whose} is bound to ServiceAccount {grant.service_account}, and the "
            f"pod runs as {service_account}; set spec.serviceAccountName of the pod, or name the "
            "identity that is meant"
        )
        return Withheld(WithheldReason.NOT_ITS_SERVICE_ACCOUNT, message)
    if FINALIZER not in seen.metadata.finalizers:
        # Nothing is issued that the deletion of the identity would not wait to revoke.
        message = f"AgentIdentity {whose} has no finalizer yet; agentid adds it"
        return Withheld(Reason.PENDING, message)
    return verdict


def unplaced(whose: str, seen: Observed) -> Withheld | None:
    """Why an identity that is granted what it asks for has no place in its class; None if it has.

    The replica that leads gives places, and says so in the status, by which all doors go.

    Args:
        whose: Namespace and name of the identity.
        seen: What is known of it.
    """
    agent_class, metadata = seen.agent_class, seen.metadata
    if agent_class is None or metadata is None or not bounds(agent_class.spec.limits):
        return None
    if is_placed(seen.status, metadata.generation):
        return None
    told = told_shortage(seen.status)
    if told is not None:
        return Withheld(told.reason, f"AgentIdentity {whose} waits: {told.message}")
    message = (
        f"AgentIdentity {whose} waits for agentid to give it a place in AgentClass "
        f"{agent_class.metadata.name}, whose spec.limits bound its identities"
    )
    return Withheld(Reason.PENDING, message)


def grant_for_key(
    whose: str, granted: Granted, seen: Observed, algorithm: KeyAlgorithm
) -> Grant | Withheld:
    """The grant of a certificate for a key of this algorithm.

    While a class migrates, the algorithm that it comes from is taken too: a volume may say which
    one for as long as its pod lives.

    Args:
        whose: Namespace and name of the identity.
        granted: What it is granted.
        seen: What that was judged from.
        algorithm: Of the pod's key.
    """
    grant = granted.grant
    if algorithm is grant.key_algorithm:
        return grant
    if granted.gradual and seen.agent_class is not None:
        before = seen.agent_class.spec.model_copy(update={"migration": None})
        if template_for(grant.tier, before).key_algorithm is algorithm:
            return replace(grant, key_algorithm=algorithm)
    message = (
        f"the key is {algorithm}, and the class of AgentIdentity {whose} asks for "
        f"{grant.key_algorithm}"
    )
    return Withheld(WithheldReason.UNSUPPORTED_KEY_TYPE, message, grant.key_algorithm)


def nothing_at_all(whose: str, *, deleting: bool, suspended: bool, held: bool) -> Withheld | None:
    """Why the pods of an identity may have nothing, what they hold included; None if they may.

    Args:
        whose: Namespace and name of the identity.
        deleting: Whether its deletion was asked for.
        suspended: Whether `spec.suspend` is set.
        held: Whether an incident holds it.
    """
    if deleting:
        return Withheld(Reason.DELETING, f"AgentIdentity {whose} is being deleted")
    if suspended:
        message = f"AgentIdentity {whose} is suspended; set spec.suspend to false to go on"
        return Withheld(Reason.SUSPENDED, message)
    if held:
        message = f"an incident holds AgentIdentity {whose}; its status names it"
        return Withheld(Reason.HELD, message)
    return None


def _stopped(whose: str, seen: Observed) -> Withheld:
    """Why nothing is granted."""
    nothing = nothing_at_all(
        whose,
        deleting=seen.metadata is not None and seen.metadata.deletion_timestamp is not None,
        suspended=seen.suspended,
        held=seen.hold is not None,
    )
    if nothing is not None:
        return nothing
    verdict = seen.verdict
    if isinstance(verdict, Refused):
        why = summarize(each.sentence for each in verdict.violations)
        return Withheld(verdict.reason, f"AgentIdentity {whose} is refused: {why}")
    if verdict is None or isinstance(verdict, Granted):
        return Withheld(Reason.PENDING, f"AgentIdentity {whose} waits: it was not judged yet")
    return Withheld(verdict.reason, f"AgentIdentity {whose} waits: {verdict.message}")
