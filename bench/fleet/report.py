"""What a run was like, for people and for programs."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from bench.figures import Latency
from bench.fleet.lives import DOORS, waiting
from bench.report import costs, machine, writes

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator, Mapping, Sequence

    from bench.figures import Counts
    from bench.fleet.lag import Lag
    from bench.fleet.lives import Life, Moment, Sizes
    from bench.histograms import Histogram
    from bench.processes import Usage

__all__ = ["Bounds", "Coming", "Going", "Phase", "as_json", "as_text", "coming", "going"]

_QUARTERS: Final = (0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True, slots=True)
class Phase:
    """What a phase cost.

    Attributes:
        writes: That the API server counted, until it came to rest.
        costs: Of processes, by name, until three seconds after the last pod.
        lag: Of event loops, by process.
    """

    writes: Counts
    costs: Mapping[str, Usage]
    lag: Mapping[str, Lag]


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a histogram tells: no value, but what it was not above.

    Attributes:
        count: How many were observed.
        p50: Half of them were at most this; seconds.
        p99: Of a hundred, 99 were.
        mean: Of all.
    """

    count: int
    p50: float
    p99: float
    mean: float

    @classmethod
    def of(cls, found: Histogram) -> Bounds:
        """Read it.

        Raises:
            E2EError: Nothing was observed.
        """
        return cls(found.count, found.bound(0.5), found.bound(0.99), found.mean)


@dataclass(frozen=True, slots=True)
class Coming:
    """Pods came, and were given certificates.

    Attributes:
        made: Pods a second, from the first create to the last.
        served: Pods a second, from the first create to the last certificate.
        create: How long a create took, its repetitions included.
        issued: From created until issued, by door.
        answered: From the moment the node began to ask until issued, by door.
        waiting: Pods without a certificate by door, after each quarter of the time in which pods
            were made.
        drained: Seconds from the last pod until the last certificate.
        webhook: Calls of the webhook, as the API server took their time.
        reviews: The same as the webhook did.
        repeated: What had to be asked for again, by kind.
    """

    made: float
    served: float
    create: Latency
    issued: Mapping[str, Latency]
    answered: Mapping[str, Latency]
    waiting: Sequence[Mapping[str, int]]
    drained: float
    webhook: Bounds
    reviews: Bounds
    repeated: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Going:
    """Pods went, and their certificates were revoked.

    Attributes:
        gone: Pods a second, from the first deletion until the last was seen gone.
        from_gone: From a pod that was seen gone to its last revocation on the ledger. The ledger is
            followed by a watch of its own, which may be ahead of that of pods by some milliseconds.
        from_asked: From the request to delete it.
        last: Seconds from the first request to delete until the last revocation.
        behind: Seconds from the last pod that was seen gone until the last revocation.
        certificates: That were issued in all.
        told: Of how many of them node plugins were told that they are revoked.
        lines: How often they were told of one.
    """

    gone: float
    from_gone: Latency
    from_asked: Latency
    last: float
    behind: float
    certificates: int
    told: int
    lines: int


def coming(
    lives: Sequence[Life],
    *,
    webhook: Histogram,
    reviews: Histogram,
    repeated: Mapping[str, int],
) -> Coming:
    """Sum up the first phase.

    Raises:
        E2EError: A pod has no certificate, or the webhook was never called.
    """
    first, last_created = _first(lives, "sent"), _last(lives, "created")
    last_issued = _last(lives, "issued")
    quarters = [first + share * (last_created - first) for share in _QUARTERS]
    return Coming(
        made=len(lives) / (last_created - first),
        served=len(lives) / (last_issued - first),
        create=Latency.of([life.until("created", "sent") for life in lives]),
        issued=_by_door(lives, "issued", "created"),
        answered=_by_door(lives, "issued", "asked"),
        waiting=[{door.value: waiting(lives, at)[door] for door in DOORS} for at in quarters],
        drained=last_issued - last_created,
        webhook=Bounds.of(webhook),
        reviews=Bounds.of(reviews),
        repeated=repeated,
    )


def going(lives: Sequence[Life], *, certificates: int, told: Counter[str]) -> Going:
    """Sum up the second phase.

    Args:
        lives: The pods.
        certificates: How many they had.
        told: How often plugins were told of a revocation, by serial.

    Raises:
        E2EError: A pod was not seen gone, or has a certificate that is not revoked.
    """
    first, last_gone = _first(lives, "deleted"), _last(lives, "gone")
    last_revoked = _last(lives, "revoked")
    return Going(
        gone=len(lives) / (last_gone - first),
        from_gone=Latency.of([life.until("revoked", "gone") for life in lives]),
        from_asked=Latency.of([life.until("revoked", "deleted") for life in lives]),
        last=last_revoked - first,
        behind=last_revoked - last_gone,
        certificates=certificates,
        told=len(told),
        lines=told.total(),
    )


def _by_door(lives: Sequence[Life], later: Moment, earlier: Moment) -> dict[str, Latency]:
    found: dict[str, list[float]] = {}
    for life in lives:
        found.setdefault(life.door.value, []).append(life.until(later, earlier))
    return {door: Latency.of(seconds) for door, seconds in found.items()}


def _first(lives: Sequence[Life], name: Moment) -> float:
    return min(_moments(lives, name))


def _last(lives: Sequence[Life], name: Moment) -> float:
    return max(_moments(lives, name))


def _moments(lives: Sequence[Life], name: Moment) -> list[float]:
    return [at for life in lives if (at := life.moment(name)) is not None]


def as_text(sizes: Sizes, came: Coming, first: Phase, went: Going, second: Phase) -> str:
    """A report to read."""
    spread = (
        f"{sizes.pods} pods on {sizes.nodes} nodes, in {sizes.namespaces} namespaces with "
        f"{sizes.identities * len(DOORS)} identities each"
    )
    return "\n".join(
        (
            f"{machine()}; {datetime.now(UTC):%Y-%m-%d}",
            spread,
            *_came(came),
            *_cost(first, sizes.pods),
            *_went(went),
            *_cost(second, sizes.pods),
        )
    )


def _came(came: Coming) -> Iterator[str]:
    yield f"made: {came.made:.0f} pods/s, and with certificates {came.served:.0f} pods/s"
    yield f"  create                {_latency(came.create)}"
    yield f"  webhook, API server   {_bounds(came.webhook)}"
    yield f"  webhook, itself       {_bounds(came.reviews)}"
    for door, latency in came.issued.items():
        yield f"  {door:<14} created to issued  {_latency(latency)}"
        yield f"  {'':<14} asked to issued    {_latency(came.answered[door])}"
    shown = (", ".join(f"{n} {door}" for door, n in each.items()) for each in came.waiting)
    yield f"  waiting after each quarter of the time: {'; '.join(shown)}"
    yield f"  the last certificate came {came.drained:.1f} s after the last pod"
    again = ", ".join(f"{what} {n}" for what, n in came.repeated.items())
    yield f"  asked again: {again}"


def _went(went: Going) -> Iterator[str]:
    yield f"deleted: {went.gone:.0f} pods/s until seen gone"
    yield f"  gone to revoked       {_latency(went.from_gone)}"
    yield f"  delete to revoked     {_latency(went.from_asked)}"
    yield (
        f"  the last was revoked {went.last:.1f} s after the first delete, "
        f"{went.behind:.1f} s after the last pod was gone"
    )
    yield (
        f"  of {went.certificates} certificates none is in force; node plugins were told of "
        f"{went.told}, in {went.lines} lines"
    )


def _cost(phase: Phase, number: int) -> Iterator[str]:
    yield "  writes for each pod, those of kubelets and of kwok included:"
    yield from writes(phase.writes, number)
    yield from costs(phase.costs, number)
    for name, lag in phase.lag.items():
        silent = f", {lag.silent} looks without an answer" if lag.silent else ""
        yield f"    event loop of {name}: {1000 * lag.worst:.0f} ms late at most{silent}"


def _latency(found: Latency) -> str:
    p50, p99, worst = (1000 * each for each in (found.p50, found.p99, found.worst))
    return f"p50 {p50:.0f} ms, p99 {p99:.0f} ms, worst {worst:.0f} ms"


def _bounds(found: Bounds) -> str:
    return (
        f"p50 {_bound(found.p50)}, p99 {_bound(found.p99)}, mean {1000 * found.mean:.1f} ms "
        f"of {found.count}"
    )


def _bound(seconds: float) -> str:
    return "beyond all bounds" if math.isinf(seconds) else f"at most {1000 * seconds:g} ms"


def as_json(sizes: Sizes, came: Coming, first: Phase, went: Going, second: Phase) -> str:
    """The same for programs; a bound that is infinite is null."""
    whole = {
        "machine": machine(),
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "sizes": asdict(sizes),
        "coming": _plain(asdict(came)) | _phase(first),
        "going": _plain(asdict(went)) | _phase(second),
    }
    return json.dumps(whole, indent=2, allow_nan=False) + "\n"


def _plain(figures: dict[str, object]) -> dict[str, object]:
    return {
        name: _plain(value)
        if isinstance(value, dict)
        else None
        if isinstance(value, float) and math.isinf(value)
        else value
        for name, value in figures.items()
    }


def _phase(phase: Phase) -> dict[str, object]:
    return {
        "writes": {
            kind: {f"{verb} {resource}": n for (resource, verb), n in counted.items()}
            for kind, counted in (
                ("done", phase.writes.done),
                ("refused", phase.writes.refused),
                ("others", phase.writes.others),
            )
        },
        "costs": {name: asdict(cost) for name, cost in phase.costs.items()},
        "lag": {name: asdict(lag) for name, lag in phase.lag.items()},
    }
