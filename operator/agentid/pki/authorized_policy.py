"""What an agent may do, as a value and as the policy document; both canonical.

One policy has one value and one document: the lists are sorted and hold nothing twice, the windows
are merged. So the SHA-256 of the document stands for the policy.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from agentid.errors import InputError, UnknownVersionError
from agentid.identity.quoting import quoted

__all__ = [
    "MAX_DOCUMENT_BYTES",
    "MINUTES_OF_A_WEEK",
    "NOTHING",
    "VERSION",
    "AuthorizedPolicy",
    "AuthorizedSchedule",
    "check_text",
    "number",
    "read_document",
]

VERSION: Final = 1
"""Of the extension and of the document. Another one grants nothing."""

MAX_DOCUMENT_BYTES: Final = 64 * 1024
"""A policy document. 128 systems of 253 characters, 64 operations and 32 tags of 63, and 112
windows take 41 KiB."""

MINUTES_OF_A_WEEK: Final = 7 * 24 * 60
"""Minute 0 is Monday 00:00 on the clock of the zone."""

_WHAT: Final = "agent authorization"
_MAX_ENTRY: Final = 253
_MAX_ZONE: Final = 64
_MAX_SYSTEMS: Final = 128
_MAX_OPERATIONS: Final = 64
_MAX_COMPLIANCE: Final = 32
_MAX_WINDOWS: Final = 7 * 16  # a schedule of the resources has sixteen, each on seven days

# Visible ASCII: all that the resources allow, and nothing that looks like something else.
_VISIBLE: Final = re.compile(r"[!-~]+", re.ASCII)
_ENTRIES: Final = re.compile(r"[!-~]{1,253}(?: [!-~]{1,253})*", re.ASCII)


@dataclass(frozen=True, slots=True)
class AuthorizedSchedule:
    """Weekly windows on the clock of a time zone.

    Attributes:
        time_zone: A name of the IANA database; that there is such a zone is not checked.
        windows: Minutes of the week, from `start` to `end`, which does not count. Ascending, with
            at least a minute between two of them. One that goes on after Sunday is two.
    """

    time_zone: str
    windows: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        """Refuse what is not canonical.

        Raises:
            InputError: The zone is no name, or the windows are none, out of range or out of order.
        """
        check_text("time zone", self.time_zone, _MAX_ZONE)
        if not 1 <= len(self.windows) <= _MAX_WINDOWS:
            msg = f"{_WHAT}: {len(self.windows)} windows, from 1 to {_MAX_WINDOWS} are allowed"
            raise InputError(msg)
        for start, end in self.windows:
            if not 0 <= start < end <= MINUTES_OF_A_WEEK:
                msg = (
                    f"{_WHAT}: a window from {number(start)} to {number(end)}, which is not a "
                    f"span within the {MINUTES_OF_A_WEEK} minutes of a week"
                )
                raise InputError(msg)
        for (_, end), (start, _) in pairwise(self.windows):
            if start <= end:
                msg = f"{_WHAT}: the windows are not in order, or two of them meet; merge them"
                raise InputError(msg)

    def covers(self, minute: int) -> bool:
        """Whether a minute of the week, on the clock of the zone, lies in a window."""
        return any(start <= minute < end for start, end in self.windows)


@dataclass(frozen=True, slots=True)
class AuthorizedPolicy:
    """What the agent may do. An empty tuple grants nothing; only no schedule means always.

    Attributes:
        systems: Names and patterns such as `erp.*`, sorted, none twice.
        operations: Likewise.
        schedule: When it may; None for always.
        compliance: Tags of the regimes whose data it may touch, sorted, none twice.
    """

    systems: tuple[str, ...] = ()
    operations: tuple[str, ...] = ()
    schedule: AuthorizedSchedule | None = None
    compliance: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what is not canonical.

        Raises:
            InputError: An entry is empty, too long or not visible ASCII; a list is too long, not
                sorted, or holds an entry twice.
        """
        _check_entries("systems", self.systems, _MAX_SYSTEMS)
        _check_entries("operations", self.operations, _MAX_OPERATIONS)
        _check_entries("compliance", self.compliance, _MAX_COMPLIANCE)

    def document(self, *, agent_class: str, tier: str, sponsor: str | None) -> bytes:
        """The policy document: JSON in UTF-8, keys sorted, no white space (RFC 8785)."""
        import orjson  # noqa: PLC0415 - agents have none, and write no policy

        schedule = self.schedule
        return orjson.dumps(
            {
                "class": agent_class,
                "compliance": self.compliance,
                "operations": self.operations,
                "schedule": None
                if schedule is None
                else {"timeZone": schedule.time_zone, "windows": schedule.windows},
                "sponsor": sponsor,
                "systems": self.systems,
                "tier": tier,
                "version": VERSION,
            }
        )


def read_document(document: bytes) -> AuthorizedPolicy:
    """The policy that a document states.

    That it is written canonically, and whom it is about, is for the caller to compare.

    Args:
        document: Bytes from outside, at most `MAX_DOCUMENT_BYTES`.

    Raises:
        InputError: It is too long, or no policy document.
        UnknownVersionError: It is of another version.
    """
    import orjson  # noqa: PLC0415 - as above

    if len(document) > MAX_DOCUMENT_BYTES:
        msg = f"policy document: {len(document)} bytes, at most {MAX_DOCUMENT_BYTES} are read"
        raise InputError(msg)
    try:
        data: object = orjson.loads(document)
    except orjson.JSONDecodeError as error:
        msg = "policy document: it is not JSON in UTF-8"
        raise InputError(msg) from error
    match data:
        case {"version": int(version)} if version != VERSION:
            msg = (
                f"policy document: it is of version {number(version)}, and this program reads "
                f"version {VERSION}; it grants nothing here, use a newer release of agentid"
            )
            raise UnknownVersionError(msg)
        case {
            "systems": [*systems],
            "operations": [*operations],
            "schedule": schedule,
            "compliance": [*compliance],
        }:
            return AuthorizedPolicy(
                systems=_texts(systems),
                operations=_texts(operations),
                schedule=_schedule(schedule),
                compliance=_texts(compliance),
            )
        case _:
            msg = "policy document: systems, operations, schedule or compliance are not there"
            raise InputError(msg)


def check_text(name: str, text: str, most: int) -> None:
    """Ask for a text of visible ASCII characters.

    Raises:
        InputError: It is empty, longer than `most`, or has another character in it.
    """
    if len(text) > most or not _VISIBLE.fullmatch(text):
        msg = (
            f"{_WHAT}: the {name} {quoted(text)} is not 1 to {most} visible ASCII characters "
            "without a space"
        )
        raise InputError(msg)


def number(value: int) -> str:
    """The number, or how long it is: an INTEGER of 2 KiB does not belong into a message."""
    bits = value.bit_length()
    return str(value) if bits <= 64 else f"a number of {bits} bits"  # noqa: PLR2004


def _check_entries(name: str, entries: tuple[str, ...], most: int) -> None:
    if not entries:
        return
    if len(entries) > most:
        msg = f"{_WHAT}: {len(entries)} {name}, at most {most} are allowed"
        raise InputError(msg)
    together = " ".join(entries)
    if not _ENTRIES.fullmatch(together) or together.count(" ") != len(entries) - 1:
        for entry in entries:
            check_text(f"entry of {name}", entry, _MAX_ENTRY)
    if list(entries) != sorted(set(entries)):
        msg = f"{_WHAT}: the {name} are not sorted, or hold an entry twice"
        raise InputError(msg)


def _texts(values: list[object]) -> tuple[str, ...]:
    texts = tuple(value for value in values if isinstance(value, str))
    if len(texts) != len(values):
        msg = "policy document: a list holds something else than strings"
        raise InputError(msg)
    return texts


def _schedule(data: object) -> AuthorizedSchedule | None:
    match data:
        case None:
            return None
        case {"timeZone": str(zone), "windows": [*windows]}:
            return AuthorizedSchedule(zone, tuple(_window(window) for window in windows))
        case _:
            msg = "policy document: the schedule is not an object of timeZone and windows"
            raise InputError(msg)


def _window(data: object) -> tuple[int, int]:
    match data:
        case [int(start), int(end)]:
            return start, end
        case _:
            msg = "policy document: a window is not a pair of minutes"
            raise InputError(msg)


NOTHING: Final = AuthorizedPolicy()
"""The policy that grants nothing."""
