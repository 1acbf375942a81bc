"""OCSP: questions read, answers signed; RFC 6960, RFC 9654 (nonce), RFC 9919 (lightweight profile).

    bytes ─ parse_request ─► OcspQuestion ─ CertIdTable.find ─► authority ─► its OcspResponder
      │ InputError                              │ None                          │
      ▼                                         ▼                               ▼ answer
    MALFORMED_REQUEST                      UNAUTHORIZED                  OCSPResponse in DER

Which status a certificate has is for the caller to know. The delegate's certificate is made in
`ocsp_signer`. Answers are assembled here and not by the library's builder, which takes producedAt
from the clock of the machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID, OCSPExtensionOID

from agentid.errors import InputError, InternalError
from agentid.identity import RevocationReason, SerialNumber, Validity
from agentid.pki import schema
from agentid.pki.boundary import LIBRARY_ERRORS, reading
from agentid.pki.keys import check_public_key
from agentid.pki.ocsp_request import (
    HASH_OIDS,
    MAX_REQUEST_BYTES,
    NULL,
    CertIdTable,
    OcspQuestion,
    issuer_hashes,
    parse_request,
)
from agentid.pki.ocsp_schema import (
    BasicOcspResponse,
    CertId,
    Held,
    OcspResponse,
    ResponseBytes,
    ResponseData,
    RevokedInfo,
    SingleResponse,
)
from agentid.pki.signer import LocalSigner

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from agentid.pki.keys import PrivateKey

    _CertStatus: TypeAlias = (
        asn1.Variant[asn1.Null, Literal["good"]]
        | asn1.Variant[RevokedInfo, Literal["revoked"]]
        | asn1.Variant[asn1.Null, Literal["unknown"]]
    )

__all__ = [
    "MAX_REQUEST_BYTES",
    "CertIdTable",
    "CertState",
    "OcspError",
    "OcspQuestion",
    "OcspResponder",
    "OcspStatus",
    "Revoked",
    "parse_request",
    "unsuccessful",
]

_BASIC: Final = x509.ObjectIdentifier("1.3.6.1.5.5.7.48.1.1")  # RFC 6960 §4.2.1: id-pkix-ocsp-basic


def _tlv(der: bytes) -> asn1.TLV:
    return asn1.decode_der(asn1.TLV, der)


class OcspError(Enum):
    """An `OCSPResponseStatus` (RFC 6960 §4.2.1) that says why there is no answer."""

    MALFORMED_REQUEST = 1
    """`parse_request` refused the bytes."""

    INTERNAL_ERROR = 2
    """A defect; another responder may do better."""

    TRY_LATER = 3
    """Too busy, or what is to be said is not known yet."""

    UNAUTHORIZED = 6
    """The question is about an authority that is not served here, or named by an unknown hash
    (RFC 9919 §3.2.3)."""


class CertState(Enum):
    """The two statuses that carry nothing else."""

    GOOD = "good"
    """Issued here and not revoked."""

    UNKNOWN = "unknown"
    """The authority has never issued this serial number; verifiers refuse it."""


@dataclass(frozen=True, slots=True)
class Revoked:
    """The certificate is revoked.

    Attributes:
        at: When, aware UTC in whole seconds.
        reason: Why.
    """

    at: datetime
    reason: RevocationReason = RevocationReason.UNSPECIFIED


OcspStatus: TypeAlias = CertState | Revoked
"""What can be said about a certificate (RFC 6960 §2.2)."""


def unsuccessful(error: OcspError) -> bytes:
    """The answer that there is no answer, in DER; it is not signed (RFC 6960 §2.3)."""
    return _UNSUCCESSFUL[error]


class OcspResponder:
    """Answers for one authority with a key that the authority has delegated to."""

    __slots__ = ("_data", "_draft", "_hashes", "_serial", "_signer", "_validity")

    def __init__(
        self, issuer: x509.Certificate, delegated: x509.Certificate, key: PrivateKey
    ) -> None:
        """Check that the three belong together.

        Args:
            issuer: The authority.
            delegated: The certificate of the delegate; `make_ocsp_responder` makes one.
            key: The private key of the delegate.

        Raises:
            InputError: The delegate is not one of this authority by RFC 6960 §4.2.2.2, or the key
                is not its own.
        """
        try:
            delegated.verify_directly_issued_by(issuer)
            purposes = delegated.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
            matches = key.public_key() == delegated.public_key()
        except (x509.ExtensionNotFound, *LIBRARY_ERRORS) as error:
            msg = (
                "OCSP responder: its certificate is not one that the authority has issued to a "
                "responder; make it anew"
            )
            raise InputError(msg) from error
        if ExtendedKeyUsageOID.OCSP_SIGNING not in purposes:
            msg = "OCSP responder: its certificate lacks the purpose OCSPSigning; make it anew"
            raise InputError(msg)
        if not matches:
            msg = "OCSP responder: the private key is not that of its certificate"
            raise InputError(msg)
        check_public_key(key.public_key(), what="OCSP responder")
        self._signer = LocalSigner(key)
        self._serial = SerialNumber(delegated.serial_number)
        self._hashes = issuer_hashes(issuer)
        self._validity = Validity(delegated.not_valid_before_utc, delegated.not_valid_after_utc)
        self._draft, self._data = _draft(delegated, key, self._signer)

    @property
    def validity(self) -> Validity:
        """The period in which the delegate may sign."""
        return self._validity

    def answer(
        self,
        question: OcspQuestion,
        status: OcspStatus,
        this_update: datetime,
        next_update: datetime,
        produced_at: datetime,
    ) -> bytes:
        """A signed answer in DER.

        The responder is named by its key, and its certificate stands in the answer (RFC 9919
        §3.2.2); the nonce of the question, if there is one, is repeated. Times are aware UTC in
        whole seconds.

        Args:
            question: What was asked.
            status: What the certificate is.
            this_update: When that was known to be so.
            next_update: Until when the answer may be used (RFC 9919 §3.2.4); cut where the
                delegate's certificate ends, since from then on nobody accepts it.
            produced_at: The present.

        Raises:
            InputError: The delegate's certificate is not valid at present, or the times are not in
                order.
            InternalError: The question is about another authority.
        """
        name = question.hash_algorithm or ""
        if self._hashes.get(name) != (question.issuer_name_hash, question.issuer_key_hash):
            msg = "an OCSP question about one authority was taken to the responder of another"
            raise InternalError(msg)
        until = min(next_update, self._validity.not_after)
        self._check_times(this_update, until, produced_at)
        single = SingleResponse(
            cert_id=CertId(
                hash_algorithm=_HASH_ALGORITHMS[name, question.null_parameters],
                issuer_name_hash=question.issuer_name_hash,
                issuer_key_hash=question.issuer_key_hash,
                serial_number=question.serial.value,
            ),
            cert_status=_status(status),
            this_update=_time(this_update, "thisUpdate"),
            next_update=_time(until, "nextUpdate"),
            extensions=None,
        )
        data = asn1.encode_der(
            ResponseData(
                version=0,
                responder_id=self._data.responder_id,
                produced_at=_time(produced_at, "producedAt"),
                responses=[single],
                extensions=None if question.nonce is None else [_nonce(question.nonce)],
            )
        )
        return _successful(
            BasicOcspResponse(
                tbs_response_data=_tlv(data),
                signature_algorithm=self._draft.signature_algorithm,
                signature=asn1.BitString(self._signer.sign(data), 0),
                certs=self._draft.certs,
            )
        )

    def _check_times(self, this_update: datetime, until: datetime, produced_at: datetime) -> None:
        if not self._validity.contains(produced_at):
            msg = (
                f"OCSP responder: its certificate is valid {self._validity}, and it is "
                f"{produced_at.isoformat()}; give it a new one"
            )
            raise InputError(msg)
        if not this_update <= produced_at <= until:
            msg = (
                f"OCSP answer: produced at {produced_at.isoformat()}, which is not between "
                f"thisUpdate {this_update.isoformat()} and nextUpdate {until.isoformat()}"
            )
            raise InputError(msg)

    def __repr__(self) -> str:
        """Its certificate; not its key."""
        return f"OcspResponder(serial={self._serial}, validity={self._validity}, key=<masked>)"


def _draft(
    delegated: x509.Certificate, key: PrivateKey, signer: LocalSigner
) -> tuple[BasicOcspResponse, ResponseData]:
    """What all answers of a delegate share, taken from one that the library has built.

    That is its AlgorithmIdentifier, its ResponderID by key, and its certificate.
    """
    builder = (
        ocsp.OCSPResponseBuilder()
        .add_response(
            cert=delegated,
            issuer=delegated,
            algorithm=hashes.SHA256(),
            cert_status=ocsp.OCSPCertStatus.GOOD,
            this_update=delegated.not_valid_before_utc,
            next_update=None,
            revocation_time=None,
            revocation_reason=None,
        )
        .responder_id(ocsp.OCSPResponderEncoding.HASH, delegated)
        .certificates([delegated])
    )
    with reading("OCSP responder: it cannot sign; give it another key"):
        draft = builder.sign(key, signer.algorithm.signature_hash).public_bytes(Encoding.DER)
    held = schema.decode(OcspResponse, draft, what="OCSP answer").response_bytes
    basic = schema.decode(BasicOcspResponse, held.response if held else b"", what="OCSP answer")
    data = asn1.encode_der(basic.tbs_response_data)
    return basic, schema.decode(ResponseData, data, what="OCSP answer")


def _time(instant: datetime, label: str) -> asn1.GeneralizedTime:
    """RFC 9919 §3.2.4: UTC without fractions of a second."""
    if instant.utcoffset() != timedelta(0) or instant.microsecond:
        msg = (
            f"OCSP answer: {label} is {instant.isoformat()}, but must be UTC in whole seconds; "
            "convert it first"
        )
        raise InputError(msg)
    return asn1.GeneralizedTime(instant)


def _status(status: OcspStatus) -> _CertStatus:
    if status is CertState.GOOD:
        return _GOOD
    if status is CertState.UNKNOWN:
        return _UNKNOWN
    return asn1.Variant(
        RevokedInfo(
            revocation_time=_time(status.at, "revocationTime"),
            revocation_reason=_REASONS[status.reason],
        ),
        "revoked",
    )


def _nonce(octets: bytes) -> schema.Extension:
    return schema.Extension(
        oid=OCSPExtensionOID.NONCE, critical=False, value=asn1.encode_der(octets)
    )


def _successful(basic: BasicOcspResponse) -> bytes:
    return asn1.encode_der(
        OcspResponse(
            response_status=_SUCCESSFUL,
            response_bytes=ResponseBytes(response_type=_BASIC, response=asn1.encode_der(basic)),
        )
    )


_GOOD: Final[_CertStatus] = asn1.Variant(asn1.Null(), "good")
_UNKNOWN: Final[_CertStatus] = asn1.Variant(asn1.Null(), "unknown")
# Of ENUMERATED the declared types have none: tag, length, number.
_SUCCESSFUL: Final = _tlv(b"\x0a\x01\x00")
_UNSUCCESSFUL: Final[Mapping[OcspError, bytes]] = {
    error: asn1.encode_der(
        OcspResponse(response_status=_tlv(bytes((0x0A, 1, error.value))), response_bytes=None)
    )
    for error in OcspError
}
# RFC 6960 §4.2.1 takes the reasons of RFC 5280; left out where nothing is said.
_REASONS: Final[Mapping[RevocationReason, Held | None]] = {
    reason: None
    if reason is RevocationReason.UNSPECIFIED
    else Held(value=_tlv(bytes((0x0A, 1, reason.code))))
    for reason in RevocationReason
}
_HASH_ALGORITHMS: Final[Mapping[tuple[str, bool], asn1.TLV]] = {
    (name, null): _tlv(bytes((0x30, len(oid) + len(NULL) * null)) + oid + NULL * null)
    for name, oid in HASH_OIDS.items()
    for null in (False, True)
}
