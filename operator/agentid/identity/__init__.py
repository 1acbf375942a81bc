"""Values that name things: trust domains, SPIFFE IDs, pods, serials, validity periods, reasons.

Each is a frozen value made by a parser that returns a valid value or raises `InputError`, so a
function that takes one has nothing left to check. Cryptography, certificates and Kubernetes are
left to others.
"""

from __future__ import annotations

from agentid.identity.pod_ref import PodRef
from agentid.identity.revocation import RevocationReason
from agentid.identity.serial import SerialNumber
from agentid.identity.spiffe_id import MAX_SPIFFE_ID_BYTES, AgentPath, SpiffeId
from agentid.identity.trust_domain import TrustDomain
from agentid.identity.validity import Validity

__all__ = [
    "MAX_SPIFFE_ID_BYTES",
    "AgentPath",
    "PodRef",
    "RevocationReason",
    "SerialNumber",
    "SpiffeId",
    "TrustDomain",
    "Validity",
]
