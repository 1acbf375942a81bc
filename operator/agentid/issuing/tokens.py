"""ServiceAccount tokens of the API server, read strictly; pure.

A token is a JWT that the API server signed (RS256 or ECDSA). What it says counts only after its
signature was verified; `read_token` and `claims_of` are kept apart for that.

    {"iss", "sub", "aud": [...], "iat", "nbf", "exp", "jti",
     "kubernetes.io": {"namespace", "serviceaccount": {"name", "uid"},
                       "pod": {"name", "uid"}, "node": {"name", "uid"}}}
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from agentid.errors import InputError, VerificationError
from agentid.identity.quoting import quoted
from agentid.pki.jwk import base64url_octets
from agentid.pki.jws import JwsAlgorithm, check_jws
from agentid.pki.strict_json import read_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentid.pki.jwk import JwsKey
    from agentid.pki.strict_json import Json

__all__ = [
    "LEEWAY",
    "MAX_TOKEN",
    "BoundToken",
    "SignedToken",
    "TokenExpiredError",
    "check_signature",
    "claims_of",
    "read_token",
]

MAX_TOKEN: Final = 8 * 1024
"""Characters. A bound token has about 1,300; names of 253 characters each make it 3,000."""

LEEWAY: Final = timedelta(seconds=30)
"""How far the clocks of API server and issuer may lie apart: a token is taken for so much longer
than it says, and so much earlier. The API server itself allows a minute."""

_ALGORITHMS: Final = frozenset(
    {JwsAlgorithm.RS256, JwsAlgorithm.ES256, JwsAlgorithm.ES384, JwsAlgorithm.ES512}
)
"""What API servers sign with (`--service-account-signing-key-file`: RSA, or ECDSA of three curves);
no `none`, and nothing with a shared secret."""

_HEADER: Final = frozenset({"alg", "kid", "typ"})
_PARTS: Final = 3
_LAST_SECOND: Final = 253_402_300_799
_REMEDY: Final = "use a token that the TokenRequest API gave"


class TokenExpiredError(InputError):
    """The token is good no longer, or not yet."""


@dataclass(frozen=True, slots=True)
class SignedToken:
    """A token that was taken apart, and not verified yet.

    Attributes:
        kid: The key that it names.
        algorithm: That it names.
        claims: What it says.
        signed: What the signature is over.
        signature: As RFC 7518 has it.
    """

    kid: str
    algorithm: JwsAlgorithm
    claims: Mapping[str, Json] = field(repr=False)
    signed: bytes = field(repr=False)
    signature: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class BoundToken:
    """What a token says that is bound to a pod, or to a node.

    Attributes:
        namespace: Of the ServiceAccount, and of the pod.
        service_account: Its name.
        service_account_uid: Its UID.
        pod: Name of the pod, empty if it is bound to none.
        pod_uid: UID of the pod, likewise.
        node: Name of the node of the pod, or that it is bound to; empty if it names none.
        node_uid: UID of the node, likewise.
        not_before: From when it is good.
        not_after: From then on it is not.
    """

    namespace: str
    service_account: str
    service_account_uid: str
    pod: str
    pod_uid: str
    node: str
    node_uid: str
    not_before: datetime
    not_after: datetime

    def check_time(self, now: datetime) -> None:
        """Do nothing, if it is good now.

        Raises:
            TokenExpiredError: It is not.
        """
        if now + LEEWAY < self.not_before:
            msg = f"the token is good from {self.not_before.isoformat()} on, and it is earlier"
            raise TokenExpiredError(msg)
        # RFC 7519 §4.1.4: on or after exp it must not be accepted.
        if now - LEEWAY >= self.not_after:
            msg = f"the token expired at {self.not_after.isoformat()}; the kubelet has a newer one"
            raise TokenExpiredError(msg)


def read_token(text: str) -> SignedToken:
    """Take a token apart.

    Args:
        text: From outside.

    Raises:
        InputError: It is no compact JWS of at most 8 KiB, with an algorithm of the list, that
            names its key.
    """
    if len(text) > MAX_TOKEN or not text.isascii():
        msg = f"the token is no ASCII text of at most {MAX_TOKEN} characters; {_REMEDY}"
        raise InputError(msg)
    parts = text.split(".")
    if len(parts) != _PARTS:
        msg = f"the token has {len(parts)} parts joined by dots, and not {_PARTS}; {_REMEDY}"
        raise InputError(msg)
    head, payload, signature = (
        base64url_octets(part, what=f"the token: its {name}")
        for part, name in zip(parts, ("header", "payload", "signature"), strict=True)
    )
    header = _object(head, "header")
    if others := sorted(header.keys() - _HEADER):
        # RFC 7515 §4.1.11: what `crit` names has to be understood; nothing is, here.
        msg = f"the token: its header has {quoted(others[0])}; alg, kid and typ are allowed"
        raise InputError(msg)
    found, kid = header.get("alg"), header.get("kid")
    algorithm = next((each for each in _ALGORITHMS if each.value == found), None)
    if algorithm is None:
        allowed = ", ".join(sorted(_ALGORITHMS))
        msg = f"the token: its alg is {quoted(found)}; one of {allowed} is allowed"
        raise InputError(msg)
    if not isinstance(kid, str) or not kid:
        msg = f"the token names no key by kid; {_REMEDY}"
        raise InputError(msg)
    signed = text.rpartition(".")[0].encode("ascii")
    return SignedToken(kid, algorithm, _object(payload, "payload"), signed, signature)


def check_signature(token: SignedToken, key: JwsKey) -> None:
    """Do nothing, if the key signed the token.

    Raises:
        InputError: It did not.
    """
    try:
        check_jws(token.signed, token.signature, token.algorithm, key)
    except VerificationError as error:
        msg = f"the token: {error}"
        raise InputError(msg) from error


def claims_of(
    claims: Mapping[str, Json], *, issuer: str, audience: str, now: datetime
) -> BoundToken:
    """What a token says whose signature verified.

    Args:
        claims: Of the token.
        issuer: What its `iss` has to be.
        audience: What has to be in its `aud`.
        now: The present.

    Raises:
        InputError: It is of another issuer or for another audience, a claim is missing or of
            another form, or it is bound to neither pod nor node.
        TokenExpiredError: It is not good now.
    """
    if claims.get("iss") != issuer:
        msg = f"the token: its iss is {quoted(claims.get('iss'))}, and this cluster's is {issuer}"
        raise InputError(msg)
    audiences = claims.get("aud")
    named = [audiences] if isinstance(audiences, str) else audiences
    if not isinstance(named, list) or audience not in named:
        msg = f"the token: its aud is {quoted(audiences)}, and {audience} is not in it"
        raise InputError(msg)
    token = _bound(claims, _moment(claims, "nbf", "iat"), _moment(claims, "exp"))
    subject = f"system:serviceaccount:{token.namespace}:{token.service_account}"
    if claims.get("sub") != subject:
        msg = f"the token: its sub is {quoted(claims.get('sub'))}, and not {subject}"
        raise InputError(msg)
    token.check_time(now)
    return token


def _bound(claims: Mapping[str, Json], begins: datetime, ends: datetime) -> BoundToken:
    about = claims.get("kubernetes.io")
    if not isinstance(about, dict):
        msg = f"the token has no claim kubernetes.io, as those that never expire; {_REMEDY}"
        raise InputError(msg)
    account = _reference(about, "serviceaccount", needed=True)
    pod = _reference(about, "pod", needed=False)
    node = _reference(about, "node", needed=False)
    if not pod[0] and not node[0]:
        msg = f"the token is bound to neither a pod nor a node; {_REMEDY} for one"
        raise InputError(msg)
    namespace = about.get("namespace")
    if not isinstance(namespace, str) or not namespace:
        msg = f"the token names no namespace; {_REMEDY}"
        raise InputError(msg)
    return BoundToken(namespace, *account, *pod, *node, begins, ends)


def _reference(about: Mapping[str, Json], name: str, *, needed: bool) -> tuple[str, str]:
    """Name and UID of an object that a token is about."""
    match about.get(name):
        case {"name": str(found), "uid": str(uid)} if found and uid:
            return found, uid
        case None if not needed and name not in about:
            return "", ""
        case other:
            msg = f"the token: its {name} is {quoted(other)}, and no name with a UID"
            raise InputError(msg)


def _moment(claims: Mapping[str, Json], *names: str) -> datetime:
    name = next((each for each in names if each in claims), names[0])
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _LAST_SECOND:
        msg = f"the token: its {name} is {quoted(value)}, and no time in whole seconds"
        raise InputError(msg)
    return datetime.fromtimestamp(value, UTC)


def _object(document: bytes, name: str) -> dict[str, Json]:
    parsed = read_json(document, what=f"the token: its {name}", remedy=_REMEDY)
    if not isinstance(parsed, dict):
        msg = f"the token: its {name} has to be a JSON object"
        raise InputError(msg)
    return parsed
