"""Bundles and authorities as they were published, by trust domain and by authority id."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import structlog
from cryptography.hazmat.primitives.serialization import Encoding

from agentid.errors import InputError
from agentid.identity import TrustDomain
from agentid.pki.parse import parse_certificate
from agentid.pki.pem import MAX_BUNDLE_PEM_BYTES, read_blocks
from agentid.pki.spiffe_bundle import decode_spiffe_bundle
from agentid.responder.documents import Document
from agentid.responder.oidc import make_oidc

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cryptography import x509

    from agentid.pki.spiffe_bundle import SpiffeBundle
    from agentid.responder.oidc import OidcDocuments

__all__ = ["BundleShelf", "PublishedBundle", "read_published_bundle"]

_log = structlog.stdlib.get_logger(__name__)

BUNDLE: Final = "bundle.json"
ROOTS: Final = "ca.crt"
AUTHORITIES: Final = "authorities.pem"
TRUST_DOMAIN: Final = "trustDomain"
OIDC_ISSUER: Final = "oidcIssuer"
_FEDERATED: Final = re.compile(r"federated\.(?P<name>.+)\.json", re.ASCII)

DEFAULT_REFRESH_HINT: Final = timedelta(minutes=5)
"""SPIFFE Trust Domain and Bundle §4.1.2 names five minutes where a bundle gives no
`spiffe_refresh_hint`."""

_CERTIFICATE_MAX_AGE: Final = 86_400
"""Seconds that a cache may keep an authority's certificate: its name is made of its key, so other
bytes under one name are rare."""


@dataclass(frozen=True, slots=True)
class PublishedBundle:
    """What an issuer publishes for verifiers.

    Attributes:
        issuer: The AgentIssuer.
        trust_domain: Its name.
        sequence: `spiffe_sequence`, 0 if the bundle has none.
        document: The SPIFFE bundle document.
        oidc: What identity providers read of it.
        federated: Those of foreign trust domains, by their names.
        authorities: Certificates by authority id: roots, and authorities whose leaves may live.
    """

    issuer: str
    trust_domain: str
    sequence: int
    document: Document
    oidc: OidcDocuments
    federated: Mapping[str, Document]
    authorities: Mapping[str, x509.Certificate] = field(repr=False)


def read_published_bundle(issuer: str, data: Mapping[str, str]) -> PublishedBundle:
    """Read what an issuer published.

    Raises:
        InputError: A part that has to be there is missing or malformed; the message names it.
    """
    trust_domain = TrustDomain.parse(data.get(TRUST_DOMAIN))
    what = f"bundle of {issuer}"
    document, bundle = _bundle(data.get(BUNDLE, ""), trust_domain, what)
    try:
        oidc = make_oidc(bundle.jwt_keys, data.get(OIDC_ISSUER), document.max_age)
    except InputError as error:
        msg = f"{what}: {error}"
        raise InputError(msg) from error
    federated = {}
    for name, text in data.items():
        if (found := _FEDERATED.fullmatch(name)) is not None:
            foreign = TrustDomain.parse(found["name"])
            what = f"bundle of {foreign} beside {issuer}"
            federated[foreign.name], _ = _bundle(text, foreign, what)
    authorities = dict(_authorities(data.get(ROOTS, ""), f"{ROOTS} of {issuer}"))
    authorities.update(_authorities(data.get(AUTHORITIES, ""), f"{AUTHORITIES} of {issuer}"))
    return PublishedBundle(
        issuer,
        trust_domain.name,
        bundle.sequence or 0,
        document,
        oidc,
        federated,
        authorities,
    )


def _bundle(text: str, trust_domain: TrustDomain, what: str) -> tuple[Document, SpiffeBundle]:
    """The document as it was published, once it was read strictly."""
    document = text.encode()
    try:
        bundle = decode_spiffe_bundle(document, trust_domain)
    except InputError as error:
        msg = f"{what}: {error}"
        raise InputError(msg) from error
    hint = DEFAULT_REFRESH_HINT if bundle.refresh_hint is None else bundle.refresh_hint
    seconds = int(hint.total_seconds())
    return Document(document, "application/json", None, None, seconds), bundle


def _authorities(pem: str, what: str) -> Iterator[tuple[str, x509.Certificate]]:
    if not pem.strip():
        return
    for block in read_blocks(pem.encode(), what=what, limit=MAX_BUNDLE_PEM_BYTES):
        certificate, view = parse_certificate(block.der, what=what)
        if not view.subject_key_identifier:
            msg = f"{what}: an authority has no subjectKeyIdentifier (RFC 5280 §4.2.1.2)"
            raise InputError(msg)
        yield view.subject_key_identifier[:8].hex(), certificate


class BundleShelf:
    """All bundles that are served, and the authorities in them."""

    def __init__(self) -> None:
        self._bundles: dict[str, PublishedBundle] = {}
        self._sequences: dict[str, int] = {}
        self._certificates: dict[str, Document] = {}
        self.authorities: dict[str, x509.Certificate] = {}

    def publish(self, issuer: str, data: Mapping[str, str]) -> None:
        """Serve this bundle from now on.

        Raises:
            InputError: It cannot be served; what was served before still is.
        """
        bundle = read_published_bundle(issuer, data)
        served = self._sequences.get(bundle.trust_domain, 0)
        if bundle.sequence < served:
            msg = (
                f"bundle of {issuer}: spiffe_sequence {bundle.sequence} is published and {served} "
                "has been served; a sequence never goes back"
            )
            raise InputError(msg)
        owner = self.by_trust_domain(bundle.trust_domain)
        if owner is not None and owner.issuer != issuer:
            msg = (
                f"bundle of {issuer}: trust domain {bundle.trust_domain} is served for "
                f"{owner.issuer}; bundles are never merged, so give each issuer its own"
            )
            raise InputError(msg)
        self._sequences[bundle.trust_domain] = bundle.sequence
        self._bundles[issuer] = bundle
        self._index()

    def withdraw(self, issuer: str) -> None:
        """The issuer publishes no bundle any more."""
        bundle = self._bundles.pop(issuer, None)
        if bundle is not None:
            # Whoever makes the issuer anew may begin to count anew.
            del self._sequences[bundle.trust_domain]
            _log.info("bundle_dropped", issuer=issuer)
            self._index()

    def _index(self) -> None:
        self.authorities = {
            name: certificate
            for bundle in self._bundles.values()
            for name, certificate in bundle.authorities.items()
        }
        self._certificates = {
            name: Document(
                certificate.public_bytes(Encoding.DER),
                "application/pkix-cert",  # RFC 5280 §4.2.2.1: a single DER encoded certificate
                None,
                None,
                _CERTIFICATE_MAX_AGE,
            )
            for name, certificate in self.authorities.items()
        }

    def __iter__(self) -> Iterator[PublishedBundle]:
        """All bundles."""
        return iter(self._bundles.values())

    def by_trust_domain(self, name: str) -> PublishedBundle | None:
        """The bundle of a trust domain."""
        found = (one for one in self._bundles.values() if one.trust_domain == name)
        return next(found, None)

    def by_oidc_host(self, host: str) -> PublishedBundle | None:
        """The bundle whose documents for identity providers are at the root of a host."""
        wanted = host.lower().removesuffix(":443")
        found = (one for one in self._bundles.values() if one.oidc.host == wanted != "")
        return next(found, None)

    def certificate(self, authority: str) -> Document | None:
        """The certificate of an authority, by its id."""
        return self._certificates.get(authority)
