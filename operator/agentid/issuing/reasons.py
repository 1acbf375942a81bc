"""Why a node plugin is refused: a closed list, beside the reasons that conditions give."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

from agentid.api.conditions import Reason
from agentid.errors import AgentIdError

if TYPE_CHECKING:
    from datetime import timedelta

    from agentid.pki import KeyAlgorithm

__all__ = ["PASSING", "RefusalReason", "RefusedError"]


class RefusalReason(StrEnum):
    """Reasons of the service's own; `policy.entitlement` has those of every door.

    `docs/reference/issuer-service.md` explains each.
    """

    MALFORMED = "Malformed"
    """The request is not what the service reads."""
    NOT_A_NODE_PLUGIN = "NotANodePlugin"
    """The bearer token is none of a node plugin's, or is good no longer."""
    POD_TOKEN_INVALID = "PodTokenInvalid"  # noqa: S105 - a reason
    """The pod's token is none of this cluster's, of another audience, or bound to no pod."""
    POD_TOKEN_EXPIRED = "PodTokenExpired"  # noqa: S105 - a reason
    """The pod's token is good no longer, or not yet."""
    POD_GONE = "PodGone"
    """There is no such pod, or it has finished."""
    POD_REPLACED = "PodReplaced"
    """The pod of this name is another one."""
    POD_IS_STATIC = "PodIsStatic"
    """The pod is a kubelet's own, which the API server does not vouch for."""
    NODE_DIFFERS = "NodeDiffers"
    """The pod is on another node than the plugin that asks."""
    SERVICE_ACCOUNT_DIFFERS = "ServiceAccountDiffers"
    """The pod runs as another ServiceAccount than its token says."""
    NO_IDENTITY = "NoIdentity"
    """The pod has no label that names an AgentIdentity."""
    REQUEST_INVALID = "RequestInvalid"
    """The certificate signing request cannot be read, or its key is weak."""
    NO_CERTIFICATE = "NoCertificate"
    """The pod holds no certificate on which a JWT-SVID could stand."""
    NO_TOKENS = "NoTokens"
    """The issuer of the identity's class signs no JWT-SVIDs."""
    AUDIENCE_INVALID = "AudienceInvalid"
    """The audience is empty, too long or has too many entries."""
    TAKEN_AWAY = "TakenAway"
    """The identity lost what it had while the certificate was made."""
    CACHE_BEHIND = "CacheBehind"
    """What this replica knows is older than what is in force; ask again."""
    OVERLOADED = "Overloaded"
    """More is asked than is worked on at a time; ask again."""
    INTERNAL = "InternalError"
    """A defect of agentid's; ask again."""
    UNAVAILABLE = "Unavailable"
    """The API server or the ledger is away; ask again."""


PASSING: Final = frozenset(
    {
        RefusalReason.CACHE_BEHIND.value,
        RefusalReason.OVERLOADED.value,
        RefusalReason.UNAVAILABLE.value,
        RefusalReason.INTERNAL.value,
        Reason.LEDGER_UNAVAILABLE.value,
        Reason.ISSUER_UNAVAILABLE.value,
        Reason.INCIDENT_UNREADABLE.value,
    }
)
"""What says nothing of the pod, and is over before anybody has read of it."""


class RefusedError(AgentIdError):
    """No answer but a refusal.

    Attributes:
        reason: One of `RefusalReason`, of `WithheldReason`, or of the conditions' reasons.
        final: Whether the pod is to have nothing any more, now; else it keeps what it holds.
        key_algorithm: The kind of key to ask with instead, where that is the matter.
        retry_after: How long to wait at least, if that is known.
    """

    def __init__(
        self,
        reason: str,
        message: str,
        *,
        final: bool = False,
        key_algorithm: KeyAlgorithm | None = None,
        retry_after: timedelta | None = None,
    ) -> None:
        self.reason = str(reason)
        self.final = final
        self.key_algorithm = key_algorithm
        self.retry_after = retry_after
        super().__init__(message)
