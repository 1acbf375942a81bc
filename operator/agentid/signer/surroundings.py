"""Looks up whom a request names: pod, ServiceAccount and node."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agentid.errors import NotFoundError
from agentid.kube.objects import uid_of
from agentid.kube.resources import NODES, PODS, SERVICE_ACCOUNTS
from agentid.services.pods import Pod
from agentid.signer.attestation import Evidence

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from agentid.clock import Clock
    from agentid.kube.client import Client
    from agentid.kube.resources import Resource
    from agentid.services.pods import Pods
    from agentid.signer.request import PodCertificateRequest

__all__ = ["Surroundings"]

_KEPT: Final = 10.0
"""Seconds that the UID of a ServiceAccount or node is believed. Pods of one Deployment share the
one, pods of one node the other, and neither is made anew under a pod but by a person."""

_MOST: Final = 4096
"""UIDs that are kept at most; then all are asked for again."""


@dataclass(frozen=True, slots=True)
class _Asked:
    since: float
    uid: asyncio.Task[str | None]


class Surroundings:
    """Reads the caches; asks the API server about what they do not hold, and before a denial."""

    def __init__(self, client: Client, pods: Pods, clock: Clock) -> None:
        """Take the parts; nothing is asked yet."""
        self._client = client
        self._pods = pods
        self._clock = clock
        self._asked: dict[tuple[str, str, str], _Asked] = {}

    async def look(self, request: PodCertificateRequest, *, anew: bool = False) -> Evidence:
        """Find what the API server knows of whom a request names.

        Args:
            request: What names them.
            anew: Whether to ask, whatever is known already.

        Raises:
            UnavailableError: The API server is away.
            ForbiddenError: We may not read one of them.
        """
        namespace = request.key.namespace
        pod, account, node = await asyncio.gather(
            self._pod(request, anew=anew),
            self._uid(SERVICE_ACCOUNTS, request.service_account, namespace, anew=anew),
            self._uid(NODES, request.node_name, "", anew=anew),
        )
        return Evidence(pod, account, node)

    async def _pod(self, request: PodCertificateRequest, *, anew: bool) -> Pod | None:
        known = None if anew else self._pods.get(request.pod_uid)
        if known is not None:
            return known
        try:
            body = await self._client.get(PODS, request.pod_name, request.key.namespace)
        except NotFoundError:
            return None
        return Pod.of(body)

    async def _uid(
        self, resource: Resource, name: str, namespace: str, *, anew: bool
    ) -> str | None:
        key = (resource.plural, namespace, name)
        now = self._clock.monotonic()
        asked = self._asked.get(key)
        if anew or asked is None or now - asked.since > _KEPT or _failed(asked.uid):
            if len(self._asked) >= _MOST:
                self._asked.clear()
            asked = _Asked(now, asyncio.ensure_future(self._ask(resource, name, namespace)))
            self._asked[key] = asked
        # Who is cancelled while others wait for the same answer does not take it from them.
        return await asyncio.shield(asked.uid)

    def _ask(
        self, resource: Resource, name: str, namespace: str
    ) -> Coroutine[object, object, str | None]:
        async def ask() -> str | None:
            try:
                return uid_of(await self._client.get(resource, name, namespace or None))
            except NotFoundError:
                return None

        return ask()


def _failed(task: asyncio.Task[str | None]) -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)
