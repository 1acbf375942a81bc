"""What the node plugin asks of the issuer service, and what it gets.

A protocol, so that the same plugin runs on the service over HTTPS and on the fake of
`agentid.testing.node_issuer`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from agentid.errors import AgentIdError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from datetime import datetime

    from agentid.pki import KeyAlgorithm

__all__ = [
    "Bundle",
    "Change",
    "ChangeKind",
    "IssuerPort",
    "JwtGrant",
    "PodProof",
    "RefusedError",
    "X509Grant",
]


@dataclass(frozen=True, slots=True)
class PodProof:
    """A pod, and the token that proves it.

    Attributes:
        namespace: Of the pod.
        name: Of the pod.
        uid: Of the pod.
        service_account: That the pod runs as.
        identity: The AgentIdentity that is asked for.
        token: The pod's own, for the audience `agentid.dev`, from the kubelet.
    """

    namespace: str
    name: str
    uid: str
    service_account: str
    identity: str
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class X509Grant:
    """A certificate, and all that is delivered beside it.

    Attributes:
        chain_pem: The leaf first; no root.
        issued_at: The issuer's present when it issued. Every period below is counted from it, so
            that a wrong clock of the node moves nothing.
        not_before: Of the leaf.
        not_after: Of the leaf.
        renew_at: When the next one is to be asked for.
        spiffe_id: In the leaf.
        bundle_pem: The roots of the trust domain.
        federated: Roots in PEM, by the name of the foreign trust domain.
        crl_pem: The current CRLs of the issuer, all shards; None where the class has none.
        key_algorithm: Of the next key.
        agent: What `agent.json` says.
    """

    chain_pem: bytes
    issued_at: datetime
    not_before: datetime
    not_after: datetime
    renew_at: datetime
    spiffe_id: str
    bundle_pem: bytes
    federated: Mapping[str, bytes]
    crl_pem: bytes | None
    key_algorithm: KeyAlgorithm
    agent: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class JwtGrant:
    """A JWT-SVID.

    Attributes:
        token: Compact JWS.
        spiffe_id: Its `sub`.
        issued_at: The issuer's present when it minted.
        not_after: Its `exp`.
    """

    token: str = field(repr=False)
    spiffe_id: str
    issued_at: datetime
    not_after: datetime


@dataclass(frozen=True, slots=True)
class Bundle:
    """What is trusted in one trust domain, as the issuer service knows it now.

    Attributes:
        document: The SPIFFE bundle, X.509 and JWT keys.
        crl_pem: The current CRLs of its issuer, all shards; None where it is foreign or has none.
    """

    document: bytes
    crl_pem: bytes | None = None


class ChangeKind(StrEnum):
    """What a change is about."""

    REVOKED = "revoked"
    """The pod's certificate is revoked, or its identity may have none; files and streams end."""

    BUNDLES = "bundles"
    """A bundle or a CRL is another one."""

    GRANTS = "grants"
    """What the pod may have is another thing; ask anew, without a pause."""


@dataclass(frozen=True, slots=True)
class Change:
    """One line of the feed of changes.

    Attributes:
        kind: What it is about.
        pod: UID of the pod; None where it is about all pods of the node.
        serial: Of the revoked certificate, in lower-case hex; None means all that the pod holds.
        reason: Why, CamelCase.
        message: Why, in a sentence.
    """

    kind: ChangeKind
    pod: str | None = None
    serial: str | None = None
    reason: str = ""
    message: str = ""


class RefusedError(AgentIdError):
    """The issuer service says no.

    Attributes:
        reason: CamelCase, for machines.
        final: Whether the pod is to have nothing any more, now. Otherwise it keeps what it holds
            until that runs out.
        key_algorithm: The kind of key to ask with instead; None where that is not the matter.
    """

    def __init__(
        self,
        reason: str,
        message: str,
        *,
        final: bool = False,
        key_algorithm: KeyAlgorithm | None = None,
    ) -> None:
        self.reason = reason
        self.final = final
        self.key_algorithm = key_algorithm
        super().__init__(message)


class IssuerPort(Protocol):
    """The issuer service as the node plugin sees it.

    Every method raises `UnavailableError` where no replica answers in time.
    """

    async def x509(self, pod: PodProof, csr_der: bytes) -> X509Grant:
        """Have a certificate issued for the public key of the request.

        Raises:
            RefusedError: The pod may not have one.
        """

    async def jwt(self, pod: PodProof, audience: tuple[str, ...]) -> JwtGrant:
        """Have a JWT-SVID minted.

        Raises:
            RefusedError: The pod may not have one.
        """

    async def bundles(self) -> Mapping[str, Bundle]:
        """What is trusted, by the name of the trust domain, for all issuers there are."""

    def changes(self) -> AsyncIterator[Change]:
        """What changes for pods of this node; it ends when the connection does.

        It begins with the revocations that are in force of certificates of this node's pods, so
        that a plugin that was away misses none.
        """
