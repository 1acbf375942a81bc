"""The services of the operator on a fake API server, without its loops: who calls is the clock."""

from __future__ import annotations

import secrets
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from agentid.api.agentclass import AgentClass
from agentid.api.agentissuer import AgentIssuer
from agentid.api.vocabulary import DeliveryMode
from agentid.constants import LABEL_MANAGED
from agentid.errors import AgentIdError
from agentid.kube.objects import ObjectKey
from agentid.kube.stores import ConfigMaps, SecretFiles
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
from agentid.services.foreign import ForeignBundles
from agentid.services.gathering import Gatherer
from agentid.services.identities import IdentityService
from agentid.services.incidents import IncidentService
from agentid.services.issuance import Issuance
from agentid.services.issuer_trust import IssuerTrust
from agentid.services.issuers import IssuerService
from agentid.services.issuing_credentials import ISSUER_SECRET, IssuingCredentials
from agentid.services.objects import IdentityObjects
from agentid.services.publication import CrlPublisher
from agentid.services.responder_credentials import RESPONDER_SECRET, ResponderCredentials
from agentid.services.secrets import SecretDelivery
from agentid.services.webhook_trust import WebhookTrust
from agentid.services.witness import Witness
from agentid.services.world import Parsed, World
from agentid.telemetry.metrics import Metrics
from agentid.testing.api_server import FakeApiServer
from agentid.testing.ledger import in_virtual_time, open_ledger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
    from contextlib import AbstractAsyncContextManager

    from agentid.kube.client import Client
    from agentid.ledger import Ledger
    from agentid.testing.clock import ManualClock

__all__ = ["LOOKED_AFTER", "SYSTEM", "Services", "opened"]

SYSTEM: Final = "agentid-system"

LOOKED_AFTER: Final[Mapping[str, tuple[str, ...]]] = {
    "AgentIssuer": ("main",),
    "AgentClass": ("batch", "short"),
    "AgentIdentity": ("reader", "writer", "porter", "carrier"),
    "AgentRevocation": ("executed",),
}
"""What the services are told of; other resources of a corpus only stand there to be read."""


@dataclass(frozen=True, slots=True)
class Services:
    """All services that write.

    Attributes:
        server: The API server.
        client: Of it.
        clock: Of everybody.
        world: What the services know.
        segments: Where the ledger is.
        ledger: The ledger.
        another_writer: Opens the ledger as another replica does.
        parts: What one round does, in order.
        identities: The service for identities.
        gatherer: What it decides by.
    """

    server: FakeApiServer
    client: Client
    clock: ManualClock
    world: World
    segments: ConfigMapSegments
    ledger: Ledger
    another_writer: Callable[[], AbstractAsyncContextManager[Ledger]]
    parts: tuple[Callable[[], Awaitable[object]], ...]
    identities: IdentityService
    gatherer: Gatherer

    def learn(self, body: Mapping[str, Any]) -> None:
        """Take a resource in as a watch tells it, if it is to be looked after."""
        name, kind = body["metadata"]["name"], body["kind"]
        if name not in LOOKED_AFTER[kind]:
            return
        match kind:
            case "AgentIssuer":
                self.world.issuers[name] = Parsed.of(AgentIssuer.parse, body)
            case "AgentClass":
                self.world.classes[name] = Parsed.of(AgentClass.parse, body)
            case "AgentIdentity":
                self.world.identities.put(body)
            case _:
                self.world.incidents.put(body)

    async def round(self) -> None:
        """Have every service do what is due."""
        for part in self.parts:
            await in_virtual_time(self.clock, part())
        for name in LOOKED_AFTER["AgentIdentity"]:
            await in_virtual_time(self.clock, self.identities.reconcile(ObjectKey("finance", name)))
        await in_virtual_time(self.clock, self.parts[0]())

    def writes(self) -> list[str]:
        """Method and path of each write so far."""
        return [
            f"{method} {path.split('?')[0]}"
            for method, path, _, _ in self.server.requests
            if method != "GET"
        ]


@asynccontextmanager
async def opened(
    clock: ManualClock,
    objects: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    tell: Callable[[str], object] = lambda _: None,
) -> AsyncIterator[Services]:
    """The services, on an API server that has these objects.

    Args:
        clock: Of everybody.
        objects: By path; those that are looked after are known to the services.
        tell: Takes what auditors are told.
    """
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(FakeApiServer())
        for path, body in (objects or {}).items():
            server.put(path, body)
        client = await stack.enter_async_context(server.client())
        store = ConfigMaps(client, clock=clock, random=lambda: 0.5)
        segments = ConfigMapSegments(store, SYSTEM)
        ledger = await stack.enter_async_context(open_ledger(segments, clock, "w"))
        there = _services(server, client, clock, segments, ledger, tell)
        for body in server.objects.values():
            if str(body.get("apiVersion", "")).startswith("agentid.dev/"):
                there.learn(body)
        yield there


def _services(
    server: FakeApiServer,
    client: Client,
    clock: ManualClock,
    segments: ConfigMapSegments,
    ledger: Ledger,
    tell: Callable[[str], object],
) -> Services:
    world, metrics = World(), Metrics()

    def write(line: bytes, last: bool) -> bool:  # noqa: FBT001 - as the stream takes it
        del last
        tell(line.decode())
        return True

    auditor = Auditor(
        world=world, ledger=ledger.state, clock=clock, metrics=metrics, source="w", write=write
    )
    ledger.subscribe(auditor.learn)
    witness = Witness(auditor)

    def secret(name: str) -> SecretFiles:
        return SecretFiles(client, namespace=SYSTEM, name=name, labels={LABEL_MANAGED: "true"})

    issuers = IssuerService(
        world=world, client=client, ledger=ledger.state, clock=clock, random=secrets.token_bytes,
        namespace=SYSTEM, witness=witness, metrics=metrics,
    )  # fmt: skip
    crls = CrlPublisher(
        world=world, client=client, ledger=ledger, clock=clock, random=lambda: 0.5,
        namespace=SYSTEM, metrics=metrics,
    )  # fmt: skip
    ledger.subscribe(crls.learn)
    bundles = BundlePublisher(
        world=world, client=client, foreign=ForeignBundles(clock), clock=clock,
        random=lambda: 0.5, namespace=SYSTEM,
    )  # fmt: skip
    responders = ResponderCredentials(
        world=world, store=secret(RESPONDER_SECRET), clock=clock, random=secrets.token_bytes
    )
    admission = AdmissionCredentials(
        store=secret(ADMISSION_SECRET),
        trust=WebhookTrust(
            client, name=WEBHOOK_CONFIGURATION, namespace=SYSTEM, service=ADMISSION_SERVICE
        ),
        namespace=SYSTEM, clock=clock, random=secrets.token_bytes,
    )  # fmt: skip
    issuing = IssuingCredentials(
        store=secret(ISSUER_SECRET), trust=IssuerTrust(client, SYSTEM), namespace=SYSTEM,
        clock=clock, random=secrets.token_bytes,
    )  # fmt: skip
    incidents = IncidentService(
        world=world, client=client, ledger=ledger, clock=clock, metrics=metrics, witness=witness
    )
    gatherer = Gatherer(world, ledger=ledger, client=client, deliveries=frozenset(DeliveryMode))
    identities = IdentityService(
        world=world,
        gatherer=gatherer,
        issuance=Issuance(ledger=ledger, clock=clock),
        delivery=SecretDelivery(client),
        ledger=ledger,
        objects=IdentityObjects(client, world),
        clock=clock,
        metrics=metrics,
        witness=witness,
    )  # fmt: skip
    classes = ClassService(world=world, client=client, clock=clock)
    loaded: list[bool] = []

    async def publish_crls() -> None:
        if not loaded:
            await crls.load()
            loaded.append(True)
        await crls.publish()

    async def publish_bundles() -> None:
        if not await bundles.publish_all():
            message = "a bundle is not published"
            raise AgentIdError(message)

    return Services(
        server=server,
        client=client,
        clock=clock,
        world=world,
        segments=segments,
        ledger=ledger,
        another_writer=lambda: open_ledger(segments, clock, "x"),
        parts=(
            publish_crls,
            lambda: issuers.reconcile("main"),
            publish_crls,
            responders.renew,
            publish_bundles,
            admission.renew,
            issuing.renew,
            lambda: classes.reconcile("batch"),
            lambda: classes.reconcile("short"),
            lambda: incidents.reconcile("executed"),
        ),
        identities=identities,
        gatherer=gatherer,
    )
