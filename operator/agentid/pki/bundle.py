"""The X.509 bundle of one trust domain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.serialization import Encoding

from agentid.pki.pem import certificate_pem

if TYPE_CHECKING:
    from cryptography import x509

    from agentid.identity import TrustDomain

__all__ = ["X509Bundle"]


@dataclass(frozen=True, slots=True)
class X509Bundle:
    """The authorities that a verifier in this trust domain trusts; never merged across domains.

    Attributes:
        trust_domain: Whose they are.
        authorities: The root certificates, the newest first. None at all means: trust nothing.
    """

    trust_domain: TrustDomain
    authorities: tuple[x509.Certificate, ...]

    @property
    def pem(self) -> bytes:
        """The authorities as PEM, one after the other."""
        return b"".join(certificate_pem(der) for der in self.der)

    @property
    def der(self) -> tuple[bytes, ...]:
        """Each authority as DER."""
        return tuple(authority.public_bytes(Encoding.DER) for authority in self.authorities)
