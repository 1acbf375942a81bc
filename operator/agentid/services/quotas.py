"""Gives identities their places in classes that limit them, on the replica that leads.

```
 pass: gather ─► admit ─► plan ─► apply ─► settle
                   │                         └─► a place is free: who is next is looked at
                   └─► Blocked, QuotaExceeded: stands in line
```

Who has a place is nowhere written down by itself. An identity has one if a certificate of the class
is in force for it, by the ledger, or if its status says that it was given what its spec asks for.
So a leader that begins gives no new place before it has looked at every identity there is, or some
would be given twice; only those that have one go on meanwhile.

The other doors, on any replica, go by the status alone (`is_placed`): it is the leader who decides.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from agentid.api.agentclass import ClassLimits
from agentid.api.conditions import Reason
from agentid.kube.objects import ObjectKey
from agentid.policy.judge import Granted
from agentid.policy.observed import Blocked
from agentid.policy.quota import Claimant, Places, bounds, is_placed, told_shortage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from agentid.api.model import ObjectMeta
    from agentid.identity import SerialNumber
    from agentid.policy.observed import Observed
    from agentid.services.world import World

__all__ = ["Quotas"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

_NO_LIMITS: Final = ClassLimits()


class Quotas:
    """One for each process; it counts from `begin` on."""

    def __init__(self, world: World) -> None:
        """Take the part; nobody hears yet who is next."""
        self._world = world
        self._places = Places()
        self._uids: dict[ObjectKey, tuple[str, ...]] = {}
        self._wake: Callable[[ObjectKey], None] = _nobody
        self._placed: Callable[[ObjectKey], None] = _nobody
        # Identities that were given a place, until their status says so.
        self._new: set[ObjectKey] = set()
        # Until all are counted: what was looked at, or what is still to be once that is known, and
        # who was told to wait for that.
        self._counted = True
        self._seen: set[ObjectKey] = set()
        self._unseen: set[ObjectKey] | None = None
        self._early: set[ObjectKey] = set()

    # Who leads

    def begin(self, wake: Callable[[ObjectKey], None], placed: Callable[[ObjectKey], None]) -> None:
        """Count anew: this replica leads from now on.

        Args:
            wake: Has an identity looked at, since there is a place for it.
            placed: Told of an identity that has a place now, by its status too.
        """
        self._places, self._uids = Places(), {}
        self._wake, self._placed = wake, placed
        self._counted, self._unseen = False, None
        self._new, self._seen, self._early = set(), set(), set()

    def expect(self, keys: Iterable[ObjectKey]) -> None:
        """These are all identities that there are; nobody is given a new place before them."""
        if not self._counted:
            self._unseen = set(keys) - self._seen
            self._count_if_all_seen()

    def open(self) -> None:
        """Give places from now on, whether all identities were looked at or not."""
        if self._counted:
            return
        self._counted, self._unseen = True, None
        early, self._seen, self._early = self._early, set(), set()
        for key in early:
            self._wake(key)
        for class_name in self._places.waiting():
            self._wake_following(class_name)

    # A pass

    def admit(self, key: ObjectKey, seen: Observed, now: datetime) -> Observed:
        """Give an identity that is granted what it asks for a place in its class.

        Returns:
            The same, or what to go on with if there is no place: blocked.
        """
        metadata, verdict = seen.metadata, seen.verdict
        if metadata is None:
            self._looked_at(key)
            return seen
        self._note(key, metadata.uid)
        if not isinstance(verdict, Granted):
            self._looked_at(key)
            return seen
        name, who = verdict.grant.class_name, _claimant(metadata)
        limits, blocked = self._limits(name), None
        if name in _holds(seen, now) or is_placed(seen.status, metadata.generation):
            self._places.give(who, name)
        elif self._counted or not bounds(limits) or self._places.has(who.uid, name):
            blocked = self._ask(key, who, name, limits)
        else:
            blocked = self._asked_early(key, seen, who, name)
        self._looked_at(key)
        return seen if blocked is None else replace(seen, verdict=blocked)

    def settle(
        self, key: ObjectKey, seen: Observed, revoked: frozenset[SerialNumber], now: datetime
    ) -> None:
        """A pass was carried out: free the places that the identity does not need any more.

        Args:
            key: Which.
            seen: What `admit` returned.
            revoked: What the pass revoked.
            now: What the pass went by.
        """
        uid = "" if seen.metadata is None else seen.metadata.uid
        for other in self._uids.pop(key, ()):
            if other != uid:
                self._free(other, frozenset())
        if seen.metadata is None:
            self._new.discard(key)
            return
        self._uids[key] = (uid,)
        classes, stays = set(_holds(seen, now, revoked)), False
        match seen.verdict:
            case Granted(grant=grant):
                classes.add(grant.class_name)
                if key in self._new:
                    self._new.discard(key)
                    self._placed(key)
            case Blocked(reason=Reason.QUOTA_EXCEEDED):
                stays = True
            case Blocked(stalled=False) if seen.identity is not None:
                # What is missing, such as the issuer, comes back for all of the class.
                classes.add(seen.identity.spec.class_name)
            case _:
                pass
        self._free(uid, frozenset(classes), stays=stays)

    # Inside

    def _ask(self, key: ObjectKey, who: Claimant, name: str, limits: ClassLimits) -> Blocked | None:
        had = self._places.has(who.uid, name)
        shortage = self._places.ask(who, name, limits)
        if shortage is not None:
            return shortage.blocked
        if not had and bounds(limits):
            self._new.add(key)
            self._wake_following(name)  # there may be room for more than one
        return None

    def _asked_early(self, key: ObjectKey, seen: Observed, who: Claimant, name: str) -> Blocked:
        """What is told before all are counted; who was told already that it waits, the same."""
        self._places.join(who, name)
        told = told_shortage(seen.status)
        if told is not None:
            return told
        self._early.add(key)
        message = (
            f"agentid has just begun, and counts the identities of AgentClass {name} first, which "
            "its spec.limits bound. The identity proceeds by itself"
        )
        return Blocked(Reason.QUOTA_EXCEEDED, message)

    def _free(self, uid: str, keep: frozenset[str], *, stays: bool = False) -> None:
        freed = set(self._places.keep(uid, keep))
        left = None if stays else self._places.leave(uid)
        for class_name in freed if left is None else freed | {left}:
            self._wake_following(class_name)

    def _wake_following(self, class_name: str) -> None:
        if not self._counted:
            return
        for who in self._places.following(class_name, self._limits(class_name)):
            self._wake(ObjectKey(who.namespace, who.name))

    def _looked_at(self, key: ObjectKey) -> None:
        if self._counted:
            return
        if self._unseen is None:
            self._seen.add(key)
            return
        self._unseen.discard(key)
        self._count_if_all_seen()

    def _count_if_all_seen(self) -> None:
        if self._unseen is not None and not self._unseen:
            self.open()

    def _note(self, key: ObjectKey, uid: str) -> None:
        known = self._uids.get(key, ())
        if uid not in known:
            self._uids[key] = (*known, uid)

    def _limits(self, class_name: str) -> ClassLimits:
        parsed = self._world.classes.get(class_name)
        return _NO_LIMITS if parsed is None or parsed.model is None else parsed.model.spec.limits


def _claimant(metadata: ObjectMeta) -> Claimant:
    created = metadata.creation_timestamp or _EPOCH
    return Claimant(created, metadata.namespace, metadata.name, metadata.uid)


def _holds(
    seen: Observed, now: datetime, revoked: frozenset[SerialNumber] = frozenset()
) -> frozenset[str]:
    """The classes of certificates that are in force."""
    return frozenset(
        each.grant.class_name
        for each in seen.own
        if each.grant is not None and each.serial not in revoked and each.validity.not_after >= now
    )


def _nobody(_: ObjectKey) -> None:
    """Nobody is told."""
