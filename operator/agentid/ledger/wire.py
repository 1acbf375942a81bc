"""How values stand in the ledger's JSON, both ways; each reader names the key that it refuses."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from agentid.errors import InputError
from agentid.identity import SerialNumber
from agentid.identity.quoting import quoted

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "AN_AUTHORITY",
    "AUTHORITY",
    "MAX_INTEGER",
    "SHA256",
    "check_integer",
    "check_keys",
    "check_time",
    "digest",
    "integer",
    "refused",
    "serial",
    "text",
    "time",
    "time_text",
]

SHA256: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
AUTHORITY: Final = re.compile(r"[0-9a-f]{16}", re.ASCII)
AN_AUTHORITY: Final = "16 lower-case hexadecimal digits"
MAX_INTEGER: Final = (1 << 53) - 1
"""What every reader of JSON reads back as it was written (RFC 8259 §6)."""
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{6})?Z", re.ASCII)


def refused(found: object, key: str, allowed: str) -> InputError:
    """The error for a value that does not belong under a key."""
    return InputError(f"{key} {quoted(found)} is not {allowed}")


def check_keys(body: Mapping[str, object], wanted: frozenset[str]) -> None:
    """Ask for exactly these keys.

    Raises:
        InputError: One is missing or unknown; it is named.
    """
    if body.keys() != wanted:
        odd = min(body.keys() ^ wanted)
        msg = f"key {quoted(odd)} is {'missing' if odd in wanted else 'unknown'}"
        raise InputError(msg)


def text(body: Mapping[str, object], key: str) -> str:
    """Read a text."""
    value = body[key]
    if not isinstance(value, str):
        raise refused(value, key, "a text")
    return value


def integer(body: Mapping[str, object], key: str, *, least: int) -> int:
    """Read a whole number."""
    value = body[key]
    if type(value) is not int:
        raise refused(value, key, _whole(least))
    check_integer(key, value, least=least)
    return value


def check_integer(key: str, value: int, *, least: int = 0) -> None:
    """Ask for a whole number that is read back as it was written.

    Raises:
        InputError: It is below the least, or above `MAX_INTEGER`.
    """
    if not least <= value <= MAX_INTEGER:
        raise refused(str(value), key, _whole(least))


def _whole(least: int) -> str:
    return f"a whole number from {least} up"


def serial(body: Mapping[str, object], key: str) -> SerialNumber:
    """Read a serial number."""
    try:
        return SerialNumber.parse(text(body, key))
    except InputError as error:
        msg = f"{key}: {error}"
        raise InputError(msg) from error


def digest(body: Mapping[str, object], key: str) -> str:
    """Read a SHA-256 digest."""
    value = body[key]
    if not isinstance(value, str) or not SHA256.fullmatch(value):
        raise refused(value, key, "64 lower-case hexadecimal digits")
    return value


def time(body: Mapping[str, object], key: str) -> datetime:
    """Read a time as `time_text` writes it."""
    value = body[key]
    if isinstance(value, str) and _TIME.fullmatch(value):
        try:
            return datetime.fromisoformat(value)
        except ValueError:
            pass
    raise refused(value, key, "a time such as 2026-11-01T12:00:00Z")


def time_text(moment: datetime) -> str:
    """Write a time in UTC by RFC 3339, with no fraction or with six digits of it."""
    return moment.isoformat().replace("+00:00", "Z")


def check_time(key: str, moment: datetime, *, whole: bool = False) -> None:
    """Ask for a time that is read back as it was written.

    Raises:
        InputError: Its zone is not UTC, or it is not in whole seconds where it has to be.
    """
    if moment.tzinfo is not UTC:
        raise refused(moment.isoformat(), key, "a time whose zone is UTC")
    if whole and moment.microsecond:
        raise refused(moment.isoformat(), key, "a time in whole seconds")
