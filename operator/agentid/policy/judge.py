"""Whether an identity is given what it asks for; the one judgement that every door calls."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from agentid.api.conditions import Reason
from agentid.api.violation import Violation, shown
from agentid.errors import InputError, InternalError
from agentid.identity import SpiffeId
from agentid.pki.oids import class_policy_oid
from agentid.policy import ceiling
from agentid.policy.classification import Classification, classify
from agentid.policy.grant import Grant
from agentid.policy.permissions import Permissions
from agentid.policy.tiers import template_for

if TYPE_CHECKING:
    from datetime import datetime

    from agentid.api.agentclass import AgentClass
    from agentid.api.agentidentity import AgentIdentity
    from agentid.api.vocabulary import DeliveryMode
    from agentid.identity import TrustDomain
    from agentid.policy.ceiling import Finding

__all__ = ["Granted", "Refused", "exceeds", "judge"]


@dataclass(frozen=True, slots=True)
class Granted:
    """The identity is given what it asks for.

    Attributes:
        grant: What it is given.
        classification: Its tier, with what the tier tightened among the reasons.
        gradual: Whether a key algorithm that differs waits for the next renewal, since the class
            migrates.
    """

    grant: Grant
    classification: Classification
    gradual: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    """The identity is given nothing.

    Attributes:
        reason: The closest one if all violations are of one kind, else ExceedsClass.
        violations: All of them, in the order of the checks.
        classification: Its tier, shown to the user even so.
    """

    reason: Reason
    violations: tuple[Violation, ...]
    classification: Classification | None


def judge(
    identity: AgentIdentity,
    agent_class: AgentClass,
    trust_domain: TrustDomain,
    *,
    available_deliveries: frozenset[DeliveryMode],
    now: datetime,
) -> Granted | Refused:
    """Judge an identity against the ceiling of its class.

    Whether it is suspended or being deleted is not asked here, nor whether its author may use the
    class: that was the API server's to decide when the class was named.

    Args:
        identity: Who asks.
        agent_class: The class that `identity.spec.class_name` names.
        trust_domain: Of the issuer of that class.
        available_deliveries: The doors that something in this cluster serves.
        now: From when on schedules of different zones are compared; the rest is timeless.

    Raises:
        InternalError: The class is not the one that the identity names.
    """
    spec, name = identity.spec, agent_class.metadata.name
    if spec.class_name != name:
        msg = f"judged against AgentClass {shown(name)}, but the identity names {spec.class_name}"
        raise InternalError(msg)
    permissions = Permissions.of(spec.permissions)
    classification = classify(spec.classification, permissions, agent_class.spec.operations)
    template = template_for(classification.tier, agent_class.spec)
    classification = replace(classification, reasons=(*classification.reasons, *template.reasons))
    lifetime = min(spec.lifetime or template.lifetime, template.lifetime)

    closed = ceiling.delivery(spec.delivery.mode, classification.tier, agent_class)
    findings: list[Finding] = [
        *ceiling.namespace(identity.metadata.namespace, agent_class),
        *ceiling.sponsor(spec.sponsor, agent_class),
        *ceiling.permissions(permissions, agent_class, now=now),
        *ceiling.lifetime(spec.lifetime, agent_class),
        *ceiling.tier(classification.tier, agent_class),
        # A door that stays closed need not be there.
        *(
            closed
            or ceiling.door(
                spec.delivery.mode, lifetime, template.key_algorithm, available_deliveries
            )
        ),
    ]
    spiffe_id: SpiffeId | None = None
    try:
        spiffe_id = SpiffeId.for_agent(
            trust_domain, identity.metadata.namespace, identity.metadata.name
        )
    except InputError as error:
        findings.append((Reason.INVALID_SPEC, _unusable_name(identity, error)))
    if findings or spiffe_id is None:
        return Refused(
            _common_reason(findings), tuple(violation for _, violation in findings), classification
        )
    return Granted(
        Grant(
            spiffe_id=spiffe_id,
            class_name=name,
            issuer_name=agent_class.spec.issuer_name,
            sponsor=spec.sponsor,
            tier=classification.tier,
            permissions=permissions,
            lifetime=lifetime,
            key_algorithm=template.key_algorithm,
            delivery=spec.delivery.mode,
            instances=spec.instances,
            service_account=spec.subject.service_account_name,
            secret_name=identity.secret_name,
            policy_oid=agent_class.spec.certificate_policy.oid or class_policy_oid(name),
            cps_uri=agent_class.spec.certificate_policy.cps_uri,
            critical=agent_class.spec.authorization.critical,
            ephemeral=lifetime <= agent_class.spec.revocation.ephemeral_lifetime,
        ),
        classification,
        gradual=agent_class.spec.migration is not None,
    )


def exceeds(grant: Grant, agent_class: AgentClass, now: datetime) -> tuple[Violation, ...]:
    """Find where a grant given earlier is beyond what its class allows today.

    Args:
        grant: What certificates in use were issued under.
        agent_class: The class as it is now.
        now: As in `judge`.

    Returns:
        All violations; none if the certificates may stay. A grant whose key is weaker than the
        class asks for today is none: its next renewal mends that.
    """
    template = template_for(grant.tier, agent_class.spec)
    findings = [
        *ceiling.namespace(grant.agent.namespace, agent_class),
        *ceiling.sponsor(grant.sponsor, agent_class),
        *ceiling.permissions(grant.permissions, agent_class, now=now),
        *ceiling.lifetime(grant.lifetime, agent_class, limit=template.lifetime),
        *ceiling.tier(grant.tier, agent_class),
        *ceiling.delivery(grant.delivery, grant.tier, agent_class),
    ]
    return tuple(violation for _, violation in findings)


_MIXED: Final = Reason.EXCEEDS_CLASS


def _common_reason(findings: list[Finding]) -> Reason:
    kinds = {reason for reason, _ in findings}
    return kinds.pop() if len(kinds) == 1 else _MIXED


def _unusable_name(identity: AgentIdentity, error: InputError) -> Violation:
    whole = f"{identity.metadata.namespace}/{identity.metadata.name}"
    return Violation(
        "metadata.name", shown(whole), f"makes no SPIFFE ID ({error})", "choose a shorter name"
    )
