"""Compact JWS (RFC 7515) with the algorithms that JWT-SVID §2.1 allows, and no others.

Made and verified by the primitives of `cryptography`: what a library for JWTs would add is a choice
of algorithms, and a verifier of SVIDs must have none. There is no `none`, no HMAC, no EdDSA here.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)

from agentid.errors import InputError, VerificationError, VerificationReason
from agentid.pki.algorithm import KeyAlgorithm
from agentid.pki.boundary import LIBRARY_ERRORS
from agentid.pki.jwk import base64url
from agentid.pki.strength import KeyPolicy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentid.pki.jwk import JwsKey
    from agentid.pki.signer import Signer

__all__ = ["JwsAlgorithm", "JwtAlgorithm", "check_jws", "jws_algorithm_of", "sign_jws"]


class JwsAlgorithm(StrEnum):
    """The values of `alg` that a JWT-SVID may have (JWT-SVID §2.1, RFC 7518 §3.1)."""

    RS256 = "RS256"
    RS384 = "RS384"
    RS512 = "RS512"
    ES256 = "ES256"
    ES384 = "ES384"
    ES512 = "ES512"
    PS256 = "PS256"
    PS384 = "PS384"
    PS512 = "PS512"


class JwtAlgorithm(StrEnum):
    """The algorithms that agentid signs JWT-SVIDs with; every verifier of SVIDs knows both."""

    ES256 = "ES256"
    """ECDSA on P-256 with SHA-256."""
    ES384 = "ES384"
    """ECDSA on P-384 with SHA-384."""

    @property
    def key_algorithm(self) -> KeyAlgorithm:
        """The key that goes with it."""
        return KeyAlgorithm.ECDSAP256 if self is JwtAlgorithm.ES256 else KeyAlgorithm.ECDSAP384


_HASHES: Final[Mapping[str, hashes.HashAlgorithm]] = {
    "256": hashes.SHA256(),
    "384": hashes.SHA384(),
    "512": hashes.SHA512(),
}
# RFC 7518 §3.4: each algorithm has one curve.
_CURVES: Final[Mapping[str, tuple[JwsAlgorithm, int]]] = {
    "secp256r1": (JwsAlgorithm.ES256, 32),
    "secp384r1": (JwsAlgorithm.ES384, 48),
    "secp521r1": (JwsAlgorithm.ES512, 66),
}
_KEYS: Final = KeyPolicy(min_rsa_bits=2048)
"""RFC 7518 §3.3 and §3.5 require 2048 bits; issuing authorities of others have that many."""


def jws_algorithm_of(key: JwsKey) -> JwsAlgorithm | None:
    """The one algorithm of an elliptic key; None for RSA, which has six, or an unlisted curve."""
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in _CURVES:
        return _CURVES[key.curve.name][0]
    return None


def sign_jws(header: bytes, payload: bytes, signer: Signer) -> str:
    """A compact JWS over a header and a payload, both JSON; the header names what the signer does.

    Args:
        header: It has to name the algorithm of the signer's key.
        payload: What is signed.
        signer: Of an ECDSA key.

    Raises:
        InputError: The signer's key is none of ECDSA.
        UnavailableError: The signer's key is away just now.
    """
    octets = _COORDINATES.get(signer.algorithm)
    if octets is None:
        msg = f"a key of {signer.algorithm.display_name} signs no JWT-SVID; use ECDSA"
        raise InputError(msg)
    signed = f"{base64url(header)}.{base64url(payload)}"
    # RFC 7518 §3.4: R and S as octets of full length, where certificates have DER.
    r, s = decode_dss_signature(signer.sign(signed.encode("ascii")))
    return f"{signed}.{base64url(r.to_bytes(octets) + s.to_bytes(octets))}"


_COORDINATES: Final = {
    KeyAlgorithm.ECDSAP256: 32,
    KeyAlgorithm.ECDSAP384: 48,
    KeyAlgorithm.ECDSAP521: 66,
}


def check_jws(signed: bytes, signature: bytes, algorithm: JwsAlgorithm, key: JwsKey) -> None:
    """Verify a signature.

    Args:
        signed: Header and payload in Base64url, joined by a dot.
        signature: As RFC 7518 §3 has it.
        algorithm: That the header names.
        key: That `kid` names.

    Raises:
        VerificationError: BadSignature, also where the key is none of the algorithm; WeakKey.
    """
    _KEYS.check(key, what="the key of the token")
    try:
        _verify(signed, signature, algorithm, key)
    except (InvalidSignature, *LIBRARY_ERRORS) as error:
        msg = f"the signature of the token does not verify as {algorithm} under the key it names"
        raise VerificationError(VerificationReason.BAD_SIGNATURE, msg) from error


def _verify(signed: bytes, signature: bytes, algorithm: JwsAlgorithm, key: JwsKey) -> None:
    digest = _HASHES[algorithm.value[2:]]
    if isinstance(key, rsa.RSAPublicKey):
        # RFC 7518 §3.5: the salt is as long as the hash, and MGF1 uses the same.
        pads: dict[str, padding.AsymmetricPadding] = {
            "RS": padding.PKCS1v15(),
            "PS": padding.PSS(padding.MGF1(digest), digest.digest_size),
        }
        pad = pads.get(algorithm.value[:2])
        if pad is None:
            raise InvalidSignature
        key.verify(signature, signed, pad, digest)
        return
    named, octets = _CURVES[key.curve.name]
    if named is not algorithm or len(signature) != 2 * octets:
        raise InvalidSignature
    r, s = int.from_bytes(signature[:octets]), int.from_bytes(signature[octets:])
    key.verify(encode_dss_signature(r, s), signed, ec.ECDSA(digest))
