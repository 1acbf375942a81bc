"""How answers are printed: columns, sections, JSON and YAML, with colours where a person looks."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

import typer
import yaml

from agentid.constants import GROUP

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import timedelta

    from agentid.kube.objects import JsonObject
    from agentid.kube.resources import Resource

__all__ = [
    "NOTHING",
    "Cell",
    "Column",
    "Format",
    "Line",
    "Output",
    "Tone",
    "as_list",
    "as_name",
    "counted",
    "in_colour",
    "plain",
    "print_data",
    "print_lines",
    "render_lines",
    "render_table",
    "slim",
    "span",
]

NOTHING: Final = "-"
"""What a cell shows where there is nothing to show."""

_LABEL_WIDTH: Final = 18


class Format(StrEnum):
    """How an answer is printed."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"
    NAME = "name"


Output: TypeAlias = Annotated[Format, typer.Option("--output", "-o", help="How to print it.")]


class Tone(StrEnum):
    """How a word is meant; a colour on terminals, and nothing elsewhere."""

    PLAIN = ""
    GOOD = "green"
    CARE = "yellow"
    BAD = "red"
    HEAD = "bold"


@dataclass(frozen=True, slots=True)
class Cell:
    """One word of a table, and how it is meant."""

    text: str
    tone: Tone = Tone.PLAIN


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes:
        head: What stands above it.
        wide: Whether only `-o wide` shows it.
    """

    head: str
    wide: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a description.

    Attributes:
        label: What it is about; empty to go on with what the line before is about.
        text: What there is to say.
        tone: How it is meant.
    """

    label: str
    text: str
    tone: Tone = Tone.PLAIN


def in_colour(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether standard output is a terminal, and nobody asked for no colours (no-color.org)."""
    return sys.stdout.isatty() and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"


def plain(text: str) -> str:
    """The text with what could move a terminal's cursor escaped."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def render_table(
    columns: Sequence[Column],
    rows: Iterable[Sequence[Cell]],
    *,
    wide: bool = False,
    colour: bool = False,
) -> str:
    """Columns with a head, three spaces between them.

    Args:
        columns: All of them.
        rows: A cell for each column.
        wide: Whether to show those that are wide.
        colour: Whether tones are shown.
    """
    shown = [at for at, column in enumerate(columns) if wide or not column.wide]
    table = [[Cell(columns[at].head) for at in shown]]
    table += [[Cell(plain(row[at].text) or NOTHING, row[at].tone) for at in shown] for row in rows]
    widths = [max(len(row[at].text) for row in table) for at in range(len(shown))]
    return "\n".join(
        "   ".join(
            _painted(cell.text, cell.tone, colour=colour) + " " * (width - len(cell.text))
            for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in table
    )


def render_lines(lines: Iterable[Line], *, colour: bool = False) -> str:
    """Labels to the left, what they are about to the right; a label alone is a heading."""
    made = []
    for line in lines:
        text = _painted(plain(line.text), line.tone, colour=colour)
        made.append(f"{line.label:<{_LABEL_WIDTH}} {text}".rstrip() if line.label or text else "")
    return "\n".join(made)


def print_lines(lines: Iterable[Line]) -> None:
    """Print a description."""
    typer.echo(render_lines(lines, colour=in_colour()))


def print_data(value: object, form: Format) -> None:
    """Print a value as YAML, or else as JSON; in ASCII, so that no terminal acts on it."""
    if form is Format.YAML:
        typer.echo(yaml.safe_dump(value, sort_keys=False), nl=False)
    else:
        typer.echo(json.dumps(value, indent=2))


def as_list(bodies: Iterable[JsonObject], resource: Resource) -> JsonObject:
    """Objects as kubectl prints several: a List, each with its kind, without managedFields."""
    return {
        "apiVersion": "v1",
        "kind": "List",
        "items": [slim(each, resource) for each in bodies],
    }


def slim(body: JsonObject, resource: Resource) -> JsonObject:
    """An object with its kind, which lists leave out, and without managedFields."""
    metadata = body.get("metadata")
    kept = {
        name: value
        for name, value in (metadata.items() if isinstance(metadata, dict) else ())
        if name != "managedFields"
    }
    own = {name: value for name, value in body.items() if name not in {"metadata", "kind"}}
    return {"apiVersion": resource.api_version, "kind": resource.kind, **own, "metadata": kept}


def as_name(resource: Resource, name: str) -> str:
    """An object as `kubectl -o name` prints it, and as kubectl takes it."""
    return f"{resource.kind.lower()}.{GROUP}/{name}"


def counted(count: int, one: str, many: str) -> str:
    """So many of something."""
    return f"{count} {one if count == 1 else many}"


def span(duration: timedelta) -> str:
    """A span of time as kubectl shows ages: two units at most; without a sign."""
    seconds = abs(int(duration.total_seconds()))
    days, hours, minutes = seconds // 86400, seconds // 3600, seconds // 60
    if days >= 3:  # noqa: PLR2004 - beyond, hours say nothing
        return f"{days}d"
    if hours >= 3:  # noqa: PLR2004 - likewise minutes
        rest = minutes % 60
        return f"{hours}h{rest}m" if rest and hours < 10 else f"{hours}h"  # noqa: PLR2004
    if minutes >= 3:  # noqa: PLR2004 - likewise seconds
        rest = seconds % 60
        return f"{minutes}m{rest}s" if rest and minutes < 10 else f"{minutes}m"  # noqa: PLR2004
    return f"{seconds}s"


def _painted(text: str, tone: Tone, *, colour: bool) -> str:
    if not colour or tone is Tone.PLAIN:
        return text
    return typer.style(text, bold=True) if tone is Tone.HEAD else typer.style(text, fg=tone.value)
