"""Who has a place in a class whose identities are limited, and who is next; pure.

A place is what an identity of the class takes while it has certificates, or may have. Once given it
is kept, whatever the limits become, so nothing that is valid is taken away by them. Who finds none
stands in line by age: `creationTimestamp`, which the API server sets, then namespace and name.

```
 ask ─► has one ──────────────────────────► None
     └► room, after those before it? ─ yes ► None, and has one from now on
                                     └ no ─► Shortage, and stands in line
 keep ─► what is not kept is free: `following` tells who gets it
```

Somebody who stands in line where a namespace is full is before nobody of another namespace. So a
tenant that asks for thousands of places delays no other, as long as the class limits namespaces.

Counts are kept as places come and go; nothing looks at all identities. A question takes the
logarithm of the line, and a look at each namespace that has one.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from dataclasses import dataclass
from heapq import merge
from itertools import islice
from typing import TYPE_CHECKING

from agentid.api.conditions import ConditionStatus, ConditionType, Reason
from agentid.policy.observed import Blocked

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from agentid.api.agentclass import ClassLimits
    from agentid.api.agentidentity import AgentIdentityStatus
    from agentid.api.conditions import Condition

__all__ = ["Claimant", "Places", "Shortage", "bounds", "is_placed", "told_shortage"]


def bounds(limits: ClassLimits) -> bool:
    """Whether a class bounds how many identities it has."""
    return limits.identities is not None or limits.identities_per_namespace is not None


def is_placed(status: AgentIdentityStatus, generation: int) -> bool:
    """Whether a status says that the identity was given what its spec asks for.

    One that waits may be Ready as well, for what it held before; then it is Reconciling.

    Args:
        status: Which; only the controller may write it.
        generation: Of the spec as it is now.
    """
    ready = any(_is_true(each, ConditionType.READY) for each in status.conditions)
    waits = any(_is_true(each, ConditionType.RECONCILING) for each in status.conditions)
    return ready and not waits and status.observed_generation == generation


def told_shortage(status: AgentIdentityStatus) -> Blocked | None:
    """What the status says of an identity for which there was no place; None if there was one."""
    return next(
        (
            Blocked(Reason.QUOTA_EXCEEDED, each.message)
            for each in status.conditions
            if each.reason == Reason.QUOTA_EXCEEDED and _is_true(each, ConditionType.RECONCILING)
        ),
        None,
    )


def _is_true(condition: Condition, kind: ConditionType) -> bool:
    return condition.type == kind and condition.status is ConditionStatus.TRUE


@dataclass(frozen=True, slots=True, order=True)
class Claimant:
    """An identity, in the order of the line.

    Attributes:
        created: When the API server created the object.
        namespace: Its namespace.
        name: Its name.
        uid: Its UID; a namesake that comes later is somebody else.
    """

    created: datetime
    namespace: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class Shortage:
    """There is no place.

    Attributes:
        class_name: In which class.
        field: The limit that is reached, below `spec.limits`.
        allowed: How many it allows.
        found: How many have a place, or are before this one in the line.
        namespace: Whose limit it is; empty for that of the whole class.
    """

    class_name: str
    field: str
    allowed: int
    found: int
    namespace: str = ""

    @property
    def blocked(self) -> Blocked:
        """What the identity is told; it proceeds by itself, so it is not stalled."""
        where = f" in namespace {self.namespace}" if self.namespace else ""
        message = (
            f"AgentClass {self.class_name} limits its identities{where} to {self.allowed} "
            f"(spec.limits.{self.field}), and the number before this one is {self.found}; delete "
            "one that is not needed, or ask the class owner for more. The identity proceeds by "
            "itself when its turn comes"
        )
        return Blocked(Reason.QUOTA_EXCEEDED, message)


class _Class:
    """Places and line of one class."""

    __slots__ = ("line", "taken", "total")

    def __init__(self) -> None:
        self.taken: Counter[str] = Counter()
        self.total = 0
        self.line: dict[str, list[Claimant]] = {}

    def room(self, namespace: str, limits: ClassLimits) -> int | None:
        """How many more a namespace may have by its own limit; None for any number."""
        most = limits.identities_per_namespace
        return None if most is None else max(most - self.taken[namespace], 0)

    def before(self, who: Claimant, limits: ClassLimits) -> int:
        """How many in the line would get a place before this one."""
        count = 0
        for namespace, line in self.line.items():
            older, room = bisect_left(line, who), self.room(namespace, limits)
            count += older if room is None else min(older, room)
        return count

    def first(self, limits: ClassLimits) -> Iterator[Claimant]:
        """Those who would get a place now, oldest first, were it not for the limit of the class."""
        heads = [
            islice(line, self.room(namespace, limits)) for namespace, line in self.line.items()
        ]
        return merge(*heads)


class Places:
    """Places and lines of all classes, those without limits too: they may get some."""

    def __init__(self) -> None:
        """Nobody has a place."""
        self._classes: dict[str, _Class] = {}
        self._has: dict[str, tuple[str, frozenset[str]]] = {}
        self._waits: dict[str, tuple[str, Claimant]] = {}

    def has(self, uid: str, class_name: str) -> bool:
        """Whether an identity has a place in a class."""
        return class_name in self._has.get(uid, ("", frozenset()))[1]

    def give(self, who: Claimant, class_name: str) -> None:
        """An identity has a place, whatever the limits: it had one before anybody counted."""
        self.leave(who.uid)
        _, has = self._has.get(who.uid, ("", frozenset()))
        if class_name not in has:
            self._set(who.uid, who.namespace, has | {class_name})

    def ask(self, who: Claimant, class_name: str, limits: ClassLimits) -> Shortage | None:
        """Have a place given to an identity, or have it stand in line.

        Returns:
            None if it has a place now, or had one.
        """
        shortage = None
        if not self.has(who.uid, class_name):
            shortage = self._shortage(who, class_name, limits)
        if shortage is None:
            self.give(who, class_name)
        else:
            self.join(who, class_name)
        return shortage

    def join(self, who: Claimant, class_name: str) -> None:
        """Have an identity stand in line for a class, and for no other."""
        if self._waits.get(who.uid) == (class_name, who):
            return
        self.leave(who.uid)
        insort(self._class(class_name).line.setdefault(who.namespace, []), who)
        self._waits[who.uid] = class_name, who

    def keep(self, uid: str, class_names: frozenset[str]) -> frozenset[str]:
        """Free the places of an identity in all other classes.

        Returns:
            The classes in which a place is free now.
        """
        namespace, has = self._has.get(uid, ("", frozenset[str]()))
        if freed := has - class_names:
            self._set(uid, namespace, has & class_names)
        return freed

    def leave(self, uid: str) -> str | None:
        """An identity does not stand in line any more; the class in which it did."""
        class_name, who = self._waits.pop(uid, (None, None))
        if class_name is None or who is None:
            return None
        of_class = self._classes[class_name]
        line = of_class.line[who.namespace]
        del line[bisect_left(line, who)]
        if not line:
            del of_class.line[who.namespace]
        return class_name

    def following(self, class_name: str, limits: ClassLimits) -> tuple[Claimant, ...]:
        """Who gets a place as soon as they ask, oldest first."""
        of_class = self._classes.get(class_name)
        if of_class is None or not of_class.line:
            return ()
        most = limits.identities
        free = None if most is None else max(most - of_class.total, 0)
        return tuple(islice(of_class.first(limits), free)) if free != 0 else ()

    def waiting(self) -> frozenset[str]:
        """The classes that somebody waits for."""
        return frozenset(name for name, each in self._classes.items() if each.line)

    def count(self, class_name: str, namespace: str | None = None) -> int:
        """How many have a place in a class, or those of a namespace alone."""
        of_class = self._classes.get(class_name)
        if of_class is None:
            return 0
        return of_class.total if namespace is None else of_class.taken[namespace]

    # Inside

    def _shortage(self, who: Claimant, class_name: str, limits: ClassLimits) -> Shortage | None:
        of_class, most = self._class(class_name), limits.identities_per_namespace
        if most is not None:
            found = of_class.taken[who.namespace]
            if found < most:
                found += bisect_left(of_class.line.get(who.namespace, []), who)
            if found >= most:
                field = "identitiesPerNamespace"
                return Shortage(class_name, field, most, found, who.namespace)
        if limits.identities is not None:
            found = of_class.total
            if found < limits.identities:
                found += of_class.before(who, limits)
            if found >= limits.identities:
                return Shortage(class_name, "identities", limits.identities, found)
        return None

    def _class(self, class_name: str) -> _Class:
        return self._classes.setdefault(class_name, _Class())

    def _set(self, uid: str, namespace: str, class_names: frozenset[str]) -> None:
        _, before = self._has.pop(uid, ("", frozenset[str]()))
        if class_names:
            self._has[uid] = namespace, class_names
        for change, names in ((1, class_names - before), (-1, before - class_names)):
            for name in names:
                of_class = self._class(name)
                of_class.total += change
                of_class.taken[namespace] += change
                if not of_class.taken[namespace]:
                    del of_class.taken[namespace]
                if not of_class.total and not of_class.line:
                    del self._classes[name]
