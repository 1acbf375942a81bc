"""What a certificate says, for programs and for people; judged by the X509-SVID profile.

Nothing is trusted here and nothing verified beyond the signatures between the certificates shown:
whoever holds a file can ask what stands in it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from hashlib import sha256
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AuthorityInformationAccessOID

from agentid.errors import InputError
from agentid.identity import SerialNumber, SpiffeId
from agentid.pki import svid
from agentid.pki.boundary import LIBRARY_ERRORS
from agentid.pki.describe_authorization import (
    AuthorizationDescription,
    describe_authorization,
)
from agentid.pki.keys import check_public_key
from agentid.pki.parse import parse_certificate
from agentid.pki.pem import MAX_BUNDLE_PEM_BYTES, read_blocks
from agentid.pki.view import Oid

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from agentid.pki.view import CertificateView

__all__ = ["CertificateDescription", "Description", "PolicyDescription", "describe"]

MAX_CERTIFICATES: Final = 64
"""Certificates that one file may hold: a chain has three, a bundle in rotation a handful."""

_PURPOSE_NAMES: Final = {
    Oid.SERVER_AUTH: "serverAuth",
    Oid.CLIENT_AUTH: "clientAuth",
    "1.3.6.1.5.5.7.3.3": "codeSigning",
    "1.3.6.1.5.5.7.3.4": "emailProtection",
    "1.3.6.1.5.5.7.3.8": "timeStamping",
    "1.3.6.1.5.5.7.3.9": "OCSPSigning",
    "2.5.29.37.0": "anyExtendedKeyUsage",
}

# RFC 5758 §3.2, RFC 8410 §3, RFC 8017 appendix C, RFC 9881 §2.
_SIGNATURE_NAMES: Final = {
    "1.2.840.10045.4.3.2": "ECDSA with SHA-256",
    "1.2.840.10045.4.3.3": "ECDSA with SHA-384",
    "1.2.840.10045.4.3.4": "ECDSA with SHA-512",
    "1.3.101.112": "Ed25519",
    "1.2.840.113549.1.1.5": "RSA with SHA-1",
    "1.2.840.113549.1.1.10": "RSA-PSS",
    "1.2.840.113549.1.1.11": "RSA with SHA-256",
    "1.2.840.113549.1.1.12": "RSA with SHA-384",
    "1.2.840.113549.1.1.13": "RSA with SHA-512",
    "2.16.840.1.101.3.4.3.17": "ML-DSA-44",
    "2.16.840.1.101.3.4.3.18": "ML-DSA-65",
    "2.16.840.1.101.3.4.3.19": "ML-DSA-87",
}


@dataclass(frozen=True, slots=True)
class PolicyDescription:
    """One certificate policy: its OID, dotted, and where it is explained."""

    oid: str
    cps_uri: str | None


@dataclass(frozen=True, slots=True)
class CertificateDescription:
    """What one certificate says. Text from the certificate is escaped to printable ASCII.

    Attributes:
        role: `leaf` or `authority`, as its basicConstraints say.
        spiffe_id: Its SPIFFE ID, or None if it has no valid one.
        namespace: The agent's namespace, or None if the path is not that of an agent.
        agent: The name of the AgentIdentity, likewise.
        pod_uid: The pod, or None if all pods of the agent share it.
        subject: Distinguished name, RFC 4514.
        issuer: Distinguished name, RFC 4514.
        serial: Lower-case hexadecimal of even length.
        not_before: Aware UTC; counts.
        not_after: Aware UTC; counts.
        key: The algorithm and size of its key.
        signature: The name of the signature algorithm.
        key_usage: The names of RFC 5280 §4.2.1.3.
        extended_key_usage: Names where known, else dotted OIDs.
        policies: Certificate policies.
        permitted_hosts: The URI hosts that its name constraints permit.
        revocation_uris: Where it says that CRLs or OCSP answers are found.
        issuer_uris: Where it says that the certificate of its issuer is found.
        no_rev_avail: Whether it says that no revocation information will exist (RFC 9608).
        authorization: What its agent may do, or None if it does not say.
        subject_key_id: Hexadecimal, or None.
        authority_key_id: Hexadecimal, or None.
        fingerprint: SHA-256 over the DER, lower-case hexadecimal.
        faults: What keeps it from being an X509-SVID or makes its authorization void, one sentence
            each.
    """

    role: str
    spiffe_id: str | None
    namespace: str | None
    agent: str | None
    pod_uid: str | None
    subject: str
    issuer: str
    serial: str
    not_before: datetime
    not_after: datetime
    key: str
    signature: str
    key_usage: tuple[str, ...]
    extended_key_usage: tuple[str, ...]
    policies: tuple[PolicyDescription, ...]
    permitted_hosts: tuple[str, ...]
    revocation_uris: tuple[str, ...]
    issuer_uris: tuple[str, ...]
    no_rev_avail: bool
    authorization: AuthorizationDescription | None
    subject_key_id: str | None
    authority_key_id: str | None
    fingerprint: str
    faults: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Description:
    """What a file of certificates says, in the order of the file; a chain is leaf first.

    Attributes:
        certificates: At least one.
        faults: What is wrong between the certificates.
    """

    certificates: tuple[CertificateDescription, ...]
    faults: tuple[str, ...]

    def to_json(self) -> dict[str, object]:
        """A dictionary of JSON types with the attributes as keys; times in RFC 3339, UTC."""
        document = asdict(self)
        for certificate in document["certificates"]:
            for end in ("not_before", "not_after"):
                certificate[end] = certificate[end].strftime("%Y-%m-%dT%H:%M:%SZ")
        return document


def describe(pem_or_der: bytes) -> Description:
    """Describe one certificate in DER, or one or more in PEM.

    Raises:
        InputError: The bytes hold no certificate, one that does not parse, something else in PEM,
            or too much: 1 MiB, 64 certificates or 16 KiB for one of them.
    """
    if b"-----BEGIN " in pem_or_der[:MAX_BUNDLE_PEM_BYTES]:
        ders = _from_pem(pem_or_der)
    else:
        ders = (pem_or_der,)
    parsed = [
        parse_certificate(der, what=f"certificate {at}") for at, der in enumerate(ders, start=1)
    ]
    described = tuple(_describe_one(certificate, view) for certificate, view in parsed)
    certificates = [certificate for certificate, _ in parsed]
    return Description(described, tuple(_chain_faults(certificates, described)))


def _from_pem(data: bytes) -> tuple[bytes, ...]:
    blocks = read_blocks(data, what="input", limit=MAX_BUNDLE_PEM_BYTES)
    if len(blocks) > MAX_CERTIFICATES:
        msg = f"input: {len(blocks)} PEM blocks, at most {MAX_CERTIFICATES} are read; split it"
        raise InputError(msg)
    for at, block in enumerate(blocks, start=1):
        if block.label != "CERTIFICATE":
            msg = (
                f"input: PEM block {at} is {block.label}, not CERTIFICATE; "
                "give the certificates alone"
            )
            raise InputError(msg)
    return tuple(block.der for block in blocks)


def _describe_one(certificate: x509.Certificate, view: CertificateView) -> CertificateDescription:
    der = certificate.public_bytes(Encoding.DER)
    role = "authority" if svid.is_authority(view) else "leaf"
    spiffe_id = _spiffe_id(view)
    agent = spiffe_id.agent if spiffe_id else None
    authority_key = view.authority_key_identifier
    authority_key_id = authority_key.key_identifier if authority_key else None
    key_id = view.subject_key_identifier
    return CertificateDescription(
        role=role,
        spiffe_id=str(spiffe_id) if spiffe_id else None,
        namespace=agent.namespace if agent else None,
        agent=agent.name if agent else None,
        pod_uid=agent.pod_uid if agent else None,
        subject=_printable(certificate.subject.rfc4514_string()),
        issuer=_printable(certificate.issuer.rfc4514_string()),
        serial=str(SerialNumber(view.tbs.serial_number)),
        not_before=view.not_before,
        not_after=view.not_after,
        key=_key(certificate),
        signature=_signature(certificate),
        key_usage=view.key_usage or (),
        extended_key_usage=tuple(
            _PURPOSE_NAMES.get(oid, oid) for oid in view.extended_key_usage or ()
        ),
        policies=_policies(view),
        permitted_hosts=_permitted_hosts(certificate),
        revocation_uris=tuple(_revocation_uris(certificate)),
        issuer_uris=tuple(_access_uris(certificate, AuthorityInformationAccessOID.CA_ISSUERS)),
        no_rev_avail=Oid.NO_REV_AVAIL in view.extensions,
        authorization=describe_authorization(view),
        subject_key_id=key_id.hex() if key_id else None,
        authority_key_id=authority_key_id.hex() if authority_key_id else None,
        fingerprint=sha256(der).hexdigest(),
        faults=_profile_faults(view, certificate, role),
    )


def _profile_faults(
    view: CertificateView, certificate: x509.Certificate, role: str
) -> tuple[str, ...]:
    faults = list(svid.authority_faults(view) if role == "authority" else svid.leaf_faults(view))
    try:
        check_public_key(certificate.public_key())
    except (InputError, *LIBRARY_ERRORS) as error:
        faults.append(str(error))
    authorization = describe_authorization(view)
    if authorization is not None and authorization.grants_nothing_because is not None:
        faults.append(authorization.grants_nothing_because)
    if view.not_after < view.not_before:
        faults.append("validity: it ends before it begins")
    return tuple(faults)


def _chain_faults(
    certificates: list[x509.Certificate], described: tuple[CertificateDescription, ...]
) -> Iterator[str]:
    """What breaks a chain; a file whose first certificate is an authority is taken for a bundle."""
    if described[0].role == "authority":
        return
    for at, (certificate, above) in enumerate(pairwise(certificates), start=1):
        try:
            certificate.verify_directly_issued_by(above)
        except LIBRARY_ERRORS:
            yield f"certificate {at} is not signed by certificate {at + 1}"
    last = min(each.not_after for each in described)
    if described[0].not_after > last:
        yield f"certificate 1 outlives its chain, which ends at {last.isoformat()}"


def _spiffe_id(view: CertificateView) -> SpiffeId | None:
    if len(view.uri_names) != 1:
        return None
    try:
        return SpiffeId.parse(view.uri_names[0])
    except InputError:
        return None


def _policies(view: CertificateView) -> tuple[PolicyDescription, ...]:
    policies = view.policies
    return tuple(
        PolicyDescription(
            policy.oid.dotted_string,
            next(
                (
                    _printable(bytes(qualifier.qualifier.data).decode("latin-1"))
                    for qualifier in policy.qualifiers or ()
                    if qualifier.oid.dotted_string == Oid.CPS
                ),
                None,
            ),
        )
        for policy in (policies.items if policies else ())
    )


def _permitted_hosts(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.NameConstraints).value
    except x509.ExtensionNotFound:
        return ()
    return tuple(
        _printable(name.value)
        for name in constraints.permitted_subtrees or ()
        if isinstance(name, x509.UniformResourceIdentifier)
    )


def _revocation_uris(certificate: x509.Certificate) -> Iterator[str]:
    for extension in certificate.extensions:
        if isinstance(extension.value, x509.CRLDistributionPoints):
            for point in extension.value:
                yield from _uris(point.full_name or ())
    yield from _access_uris(certificate, AuthorityInformationAccessOID.OCSP)


def _access_uris(certificate: x509.Certificate, method: x509.ObjectIdentifier) -> Iterator[str]:
    for extension in certificate.extensions:
        if isinstance(extension.value, x509.AuthorityInformationAccess):
            yield from _uris(
                access.access_location
                for access in extension.value
                if access.access_method == method
            )


def _uris(names: Iterable[x509.GeneralName]) -> Iterator[str]:
    for name in names:
        if isinstance(name, x509.UniformResourceIdentifier):
            yield _printable(name.value)


def _key(certificate: x509.Certificate) -> str:
    try:
        key = certificate.public_key()
    except LIBRARY_ERRORS:
        return f"unknown ({certificate.public_key_algorithm_oid.dotted_string})"
    try:
        return check_public_key(key).display_name
    except InputError:
        if isinstance(key, rsa.RSAPublicKey):
            return f"RSA {key.key_size}"
        if isinstance(key, ec.EllipticCurvePublicKey):
            return f"elliptic curve {key.curve.name}"
        return type(key).__name__.removesuffix("PublicKey")


def _signature(certificate: x509.Certificate) -> str:
    oid = certificate.signature_algorithm_oid
    return _SIGNATURE_NAMES.get(oid.dotted_string, oid.dotted_string)


def _printable(text: str) -> str:
    """Printable ASCII: the rest is escaped, so that a certificate cannot speak to a terminal."""
    return ascii(text)[1:-1]
