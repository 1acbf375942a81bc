"""What comes of a review."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentid.kube.objects import JsonObject

__all__ = ["Outcome", "Refusal", "Verdict"]


class Outcome(StrEnum):
    """What the webhook found by itself; a closed list.

    A refusal by the judgement that all doors share has the reason that the identity's conditions
    show, such as `ExceedsClass`.
    """

    MOUNTED = "Mounted"
    """The pod gets what it lacks."""
    COMPLETE = "Complete"
    """It lacks nothing, such as at a second look after another webhook."""
    NOT_SELECTED = "NotSelected"
    """It has no label, or is not being made."""
    NAMESPACE_EXCLUDED = "NamespaceExcluded"
    """Nothing is mounted in the namespaces of agentid and of Kubernetes."""
    STATIC_POD = "StaticPod"
    """A kubelet runs it from a file, with no ServiceAccount."""
    MALFORMED_LABEL = "MalformedLabel"
    """The label cannot be the name of an AgentIdentity."""
    NO_SUCH_IDENTITY = "NoSuchIdentity"
    """There is none of this name in the pod's namespace."""
    IDENTITY_DELETING = "IdentityDeleting"
    """Its deletion was asked for."""
    WRONG_SERVICE_ACCOUNT = "WrongServiceAccount"
    """The pod runs as somebody else."""
    MALFORMED_CONTAINERS = "MalformedContainers"
    """The annotation names no container, or one that the pod does not have."""
    VOLUME_TAKEN = "VolumeTaken"
    """A volume of our name is not what we would mount."""
    PATH_TAKEN = "PathTaken"
    """Something else is mounted where the identity goes."""
    UNAVAILABLE = "Unavailable"
    """The API server could not be asked whether there is such an identity."""


_MAX_MESSAGE: Final = 4096
"""Characters of a message; a terminal shows it whole."""

_SHORT: Final = {
    HTTPStatus.FORBIDDEN: "Forbidden",
    HTTPStatus.SERVICE_UNAVAILABLE: "ServiceUnavailable",
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a pod is refused.

    Attributes:
        reason: An `Outcome`, or the reason of a condition.
        message: For the author of the pod: object, field, found, allowed, next step.
    """

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to a review.

    Attributes:
        reason: An `Outcome`, or the reason of a condition.
        allowed: Whether the pod may be made.
        message: Why not, for its author.
        patch: What it lacks, as operations of a JSON Patch (RFC 6902).
        warnings: What its author should know all the same.
        code: HTTP status of a refusal.
        identity: The AgentIdentity that it is about, `namespace/name`; empty if none was looked at.
    """

    reason: str
    allowed: bool = True
    message: str = ""
    patch: Sequence[JsonObject] = field(default=())
    warnings: Sequence[str] = field(default=())
    code: HTTPStatus = HTTPStatus.FORBIDDEN
    identity: str = ""

    @classmethod
    def refused(cls, refusal: Refusal, identity: str = "") -> Verdict:
        """The verdict that a refusal leads to."""
        code = HTTPStatus.FORBIDDEN
        if refusal.reason == Outcome.UNAVAILABLE:
            code = HTTPStatus.SERVICE_UNAVAILABLE
        message = refusal.message[:_MAX_MESSAGE]
        return cls(refusal.reason, allowed=False, message=message, code=code, identity=identity)

    @property
    def status_reason(self) -> str:
        """The word that the API goes with the code of a refusal."""
        return _SHORT[self.code]
