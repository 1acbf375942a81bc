"""The ASN.1 of certificate revocation lists, RFC 5280 §5 and appendix A, in declared form."""

# No `from __future__ import annotations`: the library reads the annotations.
from typing import Annotated

from cryptography.hazmat import asn1

from agentid.pki.schema import Extension

__all__ = [
    "DistributionPointName",
    "FilledTbsCertList",
    "IssuingDistributionPoint",
    "RevokedCertificate",
    "SignedCertList",
    "TbsCertList",
]


@asn1.sequence
class SignedCertList:
    """`CertificateList` (§5.1), its TBSCertList left as it was signed."""

    tbs_cert_list: asn1.TLV
    signature_algorithm: asn1.TLV
    signature: asn1.BitString


@asn1.sequence
class RevokedCertificate:
    """One element of `revokedCertificates` (§5.1.2.6).

    Its extensions stay undecoded: nearly all are one of a few reason codes, known by their bytes.
    """

    serial_number: int
    revocation_date: asn1.UTCTime | asn1.GeneralizedTime
    extensions: list[asn1.TLV] | None


@asn1.sequence
class TbsCertList:
    """`TBSCertList` (§5.1.2); `version` counts from 0, so v2 is 1."""

    version: int | None
    signature: asn1.TLV
    issuer: asn1.TLV
    this_update: asn1.UTCTime | asn1.GeneralizedTime
    next_update: asn1.UTCTime | asn1.GeneralizedTime | None
    revoked_certificates: list[RevokedCertificate] | None
    extensions: Annotated[list[Extension] | None, asn1.Explicit(0)]


@asn1.sequence
class FilledTbsCertList:
    """The same, as it is assembled: the list of entries is encoded already."""

    version: int | None
    signature: asn1.TLV
    issuer: asn1.TLV
    this_update: asn1.UTCTime | asn1.GeneralizedTime
    next_update: asn1.UTCTime | asn1.GeneralizedTime | None
    revoked_certificates: asn1.TLV
    extensions: Annotated[list[Extension] | None, asn1.Explicit(0)]


@asn1.sequence
class DistributionPointName:
    """`DistributionPointName` (§4.2.1.13), a CHOICE: exactly one of the two is there.

    The library has no CHOICE below an explicit tag, so both are optional here, and the reader asks
    for the one it can use. The tag of each name says its kind.
    """

    full_name: Annotated[list[asn1.TLV] | None, asn1.Implicit(0)]
    relative_name: Annotated[asn1.SetOf[asn1.TLV] | None, asn1.Implicit(1)]


@asn1.sequence
class IssuingDistributionPoint:
    """`IssuingDistributionPoint` (§5.2.5)."""

    # [0] EXPLICIT around a CHOICE encodes as [0] IMPLICIT around a SEQUENCE of its one member.
    distribution_point: Annotated[DistributionPointName | None, asn1.Implicit(0)]
    only_user_certs: Annotated[bool, asn1.Implicit(1), asn1.Default(value=False)]
    only_ca_certs: Annotated[bool, asn1.Implicit(2), asn1.Default(value=False)]
    only_some_reasons: Annotated[asn1.BitString | None, asn1.Implicit(3)]
    indirect: Annotated[bool, asn1.Implicit(4), asn1.Default(value=False)]
    only_attribute_certs: Annotated[bool, asn1.Implicit(5), asn1.Default(value=False)]
