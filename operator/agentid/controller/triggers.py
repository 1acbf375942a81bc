"""Every trigger of the operator.

| trigger | sets off |
|---|---|
| an AgentIdentity appears, changes, goes (`watching`) | a look at it |
| an AgentClass appears, changes, goes | a look at it, and at all identities that name it |
| an AgentIssuer appears, changes, goes | a look at it, then at all identities it signs for |
| an AgentRevocation appears, changes, goes | a look at it, then at the identities it concerns |
| a Namespace appears, changes, goes | the trust bundles in it, if it asks for them |
| a renewal or a revocation falls due (`loops`) | a look at the identity |
| this replica becomes leader; every ten minutes (`loops`) | a look at everything |

Kopf runs these in every replica, so that caches are warm everywhere; only the leader acts. Those of
AgentIdentities, by tens of thousands, come by a watch of our own.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

import kopf

from agentid.constants import GROUP, VERSION
from agentid.kube.session import open_session

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentid.controller.loops import Loops
    from agentid.kube.credentials import Credentials

__all__ = ["make_registry", "make_settings"]

_CHUNK: Final = 500
"""Objects in a page of the first list, as our own client has it."""

_IDLE: Final = 0.2
"""Seconds that Kopf keeps the worker of an object after its last event. The default of five costs
half the throughput and twice the memory when thousands are created (measured in ADR 0001)."""

_CONNECTIONS: Final = 8
"""Four watches, and the lists before them."""


class _Patience:
    """Seconds between Kopf's tries of a request, without end.

    By default Kopf gives up a request after nine tries, and its watch with it. An API server may be
    away for longer, and one that has just started refuses everybody, since it knows no RBAC yet.
    """

    def __iter__(self) -> Iterator[float]:
        """Yield short waits first, then the same one for ever."""
        return itertools.chain((0.2, 0.5, 1.0, 2.0), itertools.repeat(3.0))


def make_registry(loops: Loops, credentials: Credentials) -> kopf.OperatorRegistry:
    """Register the triggers."""
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    async def login(**_: object) -> kopf.AiohttpSession:
        session = open_session(credentials, connections=_CONNECTIONS)
        return kopf.AiohttpSession(server=credentials.server, aiohttp_session=session)

    @kopf.on.event(GROUP, VERSION, "agentclasses", registry=registry)
    async def class_seen(event: kopf.RawEvent, **_: object) -> None:
        loops.class_seen(event["object"], gone=event["type"] == "DELETED")

    @kopf.on.event(GROUP, VERSION, "agentissuers", registry=registry)
    async def issuer_seen(event: kopf.RawEvent, **_: object) -> None:
        loops.issuer_seen(event["object"], gone=event["type"] == "DELETED")

    @kopf.on.event(GROUP, VERSION, "agentrevocations", registry=registry)
    async def incident_seen(event: kopf.RawEvent, **_: object) -> None:
        loops.incidents.seen(event["object"], gone=event["type"] == "DELETED")

    @kopf.on.event("", "v1", "namespaces", registry=registry)
    async def namespace_seen(event: kopf.RawEvent, **_: object) -> None:
        loops.trust.namespace_seen(event["object"], gone=event["type"] == "DELETED")

    return registry


def make_settings() -> kopf.OperatorSettings:
    """Make Kopf watch, and do nothing else: no scans, no peering, no Events."""
    settings = kopf.OperatorSettings()
    settings.scanning.disabled = True
    settings.peering.standalone = True
    settings.posting.enabled = False
    settings.watching.chunk_size = _CHUNK
    settings.queueing.idle_timeout = _IDLE
    settings.queueing.exit_timeout = 0.5
    settings.networking.error_backoffs = _Patience()
    return settings
