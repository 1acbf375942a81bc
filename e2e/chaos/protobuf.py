"""Protocol buffers without their descriptions: fields by number, as far as etcd's are needed.

Kubernetes stores its own kinds so; to read them by code that is generated from Kubernetes' files
would bring all of those files here, for six fields.
"""

from __future__ import annotations

from typing import Final, TypeAlias

__all__ = ["Fields", "encode", "fields", "text", "texts"]

Fields: TypeAlias = "dict[int, list[int | bytes]]"

_VARINT: Final = 0
_FIXED64: Final = 1
_BYTES: Final = 2
_FIXED32: Final = 5


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value, shift = 0, 0
    while True:
        octet = data[at]
        value |= (octet & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if octet < 0x80:  # noqa: PLR2004 - the bit that says there is more
            return value, at


def fields(data: bytes) -> Fields:
    """Take a message apart.

    Raises:
        ValueError: It is none.
    """
    found: Fields = {}
    at = 0
    try:
        while at < len(data):
            tag, at = _varint(data, at)
            number, kind = tag >> 3, tag & 7
            value: int | bytes
            if kind == _VARINT:
                value, at = _varint(data, at)
            elif kind == _BYTES:
                size, at = _varint(data, at)
                value, at = data[at : at + size], at + size
            elif kind in {_FIXED32, _FIXED64}:
                size = 4 if kind == _FIXED32 else 8
                value, at = data[at : at + size], at + size
            else:
                msg = f"a field of kind {kind}, which is in none of Kubernetes' messages"
                raise ValueError(msg)
            found.setdefault(number, []).append(value)
    except IndexError as error:
        msg = "a message that ends in the middle of a field"
        raise ValueError(msg) from error
    return found


def text(of: Fields, number: int) -> bytes:
    """The last value of a field of bytes, empty if there is none."""
    value = of.get(number, [b""])[-1]
    return value if isinstance(value, bytes) else b""


def texts(of: Fields, number: int) -> dict[str, bytes]:
    """A field that is a map of strings to bytes."""
    entries = (fields(each) for each in of.get(number, ()) if isinstance(each, bytes))
    return {text(each, 1).decode(): text(each, 2) for each in entries}


def _written(value: int) -> bytes:
    made = bytearray()
    while value > 0x7F:  # noqa: PLR2004 - seven bits in each octet
        made.append(value & 0x7F | 0x80)
        value >>= 7
    made.append(value)
    return bytes(made)


def encode(values: dict[int, int | bytes]) -> bytes:
    """Put a message together, of numbers that are not negative and of bytes."""
    made = bytearray()
    for number, value in values.items():
        if isinstance(value, int):
            made += _written(number << 3 | _VARINT) + _written(value)
        else:
            made += _written(number << 3 | _BYTES) + _written(len(value)) + value
    return bytes(made)
