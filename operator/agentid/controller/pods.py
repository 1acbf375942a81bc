"""What pods set off: certificates of those that are gone are revoked, and the doors are watched.

```
 pods with our label ─► world.pods ─► gone ─► one commit for all that wait ─► their identities
 ledger: issued for a pod ──────────────────────────────────────────────────► their identities
```

The watch and the look at the doors run in every replica; the leader alone revokes.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import aclosing
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import structlog

from agentid.constants import LABEL_IDENTITY
from agentid.errors import AgentIdError, ForbiddenError, NotFoundError
from agentid.kube.objects import ObjectKey, metadata_of, uid_of
from agentid.kube.reflector import ChangeType, reflect
from agentid.kube.resources import AGENT_IDENTITIES, PODS, Selector
from agentid.ledger import Issued
from agentid.services.pods import Pod

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from agentid.factory import Parts
    from agentid.ledger import Durable

__all__ = ["PodLoop"]

_log = structlog.stdlib.get_logger(__name__)

_WITH_LABEL: Final = Selector(labels=LABEL_IDENTITY)

_AT_ONCE: Final = 4
"""Commits under way: a pod's end does not wait for the commit of the one before it."""

_AGAIN: Final = 1.0

_FOLLOW_AGAIN: Final = 10.0
"""Seconds until pods are followed again after RBAC said no: an older role may still be in force."""

_SETTLE: Final = timedelta(seconds=2)
"""From a certificate for a pod to the look at its identity, which goes through all its pods."""

_LOOK_OPEN: Final = 60.0
_LOOK_CLOSED: Final = 10.0
"""Seconds between two looks at the doors."""

_LOOK_TWICE: Final = 2.0
"""Seconds until a door is looked at again that seems to have closed. An API server that has just
started denies what it allows a moment later, and all who use the door would be told so."""


class PodLoop:
    """Keeps the world's pods and doors up to date, and has the leader revoke."""

    def __init__(
        self,
        parts: Parts,
        *,
        look_at: Callable[[Iterable[ObjectKey]], None],
        look_soon: Callable[[ObjectKey, timedelta], None],
        revoke: Callable[[ObjectKey], None],
    ) -> None:
        """Take the parts; nothing runs yet.

        Args:
            parts: Of the operator.
            look_at: Has identities looked at, one after the other.
            look_soon: Has one looked at after a while, once however often it is asked for.
            revoke: Has what an identity must not have revoked at once.
        """
        self._parts = parts
        self._world = parts.world
        self._clock = parts.clock
        self._look_at = look_at
        self._look_soon = look_soon
        self._revoke = revoke
        self._gone: dict[str, None] = {}
        self._late: dict[ObjectKey, None] = {}
        self._news = asyncio.Event()
        self._leading = False
        parts.ledger.subscribe(self._learn)

    # Every replica

    async def watch(self) -> None:
        """Follow the pods until cancelled."""
        while True:
            try:
                await self._follow()
            except (ForbiddenError, NotFoundError) as error:
                _log.warning("pods_not_watched", error=str(error), again_in=_FOLLOW_AGAIN)
            await self._clock.sleep(_FOLLOW_AGAIN)

    async def _follow(self) -> None:
        self._world.pods.clear()  # of those that an earlier try told, nobody would tell the end
        changes = reflect(
            self._parts.client,
            PODS,
            clock=self._clock,
            random=random.random,
            selector=_WITH_LABEL,
            on_outage=_outage,
        )
        async with aclosing(changes):
            async for change in changes:
                match change.type:
                    case ChangeType.ADDED | ChangeType.MODIFIED:
                        self._seen(Pod.of(change.object))
                    case ChangeType.DELETED:
                        self._went(uid_of(change.object))
                    case ChangeType.SYNCED:
                        self._all_told()
                    case ChangeType.CURRENT:
                        pass

    async def prime(self) -> None:
        """Know the doors before anything is judged by them.

        Raises:
            AgentIdError: They cannot be looked at.
        """
        self._world.doors = await self._parts.doors.look()

    async def watch_doors(self) -> None:
        """Look which deliveries the cluster serves, until cancelled."""
        doubted = False
        while True:
            await self._clock.sleep(
                _LOOK_TWICE if doubted else _LOOK_OPEN if self._world.doors else _LOOK_CLOSED
            )
            try:
                doors = await self._parts.doors.look()
            except AgentIdError as error:
                _log.warning("doors_not_looked_at", error=str(error))
                continue
            doubted = not doubted and not self._world.doors <= doors
            if doors != self._world.doors and not doubted:
                self._world.doors = doors
                _log.info(
                    "doors_changed", open=sorted(doors), closed=sorted(self._parts.doors.closed)
                )
                self._look_at(self._world.identities)

    def _seen(self, pod: Pod) -> None:
        before = self._world.pods.put(pod)
        if (before is not None and before.identity != pod.identity) or pod.finished:
            self._ended(pod.uid)

    def _went(self, uid: str) -> None:
        self._world.pods.drop(uid)
        self._ended(uid)

    def _ended(self, uid: str) -> None:
        if self._leading and self._parts.ledger.state.of_pod(uid):
            self._gone[uid] = None
            self._news.set()

    def _all_told(self) -> None:
        """From now on a pod that is not known may be gone: look at whoever has one on record."""
        first, self._world.pods.synced = not self._world.pods.synced, True
        if first:
            with_pods = {
                ObjectKey(entry.issued.namespace, entry.issued.name)
                for entry in self._parts.ledger.state.entries()
                if entry.issued.pod is not None and entry.revoked is None
            }
            self._look_at(with_pods)

    def _learn(self, durable: Durable) -> None:
        """A certificate was made for a pod: look whether that is in order, and count it."""
        if not self._leading:
            return  # whoever leads next looks at all identities
        keys: dict[ObjectKey, str] = {}
        for record in durable.records:
            if not isinstance(record, Issued) or (pod := record.pod) is None:
                continue
            key = ObjectKey(record.namespace, record.name)
            keys[key] = record.uid
            known = self._world.pods.get(pod.uid)
            over = self._world.pods.is_gone(pod.uid) if known is None else not _has(known, key)
            if over:
                self._gone[pod.uid] = None
                self._news.set()
        for key, uid in keys.items():
            if self._in_order(key, uid):
                self._look_soon(key, _SETTLE)
            else:
                self._late[key] = None
                self._world.doubted.add(key)
                self._news.set()

    def _in_order(self, key: ObjectKey, uid: str) -> bool:
        """Whether nothing that is known here speaks against a certificate of this object."""
        body = self._world.identities.get(key)
        return (
            body is not None
            and uid_of(body) == uid
            and not _must_have_none(body)
            and self._world.hold_on(body) is None
        )

    # The leader

    async def run(self) -> None:
        """Revoke what pods held that are gone, as the leader does, until cancelled."""
        self._leading = True
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(_AT_ONCE):
                    group.create_task(self._work())
        finally:
            self._leading = False
            self._gone, self._late = {}, {}  # whoever leads next looks at all identities
            self._world.doubted.clear()

    async def _work(self) -> None:
        while True:
            while not self._gone and not self._late:
                self._news.clear()
                await self._news.wait()
            keys, self._late = self._late, {}
            for key in keys:
                await self._confirm(key)
            uids, self._gone = self._gone, {}
            try:
                concerned = await self._parts.identities.revoke_pods(uids)
            except AgentIdError as error:
                _log.warning("pod_revocations_interrupted", pods=len(uids), error=str(error))
                self._gone = {**uids, **self._gone}
                await self._clock.sleep(_AGAIN)
            else:
                for key in concerned:
                    self._look_soon(key, _SETTLE)

    async def _confirm(self, key: ObjectKey) -> None:
        """Have what an identity must not have revoked, by what the API server says of it now.

        The replica that issued may know already that it goes on, and this one not yet.
        """
        try:
            body = await self._parts.client.get(AGENT_IDENTITIES, key.name, key.namespace)
        except AgentIdError as error:
            _log.info("late_certificate_doubted", identity=str(key), error=str(error))
        else:
            self._world.identities.learn(body)
        self._world.doubted.discard(key)
        self._revoke(key)


def _has(pod: Pod, key: ObjectKey) -> bool:
    return pod.carries(key.namespace, key.name)


def _must_have_none(body: Mapping[str, object]) -> bool:
    spec = body.get("spec")
    return metadata_of(body).get("deletionTimestamp") is not None or (
        isinstance(spec, dict) and spec.get("suspend") is True
    )


def _outage(error: AgentIdError, seconds: float) -> None:
    _log.warning("pod_watch_interrupted", error=str(error), seconds=round(seconds, 1))
