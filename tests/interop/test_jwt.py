"""Verifiers of others accept the JWT-SVIDs that are minted here, and refuse what we refuse."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import jwt
import pytest
from joserfc.errors import BadSignatureError
from joserfc.jwk import KeySet
from joserfc.jwt import JWTClaimsRegistry, decode

from agentid.pki import LocalSigner, X509Bundle
from agentid.pki.jws import JwtAlgorithm
from agentid.pki.jwt_bundle import jwks_of, jwt_jwk
from agentid.pki.jwt_svid import JwtOrder, JwtSigningKey, mint
from agentid.pki.spiffe_bundle import SpiffeBundle, encode_spiffe_bundle
from agentid.testing.ca import ThrowawayCA

if TYPE_CHECKING:
    from agentid.pki.jwt_svid import JwtSvid

CA = ThrowawayCA()
AUDIENCE, URL = "https://api.partner.example", "https://oidc.example"
MINUTES = timedelta(minutes=5)

# In a process of its own: its generated code for the Workload API cannot share one with ours.
PY_SPIFFE = """
import json, sys
from spiffe import JwtBundle, JwtSvid, TrustDomain
given = json.load(sys.stdin)
bundle = JwtBundle.parse(TrustDomain(given["trustDomain"]), given["bundle"].encode())
try:
    svid = JwtSvid.parse_and_validate(given["token"], bundle, {given["audience"]})
except Exception as error:
    print("refused", type(error).__name__)
else:
    print("accepted", svid.spiffe_id, sorted(svid.audience), int(svid.expiry))
"""


def key(algorithm: JwtAlgorithm) -> JwtSigningKey:
    """A key that signs by this algorithm."""
    return JwtSigningKey.of(LocalSigner(CA.key("interop", algorithm.key_algorithm)))


def token(algorithm: JwtAlgorithm, *, age: timedelta = timedelta(0)) -> JwtSvid:
    """A token that was issued so long ago."""
    order = JwtOrder(
        spiffe_id=CA.spiffe_id(),
        audience=(AUDIENCE, "other"),
        issued_at=datetime.now(UTC) - age,
        lifetime=MINUTES,
        token_id="an-id",
        issuer=URL,
        claims={"tier": "Low"},
    )
    return mint(order, key(algorithm))


def tampered(svid: JwtSvid) -> str:
    """The same signature under other claims."""
    header, _, signature = svid.token.split(".")
    other = mint(
        JwtOrder(CA.spiffe_id("admin"), (AUDIENCE,), datetime.now(UTC), MINUTES, "x"),
        key(JwtAlgorithm.ES256),
    )
    return f"{header}.{other.token.split('.')[1]}.{signature}"


def keys_of(algorithm: JwtAlgorithm) -> str:
    """The JWK Set that identity providers fetch."""
    return jwks_of([jwt_jwk(key(algorithm).public_key)])[0].decode()


@pytest.mark.parametrize("algorithm", list(JwtAlgorithm))
def test_pyjwt_verifies_it_by_the_jwk_set(algorithm: JwtAlgorithm) -> None:
    """As a relying party of OpenID Connect does: key by kid, audience, issuer, times."""
    svid = token(algorithm)
    header = jwt.get_unverified_header(svid.token)
    chosen = jwt.PyJWKSet.from_json(keys_of(algorithm))[header["kid"]]
    claims = jwt.decode(
        svid.token, chosen, algorithms=[algorithm.value], audience=AUDIENCE, issuer=URL,
        options={"require": ["sub", "aud", "exp", "iat", "iss", "jti"]},
    )  # fmt: skip
    assert claims == svid.claims
    for wrong in (tampered(svid), token(algorithm, age=2 * MINUTES).token):
        with pytest.raises(jwt.InvalidTokenError, match=r"Signature"):
            jwt.decode(wrong, chosen, algorithms=[algorithm.value], audience=AUDIENCE)
    with pytest.raises(jwt.InvalidAudienceError, match="Audience doesn't match"):
        jwt.decode(svid.token, chosen, algorithms=[algorithm.value], audience="somebody else")


@pytest.mark.parametrize("algorithm", list(JwtAlgorithm))
def test_joserfc_verifies_it_by_the_jwk_set(algorithm: JwtAlgorithm) -> None:
    """Another implementation of RFC 7515 to 7519."""
    svid = token(algorithm)
    keys = KeySet.import_key_set(json.loads(keys_of(algorithm)))
    found = decode(svid.token, keys, algorithms=[algorithm.value])
    assert found.claims == svid.claims
    registry = JWTClaimsRegistry(
        aud={"essential": True, "value": AUDIENCE}, iss={"essential": True, "value": URL}
    )
    registry.validate(found.claims)
    with pytest.raises(BadSignatureError, match="bad_signature"):
        decode(tampered(svid), keys, algorithms=[algorithm.value])


@pytest.mark.parametrize("algorithm", list(JwtAlgorithm))
def test_py_spiffe_verifies_it_by_the_bundle(algorithm: JwtAlgorithm) -> None:
    """By a document of keys for tokens alone, as the Workload API gives it: it takes no roots."""

    def asked(text: str, audience: str = AUDIENCE) -> str:
        nobody, keys = X509Bundle(CA.trust_domain, ()), (jwt_jwk(key(algorithm).public_key),)
        bundle = SpiffeBundle(nobody, 1, MINUTES, keys)
        given = {
            "trustDomain": CA.trust_domain.name,
            "bundle": encode_spiffe_bundle(bundle).decode(),
            "token": text,
            "audience": audience,
        }
        done = subprocess.run(
            [sys.executable, "-c", PY_SPIFFE], input=json.dumps(given), text=True,
            capture_output=True, check=True, timeout=60,
        )  # fmt: skip
        return done.stdout.strip()

    svid = token(algorithm)
    audience = sorted(svid.audience)
    expires = int(svid.not_after.timestamp())
    assert asked(svid.token) == f"accepted {CA.spiffe_id()} {audience} {expires}"
    assert asked(tampered(svid)) == "refused InvalidTokenError"
    assert asked(svid.token, "somebody else") == "refused InvalidTokenError"
    assert asked(token(algorithm, age=2 * MINUTES).token) == "refused InvalidTokenError"
