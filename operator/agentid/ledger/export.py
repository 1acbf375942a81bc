"""All segments in one file, for an auditor who has no cluster.

The file is lines of text. Around the segments, whose bytes stand there as they are stored, it has a
line of its own before each, one at the beginning and one at the end:

    {"export":{"createdAt":"…","format":1}}
    {"segment":{"bytes":1402,"createdAt":"…","lines":3,"name":"agentid-ledger-w-00000000001"}}
    {"covers":[],"created":"…","format":1,…}             ┐
    {"authority":"…","bundle":4,…,"type":"issued",…}     ├ the segment, byte for byte
    {"sha256":"41…"}                                     ┘
    {"segment":{…,"name":"agentid-ledger-w-00000000002"}}
    …
    {"end":{"segments":2,"sha256":"7c…"}}

- Segments come by name, each once; so those of a chain come in its order.
- `bytes` and `lines` are those of the segment. An object that holds something else than a segment
  is there as it is; if it does not end in a line feed, one follows it that belongs to nobody.
- `format` is 1; `readBy` may stand beside a later one, the first release that reads it.
- `createdAt` of a segment is when the backend says that it was created; null if it does not.
- The `sha256` at the end is that of all bytes before its line: any other byte makes another one.

Whoever changes a segment and gives all of this a fitting end has still to answer to the segments'
own seals and to the chains, which `verify_segments` checks. Who rewrites all of that as well is
noticed only by somebody who has kept the last line.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import IO, TYPE_CHECKING, Final

import orjson

from agentid.errors import InputError, UnknownVersionError
from agentid.formats import later_version
from agentid.identity.quoting import quoted
from agentid.ledger import wire
from agentid.ledger.store import StoredSegment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

__all__ = [
    "FORMAT",
    "MAX_LINE_BYTES",
    "MAX_OBJECT_BYTES",
    "ExportReader",
    "Exporter",
    "Seal",
    "read_export",
]

FORMAT: Final = 1
"""Raised when a release writes what an earlier one would misread."""

MAX_OBJECT_BYTES: Final = 2 * 1024 * 1024
"""Of one object that is exported. The API server takes a request of 3 MiB and etcd 1.5; what is
larger is no file of ours, and is not read into memory."""

MAX_LINE_BYTES: Final = 1024
"""Of the export's own lines. An object's name has 253 characters, and the rest is 160."""

_HEADER_KEYS: Final = frozenset(("createdAt", "format"))
_SEGMENT_KEYS: Final = frozenset(("bytes", "createdAt", "lines", "name"))
_END_KEYS: Final = frozenset(("segments", "sha256"))
_MAX_NAME: Final = 253


@dataclass(frozen=True, slots=True)
class Seal:
    """The end of an export.

    Attributes:
        segments: How many it holds.
        sha256: Of all bytes before the last line.
    """

    segments: int
    sha256: str


class Exporter:
    """Writes an export as its segments come: one at a time, by name."""

    def __init__(self, write: Callable[[bytes], object], created: datetime) -> None:
        """Write the first line.

        Args:
            write: Takes all it is given.
            created: The time now.
        """
        self._out = write
        self._hash = sha256()
        self._last = ""
        self._segments = 0
        wire.check_time("createdAt", created)
        self._write(_line("export", {"createdAt": wire.time_text(created), "format": FORMAT}))

    def add(self, stored: StoredSegment) -> None:
        """Write a segment.

        Raises:
            InputError: Its name does not come after the one before, or it is too large.
        """
        _check_place(stored.name, self._last)
        if len(stored.data) > MAX_OBJECT_BYTES:
            msg = f"{stored.name}: {len(stored.data)} bytes are above {MAX_OBJECT_BYTES}"
            raise InputError(msg)
        self._last = stored.name
        self._segments += 1
        created = stored.created_at
        rest = _rest(stored.data)
        body: dict[str, object] = {
            "bytes": len(stored.data),
            "createdAt": None if created is None else wire.time_text(created),
            "lines": stored.data.count(b"\n") + len(rest),
            "name": stored.name,
        }
        self._write(_line("segment", body))
        self._write(stored.data + rest)

    def end(self) -> Seal:
        """Write the last line."""
        seal = Seal(self._segments, self._hash.hexdigest())
        self._out(_line("end", {"segments": seal.segments, "sha256": seal.sha256}))
        return seal

    def _write(self, data: bytes) -> None:
        self._hash.update(data)
        self._out(data)


def read_export(stream: IO[bytes]) -> Iterator[StoredSegment]:
    """Yield the segments of an export as they are stored; what is wrong with one is left to others.

    One segment is in memory at a time. Only once the iterator has come to its end is it known that
    the file is whole.

    Raises:
        InputError: The file is no export, was altered, or is not there to its end; the message
            names the line.
        UnknownVersionError: It is of a later format.
    """
    return iter(ExportReader(stream))


class ExportReader:
    """Does the same, once, and knows the end afterwards.

    Attributes:
        seal: The end of the export; None until it was reached and found to fit.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self.seal: Seal | None = None
        self._stream = stream
        self._hash = sha256()
        self._lines = 0

    def __iter__(self) -> Iterator[StoredSegment]:
        """The segments; raises what `read_export` raises."""
        self._header()
        count, last = 0, ""
        while True:
            before = self._hash.hexdigest()
            kind, body = self._own_line("segment", "end")
            if kind == "end":
                break
            stored = self._segment(body, last)
            count, last = count + 1, stored.name
            yield stored
        self._end(body, Seal(count, before))

    def _header(self) -> None:
        _, body = self._own_line("export")
        if (later := later_version(body, "format", FORMAT)) is not None:
            msg = f"ledger export, line {self._lines}: {later}"
            raise UnknownVersionError(msg)
        try:
            wire.integer(body, "format", least=1)
            wire.check_keys(body, _HEADER_KEYS)
            wire.time(body, "createdAt")
        except (InputError, KeyError) as error:
            raise self._refused(error) from error

    def _segment(self, body: dict[str, object], last: str) -> StoredSegment:
        try:
            wire.check_keys(body, _SEGMENT_KEYS)
            name = wire.text(body, "name")
            _check_place(name, last)
            size = wire.integer(body, "bytes", least=0)
            if size > MAX_OBJECT_BYTES:
                msg = f"bytes {size} are above {MAX_OBJECT_BYTES}"
                raise InputError(msg)  # noqa: TRY301 - one place names the line
            created = None if body["createdAt"] is None else wire.time(body, "createdAt")
            lines = wire.integer(body, "lines", least=0)
        except InputError as error:
            raise self._refused(error) from error
        data = self._take(size)
        rest = _rest(data)
        if self._take(len(rest)) != rest:
            raise self._refused(InputError(f"no line feed follows the {size} bytes of {name}"))
        if lines != (found := data.count(b"\n") + len(rest)):
            raise self._refused(InputError(f"{name} has {found} lines, not {lines}"))
        self._lines += lines
        return StoredSegment(name, data, created)

    def _end(self, body: dict[str, object], counted: Seal) -> None:
        try:
            wire.check_keys(body, _END_KEYS)
            said = Seal(wire.integer(body, "segments", least=0), wire.digest(body, "sha256"))
        except InputError as error:
            raise self._refused(error) from error
        if said.sha256 != counted.sha256:
            msg = f"the end says {said.sha256}, the bytes before it have {counted.sha256}"
            raise self._refused(InputError(msg))
        if said.segments != counted.segments:
            msg = f"the end counts {said.segments} segments, {counted.segments} are there"
            raise self._refused(InputError(msg))
        if self._stream.read(1):
            raise self._refused(InputError("something follows the end"))
        self.seal = said

    def _own_line(self, *allowed: str) -> tuple[str, dict[str, object]]:
        """The next line, which has to be the export's own, as it would be written."""
        line = self._stream.readline(MAX_LINE_BYTES)
        self._hash.update(line)
        self._lines += 1
        wanted = " or ".join(allowed)
        if not line:
            raise self._refused(InputError(f"the file ends where {wanted} belongs"))
        try:
            content = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise self._refused(InputError(f"not JSON ({error}) where {wanted} belongs")) from error
        if isinstance(content, dict) and len(content) == 1:
            ((kind, body),) = content.items()
            if kind in allowed and isinstance(body, dict):
                if line != _line(kind, body):
                    raise self._refused(InputError("it is spelled as no export spells it"))
                return kind, body
        raise self._refused(InputError(f"something else where {wanted} belongs"))

    def _take(self, size: int) -> bytes:
        data = self._stream.read(size)
        self._hash.update(data)
        if len(data) < size:
            raise self._refused(InputError("the file ends in the middle of a segment"))
        return data

    def _refused(self, error: InputError | KeyError) -> InputError:
        what = f"key {error} is missing" if isinstance(error, KeyError) else str(error)
        return InputError(
            f"ledger export, line {self._lines}: {what}; the file was altered, or is no export"
        )


def _line(kind: str, body: dict[str, object]) -> bytes:
    option = orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE
    return orjson.dumps({kind: body}, option=option)


def _rest(data: bytes) -> bytes:
    """What follows an object so that the next line begins as one."""
    return b"" if not data or data.endswith(b"\n") else b"\n"


def _check_place(name: str, last: str) -> None:
    if not 0 < len(name) <= _MAX_NAME or not name.isascii() or not name.isprintable():
        msg = f"name {quoted(name)} is not 1 to {_MAX_NAME} printable characters of ASCII"
        raise InputError(msg)
    if name <= last:
        msg = f"{quoted(name)} comes after {quoted(last)}; segments come by name, each once"
        raise InputError(msg)
