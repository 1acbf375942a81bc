"""Why a request is not answered with a certificate: two closed lists.

What is denied is denied for good, and with it the pod: no kubelet asks again. So only what cannot
come right by waiting is denied; everything else keeps the request waiting, and is told.
`docs/reference/pod-certificates.md` explains each.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import timedelta

__all__ = ["Denial", "DenialReason", "Waiting", "WaitingReason"]


class DenialReason(StrEnum):
    """Reasons of the condition Denied."""

    INVALID_ANNOTATIONS = "InvalidUnverifiedUserAnnotations"
    """The volume has other userAnnotations than the one that names the identity."""
    UNSUPPORTED_KEY_TYPE = "UnsupportedKeyType"
    """The key is of another algorithm than the class asks for, or weak."""
    STUB_NOT_EMPTY = "StubNotEmpty"
    """The certificate signing request holds more than a key."""
    STUB_INVALID = "StubInvalid"
    """The certificate signing request cannot be read."""
    POD_GONE = "PodGone"
    """There is no such pod, or it has finished."""
    POD_REPLACED = "PodReplaced"
    """The pod of this name is another one."""
    POD_IS_STATIC = "PodIsStatic"
    """The pod is a kubelet's own, which the API server does not vouch for."""
    SERVICE_ACCOUNT_DIFFERS = "ServiceAccountDiffers"
    """The pod runs as another ServiceAccount than the request says."""
    NODE_DIFFERS = "NodeDiffers"
    """The pod is on another node than the request says."""
    IDENTITY_DIFFERS = "IdentityDiffers"
    """The label of the pod names another identity than its volume does, or none."""
    NOT_ITS_SERVICE_ACCOUNT = "NotItsServiceAccount"
    """The identity is bound to another ServiceAccount than the pod runs as."""


@dataclass(frozen=True, slots=True)
class Denial:
    """A request that will never be granted.

    Attributes:
        reason: Why.
        message: Why, in sentences, with the next step.
    """

    reason: DenialReason
    message: str


class WaitingReason(StrEnum):
    """Why a request waits, beside those of `policy.entitlement` and of conditions."""

    UNGUARDED = "Unguarded"
    """Anybody may have made the request: no policy was in force that lets only kubelets."""
    SERVICE_ACCOUNT_NOT_FOUND = "ServiceAccountNotFound"
    """The ServiceAccount of the request is not there."""
    NODE_NOT_FOUND = "NodeNotFound"
    """The node of the request is not there."""
    VALIDITY_TOO_SHORT = "ValidityTooShort"
    """No certificate of an hour can be made, which is the least that the API server takes."""
    ANSWER_REFUSED = "AnswerRefused"
    """The API server did not take the certificate."""
    API_UNAVAILABLE = "ApiServerUnavailable"
    """The API server is away, or refuses to be asked."""
    CACHE_BEHIND = "CacheBehind"
    """What this replica knows of the identity or its class is older than what is in force."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A request that cannot be answered now.

    Attributes:
        reason: One of `WaitingReason`, of `WithheldReason`, or of the conditions' reasons.
        message: Why, in sentences, with the next step.
        retry_after: How long it is left alone at least, if that is known.
    """

    reason: str
    message: str
    retry_after: timedelta | None = None
