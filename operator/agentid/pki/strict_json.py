"""JSON from outside, read strictly: no member twice, no NaN, no number that overflows."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, TypeAlias

from agentid.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Json", "canonical", "read_json"]

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"
"""What JSON can say; integers are exact, whatever their size."""


def read_json(document: bytes, *, what: str, remedy: str) -> Json:
    """Read UTF-8 text that is JSON (RFC 8259); the caller has bounded its length.

    Args:
        document: Bytes from outside.
        what: How the message names them.
        remedy: What to do if they are no JSON.

    Raises:
        InputError: It is no JSON, repeats a member of an object, nests too deep, or holds a number
            that cannot be held.
    """
    # RecursionError: brackets nested thousands deep.
    try:
        parsed: Json = json.loads(
            document.decode("utf-8"),
            object_pairs_hook=_object,
            parse_constant=_no_constant,
            parse_float=_finite,
        )
    except (ValueError, RecursionError) as error:
        msg = f"{what}: it does not parse as JSON; {remedy}"
        raise InputError(msg) from error
    return parsed


def canonical(value: Json) -> str:
    """ASCII text without white space; the same for the same value in the same order."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=True)


def _object(pairs: Sequence[tuple[str, Json]]) -> dict[str, Json]:
    """Of a member that stands twice, readers take one or the other (RFC 8259 §4)."""
    members = dict(pairs)
    if len(members) != len(pairs):
        msg = "a member stands twice"
        raise ValueError(msg)
    return members


def _no_constant(text: str) -> Json:
    msg = f"{text} is not JSON"
    raise ValueError(msg)


def _finite(text: str) -> float:
    """What overflows would be written as `Infinity`, which is not JSON."""
    number = float(text)
    if not math.isfinite(number):
        msg = f"{text} is out of range"
        raise ValueError(msg)
    return number
