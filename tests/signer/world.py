"""A fake cluster on virtual time with a pod that asks, and a signer as the operator builds it."""

from __future__ import annotations

import base64
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from agentid.api import AgentClass, DeliveryMode
from agentid.api.agentissuer import AgentIssuer
from agentid.constants import FINALIZER
from agentid.issuers import BuiltinIssuer
from agentid.kube.objects import ObjectKey
from agentid.services.entitlements import Entitlements
from agentid.services.gathering import Gatherer
from agentid.services.identities import ACTOR
from agentid.services.issuance import Issuance
from agentid.services.issuers import authority_secret
from agentid.services.judging import Judging
from agentid.services.notices import Notices
from agentid.services.pods import Pod
from agentid.services.rates import Rates
from agentid.services.revocations import Revocations
from agentid.services.standby import StandbyIssuers
from agentid.services.witness import Witness
from agentid.services.world import IssuerState, Parsed, World
from agentid.signer.deciding import Deciding
from agentid.signer.loop import SignerLoop
from agentid.signer.request import PodCertificateRequest
from agentid.signer.service import PodCertificates
from agentid.signer.settling import Settling
from agentid.signer.surroundings import Surroundings
from agentid.signer.telling import Telling
from agentid.telemetry.metrics import Metrics
from agentid.testing.api_server import FakeApiServer
from agentid.testing.ca import ThrowawayCA
from agentid.testing.clock import ManualClock
from agentid.testing.ledger import open_ledger
from agentid.testing.segments import MemorySegments
from tests.support.asked import account_body, node_body, pod_body, request_body
from tests.support.manifests import agent_class, identity, issuer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from agentid.kube.client import Client
    from agentid.ledger import Entry, Issued, Ledger

__all__ = ["READER", "REQUESTS", "Scene", "scene"]

Json = dict[str, Any]
READER = ObjectKey("finance", "reader")
REQUESTS = "/apis/certificates.k8s.io/v1/namespaces/finance/podcertificaterequests"
_API = "/apis/agentid.dev/v1alpha1"


@dataclass
class Scene:
    """What is in the cluster, and what one replica holds of it."""

    server: FakeApiServer
    client: Client
    ledger: Ledger
    store: MemorySegments
    clock: ManualClock
    ca: ThrowawayCA
    world: World = field(default_factory=World)
    metrics: Metrics = field(default_factory=Metrics)
    leads: bool = True
    guarded_since: datetime | None = datetime(2020, 1, 1, tzinfo=UTC)
    looked_at: list[ObjectKey] = field(default_factory=list)

    # What is in the cluster

    def put_class(self, **spec: object) -> Json:
        """The class `batch`, known to the world."""
        body = agent_class("batch", **({"delivery": {"modes": ["PodCertificate"]}} | spec))
        body["metadata"] |= {"generation": 1}
        stored: Json = self.server.put(f"{_API}/agentclasses/batch", body)
        self.world.classes["batch"] = Parsed.of(AgentClass.parse, stored)
        return stored

    def put_issuer(self) -> None:
        """The issuer `test`, which signs, with its authorities in their Secret."""
        body = issuer("test", trustDomain="example.org")
        body["metadata"] |= {"generation": 1}
        stored: Json = self.server.put(f"{_API}/agentissuers/test", body)
        self.world.issuers["test"] = Parsed.of(AgentIssuer.parse, stored)
        files = self.ca.authority_set.files
        secret = {
            "metadata": {"namespace": "agentid-system", "name": authority_secret("test")},
            "data": {name: base64.b64encode(data).decode() for name, data in files.items()},
        }
        path = f"/api/v1/namespaces/agentid-system/secrets/{authority_secret('test')}"
        self.server.put(path, secret)
        signs = BuiltinIssuer(
            name="test", authorities=self.ca.authority_set, clock=self.clock, random=self.ca.random
        )
        self.world.issuer_states["test"] = IssuerState(signs, authorities=self.ca.authority_set)

    def put_identity(self, *, seen: bool = True, told: Json | None = None, **spec: object) -> Json:
        """The identity `finance/reader`, known to the world unless told otherwise.

        Args:
            seen: Whether it is.
            told: Its status.
            spec: Fields of its spec.
        """
        body = identity("reader", "batch", **({"delivery": {"mode": "PodCertificate"}} | spec))
        body["metadata"] |= {
            "namespace": "finance",
            "uid": "u-1",
            "generation": 1,
            "finalizers": [FINALIZER],
        }
        if told is not None:
            body["status"] = told
        stored: Json = self.server.put(f"{_API}/namespaces/finance/agentidentities/reader", body)
        if seen:
            self.world.identities.put(stored)
        return stored

    def put_pod(self, *, seen: bool = True, **about: Any) -> None:  # noqa: ANN401 - JSON
        """A pod, with its ServiceAccount and node."""
        body = pod_body(**about)
        self.server.put(f"/api/v1/namespaces/finance/pods/{body['metadata']['name']}", body)
        if seen:
            self.world.pods.put(Pod.of(body))
        self.server.put("/api/v1/namespaces/finance/serviceaccounts/default", account_body())
        self.server.put("/api/v1/nodes/node-a", node_body())

    def put_request(self, name: str = "req-1", /, **changes: object) -> PodCertificateRequest:
        """A request, as a watch would tell it."""
        stored = self.server.put(f"{REQUESTS}/{name}", request_body(name, **changes))
        return PodCertificateRequest.parse(stored)

    # What came of it

    def answer(self, name: str = "req-1") -> Json:
        """The condition of a request, empty while it waits."""
        status: Any = self.server.objects[f"{REQUESTS}/{name}"].get("status") or {}
        conditions = status.get("conditions") or [{}]
        found: Json = conditions[0]
        return found

    def records(self) -> list[Entry]:
        """What is on the ledger for pods, oldest first."""
        found = (each for each in self.ledger.state.entries() if each.issued.pod)
        return sorted(found, key=lambda each: each.issued.issued_at)

    def live(self) -> list[str]:
        """Serials of what is not revoked."""
        return [str(each.serial) for each in self.records() if each.revoked is None]

    def delivered(self, name: str = "req-1") -> Issued | None:
        """The record of what a request was answered with."""
        body = self.server.objects[f"{REQUESTS}/{name}"]
        answer = PodCertificateRequest.parse(body).answer
        fingerprint = "" if answer is None else answer.fingerprint
        found = (each.issued for each in self.records())
        return next((each for each in found if each.fingerprint == fingerprint), None)

    def reads(self, part: str) -> int:
        """How many reads went to paths that hold this."""
        return sum(method == "GET" and part in path for method, path, _, _ in self.server.requests)

    # The signer

    def service(self) -> PodCertificates:
        """What answers one request."""
        gatherer = Gatherer(
            self.world,
            ledger=self.ledger,
            client=self.client,
            deliveries=frozenset({DeliveryMode.POD_CERTIFICATE}),
        )
        return PodCertificates(
            deciding=Deciding(
                world=self.world,
                entitlements=Entitlements(
                    world=self.world,
                    judging=Judging(gatherer=gatherer, world=self.world, clock=self.clock),
                ),
                client=self.client,
                surroundings=Surroundings(self.client, self.world.pods, self.clock),
                guarded_since=lambda: self.guarded_since,
            ),
            issuance=Issuance(
                ledger=self.ledger,
                clock=self.clock,
                rates=Rates(world=self.world, ledger=self.ledger, clock=self.clock),
            ),
            ledger=self.ledger,
            client=self.client,
            clock=self.clock,
            metrics=self.metrics,
            witness=Witness(),
        )

    def settling(self) -> Settling:
        """What revokes what was not used."""
        revocations = Revocations(
            ledger=self.ledger, metrics=self.metrics, witness=Witness(), actor=ACTOR
        )
        return Settling(
            ledger=self.ledger,
            revocations=revocations,
            clock=self.clock,
            leads=lambda: self.leads,
        )

    def loop(self, notices: Notices | None = None) -> SignerLoop:
        """All of it."""
        return SignerLoop(
            client=self.client,
            service=self.service(),
            settling=self.settling(),
            telling=Telling(
                world=self.world,
                notices=notices or Notices(self.client, clock=self.clock, instance="a-test"),
                clock=self.clock,
                look_at=self.looked_at.append,
            ),
            standby=StandbyIssuers(
                world=self.world,
                client=self.client,
                clock=self.clock,
                random=self.ca.random,
                namespace="agentid-system",
                leads=lambda: self.leads,
            ),
            metrics=self.metrics,
            clock=self.clock,
            random=lambda: 0.5,
            leads=lambda: self.leads,
        )


@asynccontextmanager
async def scene(*, ready: bool = True) -> AsyncIterator[Scene]:
    """Open a cluster; ready, with everything that a pod of `finance/reader` needs."""
    clock = ManualClock()
    store = MemorySegments(clock.now)
    async with (
        FakeApiServer() as server,
        server.client() as client,
        open_ledger(store, clock) as ledger,
    ):
        made = Scene(server, client, ledger, store, clock, ThrowawayCA())
        if ready:
            made.put_class()
            made.put_issuer()
            made.put_identity()
            made.put_pod()
        yield made
