"""The one right encoding of what was ordered: the lint's short way to silence.

Nothing is shared with `assemble`, which makes the bytes that the lint looks at: this is a second
writer, with constants, lengths and times written in its own way, and mistakes of its own. Where the
two agree to the last bit, each rule of the lint is met.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat import asn1

from agentid.pki.algorithm import KeyAlgorithm
from agentid.pki.oids import AUTHORIZATION

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from agentid.pki.lint import Expected

__all__ = [
    "SIGNATURE_ALGORITHMS",
    "distribution_points_der",
    "exact_tbs",
    "information_access_der",
]

# RFC 5758 §3.2, RFC 8410 §3, RFC 4055 §5, RFC 9881 §2: each AlgorithmIdentifier as a whole.
SIGNATURE_ALGORITHMS: Final[Mapping[KeyAlgorithm, bytes]] = {
    KeyAlgorithm.ECDSAP256: bytes.fromhex("300a06082a8648ce3d040302"),
    KeyAlgorithm.ECDSAP384: bytes.fromhex("300a06082a8648ce3d040303"),
    KeyAlgorithm.ECDSAP521: bytes.fromhex("300a06082a8648ce3d040304"),
    KeyAlgorithm.ED25519: bytes.fromhex("300506032b6570"),
    KeyAlgorithm.RSA3072: bytes.fromhex("300d06092a864886f70d01010b0500"),
    KeyAlgorithm.RSA4096: bytes.fromhex("300d06092a864886f70d01010b0500"),
    KeyAlgorithm.MLDSA44: bytes.fromhex("300b0609608648016503040311"),
    KeyAlgorithm.MLDSA65: bytes.fromhex("300b0609608648016503040312"),
    KeyAlgorithm.MLDSA87: bytes.fromhex("300b0609608648016503040313"),
}

_MAX_ATTRIBUTE_CHARACTERS: Final = 64  # RFC 5280 appendix A.1
_UTC_TIME_ENDS: Final = "2050"  # RFC 5280 §4.1.2.5

# In hexadecimal as `openssl asn1parse` shows them, so that they can be compared with anything.
_VERSION_3: Final = bytes.fromhex("a003 020102")
_SAME_IN_ALL: Final = bytes.fromhex(
    "300c 0603551d13 0101ff 0402 3000"  # basicConstraints, critical: no CA
    "300e 0603551d0f 0101ff 0404 03020780"  # keyUsage, critical: digitalSignature
    # extKeyUsage: serverAuth, clientAuth
    "301d 0603551d25 0416 3014 06082b06010505070301 06082b06010505070302"
)
_SUBJECT_ALT_NAME: Final = bytes.fromhex("0603551d11")
_SUBJECT_KEY_IDENTIFIER: Final = bytes.fromhex("301d 0603551d0e 0416 0414")
_AUTHORITY_KEY_IDENTIFIER: Final = bytes.fromhex("0603551d23")
_CERTIFICATE_POLICIES: Final = bytes.fromhex("0603551d20")
_CRL_DISTRIBUTION_POINTS: Final = bytes.fromhex("0603551d1f")
_NO_REV_AVAIL: Final = bytes.fromhex("3009 0603551d38 0402 0500")
_AUTHORITY_INFO_ACCESS: Final = bytes.fromhex("06082b06010505070101")
_AUTHORIZATION: Final = asn1.encode_der(x509.ObjectIdentifier(AUTHORIZATION))
_ORGANIZATION: Final = bytes.fromhex("060355040a")
_COMMON_NAME: Final = bytes.fromhex("0603550403")
_CPS: Final = bytes.fromhex("06082b06010505070201")
_OCSP: Final = bytes.fromhex("06082b06010505073001")
_CA_ISSUERS: Final = bytes.fromhex("06082b06010505073002")


def exact_tbs(expected: Expected) -> bytes:
    """The TBSCertificate that says what was ordered, its extensions in our order."""
    spiffe_id, serial = expected.spiffe_id, expected.serial.value
    extensions = (
        _SAME_IN_ALL
        + _tlv(0x30, _SUBJECT_ALT_NAME + _tlv(0x04, _tlv(0x30, _uri(str(spiffe_id)))))
        + _SUBJECT_KEY_IDENTIFIER
        + sha256(_key_bits(expected.public_key)).digest()[:20]  # RFC 7093 §2, method 1
        + _of_class(
            expected.issuer_key_id,
            expected.policy_oid,
            expected.cps_uri,
            expected.no_rev_avail,
            expected.crl_uri,
            expected.ocsp_uri,
            expected.ca_issuers_uri,
        )
    )
    if expected.authorization is not None:
        critical = b"\x01\x01\xff" if expected.authorization_critical else b""
        value = critical + _tlv(0x04, expected.authorization)
        extensions += _tlv(0x30, _AUTHORIZATION + value)
    validity = _time(expected.validity.not_before) + _time(expected.validity.not_after)
    return _tlv(
        0x30,
        _VERSION_3
        + _tlv(0x02, serial.to_bytes(serial.bit_length() // 8 + 1))
        + SIGNATURE_ALGORITHMS[expected.issuer_algorithm]
        + expected.issuer
        + _tlv(0x30, validity)
        + _tlv(
            0x30,
            _attribute(_ORGANIZATION, spiffe_id.trust_domain.name)
            + _attribute(_COMMON_NAME, _shown(spiffe_id.path)),
        )
        + expected.public_key
        + _tlv(0xA3, _tlv(0x30, extensions)),
    )


def distribution_points_der(uri: str) -> bytes:
    """`CRLDistributionPoints` (RFC 5280 §4.2.1.13): one point, its fullName one URI."""
    return _tlv(0x30, _tlv(0x30, _tlv(0xA0, _tlv(0xA0, _uri(uri)))))


def information_access_der(ocsp_uri: str | None, ca_issuers_uri: str | None) -> bytes:
    """`AuthorityInfoAccessSyntax` (RFC 5280 §4.2.2.1), OCSP first."""
    return _tlv(
        0x30,
        b"".join(
            _tlv(0x30, method + _uri(uri))
            for method, uri in ((_OCSP, ocsp_uri), (_CA_ISSUERS, ca_issuers_uri))
            if uri is not None
        ),
    )


def _key_bits(spki: bytes) -> bytes:
    """The key in a `SubjectPublicKeyInfo` (RFC 5280 §4.1), behind the octet of unused bits."""
    algorithm = _contents_at(spki, 0)
    key = _contents_at(spki, algorithm) + spki[algorithm + 1]
    return spki[_contents_at(spki, key) + 1 :]


def _contents_at(der: bytes, at: int) -> int:
    """Where the contents of the value that begins there begin."""
    length = der[at + 1]
    return at + 2 if length < 0x80 else at + 2 + (length & 0x7F)  # noqa: PLR2004


@lru_cache(maxsize=64)  # in a burst many leaves begin in the same second
def _time(instant: datetime) -> bytes:
    """UTCTime or GeneralizedTime, out of RFC 3339: 2026-11-01T11:59:00+00:00."""
    text = instant.isoformat()
    digits = text[:19].encode("ascii").translate(None, b"-T:") + b"Z"
    return _tlv(0x17, digits[2:]) if text < _UTC_TIME_ENDS else _tlv(0x18, digits)


def _shown(path: str) -> str:
    """`<namespace>/<name>` of /ns/<namespace>/agent/<name>[/pod/<uid>], else the path."""
    match path.split("/"):
        case ["", "ns", namespace, "agent", name] | ["", "ns", namespace, "agent", name, "pod", _]:
            return f"{namespace}/{name}"
        case _:
            return path


def _attribute(oid: bytes, text: str) -> bytes:
    value = _tlv(0x0C, text[:_MAX_ATTRIBUTE_CHARACTERS].encode("ascii"))
    return _tlv(0x31, _tlv(0x30, oid + value))


@lru_cache(maxsize=4096)  # one for each class and each shard of each authority
def _of_class(
    issuer_key_id: bytes,
    policy_oid: str | None,
    cps_uri: str | None,
    no_rev_avail: bool,  # noqa: FBT001 (as in `assemble`)
    crl_uri: str | None,
    ocsp_uri: str | None,
    ca_issuers_uri: str | None,
) -> bytes:
    """The extensions that many leaves share, authorityKeyIdentifier first."""
    found = [_extension(_AUTHORITY_KEY_IDENTIFIER, _tlv(0x30, _tlv(0x80, issuer_key_id)))]
    if policy_oid is not None:
        found.append(_extension(_CERTIFICATE_POLICIES, _policies(policy_oid, cps_uri)))
    if no_rev_avail:
        found.append(_NO_REV_AVAIL)
    if crl_uri is not None:
        found.append(_extension(_CRL_DISTRIBUTION_POINTS, distribution_points_der(crl_uri)))
    if ocsp_uri is not None or ca_issuers_uri is not None:
        access = information_access_der(ocsp_uri, ca_issuers_uri)
        found.append(_extension(_AUTHORITY_INFO_ACCESS, access))
    return b"".join(found)


def _extension(oid: bytes, value: bytes) -> bytes:
    return _tlv(0x30, oid + _tlv(0x04, value))


def _policies(oid: str, cps_uri: str | None) -> bytes:
    """`CertificatePolicies` (RFC 5280 §4.2.1.4): one, its only qualifier a CPS URI."""
    policy = asn1.encode_der(x509.ObjectIdentifier(oid))
    if cps_uri is not None:
        qualifier = _CPS + _tlv(0x16, cps_uri.encode("ascii"))
        policy += _tlv(0x30, _tlv(0x30, qualifier))
    return _tlv(0x30, _tlv(0x30, policy))


def _uri(uri: str) -> bytes:
    """`GeneralName` (RFC 5280 §4.2.1.6): uniformResourceIdentifier [6] IA5String."""
    return _tlv(0x86, uri.encode("ascii"))


def _tlv(tag: int, contents: bytes) -> bytes:
    """DER (X.690 §8.1.3) of at most 65535 octets: a second writer beside that of `assemble`."""
    size = len(contents)
    if size < 0x80:  # noqa: PLR2004
        return bytes((tag, size)) + contents
    if size <= 0xFF:  # noqa: PLR2004
        return bytes((tag, 0x81, size)) + contents
    return bytes((tag, 0x82)) + size.to_bytes(2) + contents
