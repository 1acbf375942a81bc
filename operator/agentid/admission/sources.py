"""Watches: the kinds that a judgement looks at, the serving certificate, and the open doors.

Nothing is ever written.
"""

from __future__ import annotations

import base64
import binascii
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

import structlog

from agentid.api.vocabulary import DeliveryMode
from agentid.errors import AgentIdError, InputError
from agentid.kube.objects import uid_of
from agentid.kube.reflector import ChangeType, reflect
from agentid.kube.resources import (
    AGENT_CLASSES,
    AGENT_IDENTITIES,
    AGENT_ISSUERS,
    AGENT_REVOCATIONS,
    EVERYTHING,
    SECRETS,
    Selector,
)
from agentid.services.doors import Doors
from agentid.serving.certificates import read_tls_identity

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence

    from agentid.admission.directory import Directory
    from agentid.admission.metrics import AdmissionMetrics
    from agentid.clock import Clock
    from agentid.kube.client import Client
    from agentid.kube.objects import ObjectKey
    from agentid.kube.reflector import Change
    from agentid.kube.resources import Resource
    from agentid.serving.certificates import TlsSlot

__all__ = ["SECRET", "Sources"]

_log = structlog.stdlib.get_logger(__name__)

SECRET: Final = "agentid-admission"  # noqa: S105 - its name
"""The Secret with the serving certificate: `tls.crt`, leaf first, and `tls.key`."""

_OWN_SECRET: Final = Selector(fields=f"metadata.name={SECRET}")
"""RBAC allows list and watch of one name only to a request that selects it by this field."""

_LOOK_AT_DOORS: Final = 15.0
"""Seconds between two looks at what the cluster serves. It changes when agentid is upgraded or the
API server is; until then the identity's own condition says the same."""

_ALWAYS: Final = frozenset({DeliveryMode.SECRET})
"""The controller writes Secrets in every cluster."""

_CURRENT: Final = frozenset({ChangeType.SYNCED, ChangeType.CURRENT})


class Sources:
    """Follows everything, and knows how current it is.

    Args:
        client: The API server.
        namespace: Where the Secret is.
        directory: Is told.
        tls: Is given the certificate.
        metrics: Counts certificates that cannot be used.
        clock: For waits.
        random: A number in [0, 1) at each call.

    Attributes:
        tls_refused: Why the newest certificate is not served; empty if it is.
    """

    def __init__(
        self,
        client: Client,
        namespace: str,
        directory: Directory,
        tls: TlsSlot,
        metrics: AdmissionMetrics,
        *,
        clock: Clock,
        random: Callable[[], float],
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._directory = directory
        self._tls = tls
        self._metrics = metrics
        self._clock = clock
        self._random = random
        self._heard: dict[str, float] = {}
        self._doors = Doors(client)
        self._doors_known = False
        self.tls_refused = ""

    @property
    def missing(self) -> Sequence[str]:
        """What has not been read yet, once."""
        kinds = (AGENT_CLASSES, AGENT_IDENTITIES, AGENT_ISSUERS, AGENT_REVOCATIONS)
        found = [kind.plural for kind in kinds if kind.plural not in self._heard]
        return found if self._doors_known else [*found, "what this cluster serves"]

    @property
    def age(self) -> float:
        """Seconds since all of it was known to be current; infinite before it ever was."""
        if self.missing:
            return float("inf")
        return self._clock.monotonic() - min(self._heard.values())

    def work(self) -> list[Coroutine[object, object, None]]:
        """All that has to run; none of it ends by itself.

        Each raises ForbiddenError where we may not read what it follows.
        """
        directory = self._directory
        return [
            self._follow(AGENT_IDENTITIES, directory.put_identity, directory.drop_identity),
            self._follow(AGENT_CLASSES, directory.put_class, directory.drop_class),
            self._follow(AGENT_ISSUERS, directory.put_issuer, directory.drop_issuer),
            self._follow(AGENT_REVOCATIONS, directory.put_incident, directory.drop_incident),
            self._follow_secret(),
            self._follow_doors(),
        ]

    async def _follow(
        self,
        resource: Resource,
        put: Callable[[Mapping[str, object]], None],
        drop: Callable[[ObjectKey], None],
    ) -> None:
        async with aclosing(self._reflect(resource)) as changes:
            async for change in changes:
                if change.type in _CURRENT or change.key is None:
                    self._heard[resource.plural] = self._clock.monotonic()
                elif change.type is ChangeType.DELETED:
                    drop(change.key)
                else:
                    put(change.object)

    async def _follow_secret(self) -> None:
        secrets = self._reflect(SECRETS, self._namespace, _OWN_SECRET)
        async with aclosing(secrets) as changes:
            async for change in changes:
                if change.type is ChangeType.DELETED:
                    _log.warning("tls_secret_gone", name=SECRET)
                elif change.type not in _CURRENT:
                    self._serve(change.object)

    def _serve(self, secret: Mapping[str, object]) -> None:
        """Serve what the Secret holds from the next handshake on, or go on with what was before."""
        files = _decoded(secret.get("data"))
        try:
            identity = read_tls_identity(
                SECRET, files.get("tls.crt", b""), files.get("tls.key", b""), svid=False
            )
        except InputError as error:
            self.tls_refused = str(error)
            self._metrics.tls_refused.inc()
            _log.warning("tls_identity_refused", secret=SECRET, error=str(error))
            return
        self.tls_refused = ""
        before = self._tls.identity
        if before is None or before.content != identity.content:
            self._tls.publish(identity)
            _log.info(
                "tls_identity_loaded", secret=SECRET, uid=uid_of(secret),
                not_after=identity.not_after.isoformat(),
            )  # fmt: skip

    async def _follow_doors(self) -> None:
        while True:
            try:
                doors = _ALWAYS | await self._doors.look()
            except AgentIdError as error:
                _log.warning("doors_not_looked_at", error=str(error))
            else:
                if doors != self._directory.doors or not self._doors_known:
                    _log.info("doors_open", deliveries=sorted(doors))
                self._directory.open_doors(doors, self._doors.closed)
                self._doors_known = True
            await self._clock.sleep(_LOOK_AT_DOORS if self._doors_known else 1.0)

    def _reflect(
        self, resource: Resource, namespace: str | None = None, selector: Selector = EVERYTHING
    ) -> AsyncGenerator[Change, None]:
        return reflect(
            self._client,
            resource,
            namespace,
            clock=self._clock,
            random=self._random,
            selector=selector,
            tell_current=True,
            on_outage=lambda error, seconds: _outage(resource.plural, error, seconds),
        )


def _decoded(data: object) -> dict[str, bytes]:
    found = {}
    for name, text in (data if isinstance(data, dict) else {}).items():
        try:
            found[str(name)] = base64.b64decode(str(text), validate=True)
        except binascii.Error:
            continue  # read_tls_identity says that it is missing
    return found


def _outage(what: str, error: AgentIdError, seconds: float) -> None:
    _log.warning("watch_interrupted", what=what, error=str(error), seconds=round(seconds, 1))
