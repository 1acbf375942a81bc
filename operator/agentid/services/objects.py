"""Writes to AgentIdentities: their status and our finalizer, nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agentid.api.model import ObjectMeta
from agentid.constants import FINALIZER
from agentid.errors import ConflictError, NotFoundError, PreconditionError, UnavailableError
from agentid.kube.objects import metadata_of, resource_version_of, uid_of
from agentid.kube.resources import AGENT_IDENTITIES

if TYPE_CHECKING:
    from agentid.api.agentidentity import AgentIdentityStatus
    from agentid.kube.client import Client
    from agentid.kube.objects import JsonObject
    from agentid.services.world import World

__all__ = ["IdentityObjects"]

_TRIES: Final = 3
"""To write a status while others write the object; each reads it anew."""


class IdentityObjects:
    """What is written is taken into the world at once: the watch tells it later, to no effect."""

    def __init__(self, client: Client, world: World) -> None:
        self._client = client
        self._world = world

    async def write_status(self, metadata: ObjectMeta, status: AgentIdentityStatus) -> None:
        """Replace the status; of an object that is gone, nothing.

        Raises:
            UnavailableError: The API server is away, or the object never stands still.
        """
        version = metadata.resource_version
        for _ in range(_TRIES):
            body = {
                "apiVersion": AGENT_IDENTITIES.api_version,
                "kind": AGENT_IDENTITIES.kind,
                "metadata": {
                    "namespace": metadata.namespace,
                    "name": metadata.name,
                    "uid": metadata.uid,
                    "resourceVersion": version,
                },
                "status": status.to_api(),
            }
            try:
                stored = await self._client.replace_status(AGENT_IDENTITIES, body)
            except NotFoundError:
                return
            except ConflictError:
                fresh = await self._fresh(metadata)
                if fresh is None:
                    return
                version = resource_version_of(fresh)
            else:
                self._world.identities.learn(stored)
                return
        message = f"{metadata.namespace}/{metadata.name} changes faster than its status is written"
        raise UnavailableError(message)

    async def add_finalizer(self, metadata: ObjectMeta) -> ObjectMeta:
        """Add our finalizer to the object as it was seen, and return its new metadata.

        Raises:
            PreconditionError: It has changed since; look again.
        """
        unchanged: dict[str, object] = {
            "op": "test",
            "path": "/metadata/resourceVersion",
            "value": metadata.resource_version,
        }
        added: dict[str, object] = {"op": "add", "path": "/metadata/finalizers/-"}
        added["value"] = FINALIZER
        if not metadata.finalizers:
            added |= {"path": "/metadata/finalizers", "value": [FINALIZER]}
        body = await self._patch(metadata, (unchanged, added))
        return ObjectMeta.model_validate(metadata_of(body))

    async def release(self, metadata: ObjectMeta) -> None:
        """Remove our finalizer; the object then goes, if nobody else holds it.

        Raises:
            PreconditionError: Its finalizers have changed since, or another one has its name; look
                again.
        """
        same: dict[str, object] = {"op": "test", "path": "/metadata/uid", "value": metadata.uid}
        path = f"/metadata/finalizers/{metadata.finalizers.index(FINALIZER)}"
        ours: dict[str, object] = {"op": "test", "path": path, "value": FINALIZER}
        try:
            await self._patch(metadata, (same, ours, {"op": "remove", "path": path}))
        except NotFoundError:
            return

    async def _patch(
        self, metadata: ObjectMeta, operations: tuple[dict[str, object], ...]
    ) -> JsonObject:
        try:
            body = await self._client.patch_json(
                AGENT_IDENTITIES, metadata.name, operations, metadata.namespace
            )
        except PreconditionError:
            # Somebody was faster: the next look is to see what they made of it.
            fresh = await self._fresh(metadata)
            if fresh is not None:
                self._world.identities.learn(fresh)
            raise
        self._world.identities.learn(body)
        return body

    async def _fresh(self, metadata: ObjectMeta) -> JsonObject | None:
        """The object as it is now, None if it is gone or another one has its name."""
        try:
            body = await self._client.get(AGENT_IDENTITIES, metadata.name, metadata.namespace)
        except NotFoundError:
            return None
        return body if uid_of(body) == metadata.uid else None
