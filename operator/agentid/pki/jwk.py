"""Public keys as JSON Web Keys, RFC 7517: the members that say what the key is, and no others."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from agentid.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["KEY_TYPES", "PRIVATE_MEMBERS", "base64url", "public_jwk"]

KEY_TYPES: Final = frozenset({"EC", "RSA", "OKP", "AKP"})
"""The values of `kty` that are understood: RFC 7518 §6.1, RFC 8037 §2, RFC 9964 (ML-DSA)."""

PRIVATE_MEMBERS: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "priv"})
"""The members that only a private key has (RFC 7518 §6.2.2 and §6.3.2, RFC 8037 §2, RFC 9964)."""

# RFC 7518 §6.2.1: the name, and the octets of a coordinate, leading zeros included.
_CURVES: Final[Mapping[str, tuple[str, int]]] = {
    "secp256r1": ("P-256", 32),
    "secp384r1": ("P-384", 48),
    "secp521r1": ("P-521", 66),
}
_ML_DSA: Final = (
    (mldsa.MLDSA44PublicKey, "ML-DSA-44"),
    (mldsa.MLDSA65PublicKey, "ML-DSA-65"),
    (mldsa.MLDSA87PublicKey, "ML-DSA-87"),
)


def base64url(octets: bytes) -> str:
    """Base64 with the URL-safe alphabet and without padding (RFC 7515 §2)."""
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode("ascii")


def public_jwk(key: object) -> dict[str, str]:
    """`kty` and the members that go with it.

    The strength of the key is not judged: it may be that of somebody else's authority.

    Raises:
        InputError: The key is of a kind or on a curve that has no JWK here.
    """
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in _CURVES:
        curve, octets = _CURVES[key.curve.name]
        numbers = key.public_numbers()
        return {
            "kty": "EC",
            "crv": curve,
            "x": base64url(numbers.x.to_bytes(octets)),
            "y": base64url(numbers.y.to_bytes(octets)),
        }
    if isinstance(key, rsa.RSAPublicKey):
        public = key.public_numbers()
        return {"kty": "RSA", "n": _unsigned(public.n), "e": _unsigned(public.e)}
    if isinstance(key, ed25519.Ed25519PublicKey):
        raw = key.public_bytes(Encoding.Raw, PublicFormat.Raw)
        return {"kty": "OKP", "crv": "Ed25519", "x": base64url(raw)}
    for kind, algorithm in _ML_DSA:
        if isinstance(key, kind):
            raw = key.public_bytes(Encoding.Raw, PublicFormat.Raw)
            return {"kty": "AKP", "alg": algorithm, "pub": base64url(raw)}
    msg = (
        f"JWK: a key of type {type(key).__name__} cannot be written; use ECDSA P-256, P-384 or "
        "P-521, Ed25519, RSA or ML-DSA"
    )
    raise InputError(msg)


def _unsigned(number: int) -> str:
    """RFC 7518 §2, Base64urlUInt: big endian, in as few octets as possible."""
    return base64url(number.to_bytes((number.bit_length() + 7) // 8))
