"""AdmissionReview of `admission.k8s.io/v1`: read from untrusted bytes, and answered."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import orjson

from agentid.api.violation import shown
from agentid.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentid.admission.verdict import Verdict

__all__ = ["MAX_REVIEW_BYTES", "Review", "encode_answer", "read_review"]

MAX_REVIEW_BYTES: Final = 4 * 1024 * 1024
"""The API server takes requests of up to 3 MiB (`MaxRequestBodyBytes`), and a review repeats one,
as JSON, with some hundred octets around it."""

_API_VERSION: Final = "admission.k8s.io/v1"
_KIND: Final = "AdmissionReview"
_MAX_UID: Final = 128
_PODS: Final = {"group": "", "version": "v1", "resource": "pods"}


@dataclass(frozen=True, slots=True)
class Review:
    """What the API server asks.

    Attributes:
        uid: Of the request; the answer repeats it.
        creates: Whether a pod is being made; nothing else is ever changed.
        namespace: Where.
        pod: As its author, and webhooks that came before, would have it.
    """

    uid: str
    creates: bool
    namespace: str
    pod: Mapping[str, object]


def read_review(body: bytes) -> Review:
    """Read a review. Fields that are not known are ignored.

    Raises:
        InputError: It is none, or not about pods. The message is for who sent it.
    """
    if len(body) > MAX_REVIEW_BYTES:
        msg = f"the review has {len(body)} octets; at most {MAX_REVIEW_BYTES} are read"
        raise InputError(msg)
    try:
        whole = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        msg = f"the body is not JSON ({error}); send an AdmissionReview"
        raise InputError(msg) from error
    match whole:
        case {"apiVersion": str(version), "kind": str(kind)}:
            pass
        case _:
            version, kind = "", ""
    if (version, kind) != (_API_VERSION, _KIND):
        msg = (
            f"the body is of apiVersion {shown(version)} and kind {shown(kind)}; send "
            f"{_KIND} of {_API_VERSION}"
        )
        raise InputError(msg)
    request = whole.get("request")
    match request:
        case {"uid": str(uid), "operation": str(operation), "resource": dict(resource)} if (
            0 < len(uid) <= _MAX_UID
        ):
            pass
        case _:
            msg = "request: uid, operation or resource is missing or not of its type"
            raise InputError(msg)
    if {name: resource.get(name) for name in _PODS} != _PODS:
        asked = ".".join(str(resource.get(name) or "core") for name in _PODS)
        msg = f"request.resource: {shown(asked)} is not reviewed here; send pods of v1 only"
        raise InputError(msg)
    creates = operation == "CREATE" and not request.get("subResource")
    namespace, pod = request.get("namespace"), request.get("object")
    if creates and not (isinstance(namespace, str) and namespace and isinstance(pod, dict)):
        msg = "request: a pod that is created has a namespace and an object"
        raise InputError(msg)
    return Review(
        uid,
        creates,
        namespace if isinstance(namespace, str) else "",
        pod if isinstance(pod, dict) else {},
    )


def encode_answer(uid: str, verdict: Verdict) -> bytes:
    """Write the review that answers one of this uid."""
    response: dict[str, object] = {"uid": uid, "allowed": verdict.allowed}
    if verdict.patch:
        response["patchType"] = "JSONPatch"
        response["patch"] = base64.b64encode(orjson.dumps(verdict.patch)).decode()
    if verdict.warnings:
        response["warnings"] = verdict.warnings
    if not verdict.allowed:
        response["status"] = {
            "code": verdict.code,
            "reason": verdict.status_reason,
            "message": verdict.message,
        }
    if verdict.identity:
        # The API server puts the webhook's name before each key (audit.k8s.io/v1, annotations).
        response["auditAnnotations"] = {"identity": verdict.identity, "verdict": verdict.reason}
    return orjson.dumps({"apiVersion": _API_VERSION, "kind": _KIND, "response": response})
