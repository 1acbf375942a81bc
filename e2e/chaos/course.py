"""The course of events of a seed: who asks for what, and what goes wrong when. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from e2e.chaos.dice import dice
from e2e.chaos.weather import WEATHERS

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator

__all__ = [
    "AGENTS",
    "BEYOND",
    "CLASSES",
    "LESS",
    "MORE",
    "REPLICAS",
    "SKEW",
    "Course",
    "Step",
    "course",
]

AGENTS: Final = 24
REPLICAS: Final = 2
_DEEDS_A_SECOND: Final = 5.0
_QUIET: Final = 1.5
"""Seconds between two faults on average."""
SKEW: Final = 60
"""Seconds that a clock is wrong at most. What a wrong clock wrote, such as since when an identity
is refused, holds things up for as long as it was ahead."""
_OUTAGE: Final = (1.0, 6.0)
_FROZEN: Final = (1.0, 20.0)
"""Seconds that a process stands still: some longer than the fifteen of a Lease."""

LESS: Final = {"systems": ["erp.invoices"], "operations": ["read"]}
MORE: Final = {"systems": ["crm.tickets", "erp.invoices"], "operations": ["list", "read"]}
BEYOND: Final = {"systems": ["hr.salaries"], "operations": ["read"]}
"""What no class allows."""

CLASSES: Final[dict[str, dict[str, Any]]] = {
    "wide": {
        "lifetime": "2h",
        "permissions": {"systems": ["crm.*", "erp.*"], "operations": ["list", "read"]},
    },
    "narrow": {
        "lifetime": "1h",
        "permissions": {"systems": ["erp.*"], "operations": ["read"]},
    },
    "brief": {
        "lifetime": "2m",
        "renewal": {"renewBefore": "85s"},
        "permissions": {"systems": ["crm.*", "erp.*"], "operations": ["list", "read"]},
        "revocation": {"gracePeriod": "2s", "ephemeralLifetime": "0s"},
    },
    "fleeting": {
        "lifetime": "2m",
        "permissions": {"systems": ["crm.*", "erp.*"], "operations": ["list", "read"]},
    },
}
"""Ceilings of three kinds, one that CRLs do not speak of, and renewals within a course."""


@dataclass(frozen=True, slots=True, order=True)
class Step:
    """One event.

    Attributes:
        at: Seconds from the start.
        what: Its name.
        of: Whom it is about: an agent by number, a replica, a class, a component.
        how: What else there is to know, as text.
    """

    at: float
    what: str
    of: str
    how: str = ""


@dataclass(frozen=True, slots=True)
class Course:
    """Everything that happens.

    Attributes:
        seed: What it was made from.
        load: What people do.
        faults: What goes wrong.
        tampering: What befalls the ledger at the end: `delete`, `alter` or nothing.
    """

    seed: int
    load: tuple[Step, ...]
    faults: tuple[Step, ...]
    tampering: str


def course(seed: int, seconds: float) -> Course:
    """The course of a seed; the same at every call."""
    return Course(
        seed, tuple(sorted(_load(seed, seconds))), tuple(sorted(_faults(seed, seconds))),
        dice(seed, "tampering").choice(("delete", "alter", "")),
    )  # fmt: skip


_LOAD: Final = (
    ("create", 4), ("delete", 3), ("permit", 5), ("suspend", 2), ("resume", 3), ("renew", 3),
    ("reclass", 3), ("sponsor", 1), ("revoke", 1), ("tighten", 0.4), ("loosen", 0.6),
)  # fmt: skip

_HOW: Final = {
    "create": tuple(CLASSES),
    "permit": ("less", "less", "more", "more", "beyond"),
    "reclass": tuple(CLASSES),
    "sponsor": tuple(f"team-{number}@example.com" for number in range(3)),
    "revoke": ("identity", "class"),
}


def _load(seed: int, seconds: float) -> Iterator[Step]:
    chance = dice(seed, "load")
    for number in range(AGENTS):
        yield Step(0.0, "create", str(number), chance.choice(tuple(CLASSES)))
    names, weights = zip(*_LOAD, strict=True)
    at = 1.0
    while (at := at + chance.expovariate(_DEEDS_A_SECOND)) < seconds:
        (what,) = chance.choices(names, weights)
        agent = str(chance.randrange(AGENTS))
        how = chance.choice(_HOW.get(what, ("",)))
        if what in {"tighten", "loosen"} or how == "class":
            agent = "brief" if how == "class" else "wide"
        yield Step(round(at, 3), what, agent, how)


def _faults(seed: int, seconds: float) -> Iterator[Step]:
    chance = dice(seed, "faults")
    kinds: tuple[tuple[Callable[[random.Random], tuple[str, str, str]], float], ...] = (
        (_weather, 8), (_kill, 2), (_freeze, 2), (_lease, 1), (_clock, 1.5), (_outage, 1),
        (_ca, 0.7),
    )  # fmt: skip
    makers, weights = zip(*kinds, strict=True)
    at = 2.0
    while (at := at + chance.expovariate(1 / _QUIET)) < seconds:
        (make,) = chance.choices(makers, weights)
        what, of, how = make(chance)
        yield Step(round(at, 3), what, of, how)


def _replica(chance: random.Random) -> str:
    """The leader is not known beforehand; who is to be hit may be said by what it is."""
    return chance.choice(("leader", "follower", *(str(n) for n in range(REPLICAS))))


def _weather(chance: random.Random) -> tuple[str, str, str]:
    return "weather", str(chance.randrange(REPLICAS)), chance.choice(tuple(WEATHERS))


def _kill(chance: random.Random) -> tuple[str, str, str]:
    return "kill", _replica(chance), f"{chance.uniform(*_OUTAGE):.1f}"


def _freeze(chance: random.Random) -> tuple[str, str, str]:
    return "freeze", _replica(chance), f"{chance.uniform(*_FROZEN):.1f}"


def _lease(chance: random.Random) -> tuple[str, str, str]:
    return "lease", "", chance.choice(("delete", "steal"))


def _clock(chance: random.Random) -> tuple[str, str, str]:
    return "clock", str(chance.randrange(REPLICAS)), str(chance.randint(-4 * SKEW, 4 * SKEW) / 4)


def _outage(chance: random.Random) -> tuple[str, str, str]:
    of = chance.choice(("etcd", "kube-apiserver"))
    return "outage", of, f"{chance.uniform(*_OUTAGE):.1f}"


def _ca(chance: random.Random) -> tuple[str, str, str]:
    return "ca", "", f"{chance.uniform(*_OUTAGE):.1f}"
