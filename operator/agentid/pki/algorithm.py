"""The key algorithms that agentid offers."""

from __future__ import annotations

from enum import StrEnum

from cryptography.hazmat.primitives import hashes

__all__ = ["KeyAlgorithm"]


class KeyAlgorithm(StrEnum):
    """A key algorithm, spelled as PodCertificateRequest spells its key types.

    PodCertificateRequest knows no ML-DSA yet; those are spelled alike.
    """

    ECDSAP256 = "ECDSAP256"
    ECDSAP384 = "ECDSAP384"
    ECDSAP521 = "ECDSAP521"
    ED25519 = "ED25519"
    RSA3072 = "RSA3072"
    RSA4096 = "RSA4096"
    MLDSA44 = "MLDSA44"
    MLDSA65 = "MLDSA65"
    MLDSA87 = "MLDSA87"

    @property
    def is_pod_key_type(self) -> bool:
        """Whether a kubelet makes such keys, for a PodCertificateRequest."""
        return self not in _NO_POD_KEY_TYPES

    @property
    def strength_bits(self) -> int:
        """Security strength in bits.

        From NIST SP 800-57 part 1 rev. 5, table 2; the size that table leaves out, RSA 4096, from
        SP 800-56B rev. 2, table 4. Ed25519: RFC 8032 §1. ML-DSA: FIPS 204 table 1, the collision
        strength λ; its categories 2, 3 and 5 are those of a search for collisions of SHA-256 and
        for keys of AES-192 and AES-256, by quantum computers as well, which the others are not.
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


_NO_POD_KEY_TYPES = frozenset({KeyAlgorithm.MLDSA44, KeyAlgorithm.MLDSA65, KeyAlgorithm.MLDSA87})

_STRENGTH_BITS = {
    KeyAlgorithm.ECDSAP256: 128,
    KeyAlgorithm.ECDSAP384: 192,
    KeyAlgorithm.ECDSAP521: 256,
    KeyAlgorithm.ED25519: 128,
    KeyAlgorithm.RSA3072: 128,
    KeyAlgorithm.RSA4096: 152,
    KeyAlgorithm.MLDSA44: 128,
    KeyAlgorithm.MLDSA65: 192,
    KeyAlgorithm.MLDSA87: 256,
}

_DISPLAY_NAMES = {
    KeyAlgorithm.ECDSAP256: "ECDSA P-256",
    KeyAlgorithm.ECDSAP384: "ECDSA P-384",
    KeyAlgorithm.ECDSAP521: "ECDSA P-521",
    KeyAlgorithm.ED25519: "Ed25519",
    KeyAlgorithm.RSA3072: "RSA 3072",
    KeyAlgorithm.RSA4096: "RSA 4096",
    KeyAlgorithm.MLDSA44: "ML-DSA-44",
    KeyAlgorithm.MLDSA65: "ML-DSA-65",
    KeyAlgorithm.MLDSA87: "ML-DSA-87",
}

_HASHES = {
    KeyAlgorithm.ECDSAP256: hashes.SHA256(),
    KeyAlgorithm.ECDSAP384: hashes.SHA384(),
    KeyAlgorithm.ECDSAP521: hashes.SHA512(),
    KeyAlgorithm.ED25519: None,
    KeyAlgorithm.RSA3072: hashes.SHA256(),
    KeyAlgorithm.RSA4096: hashes.SHA256(),
    KeyAlgorithm.MLDSA44: None,
    KeyAlgorithm.MLDSA65: None,
    KeyAlgorithm.MLDSA87: None,
}
