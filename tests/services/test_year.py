"""A whole year of renewals, rotations and CRLs on a virtual clock, looked at after every event.

Agents talk to one another all the time: each holds what lies in its Secret, and what lay there a
while ago. After whatever happens, everybody has to be able to verify everybody, by certificates,
bundles and CRLs alone, and nobody whose certificate was revoked.
"""

from __future__ import annotations

import asyncio
import base64
import random
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import pytest

from agentid.api import DeliveryMode
from agentid.api.agentissuer import AgentIssuer
from agentid.errors import VerificationError, VerificationReason
from agentid.identity import SerialNumber, TrustDomain
from agentid.kube.objects import ObjectKey
from agentid.kube.stores import SecretFiles
from agentid.pki.crl import CrlView, read_crl
from agentid.policy.authorities import Stage
from agentid.services.bundles import BundlePublisher
from agentid.services.foreign import ForeignBundles
from agentid.services.gathering import Gatherer
from agentid.services.identities import IdentityService
from agentid.services.issuance import Issuance
from agentid.services.issuers import IssuerService
from agentid.services.objects import IdentityObjects
from agentid.services.publication import CrlPublisher
from agentid.services.responder_credentials import ResponderCredentials
from agentid.services.secrets import SecretDelivery
from agentid.services.world import Parsed
from agentid.telemetry.metrics import Metrics
from agentid.testing.ledger import in_virtual_time
from agentid.verify import BundleSet, CrlSet, Verifier, read_bundle
from agentid.verify.revocation import Crl
from tests.support.manifests import identity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractAsyncContextManager

    from agentid.policy.authorities import Authorities
    from tests.services.conftest import Cluster

    Open = Callable[[], AbstractAsyncContextManager[Cluster]]

TRUST_DOMAIN = TrustDomain.parse("example.org")
DAY, HOUR, MINUTE, SECOND = (
    timedelta(days=1),
    timedelta(hours=1),
    timedelta(minutes=1),
    timedelta(seconds=1),
)
PROPAGATION: Final = 15 * MINUTE
SWAP: Final = 2 * MINUTE
"""How long an agent goes on with the files that lay in its Secret before: as long as a kubelet
takes, and less than the grace period of the class."""
NAMES = ("reader", "writer")
API = "/apis/agentid.dev/v1alpha1"
ISSUER = f"{API}/agentissuers/test"
MAPS = "/api/v1/namespaces/agentid-system/configmaps/agentid-crl-"


@dataclass(frozen=True, slots=True)
class Files:
    """What an agent holds."""

    chain: bytes
    bundle: bytes
    since: datetime


@dataclass
class Year:
    """The operator's services on a fake API server, without its loops: the test is the clock."""

    c: Cluster
    luck: random.Random
    issuers: IssuerService
    identities: IdentityService
    crls: CrlPublisher
    bundles: BundlePublisher
    credentials: ResponderCredentials
    looks: dict[str, datetime] = field(default_factory=dict)
    held: dict[str, deque[Files]] = field(default_factory=dict)
    numbers: dict[str, tuple[int, datetime]] = field(default_factory=dict)
    bundle: int = 0
    seen: set[str] = field(default_factory=set)
    stages: set[tuple[str, str]] = field(default_factory=set)
    revoked: int = 0
    handshakes: int = 0
    pace: timedelta = HOUR / 2

    @classmethod
    def of(cls, c: Cluster, seed: int) -> Year:
        """Everything that the operator has made of the same parts."""
        metrics = Metrics()
        crls = CrlPublisher(
            world=c.world, client=c.client, ledger=c.ledger, clock=c.clock,
            random=lambda: 0.5, namespace="agentid-system", metrics=metrics,
        )  # fmt: skip
        c.ledger.subscribe(crls.learn)
        store = SecretFiles(
            c.client, namespace="agentid-system", name="agentid-responder", labels={}
        )
        gatherer = Gatherer(
            c.world, ledger=c.ledger, client=c.client, deliveries=frozenset({DeliveryMode.SECRET})
        )
        return cls(
            c=c,
            luck=random.Random(seed),
            issuers=IssuerService(
                world=c.world, client=c.client, ledger=c.ledger.state, clock=c.clock,
                random=c.ca.random, namespace="agentid-system",
            ),
            identities=IdentityService(
                world=c.world, gatherer=gatherer,
                issuance=Issuance(ledger=c.ledger, clock=c.clock),
                delivery=SecretDelivery(c.client), ledger=c.ledger,
                objects=IdentityObjects(c.client, c.world), clock=c.clock, metrics=metrics,
            ),
            crls=crls,
            bundles=BundlePublisher(
                world=c.world, client=c.client, foreign=ForeignBundles(c.clock), clock=c.clock,
                random=lambda: 0.5, namespace="agentid-system",
            ),
            credentials=ResponderCredentials(
                world=c.world, store=store, clock=c.clock, random=c.ca.random
            ),
        )  # fmt: skip

    # What the operator's loops would do

    async def look_at_issuer(self) -> None:
        """Look, publish, and look at the identities if something else is asked of them."""
        looked = await in_virtual_time(self.c.clock, self.issuers.reconcile("test"))
        await in_virtual_time(self.c.clock, self.credentials.renew())
        await in_virtual_time(self.c.clock, self.crls.publish())
        await in_virtual_time(self.c.clock, self.bundles.publish("test"))
        # Rarer than the operator looks, and often enough for every step of a rotation.
        state = self.c.world.issuer_states["test"].authorities
        calm = state is not None and len(state.issuing) == len(state.roots) == 1
        self.looks["issuer"] = self.c.clock.now() + (
            12 * HOUR if calm else max(looked.again, self.pace)
        )
        if looked.demands or looked.availability:
            for name in NAMES:
                self.looks[name] = self.c.clock.now()

    async def look_at(self, name: str) -> None:
        """A pass, and what lies in the Secret afterwards."""
        key = ObjectKey("finance", name)
        again = await in_virtual_time(self.c.clock, self.identities.reconcile(key))
        await in_virtual_time(self.c.clock, self.crls.publish())
        self.looks[name] = again or self.c.clock.now() + DAY
        body: Any = self.c.server.objects.get(f"/api/v1/namespaces/finance/secrets/{name}-agentid")
        if body is None:
            return
        data = {file: base64.b64decode(content) for file, content in body["data"].items()}
        files = self.held.setdefault(name, deque(maxlen=4))
        if not files or files[-1].chain != data["tls.crt"]:
            files.append(Files(data["tls.crt"], data["ca.crt"], self.c.clock.now()))

    async def keep_house(self) -> None:
        """Forget what has expired, as the ledger does by itself."""
        while (await in_virtual_time(self.c.clock, self.c.ledger.compact())).did_something:
            pass
        self.c.ledger.state.expire(self.c.clock.now() - 10 * MINUTE)
        self.looks["house"] = self.c.clock.now() + 2 * DAY

    def annotate(self, name: str, annotation: str) -> None:
        """What a person does to an issuer; the watch tells it."""
        stored: Any = self.c.server.objects[ISSUER]
        metadata = stored["metadata"]
        annotations = metadata.get("annotations") or {}
        stamp = self.c.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")
        changed = {**metadata, "annotations": {**annotations, annotation: stamp}}
        self.c.server.put(ISSUER, {**stored, "metadata": changed})
        self.watch_issuer()
        self.looks[name] = self.c.clock.now()

    def distrust(self, fingerprint: str) -> None:
        """Likewise in its spec."""
        stored: Any = self.c.server.objects[ISSUER]
        spec = stored["spec"] | {"distrust": [fingerprint]}
        self.c.server.put(ISSUER, {**stored, "spec": spec})
        self.watch_issuer()
        self.looks["issuer"] = self.c.clock.now()

    def watch_issuer(self) -> None:
        """The world sees the issuer as it is stored."""
        self.c.world.issuers["test"] = Parsed.of(AgentIssuer.parse, self.c.server.objects[ISSUER])

    # What has to hold

    def check(self) -> None:
        """Look at everything that somebody outside can see."""
        self.check_crls()
        self.check_authorities()
        now = self.c.clock.now()
        crls = CrlSet(self.lists(), whole_chain=True)
        in_use = {name: list(self.files_in_use(name)) for name in self.held}
        for everybody in in_use.values():
            for mine in everybody:
                verifier = _trusting(mine.bundle).with_crls(crls)
                for others in in_use.values():
                    for theirs in others:
                        agent = verifier.verify(theirs.chain, at=now)
                        assert agent.not_after > now
                        self.handshakes += 1

    def files_in_use(self, name: str) -> Iterator[Files]:
        """What lies in the Secret, and what lay there until just now."""
        files, now = self.held[name], self.c.clock.now()
        yield files[-1]
        if len(files) > 1 and now - files[-1].since < SWAP:
            yield files[-2]

    def lists(self) -> list[Crl]:
        """The same, ready to be asked; read once for each that was signed."""
        return [_parsed(view.der) for view in self.published().values()]

    def published(self) -> dict[str, CrlView]:
        """The CRLs that a responder serves."""
        found = {}
        for path, body in self.c.server.objects.items():
            if path.startswith(MAPS):
                data: Any = body["binaryData"]
                found[path.removeprefix(MAPS)] = read_crl(base64.b64decode(data["crl"]))
        return found

    def check_crls(self) -> None:
        """Fresh, complete, and never going back."""
        now = self.c.clock.now()
        for name, view in self.published().items():
            assert view.next_update > now, f"{name} has run out"
            number, this_update = self.numbers.get(name, (0, view.this_update))
            assert view.number >= number
            assert view.this_update >= this_update
            self.numbers[name] = (view.number, view.this_update)
        listed = {entry.serial for view in self.published().values() for entry in view}
        for entry in self.c.ledger.state.entries():
            if entry.revoked is not None and entry.issued.not_after >= now:
                assert entry.serial in listed, "revoked stays revoked"
            if entry.revoked is None:
                assert entry.serial not in listed

    def check_authorities(self) -> None:
        """The bundle's number grows; nothing outlives what signed it."""
        state = self.c.world.issuer_states["test"]
        assert state.authorities is not None
        records = state.authorities.records
        assert records.sequence >= self.bundle
        self.bundle = records.sequence
        ends = {each.id: each.validity.not_after for each in records.issuing}
        for entry in self.c.ledger.state.entries():
            if entry.is_live(self.c.clock.now()) and entry.issued.authority in ends:
                assert entry.issued.not_after <= ends[entry.issued.authority]
        for each in records.issuing:
            self.seen.add(each.id)
            self.stages.add((each.id, each.stage.value))
        self.seen.update(root.id for root in records.roots)
        assert all(root.trusted or root.id != signing_root(records) for root in records.roots)


def signing_root(records: Authorities) -> str:
    """The id of the root below which leaves are signed."""
    signing = records.signing
    assert signing is not None
    return signing.root


@lru_cache(maxsize=64)
def _parsed(der: bytes) -> Crl:
    return Crl.parse(der)


@lru_cache(maxsize=8)
def _trusting(bundle: bytes) -> Verifier:
    """Remembers the chains that it has seen; time and revocation are looked at each time."""
    return Verifier(BundleSet([read_bundle(bundle, TRUST_DOMAIN)]))


async def begun(c: Cluster, seed: int) -> Year:
    """An issuer, a class and three agents on their first day."""
    c.put_issuer(
        ca={"builtin": {"rootLifetime": "4320h", "intermediateLifetime": "720h"}},
        rotation={"propagationTime": "15m"},
        responder={"crlLifetime": "168h", "shards": 2},
    )
    c.put_class(lifetime="24h", renewal={"renewBefore": "1h"}, revocation={"gracePeriod": "5m"})
    for name in NAMES:
        body = identity(name, "batch")
        about = {"namespace": "finance", "uid": f"u-{name}", "generation": 1}
        body["metadata"] |= about | {"finalizers": ["agentid.dev/revocation"]}
        stored = c.server.put(f"{API}/namespaces/finance/agentidentities/{name}", body)
        c.world.identities.put(stored)
    year = Year.of(c, seed)
    await year.crls.load()
    await year.look_at_issuer()
    for name in NAMES:
        await year.look_at(name)
    await year.keep_house()
    return year


async def lived(year: Year, until: datetime, whims: Callable[[Year], object] | None = None) -> None:
    """Go from one due look to the next, and see that all is well after each."""
    while year.c.clock.now() < until:
        name, due = min(year.looks.items(), key=lambda each: each[1])
        year.c.clock.advance(max(due - year.c.clock.now(), timedelta(0)))
        await asyncio.sleep(0)
        match name:
            case "issuer":
                year.watch_issuer()
                await year.look_at_issuer()
            case "house":
                await year.keep_house()
            case _:
                await year.look_at(name)
        if whims is not None:
            whims(year)
        year.check()


def renewals_on_demand(year: Year) -> None:
    """Now and then somebody asks for a renewal."""
    if year.luck.random() < 0.02:
        name = year.luck.choice(NAMES)
        year.looks[name] = year.c.clock.now() + year.luck.random() * HOUR


@pytest.mark.parametrize("seed", [1])
async def test_a_year_passes_without_a_refused_handshake(cluster: Open, seed: int) -> None:
    """Promise 5: through a dozen intermediates and two roots, each replaced by itself in time."""
    async with cluster() as c:
        year = await begun(c, seed)
        await lived(year, c.clock.now() + 365 * DAY, renewals_on_demand)
        retired = [name for name, stage in year.stages if stage == Stage.RETIRED.value]
        assert len(retired) >= 12
        state = c.world.issuer_states["test"]
        assert state.authorities is not None
        assert len(state.authorities.records.roots) == 1
        assert year.bundle >= 4, "two roots came, and two went"
        assert year.handshakes > 3_000


async def test_a_compromised_root_is_gone_within_an_hour(cluster: Open) -> None:
    """Nobody is refused meanwhile, and at the end nobody trusts it, nor what it stood for."""
    async with cluster() as c:
        year = await begun(c, 3)
        await lived(year, c.clock.now() + HOUR)
        before = {name: files[-1] for name, files in year.held.items()}
        state = c.world.issuer_states["test"]
        assert state.authorities is not None
        (old,) = state.authorities.records.roots
        year.pace = MINUTE
        year.distrust(old.fingerprint)
        await lived(year, c.clock.now() + HOUR)
        state = c.world.issuer_states["test"]
        assert state.authorities is not None
        (new,) = (root for root in state.authorities.records.roots if root.trusted)
        assert new.id != old.id
        now = c.clock.now()
        for name, files in year.held.items():
            bundle = read_bundle(files[-1].bundle, TRUST_DOMAIN)
            assert len(bundle.authorities) == 1, "no Secret holds the old root any more"
            with pytest.raises(VerificationError) as refused:
                Verifier(BundleSet([bundle])).verify(before[name].chain, at=now)
            assert refused.value.reason is VerificationReason.UNTRUSTED_ROOT


async def test_a_compromised_intermediate_is_replaced_and_revoked(cluster: Open) -> None:
    """What it signed is reissued, then revoked; its root names it on its own CRL."""
    async with cluster() as c:
        year = await begun(c, 4)
        await lived(year, c.clock.now() + HOUR)
        before = {name: files[-1] for name, files in year.held.items()}
        state = c.world.issuer_states["test"]
        assert state.authorities is not None
        signing = state.authorities.records.signing
        assert signing is not None
        year.pace = MINUTE
        year.distrust(signing.fingerprint)
        await lived(year, c.clock.now() + HOUR)
        listed = {e.serial for view in year.published().values() for e in view}
        assert signing.serial in listed
        crls = CrlSet(year.lists())
        for name, files in year.held.items():
            bundle = read_bundle(files[-1].bundle, TRUST_DOMAIN)
            verifier = Verifier(BundleSet([bundle]), crls=crls)
            with pytest.raises(VerificationError) as refused:
                verifier.verify(before[name].chain, at=c.clock.now())
            assert refused.value.reason is VerificationReason.REVOKED
        serials = {entry.serial for entry in c.ledger.state.entries() if entry.revoked is not None}
        assert all(isinstance(each, SerialNumber) for each in serials)
        assert len(serials) >= len(NAMES)
