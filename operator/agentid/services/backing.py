"""What stands behind an identity: its class, and the issuer of that class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from agentid.api.conditions import Reason
from agentid.api.violation import summarize
from agentid.policy.observed import Blocked

if TYPE_CHECKING:
    from agentid.api.agentclass import AgentClass
    from agentid.api.agentidentity import AgentIdentity
    from agentid.api.agentissuer import AgentIssuer
    from agentid.services.world import Parsed, World

__all__ = ["Backing", "backing_of"]


@dataclass(frozen=True, slots=True)
class Backing:
    """Both, as far as they are there; whether the issuer can sign is for others to say.

    Attributes:
        agent_class: The class that the identity names.
        issuer: The issuer that the class names.
    """

    agent_class: AgentClass
    issuer: Parsed[AgentIssuer]


def backing_of(world: World, identity: AgentIdentity) -> Backing | Blocked:
    """Find both, or say what is missing.

    An incident that keeps identities from getting certificates, and does not say whom in words that
    this release knows, keeps all of them from it: nobody who is held gets one by going back.
    """
    if (incident := world.incidents.unread_hold) is not None:
        message = (
            f"AgentRevocation {incident} holds identities, and what it selects cannot be read, so "
            "nobody is given a certificate: its status says why. Go back to the release that knows "
            "it, or end the hold with spec.release: true"
        )
        return Blocked(Reason.INCIDENT_UNREADABLE, message)
    name = identity.spec.class_name
    parsed = world.classes.get(name)
    if parsed is None:
        message = (
            f"spec.className: there is no AgentClass {name}; create it or name another one "
            "(kubectl get agentclasses). The identity proceeds by itself"
        )
        return Blocked(Reason.CLASS_NOT_FOUND, message)
    if parsed.model is None:
        message = f"AgentClass {name} cannot be used: {summarize(parsed.faults)}"
        return Blocked(Reason.CLASS_NOT_FOUND, message)
    issuer_name = parsed.model.spec.issuer_name
    issuer = world.issuers.get(issuer_name)
    if issuer is None:
        message = (
            f"AgentClass {name} names AgentIssuer {issuer_name}, which does not exist; create "
            "it or correct spec.issuerName of the class. The identity proceeds by itself"
        )
        return Blocked(Reason.ISSUER_NOT_FOUND, message)
    return Backing(parsed.model, issuer)
