"""All volumes of a node: published, taken away, and taken up again after a restart.

```
<root>/state          tmpfs, 0700: what follows
<root>/state/<key>.json   VolumeState
<root>/state/<key>/       the pod's own tmpfs, written here, shown read-only at the target
```
Every step can be the last one of this process. Publishing writes the state first and shows the
volume last; unpublishing ends its socket, hides it, and forgets it last; so whatever there is has a
state file. What goes on while a volume is there is in `renewals` and `following`.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import structlog

from agentid.errors import AgentIdError, InputError, InternalError, UnavailableError
from agentid.kube.waiting import within
from agentid.node.following import Following
from agentid.node.metrics import NodeMetrics, NodeSnapshot, failure
from agentid.node.mounts import Tmpfs, bind_read_only, mounts, shown, unmount
from agentid.node.pod_volume import PodVolume, VolumeParts
from agentid.node.present import IssuersPresent
from agentid.node.renewals import Renewals
from agentid.node.state import StateFolder, Unread, VolumeState, volume_key
from agentid.node.turns import Turns
from agentid.node.volume import read_target

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from agentid.clock import Clock
    from agentid.node.issuer import IssuerPort
    from agentid.node.pod_volume import Answered
    from agentid.node.renewals import Announce
    from agentid.node.volume import VolumeOrder
    from agentid.node.workload import JwtValidator

__all__ = ["Driver", "DriverSettings"]

_log = structlog.stdlib.get_logger(__name__)

_STATE_TMPFS: Final = Tmpfs(bytes_=64 * 1024 * 1024, inodes=8192, mode=0o700)
"""State files and mount points of 250 pods with bundles of 200 KiB."""

POD_TMPFS: Final = Tmpfs(bytes_=8 * 1024 * 1024, inodes=64)


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
        present: IssuersPresent | None = None,
        metrics: NodeMetrics | None = None,
    ) -> None:
        """Take the parts.

        Args:
            settings: How it works.
            issuer: The issuer service.
            validate: Validates JWT-SVIDs.
            announce: Tells the people who look at a pod.
            clock: For periods alone.
            random: Between 0 and 1, for back-off.
            present: Is told what time the issuer has.
            metrics: Counts.
        """
        self._settings = settings
        self._folder = settings.root / "state"
        self._metrics = metrics or NodeMetrics()
        self._parts = VolumeParts(
            issuer, clock, StateFolder(self._folder), validate, {},
            present or IssuersPresent(clock), self._metrics,
        )  # fmt: skip
        self._clock = clock
        self._volumes: dict[str, PodVolume] = {}
        self._unread: dict[str, str] = {}
        self._turns = Turns()
        self._at_once = asyncio.Semaphore(settings.at_once)
        # Of many pods that start at the same time the first is finished first: what is done with
        # an answer takes the processor alone, so all at the same time would all be the last.
        self._finishing = asyncio.Lock()
        self._renewals = Renewals(
            self._volumes, self._at_once, announce,
            clock=clock, random=random, metrics=self._metrics,
        )  # fmt: skip
        self._following = Following(
            self._volumes, self._renewals, issuer, self._parts.trust,
            clock=clock, random=random, bundle_seconds=settings.bundle_seconds,
        )  # fmt: skip

    @property
    def volumes(self) -> dict[str, PodVolume]:
        """What is published, by key; not to be changed."""
        return self._volumes

    @property
    def renewals(self) -> Renewals:
        """When which volume gets its next certificate."""
        return self._renewals

    def snapshot(self) -> NodeSnapshot:
        """The state of all volumes now."""
        counts = {"serving": 0, "starting": 0, "ended": 0, "unread": len(self._unread)}
        for volume in self._volumes.values():
            counts[type(volume.state.value).__name__.lower()] += 1
        held = [each.held for each in self._volumes.values() if each.held is not None]
        now = self._clock.monotonic()
        return NodeSnapshot(
            volumes=counts,
            expiry=min((each.ends_at - now for each in held), default=None),
            overdue=max((now - each.renew_at for each in held if each.renew_at < now), default=0),
        )

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
            if isinstance(state, Unread):
                self._unread[state.key] = state.why
                _log.error("volume_of_later_release", volume=state.key, error=state.why)
                continue
            try:
                await self._resume(state)
            except (AgentIdError, OSError) as error:
                # The others are served all the same; the kubelet publishes this one again.
                _log.error("volume_not_resumed", pod_uid=state.pod.uid, error=str(error))
                if (volume := self._volumes.pop(state.key, None)) is not None:
                    await volume.close()
        for folder in self._folder.iterdir():
            if folder.is_dir() and folder.name not in known:
                _remove(folder)
        _log.info("volumes_resumed", volumes=len(self._volumes))

    async def run(self) -> None:
        """Renew, follow changes and bundles, until cancelled; volumes stay as they are then."""
        tasks = [asyncio.create_task(each.run()) for each in (self._renewals, self._following)]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

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
        async with self._turns.of(key):
            volume = self._volumes.get(key)
            if volume is None and (why := self._unread.get(key)) is not None:
                self._leave(key, order, why)
                return
            if volume is None:
                await self._publish_counted(key, order)
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
        async with self._turns.of(key):
            volume = self._volumes.get(key)
            if volume is None or volume.saved.target == str(target):
                await self._discard(key, target)
            else:
                _hide(target)

    async def _publish_counted(self, key: str, order: VolumeOrder) -> None:
        began = self._clock.monotonic()
        try:
            await self._publish_first(key, order)
        except BaseException as error:  # counted, whatever it is
            self._metrics.publications.labels(failure(error)).inc()
            if isinstance(error, OSError):
                message = f"{order.target}: the node does not let us mount there: {error}"
                raise InternalError(message) from error
            raise
        self._metrics.publications.labels("").inc()
        self._metrics.publish_seconds.observe(self._clock.monotonic() - began)

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
            # Known from here on: a revocation may come before the certificate that it is of.
            self._volumes[key] = volume
            async with AsyncExitStack() as turn:

                async def answered() -> None:
                    await turn.enter_async_context(self._finishing)

                async with self._at_once:
                    await self._in_time(volume, answered)
                await volume.open()
                self._show(volume)
        except BaseException:  # also when the kubelet has given up: nothing half-made is left
            await asyncio.shield(self._discard(key, order.target))
            raise
        self._renewals.schedule(key, volume)
        _log.info(
            "volume_published", namespace=order.pod.namespace, pod=order.pod.name,
            identity=order.pod.identity,
        )  # fmt: skip

    async def _in_time(self, volume: PodVolume, answered: Answered) -> None:
        async def obtain() -> bool:
            await volume.obtain(answered)
            return True

        if not await within(self._clock, self._settings.publish_seconds, obtain()):
            message = (
                "the issuer service did not answer within "
                f"{self._settings.publish_seconds:g} s; the kubelet tries again"
            )
            raise UnavailableError(message)

    def _show(self, volume: PodVolume) -> None:
        """Bind it to its target, unless it is there; what else lies there is taken away."""
        target = read_target(volume.saved.target, self._settings.targets)
        if shown(volume.folder, target):
            return
        unmount(target)
        target.mkdir(mode=0o750, parents=True, exist_ok=True)
        bind_read_only(volume.folder, target)

    async def _discard(self, key: str, target: Path) -> None:
        volume = self._volumes.pop(key, None)
        self._renewals.forget(key)
        if volume is not None:
            await volume.close()  # before what can fail: nobody would know of its socket any more
        _hide(target)
        _remove(self._folder / key)
        self._parts.states.forget(key)
        self._unread.pop(key, None)

    def _leave(self, key: str, order: VolumeOrder, why: str) -> None:
        """Leave a volume of a later release as it is; a pod that runs goes on with what it holds.

        Raises:
            UnavailableError: It is not there any more, and cannot be made anew from what is known.
        """
        if not shown(self._folder / key, order.target):
            message = f"the state of volume {order.volume_id}: {why}; or delete the pod"
            raise UnavailableError(message)
        _log.warning("volume_of_later_release", volume=key, pod_uid=order.pod.uid, error=why)

    async def _resume(self, state: VolumeState) -> None:
        folder = self._folder / state.key
        try:
            target = read_target(state.target, self._settings.targets)
        except InputError:
            self._parts.states.forget(state.key)
            return
        if state.begun or not target.parent.is_dir():
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
        self._renewals.schedule(state.key, volume)


def _hide(target: Path) -> None:
    unmount(target)
    _remove_empty(target)


def _remove(folder: Path) -> None:
    unmount(folder)
    _remove_empty(folder)


def _remove_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except FileNotFoundError:
        pass
    except OSError as error:
        message = f"{folder} cannot be removed: {error.strerror}; look what lies there"
        raise InternalError(message) from error
