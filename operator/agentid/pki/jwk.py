"""Public keys as JSON Web Keys, RFC 7517: the members that say what the key is, and no others."""

from __future__ import annotations

import base64
import binascii
from hashlib import sha256
from typing import TYPE_CHECKING, Final, TypeAlias

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from agentid.errors import InputError
from agentid.identity.quoting import quoted
from agentid.pki.boundary import reading
from agentid.pki.strict_json import canonical

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "KEY_TYPES",
    "PRIVATE_MEMBERS",
    "JwsKey",
    "base64url",
    "base64url_octets",
    "public_jwk",
    "read_jws_key",
    "thumbprint",
]

JwsKey: TypeAlias = ec.EllipticCurvePublicKey | rsa.RSAPublicKey
"""A public key of a kind that verifies JWT-SVIDs."""

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
_CURVE_NAMED: Final[Mapping[str, ec.EllipticCurve]] = {
    "P-256": ec.SECP256R1(),
    "P-384": ec.SECP384R1(),
    "P-521": ec.SECP521R1(),
}
_MAX_RSA_OCTETS: Final = 1024
"""Of a modulus: 8192 bits. Beyond, a key only costs whoever verifies with it."""
_ML_DSA: Final = (
    (mldsa.MLDSA44PublicKey, "ML-DSA-44"),
    (mldsa.MLDSA65PublicKey, "ML-DSA-65"),
    (mldsa.MLDSA87PublicKey, "ML-DSA-87"),
)


def base64url(octets: bytes) -> str:
    """Base64 with the URL-safe alphabet and without padding (RFC 7515 §2)."""
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode("ascii")


def base64url_octets(text: object, *, what: str) -> bytes:
    """What `base64url` wrote; one text for each octets, so that no second one passes for it.

    Raises:
        InputError: It is no such text.
    """
    try:
        padded = str(text) + "=" * (-len(str(text)) % 4)
        octets = base64.b64decode(padded.encode("ascii"), altchars=b"-_", validate=True)
    except (UnicodeEncodeError, binascii.Error):
        octets = b""
    if not isinstance(text, str) or not octets or base64url(octets) != text:
        msg = f"{what} is {quoted(text)}, which is not Base64url without padding (RFC 7515 §2)"
        raise InputError(msg)
    return octets


def thumbprint(key: object) -> bytes:
    """The SHA-256 thumbprint of a public key (RFC 7638), 32 octets.

    Raises:
        InputError: The key has no JWK here.
    """
    # §3.2: the members that say what the key is, in the order of their names.
    return sha256(canonical({**dict(sorted(public_jwk(key).items()))}).encode("ascii")).digest()


def read_jws_key(jwk: Mapping[str, object], *, what: str = "JWK") -> JwsKey:
    """Read the public key of a JWK that can verify a JWT-SVID: EC on a curve of NIST's, or RSA.

    Members that do not say what the key is are not looked at; nor is its strength.

    Raises:
        InputError: It is of another kind, or a member is missing or malformed.
    """
    match jwk:
        case {"kty": "EC", "crv": str(crv)} if crv in _CURVE_NAMED:
            curve, octets = _CURVE_NAMED[crv], (_CURVE_NAMED[crv].key_size + 7) // 8
            x, y = (base64url_octets(jwk.get(name), what=f"{what}: {name}") for name in ("x", "y"))
            if (len(x), len(y)) != (octets, octets):
                msg = f"{what}: a coordinate on {crv} has {octets} octets (RFC 7518 §6.2.1.2)"
                raise InputError(msg)
            with reading(f"{what}: x and y are no point of {crv}"):
                point = ec.EllipticCurvePublicNumbers(int.from_bytes(x), int.from_bytes(y), curve)
                return point.public_key()
        case {"kty": "RSA"}:
            n, e = (base64url_octets(jwk.get(name), what=f"{what}: {name}") for name in ("n", "e"))
            if len(n) > _MAX_RSA_OCTETS:
                msg = f"{what}: its modulus has {len(n)} octets; at most {_MAX_RSA_OCTETS} are read"
                raise InputError(msg)
            with reading(f"{what}: n and e are no RSA key"):
                return rsa.RSAPublicNumbers(int.from_bytes(e), int.from_bytes(n)).public_key()
        case _:
            msg = (
                f"{what}: its kty is {quoted(jwk.get('kty'))}; keys for JWT-SVIDs are EC on P-256, "
                "P-384 or P-521, or RSA"
            )
            raise InputError(msg)


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
