"""The ASN.1 that agentid reads and assembles, RFC 5280 appendix A, in declared form.

Decoding is strict DER. Types that nobody looks into stay `TLV`, their bytes as they were.
"""

# No `from __future__ import annotations`: the library reads the annotations.
from typing import Annotated, TypeVar

from cryptography.hazmat import asn1
from cryptography.x509 import ObjectIdentifier

from agentid.errors import InputError
from agentid.pki.boundary import LIBRARY_ERRORS

__all__ = [
    "AgentAuthorization",
    "AttributeTypeAndValue",
    "AuthorityKeyIdentifier",
    "AuthorizedSchedule",
    "AuthorizedWindow",
    "BasicConstraints",
    "Elements",
    "Extension",
    "GeneralNames",
    "GeneralSubtree",
    "KeyPurposeIds",
    "Name",
    "NameConstraints",
    "PolicyConstraints",
    "PolicyInformation",
    "PolicyInformations",
    "PolicyMapping",
    "PolicyMappings",
    "PolicyQualifierInfo",
    "SignedCertificate",
    "SubjectPublicKeyInfo",
    "TbsCertificate",
    "Time",
    "decode",
    "decode_list",
]

T = TypeVar("T")

Time = asn1.UTCTime | asn1.GeneralizedTime


@asn1.sequence
class SignedCertificate:
    """`Certificate` (RFC 5280 §4.1), its TBSCertificate left as it was signed."""

    tbs_certificate: asn1.TLV
    signature_algorithm: asn1.TLV
    signature: asn1.BitString


@asn1.sequence
class Period:
    """`Validity` (RFC 5280 §4.1.2.5)."""

    not_before: asn1.UTCTime | asn1.GeneralizedTime
    not_after: asn1.UTCTime | asn1.GeneralizedTime


@asn1.sequence
class SubjectPublicKeyInfo:
    """`SubjectPublicKeyInfo` (RFC 5280 §4.1)."""

    algorithm: asn1.TLV
    subject_public_key: asn1.BitString


@asn1.sequence
class Extension:
    """`Extension` (RFC 5280 §4.1): `value` is the DER inside the OCTET STRING."""

    oid: ObjectIdentifier
    critical: Annotated[bool, asn1.Default(value=False)]
    value: bytes


@asn1.sequence
class TbsCertificate:
    """`TBSCertificate` (RFC 5280 §4.1); `version` counts from 0, so v3 is 2."""

    version: Annotated[int, asn1.Explicit(0), asn1.Default(0)]
    serial_number: int
    signature: asn1.TLV
    issuer: asn1.TLV
    validity: Period
    subject: asn1.TLV
    subject_public_key_info: asn1.TLV
    issuer_unique_id: Annotated[asn1.BitString | None, asn1.Implicit(1)]
    subject_unique_id: Annotated[asn1.BitString | None, asn1.Implicit(2)]
    extensions: Annotated[list[Extension] | None, asn1.Explicit(3)]


@asn1.sequence
class AttributeTypeAndValue:
    """`AttributeTypeAndValue` (RFC 5280 §4.1.2.4)."""

    oid: ObjectIdentifier
    value: asn1.TLV


@asn1.sequence
class BasicConstraints:
    """`BasicConstraints` (RFC 5280 §4.2.1.9)."""

    ca: Annotated[bool, asn1.Default(value=False)]
    path_length: int | None


@asn1.sequence
class AuthorityKeyIdentifier:
    """`AuthorityKeyIdentifier` (RFC 5280 §4.2.1.1)."""

    key_identifier: Annotated[bytes | None, asn1.Implicit(0)]
    authority_cert_issuer: Annotated[list[asn1.TLV] | None, asn1.Implicit(1)]
    authority_cert_serial_number: Annotated[int | None, asn1.Implicit(2)]


@asn1.sequence
class PolicyQualifierInfo:
    """`PolicyQualifierInfo` (RFC 5280 §4.2.1.4)."""

    oid: ObjectIdentifier
    qualifier: asn1.TLV


@asn1.sequence
class PolicyInformation:
    """`PolicyInformation` (RFC 5280 §4.2.1.4)."""

    oid: ObjectIdentifier
    qualifiers: list[PolicyQualifierInfo] | None


@asn1.sequence
class AuthorizedWindow:
    """`Window` (module AgentIdAuthorization, `docs/reference/agentid-authorization.asn1`)."""

    start: int
    end: int


@asn1.sequence
class AuthorizedSchedule:
    """`Schedule` (the same module)."""

    time_zone: str
    windows: list[AuthorizedWindow]


@asn1.sequence
class AgentAuthorization:
    """`AgentAuthorization` (the same module)."""

    version: int
    agent_class: str
    tier: int
    policy_hash: bytes
    sponsor: Annotated[str | None, asn1.Implicit(0)]
    systems: Annotated[list[str] | None, asn1.Implicit(1)]
    operations: Annotated[list[str] | None, asn1.Implicit(2)]
    schedule: Annotated[AuthorizedSchedule | None, asn1.Implicit(3)]
    compliance: Annotated[list[str] | None, asn1.Implicit(4)]
    policy_uri: Annotated[asn1.IA5String | None, asn1.Implicit(5)]


@asn1.sequence
class GeneralSubtree:
    """`GeneralSubtree` (RFC 5280 §4.2.1.10)."""

    base: asn1.TLV
    minimum: Annotated[int, asn1.Implicit(0), asn1.Default(0)]
    maximum: Annotated[int | None, asn1.Implicit(1)]


@asn1.sequence
class NameConstraints:
    """`NameConstraints` (RFC 5280 §4.2.1.10)."""

    permitted: Annotated[list[GeneralSubtree] | None, asn1.Implicit(0)]
    excluded: Annotated[list[GeneralSubtree] | None, asn1.Implicit(1)]


@asn1.sequence
class PolicyConstraints:
    """`PolicyConstraints` (RFC 5280 §4.2.1.11)."""

    require_explicit_policy: Annotated[int | None, asn1.Implicit(0)]
    inhibit_policy_mapping: Annotated[int | None, asn1.Implicit(1)]


@asn1.sequence
class PolicyMapping:
    """One of `PolicyMappings` (RFC 5280 §4.2.1.5)."""

    issuer_domain_policy: ObjectIdentifier
    subject_domain_policy: ObjectIdentifier


# The library decodes a SEQUENCE OF only inside a SEQUENCE: each of these holds one, and
# `decode_list` puts a bare one inside.


@asn1.sequence
class _Wrapped:
    items: asn1.TLV


@asn1.sequence
class GeneralNames:
    """`GeneralNames` (RFC 5280 §4.2.1.6); the tag of each TLV says its kind."""

    items: list[asn1.TLV]


@asn1.sequence
class Elements:
    """A SEQUENCE whose elements are looked at one by one."""

    items: list[asn1.TLV]


@asn1.sequence
class KeyPurposeIds:
    """`ExtKeyUsageSyntax` (RFC 5280 §4.2.1.12)."""

    items: list[ObjectIdentifier]


@asn1.sequence
class PolicyInformations:
    """`CertificatePolicies` (RFC 5280 §4.2.1.4)."""

    items: list[PolicyInformation]


@asn1.sequence
class PolicyMappings:
    """`PolicyMappings` (RFC 5280 §4.2.1.5)."""

    items: list[PolicyMapping]


@asn1.sequence
class Name:
    """`Name` (RFC 5280 §4.1.2.4): a list of sets, each nearly always of one attribute."""

    items: list[asn1.SetOf[AttributeTypeAndValue]]


def decode(kind: type[T], der: bytes, *, what: str) -> T:
    """One value of a declared type, or of a primitive one.

    Raises:
        InputError: The bytes are not strict DER of that type; the message begins with `what`.
    """
    # Not `reading`: a lint decodes some twenty times, and a context manager doubles each.
    try:
        return asn1.decode_der(kind, der)
    except LIBRARY_ERRORS as error:
        msg = f"{what} does not parse as {kind.__name__} in DER"
        raise InputError(msg) from error


def decode_list(kind: type[T], der: bytes, *, what: str) -> T:
    """A SEQUENCE OF, as the `items` of one of the types above.

    Raises:
        InputError: As for `decode`.
    """
    items = decode(asn1.TLV, der, what=what)
    return decode(kind, asn1.encode_der(_Wrapped(items=items)), what=what)
