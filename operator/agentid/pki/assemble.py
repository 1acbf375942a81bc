"""A TBSCertificate put together from parts, most of which are encoded once.

What all leaves share, what those of one authority share, and what those of one class and shard
share is encoded by the library and kept; only what differs from leaf to leaf is written here. The
library's own builder encodes everything anew, and signs to hand out the bytes: ADR 9 has the
numbers. `lint` takes the result apart again and shares no code with this module.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.x509.oid import (
    AuthorityInformationAccessOID,
    ExtendedKeyUsageOID,
    NameOID,
)

from agentid.pki import oids, schema
from agentid.pki.der import SEQUENCE, SET, tlv

if TYPE_CHECKING:
    from datetime import datetime

    from agentid.identity import SerialNumber, SpiffeId
    from agentid.pki.authority import Authority
    from agentid.pki.profile import LeafProfile

__all__ = [
    "certificate",
    "distribution_points",
    "encoded_extension",
    "information_access",
    "leaf_tbs",
]

_MAX_ATTRIBUTE_CHARACTERS: Final = 64  # RFC 5280 appendix A.1: ub-common-name
_UTC_TIME_ENDS: Final = 2050  # RFC 5280 §4.1.2.5: UTCTime through 2049, GeneralizedTime from 2050

_INTEGER: Final = 0x02
_BIT_STRING: Final = 0x03
_OCTET_STRING: Final = 0x04
_UTF8_STRING: Final = 0x0C
_UTC_TIME: Final = 0x17
_GENERALIZED_TIME: Final = 0x18
_URI: Final = 0x86  # RFC 5280 §4.2.1.6: uniformResourceIdentifier [6] IA5String
_EXTENSIONS: Final = 0xA3  # §4.1: extensions [3] EXPLICIT

_VERSION_3: Final = bytes.fromhex("a003020102")  # §4.1: version [0] EXPLICIT INTEGER, v3 is 2
_NOT_CRITICAL: Final = b""  # X.690 §11.5: a default is not encoded
_CRITICAL: Final = b"\x01\x01\xff"

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


def encoded_extension(extension: x509.ExtensionType, *, critical: bool) -> bytes:
    """An `Extension` (RFC 5280 §4.1), encoded by the library."""
    return asn1.encode_der(
        schema.Extension(oid=extension.oid, critical=critical, value=extension.public_bytes())
    )


def _oid(dotted: str | x509.ObjectIdentifier) -> bytes:
    oid = dotted if isinstance(dotted, x509.ObjectIdentifier) else x509.ObjectIdentifier(dotted)
    return asn1.encode_der(oid)


_SAME_IN_ALL: Final = b"".join(
    (
        encoded_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True),
        encoded_extension(_KEY_USAGE, critical=True),
        encoded_extension(
            x509.ExtendedKeyUsage(
                [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
            ),
            critical=False,
        ),
    )
)
# RFC 9608 §2: id-ce-noRevAvail, whose value is NULL.
_NO_REV_AVAIL: Final = encoded_extension(
    x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.56"), asn1.encode_der(asn1.Null())),
    critical=False,
)
_SUBJECT_ALT_NAME: Final = _oid("2.5.29.17")
_KEY_ID_OCTETS: Final = 20
_SUBJECT_KEY_IDENTIFIER: Final = encoded_extension(
    x509.SubjectKeyIdentifier(bytes(_KEY_ID_OCTETS)), critical=False
)[:-_KEY_ID_OCTETS]
_AUTHORIZATION: Final = _oid(oids.AUTHORIZATION)
_COMMON_NAME: Final = _oid(NameOID.COMMON_NAME)
_ORGANIZATION: Final = _oid(NameOID.ORGANIZATION_NAME)


def leaf_tbs(
    profile: LeafProfile, spki: bytes, key_id: bytes, authority: Authority, serial: SerialNumber
) -> bytes:
    """The TBSCertificate of a leaf, DER.

    Args:
        profile: What it says.
        spki: The agent's key, a SubjectPublicKeyInfo in DER.
        key_id: Its subject key identifier, 20 octets.
        authority: Its issuer.
        serial: Its serial number.
    """
    uri = str(profile.spiffe_id).encode("ascii")
    number = serial.value
    extensions = [
        _SAME_IN_ALL,
        _extension(_SUBJECT_ALT_NAME, _NOT_CRITICAL, tlv(SEQUENCE, tlv(_URI, uri))),
        _SUBJECT_KEY_IDENTIFIER + key_id,
        authority.authority_key_identifier_der,
        _of_class(
            profile.policy_oid,
            profile.cps_uri,
            profile.no_rev_avail,
            profile.crl_uri,
            profile.ocsp_uri,
            profile.ca_issuers_uri,
        ),
    ]
    if profile.authorization is not None:
        critical = _CRITICAL if profile.authorization_critical else _NOT_CRITICAL
        extensions.append(_extension(_AUTHORIZATION, critical, profile.authorization.der))
    return tlv(
        SEQUENCE,
        b"".join(
            (
                _VERSION_3,
                tlv(_INTEGER, number.to_bytes(number.bit_length() // 8 + 1)),
                authority.signature_algorithm_der,
                authority.subject_der,
                tlv(
                    SEQUENCE,
                    _time(profile.validity.not_before) + _time(profile.validity.not_after),
                ),
                _subject(profile.spiffe_id),
                spki,
                tlv(_EXTENSIONS, tlv(SEQUENCE, b"".join(extensions))),
            )
        ),
    )


def certificate(tbs: bytes, signature_algorithm: bytes, signature: bytes) -> bytes:
    """The `Certificate` (RFC 5280 §4.1) around a signed part.

    Args:
        tbs: The TBSCertificate, DER.
        signature_algorithm: The AlgorithmIdentifier that stands in it (§4.1.1.2), DER.
        signature: The signature over `tbs`.
    """
    return tlv(SEQUENCE, tbs + signature_algorithm + tlv(_BIT_STRING, b"\0" + signature))


@lru_cache(maxsize=1024)  # one for each shard of each authority
def distribution_points(uri: str) -> x509.CRLDistributionPoints:
    """One place where the CRL is found (RFC 5280 §4.2.1.13)."""
    names = [x509.UniformResourceIdentifier(uri)]
    return x509.CRLDistributionPoints([x509.DistributionPoint(names, None, None, None)])


@lru_cache(maxsize=256)  # one for each authority
def information_access(
    ocsp_uri: str | None, ca_issuers_uri: str | None
) -> x509.AuthorityInformationAccess:
    """Where OCSP is asked and where the issuer's certificate is found (RFC 5280 §4.2.2.1)."""
    return x509.AuthorityInformationAccess(
        x509.AccessDescription(method, x509.UniformResourceIdentifier(uri))
        for method, uri in (
            (AuthorityInformationAccessOID.OCSP, ocsp_uri),
            (AuthorityInformationAccessOID.CA_ISSUERS, ca_issuers_uri),
        )
        if uri is not None
    )


@lru_cache(maxsize=4096)  # one for each class and each shard of each authority; half a KiB each
def _of_class(
    policy_oid: str | None,
    cps_uri: str | None,
    no_rev_avail: bool,  # noqa: FBT001 (lru_cache keeps names apart from places)
    crl_uri: str | None,
    ocsp_uri: str | None,
    ca_issuers_uri: str | None,
) -> bytes:
    """The extensions that many leaves share."""
    extensions = []
    if policy_oid is not None:
        extensions.append(encoded_extension(_policies(policy_oid, cps_uri), critical=False))
    if no_rev_avail:
        extensions.append(_NO_REV_AVAIL)
    if crl_uri is not None:
        extensions.append(encoded_extension(distribution_points(crl_uri), critical=False))
    if ocsp_uri is not None or ca_issuers_uri is not None:
        access = information_access(ocsp_uri, ca_issuers_uri)
        extensions.append(encoded_extension(access, critical=False))
    return b"".join(extensions)


def _policies(oid: str, cps_uri: str | None) -> x509.CertificatePolicies:
    qualifiers: list[str | x509.UserNotice] | None = None if cps_uri is None else [cps_uri]
    return x509.CertificatePolicies(
        [x509.PolicyInformation(x509.ObjectIdentifier(oid), qualifiers)]
    )


def _extension(oid: bytes, critical: bytes, value: bytes) -> bytes:
    return tlv(SEQUENCE, oid + critical + tlv(_OCTET_STRING, value))


@lru_cache(maxsize=64)  # in a burst many leaves begin in the same second
def _time(instant: datetime) -> bytes:
    rest = b"%02d%02d%02d%02d%02dZ" % (
        instant.month,
        instant.day,
        instant.hour,
        instant.minute,
        instant.second,
    )
    if instant.year < _UTC_TIME_ENDS:
        return tlv(_UTC_TIME, b"%02d%b" % (instant.year % 100, rest))
    return tlv(_GENERALIZED_TIME, b"%04d%b" % (instant.year, rest))


def _subject(spiffe_id: SpiffeId) -> bytes:
    """A name for display only, each part cut to the 64 characters that X.520 allows.

    The common name is `<namespace>/<name>`: its `/` keeps verifiers that fall back on the common
    name from ever reading an agent's name, which its team chose, as a host name (RFC 6125 §6.4.4).
    """
    agent = spiffe_id.agent
    display = f"{agent.namespace}/{agent.name}" if agent else spiffe_id.path
    return tlv(
        SEQUENCE,
        _organization(spiffe_id.trust_domain.name) + _attribute(_COMMON_NAME, display),
    )


@lru_cache(maxsize=64)  # trust domains come in ones
def _organization(trust_domain: str) -> bytes:
    return _attribute(_ORGANIZATION, trust_domain)


def _attribute(oid: bytes, text: str) -> bytes:
    """A RelativeDistinguishedName of one attribute (RFC 5280 §4.1.2.4)."""
    value = tlv(_UTF8_STRING, text[:_MAX_ATTRIBUTE_CHARACTERS].encode("ascii"))
    return tlv(SET, tlv(SEQUENCE, oid + value))
