"""The stub CSR of a PodCertificateRequest: a key and the proof of its possession, nothing else."""

from __future__ import annotations

from dataclasses import dataclass

from cryptography import x509

from agentid.errors import InputError
from agentid.pki import KeyAlgorithm, PublicKey, check_public_key
from agentid.pki.boundary import reading
from agentid.pki.csr import read_csr
from agentid.signer.reasons import Denial, DenialReason

__all__ = ["Stub", "read_stub"]

_WHAT = "spec.stubPKCS10Request"


@dataclass(frozen=True, slots=True)
class Stub:
    """What is believed of a stub.

    Attributes:
        key: The public key; whoever made the stub holds the private one.
        algorithm: The algorithm of the key.
    """

    key: PublicKey
    algorithm: KeyAlgorithm


def read_stub(der: bytes) -> Stub | Denial:
    """Read a stub, at most 10 KiB of DER.

    A kubelet's stub is empty but for its key. One that names a subject or asks for extensions was
    made by something else, which expects to be given what it asks for; it is denied for that.
    """
    try:
        with reading(f"{_WHAT}: it does not parse as a certificate signing request (RFC 2986)"):
            request = x509.load_der_x509_csr(der)
            key = request.public_key()
            named, asks = bool(list(request.subject)), len(request.attributes) > 0
    except InputError as error:
        return Denial(DenialReason.STUB_INVALID, str(error))
    if named or asks:
        message = (
            f"{_WHAT}: it has {'a subject' if named else 'attributes'}, and a kubelet's is empty "
            "but for its key; leave everything else out"
        )
        return Denial(DenialReason.STUB_NOT_EMPTY, message)
    try:
        algorithm = check_public_key(key, what=_WHAT)
    except InputError as error:
        return Denial(DenialReason.UNSUPPORTED_KEY_TYPE, str(error))
    try:
        return Stub(read_csr(der, what=_WHAT), algorithm)
    except InputError as error:
        return Denial(DenialReason.STUB_INVALID, str(error))
