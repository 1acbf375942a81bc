"""The ASN.1 of OCSP, RFC 6960 §4.1.1, §4.2.1 and appendix B.1, in declared form.

An explicit tag around a type that the library cannot declare, such as an ENUMERATED or any name, is
written as an implicit tag around a SEQUENCE of that one member, which has the same encoding.
"""

# No `from __future__ import annotations`: the library reads the annotations.
from typing import Annotated, Literal

from cryptography.hazmat import asn1
from cryptography.x509 import ObjectIdentifier

from agentid.pki.schema import Extension

__all__ = [
    "BasicOcspResponse",
    "CertId",
    "Held",
    "OcspRequest",
    "OcspResponse",
    "Request",
    "RequestSignature",
    "ResponseBytes",
    "ResponseData",
    "RevokedInfo",
    "SingleResponse",
    "TbsRequest",
]


@asn1.sequence
class CertId:
    """`CertID`: which certificate of which authority."""

    hash_algorithm: asn1.TLV
    issuer_name_hash: bytes
    issuer_key_hash: bytes
    serial_number: int


@asn1.sequence
class Request:
    """`Request`."""

    req_cert: CertId
    extensions: Annotated[list[Extension] | None, asn1.Explicit(0)]


@asn1.sequence
class Held:
    """Whatever stands behind an explicit tag."""

    value: asn1.TLV


@asn1.sequence
class TbsRequest:
    """`TBSRequest`; `version` counts from 0, so v1 is 0."""

    version: Annotated[int, asn1.Explicit(0), asn1.Default(0)]
    requestor_name: Annotated[Held | None, asn1.Implicit(1)]
    request_list: list[Request]
    extensions: Annotated[list[Extension] | None, asn1.Explicit(2)]


@asn1.sequence
class RequestSignature:
    """`Signature`, which nobody here looks into."""

    algorithm: asn1.TLV
    signature: asn1.BitString
    certs: Annotated[list[asn1.TLV] | None, asn1.Explicit(0)]


@asn1.sequence
class OcspRequest:
    """`OCSPRequest`."""

    tbs_request: TbsRequest
    signature: Annotated[RequestSignature | None, asn1.Explicit(0)]


@asn1.sequence
class RevokedInfo:
    """`RevokedInfo`; the reason is an ENUMERATED."""

    revocation_time: asn1.GeneralizedTime
    revocation_reason: Annotated[Held | None, asn1.Implicit(0)]


@asn1.sequence
class SingleResponse:
    """`SingleResponse`."""

    cert_id: CertId
    cert_status: (
        Annotated[asn1.Variant[asn1.Null, Literal["good"]], asn1.Implicit(0)]
        | Annotated[asn1.Variant[RevokedInfo, Literal["revoked"]], asn1.Implicit(1)]
        | Annotated[asn1.Variant[asn1.Null, Literal["unknown"]], asn1.Implicit(2)]
    )
    this_update: asn1.GeneralizedTime
    next_update: Annotated[asn1.GeneralizedTime | None, asn1.Explicit(0)]
    extensions: Annotated[list[Extension] | None, asn1.Explicit(1)]


@asn1.sequence
class ResponseData:
    """`ResponseData`; the responder is named by its key or by its name."""

    version: Annotated[int, asn1.Explicit(0), asn1.Default(0)]
    responder_id: asn1.TLV
    produced_at: asn1.GeneralizedTime
    responses: list[SingleResponse]
    extensions: Annotated[list[Extension] | None, asn1.Explicit(1)]


@asn1.sequence
class BasicOcspResponse:
    """`BasicOCSPResponse`, its ResponseData left as it was signed."""

    tbs_response_data: asn1.TLV
    signature_algorithm: asn1.TLV
    signature: asn1.BitString
    certs: Annotated[list[asn1.TLV] | None, asn1.Explicit(0)]


@asn1.sequence
class ResponseBytes:
    """`ResponseBytes`."""

    response_type: ObjectIdentifier
    response: bytes


@asn1.sequence
class OcspResponse:
    """`OCSPResponse`; the status is an ENUMERATED."""

    response_status: asn1.TLV
    response_bytes: Annotated[ResponseBytes | None, asn1.Explicit(0)]
