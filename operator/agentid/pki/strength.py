"""Which keys and signatures a verifier accepts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, padding, rsa

from agentid.errors import InputError, VerificationError, VerificationReason
from agentid.pki.boundary import LIBRARY_ERRORS
from agentid.pki.keys import check_public_key
from agentid.pki.weak_rsa import rsa_weakness

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes

__all__ = ["STRICT_KEYS", "KeyPolicy", "check_signature"]

_HASHES: Final = frozenset({"sha256", "sha384", "sha512"})
_RSA_EXPONENT: Final = 65537

# It takes longer than a signature, and authorities are asked about with every leaf of theirs.
_rsa_weakness = lru_cache(maxsize=256)(rsa_weakness)

_ML_DSA: Final = (
    mldsa.MLDSA44PublicKey,
    mldsa.MLDSA65PublicKey,
    mldsa.MLDSA87PublicKey,
)
# The algorithms that hash by themselves: which OID belongs to which key (RFC 8410 §3, RFC 9881 §2).
_PURE: Final[dict[type[object], str]] = {
    ed25519.Ed25519PublicKey: "1.3.101.112",
    mldsa.MLDSA44PublicKey: "2.16.840.1.101.3.4.3.17",
    mldsa.MLDSA65PublicKey: "2.16.840.1.101.3.4.3.18",
    mldsa.MLDSA87PublicKey: "2.16.840.1.101.3.4.3.19",
}


@dataclass(frozen=True, slots=True)
class KeyPolicy:
    """The keys that a verifier accepts in a chain, trust anchor included.

    ECDSA on P-256, P-384 and P-521, Ed25519 and ML-DSA are accepted always, and signatures over
    SHA-256, SHA-384 and SHA-512; RSA keys as the attributes say.

    Attributes:
        min_rsa_bits: 3072 bits have the strength of P-256 (NIST SP 800-57 part 1, table 2). A
            corporate root with 2048 bits needs 2048 here.
        max_rsa_bits: A bound on the work that a chain can make.
    """

    min_rsa_bits: int = 3072
    max_rsa_bits: int = 8192

    def check(self, key: object, *, what: str) -> None:
        """Accept a key.

        Raises:
            VerificationError: WeakKey; it is weak, or of an algorithm that is not listed.
        """
        try:
            if isinstance(key, rsa.RSAPublicKey):
                self._check_rsa(key)
            else:
                check_public_key(key, what="its key")
        except InputError as error:
            msg = f"{what}: {error}"
            raise VerificationError(VerificationReason.WEAK_KEY, msg) from error

    def _check_rsa(self, key: rsa.RSAPublicKey) -> None:
        if not self.min_rsa_bits <= key.key_size <= self.max_rsa_bits:
            msg = (
                f"its RSA key has {key.key_size} bits; {self.min_rsa_bits} to {self.max_rsa_bits} "
                "are accepted"
            )
            raise InputError(msg)
        numbers = key.public_numbers()
        if numbers.e != _RSA_EXPONENT:
            msg = "the exponent of its RSA key is not 65537"
            raise InputError(msg)
        if weakness := _rsa_weakness(numbers.n):
            msg = f"its RSA key is weak: {weakness}"
            raise InputError(msg)


STRICT_KEYS: Final = KeyPolicy()
"""What agentid issues, and nothing weaker."""


def check_signature(signed: x509.Certificate | x509.CertificateRevocationList, key: object) -> None:
    """Verify the signature of a certificate or a CRL under a key.

    Neither names nor validity are looked at, and the key is taken as it is.

    Args:
        signed: What was signed.
        key: The public key that should have signed it.

    Raises:
        VerificationError: BadSignature, or WeakKey if the signature is over a weak hash.
    """
    try:
        digest = signed.signature_hash_algorithm
        if digest is not None and digest.name not in _HASHES:
            msg = f"it is signed over {digest.name}; SHA-256 or better is accepted"
            raise VerificationError(VerificationReason.WEAK_KEY, msg)
        _verify(signed, key, digest)
    except (InvalidSignature, InputError, *LIBRARY_ERRORS) as error:
        msg = "its signature is not one of its issuer; it was altered, or signed by somebody else"
        raise VerificationError(VerificationReason.BAD_SIGNATURE, msg) from error


def _verify(
    signed: x509.Certificate | x509.CertificateRevocationList,
    key: object,
    digest: hashes.HashAlgorithm | None,
) -> None:
    data = (
        signed.tbs_certlist_bytes
        if hasattr(signed, "tbs_certlist_bytes")
        else signed.tbs_certificate_bytes
    )
    parameters = signed.signature_algorithm_parameters
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(parameters, ec.ECDSA):
        key.verify(signed.signature, data, parameters)
    elif (
        isinstance(key, rsa.RSAPublicKey)
        and isinstance(parameters, padding.PKCS1v15 | padding.PSS)
        and digest is not None
    ):
        key.verify(signed.signature, data, parameters, digest)
    elif (
        isinstance(key, (ed25519.Ed25519PublicKey, *_ML_DSA))
        and _algorithm_of(key) == signed.signature_algorithm_oid.dotted_string
    ):
        key.verify(signed.signature, data)
    else:
        msg = "the algorithm of the signature is not that of the key"
        raise InputError(msg)


def _algorithm_of(key: object) -> str | None:
    return next((oid for kind, oid in _PURE.items() if isinstance(key, kind)), None)
