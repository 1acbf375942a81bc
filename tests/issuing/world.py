"""The parts of the issuer service on a cluster in memory; tokens are taken at their word."""

from __future__ import annotations

import itertools
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from agentid.api import DeliveryMode
from agentid.issuing.attesting import Attesting
from agentid.issuing.authenticating import NodePlugin
from agentid.issuing.certificates import Certificates, X509Item
from agentid.issuing.deciding import Deciding
from agentid.issuing.limits import Limits
from agentid.issuing.minting import Minting
from agentid.issuing.refusing import Telling
from agentid.issuing.tokens import BoundToken
from agentid.issuing.undelivered import ACTOR, Undelivered
from agentid.services.entitlements import Entitlements
from agentid.services.gathering import Gatherer
from agentid.services.issuance import Issuance
from agentid.services.judging import Judging
from agentid.services.rates import Rates
from agentid.services.revocations import Revocations
from agentid.services.witness import Witness
from tests.signer.world import scene
from tests.support.node_plugins import csr

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from agentid.issuing.reasons import RefusedError
    from agentid.services.pods import Pod
    from tests.signer.world import Scene

__all__ = ["Service", "opened"]


@dataclass
class Believing:
    """Takes the text of a token for a pod's name and UID, joined by a slash."""

    there: Scene

    async def pod(self, text: str) -> BoundToken:
        """What the token says."""
        name, _, uid = text.partition("/")
        now = self.there.clock.now()
        return BoundToken(
            "finance", "default", "sa-1", name, uid, "node-a", "n-1",
            now, now + timedelta(hours=1),
        )  # fmt: skip


@dataclass
class Service:
    """What answers plugins.

    Attributes:
        there: The cluster.
        witness: Told of decisions.
        limits: Of the service.
        refused: Which refusals were shown to people.
        answers: How often which was given.
    """

    there: Scene
    witness: Witness = field(default_factory=Witness)
    limits: Limits = field(default_factory=Limits)
    refused: list[tuple[Pod, RefusedError]] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Put it together as `issuing.run` does."""
        there, numbers, authenticator = self.there, itertools.count(1), Believing(self.there)
        world, client = there.world, there.client
        gatherer = Gatherer(
            world, ledger=there.ledger, client=client, deliveries=frozenset({DeliveryMode.CSI})
        )
        self.undelivered = Undelivered(
            ledger=there.ledger,
            revocations=Revocations(
                ledger=there.ledger, metrics=there.metrics, witness=self.witness, actor=ACTOR
            ),
            clock=there.clock,
        )
        judging = Judging(gatherer=gatherer, world=world, clock=there.clock)
        deciding = Deciding(
            authenticator=authenticator,  # type: ignore[arg-type]  # it has what is used
            attesting=Attesting(pods=world.pods, client=client, clock=there.clock),
            entitlements=Entitlements(world=world, judging=judging),
            pods=world.pods,
        )
        telling = Telling(self.answers.append, lambda pod, told: self.refused.append((pod, told)))
        self.certificates = Certificates(
            deciding=deciding,
            issuance=Issuance(
                ledger=there.ledger,
                clock=there.clock,
                rates=Rates(world=there.world, ledger=there.ledger, clock=there.clock),
            ),
            ledger=there.ledger,
            undelivered=self.undelivered,
            world=world,
            clock=there.clock,
            new_id=lambda: f"r-{next(numbers)}",
            metrics=there.metrics,
            telling=telling,
            witness=self.witness,
        )
        self.minting = Minting(
            deciding=deciding,
            ledger=there.ledger,
            clock=there.clock,
            limits=self.limits,
            telling=telling,
            witness=self.witness,
        )
        self.plugin = NodePlugin("node-a", there.clock.now() + timedelta(hours=1))

    def item(self, pod: str = "reader-1/p-1", request: bytes = b"") -> X509Item:
        """What the plugin asks for a pod."""
        return X509Item(pod, request or csr())


@asynccontextmanager
async def opened(**kwargs: Any) -> AsyncIterator[Service]:  # noqa: ANN401 - fields of `Service`
    """A service with a cluster in which a pod of `finance/reader` gets its identity by CSI."""
    async with scene(ready=False) as there:
        there.put_class(delivery={"modes": ["CSI", "PodCertificate"]})
        there.put_issuer()
        there.put_identity(delivery={"mode": "CSI"})
        there.put_pod()
        yield Service(there, **kwargs)
