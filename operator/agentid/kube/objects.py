"""Objects, lists and watch events, as far as they are alike for every kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from agentid.errors import InputError

__all__ = [
    "EventType",
    "JsonObject",
    "ObjectKey",
    "Page",
    "WatchEvent",
    "metadata_of",
    "resource_version_of",
    "spec_manager_of",
    "uid_of",
    "version_of",
]

JsonObject: TypeAlias = dict[str, object]
"""An object as the API server wrote it, decoded from JSON; to be parsed by a model of `api/`."""


@dataclass(frozen=True, slots=True, order=True)
class ObjectKey:
    """Which object of a kind: what a work queue holds, instead of the object itself.

    Attributes:
        namespace: Its namespace, or empty when the kind is cluster-scoped.
        name: Its name.
    """

    namespace: str
    name: str

    @classmethod
    def of(cls, body: Mapping[str, object]) -> ObjectKey:
        """Return the key of an object.

        Raises:
            InputError: The object has no name.
        """
        metadata = metadata_of(body)
        name, namespace = metadata.get("name"), metadata.get("namespace")
        if not isinstance(name, str) or not name:
            message = "an object of the API server has metadata.name, this one has none"
            raise InputError(message)
        return cls(namespace if isinstance(namespace, str) else "", name)

    def __str__(self) -> str:
        """Return `namespace/name`, or the name alone when there is no namespace."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


class EventType(StrEnum):
    """What a watch reports, spelled as the API spells it."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"
    BOOKMARK = "BOOKMARK"


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """One event of a watch.

    Attributes:
        type: What happened.
        object: The object after it; before it when it was deleted; of a bookmark only
            `metadata.resourceVersion` means anything.
    """

    type: EventType
    object: JsonObject


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list.

    Attributes:
        items: Its objects; `apiVersion` and `kind` are left out by the API server.
        resource_version: The moment the whole list shows; a watch goes on from there.
        has_next: Whether another page follows.
    """

    items: Sequence[JsonObject]
    resource_version: str
    has_next: bool


def metadata_of(body: Mapping[str, object]) -> Mapping[str, object]:
    """Return the `metadata` of an object, empty when it has none."""
    metadata = body.get("metadata")
    return metadata if isinstance(metadata, Mapping) else {}


def resource_version_of(body: Mapping[str, object]) -> str:
    """Return `metadata.resourceVersion`, opaque; empty when there is none."""
    return str(metadata_of(body).get("resourceVersion") or "")


def version_of(body: Mapping[str, object]) -> int:
    """Return `metadata.resourceVersion` to compare it with others of a kind; 0 without one.

    They are numbers that can be compared by the API's own contract since 1.35, and by etcd's
    before, those of namesakes too.
    """
    version = resource_version_of(body)
    return int(version) if version.isdecimal() else 0


def uid_of(body: Mapping[str, object]) -> str:
    """Return `metadata.uid`; empty when there is none."""
    return str(metadata_of(body).get("uid") or "")


def spec_manager_of(body: Mapping[str, object]) -> str | None:
    """Return the field manager that wrote the spec last, None where managedFields do not tell.

    It is the name that a client gave itself; nobody verifies it.
    """
    written: list[tuple[str, str]] = []
    entries = metadata_of(body).get("managedFields")
    for each in entries if isinstance(entries, list) else ():
        match each:
            case {"manager": str(manager), "fieldsV1": {"f:spec": _}, **rest} if not rest.get(
                "subresource"
            ):
                written.append((str(rest.get("time") or ""), manager))
    return max(written)[1] if written else None
