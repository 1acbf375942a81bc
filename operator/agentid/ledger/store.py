"""Where segments are kept: what the ledger asks of a backend, and nothing more.

A backend needs no transactions, no order and no update. It has to create an object only if there is
none of that name, and to report sooner or later what others create and delete.
`agentid.testing.segments.check_segment_store` holds every backend to this.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from datetime import datetime

__all__ = [
    "LABEL_SEGMENT",
    "LABEL_WRITER",
    "SEGMENT",
    "CreateOutcome",
    "SegmentEvent",
    "SegmentEventType",
    "SegmentSource",
    "SegmentStore",
    "StoredSegment",
]

LABEL_SEGMENT: Final = "agentid.dev/ledger"
"""Marks the objects that hold segments; `manifests/policies/ledger.yaml` protects them by it."""

SEGMENT: Final = "segment"
"""The value of `LABEL_SEGMENT`."""

LABEL_WRITER: Final = "agentid.dev/ledger-writer"
"""Whose segment an object holds, for people; nothing is decided by it."""


@dataclass(frozen=True, slots=True)
class StoredSegment:
    """An object as it is stored.

    Attributes:
        name: Of the object.
        data: Its bytes, empty if the object holds no segment where it should.
        created_at: When it was created, by the backend's clock; None if the backend has none.
    """

    name: str
    data: bytes = field(repr=False)
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class CreateOutcome:
    """What came of a create that was answered.

    Attributes:
        created: Whether the object was created now; if not, there is one of that name already.
        at: When, by the backend's clock; None if it was not, or the backend has no clock.
    """

    created: bool
    at: datetime | None = None


class SegmentEventType(StrEnum):
    """What a backend reports."""

    PRESENT = "Present"
    """The segment is there, new or changed."""
    GONE = "Gone"
    """The segment is there no longer; `data` may be empty."""
    SYNCED = "Synced"
    """Everything that there is was reported; comes once at first, and again after an interruption
    that made the backend look at everything anew."""
    CURRENT = "Current"
    """Nothing has changed that was not reported. Comes every minute or two while all is well; that
    it does not come is how a follower knows that what it knows grows old."""


@dataclass(frozen=True, slots=True)
class SegmentEvent:
    """One report.

    Attributes:
        type: What happened.
        segment: To what; None when SYNCED or CURRENT.
    """

    type: SegmentEventType
    segment: StoredSegment | None = None


class SegmentSource(Protocol):
    """A backend as far as it is read. Raises what a `SegmentStore` raises."""

    async def read(self, name: str) -> StoredSegment | None:
        """Return an object as it is now, None if there is none."""
        ...

    def list(self) -> AsyncIterator[StoredSegment]:
        """Yield all segments as of one moment."""
        ...

    def follow(self) -> AsyncIterator[SegmentEvent]:
        """Yield everything there is, then SYNCED, then every change and CURRENT; without end.

        The changes come in one order, which is the same for all who follow. Outages are waited
        out in here.
        """
        ...


class SegmentStore(SegmentSource, Protocol):
    """A backend.

    Every method raises `UnavailableError` when the backend is away or did not answer; whether a
    write was carried out is unknown then, and it may yet be. Any other `AgentIdError` is a refusal:
    nothing was written.
    """

    async def create(self, name: str, data: bytes, labels: Mapping[str, str]) -> CreateOutcome:
        """Store an object durably, unless there is one of this name."""
        ...

    async def delete(self, name: str) -> None:
        """Delete an object; that it is gone already is no error."""
        ...
