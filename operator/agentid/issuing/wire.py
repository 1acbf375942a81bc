"""Requests and answers as JSON; `docs/reference/issuer-service.md` is about the same."""

from __future__ import annotations

import base64
import binascii
import math
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import orjson

from agentid.errors import InputError
from agentid.identity.quoting import quoted
from agentid.issuing.certificates import X509Item
from agentid.issuing.limits import MAX_ITEMS
from agentid.issuing.reasons import PASSING, RefusalReason, RefusedError
from agentid.ledger.wire import time_text

if TYPE_CHECKING:
    from datetime import datetime

    from agentid.issuing.certificates import IssuedX509
    from agentid.issuing.minting import MintedJwt

__all__ = [
    "problem",
    "read_jwt_request",
    "read_x509_request",
    "status_of",
    "write_jwt",
    "write_x509",
]

_MAX_AUDIENCES: Final = 64
"""Entries that are read at all; how many are allowed is for the service."""


def read_x509_request(body: bytes) -> tuple[X509Item, ...]:
    """The certificates that are asked for.

    Raises:
        InputError: The body is something else.
    """
    items = _object(body).get("items")
    if not isinstance(items, list) or not 0 < len(items) <= MAX_ITEMS:
        msg = f"items: it has to be a list of 1 to {MAX_ITEMS}"
        raise InputError(msg)
    return tuple(_item(at, each) for at, each in enumerate(items))


def read_jwt_request(body: bytes) -> tuple[str, tuple[str, ...]]:
    """The pod's token, and whom the JWT-SVID is to be for.

    Raises:
        InputError: The body is something else.
    """
    parsed = _object(body)
    audience = parsed.get("audience")
    if (
        not isinstance(audience, list)
        or len(audience) > _MAX_AUDIENCES
        or not all(isinstance(each, str) for each in audience)
    ):
        msg = f"audience: it has to be a list of at most {_MAX_AUDIENCES} texts"
        raise InputError(msg)
    return _text(parsed, "podToken", ""), tuple(audience)


def write_x509(results: list[IssuedX509 | RefusedError], bundles: str) -> bytes:
    """The answer to a request for certificates, item by item.

    Args:
        results: In the order of the items.
        bundles: Version of the bundles that go with them.
    """
    return orjson.dumps(
        {
            "bundles": bundles,
            "results": [
                {"refused": _problem(each)}
                if isinstance(each, RefusedError)
                else {"issued": _issued(each)}
                for each in results
            ],
        }
    )


def write_jwt(minted: MintedJwt, now: datetime) -> bytes:
    """The answer to a request for a JWT-SVID."""
    svid = minted.svid
    return orjson.dumps(
        {
            "token": svid.token,
            "spiffeID": str(svid.spiffe_id),
            "issuedAt": time_text(svid.issued_at or now),
            "notAfter": time_text(svid.not_after),
        }
    )


def problem(refused: RefusedError) -> bytes:
    """A refusal as RFC 9457 has it."""
    return orjson.dumps(_problem(refused))


def status_of(refused: RefusedError) -> HTTPStatus:
    """The status of HTTP that goes with a refusal."""
    known = _STATUS.get(refused.reason)
    if known is not None:
        return known
    return HTTPStatus.SERVICE_UNAVAILABLE if refused.reason in PASSING else HTTPStatus.FORBIDDEN


_STATUS: Final = {
    RefusalReason.MALFORMED.value: HTTPStatus.BAD_REQUEST,
    RefusalReason.NOT_A_NODE_PLUGIN.value: HTTPStatus.UNAUTHORIZED,
    RefusalReason.OVERLOADED.value: HTTPStatus.TOO_MANY_REQUESTS,
}


def _problem(refused: RefusedError) -> dict[str, object]:
    status, algorithm, wait = status_of(refused), refused.key_algorithm, refused.retry_after
    return {
        "type": "about:blank",
        "title": status.phrase,
        "status": status.value,
        "reason": refused.reason,
        "detail": str(refused),
        "final": refused.final,
        "keyAlgorithm": None if algorithm is None else algorithm.value,
        "retryAfterSeconds": None if wait is None else math.ceil(wait.total_seconds()),
    }


def _issued(issued: IssuedX509) -> dict[str, object]:
    made, grant = issued.made, issued.grant
    record, leaf = made.record, made.leaf
    times = {
        "notBefore": time_text(leaf.validity.not_before),
        "notAfter": time_text(leaf.validity.not_after),
        "renewAt": time_text(issued.renew_at),
    }
    pod = record.pod
    return {
        "chain": leaf.chain_pem.decode("ascii"),
        "issuedAt": time_text(record.issued_at),
        **times,
        "spiffeID": str(leaf.spiffe_id),
        "keyAlgorithm": issued.wanted.key_algorithm.value,
        "trustDomain": leaf.spiffe_id.trust_domain.name,
        "federatesWith": list(issued.federates_with),
        "ephemeral": grant.ephemeral,
        "agent": {
            "spiffeID": str(leaf.spiffe_id),
            "serial": str(leaf.serial),
            **times,
            "namespace": record.namespace,
            "name": record.name,
            "uid": record.uid,
            "class": grant.class_name,
            "issuer": grant.issuer_name,
            "tier": grant.tier.value,
            "sponsor": grant.sponsor,
            "permissions": grant.permissions.to_json(),
            "pod": None if pod is None else {"name": pod.name, "uid": pod.uid, "node": pod.node},
        },
    }


def _item(at: int, item: object) -> X509Item:
    what = f"items[{at}]."
    if not isinstance(item, dict):
        msg = f"{what.removesuffix('.')}: it is no object"
        raise InputError(msg)
    text = _text(item, "csr", what)
    try:
        csr = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        msg = f"{what}csr: it is not Base64"
        raise InputError(msg) from error
    return X509Item(_text(item, "podToken", what), csr)


def _text(parsed: dict[str, object], name: str, what: str) -> str:
    value = parsed.get(name)
    if not isinstance(value, str) or not value:
        msg = f"{what}{name}: it is {quoted(value)}, and no text"
        raise InputError(msg)
    return value


def _object(body: bytes) -> dict[str, object]:
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        msg = f"the body is no JSON: {error}"
        raise InputError(msg) from error
    if not isinstance(parsed, dict):
        msg = "the body is no JSON object"
        raise InputError(msg)
    return parsed
