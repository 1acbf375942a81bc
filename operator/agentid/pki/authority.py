"""An issuing authority: its chain and what it signs with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding

from agentid.errors import InputError
from agentid.identity import Validity
from agentid.pki import schema
from agentid.pki.algorithm import KeyAlgorithm
from agentid.pki.assemble import encoded_extension
from agentid.pki.boundary import reading
from agentid.pki.bundle import X509Bundle
from agentid.pki.keys import (
    PrivateKey,
    PublicKey,
    check_public_key,
    generate,
    public_key_der,
)
from agentid.pki.pem import certificate_pem
from agentid.pki.signer import LocalSigner
from agentid.pki.view import read_certificate

if TYPE_CHECKING:
    from datetime import datetime

    from agentid.identity import TrustDomain
    from agentid.pki.signer import Signer

__all__ = ["Authority", "authority_id"]

_ID_OCTETS: Final = 8
"""Of the key identifier; 64 bits tell apart the few authorities that one installation ever has."""

_DRAFT_RSA_BITS: Final = 2048

_SLOW_TO_VERIFY: Final = frozenset(
    {
        KeyAlgorithm.ECDSAP256,
        KeyAlgorithm.ECDSAP384,
        KeyAlgorithm.ECDSAP521,
        KeyAlgorithm.ED25519,
    }
)
"""Verifying takes up to three times as long as signing; with RSA and ML-DSA, a fraction of it."""

_SAMPLE: Final = 64
"""A processor that has begun to compute wrongly is found after 64 signatures on average, for about
1 us on each; ADR 9 says what verifying all of them would find beyond that."""


@dataclass(frozen=True, slots=True, eq=False)
class Authority:
    """An issuing authority of a trust domain.

    Everything about a leaf that depends on its issuer alone is worked out once, here. The chain is
    taken as it is: `load_authority` is what verifies one that comes from outside. Making one with
    an RSA key draws an RSA key, which takes a moment.

    Attributes:
        trust_domain: Whose identities it signs.
        chain: Its certificates, its own first, then intermediates upwards, without the root.
        root: The root that the chain ends at, self-signed; the only one in the bundle.
        signer: Signs with the key of `chain[0]`.
        validity: The period in which every certificate of the chain, and the root, is valid.
        subject_der: The distinguished name that its leaves name as their issuer.
        key_id: Its subject key identifier.
        public_key: The key of `chain[0]`.
        public_key_der: The same as a SubjectPublicKeyInfo in DER.
        chain_der: `chain` in DER.
        chain_pem: `chain` as PEM, ready to stand after a leaf.
        authority_key_identifier: The extension of what it signs that names its key.
        authority_key_identifier_der: The same as an `Extension` in DER.
        signature_algorithm_der: The AlgorithmIdentifier of its signatures, DER.
        draft_key: A throwaway key of the same algorithm, which signs drafts to be linted.
        verifies_one_in: Of how many of its signatures one is verified, drawn by the serial number.
    """

    trust_domain: TrustDomain
    chain: tuple[x509.Certificate, ...]
    root: x509.Certificate
    signer: Signer
    validity: Validity = field(init=False)
    subject_der: bytes = field(init=False, repr=False)
    key_id: bytes = field(init=False, repr=False)
    public_key: PublicKey = field(init=False, repr=False)
    public_key_der: bytes = field(init=False, repr=False)
    chain_der: tuple[bytes, ...] = field(init=False, repr=False)
    chain_pem: bytes = field(init=False, repr=False)
    authority_key_identifier: x509.AuthorityKeyIdentifier = field(init=False, repr=False)
    authority_key_identifier_der: bytes = field(init=False, repr=False)
    signature_algorithm_der: bytes = field(init=False, repr=False)
    draft_key: PrivateKey = field(init=False, repr=False)
    verifies_one_in: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Work out what its leaves share.

        Raises:
            InputError: The chain is empty, is never valid as a whole, holds a certificate that does
                not parse, or the signer's algorithm, or a key of this process, is not that of the
                certified key.
        """
        if not self.chain:
            msg = "authority: the chain is empty; give the certificate of the issuing authority"
            raise InputError(msg)
        own = self.chain[0]
        chain_der = tuple(certificate.public_bytes(Encoding.DER) for certificate in self.chain)
        view = read_certificate(chain_der[0])
        key_id = view.subject_key_identifier
        if not key_id:
            msg = "authority: the issuing certificate has no subjectKeyIdentifier; give it one"
            raise InputError(msg)
        with reading("authority: the key of the issuing certificate does not parse"):
            public_key = own.public_key()
        algorithm = check_public_key(public_key, what="authority")
        if algorithm is not self.signer.algorithm:
            msg = f"authority: certified is a key of {algorithm}, given is {self.signer.algorithm}"
            raise InputError(msg)
        named_key = x509.AuthorityKeyIdentifier(key_id, None, None)
        draft_key = _draft_key(algorithm)
        derived = {
            "validity": _common_validity((*self.chain, self.root)),
            "subject_der": view.subject_der,
            "key_id": key_id,
            "public_key": public_key,
            "public_key_der": view.public_key_der,
            "chain_der": chain_der,
            "chain_pem": b"".join(map(certificate_pem, chain_der)),
            "authority_key_identifier": named_key,
            "authority_key_identifier_der": encoded_extension(named_key, critical=False),
            "signature_algorithm_der": _signature_algorithm(draft_key, algorithm),
            "draft_key": draft_key,
            "verifies_one_in": _verifies_one_in(self.signer, view.public_key_der),
        }
        for name, value in derived.items():
            object.__setattr__(self, name, value)

    @property
    def certificate(self) -> x509.Certificate:
        """The certificate of the issuing authority itself."""
        return self.chain[0]

    @property
    def algorithm(self) -> KeyAlgorithm:
        """The algorithm of its key."""
        return self.signer.algorithm

    @property
    def not_after(self) -> datetime:
        """The end of the chain: nothing that it signs may outlive it."""
        return self.validity.not_after

    @property
    def bundle(self) -> X509Bundle:
        """What verifiers of its leaves trust."""
        return X509Bundle(self.trust_domain, (self.root,))


def _common_validity(certificates: tuple[x509.Certificate, ...]) -> Validity:
    return Validity(
        max(certificate.not_valid_before_utc for certificate in certificates),
        min(certificate.not_valid_after_utc for certificate in certificates),
    )


def _draft_key(algorithm: KeyAlgorithm) -> PrivateKey:
    """A key whose signatures carry the same AlgorithmIdentifier; no verifier ever sees one."""
    if algorithm.value.startswith("RSA"):
        # The AlgorithmIdentifier does not say the size, so a smaller key, made and used faster,
        # gives the same bytes to lint.
        return rsa.generate_private_key(65537, _DRAFT_RSA_BITS)
    return generate(algorithm)


def _signature_algorithm(draft_key: PrivateKey, algorithm: KeyAlgorithm) -> bytes:
    """How the library names it: read from a request, whose outer shape is a certificate's."""
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([]))
        .sign(draft_key, algorithm.signature_hash)
    )
    signed = schema.decode(
        schema.SignedCertificate, request.public_bytes(Encoding.DER), what="draft"
    )
    return asn1.encode_der(signed.signature_algorithm)


def _verifies_one_in(signer: Signer, certified: bytes) -> int:
    """Each signature, unless it comes from this process and verifying costs more than signing.

    Raises:
        InputError: The key in this process is not the certified one.
    """
    if not isinstance(signer, LocalSigner):
        return 1
    if public_key_der(signer.public_key) != certified:
        msg = (
            "authority: the private key is not that of the issuing certificate; give the two that "
            "belong together"
        )
        raise InputError(msg)
    return _SAMPLE if signer.algorithm in _SLOW_TO_VERIFY else 1


def authority_id(certificate: x509.Certificate) -> str:
    """The first 16 hexadecimal digits of the subject key identifier.

    Raises:
        InputError: The certificate has none.
    """
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    except x509.ExtensionNotFound as error:
        msg = "the certificate of an authority has no subjectKeyIdentifier; give it one"
        raise InputError(msg) from error
    return extension.value.digest[:_ID_OCTETS].hex()
