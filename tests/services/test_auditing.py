"""Audit events: one for each decision, and of the ledger only what is durable."""

from __future__ import annotations

import hashlib
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from agentid.api import DeliveryMode
from agentid.api.agentrevocation import AgentRevocation
from agentid.errors import AgentIdError
from agentid.kube.objects import ObjectKey
from agentid.services.auditing import Auditor
from agentid.services.failure import PassError
from agentid.services.gathering import Gatherer
from agentid.services.identities import IdentityService
from agentid.services.incidents import IncidentService
from agentid.services.issuance import Issuance
from agentid.services.issuers import IssuerService
from agentid.services.objects import IdentityObjects
from agentid.services.secrets import SecretDelivery
from agentid.services.witness import Witness
from agentid.telemetry.metrics import Metrics
from agentid.testing.ledger import in_virtual_time
from agentid.testing.segments import Fault
from tests.support.auditing import Lines

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    from tests.services.conftest import Cluster

    Open = Callable[[], AbstractAsyncContextManager[Cluster]]

READER = ObjectKey("finance", "reader")
IDENTITY = "/apis/agentid.dev/v1alpha1/namespaces/finance/agentidentities/reader"


@dataclass(frozen=True, slots=True)
class Audited:
    """Services whose decisions are told, and what was told."""

    c: Cluster
    lines: Lines
    metrics: Metrics
    witness: Witness
    identities: IdentityService

    async def look(self) -> None:
        """One pass over `finance/reader`."""
        await in_virtual_time(self.c.clock, self.identities.reconcile(READER))

    def see(self) -> None:
        """Have the world know the identity as it is stored now."""
        self.c.world.identities.put(self.c.server.objects[IDENTITY])


@pytest.fixture
def audited(cluster: Open) -> Callable[[], AbstractAsyncContextManager[Audited]]:
    """Opens a cluster where `finance/reader` is granted, with an auditor on its ledger."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[Audited]:
        async with cluster() as c:
            lines, metrics = Lines(), Metrics()
            auditor = Auditor(
                world=c.world, ledger=c.ledger.state, clock=c.clock, metrics=metrics,
                source="w", write=lines.write,
            )  # fmt: skip
            c.ledger.subscribe(auditor.learn)
            witness = Witness(auditor)
            c.put_issuer()
            c.set_up_issuer()
            c.put_class()
            c.put_identity()
            identities = IdentityService(
                world=c.world,
                gatherer=Gatherer(
                    c.world, ledger=c.ledger, client=c.client,
                    deliveries=frozenset({DeliveryMode.SECRET}),
                ),
                issuance=Issuance(ledger=c.ledger, clock=c.clock),
                delivery=SecretDelivery(c.client),
                ledger=c.ledger,
                objects=IdentityObjects(c.client, c.world),
                clock=c.clock,
                metrics=metrics,
                witness=witness,
            )  # fmt: skip
            yield Audited(c, lines, metrics, witness, identities)

    return opened


Opened = "Callable[[], AbstractAsyncContextManager[Audited]]"


def lost(metrics: Metrics) -> float:
    """Events that were lost."""
    found = metrics.registry.get_sample_value("agentid_audit_lost_total")
    assert found is not None
    return found


async def test_an_issuance_tells_all_that_it_was_decided_by(
    audited: Callable[[], AbstractAsyncContextManager[Audited]],
) -> None:
    """Who, which certificate, under what, and the exact versions and hashes of the inputs."""
    async with audited() as a:
        before = a.c.server.objects[IDENTITY]
        managed = [
            {"manager": "agentid", "time": "2026-11-03T00:00:00Z", "fieldsV1": {"f:metadata": {}}},
            {"manager": "helm", "time": "2026-11-01T00:00:00Z", "fieldsV1": {"f:spec": {}}},
            {"manager": "argo", "time": "2026-11-02T00:00:00Z", "fieldsV1": {"f:spec": {}}},
            {"manager": "x", "time": "2026-11-03T00:00:00Z", "subresource": "status",
             "fieldsV1": {"f:spec": {}}},
        ]  # fmt: skip
        metadata = before["metadata"] | {"managedFields": managed}  # type: ignore[operator]
        a.c.server.put(IDENTITY, before | {"metadata": metadata})
        a.see()
        judged = a.c.server.objects[IDENTITY]
        await a.look()
        (event,) = a.lines.events
        (entry,) = a.c.ledger.state.entries()
        assert (event["decision"], event["reason"]) == ("Issued", "first")
        assert event["id"] == "w-1"
        assert event["actor"] == {"name": "agentid-controller", "fieldManager": "argo"}
        spec = json.dumps(judged["spec"], sort_keys=True, separators=(",", ":")).encode()
        about: Any = judged["metadata"]
        assert {**event["object"], "resourceVersion": ""} == {
            "kind": "AgentIdentity", "namespace": "finance", "name": "reader", "uid": "u-1",
            "generation": 1, "resourceVersion": "",
            "specHash": hashlib.sha256(spec).hexdigest(),
        }  # fmt: skip
        assert int(event["object"]["resourceVersion"]) >= int(about["resourceVersion"])
        issued = entry.issued
        assert event["certificate"] == {
            "serial": str(issued.serial),
            "fingerprint": issued.fingerprint,
            "notBefore": issued.not_before.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "notAfter": issued.not_after.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "keyAlgorithm": "ECDSAP256",
            "authority": issued.authority,
            "door": "Secret",
        }
        assert event["grantHash"] == hashlib.sha256(issued.grant.encode()).hexdigest()
        assert event["spiffeID"] == "spiffe://example.org/ns/finance/agent/reader"
        assert (event["className"], event["issuer"], event["tier"], event["sponsor"]) == (
            "batch", "test", "Low", "team@example.com",
        )  # fmt: skip
        assert [(each["kind"], each["name"]) for each in event["inputs"]] == [
            ("AgentClass", "batch"), ("AgentIssuer", "test"),
        ]  # fmt: skip
        stored = a.c.server.objects["/apis/agentid.dev/v1alpha1/agentclasses/batch"]
        spec = json.dumps(stored["spec"], sort_keys=True, separators=(",", ":")).encode()
        assert event["inputs"][0]["specHash"] == hashlib.sha256(spec).hexdigest()
        await a.look()
        assert len(a.lines.events) == 1, "a look that decides nothing tells nothing"


async def test_a_renewal_names_what_it_replaces(
    audited: Callable[[], AbstractAsyncContextManager[Audited]],
) -> None:
    """And why it came."""
    async with audited() as a:
        await a.look()
        first = a.lines.events[0]["certificate"]["serial"]
        a.c.clock.advance(50 * 60)
        await a.look()
        event = a.lines.events[1]
        assert (event["decision"], event["reason"]) == ("Renewed", "renewal")
        assert event["certificate"]["replaces"] == first


@pytest.mark.parametrize("fault", [Fault.AFTER, Fault.LATE], ids=["no-answer", "late"])
async def test_what_becomes_durable_late_is_told_then(
    audited: Callable[[], AbstractAsyncContextManager[Audited]], fault: Fault
) -> None:
    """The ledger said that it does not know; the event comes with the record, and once."""
    async with audited() as a:
        a.c.store.faults.extend([fault])
        await a.look()
        assert a.lines.told() == [("Issued", "first")]
        (entry,) = a.c.ledger.state.entries()
        assert a.lines.events[0]["certificate"]["serial"] == str(entry.serial)


async def test_nothing_is_told_of_what_is_not_on_the_ledger(
    audited: Callable[[], AbstractAsyncContextManager[Audited]],
) -> None:
    """A certificate that could not be recorded was never issued."""
    async with audited() as a:
        a.c.store.away = True
        with pytest.raises(PassError, match="ledger"):
            await a.look()
        assert a.lines.told() == []
        a.c.store.away = False
        await a.c.clock.run_for(30)
        a.see()
        await a.look()
        serials = {str(entry.serial) for entry in a.c.ledger.state.entries()}
        issued = [e for e in a.lines.events if e["decision"] in {"Issued", "Renewed"}]
        assert {each["certificate"]["serial"] for each in issued} == serials


async def test_a_refusal_that_stands_is_told_once(
    audited: Callable[[], AbstractAsyncContextManager[Audited]],
) -> None:
    """By no further look, nor by a new leader; a change of the spec is judged and told anew."""
    async with audited() as a:
        a.c.put_identity(permissions={"systems": ["hr.x"], "operations": ["delete"]})
        for _ in range(3):
            await a.look()
        (event,) = a.lines.events
        assert (event["decision"], event["reason"]) == ("Refused", "ExceedsClass")
        assert len(event["violations"]) == 2
        assert all("AgentClass" in each for each in event["violations"])
        assert event["tier"]
        assert event["className"] == "batch"
        assert "certificate" not in event
        leader = IdentityService(
            world=a.c.world,
            gatherer=a.identities._gatherer,
            issuance=Issuance(ledger=a.c.ledger, clock=a.c.clock),
            delivery=SecretDelivery(a.c.client), ledger=a.c.ledger,
            objects=IdentityObjects(a.c.client, a.c.world), clock=a.c.clock, metrics=a.metrics,
            witness=Witness(
                Auditor(
                    world=a.c.world, ledger=a.c.ledger.state, clock=a.c.clock,
                    metrics=a.metrics, source="other", write=a.lines.write,
                )
            ),
        )  # fmt: skip
        await in_virtual_time(a.c.clock, leader.reconcile(READER))
        assert len(a.lines.events) == 1, "the status told the new leader that it was told"
        stored: Any = a.c.server.objects[IDENTITY]
        a.c.server.put(IDENTITY, stored | {"metadata": stored["metadata"] | {"generation": 2}})
        a.see()
        await a.look()
        assert [event["object"]["generation"] for event in a.lines.events] == [1, 2]


async def test_a_refusal_whose_status_cannot_be_written_is_told_once(
    audited: Callable[[], AbstractAsyncContextManager[Audited]],
) -> None:
    """However often it is tried."""
    async with audited() as a:
        a.c.put_identity(sponsor=None)
        for _ in range(3):
            a.c.server.fail_next(500)
            with pytest.raises(AgentIdError, match="500"):
                await a.look()
        await a.look()
        assert a.lines.told() == [("Refused", "SponsorRequired")]


async def test_what_is_refused_again_is_told_again(
    audited: Callable[[], AbstractAsyncContextManager[Audited]],
) -> None:
    """After it was granted in between, in the same words."""
    async with audited() as a:
        for allowed in ("x-*", "*", "x-*"):
            a.c.put_class(namespaces={"names": [allowed]})
            await a.look()
        told = [each for each, _ in a.lines.told() if each != "Revoked"]
        assert told == ["Refused", "Issued", "Refused"]


async def test_a_suspension_is_told_with_every_serial(
    audited: Callable[[], AbstractAsyncContextManager[Audited]],
) -> None:
    """Each revocation names the certificate, the object that made it necessary, and who decided."""
    async with audited() as a:
        await a.look()
        stored: Any = a.c.server.objects[IDENTITY]
        metadata = stored["metadata"] | {"generation": 2}
        a.c.server.put(IDENTITY, stored | {
            "metadata": metadata, "spec": stored["spec"] | {"suspend": True},
        })  # fmt: skip
        a.see()
        await a.look()
        await a.look()
        assert a.lines.told() == [
            ("Issued", "first"), ("Revoked", "privilegeWithdrawn"), ("Suspended", "Suspended"),
        ]  # fmt: skip
        issued, revoked, _ = a.lines.events
        assert revoked["certificate"] == issued["certificate"]
        assert revoked["object"]["generation"] == 2
        assert revoked["actor"]["name"] == "agentid-controller"
        assert (revoked["spiffeID"], revoked["tier"]) == (issued["spiffeID"], issued["tier"])


async def test_what_is_revoked_ahead_of_its_pass_is_told_the_same(
    audited: Callable[[], AbstractAsyncContextManager[Audited]],
) -> None:
    """Once, with the object that made it necessary; the pass that follows adds nothing."""
    async with audited() as a:
        await a.look()
        stored: Any = a.c.server.objects[IDENTITY]
        metadata = stored["metadata"] | {"deletionTimestamp": "2026-11-01T12:00:00Z"}
        a.c.server.put(IDENTITY, stored | {"metadata": metadata})
        a.see()
        await in_virtual_time(a.c.clock, a.identities.revoke_due([READER]))
        await a.look()
        assert a.lines.told() == [("Issued", "first"), ("Revoked", "cessationOfOperation")]
        issued, revoked = a.lines.events
        assert revoked["certificate"] == issued["certificate"]
        assert revoked["object"]["specHash"] == issued["object"]["specHash"]


async def test_an_incident_is_told_from_its_beginning_to_its_release(
    audited: Callable[[], AbstractAsyncContextManager[Audited]],
) -> None:
    """With each serial that it took, the hold that it puts on identities, and how much it was."""
    async with audited() as a:
        await a.look()
        service = IncidentService(
            world=a.c.world, client=a.c.client, ledger=a.c.ledger, clock=a.c.clock,
            metrics=a.metrics, witness=a.witness,
        )  # fmt: skip
        path = "/apis/agentid.dev/v1alpha1/agentrevocations/leak"
        spec = {
            "reason": "keyCompromise", "explanation": "A laptop was stolen", "dryRun": False,
            "hold": True, "select": {"namespaces": ["finance"]},
        }  # fmt: skip
        metadata = {"name": "leak", "uid": "u-9", "generation": 1}
        a.c.world.incidents.put(a.c.server.put(path, {"metadata": metadata, "spec": spec}))
        outcome = await service.reconcile("leak")
        assert outcome.again is not None
        await a.look()
        await a.c.clock.run_for(outcome.again.total_seconds())
        await service.reconcile("leak")
        stored: Any = a.c.server.objects[path]
        released = stored | {"spec": spec | {"release": True}}
        a.c.world.incidents.put(a.c.server.put(path, released))
        await service.reconcile("leak")
        await service.reconcile("leak")
        assert a.lines.told()[1:] == [
            ("IncidentStarted", "keyCompromise"),
            ("Revoked", "keyCompromise"),
            ("Held", "Held"),
            ("IncidentExecuted", "keyCompromise"),
            ("IncidentReleased", "keyCompromise"),
        ]
        started, revoked, _, executed, _ = a.lines.events[1:]
        assert started["message"] == "A laptop was stolen"
        assert revoked["actor"]["name"] == "AgentRevocation leak (u-9)"
        assert executed["counts"] == {"matched": 1, "revoked": 1, "identities": 1}
        assert executed["object"]["kind"] == AgentRevocation.KIND


async def test_steps_of_a_rotation_are_told_with_their_authority(
    audited: Callable[[], AbstractAsyncContextManager[Audited]],
) -> None:
    """A successor that is made, that signs, and the distrust of a root."""
    async with audited() as a:
        issuers = IssuerService(
            world=a.c.world, client=a.c.client, ledger=a.c.ledger.state, clock=a.c.clock,
            random=a.c.ca.random, namespace="agentid-system", witness=a.witness,
            metrics=a.metrics,
        )  # fmt: skip
        await in_virtual_time(a.c.clock, issuers.reconcile("test"))
        made = a.c.world.issuer_states["test"].authorities
        assert made is not None
        root = made.records.roots[0]
        a.c.clock.advance(60)
        a.c.put_issuer(distrust=[root.fingerprint])
        for _ in range(20):
            sets = a.c.world.issuer_states["test"].authorities
            assert sets is not None
            served = frozenset(each.id for each in sets.records.issuing)
            a.c.world.served_crls = a.c.world.served_ocsp = served
            await in_virtual_time(a.c.clock, issuers.reconcile("test"))
            a.c.clock.advance(timedelta(minutes=10))
        told = a.lines.told()
        assert told[:3] == [
            ("AuthorityStaged", "StageRoot"),
            ("AuthorityRotated", "Promote"),
            ("AuthorityDistrusted", "DropRoot"),
        ]
        assert ("AuthorityRemoved", "Remove") in told
        staged, rotated, distrusted = a.lines.events[:3]
        assert "is distrusted" in staged["message"]
        assert rotated["authority"] != made.records.issuing[0].id
        assert distrusted["authority"] == root.id
        assert all(event["issuer"] == "test" for event in a.lines.events)


async def test_a_stream_without_room_costs_an_event_and_nothing_else(
    audited: Callable[[], AbstractAsyncContextManager[Audited]],
) -> None:
    """It is counted, its number is missing, and the agent has its certificate."""
    async with audited() as a:
        a.lines.full = True
        await a.look()
        assert len(list(a.c.ledger.state.entries())) == 1
        assert lost(a.metrics) == 1
        a.lines.full = False
        a.c.clock.advance(50 * 60)
        await a.look()
        assert [event["id"] for event in a.lines.events] == ["w-2"]
