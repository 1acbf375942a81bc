"""ServiceAccount tokens: what is taken, and every way of not being one; no cluster."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from agentid.errors import InputError
from agentid.issuing.authenticating import reviewed
from agentid.issuing.keys import read_issuer, read_keys
from agentid.issuing.tokens import (
    LEEWAY,
    BoundToken,
    TokenExpiredError,
    check_signature,
    claims_of,
    read_token,
)
from agentid.pki import LocalSigner
from agentid.pki.jwk import base64url, public_jwk
from agentid.pki.jws import sign_jws

if TYPE_CHECKING:
    from collections.abc import Callable

Json = dict[str, Any]
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
ISSUER = "https://kubernetes.default.svc.cluster.local"
KEY = ec.generate_private_key(ec.SECP256R1())
OTHER = ec.generate_private_key(ec.SECP256R1())


def claims(**changes: object) -> Json:
    """What a pod's token says; None leaves a claim out."""
    whole: Json = {
        "iss": ISSUER,
        "sub": "system:serviceaccount:finance:reader",
        "aud": ["agentid.dev"],
        "iat": int(NOON.timestamp()),
        "nbf": int(NOON.timestamp()),
        "exp": int((NOON + HOUR).timestamp()),
        "kubernetes.io": {
            "namespace": "finance",
            "serviceaccount": {"name": "reader", "uid": "sa-1"},
            "pod": {"name": "pod", "uid": "pod-1"},
            "node": {"name": "node-a", "uid": "node-1"},
        },
        **changes,
    }
    return {name: value for name, value in whole.items() if value is not None}


def about(**changes: object) -> Json:
    """The claim kubernetes.io, changed; None leaves a member out."""
    whole = {**claims()["kubernetes.io"], **changes}
    return {"kubernetes.io": {name: value for name, value in whole.items() if value is not None}}


def token(body: Json | None = None, **header: object) -> str:
    """A token that the API server's key signed."""
    head = {"alg": "ES256", "kid": "one", **header}
    shown = {name: value for name, value in head.items() if value is not None}
    payload = json.dumps(claims() if body is None else body).encode()
    return sign_jws(json.dumps(shown).encode(), payload, LocalSigner(KEY))


def taken(text: str, now: datetime = NOON) -> BoundToken:
    """What a token says, if it is good."""
    read = read_token(text)
    check_signature(read, KEY.public_key())
    return claims_of(read.claims, issuer=ISSUER, audience="agentid.dev", now=now)


def test_reads_what_a_token_is_bound_to() -> None:
    """Namespace, ServiceAccount, pod and node, each with its UID."""
    assert taken(token()) == BoundToken(
        "finance", "reader", "sa-1", "pod", "pod-1", "node-a", "node-1", NOON, NOON + HOUR
    )


def test_takes_a_token_that_is_bound_to_a_node() -> None:
    """Such as a plugin may have; it names no pod."""
    found = taken(token(claims(**about(pod=None))))
    assert (found.pod, found.node) == ("", "node-a")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        pytest.param(claims(iss="https://evil"), "its iss is", id="issuer"),
        pytest.param(claims(iss=None), "its iss is", id="no-issuer"),
        pytest.param(claims(aud=["https://kubernetes"]), "is not in it", id="audience"),
        pytest.param(claims(aud=None), "is not in it", id="no-audience"),
        pytest.param(claims(aud="agentid.dev.evil"), "is not in it", id="longer-audience"),
        pytest.param(claims(aud={"agentid.dev": 1}), "is not in it", id="audience-object"),
        pytest.param(claims(sub="system:serviceaccount:finance:x"), "its sub is", id="subject"),
        pytest.param(claims(sub="system:node:node-a"), "its sub is", id="subject-node"),
        pytest.param(claims(exp=None), "its exp is", id="no-end"),
        pytest.param(claims(exp="2030"), "its exp is", id="end-text"),
        pytest.param(claims(exp=True), "its exp is", id="end-boolean"),
        pytest.param(claims(exp=1e400), "does not parse", id="end-infinite"),
        pytest.param(claims(exp=-1), "its exp is", id="end-negative"),
        pytest.param(claims(exp=10**30), "its exp is", id="end-far"),
        pytest.param(claims(nbf=None, iat=None), "its nbf is", id="no-begin"),
        pytest.param(claims(**{"kubernetes.io": None}), "no claim kubernetes.io", id="legacy"),
        pytest.param(claims(**{"kubernetes.io": []}), "no claim kubernetes.io", id="list"),
        pytest.param(claims(**about(pod=None, node=None)), "neither a pod nor", id="unbound"),
        pytest.param(claims(**about(namespace=None)), "names no namespace", id="no-namespace"),
        pytest.param(claims(**about(serviceaccount=None)), "serviceaccount", id="no-account"),
        pytest.param(claims(**about(pod={"name": "pod"})), "its pod is", id="pod-without-uid"),
        pytest.param(claims(**about(pod={"name": 1, "uid": 2})), "its pod is", id="pod-numbers"),
        pytest.param(claims(**about(node="node-a")), "its node is", id="node-text"),
    ],
)
def test_refuses_what_a_token_says(body: Json, message: str) -> None:
    """A token whose signature is good counts for nothing if a claim is missing or another one."""
    with pytest.raises(InputError, match=message):
        taken(token(body))


def parts(change: Callable[[list[str]], list[str]]) -> str:
    """A good token with its parts changed."""
    return ".".join(change(token().split(".")))


def unsigned() -> str:
    """A token of the algorithm that is none."""
    head = base64url(json.dumps({"alg": "none", "kid": "one"}).encode())
    return f"{head}.{base64url(json.dumps(claims()).encode())}.AA"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("", "1 parts", id="empty"),
        pytest.param("a.b", "2 parts", id="two-parts"),
        pytest.param(parts(lambda p: [*p, "x"]), "4 parts", id="four-parts"),
        pytest.param(parts(lambda p: [p[0], p[1], ""]), "signature", id="no-signature"),
        pytest.param(parts(lambda p: [p[0] + "=", p[1], p[2]]), "Base64url", id="padding"),
        pytest.param(parts(lambda p: [p[0], "é", p[2]]), "no ASCII", id="not-ascii"),
        pytest.param("a" * 8193, "at most 8192", id="too-long"),
        pytest.param(parts(lambda p: [base64url(b"[]"), *p[1:]]), "JSON object", id="list"),
        pytest.param(parts(lambda p: [base64url(b"{"), *p[1:]]), "does not parse", id="no-json"),
        pytest.param(
            parts(lambda p: [base64url(b'{"alg":"ES256","alg":"none"}'), *p[1:]]),
            "does not parse",
            id="twice",
        ),
        pytest.param(unsigned(), 'its alg is "none"', id="none"),
        pytest.param(token(alg="HS256"), "its alg is", id="shared-secret"),
        pytest.param(token(alg="PS256"), "its alg is", id="unlisted"),
        pytest.param(token(alg=["ES256"]), "its alg is", id="alg-list"),
        pytest.param(token(kid=None), "names no key", id="no-kid"),
        pytest.param(token(kid=1), "names no key", id="kid-number"),
        pytest.param(token(crit=["exp"]), 'its header has "crit"', id="critical"),
        pytest.param(token(jwk=public_jwk(OTHER.public_key())), "its header has", id="own-key"),
    ],
)
def test_refuses_what_is_no_token(text: str, message: str) -> None:
    """Nothing but a compact JWS with a listed algorithm and a named key is looked at further."""
    with pytest.raises(InputError, match=message):
        taken(text)


def test_refuses_a_token_of_another_key() -> None:
    """Neither a foreign key, nor another algorithm than the key's, nor changed claims pass."""
    with pytest.raises(InputError, match="does not verify"):
        check_signature(read_token(token()), OTHER.public_key())
    with pytest.raises(InputError, match="does not verify"):
        taken(token(alg="RS256"))
    stolen = base64url(json.dumps(claims(sub="system:serviceaccount:a:b")).encode())
    with pytest.raises(InputError, match="does not verify"):
        taken(parts(lambda p: [p[0], stolen, p[2]]))


def test_holds_a_token_against_the_time() -> None:
    """Half a minute is allowed for clocks that differ, at either end, and no second more."""
    second = timedelta(seconds=1)
    taken(token(), NOON - LEEWAY)
    taken(token(), NOON + HOUR + LEEWAY - second)
    with pytest.raises(TokenExpiredError, match="is good from"):
        taken(token(), NOON - LEEWAY - second)
    with pytest.raises(TokenExpiredError, match="expired at"):
        taken(token(), NOON + HOUR + LEEWAY)


def test_masks_tokens() -> None:
    """What was taken apart shows no signature and no claim."""
    text = token()
    shown = repr(read_token(text))
    assert "finance" not in shown
    assert base64.urlsafe_b64decode(text.split(".")[2] + "==").hex() not in shown


# Keys


def jwks(*keys: Json) -> bytes:
    """A JWK Set."""
    return json.dumps({"keys": keys}).encode()


def key(**changes: object) -> Json:
    """The key of the API server as it publishes it."""
    return {**public_jwk(KEY.public_key()), "kid": "one", "use": "sig", "alg": "ES256", **changes}


def test_reads_keys() -> None:
    """By name; those of other kinds and for other uses are passed over."""
    found = read_keys(jwks(key(), key(kid="two", use="enc"), {"kty": "OKP", "kid": "three"}))
    assert list(found) == ["one"]
    assert found["one"] == KEY.public_key()
    assert read_issuer(json.dumps({"issuer": ISSUER}).encode()) == ISSUER


@pytest.mark.parametrize(
    ("document", "message"),
    [
        pytest.param(b"", "does not parse", id="empty"),
        pytest.param(b"[]", "no JSON object", id="list"),
        pytest.param(b"{}", "no list", id="no-keys"),
        pytest.param(jwks(), "none of them", id="none"),
        pytest.param(jwks(key(kid=None)), "none of them", id="no-kid"),
        pytest.param(jwks(*[key()] * 65), "no list of at most 64", id="many"),
        pytest.param(jwks(key(x="AA")), "octets", id="short"),
        pytest.param(b" " * (256 * 1024 + 1), "are read", id="long"),
    ],
)
def test_refuses_what_are_no_keys(document: bytes, message: str) -> None:
    """What an API server serves is bounded and read strictly as well."""
    with pytest.raises(InputError, match=message):
        read_keys(document)


# Reviews


def review(**changes: object) -> Json:
    """What the API server says of a pod's token."""
    user = {
        "username": "system:serviceaccount:finance:reader",
        "uid": "sa-1",
        "extra": {
            f"authentication.kubernetes.io/{name}": [value]
            for name, value in (
                ("pod-name", "pod"),
                ("pod-uid", "pod-1"),
                ("node-name", "node-a"),
                ("node-uid", "node-1"),
            )
        },
    }
    status = {"authenticated": True, "audiences": ["agentid.dev"], "user": user, **changes}
    return {"status": status}


def test_reads_a_review() -> None:
    """It says what the token would, and is believed for a minute."""
    found = reviewed(review(), NOON)
    assert (found.namespace, found.service_account, found.pod_uid) == ("finance", "reader", "pod-1")
    assert found.not_after == NOON + timedelta(minutes=1)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        pytest.param({}, "does not take", id="nothing"),
        pytest.param(review(authenticated=False), "does not take", id="refused"),
        pytest.param(review(authenticated="true"), "does not take", id="text"),
        pytest.param(review(audiences=["x"]), "audiences are others", id="audience"),
        pytest.param(review(audiences=None), "audiences are others", id="no-audience"),
        pytest.param(review(user={"username": "bob", "uid": "1"}), "none of a Serv", id="person"),
        pytest.param(
            review(user={"username": "system:serviceaccount:a:b", "uid": "1", "extra": {}}),
            "neither a pod nor a node",
            id="unbound",
        ),
    ],
)
def test_refuses_a_review(answer: Json, message: str) -> None:
    """A token that the API server does not vouch for, here and for us, is none."""
    with pytest.raises(InputError, match=message):
        reviewed(answer, NOON)
