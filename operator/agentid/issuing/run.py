"""Puts the issuer service together from the parts of an operator, and runs it in every replica.

```
 serving certificate there, publications read ─► HTTPS ─► … ─► drain: port closed, streams ended,
                                                               what was begun answered
```
"""

from __future__ import annotations

import asyncio
import secrets
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import structlog

from agentid.constants import LABEL_MANAGED
from agentid.errors import AgentIdError, InputError
from agentid.issuing.attesting import Attesting
from agentid.issuing.authenticating import Authenticator
from agentid.issuing.bundles import Bundles
from agentid.issuing.certificates import Certificates
from agentid.issuing.changes import Changes
from agentid.issuing.deciding import Deciding
from agentid.issuing.handler import Handler
from agentid.issuing.keys import SigningKeys
from agentid.issuing.limits import MAX_PATH, Limits
from agentid.issuing.metrics import IssuingMetrics
from agentid.issuing.minting import Minting
from agentid.issuing.refusing import Telling
from agentid.issuing.undelivered import ACTOR, Undelivered
from agentid.kube.objects import ObjectKey
from agentid.kube.stores import SecretFiles
from agentid.policy.observed import PodRefusal
from agentid.services.issuance import Issuance
from agentid.services.issuer_trust import IssuerTrust
from agentid.services.issuing_credentials import (
    CERTIFICATE,
    ISSUER_SECRET,
    KEY,
    IssuingCredentials,
)
from agentid.services.revocations import Revocations
from agentid.serving.bounded import BoundedServer
from agentid.serving.certificates import TlsSlot, read_tls_identity
from agentid.serving.listening import listen

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentid.factory import Parts
    from agentid.issuing.reasons import RefusedError
    from agentid.services.pods import Pod

__all__ = ["IssuerService", "IssuingSettings", "make_issuing"]

_log = structlog.stdlib.get_logger(__name__)

_LOOK: Final = 5.0
"""Seconds between two looks at the Secret of the serving certificate, until there is one and after
it was exchanged; a successor has been trusted for ten minutes by then."""


@dataclass(frozen=True, slots=True)
class IssuingSettings:
    """What differs from one installation to another.

    Attributes:
        port: Of HTTPS; 0 takes a free one.
        host: Address to listen on.
        limits: What plugins can make the process do.
    """

    port: int
    host: str = "0.0.0.0"  # noqa: S104 - node plugins come from outside the pod
    limits: Limits = field(default_factory=Limits)


class IssuerService:
    """A companion of the controller."""

    def __init__(
        self, parts: Parts, look_at: Callable[[ObjectKey], None], settings: IssuingSettings
    ) -> None:
        """Make the parts; nothing runs yet.

        Args:
            parts: Of the operator, which it shares.
            look_at: Has an identity looked at soon.
            settings: Of this installation.
        """
        clock, self._parts, self._settings = parts.clock, parts, settings
        self._look_at = look_at
        self._secret = SecretFiles(
            parts.client,
            namespace=parts.namespace,
            name=ISSUER_SECRET,
            labels={LABEL_MANAGED: "true"},
        )
        self._credentials = IssuingCredentials(
            store=self._secret,
            trust=IssuerTrust(parts.client, parts.namespace),
            namespace=parts.namespace,
            clock=clock,
            random=secrets.token_bytes,
        )
        self._tls = TlsSlot()
        self._changes = Changes(world=parts.world, ledger=parts.ledger, clock=clock)
        self._bundles = Bundles(
            parts.client, parts.namespace, clock=clock, on_change=self._bundles_changed
        )
        self._undelivered = Undelivered(
            ledger=parts.ledger,
            revocations=Revocations(
                ledger=parts.ledger, metrics=parts.metrics, witness=parts.witness, actor=ACTOR
            ),
            clock=clock,
        )
        metrics = IssuingMetrics(parts.metrics.registry)
        authenticator = Authenticator(
            keys=SigningKeys(parts.client, clock),
            client=parts.client,
            clock=clock,
            namespace=parts.namespace,
        )
        deciding = Deciding(
            authenticator=authenticator,
            attesting=Attesting(pods=parts.world.pods, client=parts.client, clock=clock),
            entitlements=parts.entitlements,
            pods=parts.world.pods,
        )
        self._handler = Handler(
            authenticator=authenticator,
            certificates=Certificates(
                deciding=deciding,
                issuance=Issuance(ledger=parts.ledger, clock=clock, rates=parts.rates),
                ledger=parts.ledger,
                undelivered=self._undelivered,
                world=parts.world,
                clock=clock,
                new_id=lambda: secrets.token_hex(16),
                metrics=parts.metrics,
                telling=Telling(metrics.x509_answered, self._refused),
                witness=parts.witness,
            ),
            minting=Minting(
                deciding=deciding,
                ledger=parts.ledger,
                clock=clock,
                limits=settings.limits,
                telling=Telling(metrics.jwt_answered, self._refused),
                witness=parts.witness,
            ),
            changes=self._changes,
            bundles=self._bundles,
            undelivered=self._undelivered,
            limits=settings.limits,
            metrics=metrics,
            clock=clock,
        )
        self._server = BoundedServer(
            self._handler,
            settings.limits,
            lambda limit: metrics.refused.labels(limit).inc(),
            max_path=MAX_PATH,
        )
        metrics.observe(lambda: self._server.open_connections, lambda: self._changes.count)
        self._opened = ExitStack()

    # As a companion

    async def run(self) -> None:
        """Serve until cancelled."""
        self._parts.standby.need()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._look_after_certificate())
                group.create_task(self._bundles.run())
                group.create_task(self._changes.run())
                group.create_task(self._undelivered.run())
                group.create_task(self._server.watch())
                group.create_task(self._serve())
        finally:
            self._opened.close()

    async def drain(self) -> None:
        """Take on nothing more; end streams, and answer what was begun."""
        self._opened.close()
        await self._handler.finish()
        self._server.pre_shutdown()
        await self._server.shutdown(self._settings.limits.drain)
        await self._undelivered.revoke()

    def changed(self, identity: ObjectKey | None) -> None:
        """An identity has changed, or something that many depend on."""
        if identity is None:
            self._changes.much_changed()
        else:
            self._changes.identity_changed(identity)

    # Inside

    async def _serve(self) -> None:
        await self._tls.ready.wait()
        settings = self._settings
        port = await listen(
            self._opened, self._server, settings.host, settings.port, self._tls.context
        )
        _log.info("issuer_service_serving", port=port)

    async def _look_after_certificate(self) -> None:
        while True:
            try:
                if self._parts.leader.is_leader():
                    await self._credentials.renew()
                await self._load()
            except AgentIdError as error:
                _log.warning("issuing_certificate_not_served", error=str(error))
            await self._parts.clock.sleep(_LOOK)

    async def _load(self) -> None:
        """Serve what the Secret holds.

        Raises:
            InputError: That cannot be served; what was served before still is.
        """
        stored = await self._secret.read()
        if stored is None:
            return
        chain, key = stored.files.get(CERTIFICATE, b""), stored.files.get(KEY, b"")
        served = self._tls.identity
        if served is not None and served.content == b"%b\n%b" % (chain, key):
            return
        try:
            identity = read_tls_identity(ISSUER_SECRET, chain, key, svid=False)
        except InputError as error:
            msg = f"Secret {ISSUER_SECRET}: {error}; delete it, and the leader makes it anew"
            raise InputError(msg) from error
        self._tls.publish(identity)
        _log.info("tls_identity_loaded", not_after=identity.not_after.isoformat())

    def _bundles_changed(self) -> None:
        self._changes.bundles_changed(self._bundles.document.version)

    def _refused(self, pod: Pod, refusal: RefusedError) -> None:
        """Show in the identity's status why a pod of it has no certificate."""
        key, world = ObjectKey(pod.namespace, pod.identity), self._parts.world
        told = PodRefusal(self._parts.clock.now(), pod.name, refusal.reason, str(refusal))
        # What somebody wrote into a label must not fill the memory: only identities that are.
        if key in world.identities and world.refusals.put(key.namespace, key.name, told):
            self._look_at(key)


def make_issuing(
    settings: IssuingSettings,
) -> Callable[[Parts, Callable[[ObjectKey], None]], IssuerService]:
    """What makes the service beside a controller."""
    return lambda parts, look_at: IssuerService(parts, look_at, settings)
