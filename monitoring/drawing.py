"""Draws panels of a Grafana dashboard as SVG, from its JSON and from series."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from monitoring.scales import in_unit, minutes, ticks

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = [
    "WIDTH",
    "Box",
    "Line",
    "Span",
    "colour",
    "legend",
    "place",
    "row",
    "segments",
    "stat",
    "timeseries",
]

WIDTH: Final = 1200
"""Of the whole picture, in pixels."""

_CELL: Final = 28
"""Height of one unit of Grafana's grid, with the gap below it."""

_COLUMNS: Final = 24
_GAP: Final = 8
_PAD: Final = 10
_TITLE: Final = 28
_LEGEND: Final = 15
_LEGENDS: Final = 3
"""Lines of a legend at most."""

_ROOM: Final = 1.05
"""Above the greatest value, so that no line lies on the edge."""

_LETTER: Final = 5.9
"""Width of a letter of 10 pixels, on average; DejaVu Sans is a wide one."""

_COLOURS: Final = (
    "#2f6db3", "#d9822b", "#3a8f5c", "#b5485d", "#7a5aa6", "#3b98a8", "#a08328", "#6b7280",
)  # fmt: skip
_FILLS: Final = {"green": "#3a8f5c", "red": "#c2433a"}
_GRID: Final = "#e8eaed"
_SOFT: Final = "#6b7280"


@dataclass(frozen=True, slots=True)
class Box:
    """Where something is, in pixels."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Span:
    """The time that is shown: seconds since 1970, and between two points."""

    start: float
    end: float
    step: float


@dataclass(frozen=True, slots=True)
class Line:
    """A series with the name that its legend has."""

    name: str
    points: tuple[tuple[float, float], ...]


def place(grid: Mapping[str, int]) -> Box:
    """Where a `gridPos` lies."""
    column = (WIDTH - _GAP) / _COLUMNS
    return Box(
        _GAP + grid["x"] * column, _GAP + grid["y"] * _CELL,
        grid["w"] * column - _GAP, grid["h"] * _CELL - _GAP,
    )  # fmt: skip


def legend(form: str, labels: Mapping[str, str]) -> str:
    """The name of a series: `legendFormat` with the series' labels in it.

    `__auto` and nothing are the labels themselves.
    """
    if form in {"", "__auto"}:
        return ", ".join(labels.values())
    for name, value in labels.items():
        form = form.replace(f"{{{{{name}}}}}", value)
    return form


def colour(steps: Iterable[Mapping[str, object]], value: float) -> str:
    """The colour that the thresholds give a value; the first step has no bound."""
    chosen = "green"
    for step in steps:
        bound = step["value"]
        if not isinstance(bound, int | float) or value >= bound:
            chosen = str(step["color"])
    return chosen


def segments(points: Sequence[tuple[float, float]], step: float) -> list[list[tuple[float, float]]]:
    """The points without what is no number, parted where one or more are missing."""
    known = [point for point in points if math.isfinite(point[1])]
    if not known:
        return []
    parts = [[known[0]]]
    for before, point in pairwise(known):
        if point[0] - before[0] > 1.5 * step:
            parts.append([])
        parts[-1].append(point)
    return parts


def row(title: str, box: Box) -> str:
    """The heading of a row."""
    return _text(box.x, box.y + 16, title, size=14, weight=600)


def stat(title: str, lines: Sequence[Line], span: Span, box: Box, *, unit: str,
         steps: Sequence[Mapping[str, object]]) -> str:  # fmt: skip
    """The last value of the first line, on the colour that it has, over its course."""
    known = [part for line in lines[:1] for part in segments(line.points, span.step)]
    if not known:
        return _frame(title, box) + _empty(box)
    last = known[-1][-1][1]
    values = [value for part in known for _, value in part]
    scale = _Scale(
        Box(box.x, box.y + box.height * 0.75, box.width, box.height * 0.25),
        span, min(0.0, *values), max(*values, 1e-9),
    )  # fmt: skip
    fill = _FILLS[colour(steps, last)]
    areas = "".join(
        f'<path d="{scale.area(part)}" fill="#fff" fill-opacity=".16"/>' for part in known
    )
    middle = box.x + box.width / 2
    value = _text(middle, box.y + box.height / 2 + 16, in_unit(last, unit), size=40, weight=600,
                  fill="#fff", anchor="middle")  # fmt: skip
    head = _text(box.x + _PAD, box.y + 19, title, size=12, weight=600, fill="#fff")
    return f"{_rectangle(box, fill)}{areas}{head}{value}"


def timeseries(title: str, lines: Sequence[Line], span: Span, box: Box, *, unit: str) -> str:
    """The lines over time, with a legend beneath them; zero is always shown."""
    drawn = [(line, segments(line.points, span.step)) for line in lines]
    drawn = [(line, parts) for line, parts in drawn if parts]
    if not drawn:
        return _frame(title, box) + _empty(box)
    values = [value for _, parts in drawn for part in parts for _, value in part]
    whole = unit == "short" and all(value == int(value) for value in values)
    marks = ticks(min(0.0, *values), _ROOM * max(0.0, *values), unit, whole=whole)
    left = 14 + _LETTER * max(len(in_unit(mark, unit)) for mark in marks)
    names = _wrapped([line.name for line, _ in drawn], box.width - 2 * _PAD)
    below = 20 + _LEGEND * len(names)
    plot = Box(
        box.x + left, box.y + _TITLE + 4,
        box.width - left - _PAD - 4, box.height - _TITLE - below - 8,
    )  # fmt: skip
    scale = _Scale(plot, span, marks[0], marks[-1])
    return "".join(
        (
            _frame(title, box),
            _grid(scale, marks, unit),
            *(
                _course(scale, parts, _COLOURS[number % len(_COLOURS)])
                for number, (_, parts) in reversed(list(enumerate(drawn)))
            ),
            _legends(names, box),
        )
    )


@dataclass(frozen=True, slots=True)
class _Scale:
    """From time and value to pixels."""

    box: Box
    span: Span
    low: float
    high: float

    def x(self, at: float) -> float:
        share = (at - self.span.start) / (self.span.end - self.span.start)
        return self.box.x + share * self.box.width

    def y(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return self.box.y + (1 - share) * self.box.height

    def path(self, points: Iterable[tuple[float, float]]) -> str:
        return "M" + "L".join(f"{self.x(at):.1f} {self.y(value):.1f}" for at, value in points)

    def area(self, points: Sequence[tuple[float, float]]) -> str:
        floor = self.box.y + self.box.height
        last, first = self.x(points[-1][0]), self.x(points[0][0])
        return f"{self.path(points)}L{last:.1f} {floor:.1f}L{first:.1f} {floor:.1f}Z"


def _grid(scale: _Scale, marks: Iterable[float], unit: str) -> str:
    box = scale.box
    parts = []
    for mark in marks:
        y = round(scale.y(mark)) + 0.5
        parts.append(f'<path d="M{box.x:.1f} {y}h{box.width:.1f}" stroke="{_GRID}"/>')
        parts.append(_text(box.x - 6, y + 3.5, in_unit(mark, unit), fill=_SOFT, anchor="end"))
    for at in minutes(scale.span.start, scale.span.end):
        x = round(scale.x(at)) + 0.5
        clock = datetime.fromtimestamp(at, UTC).strftime("%H:%M")
        parts.append(f'<path d="M{x} {box.y:.1f}v{box.height:.1f}" stroke="{_GRID}"/>')
        parts.append(_text(x, box.y + box.height + 14, clock, fill=_SOFT, anchor="middle"))
    return "".join(parts)


def _course(scale: _Scale, parts: Iterable[Sequence[tuple[float, float]]], ink: str) -> str:
    drawn = []
    for part in parts:
        if len(part) == 1:
            ((at, value),) = part
            drawn.append(
                f'<circle cx="{scale.x(at):.1f}" cy="{scale.y(value):.1f}" r="2" fill="{ink}"/>'
            )
        else:
            drawn.append(
                f'<path d="{scale.path(part)}" fill="none" stroke="{ink}" stroke-width="1.5" '
                'stroke-linejoin="round"/>'
            )
    return "".join(drawn)


def _wrapped(names: Sequence[str], width: float) -> list[list[tuple[float, int, str]]]:
    """Offset, number and text of each name, in lines; what finds no room is counted in the last."""
    lines: list[list[tuple[float, int, str]]] = [[]]
    at = 0.0
    for number, name in enumerate(names):
        needed = 14 + _LETTER * len(name) + 10
        rest = len(names) - number
        spare = 60 if len(lines) == _LEGENDS and rest > 1 else 0
        if at and at + needed + spare > width:
            if len(lines) == _LEGENDS:
                lines[-1].append((at, -1, f"and {rest} more"))
                break
            lines.append([])
            at = 0.0
        lines[-1].append((at, number, name))
        at += needed
    return lines


def _legends(lines: Sequence[Sequence[tuple[float, int, str]]], box: Box) -> str:
    parts = []
    top = box.y + box.height - _LEGEND * len(lines) - 2
    for index, line in enumerate(lines):
        y = top + index * _LEGEND
        for offset, number, name in line:
            x = box.x + _PAD + offset
            if number >= 0:
                ink = _COLOURS[number % len(_COLOURS)]
                parts.append(f'<path d="M{x:.1f} {y + 6:.1f}h10" stroke="{ink}" stroke-width="3"/>')
            parts.append(_text(x + 14, y + 9.5, name))
    return "".join(parts)


def _frame(title: str, box: Box) -> str:
    return _rectangle(box, "#fff", _GRID) + _text(
        box.x + _PAD, box.y + 19, title, size=12, weight=600
    )


def _empty(box: Box) -> str:
    return _text(box.x + box.width / 2, box.y + box.height / 2 + 8, "no data", size=12,
                 fill=_SOFT, anchor="middle")  # fmt: skip


def _rectangle(box: Box, fill: str, edge: str = "none") -> str:
    return (
        f'<rect x="{round(box.x) + 0.5}" y="{round(box.y) + 0.5}" width="{round(box.width)}" '
        f'height="{round(box.height)}" rx="3" fill="{fill}" stroke="{edge}"/>'
    )


def _text(x: float, y: float, text: str, *, size: int = 10, weight: int = 400,
          fill: str = "#1f2933", anchor: str = "start") -> str:  # fmt: skip
    return (
        f'<text x="{x:.0f}" y="{y:.0f}" font-size="{size}" font-weight="{weight}" '
        f'fill="{fill}" text-anchor="{anchor}">{escape(text)}</text>'
    )
