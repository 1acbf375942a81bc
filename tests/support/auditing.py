"""Audit events as a consumer reads them: each line held against the published schema."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from jsonschema import (  # type: ignore[import-untyped]  # it ships none
    Draft202012Validator,
    FormatChecker,
)

__all__ = ["SCHEMA_FILE", "Lines", "read_events"]

Json = dict[str, Any]

SCHEMA_FILE: Final = Path(__file__).parents[2] / "docs/reference/audit-v1.schema.json"


def read_events(data: bytes) -> list[Json]:
    """All events, in order; one that the schema refuses fails the test, with what is wrong."""
    validator = Draft202012Validator(json.loads(SCHEMA_FILE.read_text()), format_checker=_FORMATS)
    events: list[Json] = [json.loads(line) for line in data.splitlines()]
    for event in events:
        faults = [fault.message for fault in validator.iter_errors(event)]
        assert not faults, (event, faults)
    numbers = [int(event["id"].rpartition("-")[2]) for event in events]
    assert len({event["id"] for event in events}) == len(numbers), "no id twice"
    return events


_FORMATS: Final = FormatChecker(())


@_FORMATS.checks("date-time", raises=ValueError)  # type: ignore[untyped-decorator]  # as above
def _is_time(text: object) -> bool:
    """RFC 3339 in UTC, as every time of an event is."""
    return isinstance(text, str) and text.endswith("Z") and bool(datetime.fromisoformat(text))


class Lines:
    """Takes lines as an audit stream does.

    Attributes:
        full: Whether there is no room.
        half_full: Whether there is room for decisions alone that agents do not bring about at will.
    """

    def __init__(self) -> None:
        self.full = False
        self.half_full = False
        self._lines: list[bytes] = []

    def write(self, line: bytes, last_room: bool = True) -> bool:  # noqa: FBT001, FBT002 - as the stream
        """Take a line, unless there is no room."""
        taken = not self.full and (last_room or not self.half_full)
        if taken:
            self._lines.append(line)
        return taken

    @property
    def events(self) -> list[Json]:
        """What was taken, each held against the schema."""
        return read_events(b"".join(self._lines))

    def told(self) -> list[tuple[str, str]]:
        """Decision and reason of each."""
        return [(event["decision"], event["reason"]) for event in self.events]
