"""Every way in which a leaf can be wrong, what the lint says of it, and the golden vectors.

`python tests/pki/test_leaf_defects.py` writes `vectors/` anew; a test asks that nothing differs.
"""

from __future__ import annotations

import ipaddress
import re
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest
from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

from agentid.identity import SerialNumber
from agentid.pki import lint, oids, schema, svid
from agentid.pki.authorization import AgentAuthorization, AuthorizedPolicy
from agentid.pki.keys import public_key_der
from agentid.pki.pem import certificate_pem
from agentid.pki.view import read_certificate
from agentid.testing.ca import LeafParts, ThrowawayCA

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentid.pki import LeafProfile

    Tweak = Callable[[LeafParts], object]
    RawTweak = Callable[[schema.TbsCertificate], None]
    Order = Callable[[ThrowawayCA], LeafProfile]

VECTORS = Path(__file__).parent / "vectors"
POLICY = "1.3.6.1.4.1.99999.1"
CPS = "https://pki.example.org/cps"


def name(*attributes: tuple[x509.ObjectIdentifier, str]) -> x509.Name:
    """A distinguished name."""
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in attributes])


ORGANIZATION = (NameOID.ORGANIZATION_NAME, "example.org")


def subject(*attributes: tuple[x509.ObjectIdentifier, str]) -> Tweak:
    """Give the leaf this subject."""
    return lambda parts: setattr(parts, "subject", name(*attributes))


def uris(*values: str) -> x509.SubjectAlternativeName:
    """A subjectAltName of URIs."""
    return x509.SubjectAlternativeName([x509.UniformResourceIdentifier(each) for each in values])


def usage(**bits: bool) -> x509.KeyUsage:
    """A keyUsage: digitalSignature, and what is given."""
    every = dict.fromkeys(
        (
            "digital_signature",
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "key_cert_sign",
            "crl_sign",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    return x509.KeyUsage(**(every | {"digital_signature": True} | bits))


def put(extension: x509.ExtensionType, *, critical: bool = False) -> Tweak:
    """Give the leaf this extension in place of its own."""
    return lambda parts: parts.put(extension, critical=critical)


def drop(kind: type[x509.ExtensionType]) -> Tweak:
    """Take this extension from the leaf."""
    return lambda parts: parts.drop(kind)


def later(parts: LeafParts) -> None:
    """End an hour later."""
    parts.not_after += timedelta(hours=1)


def earlier(parts: LeafParts) -> None:
    """Begin a year earlier."""
    parts.not_before -= timedelta(days=365)


def next_century(parts: LeafParts) -> None:
    """End in a hundred years."""
    parts.not_after += timedelta(days=36500)


def other_key(parts: LeafParts) -> None:
    """Certify somebody else's key."""
    parts.public_key = ThrowawayCA(seed="other").key("other").public_key()


def no_names(parts: LeafParts) -> None:
    """Leave out both the subject and the URI."""
    parts.subject = x509.Name([])
    parts.drop(x509.SubjectAlternativeName)


ID = "spiffe://example.org/ns/finance/agent/invoice-reader"

# What the library's builder can be made to build.
TWEAKS = [
    pytest.param(later, "notAfter: .* was ordered", id="not-after-later"),
    pytest.param(earlier, "notBefore: .* was ordered", id="not-before-earlier"),
    pytest.param(earlier, "before the beginning of the chain", id="begins-before-chain"),
    pytest.param(next_century, "is beyond the end of the chain", id="outlives-chain"),
    pytest.param(other_key, "it is not the key that was given", id="other-key"),
    pytest.param(
        lambda parts: setattr(parts, "serial_number", 1), "serialNumber: it is 1, but", id="serial"
    ),
    pytest.param(
        lambda parts: setattr(parts, "issuer", name(ORGANIZATION)),
        "issuer: it is not the subject of the issuing authority",
        id="issuer",
    ),
    pytest.param(
        subject((NameOID.COMMON_NAME, "a/b"), ORGANIZATION),
        "one organization and one common name, in this order",
        id="subject-order",
    ),
    pytest.param(
        subject(ORGANIZATION, (NameOID.COMMON_NAME, "a/b"), (NameOID.COMMON_NAME, "c/d")),
        "one organization and one common name",
        id="subject-two-common-names",
    ),
    pytest.param(
        subject(ORGANIZATION, (NameOID.COMMON_NAME, "erp.example.org")),
        'the common name "erp.example.org" is not "finance/invoice-reader"',
        id="common-name-host",
    ),
    pytest.param(
        subject(ORGANIZATION, (NameOID.COMMON_NAME, "a/\x1b[2J")),
        r'the common name "a/\\x1b\[2J" is not',
        id="common-name-control-character",
    ),
    pytest.param(
        subject((NameOID.ORGANIZATION_NAME, "o" * 65), (NameOID.COMMON_NAME, "a/b")),
        'the organization .* is not "example.org"',
        id="organization-too-long",
    ),
    pytest.param(
        lambda parts: setattr(parts, "subject", x509.Name([])),
        "it must be critical because the subject is empty",
        id="empty-subject",
    ),
    pytest.param(no_names, "exactly one URI is allowed, found 0", id="no-names"),
    pytest.param(
        put(uris(ID, "spiffe://example.org/b")),
        "exactly one URI is allowed, found 2",
        id="two-uri-sans",
    ),
    pytest.param(
        put(uris("spiffe://example.org/ns/finance/agent/other")),
        "is not the SPIFFE ID that was ordered",
        id="other-spiffe-id",
    ),
    pytest.param(
        put(uris("spiffe://EXAMPLE.org/ns/finance/agent/invoice-reader")),
        "is not the SPIFFE ID that was ordered",
        id="upper-case-trust-domain",
    ),
    pytest.param(
        put(uris("spiffe://example.org")),
        "names the trust domain itself; a leaf needs a path",
        id="spiffe-id-without-path",
    ),
    pytest.param(
        put(uris("https://example.org/a")), "does not begin with spiffe://", id="https-uri"
    ),
    pytest.param(put(uris(ID + "/")), "the path .* is malformed", id="trailing-slash"),
    pytest.param(
        put(
            x509.SubjectAlternativeName(
                [x509.UniformResourceIdentifier(ID), x509.DNSName("erp.example.org")]
            )
        ),
        "1 names that are no URI were not ordered",
        id="dns-san",
    ),
    pytest.param(
        put(
            x509.SubjectAlternativeName(
                [
                    x509.UniformResourceIdentifier(ID),
                    x509.IPAddress(ipaddress.ip_address("10.0.0.1")),
                ]
            )
        ),
        "1 names that are no URI were not ordered",
        id="ip-san",
    ),
    pytest.param(
        put(uris(ID), critical=True), "subjectAltName: it must not be critical", id="san-critical"
    ),
    pytest.param(
        put(x509.BasicConstraints(ca=True, path_length=None), critical=True),
        "a leaf must not be a CA",
        id="ca-true",
    ),
    pytest.param(
        put(x509.BasicConstraints(ca=True, path_length=0), critical=True),
        "a leaf must not have a path length",
        id="path-length",
    ),
    pytest.param(
        put(x509.BasicConstraints(ca=False, path_length=None)),
        "basicConstraints: it must be critical",
        id="basic-constraints-not-critical",
    ),
    pytest.param(
        drop(x509.BasicConstraints), "basicConstraints: it is missing", id="no-basic-constraints"
    ),
    pytest.param(put(usage()), "keyUsage: it must be critical", id="key-usage-not-critical"),
    pytest.param(drop(x509.KeyUsage), "keyUsage: it is missing", id="no-key-usage"),
    pytest.param(
        put(usage(digital_signature=False, key_encipherment=True), critical=True),
        "a leaf must have digitalSignature",
        id="no-digital-signature",
    ),
    pytest.param(
        put(usage(key_cert_sign=True), critical=True),
        "a leaf must not have keyCertSign",
        id="key-cert-sign",
    ),
    pytest.param(
        put(usage(crl_sign=True), critical=True), "a leaf must not have cRLSign", id="crl-sign"
    ),
    pytest.param(
        put(usage(key_encipherment=True), critical=True),
        "keyEncipherment was not ordered",
        id="key-encipherment",
    ),
    pytest.param(
        put(usage(key_agreement=True, decipher_only=True), critical=True),
        "decipherOnly was not ordered",
        id="ninth-bit",
    ),
    pytest.param(drop(x509.ExtendedKeyUsage), "extKeyUsage: it is missing", id="no-eku"),
    pytest.param(
        put(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])),
        "serverAuth is missing",
        id="no-server-auth",
    ),
    pytest.param(
        put(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])),
        "clientAuth is missing",
        id="no-client-auth",
    ),
    pytest.param(
        put(
            x509.ExtendedKeyUsage(
                [
                    ExtendedKeyUsageOID.SERVER_AUTH,
                    ExtendedKeyUsageOID.CLIENT_AUTH,
                    ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
                ]
            )
        ),
        "extKeyUsage: 2.5.29.37.0 was not ordered",
        id="any-purpose",
    ),
    pytest.param(
        put(
            x509.ExtendedKeyUsage(
                [
                    ExtendedKeyUsageOID.SERVER_AUTH,
                    ExtendedKeyUsageOID.CLIENT_AUTH,
                    ExtendedKeyUsageOID.CLIENT_AUTH,
                ]
            )
        ),
        "extKeyUsage: a purpose stands twice",
        id="purpose-twice",
    ),
    pytest.param(
        drop(x509.AuthorityKeyIdentifier), "authorityKeyIdentifier: it is missing", id="no-aki"
    ),
    pytest.param(
        put(x509.AuthorityKeyIdentifier(b"other", None, None)),
        "it is not the key identifier of the issuing authority",
        id="other-aki",
    ),
    pytest.param(
        lambda parts: parts.put(
            x509.AuthorityKeyIdentifier(
                next(
                    each.key_identifier
                    for each, _ in parts.extensions
                    if isinstance(each, x509.AuthorityKeyIdentifier)
                ),
                [x509.DirectoryName(parts.issuer)],
                1,
            )
        ),
        "issuer and serial number must be left out",
        id="aki-with-serial",
    ),
    pytest.param(
        drop(x509.SubjectKeyIdentifier), "subjectKeyIdentifier: it is missing", id="no-ski"
    ),
    pytest.param(
        lambda parts: parts.put(
            next(
                x509.SubjectKeyIdentifier(each.key_identifier or b"")
                for each, _ in parts.extensions
                if isinstance(each, x509.AuthorityKeyIdentifier)
            )
        ),
        "subjectKeyIdentifier: it is not derived from the key",
        id="ski-of-issuer",
    ),
    pytest.param(
        put(x509.SubjectKeyIdentifier(b"arbitrary")),
        "subjectKeyIdentifier: it is not derived from the key",
        id="ski-not-derived",
    ),
    pytest.param(
        drop(x509.CertificatePolicies), "certificatePolicies: it is missing", id="no-policy"
    ),
    pytest.param(
        put(
            x509.CertificatePolicies(
                [x509.PolicyInformation(x509.ObjectIdentifier(POLICY + ".2"), [CPS])]
            )
        ),
        f"it must hold {POLICY} and no other",
        id="other-policy",
    ),
    pytest.param(
        put(
            x509.CertificatePolicies(
                [x509.PolicyInformation(x509.ObjectIdentifier(POLICY), [CPS + "/other"])]
            )
        ),
        "the qualifiers are not the CPS URI that was ordered",
        id="other-cps",
    ),
    pytest.param(
        put(
            x509.CertificatePolicies(
                [
                    x509.PolicyInformation(
                        x509.ObjectIdentifier(POLICY), [CPS, x509.UserNotice(None, "trust me")]
                    )
                ]
            )
        ),
        "the qualifiers are not the CPS URI that was ordered",
        id="user-notice",
    ),
    pytest.param(
        put(
            x509.UnrecognizedExtension(
                x509.ObjectIdentifier("2.5.29.56"), asn1.encode_der(asn1.Null())
            ),
            critical=True,
        ),
        "noRevAvail: it must not be critical",
        id="no-rev-avail-critical",
    ),
    pytest.param(
        put(x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.56"), b"\x01\x01\xff")),
        "noRevAvail: its value must be NULL",
        id="no-rev-avail-value",
    ),
    pytest.param(
        put(x509.NameConstraints([x509.DNSName("a")], None), critical=True),
        "nameConstraints: it was not ordered",
        id="name-constraints",
    ),
    pytest.param(
        put(x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")),
        "extension 1.2.3.4: it was not ordered",
        id="unknown-extension",
    ),
    pytest.param(
        put(x509.OCSPNoCheck()), "extension 1.3.6.1.5.5.7.48.1.5: it was not ordered", id="no-check"
    ),
    pytest.param(
        put(x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.15"), b"\x30"), critical=True),
        "keyUsage does not parse as BitString",
        id="key-usage-garbage",
    ),
    pytest.param(
        put(
            x509.UnrecognizedExtension(
                x509.ObjectIdentifier("2.5.29.15"), asn1.encode_der(asn1.BitString(b"\x80", 0))
            ),
            critical=True,
        ),
        "keyUsage: it ends with zero bits",
        id="key-usage-zero-bits",
    ),
    pytest.param(
        put(x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.17"), b"\x86\x01a")),
        "subjectAltName does not parse as GeneralNames",
        id="san-garbage",
    ),
]


def version_1(tbs: schema.TbsCertificate) -> None:
    """Claim to be version 1."""
    tbs.version = 0


def unique_id(tbs: schema.TbsCertificate) -> None:
    """Carry a subject unique identifier."""
    tbs.subject_unique_id = asn1.BitString(b"\x01", 0)


def repeated(tbs: schema.TbsCertificate) -> None:
    """Repeat an extension, as CVE-worthy parsers read the second one."""
    assert tbs.extensions is not None
    tbs.extensions.append(tbs.extensions[0])


def generalized(tbs: schema.TbsCertificate) -> None:
    """Write a time of this century the long way."""
    tbs.validity.not_after = asn1.GeneralizedTime(tbs.validity.not_after.as_datetime())


def no_extensions(tbs: schema.TbsCertificate) -> None:
    """Have no extensions at all."""
    tbs.extensions = None


def other_algorithm(tbs: schema.TbsCertificate) -> None:
    """Name ECDSA with SHA-1 as the signature algorithm."""
    tbs.signature = asn1.decode_der(asn1.TLV, bytes.fromhex("300906072a8648ce3d0401"))


# What only bytes can be made to say.
RAW_TWEAKS = [
    pytest.param(version_1, "version: it is 1, but must be 3", id="version-1"),
    pytest.param(unique_id, "forbids unique identifiers", id="unique-id"),
    pytest.param(repeated, "basicConstraints: it stands more than once", id="extension-twice"),
    pytest.param(generalized, "is encoded as GeneralizedTime", id="generalized-time"),
    pytest.param(no_extensions, "subjectAltName: it is missing", id="no-extensions"),
    pytest.param(other_algorithm, "which is not how ED25519 signs", id="other-algorithm"),
]


CRL = "http://responder.example.org/crl/0011223344556677/3.crl"
OCSP = "http://responder.example.org/ocsp"
CA_ISSUERS = "http://responder.example.org/ca/0011223344556677.crt"
AUTHORIZATION = AgentAuthorization.of(
    agent_class="assistant",
    tier="High",
    sponsor="finance@example.org",
    policy=AuthorizedPolicy(("erp.invoices",), ("read",)),
)
WIDER = AgentAuthorization.of(
    agent_class="assistant",
    tier="High",
    sponsor="finance@example.org",
    policy=AuthorizedPolicy(("*",), ("read",)),
)


def point(*uris: str, reasons: frozenset[x509.ReasonFlags] | None = None) -> x509.DistributionPoint:
    """A distribution point."""
    names = [x509.UniformResourceIdentifier(each) for each in uris]
    return x509.DistributionPoint(names, None, reasons, None)


def access(*uris: tuple[x509.ObjectIdentifier, str]) -> x509.AuthorityInformationAccess:
    """An authorityInfoAccess."""
    return x509.AuthorityInformationAccess(
        x509.AccessDescription(method, x509.UniformResourceIdentifier(uri)) for method, uri in uris
    )


def authorized(value: bytes) -> x509.UnrecognizedExtension:
    """An agent authorization of these bytes."""
    return x509.UnrecognizedExtension(x509.ObjectIdentifier(oids.AUTHORIZATION), value)


ASK_OCSP = (AuthorityInformationAccessOID.OCSP, OCSP)
GET_ISSUER = (AuthorityInformationAccessOID.CA_ISSUERS, CA_ISSUERS)

# Of a leaf that can be revoked, and says what its agent may do.
LISTED_TWEAKS = [
    pytest.param(
        drop(x509.CRLDistributionPoints), "cRLDistributionPoints: it is missing", id="no-crl"
    ),
    pytest.param(
        put(x509.CRLDistributionPoints([point(CRL.replace("3.crl", "4.crl"))])),
        "cRLDistributionPoints: it is not .* alone",
        id="crl-of-another-shard",
    ),
    pytest.param(
        put(x509.CRLDistributionPoints([point(CRL), point(CRL)])),
        "cRLDistributionPoints: it is not .* alone",
        id="two-distribution-points",
    ),
    pytest.param(
        put(
            x509.CRLDistributionPoints(
                [point(CRL, reasons=frozenset({x509.ReasonFlags.key_compromise}))]
            )
        ),
        "cRLDistributionPoints: it is not .* alone",
        id="crl-for-some-reasons",
    ),
    pytest.param(
        put(x509.CRLDistributionPoints([point(CRL)]), critical=True),
        "cRLDistributionPoints: it must not be critical",
        id="crl-critical",
    ),
    pytest.param(
        drop(x509.AuthorityInformationAccess), "authorityInfoAccess: it is missing", id="no-aia"
    ),
    pytest.param(put(access(GET_ISSUER)), "it is not the OCSP and caIssuers URIs", id="no-ocsp"),
    pytest.param(
        put(access(ASK_OCSP)), "it is not the OCSP and caIssuers URIs", id="no-ca-issuers"
    ),
    pytest.param(
        put(access(ASK_OCSP, GET_ISSUER, GET_ISSUER)),
        "it is not the OCSP and caIssuers URIs",
        id="aia-twice",
    ),
    pytest.param(
        put(access((AuthorityInformationAccessOID.OCSP, CA_ISSUERS), GET_ISSUER)),
        "it is not the OCSP and caIssuers URIs",
        id="other-ocsp",
    ),
    pytest.param(
        put(
            x509.UnrecognizedExtension(
                x509.ObjectIdentifier("2.5.29.56"), asn1.encode_der(asn1.Null())
            )
        ),
        "noRevAvail: it was not ordered",
        id="no-rev-avail-and-crl",
    ),
    pytest.param(
        lambda parts: parts.extensions.pop(),
        "agentAuthorization: it is missing",
        id="no-authorization",
    ),
    pytest.param(
        put(authorized(WIDER.der)),
        "it is not the authorization that was ordered",
        id="wider-authorization",
    ),
    pytest.param(
        put(authorized(b"\x30\x03\x02\x01\x02")),
        "is of version 2, .* it grants nothing here",
        id="authorization-version-2",
    ),
    pytest.param(
        put(authorized(b"\x05\x00")), "agent authorization does not parse", id="authorization-null"
    ),
    pytest.param(
        put(authorized(AUTHORIZATION.der), critical=True),
        "agentAuthorization: it must not be critical",
        id="authorization-critical",
    ),
]


def profile(ca: ThrowawayCA) -> LeafProfile:
    """The profile of a leaf that runs out, with all that goes together in it."""
    return ca.profile(policy_oid=POLICY, cps_uri=CPS, no_rev_avail=True)


def listed(ca: ThrowawayCA) -> LeafProfile:
    """The profile of a leaf that can be revoked, likewise."""
    return ca.profile(
        policy_oid=POLICY,
        cps_uri=CPS,
        crl_uri=CRL,
        ocsp_uri=OCSP,
        ca_issuers_uri=CA_ISSUERS,
        authorization=AUTHORIZATION,
    )


ORDERS = [pytest.param(profile, id="runs-out"), pytest.param(listed, id="listed")]


def good(order: Order = profile) -> bytes:
    """The good leaf that all others are spoiled copies of."""
    ca = ThrowawayCA()
    return ca.issue(order(ca)).leaf.der


def tweaked(tweak: Tweak, order: Order = profile) -> bytes:
    """The leaf after a tweak of its parts."""
    ca = ThrowawayCA()
    return ca.issue_tweaked(tweak, order(ca)).public_bytes(Encoding.DER)


def raw_tweaked(tweak: RawTweak) -> bytes:
    """The leaf after a tweak of its bytes, signed again."""
    signed = asn1.decode_der(schema.SignedCertificate, good())
    tbs = asn1.decode_der(schema.TbsCertificate, asn1.encode_der(signed.tbs_certificate))
    tweak(tbs)
    signed.signature_algorithm = tbs.signature
    signed.tbs_certificate = asn1.decode_der(asn1.TLV, asn1.encode_der(tbs))
    signature = ThrowawayCA().authority.signer.sign(asn1.encode_der(signed.tbs_certificate))
    signed.signature = asn1.BitString(signature, 0)
    return asn1.encode_der(signed)


def tbs_of(der: bytes) -> bytes:
    """The signed part."""
    return asn1.encode_der(asn1.decode_der(schema.SignedCertificate, der).tbs_certificate)


def expected(order: Order = profile) -> lint.Expected:
    """What the good leaf says."""
    ca = ThrowawayCA()
    ordered = order(ca)
    certificate = x509.load_der_x509_certificate(good(order))
    return lint.Expected(
        spiffe_id=ordered.spiffe_id,
        serial=SerialNumber(certificate.serial_number),
        validity=ordered.validity,
        public_key=public_key_der(ca.key(str(ordered.spiffe_id)).public_key()),
        policy_oid=ordered.policy_oid,
        cps_uri=ordered.cps_uri,
        no_rev_avail=ordered.no_rev_avail,
        crl_uri=ordered.crl_uri,
        ocsp_uri=ordered.ocsp_uri,
        ca_issuers_uri=ordered.ca_issuers_uri,
        authorization=ordered.authorization.der if ordered.authorization else None,
        authorization_critical=ordered.authorization_critical,
        issuer=ca.authority.subject_der,
        issuer_key_id=ca.authority.key_id,
        issuer_algorithm=ca.authority.algorithm,
        issuer_validity=ca.authority.validity,
    )


@pytest.mark.parametrize("order", ORDERS)
def test_the_good_leaf_has_no_fault(order: Order) -> None:
    """The lint is silent about what was ordered, so every finding below is due to its tweak."""
    assert lint.faults(tbs_of(good(order)), expected(order)) == ()


@pytest.mark.parametrize(("tweak", "sentence"), TWEAKS)
def test_the_lint_names_the_defect(tweak: Tweak, sentence: str) -> None:
    """Each defect has its sentence."""
    found = lint.faults(tbs_of(tweaked(tweak)), expected())
    assert any(re.search(sentence, fault) for fault in found), found


@pytest.mark.parametrize(("tweak", "sentence"), LISTED_TWEAKS)
def test_the_lint_names_the_defect_of_a_listed_leaf(tweak: Tweak, sentence: str) -> None:
    """Likewise where a leaf can be revoked and says what its agent may do."""
    found = lint.faults(tbs_of(tweaked(tweak, listed)), expected(listed))
    assert any(re.search(sentence, fault) for fault in found), found


@pytest.mark.parametrize(("tweak", "sentence"), RAW_TWEAKS)
def test_the_lint_names_the_defect_in_the_bytes(tweak: RawTweak, sentence: str) -> None:
    """So has each that a builder would never make."""
    found = lint.faults(tbs_of(raw_tweaked(tweak)), expected())
    assert any(re.search(sentence, fault) for fault in found), found


@pytest.mark.parametrize("order", ORDERS)
def test_a_good_leaf_takes_the_short_way_and_no_other_does(order: Order) -> None:
    """What equals the order to the last bit is silent without the rules; no defect gets there."""

    def exact(der: bytes) -> bool:
        return lint.is_exact(tbs_of(der), expected(order))

    assert exact(good(order))
    for name, der in every_vector().items():
        if der != good(order):
            assert not exact(der), name


@pytest.mark.parametrize("order", ORDERS)
def test_every_single_bit_is_covered(order: Order) -> None:
    """Whichever bit of the leaf is flipped, the lint finds a fault: it looks at everything."""
    tbs = tbs_of(good(order))
    wanted = expected(order)
    unseen = []
    for position in range(len(tbs) * 8):
        flipped = bytearray(tbs)
        flipped[position // 8] ^= 1 << position % 8
        if not lint.faults(bytes(flipped), wanted):
            unseen.append(position)
    assert unseen == []


def test_truncated_bytes_are_a_fault_and_no_exception() -> None:
    """Wherever a TBSCertificate is cut short, it is named as such."""
    tbs, wanted = tbs_of(good()), expected()
    for length in range(len(tbs)):
        assert lint.faults(tbs[:length], wanted) == (
            "certificate does not parse as TbsCertificate in DER",
        )


def every_vector() -> dict[str, bytes]:
    """The good leaf and each spoiled one by file name, in DER."""
    vectors = {"good-leaf.pem": good(), "good-listed-leaf.pem": good(listed)}
    for row in LISTED_TWEAKS:
        vectors[f"wrong-leaf-{row.id}.pem"] = tweaked(cast("Tweak", row.values[0]), listed)
    for row in TWEAKS:
        vectors[f"wrong-leaf-{row.id}.pem"] = tweaked(cast("Tweak", row.values[0]))
    for row in RAW_TWEAKS:
        vectors[f"wrong-leaf-{row.id}.pem"] = raw_tweaked(cast("RawTweak", row.values[0]))
    return vectors


def test_the_vectors_are_what_the_generator_makes() -> None:
    """Fixed keys, serials and times: regenerating changes no byte, and no file is left over."""
    made = {name: certificate_pem(der) for name, der in every_vector().items()}
    kept = {path.name: path.read_bytes() for path in VECTORS.glob("*.pem")}
    assert kept == made


# Defects against agentid's own profile, or against what was ordered, that leave an X509-SVID one.
AGAINST_THE_STANDARD = {
    "empty-subject",
    "no-names",
    "two-uri-sans",
    "spiffe-id-without-path",
    "https-uri",
    "trailing-slash",
    "ca-true",
    "path-length",
    "key-usage-not-critical",
    "no-key-usage",
    "no-digital-signature",
    "key-cert-sign",
    "crl-sign",
    "no-server-auth",
    "no-client-auth",
    "key-usage-garbage",
    "san-garbage",
    "no-extensions",
}


@pytest.mark.parametrize("vector", sorted(path.name for path in VECTORS.glob("*.pem")))
def test_the_standard_alone_finds_its_own_defects(vector: str) -> None:
    """Without knowing what was ordered, exactly the defects against X509-SVID are found."""
    block = VECTORS / vector
    der = x509.load_pem_x509_certificate(block.read_bytes()).public_bytes(Encoding.DER)
    wrong = vector.removeprefix("wrong-leaf-").removesuffix(".pem") in AGAINST_THE_STANDARD
    assert bool(svid.leaf_faults(read_certificate(der))) == wrong


if __name__ == "__main__":
    VECTORS.mkdir(exist_ok=True)
    for stale in VECTORS.glob("*.pem"):
        stale.unlink()
    for file_name, contents in every_vector().items():
        (VECTORS / file_name).write_bytes(certificate_pem(contents))
