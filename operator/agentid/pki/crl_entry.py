"""One entry of a certificate revocation list, encoded once; RFC 5280 §5.3."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat import asn1

from agentid.errors import InputError, InternalError
from agentid.identity import RevocationReason
from agentid.pki import schema
from agentid.pki.revocation_schema import RevokedCertificate

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from agentid.identity import SerialNumber

__all__ = ["KNOWN_REASONS", "REASONS", "REASON_CODE", "CrlEntry"]

REASON_CODE: Final = "2.5.29.21"
"""The extension of an entry that says why (RFC 5280 §5.3.1)."""

_FIRST_YEAR: Final = 1950  # RFC 5280 §4.1.2.5.1: the two digits of a UTCTime begin here
_UTC_TIME_ENDS: Final = 2050  # RFC 5280 §5.1.2.6: UTCTime through 2049, GeneralizedTime from 2050

REASONS: Final[Mapping[bytes, RevocationReason]] = {
    bytes((0x0A, 1, reason.code)): reason for reason in RevocationReason
}
"""The reason codes in DER: an ENUMERATED, of which the declared types have none."""

_REASON_EXTENSIONS: Final[Mapping[RevocationReason, bytes]] = {
    reason: asn1.encode_der(
        schema.Extension(oid=x509.ObjectIdentifier(REASON_CODE), critical=False, value=value)
    )
    for value, reason in REASONS.items()
}

KNOWN_REASONS: Final[Mapping[bytes, RevocationReason]] = {
    der: reason for reason, der in _REASON_EXTENSIONS.items()
}
"""The whole extension in DER, which is the only one of nearly every entry."""


@dataclass(frozen=True, slots=True)
class CrlEntry:
    """One revoked certificate, encoded and linted once.

    Keep it as long as its certificate is revoked: a list is then signed anew at the cost of its
    header and of hashing its bytes.

    Attributes:
        serial: Of the certificate.
        revoked_at: When it was revoked, aware UTC in whole seconds.
        reason: Why.
        der: The entry as it stands in a list, in DER.
    """

    serial: SerialNumber
    revoked_at: datetime
    reason: RevocationReason = RevocationReason.UNSPECIFIED
    der: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Encode it.

        Raises:
            InputError: The time is not aware UTC in whole seconds, or lies before 1950.
            InternalError: What was encoded says something else.
        """
        # By hand: declared types take four times as long, and a list has up to 100,000. A serial
        # has at most 20 octets and the rest at most 31, so every length fits one octet.
        number = self.serial.value
        serial = number.to_bytes(number.bit_length() // 8 + 1)
        contents = b"".join(
            (b"\x02", bytes((len(serial),)), serial, _rest(self.revoked_at, self.reason))
        )
        der = b"".join((b"\x30", bytes((len(contents),)), contents))
        _lint(self, der)
        object.__setattr__(self, "der", der)


def _lint(entry: CrlEntry, der: bytes) -> None:
    """Take the entry apart again, by declared types, and ask that it says what was ordered."""
    found = schema.decode(RevokedCertificate, der, what="CRL entry")
    date = found.revocation_date
    extension = _REASON_EXTENSIONS[entry.reason]
    is_bare = entry.reason is RevocationReason.UNSPECIFIED
    extensions = found.extensions or []
    if (
        found.serial_number != entry.serial.value
        or date.as_datetime() != entry.revoked_at
        or isinstance(date, asn1.UTCTime) != (entry.revoked_at.year < _UTC_TIME_ENDS)
        or (found.extensions is None) != is_bare
        or any(asn1.encode_der(each) != extension for each in extensions)
        or len(extensions) > 1
    ):
        msg = f"the CRL entry of {entry.serial} fails the lint: it reads {der.hex()}"
        raise InternalError(msg)


@lru_cache(maxsize=1024)  # an incident revokes many certificates in the same second
def _rest(revoked_at: datetime, reason: RevocationReason) -> bytes:
    """What follows the serial number in an entry."""
    date = asn1.encode_der(_time(revoked_at, "revocationDate"))
    if reason is RevocationReason.UNSPECIFIED:
        return date  # RFC 5280 §5.3.1: then the extension should be left out
    extension = _REASON_EXTENSIONS[reason]
    return b"".join((date, b"\x30", bytes((len(extension),)), extension))


def _time(instant: datetime, label: str) -> asn1.UTCTime | asn1.GeneralizedTime:
    """RFC 5280 §5.1.2.4."""
    if instant.utcoffset() != timedelta(0) or instant.microsecond or instant.year < _FIRST_YEAR:
        msg = (
            f"CRL: {label} is {instant.isoformat()}, but must be UTC in whole seconds and not "
            f"before {_FIRST_YEAR}; convert it first"
        )
        raise InputError(msg)
    return asn1.UTCTime(instant) if instant.year < _UTC_TIME_ENDS else asn1.GeneralizedTime(instant)
