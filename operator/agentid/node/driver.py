"""All volumes of a node: published, kept current, and taken up again after a restart.

```
<root>/state          tmpfs, 0700: what follows
<root>/state/<key>.json   VolumeState
<root>/state/<key>/       the pod's own tmpfs, written here, shown read-only at the target
```
Every step can be the last one of this process. Publishing writes the state first and shows the
volume last; unpublishing hides it first and forgets it last; so whatever there is has a state file.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Protocol

import structlog

from agentid.errors import AgentIdError, InputError, UnavailableError
from agentid.kube.backoff import Backoff
from agentid.kube.heap import DueHeap
from agentid.kube.waiting import pause, within
from agentid.node.issuer import ChangeKind, RefusedError
from agentid.node.mounts import Tmpfs, bind_read_only, mounts, unmount
from agentid.node.pod_volume import PodVolume, VolumeParts
from agentid.node.state import StateFolder, VolumeState, volume_key
from agentid.node.trust import read_trust
from agentid.node.volume import read_target

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from agentid.clock import Clock
    from agentid.node.issuer import Change, IssuerPort, PodProof
    from agentid.node.volume import VolumeOrder
    from agentid.node.workload import JwtValidator

__all__ = ["Announce", "Driver", "DriverSettings"]

_log = structlog.stdlib.get_logger(__name__)

_LOOK_AGAIN: Final = 5.0
"""Seconds after which the clock is read again at the latest: it goes on while a machine sleeps."""

_SOONEST: Final = 1.0
"""Seconds between two certificates of one pod at least, whatever the issuer service says."""

_STATE_TMPFS: Final = Tmpfs(bytes_=64 * 1024 * 1024, inodes=8192, mode=0o700)
"""State files and mount points of 250 pods with bundles of 200 KiB."""

POD_TMPFS: Final = Tmpfs(bytes_=8 * 1024 * 1024, inodes=64)

_RENEWING: Final = Backoff(base=timedelta(seconds=1), ceiling=timedelta(seconds=60))
_FOLLOWING: Final = Backoff(base=timedelta(seconds=0.5), ceiling=timedelta(seconds=15))
_HELD_UP: Final = 10.0
"""Seconds after which a feed that ends is one that worked."""

_REFUSED: Final = Backoff(base=timedelta(seconds=20), ceiling=timedelta(minutes=5))


class Announce(Protocol):
    """Tells the people who look at a pod."""

    def __call__(self, pod: PodProof, reason: str, message: str) -> None:
        """Say it on the pod; nothing waits for it."""


@dataclass(frozen=True, slots=True)
class DriverSettings:
    """How the driver works.

    Attributes:
        root: Its own folder on the node, in a mount that the host sees.
        targets: The folder below which the kubelet wants volumes.
        volume: The file system of one pod. A certificate with all its bundles takes some KiB, twice
            that while they are exchanged; the rest is room for CRLs.
        publish_seconds: How long a pod's start waits for its first certificate before it is told
            that the issuer service is away; the kubelet tries again.
        bundle_seconds: Between two looks at the bundles, should the feed miss a change.
        at_once: Certificates asked for at the same time.
    """

    root: Path
    targets: Path
    volume: Tmpfs = POD_TMPFS
    publish_seconds: float = 20.0
    bundle_seconds: float = 60.0
    at_once: int = 16


class Driver:
    """The volumes; to be used within one event loop, after `start`."""

    def __init__(
        self,
        settings: DriverSettings,
        issuer: IssuerPort,
        validate: JwtValidator,
        announce: Announce,
        *,
        clock: Clock,
        random: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._folder = settings.root / "state"
        self._parts = VolumeParts(issuer, clock, StateFolder(self._folder), validate, {})
        self._announce = announce
        self._clock = clock
        self._random = random
        self._volumes: dict[str, PodVolume] = {}
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._due: DueHeap[str] = DueHeap()
        self._earlier = asyncio.Event()
        self._bundles_wanted = asyncio.Event()
        self._at_once = asyncio.Semaphore(settings.at_once)
        self._renewing: set[asyncio.Task[None]] = set()

    @property
    def volumes(self) -> dict[str, PodVolume]:
        """What is published, by key; not to be changed."""
        return self._volumes

    async def start(self) -> None:
        """Take up what an earlier process left, and clean up after it.

        Raises:
            OSError: The node does not let us mount.
        """
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not any(mount.path == self._folder for mount in mounts()):
            _STATE_TMPFS.mount(self._folder)
        known = set()
        for state in list(self._parts.states.load()):
            known.add(state.key)
            await self._resume(state)
        for folder in self._folder.iterdir():
            if folder.is_dir() and folder.name not in known:
                _remove(folder)
        _log.info("volumes_resumed", volumes=len(self._volumes))

    async def run(self) -> None:
        """Renew, follow changes and bundles, until cancelled; volumes stay as they are then."""
        work = (self._follow(), self._keep_bundles(), self._renew_in_time())
        tasks = [asyncio.create_task(each) for each in work]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in (*tasks, *self._renewing):
                task.cancel()
            await asyncio.gather(*tasks, *self._renewing, return_exceptions=True)

    async def close(self) -> None:
        """End the sockets; files and mounts stay, for running pods and for the next process."""
        await asyncio.gather(*(volume.close() for volume in self._volumes.values()))

    async def publish(self, order: VolumeOrder) -> None:
        """Have the volume at its target, with a certificate in it.

        Of a volume that is there already, only the token is taken; what it holds, or no longer
        holds, is looked after on our own schedule, and the kubelet is never told of it: it would
        take the mount away from a running pod.

        Raises:
            RefusedError: The pod may have no certificate; nothing is left.
            UnavailableError: Nobody answers; nothing is left.
            InputError: Another pod has a volume of this name, or this one at another target.
        """
        key = volume_key(order.volume_id)
        async with self._locks[key]:
            volume = self._volumes.get(key)
            if volume is None:
                await self._publish_first(key, order)
                return
            there = (volume.saved.target, volume.pod.uid, volume.pod.identity)
            if there != (str(order.target), order.pod.uid, order.pod.identity):
                message = (
                    f"volume_id: {order.volume_id} is published for pod {volume.pod.uid} at "
                    f"{volume.saved.target}; unpublish it first"
                )
                raise InputError(message)
            volume.refresh(order.pod)
            self._show(volume)

    async def unpublish(self, volume_id: str, target: Path) -> None:
        """Have the volume gone, whatever of it is there.

        Raises:
            InternalError: The kernel does not unmount it.
        """
        key = volume_key(volume_id)
        async with self._locks[key]:
            volume = self._volumes.get(key)
            if volume is None or volume.saved.target == str(target):
                await self._discard(key, target)
            else:
                _hide(target)
        self._locks.pop(key, None)

    async def _publish_first(self, key: str, order: VolumeOrder) -> None:
        state = VolumeState(
            volume_id=order.volume_id, target=str(order.target), group=order.group, pod=order.pod
        )
        self._parts.states.save(state)
        try:
            folder = self._folder / key
            folder.mkdir(mode=0o700, exist_ok=True)
            unmount(folder)
            self._settings.volume.mount(folder)
            volume = PodVolume(state, folder, self._parts)
            async with self._at_once:
                await self._in_time(volume)
            await volume.open()
            self._volumes[key] = volume
            self._show(volume)
        except BaseException:
            await asyncio.shield(self._discard(key, order.target))
            raise
        self._schedule(key, volume)
        _log.info(
            "volume_published", namespace=order.pod.namespace, pod=order.pod.name,
            identity=order.pod.identity,
        )  # fmt: skip

    async def _in_time(self, volume: PodVolume) -> None:
        done = asyncio.Event()

        async def obtain() -> None:
            await volume.obtain()
            done.set()

        await within(self._clock, self._settings.publish_seconds, obtain())
        if not done.is_set():
            message = (
                "the issuer service did not answer within "
                f"{self._settings.publish_seconds:g} s; the kubelet tries again"
            )
            raise UnavailableError(message)

    def _show(self, volume: PodVolume) -> None:
        """Bind it to its target, unless it is there; what else lies there is taken away."""
        target = read_target(volume.saved.target, self._settings.targets)
        seen = mounts()
        device = next(m.device for m in reversed(seen) if m.path == volume.folder)
        there = [mount for mount in seen if mount.path == target]
        if len(there) == 1 and there[0].device == device and there[0].read_only:
            return
        unmount(target)
        target.mkdir(mode=0o750, parents=True, exist_ok=True)
        bind_read_only(volume.folder, target)

    async def _discard(self, key: str, target: Path) -> None:
        volume = self._volumes.pop(key, None)
        self._due.remove(key)
        _hide(target)
        if volume is not None:
            await volume.close()
        _remove(self._folder / key)
        self._parts.states.forget(key)

    async def _resume(self, state: VolumeState) -> None:
        folder = self._folder / state.key
        try:
            target = read_target(state.target, self._settings.targets)
        except InputError:
            self._parts.states.forget(state.key)
            return
        begun = state.held is None and state.ended is None
        if begun or not target.parent.is_dir():
            # The kubelet was not told of it, or has forgotten the pod.
            await self._discard(state.key, target)
            return
        folder.mkdir(mode=0o700, exist_ok=True)
        if not any(mount.path == folder for mount in mounts()):
            self._settings.volume.mount(folder)
        volume = PodVolume(state, folder, self._parts)
        volume.reload()
        await volume.open()
        self._volumes[state.key] = volume
        self._show(volume)
        self._schedule(state.key, volume)

    def _schedule(self, key: str, volume: PodVolume, wait: float | None = None) -> None:
        now = self._clock.monotonic()
        if wait is None:
            due = now if volume.held is None else max(volume.held.renew_at, now + _SOONEST)
        else:
            due = now + wait
        first = self._due.first_due()
        self._due.put(key, due)
        if first is None or due < first:
            self._earlier.set()

    async def _renew_in_time(self) -> None:
        while True:
            self._earlier.clear()
            now = self._clock.monotonic()
            while (key := self._due.pop_due(now)) is not None:
                task = asyncio.create_task(self._renew(key), name=f"renew {key}")
                self._renewing.add(task)
                task.add_done_callback(self._renewing.discard)
            first = self._due.first_due()
            wait = None if first is None else min(max(first - now, 0.0), _LOOK_AGAIN)
            await pause(self._clock, wait, self._earlier)

    async def _renew(self, key: str) -> None:
        volume = self._volumes.get(key)
        if volume is None:
            return
        wait: float | None = None
        try:
            async with self._at_once:
                await volume.obtain()
        except RefusedError as error:
            volume.failures += 1
            wait = _REFUSED.seconds(volume.failures, self._random())
            self._refused(volume, error)
        except AgentIdError as error:
            volume.failures += 1
            wait = _RENEWING.seconds(volume.failures, self._random())
            _log.warning(
                "renewal_failed", pod_uid=volume.pod.uid, remaining=round(volume.remaining),
                error=str(error),
            )  # fmt: skip
            if volume.remaining <= 0:
                volume.expire()
        if key in self._volumes:
            self._schedule(key, volume, wait)

    def _refused(self, volume: PodVolume, error: RefusedError) -> None:
        """A refusal that is final ends what the pod holds; another one, once it has run out."""
        if error.final or volume.remaining <= 0:
            volume.take_away(error.reason, str(error))
        if volume.failures == 1:
            self._announce(volume.pod, error.reason, str(error))
        _log.warning("renewal_refused", pod_uid=volume.pod.uid, reason=error.reason)

    async def _follow(self) -> None:
        failures = 0
        while True:
            began = self._clock.monotonic()
            try:
                async for change in self._parts.issuer.changes():
                    self._changed(change)
            except AgentIdError as error:
                _log.warning("feed_interrupted", error=str(error))
            failures = 1 if self._clock.monotonic() - began > _HELD_UP else failures + 1
            self._bundles_wanted.set()
            await self._clock.sleep(_FOLLOWING.seconds(failures, self._random()))

    def _changed(self, change: Change) -> None:
        if change.kind is ChangeKind.BUNDLES:
            self._bundles_wanted.set()
            return
        for key, volume in self._volumes.items():
            if change.pod is not None and change.pod != volume.pod.uid:
                continue
            if change.kind is ChangeKind.REVOKED and volume.holds(change.serial):
                volume.take_away(change.reason, change.message)
                self._announce(volume.pod, change.reason, change.message)
                _log.warning("volume_revoked", pod_uid=volume.pod.uid, reason=change.reason)
                volume.failures = 1
                self._schedule(key, volume, _REFUSED.seconds(1, self._random()))
            elif change.kind is ChangeKind.GRANTS:
                volume.failures = 0
                self._schedule(key, volume, 0.0)

    async def _keep_bundles(self) -> None:
        while True:
            self._bundles_wanted.clear()
            try:
                trust = read_trust(await self._parts.issuer.bundles())
            except AgentIdError as error:
                _log.warning("bundles_not_fetched", error=str(error))
            else:
                if trust != self._parts.trust:
                    self._parts.trust.clear()
                    self._parts.trust.update(trust)
                    self._trust_changed()
            await pause(self._clock, self._settings.bundle_seconds, self._bundles_wanted)

    def _trust_changed(self) -> None:
        for volume in self._volumes.values():
            try:
                volume.trust_changed()
            except AgentIdError as error:
                _log.warning("trust_not_delivered", pod_uid=volume.pod.uid, error=str(error))


def _hide(target: Path) -> None:
    unmount(target)
    with contextlib.suppress(FileNotFoundError):
        target.rmdir()


def _remove(folder: Path) -> None:
    unmount(folder)
    with contextlib.suppress(FileNotFoundError):
        folder.rmdir()
