"""What a later release might have stored: forged, with versions that this one does not know."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

import orjson

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["LATER_RELEASE", "of_later_format", "with_unknown_key"]

LATER_RELEASE = "9.1.0"


def of_later_format(
    data: bytes, change: Callable[[dict[str, object]], object] = lambda _: None
) -> bytes:
    """A segment of the ledger as a later release might have written it, with a seal that holds.

    Args:
        data: The segment.
        change: What else is different in each record.
    """
    lines = data.split(b"\n")[:-2]
    header = orjson.loads(lines[0]) | {"format": 7, "readBy": LATER_RELEASE, "signature": "00"}
    records = [orjson.loads(line) for line in lines[1:]]
    for record in records:
        change(record)
    body = b"\n".join([*map(orjson.dumps, (header, *records)), b""])
    return body + b'{"sha256":"%b"}\n' % sha256(body).hexdigest().encode()


def with_unknown_key(record: dict[str, object]) -> None:
    """Add to a record what this release does not know."""
    record["tpm"] = "0a1b"
