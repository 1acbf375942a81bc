"""Coroutine tests, and the parts that services are made of: a fake cluster on virtual time."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from agentid.api import AgentClass
from agentid.api.agentissuer import AgentIssuer
from agentid.issuers import BuiltinIssuer
from agentid.kube.objects import ObjectKey
from agentid.services.world import IssuerState, Parsed, World
from agentid.testing.api_server import FakeApiServer
from agentid.testing.ca import ThrowawayCA
from agentid.testing.clock import ManualClock
from agentid.testing.ledger import open_ledger
from agentid.testing.segments import MemorySegments
from tests.support.coroutines import pytest_pyfunc_call
from tests.support.manifests import agent_class, identity, issuer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    from agentid.kube.client import Client
    from agentid.ledger import Ledger

__all__ = ["Cluster", "pytest_pyfunc_call"]

READER = ObjectKey("finance", "reader")


@dataclass(frozen=True, slots=True)
class Cluster:
    """A fake API server, and what services would hold of it."""

    server: FakeApiServer
    client: Client
    world: World
    ledger: Ledger
    store: MemorySegments
    clock: ManualClock
    ca: ThrowawayCA

    def put_identity(self, *, seen: bool = True, uid: str = "u-1", **spec: Any) -> dict[str, Any]:  # noqa: ANN401
        """Store the identity `finance/reader`, and have the world know it unless told otherwise."""
        body = identity("reader", "batch", **spec)
        body["metadata"] |= {"namespace": READER.namespace, "uid": uid, "generation": 1}
        path = "/apis/agentid.dev/v1alpha1/namespaces/finance/agentidentities/reader"
        stored: dict[str, Any] = self.server.put(path, body)
        if seen:
            self.world.identities.put(stored)
        return stored

    def put_class(self, **spec: Any) -> dict[str, Any]:  # noqa: ANN401
        """Store the class `batch`, known to the world."""
        body = agent_class("batch", **spec)
        body["metadata"] |= {"generation": 1}
        stored: dict[str, Any] = self.server.put(
            "/apis/agentid.dev/v1alpha1/agentclasses/batch", body
        )
        self.world.classes["batch"] = Parsed.of(AgentClass.parse, stored)
        return stored

    def put_issuer(self, **spec: Any) -> dict[str, Any]:  # noqa: ANN401
        """Store the issuer `test`, known to the world; it cannot sign yet."""
        body = issuer("test", **({"trustDomain": "example.org"} | spec))
        body["metadata"] |= {"generation": 1}
        stored: dict[str, Any] = self.server.put(
            "/apis/agentid.dev/v1alpha1/agentissuers/test", body
        )
        self.world.issuers["test"] = Parsed.of(AgentIssuer.parse, stored)
        return stored

    def set_up_issuer(self) -> BuiltinIssuer:
        """Make the issuer `test` able to sign."""
        made = BuiltinIssuer(
            name="test", authorities=self.ca.authority_set, clock=self.clock, random=self.ca.random
        )
        self.world.issuer_states["test"] = IssuerState(made, authorities=self.ca.authority_set)
        return made

    def writes(self) -> list[str]:
        """Method and path of each write so far."""
        return [
            f"{method} {path.split('?')[0]}"
            for method, path, _, _ in self.server.requests
            if method != "GET"
        ]


@pytest.fixture
def cluster() -> Callable[[], AbstractAsyncContextManager[Cluster]]:
    """Opens a cluster, empty, with an empty ledger."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[Cluster]:
        clock = ManualClock()
        store = MemorySegments(clock.now)
        async with (
            FakeApiServer() as server,
            server.client() as client,
            open_ledger(store, clock) as ledger,
        ):
            yield Cluster(server, client, World(), ledger, store, clock, ThrowawayCA())

    return opened
