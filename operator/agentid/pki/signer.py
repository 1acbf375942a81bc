"""What an authority signs with."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Protocol

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from agentid.errors import InternalError
from agentid.pki.keys import MlDsaPrivateKey, PrivateKey, PublicKey, check_public_key

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentid.pki.algorithm import KeyAlgorithm

__all__ = ["LocalSigner", "Signer"]


class Signer(Protocol):
    """Signs bytes with a private key that it need not show.

    A key in PKCS#11 or in a KMS fits: it signs bytes and is no key object of a library.
    """

    @property
    def algorithm(self) -> KeyAlgorithm:
        """The algorithm of the key; it also fixes hash and padding."""
        ...

    def sign(self, data: bytes) -> bytes:
        """The signature over the data as it stands in a certificate.

        For ECDSA that is a DER `Ecdsa-Sig-Value` (RFC 3279 §2.2.3), with the hash of
        `KeyAlgorithm.signature_hash`; for RSA it is PKCS #1 v1.5; for ML-DSA it is pure, with an
        empty context (RFC 9881 §4). The caller verifies it.

        Raises:
            UnavailableError: The key is away just now.
        """
        ...


class LocalSigner:
    """A signer that holds its private key in memory."""

    __slots__ = ("_algorithm", "_public_key", "_sign")

    def __init__(self, key: PrivateKey) -> None:
        """Take the key.

        Raises:
            InputError: The key is weak or of an algorithm not listed.
        """
        self._public_key = key.public_key()
        self._algorithm = check_public_key(self._public_key)
        self._sign = _signing(key, self._algorithm)

    @property
    def algorithm(self) -> KeyAlgorithm:
        """The algorithm of the key."""
        return self._algorithm

    @property
    def public_key(self) -> PublicKey:
        """The public half of the key."""
        return self._public_key

    def sign(self, data: bytes) -> bytes:
        """The signature over the data; never unavailable."""
        return self._sign(data)

    def __repr__(self) -> str:
        """The algorithm only."""
        return f"LocalSigner({self._algorithm}, key=<masked>)"


def _signing(key: PrivateKey, algorithm: KeyAlgorithm) -> Callable[[bytes], bytes]:
    digest = algorithm.signature_hash
    if digest is None:
        if isinstance(key, ed25519.Ed25519PrivateKey | MlDsaPrivateKey):
            return key.sign
    elif isinstance(key, ec.EllipticCurvePrivateKey):
        return partial(key.sign, signature_algorithm=ec.ECDSA(digest))
    elif isinstance(key, rsa.RSAPrivateKey):
        return partial(key.sign, padding=padding.PKCS1v15(), algorithm=digest)
    msg = f"a {type(key).__name__} does not sign as {algorithm}"
    raise InternalError(msg)
