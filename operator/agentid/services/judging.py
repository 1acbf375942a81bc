"""The judgement of an identity, made once for as long as nothing that it was made from changes.

The pods of one identity renew all the time, and a judgement parses and compares all that the
identity and its class say. What it was made from is compared instead, object by object.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from agentid.kube.objects import resource_version_of, uid_of

if TYPE_CHECKING:
    from datetime import datetime

    from agentid.clock import Clock
    from agentid.kube.objects import JsonObject, ObjectKey
    from agentid.policy.observed import Observed
    from agentid.services.gathering import Gatherer
    from agentid.services.world import World

__all__ = ["Judging"]

_MOST: Final = 8192
"""Judgements that are kept; then all are made anew. Some 5 KB each."""

_VALUES: Final = 6
"""The first so many of what a judgement is made from are compared by value."""

_KEPT: Final = timedelta(minutes=1)
"""A judgement compares schedules of different time zones as of now, and these shift by the hour."""


@dataclass(frozen=True, slots=True)
class _Kept:
    made_from: tuple[object, ...]
    at: datetime
    seen: Observed


class Judging:
    """Asks the gatherer, and remembers."""

    def __init__(self, *, gatherer: Gatherer, world: World, clock: Clock) -> None:
        """Take the parts."""
        self._gatherer = gatherer
        self._world = world
        self._clock = clock
        self._kept: dict[ObjectKey, _Kept] = {}

    def observe(self, key: ObjectKey) -> Observed | None:
        """What is known of an identity now, with its judgement; None if it is not known."""
        body, now = self._world.identities.get(key), self._clock.now()
        if body is None:
            self._kept.pop(key, None)
            return None
        made_from = self._made_from(body)
        kept = self._kept.get(key)
        if kept is not None and abs(now - kept.at) < _KEPT and _same(kept.made_from, made_from):
            return kept.seen
        seen = self._gatherer.observe(key, now)
        if seen is not None:
            if len(self._kept) >= _MOST:
                self._kept.clear()
            self._kept[key] = _Kept(made_from, now, seen)
        return seen

    def _made_from(self, body: JsonObject) -> tuple[object, ...]:
        """Everything that a judgement looks at; each is replaced, never changed."""
        world, spec = self._world, body.get("spec")
        name = spec.get("className") if isinstance(spec, dict) else None
        parsed = world.classes.get(str(name))
        issuer = None if parsed is None or parsed.model is None else parsed.model.spec.issuer_name
        return (
            uid_of(body),
            resource_version_of(body),
            world.hold_on(body),
            world.doors,
            self._gatherer.unread,
            world.incidents.unread_hold,
            parsed,
            None if issuer is None else world.issuers.get(issuer),
            None if issuer is None else world.issuer_states.get(issuer),
        )


def _same(one: tuple[object, ...], other: tuple[object, ...]) -> bool:
    """Whether both are made of the same; texts and sets by value, large objects by identity."""
    values = slice(_VALUES)
    return one[values] == other[values] and all(
        a is b for a, b in zip(one[_VALUES:], other[_VALUES:], strict=True)
    )
