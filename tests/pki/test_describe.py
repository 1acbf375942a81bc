"""What certificates say, for programs and in words."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AuthorityInformationAccessOID, NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from agentid.errors import InputError
from agentid.identity import SpiffeId
from agentid.pki import KeyAlgorithm
from agentid.pki.authorization import (
    AgentAuthorization,
    AuthorizedPolicy,
    AuthorizedSchedule,
)
from agentid.pki.describe import Description, describe
from agentid.pki.pem import certificate_pem
from agentid.pki.words import lines
from agentid.testing.ca import NOON, ThrowawayCA

VECTORS = Path(__file__).parent / "vectors"
CA = ThrowawayCA()
PROFILE = CA.profile(
    policy_oid="1.3.6.1.4.1.99999.1", cps_uri="https://pki.example.org/cps", no_rev_avail=True
)
LEAF = CA.issue(PROFILE).leaf


def test_a_chain_is_described_in_full() -> None:
    """Leaf, intermediate and root of a deterministic CA, word for word."""
    described = describe(LEAF.chain_pem + CA.bundle.pem)
    assert lines(described, NOON + timedelta(minutes=30)) == [
        ("certificate", "1 of 3"),
        ("who", "agent invoice-reader in namespace finance"),
        ("SPIFFE ID", "spiffe://example.org/ns/finance/agent/invoice-reader"),
        ("subject", "CN=finance/invoice-reader,O=example.org"),
        ("policy", "1.3.6.1.4.1.99999.1, see https://pki.example.org/cps"),
        ("valid from", "2026-11-01 11:59:00 UTC"),
        ("valid until", "2026-11-01 12:59:59 UTC (1 h 1 min)"),
        ("now", "valid, 30 min left"),
        ("key", "Ed25519"),
        ("signed with", "Ed25519"),
        ("may be used for", "digitalSignature, serverAuth, clientAuth"),
        ("revocation", "none will be published (RFC 9608); it runs out"),
        ("serial", str(LEAF.serial)),
        ("issuer", CA.intermediate.certificate.subject.rfc4514_string()),
        ("key id", described.certificates[0].subject_key_id),
        ("issuer's key id", CA.authority.key_id.hex()),
        ("SHA-256", LEAF.fingerprint),
        ("", ""),
        ("certificate", "2 of 3"),
        ("who", "an intermediate authority"),
        ("SPIFFE ID", "spiffe://example.org"),
        ("subject", CA.intermediate.certificate.subject.rfc4514_string()),
        ("policy", "anyPolicy"),
        ("valid from", "2026-11-01 11:59:00 UTC"),
        ("valid until", "2027-01-30 11:59:59 UTC (90 d 1 min)"),
        ("now", "valid, 89 d 23 h left"),
        ("key", "Ed25519"),
        ("signed with", "Ed25519"),
        ("may be used for", "keyCertSign, cRLSign"),
        ("may sign for", "spiffe://example.org"),
        ("revocation", "no place to look is named"),
        ("serial", described.certificates[1].serial),
        ("issuer", CA.root.certificate.subject.rfc4514_string()),
        ("key id", CA.authority.key_id.hex()),
        ("issuer's key id", described.certificates[2].subject_key_id),
        ("SHA-256", described.certificates[1].fingerprint),
        ("", ""),
        ("certificate", "3 of 3"),
        ("who", "a root authority"),
        ("SPIFFE ID", "spiffe://example.org"),
        ("subject", CA.root.certificate.subject.rfc4514_string()),
        ("valid from", "2026-11-01 11:59:00 UTC"),
        ("valid until", "2027-01-30 11:59:59 UTC (90 d 1 min)"),
        ("now", "valid, 89 d 23 h left"),
        ("key", "Ed25519"),
        ("signed with", "Ed25519"),
        ("may be used for", "keyCertSign, cRLSign"),
        ("revocation", "no place to look is named"),
        ("serial", described.certificates[2].serial),
        ("issuer", CA.root.certificate.subject.rfc4514_string()),
        ("key id", described.certificates[2].subject_key_id),
        ("issuer's key id", "none"),
        ("SHA-256", described.certificates[2].fingerprint),
    ]


def test_json_holds_the_same() -> None:
    """Plain JSON types, times in RFC 3339."""
    document = json.loads(json.dumps(describe(LEAF.der).to_json()))
    (certificate,) = document["certificates"]
    assert document["faults"] == []
    assert certificate["agent"] == "invoice-reader"
    assert certificate["not_before"] == "2026-11-01T11:59:00Z"
    assert certificate["not_after"] == "2026-11-01T12:59:59Z"
    assert certificate["policies"] == [
        {"oid": "1.3.6.1.4.1.99999.1", "cps_uri": "https://pki.example.org/cps"}
    ]
    assert certificate["fingerprint"] == LEAF.fingerprint


@pytest.mark.parametrize(
    ("now", "state"),
    [
        (NOON - timedelta(minutes=3), "not valid yet, begins in 2 min"),
        (NOON - timedelta(seconds=60), "valid, 1 h 1 min left"),
        (NOON + timedelta(minutes=59, seconds=59), "valid, 1 s left"),
        (NOON + timedelta(hours=1), "expired 0 s ago"),
        (NOON + timedelta(days=2, hours=3, minutes=5), "expired 2 d 2 h ago"),
    ],
)
def test_the_present_is_told_when_it_is_given(now: datetime, state: str) -> None:
    """The last second counts."""
    assert ("now", state) in lines(describe(LEAF.der), now)
    assert not any(label == "now" for label, _ in lines(describe(LEAF.der)))


BASE = "http://responder.example.org"
SYSTEMS = ("crm.contacts", "erp.*")


def authorization(*systems: str, schedule: AuthorizedSchedule | None = None) -> AgentAuthorization:
    """An authorization, by reference where it has many systems."""
    return AgentAuthorization.of(
        agent_class="assistant",
        tier="High",
        sponsor="finance@example.org",
        policy=AuthorizedPolicy(systems, ("list", "read"), schedule, ("gdpr",)),
        base_uri=BASE,
    )


def told(
    granted: AgentAuthorization, *, critical: bool = False
) -> tuple[dict[str, str], dict[str, object]]:
    """What is said of a leaf with this authorization, in words and in JSON."""
    profile = CA.profile(
        crl_uri=f"{BASE}/crl/00/3.crl",
        ocsp_uri=f"{BASE}/ocsp",
        ca_issuers_uri=f"{BASE}/ca/00.crt",
        authorization=granted,
        authorization_critical=critical,
    )
    described = describe(CA.issue(profile).leaf.der)
    assert described.certificates[0].faults == ()
    (document,) = json.loads(json.dumps(described.to_json()))["certificates"]
    return dict(lines(described)), document


def test_what_an_agent_may_do_is_told() -> None:
    """In words, and the same in JSON."""
    week = AuthorizedSchedule(
        "Europe/Berlin", ((480, 1080), (1920, 2520), (2880, 4320), (8400, 10080))
    )
    granted = authorization(*SYSTEMS, schedule=week)
    words, document = told(granted)
    assert {
        "authorization": "class assistant, tier High",
        "sponsor": "finance@example.org",
        "may reach": "crm.contacts, erp.*",
        "may do there": "list, read",
        "may do it": (
            "Mon, Tue 08:00 to 18:00; Wed 00:00 to 24:00; Sat 20:00 to Sun 24:00; Europe/Berlin"
        ),
        "compliance": "gdpr",
        "policy hash": granted.policy_hash.hex(),
        "revocation": f"{BASE}/crl/00/3.crl, {BASE}/ocsp",
        "issuer is at": f"{BASE}/ca/00.crt",
    }.items() <= words.items()
    assert document["authorization"] == {
        "grants_nothing_because": None,
        "critical": False,
        "agent_class": "assistant",
        "tier": "High",
        "sponsor": "finance@example.org",
        "systems": ["crm.contacts", "erp.*"],
        "operations": ["list", "read"],
        "schedule": {
            "time_zone": "Europe/Berlin",
            "windows": [[480, 1080], [1920, 2520], [2880, 4320], [8400, 10080]],
        },
        "compliance": ["gdpr"],
        "policy_hash": granted.policy_hash.hex(),
        "policy_uri": None,
    }


def test_a_policy_elsewhere_is_told_as_such() -> None:
    """And that who does not know a critical extension refuses the certificate."""
    granted = authorization(*(f"system-{at:03}.example" for at in range(128)))
    words, document = told(granted, critical=True)
    assert words["authorization"] == (
        "class assistant, tier High, and who does not know it refuses the certificate"
    )
    assert words["may do"] == f"what {BASE}/policy/{granted.policy_hash.hex()} says"
    assert {"may reach", "may do there", "may do it", "compliance"}.isdisjoint(words)
    assert document["issuer_uris"] == [f"{BASE}/ca/00.crt"]


def test_without_a_schedule_or_a_list_that_is_said() -> None:
    """Always and nothing are not the same silence."""
    words, _ = told(authorization())
    assert (words["may reach"], words["may do it"]) == ("nothing", "always")


@pytest.mark.parametrize(
    ("vector", "fault"),
    [
        ("version-2", "it is of version 2, and this program reads version 1; it grants nothing"),
        ("null", "agent authorization does not parse"),
    ],
)
def test_an_authorization_that_cannot_be_read_is_a_fault(vector: str, fault: str) -> None:
    """And it is said that it grants nothing; the identity stands."""
    described = describe((VECTORS / f"wrong-leaf-authorization-{vector}.pem").read_bytes())
    (found,) = described.certificates
    (sentence,) = found.faults
    assert fault in sentence
    assert found.authorization is not None
    assert found.authorization.grants_nothing_because == sentence
    assert found.agent == "invoice-reader"
    assert ("authorization", "cannot be read, so it grants nothing") in lines(described)
    assert ("fault", sentence) in lines(described)


def test_one_pod_is_named() -> None:
    """The pod of a SPIFFE ID per pod."""
    described = describe(
        CA.issue(
            type(PROFILE)(
                spiffe_id=SpiffeId.for_agent(CA.trust_domain, "a", "b", pod_uid="0-1"),
                class_name="c",
                validity=PROFILE.validity,
                key_algorithm=KeyAlgorithm.ED25519,
            )
        ).leaf.der
    )
    assert lines(described)[0] == ("who", "agent b in namespace a, pod 0-1")


def self_signed(
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed448.Ed448PrivateKey,
    *extensions: x509.ExtensionType,
    name: str | x509.NameAttribute[str] = "x",
) -> bytes:
    """A certificate as the rest of the world makes them."""
    common = x509.NameAttribute(NameOID.COMMON_NAME, name) if isinstance(name, str) else name
    subject = x509.Name([common])
    builder = x509.CertificateBuilder(
        subject, subject, key.public_key(), 1, NOON, datetime(2060, 1, 1, tzinfo=UTC)
    )
    for each in extensions:
        builder = builder.add_extension(each, critical=False)
    digest = None if isinstance(key, ed448.Ed448PrivateKey) else hashes.SHA256()
    return builder.sign(key, digest).public_bytes(Encoding.DER)


def test_a_certificate_of_somebody_else_is_described_with_its_faults() -> None:
    """No SPIFFE ID, a weak key: everything is said, and what is missing as well."""
    key = rsa.generate_private_key(65537, 2048)
    (found,) = describe(self_signed(key)).certificates
    assert (found.role, found.key, found.spiffe_id) == ("leaf", "RSA 2048", None)
    assert found.faults == (
        "subjectAltName: exactly one URI is allowed, found 0",
        "keyUsage: it is missing",
        (
            "public key: found an RSA key of 2048 bits; use one of ECDSA P-256, P-384 or P-521, "
            "Ed25519, RSA 3072 or 4096, ML-DSA-44, 65 or 87"
        ),
    )
    told = lines(describe(self_signed(key)))
    assert ("who", "a workload that is no agent of agentid") in told
    assert ("may be used for", "nothing is said") in told
    assert ("fault", "keyUsage: it is missing") in told


def test_a_name_that_the_library_warns_of_is_told(tmp_path: Path) -> None:
    """Its limit is one of 64 octets; RFC 5280 appendix A.1 counts characters, and these are 40."""
    key = ec.derive_private_key(7, ec.SECP256R1())
    long = "\N{LATIN SMALL LETTER U WITH DIAERESIS}" * 40
    name = x509.NameAttribute(NameOID.COMMON_NAME, long, _validate=False)
    (tmp_path / "x.der").write_bytes(self_signed(key, name=name))
    told = subprocess.run(
        [sys.executable, "-W", "error", "-m", "agentid", "inspect", str(tmp_path / "x.der")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "CN=" + r"\xfc" * 40 in told.stdout
    assert told.stderr == ""


def test_keys_that_are_not_offered_are_named() -> None:
    """Curves and algorithms outside the list."""
    assert describe(self_signed(ec.generate_private_key(ec.SECP256K1()))).certificates[0].key == (
        "elliptic curve secp256k1"
    )
    assert describe(self_signed(ed448.Ed448PrivateKey.generate())).certificates[0].key == "Ed448"


def test_places_of_revocation_are_told() -> None:
    """CRL distribution points and OCSP responders."""
    crl = x509.CRLDistributionPoints(
        [
            x509.DistributionPoint(
                [x509.UniformResourceIdentifier("http://pki.example.org/1.crl")], None, None, None
            )
        ]
    )
    ocsp = x509.AuthorityInformationAccess(
        [
            x509.AccessDescription(
                AuthorityInformationAccessOID.OCSP,
                x509.UniformResourceIdentifier("http://pki.example.org/ocsp"),
            ),
            x509.AccessDescription(
                AuthorityInformationAccessOID.CA_ISSUERS,
                x509.UniformResourceIdentifier("http://pki.example.org/ca.crt"),
            ),
        ]
    )
    described = describe(self_signed(ec.generate_private_key(ec.SECP256R1()), crl, ocsp))
    assert (
        "revocation",
        "http://pki.example.org/1.crl, http://pki.example.org/ocsp",
    ) in lines(described)


@pytest.mark.parametrize("name", ["\x1b[2J", "a\nwho  root", "\N{RIGHT-TO-LEFT OVERRIDE}x", "ä"])
def test_a_certificate_cannot_speak_to_the_terminal(name: str) -> None:
    """Whatever stands in a name, what is printed is printable ASCII."""
    described = describe(self_signed(ec.generate_private_key(ec.SECP256R1()), name=name))
    for label, text in lines(described):
        assert text.isascii()
        assert (label + text).isprintable()


def test_a_broken_chain_is_told() -> None:
    """A certificate that the next did not sign, and a leaf that outlives its chain."""
    other = ThrowawayCA(seed="other")
    described = describe(LEAF.chain_pem + other.bundle.pem)
    assert described.faults == ("certificate 2 is not signed by certificate 3",)
    assert lines(described)[-1] == ("fault", "certificate 2 is not signed by certificate 3")
    short = ThrowawayCA(lifetime=timedelta(minutes=5))
    mixed = describe(LEAF.chain_pem + short.bundle.pem)
    assert "certificate 1 outlives its chain, which ends at 2026-11-01T12:04:59+00:00" in (
        mixed.faults
    )


def test_a_bundle_is_no_chain() -> None:
    """Roots side by side do not sign each other, and need not."""
    other = ThrowawayCA(seed="other")
    assert describe(CA.bundle.pem + other.bundle.pem).faults == ()


@pytest.mark.parametrize("vector", sorted(path.name for path in VECTORS.glob("*.pem")))
def test_every_vector_can_be_described(vector: str) -> None:
    """Spoiled leaves are described; those that no parser reads are refused."""
    pem = (VECTORS / vector).read_bytes()
    if "garbage" in vector or vector == "wrong-leaf-extension-twice.pem":
        with pytest.raises(InputError, match="does not parse"):
            describe(pem)
        return
    described = describe(pem)
    assert lines(described)
    assert json.dumps(described.to_json())


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param(b"", "certificate 1: the certificate does not parse", id="empty"),
        pytest.param(b"\x30\x82", "cut short, altered or none at all", id="der-cut-short"),
        pytest.param(b"hello", "does not parse", id="text"),
        pytest.param(LEAF.chain_pem[:300], "has no END line", id="pem-cut-short"),
        pytest.param(LEAF.der + b"\0", "does not parse", id="trailing-byte"),
        pytest.param(b"\x30" * 20_000, "20000 bytes, at most 16384 are", id="der-huge"),
        pytest.param(LEAF.chain_pem * 2000, "at most 1048576 are read", id="pem-huge"),
        pytest.param(LEAF.chain_pem * 33, "66 PEM blocks, at most 64 are read", id="many"),
        pytest.param(
            certificate_pem(b"\x30" * 17_000), "17000 bytes, at most 16384 are", id="block-huge"
        ),
        pytest.param(
            CA.root.private_key_pem, "PEM block 1 is PRIVATE KEY, not CERTIFICATE", id="key"
        ),
        pytest.param(
            self_signed(ec.generate_private_key(ec.SECP256R1())).replace(
                b"\x02\x01\x01\x30", b"\x02\x01\x00\x30", 1
            ),
            "positive numbers of at most 20 octets",
            id="serial-zero",
        ),
    ],
)
def test_what_is_no_certificate_is_refused(data: bytes, message: str) -> None:
    """The message says which certificate, and what is wrong."""
    with pytest.raises(InputError, match=message):
        describe(data)


@settings(max_examples=300)
@given(st.integers(0, len(LEAF.der) * 8 - 1))
def test_a_flipped_bit_is_described_or_refused(position: int) -> None:
    """Bytes from outside raise InputError and nothing else."""
    der = bytearray(LEAF.der)
    der[position // 8] ^= 1 << position % 8
    try:
        described = describe(bytes(der))
    except InputError:
        return
    for label, text in lines(described):
        assert (label + text).isprintable()


@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_refused(data: bytes) -> None:
    """Random bytes are no certificate."""
    with pytest.raises(InputError, match="does not parse"):
        describe(data.replace(b"-", b""))


def test_what_openssl_writes_is_read(tmp_path: Path) -> None:
    """PEM with OpenSSL's text around it, as people paste it."""
    (tmp_path / "leaf.pem").write_bytes(LEAF.chain_pem)
    text = subprocess.run(
        ["openssl", "x509", "-in", tmp_path / "leaf.pem", "-text"], check=True, capture_output=True
    ).stdout
    described: Description = describe(text)
    assert described.certificates[0].fingerprint == LEAF.fingerprint
