"""What an issuance spends its time on: the steps of one pass, handed to a tracer if there is one.

A pass is followed while its context is open; `step` and `note` find it by themselves, so a service
needs no parameter for it. Where nobody traces, a step is a lookup and nothing else. Only passes
that issue, or fail, are told: a look that finds nothing to do is no news.
"""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from datetime import datetime

    from agentid.clock import Clock

__all__ = ["Pass", "Step", "Tracer", "failed", "follow", "issued", "note", "step"]


@dataclass(frozen=True, slots=True)
class Step:
    """A part of a pass.

    Attributes:
        name: Such as `sign`.
        begin: Wall-clock time.
        end: Likewise.
    """

    name: str
    begin: datetime
    end: datetime


@dataclass(slots=True)
class Pass:
    """One pass over one identity.

    Attributes:
        begin: When it began to wait in the queue.
        steps: In the order in which they ended.
        about: Namespace and name, and what was noted.
        told: Whether it is worth telling.
        error: Why it failed; empty if it did not.
    """

    begin: datetime
    steps: list[Step] = field(default_factory=list)
    about: dict[str, str] = field(default_factory=dict)
    told: bool = False
    error: str = ""


class Tracer(Protocol):
    """Takes passes that are over. Must neither raise nor block."""

    def take(self, done: Pass, end: datetime) -> None:
        """A pass is over, and worth telling."""


@dataclass(frozen=True, slots=True)
class _Followed:
    done: Pass
    clock: Clock
    now: datetime
    since: float

    def moment(self) -> datetime:
        """The present, by the clock that cannot be set back within a pass."""
        return self.now + timedelta(seconds=self.clock.monotonic() - self.since)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        begin = self.moment()
        try:
            yield
        finally:
            self.done.steps.append(Step(name, begin, self.moment()))


_current: ContextVar[_Followed | None] = ContextVar("pass", default=None)
_NOTHING: Final = nullcontext()


@contextmanager
def follow(
    tracer: Tracer | None, clock: Clock, waited: float, about: dict[str, str]
) -> Iterator[None]:
    """Follow a pass while the context is open.

    Args:
        tracer: Who is told; None follows nothing.
        clock: For times.
        waited: Seconds that it waited in the queue.
        about: Which identity it is about.
    """
    if tracer is None:
        yield
        return
    now = clock.now()
    begin = now - timedelta(seconds=waited)
    done = Pass(begin, [Step("queue wait", begin, now)], about)
    followed = _Followed(done, clock, now, clock.monotonic())
    token = _current.set(followed)
    try:
        yield
    finally:
        _current.reset(token)
        if done.told:
            tracer.take(done, followed.moment())


def step(name: str) -> AbstractContextManager[None]:
    """Time a part of the pass that is followed, if one is."""
    followed = _current.get()
    return _NOTHING if followed is None else followed.step(name)


def note(**about: str) -> None:
    """Note something about the pass that is followed, if one is."""
    if (followed := _current.get()) is not None:
        followed.done.about.update(about)


def issued() -> None:
    """The pass that is followed has issued a certificate."""
    if (followed := _current.get()) is not None:
        followed.done.told = True


def failed(error: str) -> None:
    """The pass that is followed has failed."""
    if (followed := _current.get()) is not None:
        followed.done.told = True
        followed.done.error = error
