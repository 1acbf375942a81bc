"""What went wrong with a request, in agentid's own errors.

The only place that knows both aiohttp's exceptions and the API's Status objects.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from typing import Final

import aiohttp
import orjson
from aiohttp.http_exceptions import HttpProcessingError

from agentid.errors import (
    AgentIdError,
    AlreadyExistsError,
    ApiError,
    ConflictError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    PreconditionError,
    UnavailableError,
    WatchExpiredError,
)

__all__ = ["TRANSPORT_ERRORS", "Call", "from_answer", "from_status", "from_transport"]

TRANSPORT_ERRORS: Final = (aiohttp.ClientError, HttpProcessingError, TimeoutError, OSError)
"""Everything aiohttp raises when there is no answer, or none that can be read."""

_SHOWN: Final = 512
"""Characters of the server's message that are passed on: a rejected object is quoted in it at full
length, and a condition message has to stay readable."""

_RETRY_AFTER_MAX: Final = 3600
_CONTROL = re.compile(r"[^\x20-\x7e]+")

_UID_THERE = re.compile(r"UID in object meta: ([0-9a-f-]{36})\b")
"""How the API server says which object is there when a precondition names another one's UID
(apiserver, storage/interfaces.go, Preconditions.Check)."""

_BY_CODE: Final[Mapping[int, type[ApiError]]] = {
    HTTPStatus.UNAUTHORIZED: ForbiddenError,
    HTTPStatus.FORBIDDEN: ForbiddenError,
    HTTPStatus.NOT_FOUND: NotFoundError,
    HTTPStatus.CONFLICT: ConflictError,
    HTTPStatus.GONE: WatchExpiredError,
    HTTPStatus.UNPROCESSABLE_ENTITY: InvalidError,
}


@dataclass(frozen=True, slots=True)
class Call:
    """A request as RBAC and the audit log name it.

    Attributes:
        verb: `get`, `list`, `watch`, `create`, `update`, `patch` or `delete`.
        resource: Plural, with the subresource behind a slash if there is one.
        namespace: Empty for cluster-scoped kinds and all namespaces.
        name: Empty for collections.
        json_patch: Whether the body is a JSON Patch.
    """

    verb: str
    resource: str
    namespace: str = ""
    name: str = ""
    json_patch: bool = False

    @property
    def is_write(self) -> bool:
        """Whether it may change something."""
        return self.verb in {"create", "update", "patch", "delete"}

    def __str__(self) -> str:
        """Return such as `update secrets finance/invoice-reader-agentid`."""
        target = "/".join(part for part in (self.namespace, self.name) if part)
        return f"{self.verb} {self.resource} {target}".rstrip()


def from_answer(call: Call, code: int, headers: Mapping[str, str], payload: bytes) -> AgentIdError:
    """Return the error for an answer that is no success.

    Args:
        call: What was asked.
        code: HTTP status code.
        headers: Of the answer, looked up without regard to case.
        payload: Its body: a Status object, or whatever a proxy in between says.
    """
    try:
        status = orjson.loads(payload)
    except orjson.JSONDecodeError:
        status = {"message": payload[:_SHOWN].decode("utf-8", "replace")}
    if not isinstance(status, dict):
        status = {}
    return from_status(call, {**status, "code": code}, headers.get("Retry-After", ""))


def from_status(call: Call, status: Mapping[str, object], retry_after: str = "") -> AgentIdError:
    """Return the error for a Status object, as an answer or as the last event of a watch."""
    code = status.get("code")
    code = code if isinstance(code, int) else 0
    reason = _text(status.get("reason"))
    said = _text(status.get("message")) or "no message"
    details = status.get("details")
    details = details if isinstance(details, Mapping) else {}
    message = f"{call}: {code} {reason or _phrase(code)}: {said}"
    # A 3xx is answered by what is no API server; it may come back as one, like a 5xx.
    if code == HTTPStatus.TOO_MANY_REQUESTS or code >= 500 or code < 400:  # noqa: PLR2004
        wait = _seconds(retry_after) or _seconds(details.get("retryAfterSeconds"))
        return UnavailableError(message, retry_after=timedelta(seconds=wait) if wait else None)
    kind = _BY_CODE.get(code, ApiError)
    if code == HTTPStatus.CONFLICT and reason == "AlreadyExists":
        kind = AlreadyExistsError
    elif code == HTTPStatus.CONFLICT:
        there = _UID_THERE.search(str(status.get("message")))
        uid = None if there is None else there[1]
        return ConflictError(message, status=code, reason=reason, uid=uid)
    elif code == HTTPStatus.UNPROCESSABLE_ENTITY and call.json_patch and not details.get("causes"):
        # An operation that cannot be applied and an object that breaks its schema are both 422
        # `Invalid`; only the latter names causes (apiserver, handlers/patch.go, applyJSPatch).
        kind = PreconditionError
        message = f"{call}: the object is not what the patch expects, nothing was written: {said}"
    return kind(message, status=code, reason=reason)


def from_transport(call: Call, error: BaseException, *, seconds: float) -> UnavailableError:
    """Return the error for a request that got no answer, or none that can be read.

    Args:
        call: What was asked.
        error: One of TRANSPORT_ERRORS.
        seconds: How long an answer was waited for.
    """
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
        return UnavailableError(
            f"{call}: not sent, no connection to the API server: {_said(error)}"
        )
    what = f"no answer within {seconds:g} s" if isinstance(error, TimeoutError) else _said(error)
    unsure = "; it may have been carried out" if call.is_write else ""
    return UnavailableError(f"{call}: {what}{unsure}")


def _said(error: BaseException) -> str:
    return _text(str(error)) or type(error).__name__


def _text(value: object) -> str:
    if not isinstance(value, str):
        return ""
    shown = _CONTROL.sub(" ", value[:_SHOWN]).strip()
    return f"{shown}…" if len(value) > _SHOWN else shown


def _phrase(code: int) -> str:
    try:
        return HTTPStatus(code).phrase
    except ValueError:
        return "unknown status"


def _seconds(value: object) -> int:
    # Retry-After may be a date too (RFC 9110 §10.2.3); the API server only ever sends seconds.
    text = str(value or "")
    return min(int(text), _RETRY_AFTER_MAX) if text.isascii() and text.isdigit() else 0
