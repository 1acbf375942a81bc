"""Draws what `make bench-scale` measured against the number of identities, as SVG.

A cost that grows with the number and no faster is a level line: each is shown for one identity, but
for the operator's memory.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from bench.scale.recording import Run, Stage

__all__ = ["draw"]

_STAGES: Final = ("create", "class change", "renewal", "incident", "delete")
_INK: Final = dict(
    zip(_STAGES, ("#2f6db3", "#d9822b", "#3a8f5c", "#b5485d", "#7a5aa6"), strict=True)
)
_SOFT: Final = "#6b7280"
_GRID: Final = "#e8eaed"

_WIDTH, _HEIGHT = 420, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 16, 34, 34
_LEGEND: Final = 28
_MARKS: Final = 4
"""Lines of the grid above zero, about."""


@dataclass(frozen=True, slots=True)
class _Panel:
    """One figure of each stage.

    Attributes:
        title: What it is, with its unit.
        stages: Those that it is shown of.
        value: Takes it from what was recorded; None where there is none.
    """

    title: str
    stages: Sequence[str]
    value: Callable[[Stage], float | None]


def _milliseconds(process: str) -> Callable[[Stage], float | None]:
    def value(stage: Stage) -> float | None:
        usage = stage.costs.get(process)
        return None if usage is None or not stage.number else 1000 * usage.cpu / stage.number

    return value


_AT_ONCE: Final = tuple(name for name in _STAGES if name != "renewal")

_PANELS: Final = (
    _Panel(
        "milliseconds for each, all at once", _AT_ONCE,
        lambda stage: 1000 * stage.seconds / stage.number if stage.number else None,
    ),
    _Panel("operator's CPU for each, ms", _STAGES, _milliseconds("operator")),
    _Panel("API server's CPU for each, ms", _STAGES, _milliseconds("kube-apiserver")),
    _Panel(
        "operator's memory at most, MB", ("create", "delete"),
        lambda stage: stage.costs["operator"].peak / 1e6,
    ),
)  # fmt: skip


def draw(runs: Sequence[Run]) -> str:
    """The picture of runs, with one number of identities each."""
    rows = math.ceil(len(_PANELS) / 2)
    width, height = 2 * _WIDTH, rows * _HEIGHT + _LEGEND
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="DejaVu Sans, sans-serif" font-size="11">'
    )
    parts = [head, f'<rect width="{width}" height="{height}" fill="#fff"/>']
    for number, panel in enumerate(_PANELS):
        left, top = number % 2 * _WIDTH, number // 2 * _HEIGHT
        parts.append(f'<g transform="translate({left} {top})">{"".join(_panel(panel, runs))}</g>')
    for number, (stage, ink) in enumerate(_INK.items()):
        x, y = 20 + 130 * number, rows * _HEIGHT + 14
        parts.append(f'<path d="M{x} {y - 4}h14" stroke="{ink}" stroke-width="3"/>')
        parts.append(f'<text x="{x + 20}" y="{y}">{escape(stage)}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _panel(panel: _Panel, runs: Sequence[Run]) -> Iterator[str]:
    lines = {name: tuple(_points(panel, name, runs)) for name in panel.stages}
    numbers = sorted({run.number for run in runs})
    step = _step(max((y for line in lines.values() for _, y in line), default=1.0))
    highest = step * max(math.ceil(y / step) for line in lines.values() for _, y in line)

    def x(number: int) -> float:
        span = math.log(numbers[-1] / numbers[0]) or 1.0
        room = _WIDTH - _LEFT - _RIGHT
        return _LEFT + 12 + (room - 24) * math.log(number / numbers[0]) / span

    def y(value: float) -> float:
        return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * value / highest

    yield f'<text x="{_LEFT}" y="20" font-weight="600">{escape(panel.title)}</text>'
    for mark in range(round(highest / step) + 1):
        at = y(mark * step)
        yield f'<path d="M{_LEFT} {at:.1f}H{_WIDTH - _RIGHT}" stroke="{_GRID}"/>'
        yield (
            f'<text x="{_LEFT - 6}" y="{at + 4:.1f}" fill="{_SOFT}" text-anchor="end">'
            f"{mark * step:g}</text>"
        )
    for number in numbers:
        yield (
            f'<text x="{x(number):.1f}" y="{_HEIGHT - _BOTTOM + 16}" fill="{_SOFT}" '
            f'text-anchor="middle">{number:,}</text>'
        )
    for name, line in lines.items():
        path = "L".join(f"{x(number):.1f} {y(value):.1f}" for number, value in line)
        yield f'<path d="M{path}" fill="none" stroke="{_INK[name]}" stroke-width="1.5"/>'
        for number, value in line:
            yield f'<circle cx="{x(number):.1f}" cy="{y(value):.1f}" r="2.5" fill="{_INK[name]}"/>'


def _points(panel: _Panel, name: str, runs: Sequence[Run]) -> Iterator[tuple[int, float]]:
    for run in sorted(runs, key=lambda run: run.number):
        for stage in run.stages:
            value = panel.value(stage) if stage.name == name else None
            if value is not None:
                yield run.number, value


def _step(highest: float) -> float:
    """A round distance of lines, so that there are about as many as wanted."""
    rough = highest / _MARKS
    unit = math.pow(10, math.floor(math.log10(rough)))
    return next(each * unit for each in (1, 2, 5, 10) if each * unit >= rough)
