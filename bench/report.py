"""The results, for people and for programs."""

from __future__ import annotations

import json
import os
import platform
import statistics
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from bench.bare import Bare
    from bench.figures import Counts, Latency, Writes
    from bench.processes import Usage
    from bench.run import Result

__all__ = ["Round", "as_json", "as_text", "costs", "machine", "writes"]

_MEGABYTE = 1_000_000


@dataclass(frozen=True, slots=True)
class Round:
    """What was measured one after the other, so that noise of the machine meets all alike.

    Attributes:
        bare: The limit.
        results: Of each template.
    """

    bare: Bare
    results: Sequence[Result]


def as_text(rounds: Sequence[Round]) -> str:
    """A report to read; of several rounds each, and then what they say together."""
    return "\n".join(_lines(rounds))


def _lines(rounds: Sequence[Round]) -> Iterator[str]:
    yield f"{machine()}; {datetime.now(UTC):%Y-%m-%d}"
    for place, each in enumerate(rounds, 1):
        if len(rounds) > 1:
            yield f"\nROUND {place} OF {len(rounds)}"
        yield ""
        yield (
            f"bare: {each.bare.rate:.0f} objects/s: a custom resource, a Secret, a status and a "
            f"share of a ConfigMap each, {each.bare.number} of them, by a client alone"
        )
        yield from costs(each.bare.costs, each.bare.number)
        for result in each.results:
            yield ""
            yield from _result(result, each.bare)
        if len(rounds) == 1:
            yield from _comparison(rounds)
    if len(rounds) > 1:
        yield "\nALL ROUNDS: median (lowest to highest)"
        yield f"  bare         {_spread([each.bare.rate for each in rounds])} /s"
        for results in zip(*(each.results for each in rounds), strict=True):
            yield from _together(results, [each.bare for each in rounds])
        yield from _comparison(rounds)


def _comparison(rounds: Sequence[Round]) -> Iterator[str]:
    """Lines about the first template beside each of the others, round by round."""
    first, *others = zip(*(each.results for each in rounds), strict=True)
    for other in others:
        pairs = list(zip(first, other, strict=True))
        yield f"\n{first[0].name} beside {other[0].name}, each figure divided by the other's"
        yield f"  created      {_share([(a.rate, b.rate) for a, b in pairs])}"
        yield f"  deleted      {_share([(a.delete_rate, b.delete_rate) for a, b in pairs])}"
        idle = [(a.idle.p50, b.idle.p50) for a, b in pairs if a.idle and b.idle]
        if idle:
            yield f"  idle p50     {_share(idle)}"
        yield f"  busy p50     {_share([(a.busy.p50, b.busy.p50) for a, b in pairs])}"
        each = [(_others(a, a.number), _others(b, b.number)) for a, b in pairs]
        yield f"  writes       {_share(each)}"


def _share(pairs: Sequence[tuple[float, float]]) -> str:
    """One figure as a share of the other; a dash where the other is nothing."""
    shares = [ours / theirs for ours, theirs in pairs if theirs]
    if not shares:
        return "-"
    return f"{shares[0]:.2f}" if len(shares) == 1 else _spread(shares, 2)


def _result(result: Result, limit: Bare) -> Iterator[str]:
    n, kind = result.number, result.resource
    yield f"{result.name}, {n} objects"
    yield f"  created      {result.rate:6.0f} /s     {result.rate / limit.rate:.2f} of bare"
    yield f"  deleted      {result.delete_rate:6.0f} /s"
    if result.idle is not None:
        yield f"  idle         {_latency(result.idle)}"
    yield f"  all at once  {_latency(result.busy)}"
    yield f"  writes for each that is created, {_others(result, n):.2f} beside the user's create:"
    yield from writes(result.created, n)
    yield f"  Events written meanwhile: {result.created.of('events')}"
    deleting = sum(result.deleted.done.values()) - result.deleted.done.get((kind, "DELETE"), 0)
    yield f"  writes for each that is deleted, {deleting / n:.2f} beside the user's delete:"
    yield from writes(result.deleted, n)
    yield "  while they were created:"
    yield from costs(result.costs, n)
    yield "  while they were deleted:"
    yield from costs(result.delete_costs, n)


def _others(result: Result, number: int) -> float:
    """Writes for each object, the user's create left out."""
    own = result.created.done.get((result.resource, "POST"), 0)
    return (sum(result.created.done.values()) - own) / number


def _latency(latency: Latency) -> str:
    p50, p99, worst = (1000 * each for each in (latency.p50, latency.p99, latency.worst))
    return f"create to Ready: p50 {p50:.0f} ms, p99 {p99:.0f} ms, worst {worst:.0f} ms"


def writes(counts: Counts, number: int) -> Iterator[str]:
    """Lines about the writes for each of so many objects."""
    for (resource, verb), count in sorted(counts.done.items(), key=lambda each: -each[1]):
        yield f"    {count / number:6.3f}  {verb} {resource}"
    for what, left_out in (("refused", counts.refused), ("not counted", counts.others)):
        if left_out:
            yield f"    {what}, in all: {_list(left_out)}"


def _list(counted: Writes) -> str:
    return ", ".join(f"{n} {verb} {resource}" for (resource, verb), n in sorted(counted.items()))


def costs(spent: Mapping[str, Usage], number: int) -> Iterator[str]:
    """Lines about what processes cost for each of so many objects."""
    for name, cost in spent.items():
        yield (
            f"    {name:<24} {cost.cpu:6.1f} s CPU  {1000 * cost.cpu / number:6.2f} ms each  "
            f"{cost.resident / _MEGABYTE:5.0f} MB, {cost.peak / _MEGABYTE:.0f} MB at most"
        )


def _together(results: Sequence[Result], limits: Sequence[Bare]) -> Iterator[str]:
    n = results[0].number
    ratios = [each.rate / limit.rate for each, limit in zip(results, limits, strict=True)]
    idle = [1000 * each.idle.p50 for each in results if each.idle is not None]
    yield f"{results[0].name}, {n} objects"
    yield f"  created      {_spread([each.rate for each in results])} /s"
    yield f"  of bare      {_spread(ratios, 2)}"
    yield f"  deleted      {_spread([each.delete_rate for each in results])} /s"
    if idle:
        yield f"  idle p50     {_spread(idle)} ms"
    yield f"  busy p50     {_spread([1000 * each.busy.p50 for each in results])} ms"
    yield f"  writes       {_spread([_others(each, n) for each in results], 2)}"


def _spread(values: Sequence[float], digits: int = 0) -> str:
    middle, low, high = statistics.median(values), min(values), max(values)
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def machine() -> str:
    """What was measured on."""
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


def as_json(rounds: Sequence[Round]) -> str:
    """The same for programs."""

    def plain(result: Result) -> dict[str, object]:
        return asdict(result) | {
            phase: {
                kind: {f"{verb} {resource}": n for (resource, verb), n in counted.items()}
                for kind, counted in (
                    ("done", counts.done),
                    ("refused", counts.refused),
                    ("others", counts.others),
                )
            }
            for phase, counts in (("created", result.created), ("deleted", result.deleted))
        }

    whole = {
        "machine": machine(),
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "rounds": [
            {"bare": asdict(each.bare), "results": [plain(result) for result in each.results]}
            for each in rounds
        ],
    }
    return json.dumps(whole, indent=2) + "\n"
