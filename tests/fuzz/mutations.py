"""Inputs that are nearly valid: valid ones, with a few things changed.

Bytes that are changed at random hardly get beyond the first length of a DER structure, or the first
quotation mark of a JSON text. So what is changed here is mostly a part: an element of the tree is
left out, doubled, moved or exchanged, and the lengths around it are put right again.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Draw = Callable[[st.SearchStrategy[Any]], Any]
    Change = Callable[[Draw, bytes], bytes]

__all__ = ["changed_der", "changed_json", "changed_lines", "changed_pem", "changed_raw", "mutated"]

_MOST_CHANGES = 3


def mutated(
    samples: Sequence[bytes], change: Change, fix: Callable[[bytes], bytes]
) -> st.SearchStrategy[bytes]:
    """Valid inputs with one to three changes, some of them in single bytes, and anything at all.

    Args:
        samples: Valid inputs.
        change: Makes one change, such as `changed_der`.
        fix: Puts right what would otherwise end the reading early, such as a digest; applied to
            some of them.
    """

    @st.composite
    def strategy(draw: Draw) -> bytes:
        data: bytes = draw(st.sampled_from(samples))
        for _ in range(draw(st.integers(1, _MOST_CHANGES))):
            data = (change if draw(st.integers(0, 3)) else changed_raw)(draw, data)
        return fix(data) if draw(st.booleans()) else data

    return st.one_of(strategy(), strategy(), strategy(), st.binary(max_size=200))


def changed_raw(draw: Draw, data: bytes) -> bytes:
    """Change bytes: exchange, leave out, put in, double, or cut off."""
    at = draw(st.integers(0, len(data)))
    end = min(len(data), at + draw(st.integers(1, 8)))
    match draw(st.integers(0, 4)):
        case 0:
            return data[:at] + bytes(draw(st.binary(min_size=1, max_size=4))) + data[at + 1 :]
        case 1:
            return data[:at] + data[end:]
        case 2:
            return data[:at] + bytes(draw(st.binary(min_size=1, max_size=8))) + data[at:]
        case 3:
            return data[:end] + data[at:]
        case _:
            return data[:at]


# DER


@dataclass(frozen=True)
class _Element:
    tag: int
    content: bytes
    prefix: bytes  # the count of unused bits, where a BIT STRING holds elements
    inside: tuple[_Element, ...] | None

    def encoded(self) -> bytes:
        inside = self.content if self.inside is None else b"".join(e.encoded() for e in self.inside)
        content = self.prefix + inside
        return bytes([self.tag]) + _length(len(content)) + content


_OCTET_STRING, _BIT_STRING, _CONSTRUCTED, _LONG_TAG = 0x04, 0x03, 0x20, 0x1F
_ODD = (
    b"\x05\x00",  # NULL
    b"\x02\x01\xff",  # INTEGER -1
    b"\x02\x00",  # INTEGER without contents
    b"\x02\x15" + b"\x7f" * 21,  # INTEGER of 21 octets
    b"\x01\x01\x01",  # BOOLEAN that is not DER
    b"\x03\x01\x09",  # BIT STRING with nine unused bits
    b"\x06\x01\x80",  # OBJECT IDENTIFIER that does not end
    b"\x0c\x02\xc3\x28",  # UTF8String that is not
    b"\x16\x01\xff",  # IA5String that is not
    b"\x17\x0d991332256060Z",  # UTCTime of the 13th month
    b"\x18\x0f00000000000000Z",  # GeneralizedTime of the year 0
    b"\x30\x00",
    b"\x31\x00",
    b"\x30\x80\x00\x00",  # indefinite length, not DER
    b"0\x10" * 40 + b"\x30\x00",
)


def changed_der(draw: Draw, data: bytes) -> bytes:
    """Change one element of a tree of DER."""
    elements = _elements(data)
    if not elements:
        return changed_raw(draw, data)
    paths = list(_paths(elements))
    path = draw(st.sampled_from(paths))
    action = draw(st.integers(0, 6))
    odd = draw(st.sampled_from(_ODD))

    def change(siblings: tuple[_Element, ...], at: int) -> tuple[_Element, ...]:
        one = siblings[at]
        made: tuple[_Element, ...]
        match action:
            case 0:
                made = ()
            case 1:
                made = (one, one)
            case 2:
                tag = draw(st.sampled_from([one.tag ^ 1, one.tag ^ 0x20, one.tag ^ 0x80, 0x0C]))
                made = (replace(one, tag=tag),)
            case 3:
                return tuple(reversed(siblings))
            case 4:
                made = (_Element(odd[0], odd[2:], b"", None),)
            case 5:
                made = (replace(one, inside=None, content=b""),)
            case _:
                content = changed_raw(draw, one.content)
                made = (replace(one, inside=None, content=content),)
        return (*siblings[:at], *made, *siblings[at + 1 :])

    return b"".join(element.encoded() for element in _rebuilt(elements, path, change))


def _rebuilt(
    elements: tuple[_Element, ...],
    path: tuple[int, ...],
    change: Callable[[tuple[_Element, ...], int], tuple[_Element, ...]],
) -> tuple[_Element, ...]:
    at, *rest = path
    if not rest:
        return change(elements, at)
    inside = _rebuilt(elements[at].inside or (), tuple(rest), change)
    return (*elements[:at], replace(elements[at], inside=inside), *elements[at + 1 :])


def _paths(elements: tuple[_Element, ...]) -> Iterator[tuple[int, ...]]:
    for at, element in enumerate(elements):
        yield (at,)
        for rest in _paths(element.inside or ()):
            yield (at, *rest)


def _elements(data: bytes) -> tuple[_Element, ...] | None:
    """The elements that the data is made of, nothing left over; None if it is something else."""
    found: list[_Element] = []
    at = 0
    while at < len(data):
        header = _header(data, at)
        if header is None:
            return None
        start, end = header
        tag, content = data[at], data[start:end]
        prefix = content[:1] if tag == _BIT_STRING and content[:1] == b"\x00" else b""
        rest = content[len(prefix) :]
        holds = bool(tag & _CONSTRUCTED) or tag == _OCTET_STRING or bool(prefix)
        inside = _elements(rest) if holds else None
        found.append(_Element(tag, rest, prefix, inside))
        at = end
    return tuple(found)


def _header(data: bytes, at: int) -> tuple[int, int] | None:
    if at + 2 > len(data) or data[at] & _LONG_TAG == _LONG_TAG:
        return None
    first, start = data[at + 1], at + 2
    size = first
    if first & 0x80:
        start += first & 0x7F
        size = int.from_bytes(data[at + 2 : start])
    end = start + size
    return (start, end) if start <= end <= len(data) and first != 0x80 else None


def _length(size: int) -> bytes:
    if size < 0x80:
        return bytes([size])
    octets = size.to_bytes((size.bit_length() + 7) // 8)
    return bytes([0x80 | len(octets)]) + octets


# Text around it


_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----\n(.*?)-----END \1-----\n", re.DOTALL)


def changed_pem(draw: Draw, data: bytes) -> bytes:
    """Change what is in one block, or the order of the blocks."""
    try:
        blocks = [(label, base64.b64decode(text)) for label, text in _BLOCK.findall(data)]
    except binascii.Error:
        return changed_raw(draw, data)
    if not blocks or draw(st.integers(0, 5)) == 0:
        return changed_raw(draw, data)
    at = draw(st.integers(0, len(blocks) - 1))
    label, der = blocks[at]
    match draw(st.integers(0, 5)):
        case 0:
            del blocks[at]
        case 1:
            blocks.insert(at, blocks[at])
        case 2:
            blocks.reverse()
        case _:
            blocks[at] = label, changed_der(draw, der)
    return b"".join(
        b"-----BEGIN %b-----\n%b-----END %b-----\n" % (label, base64.encodebytes(der), label)
        for label, der in blocks
    )


_VALUES: tuple[object, ...] = (
    None, True, -1, 0, 1 << 70, 1.5, "", "\x00", "x" * 400, "\N{SNOWMAN}", "9" * 30, [], {}, [[]],
    {"": None}, [None] * 3, ["x"], "2026-13-01T00:00:00Z", "2026-11-01T12:00:00Z",
)  # fmt: skip


def changed_json(draw: Draw, data: bytes) -> bytes:
    """Change one value of a JSON text: another one, none, or one more."""
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        return changed_raw(draw, data)
    places = list(_places(body))
    if not places:
        return json.dumps(draw(st.sampled_from(_VALUES)), separators=(",", ":")).encode()
    holder, key = draw(st.sampled_from(places))
    value = draw(st.sampled_from(_VALUES))
    match draw(st.integers(0, 3)), holder:
        case 0, _:
            del holder[key]
        case 1, dict():
            holder[f"{key}x"] = value
        case 2, list():
            holder.append(value)
        case _:
            holder[key] = value
    return json.dumps(body, separators=(",", ":"), sort_keys=True).encode()


def _places(body: Any) -> Iterator[tuple[Any, Any]]:  # noqa: ANN401 - JSON as it comes
    if isinstance(body, dict):
        pairs: list[tuple[Any, Any]] = list(body.items())
    elif isinstance(body, list):
        pairs = list(enumerate(body))
    else:
        return
    for key, value in pairs:
        yield body, key
        yield from _places(value)


def changed_lines(draw: Draw, data: bytes) -> bytes:
    """Change one line, which is JSON, or the order of the lines."""
    lines = data.split(b"\n")
    at = draw(st.integers(0, len(lines) - 1))
    match draw(st.integers(0, 5)):
        case 0:
            del lines[at]
        case 1:
            lines.insert(at, lines[at])
        case _:
            lines[at] = changed_json(draw, lines[at])
    return b"\n".join(lines)
