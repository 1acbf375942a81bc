"""Makes a screenshot a smaller PNG: with a palette, as a drawing has few colours."""

from __future__ import annotations

import struct
import zlib
from collections import Counter
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["with_palette"]

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_RGB: Final = 3
"""Octets of a pixel as Chromium writes it: eight bits a channel, no alpha."""

_COLOURS: Final = 256
_EXACT: Final = 64
"""Of these, those that are in the picture as they are: areas, lines, text."""

_COARSE: Final = 32
"""Distance of two shades in one channel, of which a smooth edge needs no more."""


def with_palette(png: bytes) -> bytes:
    """The same picture in 256 colours at most; rarer ones become the nearest that is kept.

    Args:
        png: In RGB of eight bits, not interlaced.

    Raises:
        ValueError: It is another kind of PNG.
    """
    parts = list(_chunks(png))
    width, height, *form = struct.unpack(">IIBBBBB", parts[0][1])
    if form != [8, 2, 0, 0, 0]:
        msg = f"a PNG of depth, colour type, and so on {form}; only RGB of eight bits is read"
        raise ValueError(msg)
    rows = _rows(zlib.decompress(b"".join(data for kind, data in parts if kind == b"IDAT")), width)
    pixels = [[row[at : at + _RGB] for at in range(0, len(row), _RGB)] for row in rows]
    counted = Counter(pixel for row in pixels for pixel in row)
    palette = _palette(counted)
    index = {pixel: number for number, pixel in enumerate(palette)}
    for pixel in counted.keys() - index.keys():
        index[pixel] = min(range(len(palette)), key=lambda at: _distance(palette[at], pixel))
    body = b"".join(b"\0" + bytes(index[pixel] for pixel in row) for row in pixels)
    return _SIGNATURE + b"".join(
        (
            _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
            _chunk(b"PLTE", b"".join(palette)),
            _chunk(b"IDAT", zlib.compress(body, 9)),
            _chunk(b"IEND", b""),
        )
    )


def _palette(counted: Counter[bytes]) -> list[bytes]:
    """The most frequent colours as they are, and of the shades between them the most frequent."""
    if len(counted) <= _COLOURS:
        return list(counted)
    exact = [pixel for pixel, _ in counted.most_common(_EXACT)]
    shades: Counter[bytes] = Counter()
    for pixel in counted.keys() - set(exact):
        shades[bytes(each // _COARSE * _COARSE + _COARSE // 2 for each in pixel)] += counted[pixel]
    return exact + [shade for shade, _ in shades.most_common(_COLOURS - _EXACT)]


def _chunks(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = len(_SIGNATURE)
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        yield png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        at += 12 + length


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _rows(raw: bytes, width: int) -> Iterator[bytes]:
    """The rows of pixels, their filters undone (PNG §9.2)."""
    length = width * _RGB
    above = bytes(length)
    for at in range(0, len(raw), length + 1):
        above = _unfiltered(raw[at], bytearray(raw[at + 1 : at + 1 + length]), above)
        yield above


def _unfiltered(how: int, row: bytearray, above: bytes) -> bytes:
    for at in range(len(row) if how else 0):
        left = row[at - _RGB] if at >= _RGB else 0
        match how:
            case 1:
                add = left
            case 2:
                add = above[at]
            case 3:
                add = (left + above[at]) >> 1
            case _:
                add = _paeth(left, above[at], above[at - _RGB] if at >= _RGB else 0)
        row[at] = (row[at] + add) & 0xFF
    return bytes(row)


def _paeth(left: int, above: int, corner: int) -> int:
    guess = left + above - corner
    return min((left, above, corner), key=lambda each: abs(guess - each))


def _distance(one: bytes, other: bytes) -> int:
    return sum((a - b) ** 2 for a, b in zip(one, other, strict=True))
