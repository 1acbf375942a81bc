"""The values of the chart as a table, out of the comments in its values.yaml."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import reduce
from operator import getitem
from typing import TYPE_CHECKING, Final

import yaml

from e2e.errors import E2EError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Value", "documented_values", "table"]

_KEY: Final = re.compile(r"( *)([A-Za-z]+):( .*)?")
_INDENT: Final = 2


@dataclass(frozen=True, slots=True)
class Value:
    """A value of the chart.

    Attributes:
        path: Such as `image.tag`.
        default: As YAML on one line.
        text: What the comment above it says.
    """

    path: str
    default: str
    text: str


def documented_values(text: str) -> list[Value]:
    """Read every value that can be set, in the order of the file.

    Args:
        text: A values.yaml with the comment of a value right above it, indented by two spaces.

    Raises:
        E2EError: A value has no comment.
    """
    defaults = yaml.safe_load(text)
    keys = list(_commented_keys(text))
    values: dict[tuple[str, ...], Value] = {}
    for path, comment in keys:
        below = [
            said for other, said in keys if len(other) > len(path) and other[: len(path)] == path
        ]
        if any(below) or any(path[:depth] in values for depth in range(1, len(path))):
            continue  # a heading, or a part of a value that is told of as a whole
        if not comment:
            msg = f"values.yaml: {'.'.join(path)} has no comment; write above it what it is for"
            raise E2EError(msg)
        default = reduce(getitem, path, defaults)
        values[path] = Value(".".join(path), json.dumps(default), comment)
    return list(values.values())


def _commented_keys(text: str) -> Iterator[tuple[tuple[str, ...], str]]:
    """The path of each key on a line of its own, with the comment above it."""
    path: list[str] = []
    comment: list[str] = []
    for line in text.splitlines():
        stripped = line.strip()
        if stripped.startswith("#"):
            comment.append(stripped.removeprefix("#").strip())
            continue
        if (key := _KEY.fullmatch(line)) is not None:
            path[len(key[1]) // _INDENT :] = [key[2]]
            yield tuple(path), " ".join(comment)
        comment = []


def table(values: list[Value]) -> str:
    """The same as a table in Markdown."""
    rows = (f"| `{each.path}` | `{each.default}` | {each.text} |\n" for each in values)
    return "| value | default | is |\n|---|---|---|\n" + "".join(rows)
