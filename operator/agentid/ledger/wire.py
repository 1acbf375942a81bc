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
    "SHA256",
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
    if type(value) is not int or value < least:
        shown = str(value) if type(value) is int else value
        raise refused(shown, key, f"a whole number from {least} up")
    return value


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
