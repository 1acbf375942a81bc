"""What befalls a request on its way; pure. A weather is a table of chances, a fate is drawn."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import random

__all__ = ["CALM", "WEATHERS", "Fate", "Fortune", "Weather", "fortune"]


class Fate(StrEnum):
    """What becomes of one request."""

    PASS = "pass"  # noqa: S105 - a fate
    """It is sent, and its answer comes."""
    REFUSED = "refused"
    """It is answered by an error, and not sent."""
    LOST = "lost"
    """The connection breaks before it is sent."""
    UNHEARD = "unheard"
    """It is carried out, and the connection breaks in place of the answer."""
    MISREPORTED = "misreported"
    """It is carried out, and answered by an error of the server."""
    TORN = "torn"
    """The answer breaks off in the middle."""
    TWICE = "twice"
    """It is sent, its answer withheld, sent again, and answered by what came then."""
    LATE = "late"
    """The connection breaks at once, and it is carried out seconds later, behind other ones."""
    SILENT = "silent"
    """Nothing comes at all until the weather changes; then the connection breaks."""


@dataclass(frozen=True, slots=True)
class Weather:
    """How likely what is.

    Attributes:
        name: What the log calls it.
        chances: Of the fates other than to pass, each from 0 to 1; together at most 1.
        delay: Seconds that a request waits at most before it is looked at.
        rate: Bytes of an answer in a second; 0 for no limit.
        watch_life: Seconds that a watch lives at most; 0 for as long as it likes.
        expires: How likely a watch that ends says 410, so that everything is listed anew.
        bookmarks: Whether watches carry bookmarks.
    """

    name: str
    chances: tuple[tuple[Fate, float], ...] = ()
    delay: float = 0.0
    rate: int = 0
    watch_life: float = 0.0
    expires: float = 0.0
    bookmarks: bool = True


CALM: Final = Weather("calm")

WEATHERS: Final = {
    each.name: each
    for each in (
        CALM,
        Weather("slow", delay=0.6),
        Weather("lossy", ((Fate.LOST, 0.1), (Fate.UNHEARD, 0.15), (Fate.TORN, 0.1)), delay=0.05),
        Weather("refusing", ((Fate.REFUSED, 0.3), (Fate.MISREPORTED, 0.15))),
        Weather("doubling", ((Fate.TWICE, 0.5),), delay=0.1),
        Weather("late", ((Fate.LATE, 0.2), (Fate.TWICE, 0.1)), delay=0.1),
        Weather("throttled", rate=8000, delay=0.1),
        Weather("forgetful", watch_life=1.5, expires=0.5, bookmarks=False),
        Weather("partitioned", ((Fate.SILENT, 1.0),), watch_life=0.5),
        Weather(
            "foul",
            (
                (Fate.REFUSED, 0.1), (Fate.LOST, 0.05), (Fate.UNHEARD, 0.08),
                (Fate.MISREPORTED, 0.05), (Fate.TORN, 0.04), (Fate.TWICE, 0.08), (Fate.LATE, 0.04),
            ),
            delay=0.3, watch_life=3.0, expires=0.3,
        ),
    )
}  # fmt: skip

_ERRORS: Final = (429, 429, 500, 503, 504)
_ERRORS_OF_CHANGES: Final = (*_ERRORS, 409)
_CHANGES: Final = frozenset({"PUT", "PATCH"})
_WRITES: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_LATEST: Final = 8.0
"""Seconds: longer than a client that is cut off takes to look again, shorter than a Lease."""


@dataclass(frozen=True, slots=True)
class Fortune:
    """What was drawn for one request.

    Attributes:
        fate: What becomes of it.
        delay: Seconds before anything happens.
        code: Of the answer, where that is an error.
        after: Seconds until a late request is sent, or a doubled one sent again.
    """

    fate: Fate
    delay: float
    code: int
    after: float


def fortune(weather: Weather, method: str, chance: random.Random) -> Fortune:
    """Draw what becomes of a request.

    A conflict is told only of changes to what exists: a creation that says so falsely would be one
    that no API server sends. A read is never late, since nobody would notice.
    """
    at, fate = chance.random(), Fate.PASS
    for each, likely in weather.chances:
        if at < likely:
            fate = each
            break
        at -= likely
    if fate in {Fate.LATE, Fate.TWICE} and method not in _WRITES:
        fate = Fate.UNHEARD if fate is Fate.LATE else Fate.PASS
    codes = _ERRORS_OF_CHANGES if method in _CHANGES and fate is Fate.REFUSED else _ERRORS
    return Fortune(
        fate, chance.random() * weather.delay, chance.choice(codes),
        chance.uniform(1.0, _LATEST) if fate is Fate.LATE else chance.random(),
    )  # fmt: skip
