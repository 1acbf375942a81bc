"""Private and public keys: made, written, read, and refused when weak."""

from __future__ import annotations

from typing import Final, TypeAlias

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, padding, rsa

from agentid.errors import InputError
from agentid.pki.algorithm import KeyAlgorithm
from agentid.pki.boundary import reading
from agentid.pki.pem import MAX_KEY_PEM_BYTES, read_blocks
from agentid.pki.weak_rsa import rsa_weakness

__all__ = [
    "MAX_PUBLIC_KEY_BYTES",
    "MlDsaPrivateKey",
    "MlDsaPublicKey",
    "PrivateKey",
    "PublicKey",
    "check_public_key",
    "generate",
    "load_private_key",
    "load_public_key",
    "public_key_der",
    "to_pkcs8_pem",
    "verify_signature",
]

MlDsaPrivateKey: TypeAlias = (
    mldsa.MLDSA44PrivateKey | mldsa.MLDSA65PrivateKey | mldsa.MLDSA87PrivateKey
)
"""An ML-DSA private key; each size is a class of its own."""

MlDsaPublicKey: TypeAlias = mldsa.MLDSA44PublicKey | mldsa.MLDSA65PublicKey | mldsa.MLDSA87PublicKey
"""An ML-DSA public key."""

PrivateKey: TypeAlias = (
    ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey | MlDsaPrivateKey
)
"""A private key of one of the listed algorithms; its `repr` shows nothing of it."""

PublicKey: TypeAlias = (
    ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey | MlDsaPublicKey
)
"""A public key of one of the kinds that can be listed; `check_public_key` says whether it is."""

MAX_PUBLIC_KEY_BYTES: Final = 4096
"""A SubjectPublicKeyInfo in DER: RSA 4096 takes 550 bytes; ML-DSA-87, the largest, 2614.
A modulus that fills it has 32 kbit, and is refused before anything is computed with it."""

_CURVES: Final[dict[str, tuple[KeyAlgorithm, ec.EllipticCurve]]] = {
    "secp256r1": (KeyAlgorithm.ECDSAP256, ec.SECP256R1()),
    "secp384r1": (KeyAlgorithm.ECDSAP384, ec.SECP384R1()),
    "secp521r1": (KeyAlgorithm.ECDSAP521, ec.SECP521R1()),
}
_CURVE_OF: Final = dict(_CURVES.values())
_ML_DSA_PRIVATE: Final[dict[KeyAlgorithm, type[MlDsaPrivateKey]]] = {
    KeyAlgorithm.MLDSA44: mldsa.MLDSA44PrivateKey,
    KeyAlgorithm.MLDSA65: mldsa.MLDSA65PrivateKey,
    KeyAlgorithm.MLDSA87: mldsa.MLDSA87PrivateKey,
}
_OF_ONE_SIZE: Final = (
    (ed25519.Ed25519PublicKey, KeyAlgorithm.ED25519),
    (mldsa.MLDSA44PublicKey, KeyAlgorithm.MLDSA44),
    (mldsa.MLDSA65PublicKey, KeyAlgorithm.MLDSA65),
    (mldsa.MLDSA87PublicKey, KeyAlgorithm.MLDSA87),
)
_RSA_SIZES: Final = {3072: KeyAlgorithm.RSA3072, 4096: KeyAlgorithm.RSA4096}

# FIPS 186-5 §5.1 allows odd exponents above 2^16; all software makes this one, and others only cost
# the verifier time.
_RSA_EXPONENT: Final = 65537

_ALLOWED: Final = "ECDSA P-256, P-384 or P-521, Ed25519, RSA 3072 or 4096, ML-DSA-44, 65 or 87"
_PRIVATE_LABELS: Final = frozenset({"PRIVATE KEY", "EC PRIVATE KEY", "RSA PRIVATE KEY"})


def generate(algorithm: KeyAlgorithm) -> PrivateKey:
    """A new private key from the operating system's randomness.

    An elliptic key takes microseconds, an ML-DSA key some hundreds of them. An RSA key takes a
    tenth of a second to a few seconds of CPU: run it in a thread when an event loop waits.
    """
    if algorithm is KeyAlgorithm.ED25519:
        return ed25519.Ed25519PrivateKey.generate()
    if curve := _CURVE_OF.get(algorithm):
        return ec.generate_private_key(curve)
    if lattice := _ML_DSA_PRIVATE.get(algorithm):
        return lattice.generate()
    bits = 3072 if algorithm is KeyAlgorithm.RSA3072 else 4096
    return rsa.generate_private_key(_RSA_EXPONENT, bits)


def to_pkcs8_pem(key: PrivateKey) -> bytes:
    """The key as unencrypted PKCS#8 in PEM (RFC 5958, RFC 7468 §10). A secret: do not log it.

    Of an ML-DSA key it holds the seed alone, which RFC 9881 §6 recommends.
    """
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def public_key_der(key: PublicKey) -> bytes:
    """The key as a SubjectPublicKeyInfo in DER."""
    return key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def load_private_key(pem: bytes, *, what: str = "private key") -> PrivateKey:
    """Read one unencrypted private key from PEM: PKCS#8, or the older EC and RSA forms.

    Args:
        pem: Bytes from outside, at most 16 KiB.
        what: How messages name the data; the key itself never stands in a message.

    Raises:
        InputError: The bytes are not that, or the key is weak or of an algorithm not listed.
    """
    blocks = read_blocks(pem, what=what, limit=MAX_KEY_PEM_BYTES)
    labels = ", ".join(block.label for block in blocks)
    if len(blocks) != 1 or blocks[0].label not in _PRIVATE_LABELS:
        encrypted = "; decrypt it first" if "ENCRYPTED" in labels else ""
        msg = (
            f"{what}: found PEM {labels}, but exactly one unencrypted PRIVATE KEY is wanted"
            f"{encrypted}"
        )
        raise InputError(msg)
    with reading(
        f"{what}: the private key does not parse, so it is cut short or altered, or its algorithm "
        f"is not one of {_ALLOWED}; restore it from where it came"
    ):
        key = serialization.load_der_private_key(blocks[0].der, password=None)
        public_key = key.public_key()
    check_public_key(public_key, what=what)
    if not isinstance(key, PrivateKey):  # never so: its public key was listed
        msg = f"{what}: a {type(key).__name__} is not one of {_ALLOWED}"
        raise InputError(msg)
    return key


def load_public_key(der: bytes, *, what: str = "public key") -> PublicKey:
    """Read a SubjectPublicKeyInfo in DER, at most 4096 bytes.

    Raises:
        InputError: The bytes are not that, or the key is weak or of an algorithm not listed.
    """
    if len(der) > MAX_PUBLIC_KEY_BYTES:
        msg = f"{what}: {len(der)} bytes, at most {MAX_PUBLIC_KEY_BYTES} are read"
        raise InputError(msg)
    with reading(f"{what}: it does not parse as a SubjectPublicKeyInfo; use one of {_ALLOWED}"):
        key = serialization.load_der_public_key(der)
    check_public_key(key, what=what)
    if not isinstance(key, PublicKey):  # never so: it was listed
        msg = f"{what}: a {type(key).__name__} is not one of {_ALLOWED}"
        raise InputError(msg)
    return key


def check_public_key(key: object, *, what: str = "public key") -> KeyAlgorithm:
    """The algorithm of the key, or a refusal that says what it is instead.

    Listed is what `KeyAlgorithm` lists. An RSA key must have the exponent 65537 and none of the
    known faults of its making (`rsa_weakness`). That the key's owner holds the private key is not
    checked.

    Raises:
        InputError: The key is weak, or of an algorithm, curve or size that is not listed.
    """
    if isinstance(key, ec.EllipticCurvePublicKey):
        if known := _CURVES.get(key.curve.name):
            return known[0]
        found = f"an elliptic curve key on {key.curve.name}"
    elif isinstance(key, rsa.RSAPublicKey):
        numbers = key.public_numbers()
        algorithm = _RSA_SIZES.get(key.key_size)
        if algorithm is None:
            found = f"an RSA key of {key.key_size} bits"
        elif numbers.e != _RSA_EXPONENT:
            found = f"an RSA key with the exponent {numbers.e.bit_length()} bits long, not 65537"
        elif weakness := rsa_weakness(numbers.n):
            found = f"a weak RSA key: {weakness}"
        else:
            return algorithm
    else:
        for kind, algorithm in _OF_ONE_SIZE:
            if isinstance(key, kind):
                return algorithm
        found = f"a key of type {type(key).__name__}"
    msg = f"{what}: found {found}; use one of {_ALLOWED}"
    raise InputError(msg)


def verify_signature(
    key: PublicKey, algorithm: KeyAlgorithm, signature: bytes, data: bytes
) -> None:
    """Check a signature made the way certificates of this algorithm are signed.

    Raises:
        InputError: The signature is not one of this key over this data.
    """
    try:
        if (
            isinstance(key, ed25519.Ed25519PublicKey | MlDsaPublicKey)
            and algorithm.signature_hash is None
        ):
            key.verify(signature, data)
        elif isinstance(key, ec.EllipticCurvePublicKey) and algorithm.signature_hash:
            key.verify(signature, data, ec.ECDSA(algorithm.signature_hash))
        elif isinstance(key, rsa.RSAPublicKey) and algorithm.signature_hash:
            key.verify(signature, data, padding.PKCS1v15(), algorithm.signature_hash)
        else:
            msg = f"signature: {algorithm} is not the algorithm of a {type(key).__name__}"
            raise InputError(msg)
    except InvalidSignature as error:
        msg = "signature: it does not verify under the key that should have made it"
        raise InputError(msg) from error
