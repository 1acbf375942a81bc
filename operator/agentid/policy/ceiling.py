"""The checks against the ceiling of a class, each small, pure and on its own.

`judge` runs them on what is asked for, `exceeds` on what was given earlier: the same rule in one
place. Each returns what it found, with the reason that a condition gives for it.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from agentid.api.conditions import Reason
from agentid.api.duration import format_duration
from agentid.api.violation import Violation, listed, shown
from agentid.api.vocabulary import DeliveryMode
from agentid.policy.permissions import Permissions
from agentid.policy.tiers import template_for

if TYPE_CHECKING:
    from datetime import datetime

    from agentid.api.agentclass import AgentClass
    from agentid.api.vocabulary import Tier
    from agentid.pki.algorithm import KeyAlgorithm

__all__ = [
    "Finding",
    "delivery",
    "door",
    "lifetime",
    "namespace",
    "permissions",
    "sponsor",
    "tier",
]

Finding = tuple[Reason, Violation]

_ASK: Final = "ask the class owner"

MIN_POD_CERTIFICATE: Final = timedelta(hours=1)
"""The API server refuses a PodCertificateRequest that is answered with less."""


def _name(agent_class: AgentClass) -> str:
    return f"AgentClass {agent_class.metadata.name}"


def namespace(name: str, agent_class: AgentClass) -> tuple[Finding, ...]:
    """The class serves the namespace."""
    served = agent_class.spec.namespaces
    if served.serve(name):
        return ()
    allowed = f"is not served by {_name(agent_class)}, which serves {listed(served.names)}"
    violation = Violation(
        "metadata.namespace", shown(name), allowed, f"choose another class or {_ASK}"
    )
    return ((Reason.NAMESPACE_NOT_SERVED, violation),)


def sponsor(name: str | None, agent_class: AgentClass) -> tuple[Finding, ...]:
    """Somebody answers for the agent, where the class asks for it."""
    if name is not None or not agent_class.spec.require_sponsor:
        return ()
    violation = Violation(
        "spec.sponsor",
        "",
        f"is required by {_name(agent_class)}",
        "name who answers for the agent, such as team@example.com",
    )
    return ((Reason.SPONSOR_REQUIRED, violation),)


def permissions(
    asked: Permissions, agent_class: AgentClass, *, now: datetime
) -> tuple[Finding, ...]:
    """The permissions are a subset of the ceiling."""
    ceiling = Permissions.of(agent_class.spec.permissions)
    excess = asked.excess(ceiling, ceiling_name=_name(agent_class), now=now)
    return tuple((Reason.EXCEEDS_CLASS, violation) for violation in excess)


def lifetime(
    asked: timedelta | None, agent_class: AgentClass, *, limit: timedelta | None = None
) -> tuple[Finding, ...]:
    """The lifetime is at most that of the class, or the limit if one is given."""
    most = agent_class.spec.lifetime if limit is None else limit
    if asked is None or asked <= most:
        return ()
    violation = Violation(
        "spec.lifetime",
        format_duration(asked),
        f"is above the {format_duration(most)} ceiling of {_name(agent_class)}",
        f"lower it or {_ASK}",
    )
    return ((Reason.EXCEEDS_CLASS, violation),)


def tier(found: Tier, agent_class: AgentClass) -> tuple[Finding, ...]:
    """The class accepts the tier."""
    highest = agent_class.spec.max_tier
    if found <= highest:
        return ()
    violation = Violation(
        "status.classification.tier",
        found,
        f"is above the highest tier of {_name(agent_class)}, which is {highest}",
        "ask for less (status.classification.reasons tells what raises the tier) or choose "
        "another class",
    )
    return ((Reason.TIER_NOT_ALLOWED, violation),)


def delivery(mode: DeliveryMode, found: Tier, agent_class: AgentClass) -> tuple[Finding, ...]:
    """The class, and the tier within it, allow the door."""
    allowed = template_for(found, agent_class.spec).delivery_modes
    if mode in allowed:
        return ()
    open_doors = listed(sorted(allowed))
    violation = Violation(
        "spec.delivery.mode",
        mode,
        f"is not allowed by {_name(agent_class)} for tier {found}, which allows {open_doors}",
        f"choose one of these or {_ASK}" if allowed else _ASK,
    )
    return ((Reason.DELIVERY_NOT_ALLOWED, violation),)


def door(
    mode: DeliveryMode,
    granted: timedelta,
    algorithm: KeyAlgorithm,
    available: frozenset[DeliveryMode],
) -> tuple[Finding, ...]:
    """Something in this cluster serves the door, and can serve such a lifetime and key."""
    if mode not in available:
        violation = Violation(
            "spec.delivery.mode",
            mode,
            f"is served by nothing in this cluster, which serves {listed(sorted(available))}",
            "choose one of these or ask the platform team to install it",
        )
        return ((Reason.DELIVERY_UNAVAILABLE, violation),)
    if mode is DeliveryMode.POD_CERTIFICATE and granted < MIN_POD_CERTIFICATE:
        violation = Violation(
            "spec.delivery.mode",
            mode,
            f"cannot carry a lifetime of {format_duration(granted)}: Kubernetes asks for at least "
            f"{format_duration(MIN_POD_CERTIFICATE)}",
            "choose another mode, or a class and lifetime of at least an hour",
        )
        return ((Reason.DELIVERY_NOT_ALLOWED, violation),)
    if mode is DeliveryMode.POD_CERTIFICATE and not algorithm.is_pod_key_type:
        violation = Violation(
            "spec.delivery.mode",
            mode,
            f"cannot carry a key of {algorithm}, which kubelets do not make",
            "choose another mode, or a class with a key algorithm that they do",
        )
        return ((Reason.DELIVERY_NOT_ALLOWED, violation),)
    return ()
