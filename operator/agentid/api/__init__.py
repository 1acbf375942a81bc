"""What the resources of `agentid.dev/v1alpha1` look like, and when one of them is malformed.

Frozen models with their parser, the conditions they carry, and the CRDs generated from them.
Whether a well-formed identity may have what it asks for is left to `agentid.policy`.
"""

from __future__ import annotations

from agentid.api.agentclass import AgentClass, AgentClassSpec, AgentClassStatus
from agentid.api.agentidentity import (
    AgentIdentity,
    AgentIdentitySpec,
    AgentIdentityStatus,
    CertificateStatus,
    ClassificationStatus,
    DeliveryStatus,
)
from agentid.api.agentissuer import (
    AgentIssuer,
    AgentIssuerSpec,
    AgentIssuerStatus,
    AuthorityRole,
    AuthorityStatus,
    BuiltinCa,
)
from agentid.api.agentrevocation import (
    AgentRevocation,
    AgentRevocationSpec,
    AgentRevocationStatus,
    HeldIdentity,
    Hit,
    IncidentReason,
    Phase,
    Selection,
)
from agentid.api.conditions import (
    Condition,
    ConditionStatus,
    ConditionType,
    Reason,
    Wanted,
    set_conditions,
)
from agentid.api.model import ObjectMeta
from agentid.api.violation import Violation, summarize
from agentid.api.vocabulary import (
    AccessPrivileges,
    DecisionAuthority,
    DeliveryMode,
    Instances,
    Lifespan,
    Operation,
    RiskExposure,
    Tier,
)

__all__ = [
    "AccessPrivileges",
    "AgentClass",
    "AgentClassSpec",
    "AgentClassStatus",
    "AgentIdentity",
    "AgentIdentitySpec",
    "AgentIdentityStatus",
    "AgentIssuer",
    "AgentIssuerSpec",
    "AgentIssuerStatus",
    "AgentRevocation",
    "AgentRevocationSpec",
    "AgentRevocationStatus",
    "AuthorityRole",
    "AuthorityStatus",
    "BuiltinCa",
    "CertificateStatus",
    "ClassificationStatus",
    "Condition",
    "ConditionStatus",
    "ConditionType",
    "DecisionAuthority",
    "DeliveryMode",
    "DeliveryStatus",
    "HeldIdentity",
    "Hit",
    "IncidentReason",
    "Instances",
    "Lifespan",
    "ObjectMeta",
    "Operation",
    "Phase",
    "Reason",
    "RiskExposure",
    "Selection",
    "Tier",
    "Violation",
    "Wanted",
    "set_conditions",
    "summarize",
]
