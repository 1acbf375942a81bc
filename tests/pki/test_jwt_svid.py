"""JWT-SVIDs: minted with what the standard asks for, and validated strictly."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from hypothesis import given
from hypothesis import strategies as st

from agentid.errors import InputError, VerificationError
from agentid.errors import VerificationReason as R
from agentid.identity import SpiffeId, TrustDomain
from agentid.pki import KeyAlgorithm, LocalSigner, X509Bundle
from agentid.pki.jwk import base64url, base64url_octets, public_jwk, read_jws_key
from agentid.pki.jws import JwsAlgorithm, JwtAlgorithm, check_jws, sign_jws
from agentid.pki.jwt_bundle import JwtBundle, JwtVerificationKey, jwt_jwk
from agentid.pki.jwt_svid import (
    MAX_TOKEN_BYTES,
    RESERVED_CLAIMS,
    JwtOrder,
    JwtSigningKey,
    JwtSvid,
    mint,
)
from agentid.pki.jwt_validation import LEEWAY, validate
from agentid.pki.keys import public_key_der
from agentid.pki.spiffe_bundle import SpiffeBundle, decode_spiffe_bundle, encode_spiffe_bundle
from agentid.testing.ca import NOON, ThrowawayCA

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

CA = ThrowawayCA()
DOMAIN = CA.trust_domain
KEY = CA.jwt_signing_key
AGENT = CA.spiffe_id()
AUDIENCE = "https://api.partner.example"
MINUTE, SECOND = timedelta(minutes=1), timedelta(seconds=1)
ORDER = JwtOrder(AGENT, (AUDIENCE,), NOON + timedelta(milliseconds=250), 5 * MINUTE, "id-1")
BUNDLES = {DOMAIN: JwtBundle(DOMAIN, {KEY.kid: JwtVerificationKey(KEY.public_key, "ES256")})}
HEADER = {"alg": "ES256", "kid": KEY.kid, "typ": "JWT"}
CLAIMS = {
    "sub": str(AGENT),
    "aud": [AUDIENCE],
    "iat": int(NOON.timestamp()),
    "exp": int(NOON.timestamp()) + 300,
    "jti": "id-1",
}


def parts(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims, as somebody without any library reads them."""
    header, claims = (
        json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
        for part in token.split(".")[:2]
    )
    return header, claims


def signed(header: object = HEADER, claims: object = CLAIMS, key: JwtSigningKey = KEY) -> str:
    """A token with a good signature over whatever it says."""
    head, body = (
        each if isinstance(each, bytes) else json.dumps(each).encode() for each in (header, claims)
    )
    return sign_jws(head, body, key.signer)


def refused(
    token: str,
    *,
    bundles: Mapping[TrustDomain, JwtBundle] = BUNDLES,
    audience: str = AUDIENCE,
    at: datetime = NOON,
    leeway: timedelta = LEEWAY,
) -> VerificationError:
    """Why a token is refused."""
    with pytest.raises(VerificationError, match=r".") as raised:
        validate(token, bundles, audience, at, leeway=leeway)
    return raised.value


# Minting


def test_a_token_says_what_the_standard_asks_for_and_no_more() -> None:
    """JWT-SVID §2 and §3: a header of three, the SPIFFE ID as sub, whole seconds."""
    svid = mint(ORDER, KEY)
    assert parts(svid.token) == (HEADER, CLAIMS)
    assert (svid.issued_at, svid.not_after) == (NOON, NOON + 5 * MINUTE)
    assert (svid.kid, svid.token_id, svid.audience) == (KEY.kid, "id-1", (AUDIENCE,))


def test_an_issuer_and_other_claims_are_added() -> None:
    """`iss` for OpenID Connect, and what the caller gives."""
    order = replace(ORDER, issuer="https://oidc.example", claims={"tier": "Low", "n": [1, None]})
    _, claims = parts(mint(order, KEY).token)
    assert claims == {**CLAIMS, "iss": "https://oidc.example", "tier": "Low", "n": [1, None]}


@pytest.mark.parametrize("algorithm", list(JwtAlgorithm))
def test_what_is_minted_is_good(algorithm: JwtAlgorithm) -> None:
    """By the bundle document that verifiers fetch, with both algorithms."""
    key = JwtSigningKey.of(LocalSigner(CA.key("another", algorithm.key_algorithm)))
    document = encode_spiffe_bundle(SpiffeBundle(CA.bundle, 1, None, (jwt_jwk(key.public_key),)))
    bundle = JwtBundle.of(decode_spiffe_bundle(document, DOMAIN))
    minted = mint(replace(ORDER, claims={"tier": "Low"}), key)
    assert validate(minted.token, {DOMAIN: bundle}, AUDIENCE, NOON) == minted
    assert parts(minted.token)[0]["alg"] == algorithm


def test_a_token_stands_in_no_text() -> None:
    """Whoever has it is the agent, so neither `repr` nor a refusal shows it."""
    svid = mint(ORDER, KEY)
    assert svid.token not in repr(svid)
    assert svid.token.rpartition(".")[2] not in repr(svid)
    assert svid.token.rpartition(".")[2] not in str(refused(svid.token, audience="other"))
    assert "masked" in repr(KEY)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"audience": ()}, "audience: it has 0 entries, and 1 to 16", id="for-nobody"),
        pytest.param({"audience": ("a",) * 17}, "it has 17 entries", id="for-everybody"),
        pytest.param({"audience": ("",)}, 'audience: "" is empty', id="empty-audience"),
        pytest.param({"audience": ("a\nb",)}, "not printable", id="audience-of-two-lines"),
        pytest.param({"audience": ("a" * 2049,)}, "longer than 2048", id="long-audience"),
        pytest.param({"lifetime": timedelta(0)}, "not a number of whole seconds", id="no-time"),
        pytest.param({"lifetime": timedelta(hours=1, seconds=1)}, "up to 1:00:00", id="too-long"),
        pytest.param({"lifetime": timedelta(seconds=1.5)}, "whole seconds", id="fraction"),
        pytest.param({"token_id": ""}, "token id: it is empty", id="no-id"),
        *(
            pytest.param({"claims": {name: 1}}, f"claims: {name} cannot be given", id=name)
            for name in sorted(RESERVED_CLAIMS)
        ),
    ],
)
def test_what_no_token_may_say_is_refused(change: dict[str, Any], message: str) -> None:
    """Before anything is signed, and by name."""
    with pytest.raises(InputError, match=message):
        replace(ORDER, **change)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_json_cannot_say_is_not_signed(value: float) -> None:
    """Every verifier would refuse it, or read something else."""
    with pytest.raises(InputError, match="claims: it does not parse as JSON"):
        mint(replace(ORDER, claims={"n": value}), KEY)


def test_a_giant_is_not_signed() -> None:
    """No server would take it in a header."""
    with pytest.raises(InputError, match=f"{MAX_TOKEN_BYTES} are allowed; leave out claims"):
        mint(replace(ORDER, claims={"note": "x" * MAX_TOKEN_BYTES}), KEY)


@pytest.mark.parametrize("algorithm", sorted(set(KeyAlgorithm) - {"ECDSAP256", "ECDSAP384"}))
def test_other_keys_sign_no_tokens(algorithm: KeyAlgorithm) -> None:
    """JWT-SVID §2.1 has no EdDSA and no ML-DSA; RSA and P-521 are slow and large."""
    with pytest.raises(InputError, match="is none for JWT-SVIDs; use ECDSA P-256 or ECDSA P-384"):
        JwtSigningKey.of(LocalSigner(CA.key("other", algorithm)))


NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.text().filter(lambda name: name not in RESERVED_CLAIMS)
AUDIENCES = st.text(min_size=1, max_size=40).filter(str.isprintable)


@given(
    claims=st.dictionaries(NAMES, JSON, max_size=5),
    audience=st.lists(AUDIENCES, min_size=1, max_size=16),
    seconds=st.integers(1, 3600),
)
def test_every_claim_comes_back_as_it_was(
    claims: dict[str, Any], audience: list[str], seconds: int
) -> None:
    """Whatever JSON can say, to whomever, for however long."""
    order = replace(
        ORDER, claims=claims, audience=tuple(audience), lifetime=timedelta(seconds=seconds)
    )
    minted = mint(order, KEY)
    for each in audience:
        found = validate(minted.token, BUNDLES, each, NOON)
        assert found == minted
        assert {name: found.claims[name] for name in claims} == claims
    end = NOON + timedelta(seconds=seconds)
    late = refused(minted.token, audience=audience[0], at=end, leeway=timedelta(0))
    assert late.reason is R.EXPIRED


# Validating


def changed(which: dict[str, Any], members: dict[str, Any]) -> dict[str, Any]:
    """Other members, None for none."""
    merged = {**which, **members}
    return {name: value for name, value in merged.items() if value is not None}


@pytest.mark.parametrize(
    ("token", "message"),
    [
        pytest.param("", "it has 1 parts joined by dots, and not 3", id="empty"),
        pytest.param("a.b", "it has 2 parts", id="two-parts"),
        pytest.param("a.b.c.d.e", "it has 5 parts", id="encrypted"),
        pytest.param("é.b.c", "it is no ASCII text", id="not-ascii"),
        pytest.param("a" * 20_000, "of at most 16384 characters", id="giant"),
        pytest.param("!.b.c", r"its header is .* not Base64url", id="not-base64"),
        pytest.param(signed(b"{"), "its header: it does not parse", id="not-json"),
        pytest.param(signed(b"[" * 5000), "does not parse as JSON", id="deep"),
        pytest.param(signed([]), "have to be JSON objects", id="no-object"),
        pytest.param(signed(HEADER, b'{"sub":"a","sub":"b"}'), "its payload", id="twice"),
        pytest.param(signed(HEADER, b"\xff\xfe"), "its payload", id="not-utf-8"),
        pytest.param(signed(HEADER, b'{"exp":NaN}'), "its payload", id="nan"),
    ],
)
def test_what_is_no_token_is_refused(token: str, message: str) -> None:
    """Whatever it is, and before any key is looked for."""
    with pytest.raises(VerificationError, match=message):
        validate(token, BUNDLES, AUDIENCE, NOON)
    assert refused(token).reason is R.MALFORMED


ODD_HEADERS: dict[str, Any] = {
    "crit": ["exp"],
    "b64": False,
    "jku": "https://evil.example",
    "zip": "DEF",
    "jwk": public_jwk(KEY.public_key),
    "x5c": ["AAAA"],
    "cty": "JWT",
}


@pytest.mark.parametrize(
    ("header", "reason", "message"),
    [
        *(
            pytest.param({"alg": alg}, R.NOT_AN_SVID, "its alg is", id=f"alg-{alg!r}")
            for alg in ("none", "None", "HS256", "HS512", "EdDSA", "ES256K", "es256", 5, "", None)
        ),
        pytest.param({"kid": None}, R.NOT_AN_SVID, "it names no key by kid", id="no-kid"),
        pytest.param({"kid": 7}, R.NOT_AN_SVID, "it names no key by kid", id="kid-7"),
        pytest.param({"kid": "x"}, R.UNKNOWN_KEY, 'has no key "x" for JWT', id="unknown-key"),
        pytest.param({"typ": "at+jwt"}, R.NOT_AN_SVID, "its typ is", id="typ"),
        pytest.param({"alg": "ES384"}, R.BAD_SIGNATURE, "is for another", id="other-alg"),
        pytest.param({"alg": "RS256"}, R.BAD_SIGNATURE, "is for another", id="other-kind"),
        *(
            pytest.param({name: value}, R.NOT_AN_SVID, f'has "{name}"; alg, kid', id=name)
            for name, value in ODD_HEADERS.items()
        ),
    ],
)
def test_a_header_outside_the_profile_is_refused(
    header: dict[str, Any], reason: R, message: str
) -> None:
    """Though the signature is good."""
    token = signed(changed(HEADER, header))
    with pytest.raises(VerificationError, match=message):
        validate(token, BUNDLES, AUDIENCE, NOON)
    assert refused(token).reason is reason


@pytest.mark.parametrize(
    ("claims", "reason", "message"),
    [
        pytest.param({"sub": None}, R.NOT_AN_SVID, "its sub is no SPIFFE ID", id="no-sub"),
        pytest.param({"sub": "alice"}, R.NOT_AN_SVID, "its sub is no SPIFFE ID", id="sub"),
        pytest.param(
            {"sub": "spiffe://other.example/a"},
            R.UNTRUSTED_DOMAIN,
            "there is no bundle of the trust domain other.example",
            id="stranger",
        ),
        pytest.param({"aud": None}, R.NOT_AN_SVID, "it has no aud", id="no-aud"),
        pytest.param({"aud": []}, R.NOT_AN_SVID, "it has no aud", id="aud-empty"),
        pytest.param({"aud": [AUDIENCE, 5]}, R.NOT_AN_SVID, "other than text", id="aud-5"),
        pytest.param({"aud": {AUDIENCE: 1}}, R.NOT_AN_SVID, "it has no aud", id="aud-map"),
        pytest.param({"exp": None}, R.NOT_AN_SVID, "it has no exp", id="no-exp"),
        *(
            pytest.param({"exp": exp}, R.NOT_AN_SVID, "its exp", id=name)
            for name, exp in {
                "exp-text": "1800000000",
                "exp-true": True,
                "exp-negative": -1,
                "exp-in-milliseconds": 1_800_000_000_000,
                "exp-giant": 10**400,
                "exp-list": [],
            }.items()
        ),
        pytest.param({"nbf": "x"}, R.NOT_AN_SVID, "its nbf is", id="nbf"),
        pytest.param({"jti": 5}, R.NOT_AN_SVID, "its jti is no text", id="jti"),
    ],
)
def test_claims_outside_the_profile_are_refused(
    claims: dict[str, Any], reason: R, message: str
) -> None:
    """Though the signature is good."""
    token = signed(HEADER, changed(CLAIMS, claims))
    with pytest.raises(VerificationError, match=message):
        validate(token, BUNDLES, AUDIENCE, NOON)
    assert refused(token).reason is reason


def test_a_changed_signature_is_refused() -> None:
    """Also one of zeros, and one of another key."""
    head = signed().rpartition(".")[0]
    other = sign_jws(
        json.dumps(HEADER).encode(),
        json.dumps(CLAIMS).encode(),
        LocalSigner(CA.key("stranger", KeyAlgorithm.ECDSAP256)),
    )
    for token in (signed()[:-8] + "AAAAAAAA", f"{head}.{base64url(bytes(64))}", other):
        assert refused(token).reason is R.BAD_SIGNATURE


@pytest.mark.parametrize(
    ("offset", "reason"),
    [
        pytest.param(-LEEWAY, None, id="as-early-as-the-leeway"),
        pytest.param(-LEEWAY - SECOND, R.NOT_YET_VALID, id="earlier"),
        pytest.param(5 * MINUTE + LEEWAY - SECOND, None, id="as-late-as-the-leeway"),
        pytest.param(5 * MINUTE + LEEWAY, R.EXPIRED, id="later"),
    ],
)
def test_time_is_looked_at_with_thirty_seconds_of_leeway(
    offset: timedelta, reason: R | None
) -> None:
    """On or after exp a token is refused (RFC 7519 §4.1.4), give or take the leeway."""
    token = mint(ORDER, KEY).token
    if reason is None:
        assert validate(token, BUNDLES, AUDIENCE, NOON + offset).spiffe_id == AGENT
    else:
        assert refused(token, at=NOON + offset).reason is reason


def test_a_token_that_begins_later_is_refused() -> None:
    """`nbf`, which others set."""
    later = int((NOON + 2 * MINUTE).timestamp())
    assert refused(signed(HEADER, {**CLAIMS, "nbf": later})).reason is R.NOT_YET_VALID


@pytest.mark.parametrize("audience", ["", f"{AUDIENCE}/", AUDIENCE.upper()])
def test_a_token_for_somebody_else_is_refused(audience: str) -> None:
    """Audiences compare exactly, and who names none accepts nothing."""
    refusal = refused(mint(ORDER, KEY).token, audience=audience)
    assert refusal.reason is R.WRONG_AUDIENCE


def test_one_audience_may_stand_as_text() -> None:
    """RFC 7519 §4.1.3; others write it so."""
    token = signed(HEADER, {**CLAIMS, "aud": AUDIENCE})
    assert validate(token, BUNDLES, AUDIENCE, NOON).audience == (AUDIENCE,)


def test_another_trust_domain_vouches_for_its_own_alone() -> None:
    """A key of one bundle signs for no identity of another, though both are trusted."""
    other = ThrowawayCA("other.example")
    domain, key = other.trust_domain, other.jwt_signing_key
    theirs = JwtBundle(domain, {key.kid: JwtVerificationKey(key.public_key, None)})
    bundles = {**BUNDLES, domain: theirs}
    own = mint(replace(ORDER, spiffe_id=other.spiffe_id()), key)
    assert validate(own.token, bundles, AUDIENCE, NOON).spiffe_id == other.spiffe_id()
    assert refused(mint(ORDER, key).token, bundles=bundles).reason is R.UNKNOWN_KEY
    named = {**HEADER, "kid": KEY.kid}
    assert refused(signed(named, CLAIMS, key), bundles=bundles).reason is R.BAD_SIGNATURE


def test_the_public_key_is_no_secret() -> None:
    """A token "signed" with it by HMAC, as confused libraries accepted, is none."""
    header = base64url(json.dumps({**HEADER, "alg": "HS256"}).encode())
    claims = base64url(json.dumps(CLAIMS).encode())
    mac = hmac.HMAC(public_key_der(KEY.public_key), hashes.SHA256())
    mac.update(f"{header}.{claims}".encode())
    assert refused(f"{header}.{claims}.{base64url(mac.finalize())}").reason is R.NOT_AN_SVID


@pytest.mark.parametrize(
    "respell",
    [
        pytest.param(lambda token: token + "=", id="padding"),
        pytest.param(lambda token: token + "\n", id="line-end"),
        pytest.param(lambda token: token.replace("_", "/"), id="other-alphabet"),
        pytest.param(lambda token: token[:-1] + chr(ord(token[-1]) + 1), id="unused-bits"),
    ],
)
def test_a_token_has_one_spelling(respell: Callable[[str], str]) -> None:
    """Who keeps a list of tokens seen would be passed by otherwise."""
    token = mint(ORDER, KEY).token
    while "_" not in token.rpartition(".")[2] or token[-1] not in "AQgw":
        token = mint(ORDER, KEY).token
    assert refused(respell(token)).reason is R.MALFORMED


# Keys of others


def rsa_token(alg: str, key: rsa.RSAPrivateKey) -> str:
    """Signed as RFC 7518 §3.3 and §3.5 say."""
    digest = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}[alg[2:]]
    pad: Any = padding.PKCS1v15()
    if alg.startswith("PS"):
        pad = padding.PSS(padding.MGF1(digest), digest.digest_size)
    head = base64url(json.dumps({"alg": alg, "kid": "r"}).encode())
    body = base64url(json.dumps(CLAIMS).encode())
    return f"{head}.{body}.{base64url(key.sign(f'{head}.{body}'.encode(), pad, digest))}"


RSA_KEY = rsa.generate_private_key(65537, 2048)


def bundle_of(*keys: Mapping[str, str]) -> dict[TrustDomain, JwtBundle]:
    """The bundle of a document with these JWKs."""
    document = json.dumps({"keys": [{"use": "jwt-svid", **key} for key in keys]}).encode()
    return {DOMAIN: JwtBundle.of(decode_spiffe_bundle(document, DOMAIN))}


@pytest.mark.parametrize("alg", [each for each in JwsAlgorithm if not each.startswith("ES")])
def test_rsa_of_others_is_verified(alg: str) -> None:
    """All six, though we sign with none of them; and no two pass for one another."""
    bundles = bundle_of({**public_jwk(RSA_KEY.public_key()), "kid": "r"})
    token = rsa_token(alg, RSA_KEY)
    assert validate(token, bundles, AUDIENCE, NOON).spiffe_id == AGENT
    other = "PS256" if alg != "PS256" else "RS256"
    head = base64url(json.dumps({"alg": other, "kid": "r"}).encode())
    assert refused(f"{head}.{token.split('.', 1)[1]}", bundles=bundles).reason is R.BAD_SIGNATURE
    ecdsa = base64url(json.dumps({"alg": "ES256", "kid": "r"}).encode())
    assert refused(f"{ecdsa}.{token.split('.', 1)[1]}", bundles=bundles).reason is R.BAD_SIGNATURE


def test_a_key_may_be_for_one_algorithm_alone() -> None:
    """`alg` in its JWK."""
    bundles = bundle_of({**public_jwk(RSA_KEY.public_key()), "kid": "r", "alg": "PS512"})
    assert refused(rsa_token("RS256", RSA_KEY), bundles=bundles).reason is R.BAD_SIGNATURE


def test_a_weak_key_is_refused() -> None:
    """RFC 7518 §3.3: 2048 bits."""
    weak = rsa.generate_private_key(65537, 1024)
    bundles = bundle_of({**public_jwk(weak.public_key()), "kid": "r"})
    refusal = refused(rsa_token("RS256", weak), bundles=bundles)
    assert (refusal.reason, "2048 to 8192 are accepted" in str(refusal)) == (R.WEAK_KEY, True)


def test_es512_of_others_is_verified() -> None:
    """P-521, whose coordinates have 66 octets; a short signature is none."""
    private = ec.generate_private_key(ec.SECP521R1())
    bundles = bundle_of({**public_jwk(private.public_key()), "kid": "p"})
    claims = json.dumps(CLAIMS).encode()
    token = sign_jws(b'{"alg":"ES512","kid":"p"}', claims, LocalSigner(private))
    assert validate(token, bundles, AUDIENCE, NOON).kid == "p"
    head, _, signature = token.rpartition(".")
    short = base64url(base64url_octets(signature, what="it")[:-1])
    assert refused(f"{head}.{short}", bundles=bundles).reason is R.BAD_SIGNATURE


def test_what_verifies_no_token_is_passed_over_in_a_bundle() -> None:
    """Ed25519 and kinds nobody knows; an empty bundle accepts nothing."""
    ed = ed25519.Ed25519PrivateKey.generate().public_key()
    (bundle,) = bundle_of({**public_jwk(ed), "kid": "e"}, {"kty": "new", "kid": "n"}).values()
    assert bundle.keys == {}
    assert refused(mint(ORDER, KEY).token, bundles={DOMAIN: bundle}).reason is R.UNKNOWN_KEY


def test_two_keys_of_one_name_are_refused() -> None:
    """A token would name either."""
    jwk = {**public_jwk(KEY.public_key), "kid": "same"}
    with pytest.raises(InputError, match='two keys for JWT-SVIDs have the kid "same"'):
        bundle_of(jwk, {**public_jwk(RSA_KEY.public_key()), "kid": "same"})


def test_the_bundle_of_an_x509_key_verifies_no_token() -> None:
    """Roots sign certificates: a token that one of them signed is refused."""
    ca = ThrowawayCA(algorithm=KeyAlgorithm.ECDSAP256)
    document = encode_spiffe_bundle(SpiffeBundle(X509Bundle(DOMAIN, (ca.root.certificate,))))
    bundle = JwtBundle.of(decode_spiffe_bundle(document, DOMAIN))
    assert bundle.keys == {}


def test_the_signature_of_the_standard_verifies() -> None:
    """RFC 7515 appendix A.3, and no other one over the same text."""
    key = read_jws_key({
        "kty": "EC", "crv": "P-256",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    })  # fmt: skip
    text = (
        b"eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFt"
        b"cGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
    )
    signature = base64url_octets(
        "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
        what="it",
    )
    check_jws(text, signature, JwsAlgorithm.ES256, key)
    with pytest.raises(VerificationError, match="does not verify as ES256"):
        check_jws(text + b"A", signature, JwsAlgorithm.ES256, key)
    with pytest.raises(VerificationError, match="does not verify as ES256"):
        check_jws(text, bytes(64), JwsAlgorithm.ES256, key)


def test_a_foreign_svid_reads_without_what_is_optional() -> None:
    """No typ, no iat, no jti, times with fractions."""
    claims = {"sub": str(AGENT), "aud": AUDIENCE, "exp": NOON.timestamp() + 0.5}
    found = validate(signed({"alg": "ES256", "kid": KEY.kid}, claims), BUNDLES, AUDIENCE, NOON)
    assert isinstance(found, JwtSvid)
    assert (found.issued_at, found.token_id) == (None, None)
    assert found.not_after == NOON + timedelta(seconds=0.5)
    assert SpiffeId.parse(str(found.spiffe_id)) == AGENT
