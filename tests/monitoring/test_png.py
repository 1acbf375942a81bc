"""A PNG with a palette shows what the one that it is made of shows."""

from __future__ import annotations

import random
import struct
import zlib

import pytest

from monitoring.png import with_palette

Pixel = tuple[int, int, int]

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk as PNG §5.3 wants it."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def encoded(rows: list[list[Pixel]], how: int, colour_type: int = 2) -> bytes:
    """A PNG of RGB whose rows have all the same filter."""
    plain = [bytes(value for pixel in row for value in pixel) for row in rows]
    body = bytearray()
    above = bytes(len(plain[0]))
    for row in plain:
        body.append(how)
        for at, value in enumerate(row):
            left, corner = (row[at - 3], above[at - 3]) if at >= 3 else (0, 0)
            up = above[at]
            guess = left + up - corner
            away = abs(guess - left), abs(guess - up), abs(guess - corner)
            nearest = (left, up, corner)[away.index(min(away))]
            body.append((value - (0, left, up, (left + up) // 2, nearest)[how]) % 256)
        above = row
    head = struct.pack(">IIBBBBB", len(rows[0]), len(rows), 8, colour_type, 0, 0, 0)
    data = zlib.compress(bytes(body))
    halves = chunk(b"IDAT", data[:9]) + chunk(b"IDAT", data[9:])
    return SIGNATURE + chunk(b"IHDR", head) + halves + chunk(b"IEND", b"")


def decoded(png: bytes) -> list[list[Pixel]]:
    """The pixels of a PNG with a palette and without filters."""
    assert png.startswith(SIGNATURE)
    found: dict[bytes, bytes] = {}
    at = len(SIGNATURE)
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        kind, data = png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        assert png[at : at + 12 + length] == chunk(kind, data)
        found[kind] = data
        at += 12 + length
    width, height, *form = struct.unpack(">IIBBBBB", found[b"IHDR"])
    assert form == [8, 3, 0, 0, 0]
    colours = list(struct.iter_unpack("BBB", found[b"PLTE"]))
    assert len(colours) <= 256
    body = zlib.decompress(found[b"IDAT"])
    rows = [body[start : start + width + 1] for start in range(0, len(body), width + 1)]
    assert len(rows) == height
    assert {row[0] for row in rows} == {0}
    return [[colours[index] for index in row[1:]] for row in rows]


@pytest.mark.parametrize("how", range(5), ids=["none", "sub", "up", "average", "paeth"])
def test_few_colours_stay_as_they_are(how: int) -> None:
    """However the rows are filtered."""
    drawn = random.Random(how)
    colours: list[Pixel] = [(0, 0, 0), (255, 255, 255), (1, 200, 90), (254, 3, 128)]
    rows = [drawn.choices(colours, k=17) for _ in range(11)]
    assert decoded(with_palette(encoded(rows, how))) == rows


def test_a_rare_colour_becomes_a_near_one() -> None:
    """What there is most of stays as it is."""
    common: list[Pixel] = [(index, 255 - index, 7) for index in range(0, 256, 4)]
    rare: list[Pixel] = [(index, 90, 200) for index in range(256)]
    rows = [[*common, *common, *rare]]
    shown = decoded(with_palette(encoded(rows, 0)))
    assert shown[0][:128] == rows[0][:128]
    assert shown != rows
    for before, after in zip(rows[0], shown[0], strict=True):
        assert max(abs(a - b) for a, b in zip(before, after, strict=True)) <= 16


def test_another_kind_of_png_is_refused() -> None:
    """With alpha, for example, which pixels of three octets would misread."""
    with pytest.raises(ValueError, match="only RGB of eight bits is read"):
        with_palette(encoded([[(1, 2, 3)]], 0, colour_type=6))
