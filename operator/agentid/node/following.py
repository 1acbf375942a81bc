"""What changes while volumes are there: what is revoked, what is granted, and what is trusted."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import structlog

from agentid.errors import AgentIdError
from agentid.kube.backoff import Backoff
from agentid.kube.waiting import pause
from agentid.node.issuer import ChangeKind
from agentid.node.trust import read_trust

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agentid.clock import Clock
    from agentid.node.issuer import Change, IssuerPort
    from agentid.node.pod_volume import PodVolume
    from agentid.node.renewals import Renewals
    from agentid.node.trust import Trust

__all__ = ["Following"]

_log = structlog.stdlib.get_logger(__name__)

_FOLLOWING: Final = Backoff(base=timedelta(seconds=0.5), ceiling=timedelta(seconds=15))
_HELD_UP: Final = 10.0
"""Seconds after which a feed that ends is one that worked."""


class Following:
    """Has all volumes follow the issuer service; to be used within one event loop."""

    def __init__(
        self,
        volumes: Mapping[str, PodVolume],
        renewals: Renewals,
        issuer: IssuerPort,
        trust: dict[str, Trust],
        *,
        clock: Clock,
        random: Callable[[], float],
        bundle_seconds: float,
    ) -> None:
        """Take the parts.

        Args:
            volumes: By key; changed by their owner.
            renewals: Told when a volume is to be renewed at another time.
            issuer: Followed.
            trust: What is trusted; changed in place here and nowhere else.
            clock: For periods alone.
            random: Between 0 and 1, for back-off.
            bundle_seconds: Between two looks at the bundles, should the feed miss a change.
        """
        self._volumes = volumes
        self._renewals = renewals
        self._issuer = issuer
        self._trust = trust
        self._clock = clock
        self._random = random
        self._bundle_seconds = bundle_seconds
        self._bundles_wanted = asyncio.Event()

    async def run(self) -> None:
        """Follow, until cancelled."""
        tasks = [asyncio.create_task(each) for each in (self._follow(), self._keep_bundles())]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _follow(self) -> None:
        failures = 0
        while True:
            began = self._clock.monotonic()
            try:
                async for change in self._issuer.changes():
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
            if change.kind is ChangeKind.GRANTS:
                volume.failures = 0
                self._renewals.schedule(key, volume, 0.0)
            elif volume.revoke(change.serial, change.reason, change.message):
                self._renewals.after_revocation(key, volume, change.reason, change.message)

    async def _keep_bundles(self) -> None:
        while True:
            self._bundles_wanted.clear()
            try:
                trust = read_trust(await self._issuer.bundles())
            except AgentIdError as error:
                _log.warning("bundles_not_fetched", error=str(error))
            else:
                if trust != self._trust:
                    self._trust.clear()
                    self._trust.update(trust)
                    await self._deliver_trust()
            await pause(self._clock, self._bundle_seconds, self._bundles_wanted)

    async def _deliver_trust(self) -> None:
        for volume in list(self._volumes.values()):
            try:
                volume.trust_changed()
            except AgentIdError as error:
                _log.warning("trust_not_delivered", pod_uid=volume.pod.uid, error=str(error))
            await asyncio.sleep(0)  # a revocation does not wait for a hundred pods' files
