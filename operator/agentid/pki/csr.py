"""Certificate signing requests (PKCS #10), of which only the public key is believed.

Whoever asks proves with the signature that it holds the private key. The name, the extensions and
everything else that a request says of its maker is not looked at: who an agent is comes from its
attestation, what it may do from its class.
"""

from __future__ import annotations

from typing import Final

from cryptography import x509

from agentid.errors import InputError
from agentid.pki.boundary import reading
from agentid.pki.keys import PublicKey, check_public_key
from agentid.pki.pem import read_blocks

__all__ = ["MAX_CSR_BYTES", "MAX_CSR_PEM_BYTES", "read_csr"]

MAX_CSR_BYTES: Final = 12 * 1024
"""A request in DER. An ML-DSA-87 key and signature take 7.2 KiB; the rest is room for a name and
for requested extensions, which tools add unasked."""

MAX_CSR_PEM_BYTES: Final = 20 * 1024
"""The same in PEM: 12 KiB x 4/3 x 65/64 = 16.3 KiB, and explanatory text."""

_HASHES: Final = frozenset({"sha256", "sha384", "sha512"})
_LABELS: Final = frozenset({"CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"})
"""RFC 7468 §7, and what older tools write."""


def read_csr(data: bytes, *, what: str = "CSR") -> PublicKey:
    """The public key of a certificate signing request whose signature verifies.

    Args:
        data: Bytes from outside: DER of at most 12 KiB, or PEM of at most 20 KiB with one request.
        what: How messages name the data.

    Returns:
        A key of one of the listed algorithms, with which the request is signed.

    Raises:
        InputError: The bytes are not that, the key is weak or not listed, or the signature does not
            verify or is over a weak hash.
    """
    der = _from_pem(data, what) if data.lstrip().startswith(b"-----BEGIN ") else data
    if len(der) > MAX_CSR_BYTES:
        msg = f"{what}: {len(der)} bytes, at most {MAX_CSR_BYTES} are read; send the request alone"
        raise InputError(msg)
    with reading(
        f"{what}: it does not parse as a certificate signing request (RFC 2986), or its key is no "
        "valid one; make it anew"
    ):
        request = x509.load_der_x509_csr(der)
        key = request.public_key()
    check_public_key(key, what=what)
    if not isinstance(key, PublicKey):  # never so: it was listed
        msg = f"{what}: a {type(key).__name__} is not listed"
        raise InputError(msg)
    # Only now: what the signature costs to verify is bounded by the key.
    with reading(f"{what}: its signature algorithm is unknown; make it anew with SHA-256"):
        digest = request.signature_hash_algorithm
        valid = request.is_signature_valid
    if digest is not None and digest.name not in _HASHES:
        msg = f"{what}: it is signed with {digest.name}; make it anew with SHA-256 or better"
        raise InputError(msg)
    if not valid:
        msg = (
            f"{what}: it is not signed by its own key, so nothing shows that its sender holds the "
            "private key; make it anew"
        )
        raise InputError(msg)
    return key


def _from_pem(data: bytes, what: str) -> bytes:
    blocks = read_blocks(data, what=what, limit=MAX_CSR_PEM_BYTES)
    if len(blocks) != 1 or blocks[0].label not in _LABELS:
        found = ", ".join(block.label for block in blocks[:4])
        msg = f"{what}: found PEM {found}, but exactly one CERTIFICATE REQUEST is wanted"
        raise InputError(msg)
    return blocks[0].der
