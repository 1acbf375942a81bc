"""One segment: what one commit made durable, as one immutable object.

The bytes are lines of JSON, each ended by a line feed:

    {"covers":[],"created":"…","format":1,"heads":[],"previous":"9f…","records":2,…}   header
    {"door":"Secret","fingerprint":"…",…,"type":"issued","uid":"…"}                    records
    {"actor":"…","notAfter":"…","reason":"superseded",…,"type":"revoked"}
    {"sha256":"41…"}                                                                   seal

The seal is the SHA-256 of all bytes before its own line, and the hash of the segment; the header of
the next segment of the same writer names it as `previous`. So an auditor needs no program of ours:

    head -n -1 segment.jsonl | sha256sum

The header repeats the serials that the segment revokes (`revokes`). Whatever is damaged in one
place, header or record, the other still says that they are revoked.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Final

import orjson

from agentid.errors import InputError
from agentid.ledger import wire
from agentid.ledger.naming import segment_name

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from agentid.identity import SerialNumber
    from agentid.ledger.records import Record

__all__ = [
    "FORMAT",
    "MAX_SEGMENT_BYTES",
    "Cover",
    "Head",
    "Header",
    "Sealed",
    "Segment",
    "seal",
]

FORMAT: Final = 1
"""Raised when a release writes what an earlier one would misread."""

MAX_SEGMENT_BYTES: Final = 900 * 1024
"""The API server takes 1 MiB of data in a ConfigMap, and etcd 1.5 MiB in a request; metadata and
the JSON escapes of the request have to fit as well."""


@dataclass(frozen=True, slots=True)
class Head:
    """A segment of another chain that the writer had seen: a witness that it was there.

    Attributes:
        writer: Of that chain.
        sequence: Of its last segment then.
        hash: Of that segment.
    """

    writer: str
    sequence: int
    hash: str


@dataclass(frozen=True, slots=True)
class Cover:
    """A run of segments whose records, as far as still needed, stand in this segment instead.

    Attributes:
        writer: Of the run.
        first: Sequence of its first segment.
        last: Sequence of its last segment.
        previous: What the first names as its predecessor's hash; None if it began the chain.
        hash: Of the last segment.
        created: When the latest of its segments was made, by their writer's clock.
    """

    writer: str
    first: int
    last: int
    previous: str | None
    hash: str
    created: datetime


@dataclass(frozen=True, slots=True)
class Header:
    """What a segment says about itself.

    Attributes:
        writer: Whose chain it belongs to.
        sequence: Its place there, from 1.
        previous: Hash of the segment before; None for the first.
        created: By the writer's clock.
        heads: Witnessed heads of other chains.
        covers: Runs of segments that it stands for.
    """

    writer: str
    sequence: int
    previous: str | None
    created: datetime
    heads: tuple[Head, ...] = ()
    covers: tuple[Cover, ...] = ()

    @property
    def name(self) -> str:
        """The name of the object."""
        return segment_name(self.writer, self.sequence)


@dataclass(frozen=True, slots=True)
class Sealed:
    """A segment ready to be written.

    Attributes:
        name: Of the object.
        data: Its bytes.
        hash: Their seal.
    """

    name: str
    data: bytes = field(repr=False)
    hash: str


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment that was read and is as it was written.

    Attributes:
        header: What it says about itself.
        records: What it made durable, in order.
        hash: Its seal.
        size: Its bytes.
    """

    header: Header
    records: tuple[Record, ...] = field(repr=False)
    hash: str
    size: int

    @property
    def name(self) -> str:
        """The name of the object."""
        return self.header.name


def seal(header: Header, lines: Sequence[bytes], revokes: Sequence[SerialNumber]) -> Sealed:
    """Make the bytes of a segment.

    Args:
        header: What it says about itself.
        lines: Its records, each as `encode_record` writes it.
        revokes: The serials of those among them that revoke, in the same order.

    Raises:
        InputError: It has more than `MAX_SEGMENT_BYTES`.
    """
    head = orjson.dumps(
        {
            "covers": [
                {
                    "created": wire.time_text(cover.created),
                    "first": cover.first,
                    "hash": cover.hash,
                    "last": cover.last,
                    "previous": cover.previous,
                    "writer": cover.writer,
                }
                for cover in header.covers
            ],
            "created": wire.time_text(header.created),
            "format": FORMAT,
            "heads": [
                {"hash": one.hash, "sequence": one.sequence, "writer": one.writer}
                for one in header.heads
            ],
            "previous": header.previous,
            "records": len(lines),
            "revokes": [str(serial) for serial in revokes],
            "sequence": header.sequence,
            "writer": header.writer,
        },
        option=orjson.OPT_SORT_KEYS,
    )
    body = b"\n".join((head, *lines, b""))
    digest = sha256(body).hexdigest()
    data = b'%b{"sha256":"%b"}\n' % (body, digest.encode())
    if len(data) > MAX_SEGMENT_BYTES:
        msg = f"ledger segment {header.name}: {len(data)} bytes are above {MAX_SEGMENT_BYTES}"
        raise InputError(msg)
    return Sealed(header.name, data, digest)
