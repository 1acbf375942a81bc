"""What an identity lets a pod have, from what was observed of it; pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from agentid.api.conditions import Reason
from agentid.api.violation import summarize
from agentid.api.vocabulary import DeliveryMode
from agentid.constants import FINALIZER
from agentid.policy.judge import Granted, Refused
from agentid.policy.tiers import template_for
from agentid.signer.reasons import Waiting, WaitingReason

if TYPE_CHECKING:
    from agentid.api.model import ObjectMeta
    from agentid.kube.objects import ObjectKey
    from agentid.pki import KeyAlgorithm
    from agentid.policy.grant import Grant
    from agentid.policy.observed import Blocked, Observed

__all__ = ["allowed_algorithms", "granted_to", "with_key"]


def granted_to(key: ObjectKey, seen: Observed | None) -> Granted | Waiting:
    """What the identity is granted, or why a pod of it has to wait.

    Args:
        key: The identity.
        seen: What is known of it; None if there is none.
    """
    if seen is None or seen.metadata is None:
        message = (
            f"there is no AgentIdentity {key}; create it, or correct the label of the pod. The "
            "pod proceeds by itself once it is there"
        )
        return Waiting(WaitingReason.IDENTITY_NOT_FOUND, message)
    verdict = seen.verdict
    if isinstance(verdict, Granted):
        return _held_back(key, seen.metadata) or _by_this_door(key, verdict)
    return _stopped(key, seen) or _not_granted(key, verdict)


def _stopped(key: ObjectKey, seen: Observed) -> Waiting | None:
    """Why nobody asks for a judgement."""
    if seen.metadata is not None and seen.metadata.deletion_timestamp is not None:
        return Waiting(Reason.DELETING, f"AgentIdentity {key} is being deleted")
    if seen.identity is not None and seen.identity.spec.suspend:
        message = f"AgentIdentity {key} is suspended; set spec.suspend to false to go on"
        return Waiting(Reason.SUSPENDED, message)
    if seen.hold is not None:
        message = f"an incident holds AgentIdentity {key}; its status names it"
        return Waiting(Reason.HELD, message)
    return None


def _not_granted(key: ObjectKey, verdict: Refused | Blocked | None) -> Waiting:
    if isinstance(verdict, Refused):
        why = summarize(each.sentence for each in verdict.violations)
        return Waiting(verdict.reason, f"AgentIdentity {key} is refused: {why}")
    reason = Reason.PENDING if verdict is None else verdict.reason
    message = "it was not judged yet" if verdict is None else verdict.message
    return Waiting(reason, f"AgentIdentity {key} waits: {message}")


def _held_back(key: ObjectKey, metadata: ObjectMeta) -> Waiting | None:
    """Nothing is issued that the deletion of the identity would not wait to revoke."""
    if FINALIZER in metadata.finalizers:
        return None
    return Waiting(Reason.PENDING, f"AgentIdentity {key} has no finalizer yet; agentid adds it")


def _by_this_door(key: ObjectKey, verdict: Granted) -> Granted | Waiting:
    mode = verdict.grant.delivery
    if mode is DeliveryMode.POD_CERTIFICATE:
        return verdict
    message = (
        f"AgentIdentity {key} delivers by {mode}; set spec.delivery.mode to "
        f"{DeliveryMode.POD_CERTIFICATE}, or create the pod anew with the volume of that mode"
    )
    return Waiting(WaitingReason.DELIVERED_OTHERWISE, message)


def allowed_algorithms(granted: Granted, seen: Observed) -> tuple[KeyAlgorithm, ...]:
    """The algorithms that a key may have, the one of new pods first.

    A pod's volume says the algorithm for as long as the pod lives, so while a class migrates the
    one that it comes from is taken too.
    """
    wanted = granted.grant.key_algorithm
    if not granted.gradual or seen.agent_class is None:
        return (wanted,)
    before = seen.agent_class.spec.model_copy(update={"migration": None})
    old = template_for(granted.grant.tier, before).key_algorithm
    return (wanted,) if old is wanted else (wanted, old)


def with_key(grant: Grant, algorithm: KeyAlgorithm) -> Grant:
    """The grant of a certificate for a key of one of these algorithms."""
    return grant if grant.key_algorithm is algorithm else replace(grant, key_algorithm=algorithm)
