"""When each volume of a node gets its next certificate.

By the periods that the issuer tells and a clock that only goes on: a wrong wall clock of the node
neither lets a certificate run out nor has all of them renewed at once.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Protocol

import structlog

from agentid.errors import AgentIdError
from agentid.kube.backoff import Backoff
from agentid.kube.heap import DueHeap
from agentid.kube.waiting import pause
from agentid.node.issuer import RefusedError
from agentid.node.metrics import failure

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agentid.clock import Clock
    from agentid.node.issuer import PodProof
    from agentid.node.metrics import NodeMetrics
    from agentid.node.pod_volume import PodVolume

__all__ = ["Announce", "Renewals"]

_log = structlog.stdlib.get_logger(__name__)

_LOOK_AGAIN: Final = 5.0
"""Seconds after which the clock is read again at the latest: it goes on while a machine sleeps."""

_SOONEST: Final = 1.0
"""Seconds between two certificates of one pod at least, whatever the issuer service says."""

_RENEWING: Final = Backoff(base=timedelta(seconds=1), ceiling=timedelta(seconds=60))
_REFUSED: Final = Backoff(base=timedelta(seconds=20), ceiling=timedelta(minutes=5))


class Announce(Protocol):
    """Tells the people who look at a pod."""

    def __call__(self, pod: PodProof, reason: str, message: str) -> None:
        """Say it on the pod; nothing waits for it."""


class Renewals:
    """The timetable of all volumes, and the work; to be used within one event loop."""

    def __init__(
        self,
        volumes: Mapping[str, PodVolume],
        at_once: asyncio.Semaphore,
        announce: Announce,
        *,
        clock: Clock,
        random: Callable[[], float],
        metrics: NodeMetrics,
    ) -> None:
        """Take the parts.

        Args:
            volumes: By key; changed by their owner.
            at_once: How many certificates are asked for at the same time.
            announce: Tells a refusal.
            clock: For periods alone.
            random: Between 0 and 1, for back-off.
            metrics: Counts.
        """
        self._volumes = volumes
        self._at_once = at_once
        self._announce = announce
        self._clock = clock
        self._random = random
        self._metrics = metrics
        self._due: DueHeap[str] = DueHeap()
        self._earlier = asyncio.Event()
        self._running: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Renew in time, until cancelled."""
        try:
            while True:
                self._earlier.clear()
                now = self._clock.monotonic()
                while (key := self._due.pop_due(now)) is not None:
                    task = asyncio.create_task(self._renew(key), name=f"renew {key}")
                    self._running.add(task)
                    task.add_done_callback(self._running.discard)
                first = self._due.first_due()
                wait = None if first is None else min(max(first - now, 0.0), _LOOK_AGAIN)
                await pause(self._clock, wait, self._earlier)
        finally:
            for task in self._running:
                task.cancel()
            await asyncio.gather(*self._running, return_exceptions=True)

    def schedule(self, key: str, volume: PodVolume, wait: float | None = None) -> None:
        """Renew when its certificate is due for it, or after so many seconds."""
        now = self._clock.monotonic()
        if wait is None:
            due = now if volume.held is None else max(volume.held.renew_at, now + _SOONEST)
        else:
            due = now + wait
        first = self._due.first_due()
        self._due.put(key, due)
        if first is None or due < first:
            self._earlier.set()

    def forget(self, key: str) -> None:
        """Renew it no more."""
        self._due.remove(key)

    def after_revocation(self, key: str, volume: PodVolume, reason: str, message: str) -> None:
        """Tell that it was taken away, and look later whether the pod may have another."""
        self._announce(volume.pod, reason, message)
        _log.warning("volume_revoked", pod_uid=volume.pod.uid, reason=reason)
        self._metrics.takings.labels("revoked").inc()
        volume.failures = 1
        self.schedule(key, volume, _REFUSED.seconds(1, self._random()))

    async def _renew(self, key: str) -> None:
        volume = self._volumes.get(key)
        if volume is None:
            return
        try:
            async with self._at_once:
                await volume.obtain()
        except Exception as error:  # noqa: BLE001 - a defect must not end the pod's renewals
            if self._volumes.get(key) is not volume:
                return  # unpublished meanwhile
            self._metrics.renewals.labels(failure(error)).inc()
            self.schedule(key, volume, self._failed(volume, error))
            return
        self._metrics.renewals.labels("").inc()
        if self._volumes.get(key) is volume:
            self.schedule(key, volume)

    def _failed(self, volume: PodVolume, error: Exception) -> float:
        """Do what follows from it; seconds until the next try."""
        volume.failures += 1
        if isinstance(error, RefusedError):
            self._refused(volume, error)
            wait = _REFUSED.seconds(volume.failures, self._random())
        else:
            self._not_answered(volume, error)
            wait = _RENEWING.seconds(volume.failures, self._random())
        if volume.remaining > 0:
            # At its end somebody has to look, or it would be served for longer than it holds.
            wait = min(wait, max(volume.remaining, _SOONEST))
        return wait

    def _refused(self, volume: PodVolume, error: RefusedError) -> None:
        """A refusal that is final ends what the pod holds; another one, once it has run out."""
        if error.final or volume.remaining <= 0:
            if volume.held is not None:
                self._metrics.takings.labels("refused").inc()
            volume.take_away(error.reason, str(error))
        if volume.failures == 1:
            self._announce(volume.pod, error.reason, str(error))
        _log.warning("renewal_refused", pod_uid=volume.pod.uid, reason=error.reason)

    def _not_answered(self, volume: PodVolume, error: Exception) -> None:
        _log.warning(
            "renewal_failed", pod_uid=volume.pod.uid, remaining=round(volume.remaining),
            error=str(error), exc_info=None if isinstance(error, AgentIdError) else error,
        )  # fmt: skip
        if volume.remaining <= 0 and volume.expire():
            self._metrics.takings.labels("expired").inc()
