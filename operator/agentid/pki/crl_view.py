"""A certificate revocation list as its bytes say it, read with declared ASN.1 alone.

Reading is strict: version 2, full and direct lists only, nothing critical that is not understood
here, each serial once. Whether it is genuine is asked with `verify_crl`, whether it is current and
about a certificate at hand with the methods of `CrlView`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives.serialization import Encoding

from agentid.errors import InputError
from agentid.identity import RevocationReason, SerialNumber
from agentid.identity.quoting import quoted
from agentid.pki import schema
from agentid.pki.boundary import reading
from agentid.pki.crl_entry import KNOWN_REASONS, REASON_CODE, REASONS, CrlEntry
from agentid.pki.keys import check_public_key
from agentid.pki.revocation_schema import (
    IssuingDistributionPoint,
    RevokedCertificate,
    SignedCertList,
    TbsCertList,
)
from agentid.pki.view import read_certificate

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

__all__ = ["MAX_CRL_BYTES", "CrlView", "read_crl", "read_tbs_crl", "verify_crl"]

MAX_CRL_BYTES: Final = 8 * 1024 * 1024
"""One list in DER. An entry of ours takes 49 bytes, so 100,000 of them take 4.9 MB."""

_V2: Final = 1
_URI_TAG: Final = b"\x86"  # RFC 5280 §4.2.1.6: uniformResourceIdentifier [6] IA5String
_STRONG_HASHES: Final = frozenset({"sha256", "sha384", "sha512"})
_SHOWN: Final = 48
_FETCH: Final = "fetch it again from its issuer"

_AUTHORITY_KEY_IDENTIFIER: Final = "2.5.29.35"
_CRL_NUMBER: Final = "2.5.29.20"
_ISSUING_DISTRIBUTION_POINT: Final = "2.5.29.28"
_KNOWN: Final = frozenset({_AUTHORITY_KEY_IDENTIFIER, _CRL_NUMBER, _ISSUING_DISTRIBUTION_POINT})
_INVALIDITY_DATE: Final = "2.5.29.24"
_MAX_NUMBER: Final = (1 << 159) - 1  # RFC 5280 §5.2.3: at most 20 octets


@dataclass(frozen=True, slots=True)
class CrlView:
    """A list taken apart; its signature is not checked.

    Attributes:
        der: The whole list, empty if only the part to be signed was read.
        tbs: The fields.
        number: The cRLNumber.
        key_id: The key identifier of the key that signed it.
        distribution_uris: Where the list is published, as it says itself; empty if it does not.
        only_user_certs: Whether it is silent about certificates of authorities.
        only_ca_certs: Whether it is silent about all others.
        extensions: The extensions by dotted OID.
        revoked: By serial number in the order in which they stand: when, and why.
    """

    der: bytes = field(repr=False)
    tbs: TbsCertList = field(repr=False)
    number: int
    key_id: bytes
    distribution_uris: tuple[str, ...]
    only_user_certs: bool
    only_ca_certs: bool
    extensions: Mapping[str, schema.Extension] = field(repr=False)
    revoked: Mapping[int, tuple[datetime, RevocationReason]] = field(repr=False)

    @property
    def issuer_der(self) -> bytes:
        """The distinguished name of the issuer."""
        return asn1.encode_der(self.tbs.issuer)

    @property
    def this_update(self) -> datetime:
        """When it was issued, aware UTC."""
        return self.tbs.this_update.as_datetime()

    @property
    def next_update(self) -> datetime:
        """When the next one is there at the latest, aware UTC."""
        after = self.tbs.next_update
        if after is None:  # never so: reading asked for it
            msg = "CRL: nextUpdate is missing"
            raise InputError(msg)
        return after.as_datetime()

    def __len__(self) -> int:
        """How many certificates are revoked."""
        return len(self.revoked)

    def __iter__(self) -> Iterator[CrlEntry]:
        """The entries in the order in which they stand."""
        for serial in self.revoked:
            yield self._entry(serial)

    def find(self, serial: SerialNumber) -> CrlEntry | None:
        """The entry of a certificate, or None if the list does not hold it.

        None means not revoked only where the list is genuine, current, and covers the certificate.
        """
        return self._entry(serial.value) if serial.value in self.revoked else None

    def require_current(self, now: datetime) -> None:
        """Refuse a list that is not in force.

        Raises:
            InputError: It is not in force yet, or its successor is overdue.
        """
        if now < self.this_update:
            msg = (
                f"CRL: it is in force from {self.this_update.isoformat()} on, and it is "
                f"{now.isoformat(timespec='seconds')}; check the clock"
            )
            raise InputError(msg)
        if now >= self.next_update:
            msg = (
                f"CRL: its successor was due at {self.next_update.isoformat()}, and it is "
                f"{now.isoformat(timespec='seconds')}; {_FETCH}"
            )
            raise InputError(msg)

    def require_covers(self, crl_uri: str | None) -> None:
        """Refuse a list that is silent about a certificate that is no authority's.

        RFC 5280 §6.3.3 (b)(2): a list that names its distribution point answers only for the
        certificates that name the same one.

        Args:
            crl_uri: The CRL distribution point of the certificate, or None if it names none.

        Raises:
            InputError: The list is about authorities only, or about another distribution point.
        """
        if self.only_ca_certs:
            msg = "CRL: it is about certificates of authorities only; use that of the issuer"
            raise InputError(msg)
        if self.distribution_uris and crl_uri not in self.distribution_uris:
            named = "no distribution point" if crl_uri is None else _end_of(crl_uri)
            msg = (
                f"CRL: it is that of {_end_of(self.distribution_uris[0])}, but the certificate "
                f"names {named}; use the list of the distribution point in the certificate"
            )
            raise InputError(msg)

    def _entry(self, serial: int) -> CrlEntry:
        revoked_at, reason = self.revoked[serial]
        return CrlEntry(SerialNumber(serial), revoked_at, reason)


def read_crl(der: bytes) -> CrlView:
    """Read one list from DER of at most 8 MiB; its signature is not checked.

    Raises:
        InputError: It is too long, is not strict DER, breaks RFC 5280 §5, says something critical
            that is not understood here, or is a list that is not full and direct: a delta list, an
            indirect one, one of some reasons only.
    """
    if len(der) > MAX_CRL_BYTES:
        msg = f"CRL: it has {len(der)} bytes, at most {MAX_CRL_BYTES} are read"
        raise InputError(msg)
    signed = schema.decode(SignedCertList, der, what="CRL")
    if signed.signature.padding_bits():
        msg = f"CRL: its signature is not of whole octets; it was altered, so {_FETCH}"
        raise InputError(msg)
    view = read_tbs_crl(asn1.encode_der(signed.tbs_cert_list), der=der)
    if asn1.encode_der(signed.signature_algorithm) != asn1.encode_der(view.tbs.signature):
        msg = (
            "CRL: the signature algorithm inside the signed part is not the one outside; it was "
            f"altered, so {_FETCH}"
        )
        raise InputError(msg)
    return view


def read_tbs_crl(tbs_der: bytes, *, der: bytes = b"") -> CrlView:
    """Read the part of a list that is signed, as `read_crl` does.

    Raises:
        InputError: As for `read_crl`.
    """
    tbs = schema.decode(TbsCertList, tbs_der, what="CRL")
    if tbs.version != _V2:
        msg = "CRL: it is not of version 2, which RFC 5280 §5.1.2.1 asks for"
        raise InputError(msg)
    if tbs.next_update is None:
        msg = "CRL: nextUpdate is missing, which RFC 5280 §5.1.2.5 asks for"
        raise InputError(msg)
    if tbs.revoked_certificates == []:
        msg = "CRL: revokedCertificates is empty; RFC 5280 §5.1.2.6 wants it left out then"
        raise InputError(msg)
    extensions = _extensions(tbs.extensions or (), _KNOWN, "CRL")
    point = _point(extensions.get(_ISSUING_DISTRIBUTION_POINT))
    return CrlView(
        der=der,
        tbs=tbs,
        number=_number(extensions.get(_CRL_NUMBER)),
        key_id=_key_id(extensions.get(_AUTHORITY_KEY_IDENTIFIER)),
        distribution_uris=() if point is None else _uris(point),
        only_user_certs=point is not None and point.only_user_certs,
        only_ca_certs=point is not None and point.only_ca_certs,
        extensions=extensions,
        revoked=_revoked(tbs.revoked_certificates or ()),
    )


def verify_crl(crl: CrlView, issuer: x509.Certificate) -> None:
    """Check that the list is one of this authority.

    Neither the times of the list nor those of the authority are looked at, nor is it asked whether
    the authority itself is trusted.

    Raises:
        InputError: The list names another issuer or key, the authority may not sign lists, its key
            is weak, the signature does not verify, or is made with a weak hash.
    """
    with reading("CRL: the certificate of its issuer does not parse"):
        authority = read_certificate(issuer.public_bytes(Encoding.DER))
        public_key = issuer.public_key()
    if crl.issuer_der != authority.subject_der:
        msg = "CRL: its issuer is another authority; use the list of the certificate's issuer"
        raise InputError(msg)
    if crl.key_id != authority.subject_key_identifier:
        msg = (
            "CRL: its authorityKeyIdentifier names another key of its issuer; use the list of the "
            "key that signed the certificate"
        )
        raise InputError(msg)
    usage = authority.key_usage
    if usage is not None and "cRLSign" not in usage:  # RFC 5280 §6.3.3 (f)
        msg = "CRL: keyUsage of its issuer lacks cRLSign, so it may not sign lists"
        raise InputError(msg)
    check_public_key(public_key, what="CRL issuer")
    refusal = f"CRL: its signature does not verify under the key of its issuer; {_FETCH}"
    with reading(refusal):
        loaded = x509.load_der_x509_crl(crl.der)
        digest = loaded.signature_hash_algorithm
        # `check_public_key` has narrowed the key to the kinds that sign.
        genuine = loaded.is_signature_valid(public_key)  # type: ignore[arg-type]
    if not genuine:
        raise InputError(refusal)
    if digest is not None and digest.name not in _STRONG_HASHES:
        msg = f"CRL: it is signed with {digest.name}; have it signed with SHA-256 or better"
        raise InputError(msg)


def _end_of(uri: str) -> str:
    """The shards of an authority differ in the last characters of their URIs."""
    return quoted(uri if len(uri) <= _SHOWN else f"...{uri[-_SHOWN:]}")


def _extensions(
    found: Sequence[schema.Extension], known: frozenset[str], what: str
) -> dict[str, schema.Extension]:
    extensions: dict[str, schema.Extension] = {}
    for extension in found:
        oid = extension.oid.dotted_string
        if oid in extensions:
            msg = f"{what}: the extension {oid} stands more than once"
            raise InputError(msg)
        if extension.critical and oid not in known:
            # RFC 5280 §5.2 and §5.3: a list with one that is not understood must not be used.
            msg = f"{what}: the extension {oid} is critical and not understood, so it is not used"
            raise InputError(msg)
        extensions[oid] = extension
    return extensions


def _number(extension: schema.Extension | None) -> int:
    if extension is None:
        msg = "CRL: cRLNumber is missing, which RFC 5280 §5.2.3 asks for"
        raise InputError(msg)
    number = schema.decode(int, extension.value, what="cRLNumber")
    if not 0 <= number <= _MAX_NUMBER:
        msg = "CRL: cRLNumber is negative or longer than 20 octets (RFC 5280 §5.2.3)"
        raise InputError(msg)
    return number


def _key_id(extension: schema.Extension | None) -> bytes:
    if extension is not None:
        value = schema.decode(
            schema.AuthorityKeyIdentifier, extension.value, what="authorityKeyIdentifier"
        )
        if value.key_identifier:
            return value.key_identifier
    msg = "CRL: authorityKeyIdentifier with a key identifier is missing (RFC 5280 §5.2.1)"
    raise InputError(msg)


def _point(extension: schema.Extension | None) -> IssuingDistributionPoint | None:
    if extension is None:
        return None
    if not extension.critical:
        msg = "CRL: issuingDistributionPoint must be critical (RFC 5280 §5.2.5)"
        raise InputError(msg)
    point = schema.decode(
        IssuingDistributionPoint, extension.value, what="issuingDistributionPoint"
    )
    if point.only_some_reasons is not None or point.indirect or point.only_attribute_certs:
        msg = (
            "CRL: it is of some reasons only, indirect, or about attribute certificates; only "
            "full and direct lists are read"
        )
        raise InputError(msg)
    if point.only_user_certs and point.only_ca_certs:
        msg = "CRL: it claims to be about leaves only and about authorities only (RFC 5280 §5.2.5)"
        raise InputError(msg)
    return point


def _uris(point: IssuingDistributionPoint) -> tuple[str, ...]:
    name = point.distribution_point
    if name is None:
        return ()
    if not name.full_name or name.relative_name is not None:
        msg = "CRL: its distribution point has no full name; only full names are read"
        raise InputError(msg)
    uris = tuple(
        bytes(each.data).decode("ascii", "backslashreplace")
        for each in name.full_name
        if each.tag_bytes == _URI_TAG
    )
    if not uris:
        msg = "CRL: its distribution point is named by no URI; only URIs are read"
        raise InputError(msg)
    return uris


def _revoked(
    entries: Sequence[RevokedCertificate],
) -> dict[int, tuple[datetime, RevocationReason]]:
    revoked: dict[int, tuple[datetime, RevocationReason]] = {}
    for entry in entries:
        serial = entry.serial_number
        if serial in revoked:
            msg = f"CRL: the serial number {serial:x} stands more than once"
            raise InputError(msg)
        if not 0 < serial <= _MAX_NUMBER:
            SerialNumber(serial)  # raises, and says why
        extensions = entry.extensions
        reason = RevocationReason.UNSPECIFIED if extensions is None else _reason(extensions)
        revoked[serial] = entry.revocation_date.as_datetime(), reason
    return revoked


def _reason(items: Sequence[asn1.TLV]) -> RevocationReason:
    if len(items) == 1 and (known := KNOWN_REASONS.get(asn1.encode_der(items[0]))):
        return known
    found = [
        schema.decode(schema.Extension, asn1.encode_der(item), what="CRL entry extension")
        for item in items
    ]
    extensions = _extensions(found, frozenset({REASON_CODE, _INVALIDITY_DATE}), "CRL entry")
    extension = extensions.get(REASON_CODE)
    if extension is None:
        return RevocationReason.UNSPECIFIED
    reason = REASONS.get(extension.value)
    if reason is None:
        msg = f"CRL: {extension.value[:8].hex()} is no reasonCode of RFC 5280 §5.3.1"
        raise InputError(msg)
    return reason
