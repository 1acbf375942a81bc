"""Is this certificate an agent's, and may the agent do that? What policy points call.

Pure: the present, certificates, bundles, CRLs and policy documents are handed in, nothing is
fetched. `Verifier` is made once of what a policy point trusts and is asked for every request; its
docstring numbers the steps. Fetching bundles and CRLs, and when to, is left to the caller.
"""

from __future__ import annotations

from agentid.errors import VerificationError, VerificationReason
from agentid.pki.strength import STRICT_KEYS, KeyPolicy
from agentid.verify.agent import AuthorizationState, RevocationState, VerifiedAgent, Wanted
from agentid.verify.bundles import BundleSet, read_bundle
from agentid.verify.revocation import CrlSet
from agentid.verify.verifier import Verifier

__all__ = [
    "STRICT_KEYS",
    "AuthorizationState",
    "BundleSet",
    "CrlSet",
    "KeyPolicy",
    "RevocationState",
    "VerificationError",
    "VerificationReason",
    "VerifiedAgent",
    "Verifier",
    "Wanted",
    "read_bundle",
]
