"""The SPIFFE bundle document: what is published, and what is understood of others'."""

from __future__ import annotations

import base64
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from agentid.errors import InputError
from agentid.identity import TrustDomain
from agentid.pki import KeyAlgorithm, X509Bundle
from agentid.pki.jwk import public_jwk
from agentid.pki.spiffe_bundle import (
    MAX_BUNDLE_DOCUMENT_BYTES,
    MAX_BUNDLE_KEYS,
    SpiffeBundle,
    decode_spiffe_bundle,
    encode_spiffe_bundle,
)
from agentid.testing.ca import NOON, ThrowawayCA

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes

DOMAIN = TrustDomain.parse("example.org")
MINUTES = timedelta(minutes=5)
JWT_KEY = {
    "kty": "EC",
    "use": "jwt-svid",
    "kid": "first",
    "crv": "P-256",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    "x-other": {"kept": [1, 2.5, None, True, "\ud800"]},
}


@pytest.fixture(scope="module")
def ca() -> ThrowawayCA:
    """Whose bundle it is."""
    return ThrowawayCA()


def entry(certificate: x509.Certificate, **changes: object) -> dict[str, Any]:
    """A JWK of a root as others may write it."""
    der = base64.b64encode(certificate.public_bytes(Encoding.DER)).decode()
    made = {"kty": "OKP", "crv": "Ed25519", "x": "", "use": "x509-svid", "x5c": [der]} | changes
    return {name: value for name, value in made.items() if value is not None}


def document(*keys: object, **members: object) -> bytes:
    """A bundle document."""
    return json.dumps({"keys": list(keys), **members}).encode()


def other_root(key: CertificateIssuerPrivateKeyTypes, *, ca: bool = True) -> x509.Certificate:
    """A self-signed certificate of somebody else."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "other")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 5, NOON, NOON + MINUTES)
    hashed = None if isinstance(key, ed448.Ed448PrivateKey) else hashes.SHA256()
    return builder.add_extension(
        x509.BasicConstraints(ca=ca, path_length=None), critical=True
    ).sign(key, hashed)


@pytest.mark.parametrize(
    ("algorithm", "members"),
    [
        (KeyAlgorithm.ECDSAP256, {"kty": "EC", "crv": "P-256", "x": 32, "y": 32}),
        (KeyAlgorithm.ECDSAP384, {"kty": "EC", "crv": "P-384", "x": 48, "y": 48}),
        (KeyAlgorithm.ECDSAP521, {"kty": "EC", "crv": "P-521", "x": 66, "y": 66}),
        (KeyAlgorithm.ED25519, {"kty": "OKP", "crv": "Ed25519", "x": 32}),
        (KeyAlgorithm.RSA3072, {"kty": "RSA", "n": 384, "e": 3}),
        (KeyAlgorithm.MLDSA44, {"kty": "AKP", "alg": "ML-DSA-44", "pub": 1312}),
        (KeyAlgorithm.MLDSA65, {"kty": "AKP", "alg": "ML-DSA-65", "pub": 1952}),
        (KeyAlgorithm.MLDSA87, {"kty": "AKP", "alg": "ML-DSA-87", "pub": 2592}),
    ],
)
def test_a_root_of_every_algorithm_has_its_jwk(
    algorithm: KeyAlgorithm, members: dict[str, str | int]
) -> None:
    """Exactly the members of its key type, of full length, `use`, and the one certificate."""
    ca = ThrowawayCA(algorithm=algorithm)
    made = json.loads(encode_spiffe_bundle(SpiffeBundle(ca.bundle)))
    assert list(made) == ["keys"]
    (key,) = made["keys"]
    assert key.keys() == {*members, "use", "x5c"}
    assert (key["use"], len(key["x5c"])) == ("x509-svid", 1)
    assert base64.b64decode(key["x5c"][0]) == ca.bundle.der[0]
    for member, expected in members.items():
        found = key[member]
        if isinstance(expected, int):
            found = len(base64.urlsafe_b64decode(found + "=" * (-len(found) % 4)))
            assert "=" not in key[member]
        assert found == expected


def test_the_members_are_the_key() -> None:
    """RFC 8037 appendix A.2 and RFC 7517 appendix A.1: their keys, our members."""
    numbers = ec.EllipticCurvePublicNumbers(
        int.from_bytes(base64.urlsafe_b64decode(JWT_KEY["x"] + "=")),  # type: ignore[operator]
        int.from_bytes(base64.urlsafe_b64decode(JWT_KEY["y"] + "=")),  # type: ignore[operator]
        ec.SECP256R1(),
    )
    made = public_jwk(numbers.public_key())
    assert made == {name: JWT_KEY[name] for name in ("kty", "crv", "x", "y")}
    ed = ed25519.Ed25519PublicKey.from_public_bytes(
        bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
    )
    assert public_jwk(ed)["x"] == "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"


def test_a_coordinate_keeps_its_leading_zeros() -> None:
    """RFC 7518 §6.2.1.2: a short coordinate would be another key."""
    scalar = next(
        number
        for number in range(1, 10_000)
        if ec.derive_private_key(number, ec.SECP256R1()).public_key().public_numbers().x >> 248 == 0
    )
    key = ec.derive_private_key(scalar, ec.SECP256R1()).public_key()
    assert public_jwk(key)["x"].startswith("A")
    assert len(public_jwk(key)["x"]) == 43


@pytest.mark.parametrize("sequence", [0, 1, (1 << 53) + 1, (1 << 64) - 1])
def test_a_bundle_reads_as_it_was_written(sequence: int, ca: ThrowawayCA) -> None:
    """Roots in their order, every integer exact, the keys of others as they were."""
    later = ThrowawayCA(seed="later")
    both = X509Bundle(DOMAIN, (later.root.certificate, ca.root.certificate))
    found = decode_spiffe_bundle(
        document(
            entry(later.root.certificate),
            JWT_KEY,
            entry(ca.root.certificate),
            spiffe_sequence=sequence,
            spiffe_refresh_hint=300,
        ),
        DOMAIN,
    )
    assert (found.x509, found.sequence, found.refresh_hint) == (both, sequence, MINUTES)
    assert [json.loads(key) for key in found.jwt_keys] == [JWT_KEY]
    again = encode_spiffe_bundle(found)
    assert decode_spiffe_bundle(again, DOMAIN) == found
    assert encode_spiffe_bundle(decode_spiffe_bundle(again, DOMAIN)) == again
    assert f'"spiffe_sequence":{sequence}'.encode() in again
    assert again.endswith(b'"spiffe_refresh_hint":300}')


def test_an_empty_list_revokes_everything() -> None:
    """§4.1.3: `keys` may be empty, and then nothing is trusted."""
    found = decode_spiffe_bundle(b'{"keys":[]}', DOMAIN)
    assert found == SpiffeBundle(X509Bundle(DOMAIN, ()))
    assert encode_spiffe_bundle(found) == b'{"keys":[]}'


def test_what_is_unknown_is_passed_over(ca: ThrowawayCA) -> None:
    """Unknown types and uses, members nobody defined, and entries without a certificate."""
    root = ca.root.certificate
    found = decode_spiffe_bundle(
        document(
            entry(root, kty="PQC"),
            entry(root, kty="oct"),
            entry(root, kty=None),
            entry(root, kty=["OKP"]),
            entry(root, use="sig"),
            entry(root, use="X509-SVID"),
            entry(root, use=None),
            entry(root, x5c=None),
            entry(root, x5c=[]),
            entry(other_root(ed448.Ed448PrivateKey.generate())),
            entry(other_root(ec.generate_private_key(ec.SECP256K1()))),
            {},
            other="member",
        ),
        DOMAIN,
    )
    assert found == SpiffeBundle(X509Bundle(DOMAIN, ()))


def test_the_certificate_is_what_counts(ca: ThrowawayCA) -> None:
    """X509-SVID §6.2: the first of `x5c`, whatever else the JWK says; the same one counts once."""
    stranger = ThrowawayCA(seed="stranger").root.certificate
    chain = [*entry(ca.root.certificate)["x5c"], *entry(stranger)["x5c"]]
    found = decode_spiffe_bundle(
        document(
            entry(ca.root.certificate, kty="RSA", n="AQAB", e="AQAB", x5c=chain),
            entry(ca.root.certificate),
        ),
        DOMAIN,
    )
    assert found.x509.authorities == (ca.root.certificate,)


def test_the_roots_of_others_may_be_weaker_than_ours(ca: ThrowawayCA) -> None:
    """RSA 2048 stands in the bundles of others; whether it is good enough is not asked here."""
    weak = other_root(rsa.generate_private_key(65537, 2048))
    found = decode_spiffe_bundle(document(entry(weak), entry(ca.root.certificate)), DOMAIN)
    assert found.x509.authorities == (weak, ca.root.certificate)
    assert len(json.loads(encode_spiffe_bundle(found))["keys"]) == 2


GOOD = entry(ThrowawayCA().root.certificate)
REFUSED = [
    pytest.param(b"", "does not parse as JSON", id="nothing"),
    pytest.param(b"\xff", "does not parse as JSON", id="no-utf-8"),
    pytest.param(b'{"keys":[]', "does not parse as JSON", id="cut-short"),
    pytest.param(b'{"keys":[],"a":NaN}', "does not parse as JSON", id="nan"),
    pytest.param(b'{"keys":[],"a":1e999}', "does not parse as JSON", id="infinite"),
    pytest.param(b'{"keys":[],"keys":[]}', "does not parse as JSON", id="member-twice"),
    pytest.param(
        b'{"keys":[{"kty":"EC","kty":"EC"}]}', "does not parse as JSON", id="member-twice-below"
    ),
    pytest.param(b"[" * 100_000, "does not parse as JSON", id="nested"),
    pytest.param(b'{"keys":' + b"[" * 100_000, "does not parse as JSON", id="nested-keys"),
    pytest.param(
        b'{"keys":[],"spiffe_sequence":' + b"9" * 10_000 + b"}", "does not parse", id="long-number"
    ),
    pytest.param(
        bytes(MAX_BUNDLE_DOCUMENT_BYTES + 1), "has 1048577 bytes, at most 1048576", id="long"
    ),
    pytest.param(b"[]", "is not a JSON object", id="list"),
    pytest.param(b"null", "is not a JSON object", id="null"),
    pytest.param(b"{}", "keys is missing", id="no-keys"),
    pytest.param(b'{"keys":null}', "keys is missing or no list", id="keys-null"),
    pytest.param(b'{"keys":{}}', "keys is missing or no list", id="keys-object"),
    pytest.param(document(*[{}] * (MAX_BUNDLE_KEYS + 1)), "holds 257, at most 256", id="too-many"),
    pytest.param(document(GOOD, "key"), r"keys\[1\]: it is no JSON object", id="key-text"),
    pytest.param(document(GOOD | {"x5c": "MII"}), "must be a list", id="x5c-text"),
    pytest.param(document(GOOD | {"x5c": None}), "must be a list", id="x5c-null"),
    pytest.param(document(GOOD | {"x5c": [5]}), "must be a list", id="x5c-number"),
    pytest.param(document(GOOD | {"x5c": ["a-b_"]}), "is not Base64", id="x5c-base64url"),
    pytest.param(document(GOOD | {"x5c": ["ü"]}), "is not Base64", id="x5c-umlaut"),
    pytest.param(document(GOOD | {"x5c": ["AAAA"]}), "does not parse", id="x5c-garbage"),
    pytest.param(
        document(GOOD | {"x5c": ["A" * 24_000]}), "at most 16384 are read", id="x5c-too-long"
    ),
    pytest.param(
        document(entry(other_root(ec.generate_private_key(ec.SECP256R1()), ca=False))),
        "is no authority's",
        id="leaf",
    ),
    pytest.param(document(JWT_KEY | {"kid": ""}), "must have a kid", id="empty-kid"),
    pytest.param(document(JWT_KEY | {"kid": 5}), "must have a kid", id="kid-number"),
    pytest.param(
        document(JWT_KEY | {"d": "AA"}), "member d is that of a private key", id="private"
    ),
    pytest.param(document(GOOD | {"priv": "AA"}), "member priv", id="private-akp"),
    pytest.param(document(spiffe_sequence=-1), "spiffe_sequence is out of range", id="negative"),
    pytest.param(document(spiffe_sequence=1 << 64), "spiffe_sequence is out of range", id="65-bit"),
    pytest.param(document(spiffe_sequence=1.0), "must be a whole number", id="float"),
    pytest.param(document(spiffe_sequence=True), "must be a whole number", id="true"),
    pytest.param(document(spiffe_sequence="1"), '"1", but must be a whole', id="text"),
    pytest.param(document(spiffe_sequence=None), "must be a whole number", id="sequence-null"),
    pytest.param(document(spiffe_refresh_hint=-1), "spiffe_refresh_hint is", id="hint-negative"),
    pytest.param(document(spiffe_refresh_hint=1 << 40), "must be whole seconds", id="hint-long"),
    pytest.param(document(spiffe_refresh_hint=10**30), "is longer than", id="hint-overflow"),
    pytest.param(document(spiffe_refresh_hint=0.5), "must be a whole number", id="hint-float"),
]


@pytest.mark.parametrize(("text", "message"), REFUSED)
def test_a_malformed_document_is_refused(text: bytes, message: str) -> None:
    """What could be misread is refused by name, and with one exception type."""
    with pytest.raises(InputError, match=message):
        decode_spiffe_bundle(text, DOMAIN)


def test_numbers_of_our_own_are_checked_too(ca: ThrowawayCA) -> None:
    """A bundle that readers would misread is not made."""
    with pytest.raises(InputError, match="spiffe_sequence is out of range"):
        SpiffeBundle(ca.bundle, sequence=1 << 64)
    with pytest.raises(InputError, match=r"0:00:01\.500000, but must be whole seconds"):
        SpiffeBundle(ca.bundle, refresh_hint=timedelta(seconds=1.5))


def test_a_root_without_a_jwk_is_named() -> None:
    """An authority on an unusual curve cannot be published."""
    root = other_root(ec.generate_private_key(ec.SECP256K1()))
    with pytest.raises(InputError, match="cannot be written; use ECDSA"):
        encode_spiffe_bundle(SpiffeBundle(X509Bundle(DOMAIN, (root,))))
