"""SPIFFE bundles as the issuer service gives them, in the forms that pods read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from agentid.identity import TrustDomain
from agentid.pki.spiffe_bundle import decode_spiffe_bundle

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentid.node.issuer import Bundle

__all__ = ["Trust", "read_trust", "visible"]


@dataclass(frozen=True, slots=True)
class Trust:
    """What is trusted in one trust domain.

    Attributes:
        roots_pem: Of its X509-SVIDs; empty where all are revoked.
        jwks: Its keys for JWT-SVIDs, as a JWK Set; those for X509-SVIDs are left out.
        crl_pem: Of its issuer; None where it is foreign or has none.
    """

    roots_pem: bytes = field(repr=False)
    jwks: bytes = field(repr=False)
    crl_pem: bytes | None = field(repr=False)


def read_trust(bundles: Mapping[str, Bundle]) -> dict[str, Trust]:
    """Read all bundles.

    Raises:
        InputError: One is no SPIFFE bundle, or its name is no trust domain.
    """
    trust: dict[str, Trust] = {}
    for name, bundle in bundles.items():
        read = decode_spiffe_bundle(bundle.document, TrustDomain.parse(name))
        jwks = b'{"keys":[%b]}' % ",".join(read.jwt_keys).encode()
        trust[name] = Trust(read.x509.pem, jwks, bundle.crl_pem)
    return trust


def visible(
    trust: Mapping[str, Trust], own: str, federated: Mapping[str, bytes]
) -> dict[str, bytes]:
    """The JWK Sets that a pod sees: of its own trust domain and of those it is federated with."""
    empty = b'{"keys":[]}'
    sets = {name: trust[name].jwks for name in federated if name in trust}
    return {own: trust[own].jwks if own in trust else empty, **sets}
