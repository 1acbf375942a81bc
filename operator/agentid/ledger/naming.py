"""Names of writers and of the objects that hold segments."""

from __future__ import annotations

import re
from typing import Final

from agentid.errors import InputError
from agentid.identity.quoting import quoted

__all__ = ["check_writer", "new_writer", "parse_segment_name", "segment_name", "successor"]

_PREFIX: Final = "agentid-ledger-"

# A label value has at most 63 characters, and a successor's suffix has to fit in as well.
_MAX_WRITER: Final = 63
_MAX_FRESH: Final = 56
_RANDOM_OCTETS: Final = 5
_WRITER: Final = re.compile(r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[1-9][0-9]{0,5})?", re.ASCII)

# Wide enough for a commit every 50 ms over 158 years to keep its width, so that a list sorted by
# name is sorted by sequence.
_DIGITS: Final = 11
_NAME: Final = re.compile(rf"{_PREFIX}(?P<writer>.+)-(?P<sequence>[0-9]{{{_DIGITS}}})", re.ASCII)


def new_writer(process: str, octets: bytes) -> str:
    """A writer for one run of a process, such as `agentid-7d9f-abcde-0f1e2d3c4b`.

    Args:
        process: The name of the pod, or of the host; cut and spelled so that it fits.
        octets: Five random ones: no two runs may share a writer.

    Raises:
        InputError: There are not exactly five octets.
    """
    if len(octets) != _RANDOM_OCTETS:
        msg = f"ledger writer: {len(octets)} random octets given, {_RANDOM_OCTETS} are needed"
        raise InputError(msg)
    room = _MAX_FRESH - 2 * _RANDOM_OCTETS - 1
    safe = re.sub(r"[^a-z0-9]+", "-", process.lower(), flags=re.ASCII)[-room:].strip("-")
    return f"{safe}-{octets.hex()}" if safe else octets.hex()


def successor(writer: str) -> str:
    """The next writer of the same process: `w`, `w.2`, `w.3`."""
    root, _, number = writer.partition(".")
    return f"{root}.{int(number or 1) + 1}"


def check_writer(writer: str) -> None:
    """Refuse a writer that could not be part of a name and the value of a label.

    Raises:
        InputError: It is too long or has other characters.
    """
    if len(writer) > _MAX_WRITER or not _WRITER.fullmatch(writer):
        msg = (
            f"ledger writer {quoted(writer)} is not 1 to {_MAX_WRITER} of a-z, 0-9 and - with an "
            "optional number behind a dot; make it with new_writer()"
        )
        raise InputError(msg)


def segment_name(writer: str, sequence: int) -> str:
    """The name of the object that holds a segment; it sorts by sequence within a writer."""
    return f"{_PREFIX}{writer}-{sequence:0{_DIGITS}d}"


def parse_segment_name(name: str) -> tuple[str, int]:
    """Writer and sequence of an object.

    Raises:
        InputError: No segment has such a name.
    """
    found = _NAME.fullmatch(name)
    if found is None or not _WRITER.fullmatch(found["writer"]) or int(found["sequence"]) < 1:
        msg = f"{quoted(name)} is not the name of a ledger segment, {_PREFIX}<writer>-<sequence>"
        raise InputError(msg)
    return found["writer"], int(found["sequence"])
