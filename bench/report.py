"""The results, for people and for programs."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.figures import Latency, Writes
    from bench.run import Bare, Result

__all__ = ["as_json", "as_text"]

_MEGABYTE = 1_000_000


def as_text(results: Sequence[Result], limit: Bare) -> str:
    """A report to read."""
    return "\n".join(_lines(results, limit))


def _lines(results: Sequence[Result], limit: Bare) -> Iterator[str]:
    yield f"{_machine()}; {datetime.now(UTC):%Y-%m-%d}"
    yield (
        f"bare: {limit.rate:.0f} objects/s: a custom resource, a Secret and a status each, "
        f"{limit.number} of them, by a client that does nothing else"
    )
    for result in results:
        n = result.number
        yield ""
        yield f"{result.name}, {n} objects"
        yield f"  created      {result.rate:6.0f} /s     {result.rate / limit.rate:.2f} of bare"
        yield f"  deleted      {result.delete_rate:6.0f} /s"
        yield f"  idle         {_latency(result.idle)}"
        yield f"  all at once  {_latency(result.busy)}"
        yield f"  writes for each that is created, {_total(result.created, n)} in all:"
        yield from _writes(result.created, n)
        yield f"  writes for each that is deleted, {_total(result.deleted, n)} in all:"
        yield from _writes(result.deleted, n)
        for name, cost in result.costs.items():
            yield (
                f"  {name:<24} {cost.cpu:6.1f} s CPU  {1000 * cost.cpu / n:6.2f} ms each  "
                f"{cost.peak / _MEGABYTE:5.0f} MB at most"
            )


def _latency(latency: Latency) -> str:
    p50, p99, worst = (1000 * each for each in (latency.p50, latency.p99, latency.worst))
    return f"create to Ready: p50 {p50:.0f} ms, p99 {p99:.0f} ms, worst {worst:.0f} ms"


def _total(writes: Writes, number: int) -> str:
    return f"{sum(writes.values()) / number:.2f}"


def _writes(writes: Writes, number: int) -> Iterator[str]:
    for (resource, verb), count in sorted(writes.items(), key=lambda each: -each[1]):
        yield f"    {count / number:6.3f}  {verb} {resource}"


def _machine() -> str:
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{os.cpu_count()} cores of {model}, {memory:.0f} GiB, Python {platform.python_version()}"
    )


def as_json(results: Sequence[Result], limit: Bare) -> str:
    """The same for programs."""

    def plain(result: Result) -> dict[str, object]:
        body = asdict(result)
        for phase in ("created", "deleted"):
            body[phase] = {f"{verb} {resource}": n for (resource, verb), n in body[phase].items()}
        return body

    whole = {
        "machine": _machine(),
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "bare": asdict(limit),
        "results": [plain(each) for each in results],
    }
    return json.dumps(whole, indent=2) + "\n"
