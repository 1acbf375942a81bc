"""What is published of an issuer for those who verify: made of its authorities, no I/O.

    ConfigMap in the operator's namespace   responders serve from it; agentid goes on from it
    ClusterTrustBundle                      pods mount it
    ConfigMap in namespaces that ask        everybody else there reads it

All three are made of one `Publication`, so they cannot differ but in when they are written.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from agentid.errors import InputError
from agentid.identity import TrustDomain
from agentid.pki.jwt_bundle import JwtBundle
from agentid.pki.pem import certificate_pem
from agentid.pki.spiffe_bundle import (
    SpiffeBundle,
    decode_spiffe_bundle,
    encode_spiffe_bundle,
)
from agentid.services.foreign import federated_data, notes_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from agentid.issuers import AuthoritySet
    from agentid.services.foreign import ForeignBundle

__all__ = [
    "ANNOTATION_FEDERATION",
    "Publication",
    "PublishedRoots",
    "bundle_name",
    "make_publication",
    "published_roots",
]

BUNDLE_DATA: Final = "bundle.json"
"""The SPIFFE bundle document."""

ROOTS_DATA: Final = "ca.crt"
"""The roots as PEM."""

AUTHORITIES_DATA: Final = "authorities.pem"
"""Issuing authorities and intermediates whose leaves may live, as PEM."""

TRUST_DOMAIN_DATA: Final = "trustDomain"
"""The name of the trust domain."""

OIDC_DATA: Final = "oidcIssuer"
"""The issuer URL of OpenID Connect, where there is one."""

ANNOTATION_FEDERATION: Final = "agentid.dev/federation"
"""On the ConfigMap in the operator's namespace: what foreign documents do not say themselves."""

_MOST_DATA: Final = 900 * 1024
"""Bytes in one ConfigMap; the API server takes 1 MiB with keys and metadata."""

_MOST_DATA_KEY: Final = 253
"""Characters of a key in a ConfigMap (Kubernetes, `IsConfigMapKey`)."""


def bundle_name(issuer: str) -> str:
    """The name of the ConfigMaps, in every namespace."""
    return f"agentid-bundle-{issuer}"


@dataclass(frozen=True, slots=True)
class Publication:
    """What is published of one issuer.

    Attributes:
        issuer: Its name.
        trust_domain: Its trust domain.
        sequence: Of its bundle.
        roots: Its roots in DER.
        kids: Of its keys for JWT-SVIDs.
        roots_pem: The roots as PEM, the newest first.
        data: Of the ConfigMap in the operator's namespace.
        notes: Its annotation.
        shared: Data of the ConfigMaps in other namespaces.
        foreign: The roots of foreign trust domains as PEM, by name.
        left_out: Why a foreign bundle is not among these, by trust domain.
    """

    issuer: str
    trust_domain: str
    sequence: int
    roots: frozenset[bytes]
    kids: frozenset[str]
    roots_pem: str
    data: Mapping[str, str]
    notes: str
    shared: Mapping[str, str]
    foreign: Mapping[str, str]
    left_out: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class PublishedRoots:
    """What is published already.

    Attributes:
        sequence: Of the bundle.
        roots: In DER.
        kids: Of keys for JWT-SVIDs.
    """

    sequence: int
    roots: frozenset[bytes]
    kids: frozenset[str] = frozenset()

    def is_ahead_of(self, publication: Publication) -> bool:
        """Whether to publish that would be going back: to other keys without a higher number.

        An earlier release publishes no keys for JWT-SVIDs: what it wrote, after a rollback, is no
        reason to withhold them.
        """
        if self.roots == publication.roots and self.kids in {publication.kids, frozenset()}:
            return self.sequence > publication.sequence
        return self.sequence >= publication.sequence


def make_publication(
    issuer: str,
    authorities: AuthoritySet,
    refresh_hint: timedelta,
    foreign: Iterable[ForeignBundle],
    oidc_issuer: str | None = None,
) -> Publication:
    """Make what is to be published.

    Args:
        issuer: Name of the AgentIssuer.
        authorities: Its authorities.
        refresh_hint: How often readers are to look for another bundle.
        foreign: Bundles to stand beside its own, never in it.
        oidc_issuer: URL by which identity providers know it; None if none is to.
    """
    issuing = (der for each in authorities.issuing.values() for der in each.chain_der)
    own, sequence = authorities.bundle, authorities.records.sequence
    # A hint has whole seconds (SPIFFE Trust Domain and Bundle §4.1.2).
    hint = timedelta(seconds=int(refresh_hint.total_seconds()))
    bundle = SpiffeBundle(own, sequence, hint, authorities.jwks)
    document = encode_spiffe_bundle(bundle).decode("ascii")
    roots_pem = _pem(own.der)
    shared = {BUNDLE_DATA: document, ROOTS_DATA: roots_pem}
    data = {
        **shared,
        AUTHORITIES_DATA: _pem(issuing),
        TRUST_DOMAIN_DATA: authorities.trust_domain.name,
        **({} if oidc_issuer is None else {OIDC_DATA: oidc_issuer}),
    }
    beside, kept, left_out = {}, [], {}
    room = _MOST_DATA - sum(map(len, data.values()))
    for each in foreign:
        name = each.bundle.trust_domain.name
        key = federated_data(name)
        if len(key) > _MOST_DATA_KEY:
            left_out[name] = "its trust domain is too long to be a key in a ConfigMap"
        elif len(each.document) > room:
            left_out[name] = (
                f"its document has {len(each.document)} bytes and {room} are left in the "
                "ConfigMap; federate with fewer trust domains in one AgentIssuer"
            )
        else:
            room -= len(each.document)
            beside[key] = each.document
            kept.append(each)
    return Publication(
        issuer=issuer,
        trust_domain=authorities.trust_domain.name,
        sequence=sequence,
        roots=frozenset(own.der),
        kids=frozenset(authorities.jwt_keys),
        roots_pem=roots_pem,
        data={**data, **beside},
        notes=notes_of(kept),
        shared={**shared, **beside},
        foreign={each.bundle.trust_domain.name: _pem(each.bundle.der) for each in kept},
        left_out=left_out,
    )


def published_roots(data: Mapping[str, str]) -> PublishedRoots:
    """Read what the ConfigMap in the operator's namespace publishes.

    Raises:
        InputError: It is no bundle with a sequence.
    """
    trust_domain = TrustDomain.parse(data.get(TRUST_DOMAIN_DATA))
    document = data.get(BUNDLE_DATA, "").encode()
    read = decode_spiffe_bundle(document, trust_domain)
    if read.sequence is None:
        msg = f"SPIFFE bundle: the one of {trust_domain} has no spiffe_sequence"
        raise InputError(msg)
    return PublishedRoots(
        read.sequence, frozenset(read.x509.der), frozenset(JwtBundle.of(read).keys)
    )


def _pem(certificates: Iterable[bytes]) -> str:
    """Each certificate once: the API server refuses a ClusterTrustBundle with duplicates."""
    return b"".join(map(certificate_pem, dict.fromkeys(certificates))).decode()
