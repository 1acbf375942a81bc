"""What the triggers set off for trust bundles: our own, and those of foreign trust domains."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

from agentid.api.agentissuer import AgentIssuer
from agentid.kube.objects import ObjectKey
from agentid.kube.resources import NAMESPACES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agentid.factory import Parts

__all__ = ["TrustLoop"]


class TrustLoop:
    """Keeps the world's namespaces up to date, and has the leader publish and fetch."""

    def __init__(self, parts: Parts, look_at: Callable[[ObjectKey], None]) -> None:
        """Take the parts; nothing runs yet.

        Args:
            parts: Of the operator.
            look_at: Has an issuer looked at, by kind and name, so that its status tells the news.
        """
        self._world = parts.world
        self._client = parts.client
        self._bundles = parts.bundles
        self._federation = parts.federation
        self._look_at = look_at

    def namespace_seen(self, body: Mapping[str, object], *, gone: bool) -> None:
        """A Namespace has appeared, changed or gone."""
        if self._world.take_namespace(body, gone=gone):
            self._bundles.poke()

    def issuer_seen(self) -> None:
        """An AgentIssuer has appeared, changed or gone."""
        self._bundles.poke()
        self._federation.poke()

    def authorities_seen(self) -> None:
        """The authorities of an issuer may be others than before."""
        self._bundles.poke()

    async def prime(self) -> None:
        """Know all namespaces before anything is published or removed.

        Raises:
            AgentIdError: They cannot be listed.
        """
        async with aclosing(self._client.list_metadata(NAMESPACES)) as namespaces:
            async for body in namespaces:
                self.namespace_seen(body, gone=False)

    async def run(self) -> None:
        """Publish and fetch, as the leader does, until cancelled."""
        async with asyncio.TaskGroup() as group:
            # In this order: the first forgets what an earlier leadership has fetched.
            group.create_task(self._bundles.run())
            group.create_task(self._federation.run(self._fetched))

    def _fetched(self, issuer: str) -> None:
        self._bundles.poke()
        self._look_at(ObjectKey(AgentIssuer.KIND, issuer))
