"""Follows what the page shows, in the whole cluster, for as long as there is the right to.

What is missing is told by the page, and tried again: neither a right that is not there nor an odd
object ends the responder, which has CRLs and OCSP to serve.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

import structlog

from agentid.errors import ApiError, InputError
from agentid.kube.reflector import ChangeType, reflect
from agentid.responder.inventory.catalogue import KINDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentid.clock import Clock
    from agentid.errors import AgentIdError
    from agentid.kube.client import Client
    from agentid.kube.reflector import Change
    from agentid.kube.resources import Resource
    from agentid.responder.inventory.catalogue import Catalogue

__all__ = ["follow"]

_log = structlog.stdlib.get_logger(__name__)

_TRY_AGAIN: Final = 15.0
"""Seconds after which a kind that may not be read is tried again: somebody grants it, and looks."""


async def follow(
    client: Client, catalogue: Catalogue, *, clock: Clock, random: Callable[[], float]
) -> None:
    """Keep the catalogue current, until cancelled."""
    async with asyncio.TaskGroup() as group:
        for kind in KINDS:
            group.create_task(_follow_kind(client, kind, catalogue, clock, random))


async def _follow_kind(
    client: Client,
    kind: Resource,
    catalogue: Catalogue,
    clock: Clock,
    random: Callable[[], float],
) -> None:
    while True:
        changes = reflect(
            client,
            kind,
            clock=clock,
            random=random,
            tell_current=True,
            on_outage=lambda error, seconds: _outage(kind.plural, error, seconds),
        )
        try:
            async with aclosing(changes):
                async for change in changes:
                    _take_in(catalogue, kind, change)
        except ApiError as error:
            # Only before the first list: later the reflector takes it for an outage.
            catalogue.missing[kind.plural] = str(error)
            _log.warning("inventory_not_readable", kind=kind.plural, error=str(error))
        await clock.sleep(_TRY_AGAIN)


def _take_in(catalogue: Catalogue, kind: Resource, change: Change) -> None:
    if change.key is None:
        catalogue.current(kind)
    elif change.type is ChangeType.DELETED:
        catalogue.drop(kind, change.key)
    else:
        try:
            catalogue.put(kind, change.object)
        except InputError as error:
            _log.warning("inventory_object_ignored", kind=kind.plural, error=str(error))


def _outage(kind: str, error: AgentIdError, seconds: float) -> None:
    _log.warning("watch_interrupted", what=kind, error=str(error), seconds=round(seconds, 1))
