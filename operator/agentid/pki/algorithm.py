"""The key algorithms that agentid offers."""

from __future__ import annotations

from enum import StrEnum

from cryptography.hazmat.primitives import hashes

__all__ = ["KeyAlgorithm"]


class KeyAlgorithm(StrEnum):
    """A key algorithm, spelled as PodCertificateRequest spells its key types."""

    ECDSAP256 = "ECDSAP256"
    ECDSAP384 = "ECDSAP384"
    ECDSAP521 = "ECDSAP521"
    ED25519 = "ED25519"
    RSA3072 = "RSA3072"
    RSA4096 = "RSA4096"

    @property
    def strength_bits(self) -> int:
        """Security strength in bits.

        From NIST SP 800-57 part 1 rev. 5, table 2; the size that table leaves out, RSA 4096, from
        SP 800-56B rev. 2, table 4. Ed25519: RFC 8032 §1.
        """
        return _STRENGTH_BITS[self]

    @property
    def display_name(self) -> str:
        """The name as people write it, such as `ECDSA P-256`."""
        return _DISPLAY_NAMES[self]

    @property
    def signature_hash(self) -> hashes.SHA256 | hashes.SHA384 | hashes.SHA512 | None:
        """The hash that a key of this algorithm signs with, or None where it hashes by itself.

        As strong as the key, and the one that RFC 5758 §3.2 and CA profiles pair with the curve.
        """
        return _HASHES[self]


_STRENGTH_BITS = {
    KeyAlgorithm.ECDSAP256: 128,
    KeyAlgorithm.ECDSAP384: 192,
    KeyAlgorithm.ECDSAP521: 256,
    KeyAlgorithm.ED25519: 128,
    KeyAlgorithm.RSA3072: 128,
    KeyAlgorithm.RSA4096: 152,
}

_DISPLAY_NAMES = {
    KeyAlgorithm.ECDSAP256: "ECDSA P-256",
    KeyAlgorithm.ECDSAP384: "ECDSA P-384",
    KeyAlgorithm.ECDSAP521: "ECDSA P-521",
    KeyAlgorithm.ED25519: "Ed25519",
    KeyAlgorithm.RSA3072: "RSA 3072",
    KeyAlgorithm.RSA4096: "RSA 4096",
}

_HASHES = {
    KeyAlgorithm.ECDSAP256: hashes.SHA256(),
    KeyAlgorithm.ECDSAP384: hashes.SHA384(),
    KeyAlgorithm.ECDSAP521: hashes.SHA512(),
    KeyAlgorithm.ED25519: None,
    KeyAlgorithm.RSA3072: hashes.SHA256(),
    KeyAlgorithm.RSA4096: hashes.SHA256(),
}
