"""Makes every long-lived part once, hands each to those who need it, and closes it in one place."""

from __future__ import annotations

import os
import random
import secrets
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog

from agentid.constants import LABEL_MANAGED
from agentid.kube.client import Client
from agentid.kube.credentials import load_credentials
from agentid.kube.lease import ApiLease, Leader
from agentid.kube.stores import ConfigMaps, SecretFiles
from agentid.ledger import Ledger, new_writer
from agentid.ledger.configmaps import ConfigMapSegments
from agentid.services.admission_credentials import (
    ADMISSION_SECRET,
    ADMISSION_SERVICE,
    WEBHOOK_CONFIGURATION,
    AdmissionCredentials,
)
from agentid.services.auditing import Auditor
from agentid.services.bundles import BundlePublisher
from agentid.services.classes import ClassService
from agentid.services.doors import Doors
from agentid.services.entitlements import Entitlements
from agentid.services.federation import Federation
from agentid.services.foreign import ForeignBundles
from agentid.services.gathering import SERVED_DELIVERIES, Gatherer
from agentid.services.identities import IdentityService
from agentid.services.incidents import IncidentService
from agentid.services.issuance import Issuance
from agentid.services.issuers import IssuerService
from agentid.services.judging import Judging
from agentid.services.notices import Notices
from agentid.services.objects import IdentityObjects
from agentid.services.publication import CrlPublisher
from agentid.services.quotas import Quotas
from agentid.services.rates import Rates
from agentid.services.responder_credentials import RESPONDER_SECRET, ResponderCredentials
from agentid.services.secrets import SecretDelivery
from agentid.services.standby import StandbyIssuers
from agentid.services.webhook_trust import WebhookTrust
from agentid.services.witness import Witness
from agentid.services.world import World
from agentid.telemetry.audit_stream import AuditStream
from agentid.telemetry.metrics import Metrics
from agentid.telemetry.otel import open_tracer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from agentid.api.vocabulary import DeliveryMode
    from agentid.clock import Clock
    from agentid.errors import AgentIdError
    from agentid.kube.credentials import Credentials
    from agentid.ledger import Alarm
    from agentid.telemetry.tracing import Tracer

__all__ = ["Parts", "Settings", "build"]

_log = structlog.stdlib.get_logger(__name__)

LEASE: Final = "agentid-controller"

_LEASE_TIMEOUT: Final = 3.0
"""Seconds for a request about the Lease: a third of its renew deadline, so that two can fail."""

_RANDOM_OCTETS: Final = 5

_AUDIT_END: Final = 1.0
_TRACES_END: Final = 0.5
"""Seconds at the end for what waits to be written and sent; a stop has ten for everything."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What differs from one installation, or one replica, to another.

    Attributes:
        process: Name of this replica, such as its pod's.
        namespace: Where authorities, ledger and Lease are kept; None for the one that the
            credentials name.
        deliveries: The doors that are open whatever cluster this is.
        connections: Requests to the API server in flight at most.
        audit: Where audit events go: `off`, `stdout`, or the path of a file.
    """

    process: str
    namespace: str | None = None
    deliveries: frozenset[DeliveryMode] = SERVED_DELIVERIES
    connections: int = 32
    audit: str = "off"


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of one running operator."""

    settings: Settings
    namespace: str
    clock: Clock
    credentials: Credentials
    client: Client
    metrics: Metrics
    world: World
    ledger: Ledger
    issuers: IssuerService
    classes: ClassService
    bundles: BundlePublisher
    federation: Federation
    crls: CrlPublisher
    credentials_of_responders: ResponderCredentials
    credentials_of_admission: AdmissionCredentials
    identities: IdentityService
    doors: Doors
    incidents: IncidentService
    leader: Leader
    notices: Notices
    witness: Witness
    gatherer: Gatherer
    entitlements: Entitlements
    quotas: Quotas
    rates: Rates
    standby: StandbyIssuers
    audit: AuditStream | None
    tracer: Tracer | None


class _LedgerMetrics:
    """Feeds what the ledger observes into metrics."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def committed(self, *, records: int, size: int, seconds: float) -> None:
        """Count a commit."""
        self._metrics.commit_records.observe(records)
        self._metrics.commit_seconds.observe(seconds)
        self._metrics.commit_bytes.inc(size)

    def alarmed(self, alarm: Alarm) -> None:
        """Count nothing: the alarms that stand are a gauge, and the ledger logs them itself."""


@asynccontextmanager
async def build(settings: Settings, *, clock: Clock) -> AsyncIterator[Parts]:
    """Make the parts; the ledger is started by who runs them.

    Raises:
        InputError: There are no usable credentials.
    """
    credentials = await load_credentials(clock=clock)
    namespace = settings.namespace or credentials.namespace
    metrics, world = Metrics(), World()
    foreign = ForeignBundles(clock)
    writer = new_writer(settings.process, secrets.token_bytes(_RANDOM_OCTETS))
    async with (
        _audit(settings.audit) as audit,
        _tracer(settings.process) as tracer,
        Client(
            credentials, connections=settings.connections, on_write=metrics.count_write
        ) as client,
        Client(
            credentials, connections=2, timeout=_LEASE_TIMEOUT, on_write=metrics.count_write
        ) as lease_client,
    ):
        store = ConfigMaps(client, clock=clock, random=random.random, on_outage=_outage)
        ledger = Ledger(
            ConfigMapSegments(store, namespace),
            clock=clock,
            writer=writer,
            observer=_LedgerMetrics(metrics),
        )
        notices = Notices(client, clock=clock, instance=settings.process)
        auditor = None
        if audit is not None:
            auditor = Auditor(
                world=world,
                ledger=ledger.state,
                clock=clock,
                metrics=metrics,
                source=writer,
                write=audit.write,
            )
            ledger.subscribe(auditor.learn)
        witness = Witness(auditor, notices)
        gatherer = Gatherer(world, ledger=ledger, client=client, deliveries=settings.deliveries)
        quotas, rates = Quotas(world), Rates(world=world, ledger=ledger, clock=clock)
        leader = Leader(
            ApiLease(lease_client, namespace=namespace, name=LEASE),
            identity=writer,
            clock=clock,
            random=random.random,
            on_trouble=_lease_trouble,
        )
        yield Parts(
            settings=settings,
            namespace=namespace,
            clock=clock,
            credentials=credentials,
            client=client,
            metrics=metrics,
            world=world,
            ledger=ledger,
            issuers=IssuerService(
                world=world,
                client=client,
                ledger=ledger.state,
                clock=clock,
                random=secrets.token_bytes,
                namespace=namespace,
                witness=witness,
                metrics=metrics,
            ),
            classes=ClassService(world=world, client=client, clock=clock, ledger=ledger.state),
            bundles=BundlePublisher(
                world=world,
                client=client,
                foreign=foreign,
                clock=clock,
                random=random.random,
                namespace=namespace,
            ),
            federation=Federation(
                world=world, foreign=foreign, clock=clock, random=random.random, metrics=metrics
            ),
            crls=CrlPublisher(
                world=world,
                client=client,
                ledger=ledger,
                clock=clock,
                random=random.random,
                namespace=namespace,
                metrics=metrics,
            ),
            credentials_of_responders=ResponderCredentials(
                world=world,
                store=SecretFiles(
                    client,
                    namespace=namespace,
                    name=RESPONDER_SECRET,
                    labels={LABEL_MANAGED: "true"},
                ),
                clock=clock,
                random=secrets.token_bytes,
            ),
            credentials_of_admission=AdmissionCredentials(
                store=SecretFiles(
                    client,
                    namespace=namespace,
                    name=ADMISSION_SECRET,
                    labels={LABEL_MANAGED: "true"},
                ),
                trust=WebhookTrust(
                    client,
                    name=WEBHOOK_CONFIGURATION,
                    namespace=namespace,
                    service=ADMISSION_SERVICE,
                ),
                namespace=namespace,
                clock=clock,
                random=secrets.token_bytes,
            ),
            identities=IdentityService(
                world=world,
                gatherer=gatherer,
                issuance=Issuance(ledger=ledger, clock=clock, rates=rates),
                delivery=SecretDelivery(client),
                ledger=ledger,
                objects=IdentityObjects(client, world),
                clock=clock,
                metrics=metrics,
                witness=witness,
                quotas=quotas,
            ),
            doors=Doors(client),
            incidents=IncidentService(
                world=world,
                client=client,
                ledger=ledger,
                clock=clock,
                metrics=metrics,
                witness=witness,
            ),
            leader=leader,
            notices=notices,
            witness=witness,
            gatherer=gatherer,
            entitlements=Entitlements(
                world=world, judging=Judging(gatherer=gatherer, world=world, clock=clock)
            ),
            quotas=quotas,
            rates=rates,
            standby=StandbyIssuers(
                world=world,
                client=client,
                clock=clock,
                random=secrets.token_bytes,
                namespace=namespace,
                leads=leader.is_leader,
            ),
            audit=audit,
            tracer=tracer,
        )


@asynccontextmanager
async def _audit(where: str) -> AsyncIterator[AuditStream | None]:
    if where == "off":
        yield None
        return
    stream = AuditStream(None if where == "stdout" else Path(where))
    try:
        yield stream
    finally:
        if lost := stream.close(_AUDIT_END):
            _log.error("audit_events_lost", bytes=lost)


@asynccontextmanager
async def _tracer(instance: str) -> AsyncIterator[Tracer | None]:
    tracer = open_tracer(os.environ, instance=instance)
    try:
        yield tracer
    finally:
        if tracer is not None:
            tracer.close(_TRACES_END)


def _outage(error: AgentIdError, seconds: float) -> None:
    _log.warning("ledger_watch_interrupted", error=str(error), seconds=round(seconds, 1))


def _lease_trouble(error: AgentIdError) -> None:
    _log.warning("lease_request_failed", error=str(error))
