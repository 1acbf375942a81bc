"""Axes: where their ticks are, and how Grafana's units read."""

from __future__ import annotations

import math
from typing import Final

__all__ = ["in_unit", "minutes", "ticks"]

_MINUTE: Final = 60.0
_HOUR: Final = 3600.0
_DAY: Final = 86400.0
_YEAR: Final = 365 * _DAY
_KIB: Final = 1024.0

_SECONDS: Final = (
    *(1.0, 2.0, 5.0, 10.0, 15.0, 30.0),
    *(each * _MINUTE for each in (1, 2, 5, 10, 15, 30)),
    *(each * _HOUR for each in (1, 2, 3, 6, 12)),
    *(each * _DAY for each in (1, 2, 5, 10, 20, 50, 100)),
    *(each * _YEAR for each in (1, 2, 5, 10, 20)),
)
"""Steps that read well on a clock; below the first they are decimal."""

_TIMES: Final = (
    (_YEAR, "years"), (_DAY, "days"), (_HOUR, "h"), (_MINUTE, "min"), (1.0, "s"), (1e-3, "ms"),
    (0.0, "µs"),
)  # fmt: skip
_SIZES: Final = ((_KIB**3, "GiB"), (_KIB**2, "MiB"), (_KIB, "KiB"))
_COUNTS: Final = ((1e9, "G"), (1e6, "M"), (1e3, "k"))
_SUFFIXES: Final = {"ops": " op/s", "reqps": " req/s"}


def in_unit(value: float, unit: str) -> str:
    """A value as a person reads it, with three digits at most behind the first that counts.

    Args:
        value: What was measured.
        unit: Grafana's name of it: `s`, `bytes`, `ops`, `reqps`, or anything for a plain number.
    """
    if value == 0:
        return "0"
    size = abs(value)
    if unit == "s":
        each, name = next(pair for pair in _TIMES if size >= pair[0])
        return f"{_number(value / (each or 1e-6))} {name}"
    if unit == "bytes":
        each, name = next((pair for pair in _SIZES if size >= pair[0]), (1.0, "B"))
        return f"{_number(value / each)} {name}"
    each, name = next((pair for pair in _COUNTS if size >= pair[0]), (1.0, ""))
    return f"{_number(value / each)}{name}{_SUFFIXES.get(unit, '')}"


def ticks(
    low: float, high: float, unit: str, *, whole: bool = False, about: int = 3
) -> list[float]:
    """Round values from at most `low` to at least `high`, zero among them if it lies between.

    Args:
        low: The least value.
        high: The greatest.
        unit: As in `in_unit`.
        whole: Whether parts of one mean nothing.
        about: How many steps there are, roughly.
    """
    if high <= low:
        high = low + 1.0
    wanted = (high - low) / about
    step = max(_step(wanted, unit), 1.0 if whole else 0.0)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [number * step for number in range(first, last + 1)]


def minutes(start: float, end: float, about: int = 5) -> list[float]:
    """Moments between two, on round minutes."""
    wanted = max((end - start) / about, _MINUTE)
    step = min((each for each in _SECONDS if each >= _MINUTE), key=lambda each: abs(each - wanted))
    first = math.ceil(start / step)
    return [number * step for number in range(first, math.floor(end / step) + 1)]


def _step(wanted: float, unit: str) -> float:
    if unit == "s" and wanted > 1:
        return next((each for each in _SECONDS if each >= wanted), _decimal(wanted))
    if unit == "bytes" and wanted > 1:
        return float(2 ** math.ceil(math.log2(wanted)))
    return _decimal(wanted)


def _decimal(wanted: float) -> float:
    power = 10.0 ** math.floor(math.log10(wanted))
    return next(each * power for each in (1, 2, 5, 10) if each * power >= wanted * (1 - 1e-9))


def _number(value: float) -> str:
    return f"{float(f'{value:.3g}'):g}"
