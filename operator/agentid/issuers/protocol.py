"""What every issuer can do."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

    from agentid.identity import SerialNumber, SpiffeId, TrustDomain, Validity
    from agentid.pki import KeyAlgorithm, Leaf, PublicKey, X509Bundle
    from agentid.pki.authorization import AuthorizedPolicy
    from agentid.pki.jwt_svid import JwtSvid
    from agentid.pki.strict_json import Json

__all__ = [
    "AuthorityInfo",
    "AuthorityRole",
    "Claims",
    "IssueRequest",
    "Issuer",
    "JwtIssuer",
    "JwtRequest",
    "Signed",
]


@dataclass(frozen=True, slots=True)
class Claims:
    """What a leaf says of its agent beside who it is: the authorization extension.

    Attributes:
        tier: How strictly the certificate is handled.
        sponsor: Who answers for the agent, or None.
        policy: What it may do.
        critical: Whether verifiers that do not know the extension have to refuse the leaf.
    """

    tier: str
    sponsor: str | None
    policy: AuthorizedPolicy
    critical: bool = False


@dataclass(frozen=True, slots=True)
class IssueRequest:
    """What a leaf is asked for: a `LeafProfile` whose period the issuer settles.

    Attributes:
        spiffe_id: The agent.
        class_name: The AgentClass that it was granted under.
        lifetime: How long the leaf is to serve from now on; the issuer may give less, never more.
        key_algorithm: What its key must be.
        public_key: Its key; the caller has seen proof that the agent holds the private half.
        policy_oid: The certificate policy of the class in dotted form, or None.
        cps_uri: Where that policy is explained, or None.
        no_rev_avail: Whether the leaf says that no revocation information will exist (RFC 9608).
        claims: What it says of its agent; None for nothing.
    """

    spiffe_id: SpiffeId
    class_name: str
    lifetime: timedelta
    key_algorithm: KeyAlgorithm
    public_key: PublicKey
    policy_oid: str | None = None
    cps_uri: str | None = None
    no_rev_avail: bool = False
    claims: Claims | None = None


@dataclass(frozen=True, slots=True)
class JwtRequest:
    """What a JWT-SVID is asked for.

    Attributes:
        spiffe_id: The agent.
        audience: Whom it is for, one at least.
        lifetime: How long it is to serve from now on; the issuer may give less, never more.
        claims: Others than those of RFC 7519.
    """

    spiffe_id: SpiffeId
    audience: tuple[str, ...]
    lifetime: timedelta
    claims: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Signed:
    """A leaf, and what has to be on record of how it was signed.

    Attributes:
        leaf: With its chain.
        authority: Id of the authority that signed.
        shard: The CRL of that authority that would name it; None if none would.
        bundle: Sequence of the issuer's bundle at that moment.
    """

    leaf: Leaf
    authority: str
    shard: int | None
    bundle: int


class AuthorityRole(StrEnum):
    """Where an authority stands, spelled as in the status of an AgentIssuer."""

    ROOT = "Root"
    ISSUING = "Issuing"


@dataclass(frozen=True, slots=True)
class AuthorityInfo:
    """What the status of an AgentIssuer says about one authority.

    Attributes:
        role: Root or issuing.
        state: How far it is in its life, spelled as in the status of an AgentIssuer.
        id: First 16 hexadecimal digits of its key identifier.
        subject: The distinguished name, RFC 4514.
        serial: The serial number of its certificate.
        validity: The period of its certificate alone.
        fingerprint: SHA-256 over its certificate in DER, lower-case hexadecimal.
        algorithm: The algorithm of its key.
    """

    role: AuthorityRole
    state: str
    id: str
    subject: str
    serial: SerialNumber
    validity: Validity
    fingerprint: str
    algorithm: KeyAlgorithm


class Issuer(Protocol):
    """A back end that signs leaves for one trust domain.

    What only some can do, such as revoking at the CA, is a protocol of its own.
    """

    @property
    def name(self) -> str:
        """The name of its AgentIssuer."""
        ...

    @property
    def trust_domain(self) -> TrustDomain:
        """Whose identities it signs."""
        ...

    async def issue(self, request: IssueRequest) -> Signed:
        """A new leaf.

        The caller still owes the record: the serial must be durably on the ledger before anything
        of the leaf leaves the process.

        Raises:
            IssuanceDeniedError: The issuer refuses the request as it stands.
            UnavailableError: The issuer cannot sign just now; the same request may work later.
        """
        ...

    def bundle(self) -> X509Bundle:
        """What verifiers of its leaves trust."""
        ...

    @property
    def bundle_sequence(self) -> int:
        """Number of that bundle: it grows whenever an authority comes or goes."""
        ...

    def authorities(self) -> tuple[AuthorityInfo, ...]:
        """Its authorities, the roots first, the newest of each first."""
        ...


@runtime_checkable
class JwtIssuer(Protocol):
    """A back end that signs JWT-SVIDs for one trust domain."""

    async def mint(self, request: JwtRequest) -> JwtSvid:
        """A new token.

        The caller still owes the judgement, and the record of `kid` and `token_id`.

        Raises:
            IssuanceDeniedError: The issuer refuses the request as it stands.
            UnavailableError: The issuer cannot sign just now; the same request may work later.
        """
        ...
