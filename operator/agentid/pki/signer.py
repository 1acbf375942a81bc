"""What an authority signs with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from agentid.errors import InternalError
from agentid.pki.keys import MlDsaPrivateKey, PrivateKey, check_public_key

if TYPE_CHECKING:
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

    __slots__ = ("_algorithm", "_key")

    def __init__(self, key: PrivateKey) -> None:
        """Take the key.

        Raises:
            InputError: The key is weak or of an algorithm not listed.
        """
        self._algorithm = check_public_key(key.public_key())
        self._key = key

    @property
    def algorithm(self) -> KeyAlgorithm:
        """The algorithm of the key."""
        return self._algorithm

    def sign(self, data: bytes) -> bytes:
        """The signature over the data; never unavailable."""
        key, digest = self._key, self._algorithm.signature_hash
        if digest is None:
            if isinstance(key, ed25519.Ed25519PrivateKey | MlDsaPrivateKey):
                return key.sign(data)
        elif isinstance(key, ec.EllipticCurvePrivateKey):
            return key.sign(data, ec.ECDSA(digest))
        elif isinstance(key, rsa.RSAPrivateKey):
            return key.sign(data, padding.PKCS1v15(), digest)
        msg = f"a {type(key).__name__} does not sign as {self._algorithm}"
        raise InternalError(msg)

    def __repr__(self) -> str:
        """The algorithm only."""
        return f"LocalSigner({self._algorithm}, key=<masked>)"
