"""Serial numbers, RFC 5280 §4.1.2.2."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentid.errors import InputError
from agentid.identity import SerialNumber

HIGHEST = (1 << 159) - 1


@given(st.integers(1, HIGHEST))
def test_every_serial_round_trips_through_its_text(value: int) -> None:
    """Text is lower-case hexadecimal of even length and reads back, in either case."""
    serial = SerialNumber(value)
    text = str(serial)
    assert len(text) % 2 == 0
    assert text == text.lower()
    assert SerialNumber.parse(text) == SerialNumber.parse(text.upper()) == serial


@given(st.binary(min_size=16, max_size=16))
def test_random_octets_make_positive_serials_of_one_length(octets: bytes) -> None:
    """Whatever is drawn, the DER contents are exactly 16 octets: positive, never zero."""
    serial = SerialNumber.from_random(octets)
    assert serial.value.bit_length() == 127
    assert len(str(serial)) == 32


@given(st.binary(min_size=16, max_size=16), st.binary(min_size=16, max_size=16))
def test_126_bits_of_the_draw_are_kept(first: bytes, second: bytes) -> None:
    """Two draws that differ below the two top bits give two serials."""
    mask = (1 << 126) - 1
    same = int.from_bytes(first) & mask == int.from_bytes(second) & mask
    assert (SerialNumber.from_random(first) == SerialNumber.from_random(second)) == same


@pytest.mark.parametrize("length", [0, 8, 15, 17, 20])
def test_another_number_of_octets_is_refused(length: int) -> None:
    """A short source would give guessable serials, so it is refused."""
    with pytest.raises(InputError, match=f"{length} random octets given, 16 are needed"):
        SerialNumber.from_random(bytes(length))


@pytest.mark.parametrize("value", [0, -1, HIGHEST + 1])
def test_numbers_outside_the_range_are_refused(value: int) -> None:
    """Zero, negative numbers and those of more than 20 octets are no serial numbers."""
    with pytest.raises(InputError, match="positive numbers of at most 20 octets"):
        SerialNumber(value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("", "is not hexadecimal", id="empty"),
        pytest.param("abc", "is not hexadecimal of 2 to 40 digits", id="odd"),
        pytest.param("0x12", "without 0x and colons", id="0x"),
        pytest.param("12:34", "without 0x and colons", id="colons"),
        pytest.param(" 12", "is not hexadecimal", id="space"),
        pytest.param("1_2_", "is not hexadecimal", id="underscore"),
        pytest.param("-1ab", "is not hexadecimal", id="sign"),
        pytest.param("12\n", "is not hexadecimal", id="newline"),
        pytest.param("٣٤", r"\\u0663", id="arabic-digits"),
        pytest.param("00", "out of range", id="zero"),
        pytest.param("ff" * 20, "out of range", id="21-octets-in-der"),
        pytest.param("1" * 10_000_000, "is not hexadecimal", id="huge"),
    ],
)
def test_other_text_is_refused(text: str, message: str) -> None:
    """Only hexadecimal of the right length is read; `int` alone would take much more."""
    with pytest.raises(InputError, match=message):
        SerialNumber.parse(text)


@given(st.text())
def test_any_text_is_parsed_or_refused_with_input_error(text: str) -> None:
    """Nothing but InputError leaves the parser."""
    try:
        SerialNumber.parse(text)
    except InputError:
        return


def test_serials_sort_as_numbers() -> None:
    """Order is that of the integers."""
    assert SerialNumber.parse("0100") > SerialNumber.parse("ff")
