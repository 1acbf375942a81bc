"""What changes for the pods of a node, told to its plugin as it happens.

```
 ledger ───────► revoked: a serial ──┐
 identities ───► revoked: a pod      ├─► the follower of that node ─► a line of JSON each
 classes ──────► grants: a pod       │
 publications ─► bundles ────────────┘    to all
```

A follower that comes is told first what stands, so that it misses nothing by having been away. One
that takes nothing until its line is full is let go: it comes back, and is told what stands.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import TYPE_CHECKING, Final

import orjson

from agentid.api.agentidentity import AgentIdentity
from agentid.constants import ANNOTATION_RENEW_REQUESTED
from agentid.kube.objects import ObjectKey
from agentid.ledger.wire import time_text
from agentid.policy.entitlement import WithheldReason, nothing_at_all

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from agentid.clock import Clock
    from agentid.ledger import Durable, Entry, Ledger
    from agentid.services.pods import Pod
    from agentid.services.world import World

__all__ = ["Changes", "Follower"]

_LINES: Final = 2048
"""Lines that wait for one follower: a node has some hundred pods, with two serials each."""

_SETTLE: Final = 1.0
"""Seconds in which changes of classes are gathered: each has all its identities looked through."""


class Follower:
    """A plugin that is told."""

    def __init__(self, node: str) -> None:
        """Nothing waits yet."""
        self.node = node
        self.behind = False
        self._lines: deque[bytes] = deque()
        self._news = asyncio.Event()

    def put(self, line: bytes) -> None:
        """Have it told; if too much waits it is behind, and to be let go."""
        if len(self._lines) >= _LINES:
            self.behind = True
        else:
            self._lines.append(line)
        self._news.set()

    def wake(self) -> None:
        """Have it look."""
        self._news.set()

    async def take(self, seconds: float) -> bytes:
        """What waits, as one; empty if nothing came for so long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._news.wait()
        self._news.clear()
        found = b"".join(self._lines)
        self._lines.clear()
        return found


class Changes:
    """All followers of this replica."""

    def __init__(self, *, world: World, ledger: Ledger, clock: Clock) -> None:
        """Take the parts."""
        self._world = world
        self._ledger = ledger
        self._clock = clock
        self._followers: dict[str, set[Follower]] = {}
        self._identities: dict[ObjectKey, tuple[object, ...]] = {}
        self._classes: dict[str, tuple[object, ...]] = {}
        self._changed = asyncio.Event()
        self._version = ""
        ledger.subscribe(self._learn)

    @property
    def count(self) -> int:
        """How many follow."""
        return sum(map(len, self._followers.values()))

    @contextlib.contextmanager
    def follow(self, node: str) -> Iterator[Follower]:
        """Follow what changes for the pods of a node, after what stands."""
        follower = Follower(node)
        self._followers.setdefault(node, set()).add(follower)
        try:
            for pod in self._world.pods:
                if pod.node == node:
                    self._tell_standing(follower, pod)
            follower.put(_line("synced", bundles=self._version))
            yield follower
        finally:
            others = self._followers[node]
            others.discard(follower)
            if not others:
                del self._followers[node]

    def heartbeat(self, now: datetime) -> bytes:
        """A sign of life, which also says what the bundles are."""
        return _line("heartbeat", time=time_text(now), bundles=self._version)

    def wake(self) -> None:
        """Have every follower look, so that it sees that this process ends."""
        for followers in self._followers.values():
            for each in followers:
                each.wake()

    # What is told

    def bundles_changed(self, version: str) -> None:
        """Bundles or CRLs are others."""
        self._version = version
        line = _line("bundles", bundles=version)
        for followers in self._followers.values():
            for each in followers:
                each.put(line)

    def identity_changed(self, key: ObjectKey) -> None:
        """The watch told of an identity, perhaps of its status alone."""
        body = self._world.identities.get(key)
        state, why = _state(body), self._why(key, body)
        before = self._identities.get(key)
        if body is None:
            self._identities.pop(key, None)
        else:
            self._identities[key] = state
        if before == state and body is not None:
            return
        for pod in self._pods_of({key}):
            if why is not None:
                self._tell(pod.node, _revoked(pod.uid, "", *why))
            elif before is not None:
                self._tell(pod.node, _line("grants", pod=pod.uid))

    def much_changed(self) -> None:
        """Classes, issuers or incidents changed; which, is found out."""
        self._changed.set()

    async def run(self) -> None:
        """Find out which identities are given something else, until cancelled."""
        self._classes = self._class_states()
        while True:
            await self._changed.wait()
            await self._clock.sleep(_SETTLE)
            self._changed.clear()
            before, self._classes = self._classes, self._class_states()
            others = frozenset(
                name
                for name in before.keys() | self._classes.keys()
                if before.get(name) != self._classes.get(name)
            )
            if others and self._followers:
                for pod in self._pods_of(set(self._world.identities.of_classes(others))):
                    self._tell(pod.node, _line("grants", pod=pod.uid))

    # Inside

    def _learn(self, durable: Durable) -> None:
        for record in durable.records:
            entry = self._ledger.state.by_serial(record.serial)
            if entry is None or entry.revoked is None or entry.issued.pod is None:
                continue
            node = entry.issued.pod.node
            if node in self._followers:
                self._tell(node, self._revocation(entry, entry.issued.pod.uid))

    def _tell_standing(self, follower: Follower, pod: Pod) -> None:
        key, now = ObjectKey(pod.namespace, pod.identity), self._clock.now()
        body, entries = self._world.identities.get(key), self._ledger.state.of_pod(pod.uid)
        # One that is not known may be newer than what the watch has told here; another replica has
        # issued then. What it holds is told below, once it is revoked.
        gone = any(self._world.identities.has_ended(each.issued.uid) for each in entries)
        why = self._why(key, body) if gone or body is not None else None
        if why is not None:
            follower.put(_revoked(pod.uid, "", *why))
        for entry in entries:
            if entry.revoked is not None and entry.issued.not_after >= now:
                follower.put(self._revocation(entry, pod.uid))

    def _revocation(self, entry: Entry, pod: str) -> bytes:
        issued, revoked = entry.issued, entry.revoked
        key = ObjectKey(issued.namespace, issued.name)
        why = self._why(key, self._world.identities.get(key))
        if why is None:
            reason = "" if revoked is None else revoked.reason.value
            why = "Revoked", f"its certificate {entry.serial} is revoked ({reason})"
        return _revoked(pod, str(entry.serial), *why)

    def _why(self, key: ObjectKey, body: Mapping[str, object] | None) -> tuple[str, str] | None:
        """Why an identity may have nothing at all, None if it may."""
        if body is None:
            if not len(self._world.identities):
                return None  # nothing was told yet
            return WithheldReason.IDENTITY_NOT_FOUND.value, f"there is no AgentIdentity {key}"
        _, _, deleting, suspended, _ = _state(body)
        nothing = nothing_at_all(
            str(key),
            deleting=bool(deleting),
            suspended=bool(suspended),
            held=self._world.hold_on(body) is not None,
        )
        return None if nothing is None else (str(nothing.reason), nothing.message)

    def _pods_of(self, keys: set[ObjectKey]) -> Iterator[Pod]:
        """Pods of these identities, on nodes whose plugins follow."""
        if not self._followers or not keys:
            return
        for pod in self._world.pods:
            if pod.node in self._followers and ObjectKey(pod.namespace, pod.identity) in keys:
                yield pod

    def _tell(self, node: str, line: bytes) -> None:
        for each in self._followers.get(node, ()):
            each.put(line)

    def _class_states(self) -> dict[str, tuple[object, ...]]:
        found: dict[str, tuple[object, ...]] = {}
        for name, parsed in self._world.classes.items():
            metadata = AgentIdentity.metadata_of(parsed.body)
            issuer = None if parsed.model is None else parsed.model.spec.issuer_name
            state = None if issuer is None else self._world.issuer_states.get(issuer)
            demands = None if state is None else state.demands
            found[name] = metadata.uid, metadata.generation, demands
        return found


_NONE: Final = ("", 0, False, False, "")


def _state(body: Mapping[str, object] | None) -> tuple[object, ...]:
    """What of an identity decides what its pods may have; its status does not."""
    if body is None:
        return _NONE
    metadata, spec = AgentIdentity.metadata_of(body), body.get("spec")
    suspended = isinstance(spec, dict) and spec.get("suspend") is True
    asked = metadata.annotations.get(ANNOTATION_RENEW_REQUESTED, "")
    deleting = metadata.deletion_timestamp is not None
    return metadata.uid, metadata.generation, deleting, suspended, asked


def _revoked(pod: str, serial: str, reason: str, message: str) -> bytes:
    return _line("revoked", pod=pod, serial=serial or None, reason=reason, message=message)


def _line(kind: str, **values: object) -> bytes:
    return orjson.dumps({"type": kind, **values}) + b"\n"
