"""Events of pods: what the people who look at a pod have to see.

A pod that does not start says so by the kubelet's own event, with our message in it. These are for
pods that run. The same is told once while the API server keeps it, by its name.
"""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING, Final

import structlog

from agentid.constants import GROUP
from agentid.errors import AgentIdError, AlreadyExistsError
from agentid.kube.resources import EVENTS

if TYPE_CHECKING:
    from agentid.clock import Clock
    from agentid.kube.client import Client
    from agentid.kube.objects import JsonObject
    from agentid.node.issuer import PodProof

__all__ = ["PodEvents", "event_of"]

_log = structlog.stdlib.get_logger(__name__)

_WAITING: Final = 200
"""Events that may wait; an incident hits each pod of a node once."""

_PACE: Final = 0.05
_NOTE: Final = 1024
"""Octets of a note that the API server takes."""


class PodEvents:
    """An `Announce` that writes Events; `run` does the work."""

    def __init__(self, client: Client, *, clock: Clock, node: str) -> None:
        self._client = client
        self._clock = clock
        self._node = node
        self._waiting: asyncio.Queue[JsonObject] = asyncio.Queue(_WAITING)

    def __call__(self, pod: PodProof, reason: str, message: str) -> None:
        """Have it written; beyond what may wait it is let go, and the log says it all the same."""
        now = self._clock.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        try:
            self._waiting.put_nowait(event_of(pod, reason, message, self._node, now))
        except asyncio.QueueFull:
            _log.warning("events_dropped", pod_uid=pod.uid, reason=reason)

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            event = await self._waiting.get()
            try:
                await self._client.create(EVENTS, event)
            except AlreadyExistsError:
                pass
            except AgentIdError as error:
                _log.warning("event_not_written", error=str(error))
            await self._clock.sleep(_PACE)


def event_of(pod: PodProof, reason: str, message: str, node: str, now: str) -> JsonObject:
    """The Event on a pod."""
    told = hashlib.sha256(f"{pod.uid} {reason} {message}".encode()).hexdigest()[:16]
    note = message.encode()
    if len(note) > _NOTE:
        message = note[: _NOTE - 3].decode(errors="ignore") + "…"
    return {
        "apiVersion": EVENTS.api_version,
        "kind": EVENTS.kind,
        "metadata": {
            "namespace": pod.namespace, "name": f"{pod.name[:46].rstrip('.-')}.{told}"
        },
        "eventTime": now,
        "reportingController": f"{GROUP}/node",
        "reportingInstance": node[:128],
        "regarding": {
            "apiVersion": "v1", "kind": "Pod", "namespace": pod.namespace, "name": pod.name,
            "uid": pod.uid,
        },
        "type": "Warning",
        "reason": reason[:128] or "Refused",
        "action": "Deliver",
        "note": message,
    }  # fmt: skip
