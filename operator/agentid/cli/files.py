"""Files that a person names on the command line."""

from __future__ import annotations

import sys
from pathlib import Path

from agentid.errors import InputError

__all__ = ["read_input"]


def read_input(file: str, *, limit: int) -> bytes:
    """The contents of a file, or of standard input for `-`.

    One octet more than the limit is read at most, so that who parses it sees that it is too long.

    Raises:
        InputError: It cannot be read.
    """
    try:
        if file == "-":
            return sys.stdin.buffer.read(limit + 1)
        with Path(file).open("rb") as stream:
            return stream.read(limit + 1)
    except OSError as error:
        message = f"{file}: cannot be read ({error.strerror}); give the path of a file, or -"
        raise InputError(message) from error
