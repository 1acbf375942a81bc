"""The last look at a list before it is signed.

As `lint` does for leaves, it takes the very bytes that are to be signed apart again, and asks that
every field says what was ordered and nothing else. Entries were taken apart when they were made
(`CrlEntry`), so that here their bytes are compared, which for 100,000 saves half a second.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from cryptography.hazmat import asn1

from agentid.errors import InputError
from agentid.identity.quoting import quoted
from agentid.pki import schema
from agentid.pki.crl_view import CrlView, read_tbs_crl
from agentid.pki.revocation_schema import FilledTbsCertList, TbsCertList

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from agentid.pki.crl_entry import CrlEntry

__all__ = ["ExpectedCrl", "crl_faults"]

_UTC_TIME_ENDS: Final = 2050  # RFC 5280 §5.1.2.4: UTCTime through 2049, GeneralizedTime from 2050
_NUMBER: Final = "2.5.29.20"
_KEY_IDENTIFIER: Final = "2.5.29.35"
_POINT: Final = "2.5.29.28"


@dataclass(frozen=True, slots=True)
class ExpectedCrl:
    """What the list must say.

    Attributes:
        issuer: The distinguished name of the authority, DER.
        issuer_key_id: Its subject key identifier.
        number: The cRLNumber.
        this_update: Exactly.
        next_update: Exactly.
        distribution_uri: The only name of its distribution point; None for no such extension.
        entries: The entries, by ascending serial number.
    """

    issuer: bytes
    issuer_key_id: bytes
    number: int
    this_update: datetime
    next_update: datetime
    distribution_uri: str | None
    entries: Sequence[CrlEntry]


def crl_faults(tbs: bytes, expected: ExpectedCrl) -> tuple[str, ...]:
    """Everything that is wrong with the TBSCertList, one sentence each; empty if nothing."""
    try:
        header, entries = _split(tbs) if expected.entries else (tbs, b"")
        view = read_tbs_crl(header)
        return (
            *_header(view, expected),
            *_extensions(view, expected),
            *_entries(view, entries, expected.entries),
        )
    except InputError as error:
        return (str(error),)


def _split(tbs: bytes) -> tuple[bytes, bytes]:
    """The TBSCertList without its entries, and the contents of the SEQUENCE of these."""
    whole = schema.decode(FilledTbsCertList, tbs, what="CRL")
    entries = whole.revoked_certificates
    if entries.tag_bytes != b"\x30":
        msg = "revokedCertificates: it is missing"
        raise InputError(msg)
    header = TbsCertList(
        version=whole.version,
        signature=whole.signature,
        issuer=whole.issuer,
        this_update=whole.this_update,
        next_update=whole.next_update,
        revoked_certificates=None,
        extensions=whole.extensions,
    )
    return asn1.encode_der(header), bytes(entries.data)


def _header(view: CrlView, expected: ExpectedCrl) -> Iterator[str]:
    if view.issuer_der != expected.issuer:
        yield "issuer: it is not the subject of the authority"
    for label, encoded, found, wanted in (
        ("thisUpdate", view.tbs.this_update, view.this_update, expected.this_update),
        ("nextUpdate", view.tbs.next_update, view.next_update, expected.next_update),
    ):
        if found != wanted:
            yield f"{label}: it is {found.isoformat()}, but {wanted.isoformat()} was ordered"
        if isinstance(encoded, asn1.UTCTime) != (found.year < _UTC_TIME_ENDS):
            yield f"{label}: {found.year} is encoded as {type(encoded).__name__}"
    if view.next_update <= view.this_update:
        yield "nextUpdate: it is not after thisUpdate"


def _extensions(view: CrlView, expected: ExpectedCrl) -> Iterator[str]:
    wanted = {_NUMBER: False, _KEY_IDENTIFIER: False}
    if expected.distribution_uri is not None:
        wanted[_POINT] = True
    found = {oid: extension.critical for oid, extension in view.extensions.items()}
    if found != wanted:
        yield f"crlExtensions: they are {found}, but {wanted} was ordered"
        return
    if view.number != expected.number:
        yield f"cRLNumber: it is {view.number}, but {expected.number} was ordered"
    identifier = schema.decode(
        schema.AuthorityKeyIdentifier,
        view.extensions[_KEY_IDENTIFIER].value,
        what="authorityKeyIdentifier",
    )
    named = identifier.authority_cert_issuer, identifier.authority_cert_serial_number
    if identifier.key_identifier != expected.issuer_key_id or named != (None, None):
        yield "authorityKeyIdentifier: it is not the key identifier of the authority alone"
    uri = expected.distribution_uri
    if view.distribution_uris != (() if uri is None else (uri,)):
        yield f"issuingDistributionPoint: it does not name {quoted(uri)} alone"
    if view.only_ca_certs or view.only_user_certs != (uri is not None):
        yield "issuingDistributionPoint: a shard is about leaves only, any other list about all"


def _entries(view: CrlView, found: bytes, expected: Sequence[CrlEntry]) -> Iterator[str]:
    if len(view):
        yield "revokedCertificates: there are entries, and none was ordered"
    if found != b"".join(entry.der for entry in expected):
        yield "revokedCertificates: the entries are not those that were ordered"
    if any(low.serial.value >= high.serial.value for low, high in pairwise(expected)):
        yield "revokedCertificates: the serial numbers do not ascend"
    for reason in {entry.reason for entry in expected}:
        if not reason.is_final:
            yield f"revokedCertificates: the reason {reason} is not final"
