"""DER written by hand, where a certificate is put together from parts that are encoded already."""

from __future__ import annotations

from typing import Final

__all__ = ["SEQUENCE", "SET", "tlv"]

SEQUENCE: Final = 0x30
SET: Final = 0x31

_LONG: Final = 0x80


def tlv(tag: int, contents: bytes) -> bytes:
    """One value: tag, definite length in the fewest octets, contents (X.690 §8.1.3, §10.1).

    Args:
        tag: The identifier octet; of a tag number below 31.
        contents: Their encoding, as the type has it.
    """
    size = len(contents)
    if size < _LONG:
        return bytes((tag, size)) + contents
    octets = (size.bit_length() + 7) // 8
    return bytes((tag, _LONG | octets)) + size.to_bytes(octets) + contents
