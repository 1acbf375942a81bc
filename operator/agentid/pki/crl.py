"""Certificate revocation lists: assembled, linted, signed, verified; RFC 5280 §5.

    header by the library's builder, under a throwaway key ─┐
    entries, each encoded once (`CrlEntry`) ────────────────┴► TBSCertList ─► lint ─► sign ─► verify

Lists are full, never delta: proxies such as Envoy do not read delta lists. A list of leaves is one
*shard* of its authority: its critical issuingDistributionPoint names where it is published and that
it is about leaves only, and the leaves that it is about name the same place.
"""

from __future__ import annotations

import base64
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat import asn1

from agentid.errors import InputError, InternalError
from agentid.pki import schema
from agentid.pki.boundary import reading
from agentid.pki.crl_entry import CrlEntry
from agentid.pki.crl_lint import ExpectedCrl, crl_faults
from agentid.pki.crl_view import MAX_CRL_BYTES, CrlView, read_crl, verify_crl
from agentid.pki.profile import check_uri
from agentid.pki.revocation_schema import FilledTbsCertList, SignedCertList, TbsCertList

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from agentid.pki.authority import Authority

__all__ = [
    "MAX_CRL_BYTES",
    "CrlEntry",
    "CrlView",
    "crl_pem",
    "make_crl",
    "read_crl",
    "verify_crl",
]

_MAX_NUMBER: Final = (1 << 159) - 1  # RFC 5280 §5.2.3: at most 20 octets
_LINE: Final = 64  # RFC 7468 §2


def make_crl(
    authority: Authority,
    entries: Iterable[CrlEntry],
    number: int,
    this_update: datetime,
    next_update: datetime,
    distribution_uri: str | None = None,
) -> bytes:
    """A signed list in DER.

    That number and times only ever grow for one authority and shard is for the caller to see to.

    Args:
        authority: Who signs. For the list of a root, which holds revoked intermediates, an
            authority whose chain is the root alone; see `Authority`.
        entries: What is revoked, in any order, each serial once. Final reasons only: nothing of
            ours is on hold, and a full list does not say what has left it.
        number: The cRLNumber, 0 to 2^159 - 1.
        this_update: The present, aware UTC in whole seconds.
        next_update: When its successor is there at the latest.
        distribution_uri: Where this shard of leaves is published, as the leaves name it. None for
            a list that is about everything its authority has signed, such as a root's: verifiers
            take one with a distribution point for certificates only that name the same point.

    Raises:
        InputError: A serial stands twice, a reason is not final, or number, times or URI are
            malformed.
        InternalError: The lint refuses what was built, or the signature does not verify.
        UnavailableError: The signer's key is away; nothing was signed.
    """
    listed = _sorted(entries)
    header = _header(authority, number, this_update, next_update, distribution_uri)
    tbs = asn1.encode_der(_filled(header, listed) if listed else header)
    expected = ExpectedCrl(
        issuer=authority.subject_der,
        issuer_key_id=authority.key_id,
        number=number,
        this_update=this_update,
        next_update=next_update,
        distribution_uri=distribution_uri,
        entries=listed,
    )
    if faults := crl_faults(tbs, expected):
        msg = f"the CRL of {authority.trust_domain} fails the lint: {'; '.join(faults)}"
        raise InternalError(msg)
    der = asn1.encode_der(
        SignedCertList(
            tbs_cert_list=schema.decode(asn1.TLV, tbs, what="CRL"),
            signature_algorithm=header.signature,
            signature=asn1.BitString(authority.signer.sign(tbs), 0),
        )
    )
    # Unlike `verify_signature`, this looks at the AlgorithmIdentifiers as well.
    with reading(f"the CRL of {authority.trust_domain} does not parse after signing"):
        genuine = x509.load_der_x509_crl(der).is_signature_valid(authority.public_key)
    if not genuine:
        msg = f"the signer of {authority.trust_domain} made a signature that does not verify"
        raise InternalError(msg)
    return der


def crl_pem(der: bytes) -> bytes:
    """A list as PEM (RFC 7468 §6), lines of 64 characters, with a line end at the end."""
    text = base64.b64encode(der)
    lines = b"\n".join(text[at : at + _LINE] for at in range(0, len(text), _LINE))
    return b"-----BEGIN X509 CRL-----\n%b\n-----END X509 CRL-----\n" % lines


def _sorted(entries: Iterable[CrlEntry]) -> list[CrlEntry]:
    by_serial: dict[int, CrlEntry] = {}
    for entry in entries:
        if entry.serial.value in by_serial:
            msg = f"CRL: the serial number {entry.serial} is given twice; give each once"
            raise InputError(msg)
        by_serial[entry.serial.value] = entry
    for reason in {entry.reason for entry in by_serial.values()}:
        if not reason.is_final:
            msg = f"CRL: the reason {reason} is given; only final reasons are listed"
            raise InputError(msg)
    return [by_serial[serial] for serial in sorted(by_serial)]


def _header(
    authority: Authority,
    number: int,
    this_update: datetime,
    next_update: datetime,
    distribution_uri: str | None,
) -> TbsCertList:
    """The list without its entries, drafted by the library's builder."""
    if not 0 <= number <= _MAX_NUMBER:
        msg = f"CRL: the number {number} is negative or longer than 20 octets (RFC 5280 §5.2.3)"
        raise InputError(msg)
    for label, instant in (("thisUpdate", this_update), ("nextUpdate", next_update)):
        if instant.utcoffset() != timedelta(0) or instant.microsecond:
            msg = (
                f"CRL: {label} is {instant.isoformat()}, but must be UTC in whole seconds; "
                "convert it first"
            )
            raise InputError(msg)
    if next_update <= this_update:
        msg = (
            f"CRL: nextUpdate {next_update.isoformat()} is not after thisUpdate "
            f"{this_update.isoformat()}"
        )
        raise InputError(msg)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(authority.certificate.subject)
        .last_update(this_update)
        .next_update(next_update)
        .add_extension(x509.CRLNumber(number), critical=False)
        .add_extension(authority.authority_key_identifier, critical=False)
    )
    if distribution_uri is not None:
        # RFC 5280 §5.2.5: it must be critical.
        builder = builder.add_extension(_point(distribution_uri), critical=True)
    draft = builder.sign(authority.draft_key, authority.algorithm.signature_hash)
    return schema.decode(TbsCertList, draft.tbs_certlist_bytes, what="CRL")


def _point(uri: str) -> x509.IssuingDistributionPoint:
    check_uri("CRL distribution point", uri)  # as in the leaves that name it
    return x509.IssuingDistributionPoint(
        full_name=[x509.UniformResourceIdentifier(uri)],
        relative_name=None,
        only_contains_user_certs=True,
        only_contains_ca_certs=False,
        only_some_reasons=None,
        indirect_crl=False,
        only_contains_attribute_certs=False,
    )


def _filled(header: TbsCertList, entries: list[CrlEntry]) -> FilledTbsCertList:
    # An OCTET STRING of the entries has the length octets of a SEQUENCE of them; declared types
    # would encode each entry anew.
    octets = asn1.encode_der(b"".join(entry.der for entry in entries))
    return FilledTbsCertList(
        version=header.version,
        signature=header.signature,
        issuer=header.issuer,
        this_update=header.this_update,
        next_update=header.next_update,
        revoked_certificates=schema.decode(asn1.TLV, b"\x30" + octets[1:], what="CRL"),
        extensions=header.extensions,
    )
