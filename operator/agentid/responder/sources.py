"""Watches: what the operator publishes, the one Secret, and the ledger. Nothing is ever written."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Final

import structlog

from agentid.constants import LABEL_PUBLICATION
from agentid.kube.reflector import ChangeType, reflect
from agentid.kube.resources import CONFIG_MAPS, SECRETS, Selector
from agentid.responder.publications import SECRET

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from agentid.clock import Clock
    from agentid.errors import AgentIdError
    from agentid.kube.client import Client
    from agentid.kube.reflector import Change
    from agentid.kube.resources import Resource
    from agentid.responder.publications import Publications

__all__ = ["Watches"]

_log = structlog.stdlib.get_logger(__name__)

_PUBLISHED: Final = Selector(labels=LABEL_PUBLICATION)
_OWN_SECRET: Final = Selector(fields=f"metadata.name={SECRET}")
"""RBAC allows list and watch of one name only to a request that selects it by this field."""


class Watches:
    """Follows what is published.

    Args:
        client: The API server.
        namespace: Where it is published.
        publications: Where it goes.
        on_current: Called whenever everything that is published is known.
        clock: For waits.
        random: A number in [0, 1) at each call.
    """

    def __init__(
        self,
        client: Client,
        namespace: str,
        publications: Publications,
        on_current: Callable[[], None],
        *,
        clock: Clock,
        random: Callable[[], float],
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._publications = publications
        self._on_current = on_current
        self._clock = clock
        self._random = random
        self._missing = {CONFIG_MAPS.plural, SECRETS.plural}

    async def follow_config_maps(self) -> None:
        """Follow CRLs and bundles until cancelled.

        Raises:
            ForbiddenError: We may not read them; `manifests/rbac/responder.yaml` is missing.
        """
        async with aclosing(self._reflect(CONFIG_MAPS, _PUBLISHED)) as changes:
            async for change in changes:
                if change.type in _CURRENT:
                    self._current(CONFIG_MAPS)
                elif change.type is ChangeType.DELETED and change.key is not None:
                    self._publications.config_map_gone(change.key.name)
                else:
                    self._publications.config_map(change.object)

    async def follow_secret(self) -> None:
        """Follow the one Secret until cancelled. Raises what `follow_config_maps` does."""
        async with aclosing(self._reflect(SECRETS, _OWN_SECRET)) as changes:
            async for change in changes:
                if change.type in _CURRENT:
                    self._current(SECRETS)
                elif change.type is ChangeType.DELETED:
                    self._publications.secret_gone()
                else:
                    self._publications.secret(change.object)

    def _reflect(self, resource: Resource, selector: Selector) -> AsyncGenerator[Change, None]:
        return reflect(
            self._client,
            resource,
            self._namespace,
            clock=self._clock,
            random=self._random,
            selector=selector,
            on_outage=lambda error, seconds: _outage(resource.plural, error, seconds),
            tell_current=True,
        )

    def _current(self, resource: Resource) -> None:
        self._missing.discard(resource.plural)
        if not self._missing:
            self._on_current()


_CURRENT: Final = frozenset({ChangeType.SYNCED, ChangeType.CURRENT})


def _outage(what: str, error: AgentIdError, seconds: float) -> None:
    _log.warning("watch_interrupted", what=what, error=str(error), seconds=round(seconds, 1))
