"""The certificate of an OCSP responder that an authority delegates to, RFC 6960 §4.2.2.2.

So that the authority's own key signs no answers: the delegate's key lives where questions arrive,
and signs nothing that a verifier would take for a certificate or a CRL.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from agentid.errors import InputError, InternalError
from agentid.pki import schema
from agentid.pki.algorithm import KeyAlgorithm
from agentid.pki.keys import check_public_key, public_key_der, verify_signature
from agentid.pki.leaf import key_identifier
from agentid.pki.parse import parse_certificate
from agentid.pki.self_made import CertifiedKey
from agentid.pki.view import CertificateView, Oid, read_tbs

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from agentid.identity import SerialNumber, Validity
    from agentid.pki.authority import Authority
    from agentid.pki.keys import PrivateKey

__all__ = ["make_ocsp_responder", "responder_key_algorithm"]

_MAX_ATTRIBUTE_CHARACTERS: Final = 64  # RFC 5280 appendix A.1: ub-organization-name
_KEY_USAGE: Final = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=False,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)
_NO_CHECK: Final = "1.3.6.1.5.5.7.48.1.5"
_OCSP_SIGNING: Final = ExtendedKeyUsageOID.OCSP_SIGNING.dotted_string
_NULL: Final = asn1.encode_der(asn1.Null())

# Which extensions it has, and whether each is critical.
_EXTENSIONS: Final[Mapping[str, bool]] = {
    Oid.BASIC_CONSTRAINTS: True,
    Oid.KEY_USAGE: True,
    Oid.EXT_KEY_USAGE: False,
    Oid.SUBJECT_KEY_IDENTIFIER: False,
    Oid.AUTHORITY_KEY_IDENTIFIER: False,
    _NO_CHECK: False,
}


def responder_key_algorithm(authority: KeyAlgorithm) -> KeyAlgorithm:
    """The algorithm for the key of a delegate.

    Whoever verifies the certificates of an authority can verify one of its own family, so the
    delegate stays in it. In the elliptic family and for RSA it is P-256: the delegate lives for
    days, and every verifier that knows either knows P-256, which signs a hundred times as fast as
    RSA of the same strength. Ed25519 and ML-DSA stay as they are: ML-DSA must not be weakened by a
    key that a quantum computer forges.
    """
    if authority.value.startswith(("ECDSA", "RSA")):
        return KeyAlgorithm.ECDSAP256
    return authority


def make_ocsp_responder(
    authority: Authority, private_key: PrivateKey, validity: Validity, serial: SerialNumber
) -> CertifiedKey:
    """A certificate that lets the key answer for the authority, for a short time.

    It says id-pkix-ocsp-nocheck: nobody asks whether it is revoked, so its lifetime is the only end
    of a stolen key. It names no SPIFFE ID, and its one purpose lets no TLS peer accept it.

    Raises:
        InputError: The key is weak or the authority's own, or the validity reaches beyond that of
            the chain.
        InternalError: The lint refuses what was built, or the signature does not verify.
        UnavailableError: The signer's key is away.
    """
    public_key = private_key.public_key()
    check_public_key(public_key, what="OCSP responder")
    spki = public_key_der(public_key)
    if spki == authority.public_key_der:
        msg = "OCSP responder: its key is that of the authority; generate one for it"
        raise InputError(msg)
    if not validity.within(authority.validity):
        msg = (
            f"validity: {validity} of the OCSP responder reaches beyond that of the issuing "
            f"chain, {authority.validity}; ask for less, or renew the authority"
        )
        raise InputError(msg)
    key_id = key_identifier(spki)
    draft = (
        x509.CertificateBuilder()
        .serial_number(serial.value)
        .issuer_name(authority.certificate.subject)
        .not_valid_before(validity.not_before)
        .not_valid_after(validity.not_after)
        .subject_name(_name(authority, serial))
        .public_key(public_key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_KEY_USAGE, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier(key_id), critical=False)
        .add_extension(authority.authority_key_identifier, critical=False)
        .add_extension(x509.OCSPNoCheck(), critical=False)
        .sign(authority.draft_key, authority.algorithm.signature_hash)
    )
    tbs = draft.tbs_certificate_bytes
    view = read_tbs(tbs)
    if faults := [
        *_header_faults(view, authority, serial, validity, spki),
        *_extension_faults(view, authority, key_id),
    ]:
        msg = f"the OCSP responder of {authority.trust_domain} fails the lint: {'; '.join(faults)}"
        raise InternalError(msg)
    return CertifiedKey(_sign(authority, tbs, view), private_key)


def _name(authority: Authority, serial: SerialNumber) -> x509.Name:
    """A name for display only."""
    organization = authority.trust_domain.name[:_MAX_ATTRIBUTE_CHARACTERS]
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization),
            x509.NameAttribute(NameOID.COMMON_NAME, f"agentid OCSP {str(serial)[-8:]}"),
        ]
    )


def _header_faults(
    view: CertificateView,
    authority: Authority,
    serial: SerialNumber,
    validity: Validity,
    spki: bytes,
) -> Iterator[str]:
    if view.tbs.serial_number != serial.value:
        yield f"serialNumber: it is {view.tbs.serial_number:x}, but {serial} was drawn"
    if view.issuer_der != authority.subject_der:
        yield "issuer: it is not the subject of the authority"
    if (view.not_before, view.not_after) != (validity.not_before, validity.not_after):
        yield f"validity: it is not {validity}"
    if view.public_key_der != spki:
        yield "subjectPublicKeyInfo: it is not the key that was given"


def _extension_faults(view: CertificateView, authority: Authority, key_id: bytes) -> Iterator[str]:
    found = {oid: extension.critical for oid, extension in view.extensions.items()}
    if found != _EXTENSIONS or view.duplicates:
        yield f"extensions: they are {found}, but {_EXTENSIONS} was ordered"
        return
    constraints = view.basic_constraints
    if constraints is None or constraints.ca or constraints.path_length is not None:
        yield "basicConstraints: a responder must not be a CA"
    if view.key_usage != ("digitalSignature",):
        yield "keyUsage: a responder has digitalSignature alone"
    if view.extended_key_usage != (_OCSP_SIGNING,):
        yield "extKeyUsage: a responder has OCSPSigning alone"
    if view.subject_key_identifier != key_id:
        yield "subjectKeyIdentifier: it is not that of the key"
    named = view.authority_key_identifier
    if named is None or named.key_identifier != authority.key_id:
        yield "authorityKeyIdentifier: it is not the key identifier of the authority"
    if view.extensions[_NO_CHECK].value != _NULL:
        yield "ocsp-nocheck: its value must be NULL"


def _sign(authority: Authority, tbs: bytes, view: CertificateView) -> x509.Certificate:
    signature = authority.signer.sign(tbs)
    try:
        verify_signature(authority.public_key, authority.algorithm, signature, tbs)
    except InputError as error:
        msg = f"the signer of {authority.trust_domain} made a signature that does not verify"
        raise InternalError(msg) from error
    der = asn1.encode_der(
        schema.SignedCertificate(
            tbs_certificate=schema.decode(asn1.TLV, tbs, what="certificate"),
            signature_algorithm=view.tbs.signature,
            signature=asn1.BitString(signature, 0),
        )
    )
    return parse_certificate(der, what="OCSP responder")[0]
