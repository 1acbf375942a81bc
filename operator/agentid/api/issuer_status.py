"""The status of an AgentIssuer: authorities, keys for tokens, and what it federates with."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from agentid.api.conditions import Conditions
from agentid.api.fields import Generation, Items, Number, Prose, Timestamp
from agentid.api.model import Model
from agentid.api.names import Hex, Shown
from agentid.pki.algorithm import KeyAlgorithm
from agentid.pki.jws import JwtAlgorithm

__all__ = [
    "AgentIssuerStatus",
    "AuthorityRole",
    "AuthorityState",
    "AuthorityStatus",
    "FederationStatus",
    "JwtKeyStatus",
]


class AuthorityRole(StrEnum):
    """What an authority is there for."""

    ROOT = "Root"
    ISSUING = "Issuing"


class AuthorityState(StrEnum):
    """How far an authority is in its life."""

    STAGED = "Staged"
    """Made and made known; it signs no certificate of an agent yet."""
    SIGNING = "Signing"
    """The issuing authority that signs, and the roots that verifiers are told to trust."""
    RETIRED = "Retired"
    """It signs no certificate any more; what it signed is still in use, and its CRLs go on."""
    DISTRUSTED = "Distrusted"
    """It is on its way out, by spec.distrust."""


class AuthorityStatus(Model):
    """One authority of the issuer."""

    role: AuthorityRole
    """Root, or an authority that signs leaves: Issuing."""
    state: AuthorityState = AuthorityState.SIGNING
    """Staged, Signing, Retired or Distrusted."""
    id: Hex | None = None
    """First 16 digits of its subject key identifier; part of its URLs."""
    subject: Shown
    """Distinguished name, as in RFC 4514."""
    serial: Hex
    """Serial number in lower-case hexadecimal."""
    algorithm: KeyAlgorithm
    """Key algorithm."""
    fingerprint: Hex
    """SHA-256 of the DER certificate in lower-case hexadecimal."""
    not_before: Timestamp
    """First second of validity."""
    not_after: Timestamp
    """Last second of validity."""


class JwtKeyStatus(Model):
    """One key that signs JWT-SVIDs, did, or will."""

    kid: Shown
    """What tokens and bundles call it: its thumbprint, RFC 7638, in Base64url."""
    state: AuthorityState
    """Staged, Signing or Retired."""
    algorithm: JwtAlgorithm
    """What it signs with."""
    fingerprint: Hex
    """The same thumbprint in lower-case hexadecimal, for spec.distrust."""
    since: Timestamp
    """When it came to this state."""


class FederationStatus(Model):
    """What was fetched of a foreign trust domain."""

    trust_domain: Shown
    """Name of the foreign trust domain."""
    sequence: Annotated[int, Number(0, 2**53 - 1)] | None = None
    """Sequence of its bundle, where it gives one."""
    fetched_at: Timestamp | None = None
    """When the bundle that is published was first seen; it stays when the endpoint is away."""
    problem: Annotated[str, Prose(1024)] | None = None
    """Why the last look failed; absent if it did not."""


class AgentIssuerStatus(Model):
    """What the controller tells about an issuer."""

    observed_generation: Generation | None = None
    """The metadata.generation that this status judges."""
    conditions: Conditions = ()
    """Ready, Reconciling and Stalled, each with reason and message."""
    trust_domain: Shown | None = None
    """Trust domain that the authorities are made for."""
    authorities: Annotated[tuple[AuthorityStatus, ...], Items(32)] = ()
    """Its authorities, roots first, the newest of each first."""
    jwt_keys: Annotated[tuple[JwtKeyStatus, ...], Items(32)] = ()
    """Its keys for JWT-SVIDs, the newest first."""
    bundle_sequence: Annotated[int, Number(0, 2**53 - 1)] | None = None
    """Number of the bundle that is published: it grows whenever a root, or a key for JWT-SVIDs,
    comes or goes."""
    federation: Annotated[
        tuple[FederationStatus, ...], Items(32, list_type="map", keys=("trust_domain",))
    ] = ()
    """Foreign bundles, as they were fetched last."""
