"""JSON Web Keys: read strictly, and named by their thumbprints."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from agentid.errors import InputError
from agentid.pki.jwk import base64url, base64url_octets, public_jwk, read_jws_key, thumbprint
from agentid.pki.jwt_bundle import jwks_of, jwt_jwk, key_id

if TYPE_CHECKING:
    from collections.abc import Callable

POINT = {
    "kty": "EC",
    "crv": "P-256",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
}
MODULUS = (
    "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWK"
    "RXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMic"
    "AtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3"
    "XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
)


def test_the_thumbprint_is_that_of_the_standard() -> None:
    """RFC 7638 §3.1, whose example is an RSA key."""
    key = read_jws_key({"kty": "RSA", "n": MODULUS, "e": "AQAB", "alg": "RS256", "kid": "2011"})
    assert key_id(key) == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"


def test_a_name_depends_on_the_key_alone() -> None:
    """Whatever else stands in the JWK."""
    key = read_jws_key({**POINT, "use": "sig", "kid": "other", "x5t": "AA"})
    assert thumbprint(key) == thumbprint(read_jws_key(POINT))
    assert len(key_id(key)) == 43


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: ec.generate_private_key(ec.SECP256R1()), id="P-256"),
        pytest.param(lambda: ec.generate_private_key(ec.SECP384R1()), id="P-384"),
        pytest.param(lambda: ec.generate_private_key(ec.SECP521R1()), id="P-521"),
        pytest.param(lambda: rsa.generate_private_key(65537, 2048), id="RSA"),
    ],
)
def test_a_key_reads_as_it_was_written(
    make: Callable[[], ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey],
) -> None:
    """The same key, and so the same thumbprint."""
    key = make().public_key()
    assert read_jws_key(public_jwk(key)) == key


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"kty": "oct"}, r'its kty is "oct"; keys for JWT-SVIDs are EC', id="secret"),
        pytest.param({"kty": "OKP", "crv": "Ed25519"}, "its kty is .OKP.", id="eddsa"),
        pytest.param({"crv": "secp256k1"}, "its kty is .EC.", id="other-curve"),
        pytest.param({"crv": "P-384"}, r"a coordinate on P-384 has 48 octets", id="wrong-curve"),
        pytest.param({"y": POINT["x"]}, "x and y are no point of P-256", id="off-the-curve"),
        pytest.param({"x": POINT["x"] + "="}, "x is .* not Base64url", id="padded"),
        pytest.param({"x": POINT["x"][:-1] + "V"}, "x is .* not Base64url", id="not-canonical"),
        pytest.param({"x": None}, "x is a value of type NoneType, which is not", id="missing"),
        pytest.param({"x": "+" * 43}, "not Base64url", id="other-alphabet"),
        pytest.param({"x": "ä" * 43}, "not Base64url", id="not-ascii"),
        pytest.param({"kty": "RSA", "n": "AA", "e": "AQAB"}, "no RSA key", id="no-modulus"),
        pytest.param(
            {"kty": "RSA", "n": base64url(b"\xff" * 1025), "e": "AQAB"},
            "its modulus has 1025 octets; at most 1024 are read",
            id="giant-modulus",
        ),
    ],
)
def test_what_is_no_key_for_tokens_is_refused(change: dict[str, Any], message: str) -> None:
    """One reason for each."""
    with pytest.raises(InputError, match=message):
        read_jws_key({**POINT, **change})


def test_one_text_for_each_octets() -> None:
    """What has a second spelling could be two keys, or two tokens."""
    assert base64url_octets("AQAB", what="e") == b"\x01\x00\x01"
    for text in ("AQB", "AQAB\n", "AQ AB", "", "AR", 5):
        with pytest.raises(InputError, match=r"e is .* not Base64url without padding"):
            base64url_octets(text, what="e")


def test_the_set_for_identity_providers_holds_keys_and_nothing_else() -> None:
    """No certificate, no member of somebody else's, and no key that signs no token."""
    key = ec.generate_private_key(ec.SECP384R1()).public_key()
    other = {**POINT, "use": "jwt-svid", "kid": "a", "x5c": ["AAAA"], "x-note": {"k": 1}}
    ed = ed25519.Ed25519PrivateKey.generate().public_key()
    odd = {**public_jwk(ed), "use": "jwt-svid", "kid": "ed"}
    texts = (jwt_jwk(key), json.dumps(other), json.dumps(odd))
    document, algorithms = jwks_of(texts)
    first, second = json.loads(document)["keys"]
    assert first == {**public_jwk(key), "use": "sig", "kid": key_id(key), "alg": "ES384"}
    assert second == {**POINT, "use": "sig", "kid": "a", "alg": "ES256"}
    assert algorithms == ("ES256", "ES384")
