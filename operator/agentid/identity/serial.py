"""The serial number of a certificate, RFC 5280 §4.1.2.2."""

from __future__ import annotations

import re
from dataclasses import dataclass

from agentid.errors import InputError
from agentid.identity.quoting import quoted

__all__ = ["SerialNumber"]

_MAX_OCTETS = 20
_RANDOM_OCTETS = 16
_HEX = re.compile(r"(?:[0-9a-fA-F]{2})+", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class SerialNumber:
    """A positive integer whose DER contents are at most 20 octets.

    An int inside; in text lower-case hexadecimal of even length, without `0x` and colons.
    """

    value: int

    def __post_init__(self) -> None:
        """Refuse zero, negative and too long numbers.

        Raises:
            InputError: The number is not from 1 to 2^159 - 1.
        """
        # DER integers are signed: of the 160 bits of 20 octets the first is the sign.
        if not 0 < self.value < 1 << (8 * _MAX_OCTETS - 1):
            msg = (
                f"serial number: {quoted(format(self.value, 'x'))} is out of range; RFC 5280 "
                "allows positive numbers of at most 20 octets"
            )
            raise InputError(msg)

    @classmethod
    def from_random(cls, octets: bytes) -> SerialNumber:
        """A serial number of 16 octets from 16 random octets.

        The top bit is cleared, which keeps the number positive; the next is set, which keeps it
        from being zero and gives every serial the same length. 126 bits stay random.

        Raises:
            InputError: There are not exactly 16 octets.
        """
        if len(octets) != _RANDOM_OCTETS:
            msg = f"serial number: {len(octets)} random octets given, {_RANDOM_OCTETS} are needed"
            raise InputError(msg)
        return cls(int.from_bytes(octets) & ((1 << 127) - 1) | 1 << 126)

    @classmethod
    def parse(cls, text: object) -> SerialNumber:
        """Read hexadecimal of even length, in either case, without `0x` and colons.

        Raises:
            InputError: The text is something else, is zero, or has more than 20 octets.
        """
        if not isinstance(text, str) or len(text) > 2 * _MAX_OCTETS or not _HEX.fullmatch(text):
            msg = (
                f"serial number: {quoted(text)} is not hexadecimal of 2 to 40 digits; "
                "write an even number of digits without 0x and colons"
            )
            raise InputError(msg)
        return cls(int(text, 16))

    def __str__(self) -> str:
        """Lower-case hexadecimal of even length."""
        text = format(self.value, "x")
        return text if len(text) % 2 == 0 else f"0{text}"
