"""What an identity lets a pod have through this door, from what was observed of it; pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from agentid.api.conditions import Reason
from agentid.api.violation import summarize
from agentid.api.vocabulary import DeliveryMode
from agentid.constants import FINALIZER
from agentid.issuing.reasons import RefusalReason, RefusedError
from agentid.policy.judge import Granted, Refused
from agentid.policy.tiers import template_for

if TYPE_CHECKING:
    from agentid.kube.objects import ObjectKey
    from agentid.pki import KeyAlgorithm
    from agentid.policy.grant import Grant
    from agentid.policy.observed import Observed
    from agentid.services.pods import Pod

__all__ = ["grant_for_key", "granted_to"]


def granted_to(pod: Pod, key: ObjectKey, seen: Observed | None) -> Granted:
    """What the identity grants the pod.

    Args:
        pod: That was attested.
        key: The identity that its label names.
        seen: What is known of it; None if there is none.

    Raises:
        RefusedError: Nothing.
    """
    if seen is None or seen.metadata is None:
        message = f"there is no AgentIdentity {key}; create it, or correct the label of the pod"
        raise RefusedError(RefusalReason.IDENTITY_NOT_FOUND, message)
    verdict = seen.verdict
    if not isinstance(verdict, Granted):
        raise _stopped(key, seen)
    grant = verdict.grant
    if grant.delivery is not DeliveryMode.CSI:
        message = (
            f"AgentIdentity {key} delivers by {grant.delivery}; set spec.delivery.mode to "
            f"{DeliveryMode.CSI}, or create the pod anew with the volume of that mode"
        )
        raise RefusedError(RefusalReason.DELIVERED_OTHERWISE, message)
    if grant.service_account != pod.service_account:
        message = (
            f"AgentIdentity {key} is bound to ServiceAccount {grant.service_account}, and the pod "
            f"runs as {pod.service_account}; set spec.serviceAccountName of the pod, or name the "
            "identity that is meant"
        )
        raise RefusedError(RefusalReason.NOT_ITS_SERVICE_ACCOUNT, message, final=True)
    if FINALIZER not in seen.metadata.finalizers:
        message = f"AgentIdentity {key} is new, and its deletion is not guarded yet; ask again"
        raise RefusedError(Reason.PENDING, message)
    return verdict


def grant_for_key(
    key: ObjectKey, granted: Granted, seen: Observed, algorithm: KeyAlgorithm
) -> Grant:
    """The grant of a certificate for a key of this algorithm.

    While a class migrates, the algorithm that it comes from is taken too.

    Raises:
        RefusedError: The class asks for another algorithm.
    """
    grant = granted.grant
    if algorithm is grant.key_algorithm:
        return grant
    if granted.gradual and seen.agent_class is not None:
        before = seen.agent_class.spec.model_copy(update={"migration": None})
        if template_for(grant.tier, before).key_algorithm is algorithm:
            return replace(grant, key_algorithm=algorithm)
    message = (
        f"the key is {algorithm}, and the class of AgentIdentity {key} asks for "
        f"{grant.key_algorithm}; make one of that algorithm"
    )
    raise RefusedError(
        RefusalReason.UNSUPPORTED_KEY_TYPE, message, key_algorithm=grant.key_algorithm
    )


def _stopped(key: ObjectKey, seen: Observed) -> RefusedError:
    """Why there is no grant. Each may come right without a change of the pod."""
    if seen.metadata is not None and seen.metadata.deletion_timestamp is not None:
        message = f"AgentIdentity {key} is being deleted"
        return RefusedError(Reason.DELETING, message, final=True)
    if seen.identity is not None and seen.identity.spec.suspend:
        message = f"AgentIdentity {key} is suspended; set spec.suspend to false to go on"
        return RefusedError(Reason.SUSPENDED, message, final=True)
    if seen.hold is not None:
        message = f"an incident holds AgentIdentity {key}; its status names it"
        return RefusedError(Reason.HELD, message, final=True)
    verdict = seen.verdict
    if isinstance(verdict, Refused):
        why = summarize(each.sentence for each in verdict.violations)
        return RefusedError(verdict.reason, f"AgentIdentity {key} is refused: {why}")
    if verdict is None or isinstance(verdict, Granted):
        return RefusedError(Reason.PENDING, f"AgentIdentity {key} was not judged yet")
    message = f"AgentIdentity {key} waits: {verdict.message}"
    return RefusedError(verdict.reason, message)
