"""Whom a verifier trusts: a bundle for each trust domain, never merged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agentid.errors import InputError
from agentid.pki.bundle import X509Bundle
from agentid.pki.load import read_certificates
from agentid.pki.path import PathCertificate
from agentid.pki.pem import MAX_BUNDLE_PEM_BYTES
from agentid.pki.spiffe_bundle import decode_spiffe_bundle

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agentid.identity import TrustDomain

__all__ = ["BundleSet", "read_bundle"]

_MAX_AUTHORITIES: Final = 64
"""Roots of one trust domain: one, two during a rotation, and room for trust domains of others."""


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

    Of a document, the keys for X.509-SVIDs count; an empty list trusts nobody, which is how a trust
    domain takes everything back.

    Args:
        data: Bytes from outside, at most 1 MiB.
        trust_domain: Whose it is: neither format says it.
        what: How messages name it.

    Raises:
        InputError: It is neither, holds too many certificates, or one does not parse.
    """
    if data.lstrip()[:1] == b"{":
        try:
            return decode_spiffe_bundle(data, trust_domain).x509
        except InputError as error:
            msg = f"{what}: {error}"
            raise InputError(msg) from error
    authorities = read_certificates(
        data, what=what, limit=MAX_BUNDLE_PEM_BYTES, most=_MAX_AUTHORITIES
    )
    return X509Bundle(trust_domain, tuple(authorities))
