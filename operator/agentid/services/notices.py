"""Kubernetes Events for what a person must see, and for nothing else.

An Event has a name that follows from what it tells, so it is created once and, while the API server
keeps it (an hour by default), never again: by no retry, no restart and no other replica. Nothing
waits for it, and one that cannot be written is let go; the status of the object says the same.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import structlog

from agentid.constants import GROUP, VERSION
from agentid.errors import AgentIdError, AlreadyExistsError, UnavailableError
from agentid.kube.resources import EVENTS

if TYPE_CHECKING:
    from agentid.api.model import ObjectMeta
    from agentid.clock import Clock
    from agentid.kube.client import Client
    from agentid.kube.objects import JsonObject

__all__ = ["Notice", "Notices"]

_log = structlog.stdlib.get_logger(__name__)

_CLUSTER: Final = "default"
"""The namespace of Events about kinds of the cluster; the API server takes no other."""

_WAITING: Final = 500
"""Events that may wait. A class that refuses ten thousand agents at once says so in each status; in
Events it would only crowd out others."""

_PACE: Final = 0.05
"""Seconds between two: a flood of them must not cost what agents wait for."""

_TRIES: Final = 3
_AGAIN: Final = 2.0

_NOTE: Final = 1024
"""Octets of a note that the API server takes."""

_NAME: Final = 63


class Notice(StrEnum):
    """What is told; the reasons of the Events."""

    STALLED = "Stalled"
    """Nothing happens for an identity until somebody changes something."""
    AUTHORITY_EXPIRES = "AuthorityExpires"
    """An authority is due to be replaced, and agentid cannot do it."""
    DISTRUST_FINISHED = "DistrustFinished"
    """Nothing that a distrusted authority signed is trusted any more, or in use."""
    INCIDENT_EXECUTED = "IncidentExecuted"
    """An AgentRevocation has revoked all that it hit."""
    CERTIFICATE_WAITS = "CertificateWaits"
    """A pod waits for its certificate."""


_NORMAL: Final = frozenset({Notice.DISTRUST_FINISHED, Notice.INCIDENT_EXECUTED})

_ACTIONS: Final = {
    Notice.STALLED: "Issue",
    Notice.AUTHORITY_EXPIRES: "Rotate",
    Notice.DISTRUST_FINISHED: "Distrust",
    Notice.INCIDENT_EXECUTED: "Revoke",
    Notice.CERTIFICATE_WAITS: "Issue",
}


@dataclass(frozen=True, slots=True)
class _Waiting:
    notice: Notice
    kind: str
    metadata: ObjectMeta
    message: str
    what: str
    api_version: str


class Notices:
    """Takes what is to be told at once, and writes it when there is time; `run` does the work."""

    def __init__(self, client: Client, *, clock: Clock, instance: str) -> None:
        """Take the parts.

        Args:
            client: The API server.
            clock: For times and waits.
            instance: Name of this replica.
        """
        self._client = client
        self._clock = clock
        self._instance = instance[:128]
        self._waiting: asyncio.Queue[_Waiting] = asyncio.Queue(_WAITING)
        self._dropping = False

    def tell(
        self,
        notice: Notice,
        kind: str,
        metadata: ObjectMeta,
        message: str,
        what: str,
        *,
        api_version: str = f"{GROUP}/{VERSION}",
    ) -> None:
        """Have an Event written.

        Args:
            notice: What is told.
            kind: Of the object.
            metadata: Of the object.
            message: In sentences.
            what: Tells this from another of the same notice and object, such as the reason of a
                condition; the same is told once.
            api_version: Of the kind.
        """
        waiting = _Waiting(notice, kind, metadata, message, what, api_version)
        try:
            self._waiting.put_nowait(waiting)
        except asyncio.QueueFull:
            if not self._dropping:
                _log.warning("events_dropped", waiting=_WAITING)
            self._dropping = True
        else:
            self._dropping = False

    async def run(self) -> None:
        """Write Events until cancelled."""
        while True:
            await self._write(await self._waiting.get())
            await self._clock.sleep(_PACE)

    async def _write(self, waiting: _Waiting) -> None:
        problem: AgentIdError | None = None
        for attempt in range(_TRIES):
            try:
                await self._client.create(EVENTS, self._event(waiting))
            except AlreadyExistsError:
                return
            except UnavailableError as error:
                problem = error
                await self._clock.sleep(_AGAIN * 2**attempt)
            except AgentIdError as error:
                problem = error
                break
            else:
                return
        _log.warning(
            "event_not_written", notice=waiting.notice.value, kind=waiting.kind,
            namespace=waiting.metadata.namespace, name=waiting.metadata.name, error=str(problem),
        )  # fmt: skip

    def _event(self, waiting: _Waiting) -> JsonObject:
        metadata, notice = waiting.metadata, waiting.notice
        told = f"{metadata.uid} {notice.value} {waiting.what}"
        digest = hashlib.sha256(told.encode()).hexdigest()[:16]
        reference: JsonObject = {
            "apiVersion": waiting.api_version,
            "kind": waiting.kind,
            "name": metadata.name,
            "uid": metadata.uid,
        }
        if metadata.resource_version:
            reference["resourceVersion"] = metadata.resource_version
        if metadata.namespace:
            reference["namespace"] = metadata.namespace
        return {
            "apiVersion": EVENTS.api_version,
            "kind": EVENTS.kind,
            "metadata": {
                "namespace": metadata.namespace or _CLUSTER,
                "name": f"{metadata.name[: _NAME - 17].rstrip('.-')}.{digest}",
            },
            "eventTime": self._clock.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "reportingController": f"{GROUP}/controller",
            "reportingInstance": self._instance,
            "regarding": reference,
            "type": "Normal" if notice in _NORMAL else "Warning",
            "reason": notice.value,
            "action": _ACTIONS[notice],
            "note": _shortened(waiting.message),
        }


def _shortened(text: str) -> str:
    data = text.encode()
    if len(data) <= _NOTE:
        return text
    return data[: _NOTE - 3].decode(errors="ignore") + "…"
