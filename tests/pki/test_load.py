"""Stored authorities: what is good loads, and every fault of what is not is named."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from agentid.errors import AuthorityError
from agentid.identity import TrustDomain, Validity
from agentid.pki import (
    Authority,
    CertifiedKey,
    KeyAlgorithm,
    generate,
    make_intermediate,
    make_root,
    to_pkcs8_pem,
)
from agentid.pki.load import load_authority
from agentid.pki.pem import certificate_pem
from agentid.testing.ca import NOON, ThrowawayCA

if TYPE_CHECKING:
    from collections.abc import Callable

TD = TrustDomain.parse("example.org")
CA = ThrowawayCA()
CHAIN_DAY = Validity.of(NOON, timedelta(days=1), timedelta(0))
OTHER = ThrowawayCA(seed="other")
Files = dict[str, bytes]
Extension = tuple[x509.ExtensionType, bool]


def load(files: Files, now: datetime = NOON, trust_domain: TrustDomain = TD) -> Authority:
    """Load as `ensure_authorities` does."""
    return load_authority(
        chain_pem=files.get("issuing.crt"),
        key_pem=files.get("issuing.key"),
        root_pem=files.get("root.crt"),
        root_key_pem=files.get("root.key"),
        trust_domain=trust_domain,
        now=now,
    )


def faults(files: Files, now: datetime = NOON, trust_domain: TrustDomain = TD) -> tuple[str, ...]:
    """The faults that loading names."""
    with pytest.raises(AuthorityError, match=r"(issuing|root)\.(crt|key)") as raised:
        load(files, now, trust_domain)
    return raised.value.faults


@pytest.mark.parametrize("algorithm", list(KeyAlgorithm))
def test_good_files_load_and_the_authority_signs(algorithm: KeyAlgorithm) -> None:
    """What was made loads, for every algorithm, and is the same authority."""
    ca = ThrowawayCA(algorithm=algorithm)
    authority = load(ca.files)
    assert authority.chain == (ca.intermediate.certificate,)
    assert authority.root == ca.root.certificate
    assert authority.algorithm is algorithm
    assert authority.validity == ca.authority.validity


def test_the_key_of_the_root_may_be_kept_elsewhere() -> None:
    """An issuer needs it only to renew the intermediate."""
    files = CA.files
    del files["root.key"]
    assert load(files).root == CA.root.certificate


def test_a_longer_chain_loads() -> None:
    """Two intermediates, both constrained to the trust domain, the lower one issuing."""
    files = CA.files | chain_under(x509.UniformResourceIdentifier("example.org"))
    authority = load(files)
    assert len(authority.chain) == 2
    assert authority.chain_pem == files["issuing.crt"]


def tampered(pem: bytes) -> bytes:
    """The certificate with one bit of its signature flipped."""
    der = bytearray(x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER))
    der[-5] ^= 1
    return x509.load_der_x509_certificate(bytes(der)).public_bytes(Encoding.PEM)


def built(
    *,
    issuer: CertifiedKey = CA.root,
    key: str = "issuing",
    change: Callable[[Extension], Extension | None] = lambda extension: extension,
    subject: x509.Name | None = None,
) -> bytes:
    """The intermediate again, with its extensions or its subject replaced."""
    good = CA.intermediate.certificate
    builder = x509.CertificateBuilder(
        issuer.certificate.subject,
        good.subject if subject is None else subject,
        CA.key(key).public_key(),
        good.serial_number,
        good.not_valid_before_utc,
        good.not_valid_after_utc,
    )
    for each in good.extensions:
        if kept := change((each.value, each.critical)):
            builder = builder.add_extension(kept[0], critical=kept[1])
    return builder.sign(issuer.private_key, None).public_bytes(Encoding.PEM)


def replacing(new: x509.ExtensionType, *, critical: bool = True) -> bytes:
    """The intermediate with one extension replaced."""
    return built(change=lambda old: (new, critical) if old[0].oid == new.oid else old)


def without(kind: type[x509.ExtensionType]) -> bytes:
    """The intermediate without one extension."""
    return built(change=lambda old: None if isinstance(old[0], kind) else old)


def weak() -> Files:
    """Authorities whose issuing key is RSA 2048."""
    key = rsa.generate_private_key(65537, 2048)
    good = CA.intermediate.certificate
    builder = x509.CertificateBuilder(
        CA.root.certificate.subject,
        good.subject,
        key.public_key(),
        good.serial_number,
        good.not_valid_before_utc,
        good.not_valid_after_utc,
    )
    for each in good.extensions:
        builder = builder.add_extension(each.value, each.critical)
    return {
        "issuing.crt": builder.sign(CA.root.private_key, None).public_bytes(Encoding.PEM),
        "issuing.key": key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    }


def foreign() -> Files:
    """Authorities of another trust domain, good in themselves."""
    return ThrowawayCA("evil.org").files


def chain_of_two() -> Files:
    """An intermediate that signed another, which its path length forbids."""
    validity = Validity.of(NOON, timedelta(days=1), timedelta(0))
    below = make_intermediate(CA.intermediate, TD, CA.key("below"), validity, CA.serial())
    return {
        "issuing.crt": below.certificate_pem + CA.intermediate.certificate_pem,
        "issuing.key": below.private_key_pem,
    }


def constrain_elsewhere(old: Extension) -> Extension:
    """Constrain to another host."""
    if isinstance(old[0], x509.NameConstraints):
        return x509.NameConstraints([x509.UniformResourceIdentifier("evil.org")], None), True
    return old


def exclude_ours(old: Extension) -> Extension:
    """Permit and exclude the trust domain at once."""
    if isinstance(old[0], x509.NameConstraints):
        host = x509.UniformResourceIdentifier("example.org")
        return x509.NameConstraints([host], [host]), True
    return old


def chain_under(permitted: x509.GeneralName) -> Files:
    """A good intermediate beneath another one that is constrained otherwise."""

    def widen(old: Extension) -> Extension:
        if isinstance(old[0], x509.BasicConstraints):
            return x509.BasicConstraints(ca=True, path_length=1), True
        if isinstance(old[0], x509.NameConstraints):
            return x509.NameConstraints([permitted], None), True
        return old

    above = CertifiedKey(
        x509.load_pem_x509_certificate(built(change=widen)), CA.intermediate.private_key
    )
    below = make_intermediate(above, TD, CA.key("below"), CHAIN_DAY, CA.serial())
    return {
        "issuing.crt": below.certificate_pem + above.certificate_pem,
        "issuing.key": below.private_key_pem,
    }


LEAF = CA.issue().leaf
LEAF_PEM = LEAF.certificate.public_bytes(Encoding.PEM)
GOOD = CA.files["issuing.crt"]
KEY = CA.files["issuing.key"]
RESTORE = "restore it from"
USAGE = next(
    each.value for each in LEAF.certificate.extensions if isinstance(each.value, x509.KeyUsage)
)

FAULTS = [
    pytest.param({"issuing.crt": b""}, f"issuing.crt: it is missing; {RESTORE}", id="missing"),
    pytest.param({"issuing.key": b""}, "issuing.key: it is missing", id="key-missing"),
    pytest.param({"root.crt": b""}, "root.crt: it is missing", id="root-missing"),
    pytest.param({"issuing.crt": GOOD[:200]}, "issuing.crt: .* is cut short", id="truncated"),
    pytest.param({"issuing.key": KEY[:60]}, "issuing.key: .* is cut short", id="key-truncated"),
    pytest.param(
        {"issuing.crt": GOOD.replace(GOOD[64:200], b"")},
        "issuing.crt: .* cut short or altered",
        id="middle-lost",
    ),
    pytest.param({"issuing.crt": b"hello"}, "issuing.crt holds no PEM block", id="not-pem"),
    pytest.param({"issuing.key": b"\0\1"}, "issuing.key holds no PEM block", id="key-not-pem"),
    pytest.param(
        {"issuing.crt": GOOD * 2000}, r"issuing.crt has \d+ bytes, at most 262144", id="huge"
    ),
    pytest.param(
        {"issuing.key": KEY * 2000}, r"issuing.key has \d+ bytes, at most 16384", id="key-huge"
    ),
    pytest.param({"issuing.crt": GOOD * 7}, "holds 7 PEM blocks, at most 6", id="many"),
    pytest.param(
        {"root.crt": CA.files["root.crt"] * 2}, "root.crt holds 2 PEM blocks", id="two-roots"
    ),
    pytest.param({"issuing.crt": KEY}, "found PEM PRIVATE KEY, wanted CERT", id="key-for-cert"),
    pytest.param(
        {"issuing.key": GOOD}, "found PEM CERTIFICATE, but exactly one", id="cert-for-key"
    ),
    pytest.param(
        {"issuing.key": OTHER.files["issuing.key"]},
        "issuing.key: it is not the private key of issuing.crt",
        id="other-key",
    ),
    pytest.param(
        {"root.key": OTHER.files["root.key"]},
        "root.key: it is not the private key of root.crt",
        id="other-root-key",
    ),
    pytest.param(
        {"root.crt": OTHER.files["root.crt"], "root.key": OTHER.files["root.key"]},
        "issuing.crt: it is not signed by root.crt",
        id="other-root",
    ),
    pytest.param(
        {"issuing.crt": tampered(GOOD)}, "issuing.crt: it is not signed by root.crt", id="tampered"
    ),
    pytest.param(
        {"root.crt": tampered(CA.files["root.crt"])},
        "root.crt: it is not signed by itself",
        id="root-tampered",
    ),
    pytest.param(
        {"issuing.crt": LEAF_PEM}, "issuing.crt: basicConstraints: it is not a CA", id="leaf"
    ),
    pytest.param({"issuing.crt": LEAF_PEM}, "keyCertSign is missing", id="leaf-usage"),
    pytest.param(
        {"issuing.crt": CA.files["root.crt"], "issuing.key": CA.files["root.key"]},
        "issuing.crt: it is the root itself; let the root sign an intermediate",
        id="root-as-issuing",
    ),
    pytest.param(
        {"issuing.crt": GOOD + CA.files["root.crt"]},
        "issuing.crt, certificate 2: it is the root, which root.crt holds already; remove it",
        id="root-in-chain",
    ),
    pytest.param(
        {"issuing.crt": built(change=exclude_ours)},
        "nameConstraints: the URI host example.org is excluded",
        id="constraint-excludes",
    ),
    pytest.param(
        chain_under(x509.UniformResourceIdentifier("evil.org")),
        'issuing.crt, certificate 2: nameConstraints: it is constrained to the URI host "evil.org"',
        id="constraint-above-foreign",
    ),
    pytest.param(chain_of_two(), "path length is 0, and 1 authorities are below", id="path-length"),
    pytest.param(
        {"issuing.crt": GOOD + OTHER.files["issuing.crt"]},
        "issuing.crt, certificate 1: it is not signed by issuing.crt, certificate 2",
        id="chain-order",
    ),
    pytest.param(
        {"issuing.crt": built(change=constrain_elsewhere)},
        'constrained to the URI host "evil.org", but serves the trust domain example.org',
        id="constraint-foreign",
    ),
    pytest.param(
        {"issuing.crt": without(x509.NameConstraints)},
        "nameConstraints: no URI is permitted; constrain it to the URI host example.org",
        id="constraint-missing",
    ),
    pytest.param(
        {
            "issuing.crt": replacing(
                x509.SubjectAlternativeName([x509.UniformResourceIdentifier("spiffe://evil.org")])
            )
        },
        '"spiffe://evil.org" is not the trust domain spiffe://example.org',
        id="foreign-spiffe-id",
    ),
    pytest.param(
        {
            "issuing.crt": replacing(
                x509.SubjectAlternativeName([x509.UniformResourceIdentifier(f"{TD.id_string}/a")])
            )
        },
        "has a path; the SPIFFE ID of an authority has none",
        id="spiffe-id-with-path",
    ),
    pytest.param(
        {
            "issuing.crt": replacing(
                x509.SubjectAlternativeName(
                    [
                        x509.UniformResourceIdentifier(TD.id_string),
                        x509.UniformResourceIdentifier("https://example.org"),
                    ]
                )
            )
        },
        "at most one URI is allowed in an authority, found 2",
        id="two-uris",
    ),
    pytest.param(
        {"issuing.crt": replacing(x509.BasicConstraints(ca=True, path_length=0), critical=False)},
        "basicConstraints: it must be critical in a CA",
        id="basic-constraints-not-critical",
    ),
    pytest.param(
        {"issuing.crt": replacing(USAGE)}, "keyUsage: keyCertSign is missing", id="key-usage"
    ),
    pytest.param(
        {"issuing.crt": without(x509.SubjectKeyIdentifier)},
        "subjectKeyIdentifier: it is missing",
        id="no-ski",
    ),
    pytest.param(
        {"issuing.crt": replacing(x509.AuthorityKeyIdentifier(b"x", None, None), critical=False)},
        "its authorityKeyIdentifier is not the key identifier of root.crt",
        id="aki",
    ),
    pytest.param(
        {"issuing.crt": built(subject=x509.Name([]))}, "subject: it is empty", id="no-subject"
    ),
    pytest.param(weak(), "issuing.crt: public key: found an RSA key of 2048 bits", id="weak-cert"),
    pytest.param(weak(), "issuing.key: found an RSA key of 2048 bits", id="weak-key"),
    pytest.param(
        foreign(),
        'subjectAltName: "spiffe://evil.org" is not the trust domain spiffe://example.org',
        id="foreign-trust-domain",
    ),
]


@pytest.mark.parametrize(("changed", "sentence"), FAULTS)
def test_each_fault_is_named(changed: Files, sentence: str) -> None:
    """Each way in which the files can be wrong has its sentence."""
    found = faults(CA.files | changed)
    assert any(re.search(sentence, fault) for fault in found), found


@pytest.mark.parametrize(
    ("now", "sentence"),
    [
        pytest.param(NOON - timedelta(hours=1), "is not valid before", id="not-yet-valid"),
        pytest.param(NOON + timedelta(days=90), "expired at 2027-01-30T11:59:59", id="expired"),
    ],
)
def test_the_present_decides_validity(now: datetime, sentence: str) -> None:
    """Both authorities are named, with the times and the present."""
    found = faults(CA.files, now)
    assert [fault.split(":")[0] for fault in found] == ["issuing.crt", "root.crt"]
    assert all(sentence in fault for fault in found)


@pytest.mark.parametrize(
    "now", [NOON - timedelta(seconds=60), NOON + timedelta(days=90) - timedelta(seconds=1)]
)
def test_both_ends_of_the_validity_count(now: datetime) -> None:
    """The first and the last second of the chain are good."""
    assert load(CA.files, now).not_after == CA.authority.not_after


def test_every_fault_is_listed_at_once() -> None:
    """One look tells everything that is to be repaired."""
    files = CA.files | {
        "root.crt": b"",
        "root.key": b"x",
        "issuing.key": OTHER.files["issuing.key"],
    }
    found = faults(files, NOON + timedelta(days=365))
    assert [fault.split(":")[0].split()[0] for fault in found] == [
        "root.crt",
        "root.key",
        "issuing.crt",
        "issuing.key",
    ]


def test_nothing_at_all_names_the_three_that_are_needed() -> None:
    """An empty Secret."""
    assert [fault.split(":")[0] for fault in faults({})] == [
        "issuing.crt",
        "root.crt",
        "issuing.key",
    ]


def test_good_authorities_of_another_trust_domain_are_refused() -> None:
    """They are whole, and not ours."""
    found = faults(foreign())
    assert len(found) == 3
    assert all("evil.org" in fault for fault in found)


def test_sha_1_is_named() -> None:
    """A chain that is signed with a weak hash is refused, if the library still verifies it."""
    root_key = generate(KeyAlgorithm.ECDSAP256)
    validity = Validity.of(NOON, timedelta(days=1), timedelta(0))
    root = make_root(TD, root_key, validity, CA.serial())
    issuing = make_intermediate(root, TD, generate(KeyAlgorithm.ECDSAP256), validity, CA.serial())
    good = issuing.certificate
    builder = x509.CertificateBuilder(
        good.issuer,
        good.subject,
        issuing.private_key.public_key(),
        good.serial_number,
        good.not_valid_before_utc,
        good.not_valid_after_utc,
    )
    for each in good.extensions:
        builder = builder.add_extension(each.value, each.critical)
    with_sha224 = builder.sign(root_key, hashes.SHA224())
    files = {
        "issuing.crt": with_sha224.public_bytes(Encoding.PEM),
        "issuing.key": to_pkcs8_pem(issuing.private_key),
        "root.crt": root.certificate_pem,
    }
    assert faults(files) == (
        "issuing.crt: it is signed with sha224; have it signed with SHA-256 or better",
    )


def test_faults_never_show_a_key() -> None:
    """Whatever is wrong, no private byte stands in a message."""
    body = KEY.splitlines()[1].decode()[10:40]
    for row in FAULTS:
        changed = row.values[0]
        assert isinstance(changed, dict)
        assert not any(body in fault for fault in faults(CA.files | changed))


@settings(max_examples=200)
@given(
    st.sampled_from(["issuing.crt", "issuing.key", "root.crt", "root.key"]),
    st.integers(0, 5000),
    st.binary(max_size=40),
)
def test_damaged_files_raise_authority_error_alone(name: str, position: int, new: bytes) -> None:
    """Whatever stands in the Secret, either it loads as what it was or its faults are listed."""
    good = CA.files[name]
    at = position % len(good)
    files = CA.files | {name: good[:at] + new + good[at + len(new) :]}
    try:
        authority = load(files)
    except AuthorityError:
        return
    assert authority.chain == CA.authority.chain
    assert authority.root == CA.root.certificate


@settings(max_examples=300)
@given(st.sampled_from(["issuing.crt", "root.crt"]), st.integers(0, 8 * 400))
def test_a_flipped_bit_in_a_certificate_never_loads(name: str, position: int) -> None:
    """Inside the DER, where Base64 hides nothing, every single bit is covered by a check."""
    der = bytearray(x509.load_pem_x509_certificate(CA.files[name]).public_bytes(Encoding.DER))
    der[position // 8 % len(der)] ^= 1 << position % 8
    assert faults(CA.files | {name: certificate_pem(bytes(der))})
