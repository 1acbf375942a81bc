"""Keys, made on the node, and the requests that carry their public half."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from agentid.pki import generate

if TYPE_CHECKING:
    from agentid.pki import KeyAlgorithm, PrivateKey

__all__ = ["make_key"]


def make_key(algorithm: KeyAlgorithm) -> tuple[PrivateKey, bytes]:
    """A new private key, and a request in DER that is signed with it and says nothing else."""
    key = generate(algorithm)
    request = x509.CertificateSigningRequestBuilder(x509.Name([]))
    return key, request.sign(key, algorithm.signature_hash).public_bytes(Encoding.DER)
