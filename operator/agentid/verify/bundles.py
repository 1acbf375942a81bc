"""Whom a verifier trusts: a bundle for each trust domain, never merged."""

from __future__ import annotations

import base64
import binascii
import json
from typing import TYPE_CHECKING, Final

from agentid.errors import InputError
from agentid.identity.quoting import quoted
from agentid.pki.bundle import X509Bundle
from agentid.pki.load import read_certificates
from agentid.pki.parse import parse_certificate
from agentid.pki.path import PathCertificate
from agentid.pki.pem import MAX_BUNDLE_PEM_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cryptography import x509

    from agentid.identity import TrustDomain

__all__ = ["BundleSet", "read_bundle"]

_MAX_AUTHORITIES: Final = 64
"""Roots of one trust domain: one, two during a rotation, and room for trust domains of others."""

_X509_USE: Final = "x509-svid"


class BundleSet:
    """The bundles of several trust domains, each read once.

    A leaf is held against the bundle of its own trust domain and no other. None at all trusts
    nobody.
    """

    __slots__ = ("_anchors",)

    def __init__(self, bundles: Iterable[X509Bundle]) -> None:
        """Read the authorities.

        Raises:
            InputError: A trust domain has two bundles, or an authority does not parse.
        """
        self._anchors: dict[TrustDomain, tuple[PathCertificate, ...]] = {}
        for bundle in bundles:
            domain = bundle.trust_domain
            if domain in self._anchors:
                msg = (
                    f"bundles: there are two of the trust domain {domain}; give one, "
                    "with every authority that is trusted"
                )
                raise InputError(msg)
            self._anchors[domain] = tuple(
                PathCertificate.of(authority, what=f"bundle of {domain}, authority {at}")
                for at, authority in enumerate(bundle.authorities, start=1)
            )

    @property
    def trust_domains(self) -> tuple[TrustDomain, ...]:
        """Those that there is a bundle of, in the order given."""
        return tuple(self._anchors)

    def anchors(self, trust_domain: TrustDomain) -> tuple[PathCertificate, ...] | None:
        """The authorities of a trust domain, or None if there is no bundle of it."""
        return self._anchors.get(trust_domain)

    def __repr__(self) -> str:
        """How many authorities are trusted for whom."""
        counts = (f"{domain}: {len(anchors)}" for domain, anchors in self._anchors.items())
        return f"BundleSet({', '.join(counts)})"


def read_bundle(data: bytes, trust_domain: TrustDomain, *, what: str = "bundle") -> X509Bundle:
    """Read a bundle from PEM or from a SPIFFE bundle document (JSON).

    Of a document, the keys for X.509 are read and others passed over (SPIFFE Trust Domain and
    Bundle §4.2); an empty list trusts nobody, which is how a trust domain revokes everything.

    Args:
        data: Bytes from outside, at most 1 MiB.
        trust_domain: Whose it is: neither format says it.
        what: How messages name it.

    Raises:
        InputError: It is neither, holds more than 64 certificates, or one does not parse.
    """
    if data.lstrip()[:1] == b"{":
        return X509Bundle(trust_domain, tuple(_document_certificates(data, what)))
    authorities = read_certificates(
        data, what=what, limit=MAX_BUNDLE_PEM_BYTES, most=_MAX_AUTHORITIES
    )
    return X509Bundle(trust_domain, tuple(authorities))


def _document_certificates(data: bytes, what: str) -> list[x509.Certificate]:
    if len(data) > MAX_BUNDLE_PEM_BYTES:
        msg = f"{what} has {len(data)} bytes, at most {MAX_BUNDLE_PEM_BYTES} are read"
        raise InputError(msg)
    try:
        document: object = json.loads(data)
    except (ValueError, RecursionError) as error:
        msg = f"{what}: it is no JSON; give a SPIFFE bundle document, or certificates in PEM"
        raise InputError(msg) from error
    match document:
        case {"keys": [*keys]}:
            pass
        case _:
            msg = f"{what}: it has no list of keys; give a SPIFFE bundle document"
            raise InputError(msg)
    found: list[x509.Certificate] = []
    for at, key in enumerate(keys, start=1):
        match key:
            case {"use": str(use)} if use == _X509_USE:
                position = f"{what}, key {at}"
                found.append(parse_certificate(_x5c(key, position), what=position)[0])
            case _:
                continue  # a key for JWT-SVIDs, or of a use that is unknown
    if len(found) > _MAX_AUTHORITIES:
        msg = f"{what}: it has {len(found)} authorities, at most {_MAX_AUTHORITIES} are read"
        raise InputError(msg)
    return found


def _x5c(key: object, what: str) -> bytes:
    match key:
        case {"x5c": [str(text)]}:
            try:
                return base64.b64decode(text, validate=True)
            except (binascii.Error, ValueError) as error:
                msg = f"{what}: x5c {quoted(text)} is not Base64"
                raise InputError(msg) from error
        case _:
            msg = f"{what}: x5c is not a list of exactly one certificate"
            raise InputError(msg)
