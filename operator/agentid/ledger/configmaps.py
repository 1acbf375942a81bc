r"""Segments in immutable ConfigMaps of the operator's namespace.

The API server creates an object only if there is none of its name, keeps an immutable one as it is,
and stamps it with its own clock: all that a segment needs. The bytes stand under `segment.jsonl`:

    kubectl -n agentid-system get configmap NAME -o jsonpath='{.data.segment\.jsonl}'
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Protocol

from agentid.errors import AlreadyExistsError, InternalError, NotFoundError
from agentid.ledger.store import (
    LABEL_SEGMENT,
    SEGMENT,
    CreateOutcome,
    SegmentEvent,
    SegmentEventType,
    StoredSegment,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = [
    "DATA_KEY",
    "SELECTOR",
    "ConfigMapChange",
    "ConfigMapClient",
    "ConfigMapSegments",
    "segment_of",
]

DATA_KEY: Final = "segment.jsonl"
"""Where in `data` the bytes stand."""

SELECTOR: Final = f"{LABEL_SEGMENT}={SEGMENT}"
"""The label selector of all segments."""


class ConfigMapChange(Protocol):
    """What `follow_config_maps` yields; a `kube.reflector.Change` is one."""

    @property
    def type(self) -> str:
        """`Added`, `Modified`, `Deleted`, `Synced` once everything was reported, or `Current`."""

    @property
    def object(self) -> Mapping[str, object]:
        """The object; of a deleted one perhaps only `metadata.name`, else nothing."""


class ConfigMapClient(Protocol):
    """The requests that are needed, raising what `kube.client.Client` raises."""

    async def create_config_map(
        self, namespace: str, manifest: Mapping[str, object]
    ) -> Mapping[str, object]:
        """Create one and return it as stored; AlreadyExistsError if there is one of this name."""

    async def get_config_map(self, namespace: str, name: str) -> Mapping[str, object]:
        """Return one as it is now; NotFoundError if there is none."""

    def list_config_maps(
        self, namespace: str, selector: str
    ) -> AsyncIterator[Mapping[str, object]]:
        """Yield all that a label selector selects, as of one moment."""

    async def delete_config_map(self, namespace: str, name: str) -> None:
        """Delete one; NotFoundError if there is none."""

    def follow_config_maps(
        self, namespace: str, selector: str, *, tell_current: bool = False
    ) -> AsyncIterator[ConfigMapChange]:
        """Yield all that are selected, Synced, then every change and Current; without end."""


class ConfigMapSegments:
    """A `SegmentStore` in one namespace of a cluster."""

    def __init__(self, client: ConfigMapClient, namespace: str) -> None:
        self._client = client
        self._namespace = namespace

    async def create(self, name: str, data: bytes, labels: Mapping[str, str]) -> CreateOutcome:
        """Create an immutable ConfigMap, unless there is one of this name."""
        manifest = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": self._namespace, "labels": dict(labels)},
            "immutable": True,
            "data": {DATA_KEY: data.decode()},
        }
        try:
            stored = await self._client.create_config_map(self._namespace, manifest)
        except AlreadyExistsError:
            return CreateOutcome(created=False)
        return CreateOutcome(created=True, at=_created_at(stored))

    async def read(self, name: str) -> StoredSegment | None:
        """Return a segment as it is now, None if there is none."""
        try:
            return segment_of(await self._client.get_config_map(self._namespace, name))
        except NotFoundError:
            return None

    async def list(self) -> AsyncIterator[StoredSegment]:
        """Yield all segments as of one moment."""
        async for body in self._client.list_config_maps(self._namespace, SELECTOR):
            yield segment_of(body)

    async def delete(self, name: str) -> None:
        """Delete a segment; that it is gone already is no error."""
        try:
            await self._client.delete_config_map(self._namespace, name)
        except NotFoundError:
            return

    async def follow(self) -> AsyncIterator[SegmentEvent]:
        """Yield all segments, SYNCED, then every change; without end."""
        changes = self._client.follow_config_maps(self._namespace, SELECTOR, tell_current=True)
        async for change in changes:
            kind = _EVENTS.get(str(change.type))
            if kind is None:
                message = f"configmaps: a change of the unknown type {change.type}"
                raise InternalError(message)
            if kind in {SegmentEventType.SYNCED, SegmentEventType.CURRENT}:
                yield SegmentEvent(kind)
            else:
                yield SegmentEvent(kind, segment_of(change.object))


_EVENTS: Final = {
    "Added": SegmentEventType.PRESENT,
    "Modified": SegmentEventType.PRESENT,
    "Deleted": SegmentEventType.GONE,
    "Synced": SegmentEventType.SYNCED,
    "Current": SegmentEventType.CURRENT,
}


def segment_of(body: Mapping[str, object]) -> StoredSegment:
    """The segment in a ConfigMap; without bytes, and so damaged, if they are not there."""
    data = _mapping(body.get("data")).get(DATA_KEY)
    name = _mapping(body.get("metadata")).get("name")
    content = data.encode() if isinstance(data, str) else b""
    return StoredSegment(str(name), content, _created_at(body))


def _created_at(body: Mapping[str, object]) -> datetime | None:
    text = _mapping(body.get("metadata")).get("creationTimestamp")
    if not isinstance(text, str):
        return None
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except ValueError:
        return None


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}
