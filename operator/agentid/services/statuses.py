"""Writes the status of a small kind, and the conditions that several of them share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agentid.api.conditions import ConditionStatus, ConditionType, Reason, Wanted
from agentid.errors import ConflictError, NotFoundError, UnavailableError
from agentid.kube.objects import resource_version_of, version_of

if TYPE_CHECKING:
    from agentid.api.model import ObjectMeta
    from agentid.kube.client import Client
    from agentid.kube.resources import Resource

__all__ = ["reconciling", "stalled", "write_status"]

_TRIES: Final = 3
"""To write a status while others write the object; each reads it anew."""

_TRUE, _FALSE = ConditionStatus.TRUE, ConditionStatus.FALSE


def stalled(reason: Reason, message: str) -> tuple[Wanted, ...]:
    """Not ready, and nothing happens until somebody changes something."""
    return (
        Wanted(ConditionType.READY, _FALSE, reason, message),
        Wanted(ConditionType.STALLED, _TRUE, reason, message),
    )


def reconciling(reason: Reason, message: str) -> tuple[Wanted, ...]:
    """Not ready, and tried again."""
    return (
        Wanted(ConditionType.READY, _FALSE, reason, message),
        Wanted(ConditionType.RECONCILING, _TRUE, reason, message),
    )


async def write_status(
    client: Client, resource: Resource, metadata: ObjectMeta, status: dict[str, object]
) -> int:
    """Replace the status of an object of the cluster's scope; of one that is gone, nothing.

    Returns:
        The version that has this status; 0 if the object is gone.

    Raises:
        UnavailableError: The API server is away, or the object never stands still.
    """
    version = metadata.resource_version
    for _ in range(_TRIES):
        body = {
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "metadata": {
                "name": metadata.name,
                "uid": metadata.uid,
                "resourceVersion": version,
            },
            "status": status,
        }
        try:
            return version_of(await client.replace_status(resource, body))
        except NotFoundError:
            return 0
        except ConflictError:
            # Nobody else writes a status, so ours is still right for the newer object.
            version = resource_version_of(await client.get(resource, metadata.name))
    message = f"{resource.kind} {metadata.name} changes faster than its status is written"
    raise UnavailableError(message)
