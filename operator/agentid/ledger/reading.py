"""Reading segments: strictly, and of a damaged one whatever can be read."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Final

import orjson

from agentid.errors import InputError, LedgerCorruptError, UnknownVersionError
from agentid.formats import later_version
from agentid.identity import SerialNumber
from agentid.identity.quoting import quoted
from agentid.ledger import wire
from agentid.ledger.naming import check_writer, parse_segment_name
from agentid.ledger.records import MAX_RECORD_BYTES, Record, Revoked, decode_record
from agentid.ledger.segment import (
    FORMAT,
    MAX_SEGMENT_BYTES,
    Cover,
    Head,
    Header,
    Segment,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Reading", "decode", "inspect"]

_MAX_FAULTS: Final = 8  # enough to judge by; a file of something else has one on every line
_MAX_SEARCHES: Final = 16  # in one line; a hostile one has many beginnings
_HEADER_KEYS: Final = frozenset(
    ("covers", "created", "format", "heads", "previous", "records", "revokes", "sequence", "writer")
)
_HEAD_KEYS: Final = frozenset(("hash", "sequence", "writer"))
_COVER_KEYS: Final = frozenset(("created", "first", "hash", "last", "previous", "writer"))
_SEAL_KEYS: Final = frozenset(("sha256",))


@dataclass(frozen=True, slots=True)
class Reading:
    """What could be read of an object that claims to be a segment.

    Attributes:
        name: Of the object.
        header: None if it cannot be read.
        records: Those that can be read. With faults, one of them may be what it never was.
        revokes: Serials that the header says are revoked.
        hash: What the seal ought to be, None if the last line is no seal.
        size: Bytes.
        faults: What differs from what a writer would have written; empty for a sound segment.
        later: What to say of a segment of a later format, whose seal holds; None for any other.
    """

    name: str
    header: Header | None
    records: tuple[Record, ...] = field(repr=False)
    revokes: tuple[SerialNumber, ...]
    hash: str | None
    size: int
    faults: tuple[str, ...]
    later: str | None = None

    def segment(self) -> Segment:
        """The segment, if nothing is wrong with it.

        Raises:
            LedgerCorruptError: Something is; the message names object, line and what differs.
            UnknownVersionError: It is of a later format.
        """
        if self.later is not None:
            raise UnknownVersionError(self.sentence)
        if self.faults or self.header is None or self.hash is None:
            raise LedgerCorruptError(self.sentence)
        return Segment(self.header, self.records, self.hash, self.size)

    @property
    def sentence(self) -> str:
        """What is wrong with it, for an alarm."""
        return f"ledger segment {self.name}: {self.later or '; '.join(self.faults)}"


def decode(name: str, data: bytes) -> Segment:
    """Read a segment that has to be as it was written.

    Raises:
        LedgerCorruptError: It is not; the message names object, line and what differs.
        UnknownVersionError: It is of a later format.
    """
    return inspect(name, data).segment()


def inspect(name: str, data: bytes) -> Reading:
    """Read whatever can be read, and list everything that is wrong. Raises nothing.

    The seal is checked, the header against the name, the records against the header. The place in
    the chain is not: that takes the other segments.
    """
    faults = _Faults()
    if len(data) > MAX_SEGMENT_BYTES:
        faults.add(f"{len(data)} bytes are above {MAX_SEGMENT_BYTES}")
        return Reading(name, None, (), (), None, len(data), faults.as_tuple())
    lines = data.split(b"\n")
    digest = _check_seal(data, lines, faults)
    later = None if faults.found else _later(lines[0])
    # Of a segment that was cut short every line is read, and that the last one is half is reported.
    content = lines[:-2] if digest is not None else [line for line in lines if line]
    salvage = _Salvage()
    header, count, revokes = _read_header(name, content[0] if content else b"", faults, salvage)
    records = (*_read_records(content[1:], faults, salvage), *salvage.records)
    revokes = (*revokes, *salvage.revokes)
    if header is not None and not faults.found:
        _check_against_header(count, revokes, records, faults)
    return Reading(name, header, records, revokes, digest, len(data), faults.as_tuple(), later)


class _Salvage:
    """Whole JSON objects out of lines that are none: of two lines that became one, both."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.revokes: list[SerialNumber] = []
        self._decoder = json.JSONDecoder()

    def search(self, line: bytes) -> None:
        """Look for what a record or a header would be, in a line that could not be read."""
        text = line.decode(errors="replace")
        start = -1
        for _ in range(_MAX_SEARCHES):
            if (start := text.find("{", start + 1)) < 0:
                return
            try:
                body, end = self._decoder.raw_decode(text, start)
            except (ValueError, RecursionError):
                continue
            self.revokes += _serials(body.get("revokes"))
            with suppress(InputError):
                self.records.append(decode_record(text[start:end].encode()))
            start = end - 1


class _Faults:
    def __init__(self) -> None:
        self.found: list[str] = []
        self._more = 0

    def add(self, fault: str) -> None:
        if len(self.found) < _MAX_FAULTS:
            self.found.append(fault)
        else:
            self._more += 1

    def as_tuple(self) -> tuple[str, ...]:
        more = (f"and {self._more} more",) if self._more else ()
        return (*self.found, *more)


def _check_seal(data: bytes, lines: Sequence[bytes], faults: _Faults) -> str | None:
    """Return the digest of what the seal is about, None if the last line is no seal."""
    number = max(len(lines) - 1, 1)
    try:
        body = _object(lines[-2] if len(lines) > 1 and not lines[-1] else b"")
        wire.check_keys(body, _SEAL_KEYS)
        stated = wire.digest(body, "sha256")
    except InputError as error:
        faults.add(f"line {number} is no seal, the segment was cut short or altered: {error}")
        return None
    actual = sha256(memoryview(data)[: len(data) - len(lines[-2]) - 1]).hexdigest()
    if actual != stated:
        faults.add(f"line {number}: the seal says {stated}, the lines before have {actual}")
    return actual


def _read_header(
    name: str, line: bytes, faults: _Faults, salvage: _Salvage
) -> tuple[Header | None, int, tuple[SerialNumber, ...]]:
    revokes: tuple[SerialNumber, ...] = ()
    count = 0
    try:
        body = _object(line)
        # First of all, and whatever else is wrong: these are revoked.
        revokes = _serials(body.get("revokes"))
        _check_format(body)
        count = wire.integer(body, "records", least=0)
        header = _header(body)
    except InputError as error:
        faults.add(f"line 1: {error}")
        salvage.search(line)
        return None, count, revokes
    try:
        place = parse_segment_name(name)
    except InputError as error:
        faults.add(str(error))
    else:
        if place != (header.writer, header.sequence):
            faults.add(f"line 1: the header is that of {header.name}, not of the object's name")
    return header, count, revokes


def _later(line: bytes) -> str | None:
    """What to say of a later format; with a seal that does not hold, it is damage instead."""
    try:
        return later_version(_object(line), "format", FORMAT)
    except InputError:
        return None


def _check_format(body: dict[str, object]) -> None:
    if (found := body.get("format")) != FORMAT:
        shown = found if isinstance(found, int) else quoted(found)
        msg = f"format {shown} is not {FORMAT}"
        raise InputError(msg)
    wire.check_keys(body, _HEADER_KEYS)


def _header(body: dict[str, object]) -> Header:
    header = Header(
        writer=_writer(body),
        sequence=wire.integer(body, "sequence", least=1),
        previous=None if body["previous"] is None else wire.digest(body, "previous"),
        created=wire.time(body, "created"),
        heads=tuple(_head(one) for one in _list(body, "heads")),
        covers=tuple(_cover(one) for one in _list(body, "covers")),
    )
    if (header.sequence == 1) != (header.previous is None):
        msg = f"sequence {header.sequence} does not go with previous {header.previous}"
        raise InputError(msg)
    return header


def _head(value: object) -> Head:
    body = _mapping(value)
    wire.check_keys(body, _HEAD_KEYS)
    return Head(_writer(body), wire.integer(body, "sequence", least=1), wire.digest(body, "hash"))


def _cover(value: object) -> Cover:
    body = _mapping(value)
    wire.check_keys(body, _COVER_KEYS)
    first = wire.integer(body, "first", least=1)
    previous = None if body["previous"] is None else wire.digest(body, "previous")
    if (first == 1) != (previous is None):
        msg = f"a run from {first} does not go with previous {previous}"
        raise InputError(msg)
    return Cover(
        _writer(body),
        first,
        wire.integer(body, "last", least=first),
        previous,
        wire.digest(body, "hash"),
        wire.time(body, "created"),
    )


def _read_records(lines: Sequence[bytes], faults: _Faults, salvage: _Salvage) -> tuple[Record, ...]:
    records: list[Record] = []
    for number, line in enumerate(lines, start=2):
        try:
            if len(line) > MAX_RECORD_BYTES:
                msg = f"{len(line)} bytes are above the {MAX_RECORD_BYTES} of one record"
                raise InputError(msg)  # noqa: TRY301 - one place turns refusals into faults
            records.append(decode_record(line))
        except InputError as error:
            faults.add(f"line {number}: {error}")
            salvage.search(line)
    return tuple(records)


def _check_against_header(
    count: int, revokes: Sequence[SerialNumber], records: Sequence[Record], faults: _Faults
) -> None:
    if count != len(records):
        faults.add(f"line 1: the header counts {count} records, {len(records)} follow")
    revoked = tuple(record.serial for record in records if isinstance(record, Revoked))
    if revoked != tuple(revokes):
        faults.add("line 1: the serials in revokes are not those that the records revoke")


def _object(line: bytes) -> dict[str, object]:
    try:
        return _mapping(orjson.loads(line))
    except orjson.JSONDecodeError as error:
        msg = f"not JSON ({error})"
        raise InputError(msg) from error


def _mapping(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        msg = "something else where a JSON object belongs"
        raise InputError(msg)
    return value


def _list(body: dict[str, object], key: str) -> list[object]:
    value = body[key]
    if not isinstance(value, list):
        raise wire.refused(value, key, "a list")
    return value


def _writer(body: dict[str, object]) -> str:
    writer = wire.text(body, "writer")
    check_writer(writer)
    return writer


def _serials(value: object) -> tuple[SerialNumber, ...]:
    """Every serial number in what should be a list of them."""
    found: list[SerialNumber] = []
    for text in value if isinstance(value, list) else ():
        try:
            found.append(SerialNumber.parse(text))
        except InputError:
            continue  # counted by who reads the header strictly
    return tuple(found)
