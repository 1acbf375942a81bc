"""A pass over one identity: what it writes, and what it tells when it cannot go on."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from agentid.api import DeliveryMode
from agentid.errors import InternalError
from agentid.identity import PodRef, RevocationReason
from agentid.kube.objects import ObjectKey
from agentid.ledger import Revoked
from agentid.policy import Granted
from agentid.services.failure import PassError
from agentid.services.gathering import Gatherer
from agentid.services.identities import IdentityService
from agentid.services.issuance import Issuance
from agentid.services.objects import IdentityObjects
from agentid.services.pods import Pod
from agentid.services.rates import Rates
from agentid.services.secrets import SecretDelivery
from agentid.telemetry.metrics import Metrics
from agentid.testing.ledger import in_virtual_time, make_issued

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from agentid.ledger import Issued
    from tests.services.conftest import Cluster

READER = ObjectKey("finance", "reader")


class BrokenDelivery(SecretDelivery):
    """A delivery with a defect that nobody foresaw."""

    async def deliver(self, *_: object) -> str:
        """Fail always."""
        message = "delivery Letter was granted"
        raise InternalError(message)


def service_of(cluster: Cluster, delivery: SecretDelivery, **limits: int) -> IdentityService:
    """The service as the operator builds it, on a cluster where `finance/reader` is granted."""
    cluster.put_issuer()
    cluster.set_up_issuer()
    cluster.put_class(limits=limits)
    cluster.put_identity()
    rates = Rates(world=cluster.world, ledger=cluster.ledger, clock=cluster.clock)
    return IdentityService(
        world=cluster.world,
        gatherer=Gatherer(
            cluster.world,
            ledger=cluster.ledger,
            client=cluster.client,
            deliveries=frozenset({DeliveryMode.SECRET}),
        ),
        issuance=Issuance(ledger=cluster.ledger, clock=cluster.clock, rates=rates),
        delivery=delivery,
        ledger=cluster.ledger,
        objects=IdentityObjects(cluster.client, cluster.world),
        clock=cluster.clock,
        metrics=Metrics(),
    )


async def test_an_issuance_is_a_secret_and_a_status(
    cluster: Callable[[], AbstractAsyncContextManager[Cluster]],
) -> None:
    """Beside a segment of the ledger, and the finalizer where the policy has not set it."""
    async with cluster() as there:
        service = service_of(there, SecretDelivery(there.client))
        again = await in_virtual_time(there.clock, service.reconcile(READER))
        assert again is not None
        assert again > there.clock.now()
        identity = "/apis/agentid.dev/v1alpha1/namespaces/finance/agentidentities/reader"
        assert there.writes() == [
            f"PATCH {identity}",
            "POST /api/v1/namespaces/finance/secrets",
            f"PUT {identity}/status",
        ]
        assert await in_virtual_time(there.clock, service.reconcile(READER)) == again
        assert len(there.writes()) == 3, "a second look writes nothing"
        assert len(there.store.objects) == 1


async def test_revoking_what_is_due_writes_to_the_ledger_alone(
    cluster: Callable[[], AbstractAsyncContextManager[Cluster]],
) -> None:
    """Promise 4: it does not wait for the Secret and the status of a suspended identity."""
    async with cluster() as there:
        service = service_of(there, SecretDelivery(there.client))
        await in_virtual_time(there.clock, service.reconcile(READER))
        before = there.writes()
        await in_virtual_time(there.clock, service.revoke_due([READER]))
        assert len(there.store.objects) == 1, "nothing is due"
        there.put_identity(suspend=True)
        await in_virtual_time(there.clock, service.revoke_due([READER]))
        assert not there.ledger.state.unrevoked("finance", "reader")
        await in_virtual_time(there.clock, service.revoke_due([READER]))
        assert len(there.store.objects) == 2, "once"
        assert there.writes() == before


async def test_a_pass_waits_for_a_revocation_that_is_under_way(
    cluster: Callable[[], AbstractAsyncContextManager[Cluster]],
) -> None:
    """It records nothing twice, and goes on only when the one record is durable."""
    async with cluster() as there:
        service = service_of(there, SecretDelivery(there.client))
        await in_virtual_time(there.clock, service.reconcile(READER))
        there.put_identity(suspend=True)
        revoked: list[Revoked] = []
        there.ledger.subscribe(
            lambda one: revoked.extend(each for each in one.records if isinstance(each, Revoked))
        )
        both = asyncio.gather(service.revoke_due([READER]), service.reconcile(READER))
        await in_virtual_time(there.clock, both)
        assert len(revoked) == 1


async def test_a_defect_is_told_once(
    cluster: Callable[[], AbstractAsyncContextManager[Cluster]],
) -> None:
    """With an id to find the log line by; each retry has the same, and writes no status."""
    async with cluster() as there:
        service = service_of(there, BrokenDelivery(there.client))
        told: list[str] = []
        writes: list[int] = []
        for _ in range(3):
            with pytest.raises(
                PassError, match=r"could not go on \([0-9a-f]{12}\); its log"
            ) as got:
                await in_virtual_time(there.clock, service.reconcile(READER))
            told.append(str(got.value))
            writes.append(len(there.writes()))
        assert len(set(told)) == 1
        assert there.writes()[-1].endswith("/status")
        assert len(set(writes)) == 1, "retries write nothing"
        assert len(there.store.objects) == 1, "retries go on with the certificate that was made"


SECRET = "/api/v1/namespaces/finance/secrets/reader-agentid"


def delivered(cluster: Cluster) -> object:
    """What lies in the Secret of `finance/reader` as a certificate; None where there is none."""
    body = cluster.server.objects.get(SECRET)
    return None if body is None else body["data"]["tls.crt"]  # type: ignore[index]


def known_as_stored(cluster: Cluster) -> None:
    """Have the watch tell the identity as it is."""
    path = "/apis/agentid.dev/v1alpha1/namespaces/finance/agentidentities/reader"
    cluster.world.identities.put(cluster.server.objects[path])


async def test_a_secret_that_changed_since_is_not_overwritten_in_the_same_pass(
    cluster: Callable[[], AbstractAsyncContextManager[Cluster]],
) -> None:
    """A pass that was held up must not undo what another replica has written meanwhile."""
    async with cluster() as there:
        service = service_of(there, SecretDelivery(there.client))
        await in_virtual_time(there.clock, service.reconcile(READER))
        known_as_stored(there)
        there.server.put(SECRET, there.server.objects[SECRET])
        before = there.server.objects[SECRET]["metadata"]["resourceVersion"]  # type: ignore[index]
        there.put_class(
            permissions={"systems": ["crm.*"], "operations": ["read"]},
            revocation={"gracePeriod": "0s"},
        )
        with pytest.raises(PassError, match="the object has been modified"):
            await in_virtual_time(there.clock, service.reconcile(READER))
        assert there.server.objects[SECRET]["metadata"]["resourceVersion"] == before  # type: ignore[index]
        known_as_stored(there)
        await in_virtual_time(there.clock, service.reconcile(READER))
        assert delivered(there) == "", "the next pass decides anew, and writes"


async def test_whoever_leads_anew_asks_for_no_version(
    cluster: Callable[[], AbstractAsyncContextManager[Cluster]],
) -> None:
    """What another leader wrote in between costs no failed pass for each identity."""
    async with cluster() as there:
        service = service_of(there, SecretDelivery(there.client))
        await in_virtual_time(there.clock, service.reconcile(READER))
        there.server.put(SECRET, there.server.objects[SECRET])
        service.begin()
        there.put_class(
            permissions={"systems": ["crm.*"], "operations": ["read"]},
            revocation={"gracePeriod": "0s"},
        )
        known_as_stored(there)
        await in_virtual_time(there.clock, service.reconcile(READER))
        assert delivered(there) == ""


async def test_a_creation_that_got_no_answer_cannot_come_late(
    cluster: Callable[[], AbstractAsyncContextManager[Cluster]],
) -> None:
    """Promise 4: suspended meanwhile, the agent has an empty Secret in the way of the late one."""
    async with cluster() as there:
        service = service_of(there, SecretDelivery(there.client))
        there.server.refused["/api/v1/namespaces/finance/secrets"] = 500
        with pytest.raises(PassError, match="500"):
            await in_virtual_time(there.clock, service.reconcile(READER))
        assert delivered(there) is None
        there.server.refused.clear()
        there.put_identity(suspend=True)
        await in_virtual_time(there.clock, service.reconcile(READER))
        assert delivered(there) == ""
        assert not there.ledger.state.unrevoked("finance", "reader")
        writes = len(there.writes())
        known_as_stored(there)
        await in_virtual_time(there.clock, service.reconcile(READER))
        assert len(there.writes()) == writes, "once it is told, nothing is written any more"


# Pods


def pod_service(cluster: Cluster) -> IdentityService:
    """The service on a cluster where the pods of `finance/reader` get certificates."""
    service = service_of(cluster, SecretDelivery(cluster.client))
    cluster.put_class(delivery={"modes": ["PodCertificate", "Secret"]}, lifetime="24h")
    cluster.put_identity(delivery={"mode": "PodCertificate"})
    cluster.world.doors = frozenset({DeliveryMode.POD_CERTIFICATE})
    cluster.world.pods.synced = True
    return service


def run_pod(cluster: Cluster, uid: str) -> None:
    """Have the watch tell a pod of `finance/reader`."""
    labels = {"agentid.dev/identity": "reader"}
    metadata = {"namespace": "finance", "name": f"p-{uid}", "uid": uid, "labels": labels}
    cluster.world.pods.put(Pod.of({"metadata": metadata}))


def of_pod(cluster: Cluster, number: int, uid: str, grant: str) -> Issued:
    """The record of a certificate of a pod that another replica has issued."""
    return make_issued(
        number,
        namespace="finance",
        uid="u-1",
        door=DeliveryMode.POD_CERTIFICATE,
        grant=grant,
        lifetime=timedelta(hours=24),
        issued_at=cluster.clock.now(),
        pod=PodRef(f"p-{uid}", uid, "node-1", f"request-{number}"),
    )


async def granted_to(cluster: Cluster) -> str:
    """What `finance/reader` is granted, as records have it."""
    deliveries = frozenset({DeliveryMode.SECRET})
    gatherer = Gatherer(
        cluster.world, ledger=cluster.ledger, client=cluster.client, deliveries=deliveries
    )
    verdict = (await gatherer.gather(READER, cluster.clock.now())).verdict
    assert isinstance(verdict, Granted)
    return verdict.grant.to_json()


async def test_a_thousand_pods_are_few_writes(
    cluster: Callable[[], AbstractAsyncContextManager[Cluster]],
) -> None:
    """However often it is looked at: one when they have settled, then one in half a minute."""
    async with cluster() as there:
        service = pod_service(there)
        await in_virtual_time(there.clock, service.reconcile(READER))
        before = len(there.writes())
        assert before == 2, "the finalizer, and what a pod's volume has to ask for"
        grant, number = await granted_to(there), 0
        start = there.clock.monotonic()
        while there.clock.monotonic() - start < 61:
            if number < 1000:
                for _ in range(50):
                    number += 1
                    run_pod(there, f"{number}")
                records = (of_pod(there, n, f"{n}", grant) for n in range(number - 49, number + 1))
                await in_virtual_time(there.clock, there.ledger.append(*records))
            again = await in_virtual_time(there.clock, service.reconcile(READER))
            assert again is not None
            there.clock.advance(1)
        writes = there.writes()[before:]
        assert 1 <= len(writes) <= 3, writes
        assert all(each.endswith("/status") for each in writes)
        body = there.world.identities.get(READER)
        assert body is not None
        match body["status"]:
            case {"pods": {"certificates": 1000}, "activeCertificates": 1000}:
                pass
            case other:
                pytest.fail(f"the last status is {other}")


async def test_a_look_that_waits_says_when_it_can_write(
    cluster: Callable[[], AbstractAsyncContextManager[Cluster]],
) -> None:
    """So that the last change is told as well, and nothing has to happen for it."""
    async with cluster() as there:
        service = pod_service(there)
        await in_virtual_time(there.clock, service.reconcile(READER))
        run_pod(there, "a")
        grant = await granted_to(there)
        await in_virtual_time(there.clock, there.ledger.append(of_pod(there, 1, "a", grant)))
        before, now = len(there.writes()), there.clock.now()
        again = await in_virtual_time(there.clock, service.reconcile(READER))
        assert again is not None
        assert timedelta(0) < again - now <= timedelta(seconds=2)
        assert len(there.writes()) == before
        there.clock.advance(again - there.clock.now())
        await in_virtual_time(there.clock, service.reconcile(READER))
        assert len(there.writes()) == before + 1


async def test_what_is_more_than_a_number_does_not_wait(
    cluster: Callable[[], AbstractAsyncContextManager[Cluster]],
) -> None:
    """A team that suspends its agent reads so at once, pods or not."""
    async with cluster() as there:
        service = pod_service(there)
        await in_virtual_time(there.clock, service.reconcile(READER))
        run_pod(there, "a")
        grant = await granted_to(there)
        await in_virtual_time(there.clock, there.ledger.append(of_pod(there, 1, "a", grant)))
        there.put_identity(delivery={"mode": "PodCertificate"}, suspend=True)
        before = len(there.writes())
        await in_virtual_time(there.clock, service.reconcile(READER))
        assert not there.ledger.state.unrevoked("finance", "reader")
        assert len(there.writes()) > before


async def test_what_gone_pods_held_is_one_commit(
    cluster: Callable[[], AbstractAsyncContextManager[Cluster]],
) -> None:
    """As cessation of operation; who is concerned is told, and once more is nothing."""
    async with cluster() as there:
        service = pod_service(there)
        grant = await granted_to(there)
        records = [of_pod(there, n, f"{n % 3}", grant) for n in range(1, 10)]
        await in_virtual_time(there.clock, there.ledger.append(*records))
        run_pod(there, "2")
        before = len(there.store.objects)
        asked = ["0", "1", "2", "nobody"]
        assert await in_virtual_time(there.clock, service.revoke_pods(asked)) == {READER}
        assert len(there.store.objects) == before + 1
        left = there.ledger.state.unrevoked("finance", "reader")
        assert {each.issued.pod.uid for each in left if each.issued.pod} == {"2"}, "it runs"
        reasons = {each.reason for each in there.ledger.state.revoked()}
        assert reasons == {RevocationReason.CESSATION_OF_OPERATION}
        assert await in_virtual_time(there.clock, service.revoke_pods(asked)) == frozenset()
        assert len(there.store.objects) == before + 1


async def test_a_ledger_that_is_away_forgets_no_gone_pod(
    cluster: Callable[[], AbstractAsyncContextManager[Cluster]],
) -> None:
    """Promise 4: the caller learns that it has to try again."""
    async with cluster() as there:
        service = pod_service(there)
        grant = await granted_to(there)
        await in_virtual_time(there.clock, there.ledger.append(of_pod(there, 1, "a", grant)))
        there.store.away = True
        with pytest.raises(PassError, match="not stored in time"):
            await in_virtual_time(there.clock, service.revoke_pods(["a"]))
        there.store.away = False
        await there.clock.run_for(30)
        await in_virtual_time(there.clock, service.revoke_pods(["a"]))
        assert not there.ledger.state.unrevoked("finance", "reader")


# Limits of the class


def renewal_requested(there: Cluster) -> None:
    """Somebody asks for a renewal, now."""
    body = there.put_identity(seen=False)
    known = there.world.identities.get(READER)
    assert known is not None
    asked = there.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")
    body["metadata"]["annotations"] = {"agentid.dev/renew-requested": asked}
    body["metadata"]["finalizers"] = known["metadata"]["finalizers"]  # type: ignore[index]
    body["status"] = known["status"]
    stored = there.server.put(
        "/apis/agentid.dev/v1alpha1/namespaces/finance/agentidentities/reader", body
    )
    there.world.identities.put(stored)


async def test_asking_for_renewals_is_no_way_around_the_rate(
    cluster: Callable[[], AbstractAsyncContextManager[Cluster]],
) -> None:
    """It waits, is told so once, stays Ready, and has its turn; one that is due goes at once."""
    async with cluster() as there:
        service = service_of(there, SecretDelivery(there.client), issuancesPerMinutePerNamespace=1)
        await in_virtual_time(there.clock, service.reconcile(READER))
        there.clock.advance(10)
        renewal_requested(there)
        before = len(there.writes())
        for _ in range(2):
            with pytest.raises(PassError, match="to 1 a minute"):
                await in_virtual_time(there.clock, service.reconcile(READER))
        with pytest.raises(PassError, match="to 1 a minute") as caught:
            await in_virtual_time(there.clock, service.reconcile(READER))
        assert caught.value.retry_after is not None
        assert len(there.writes()) == before + 1, "the status, once"
        body: Any = there.world.identities.get(READER)
        conditions = {each["type"]: each for each in body["status"]["conditions"]}
        assert conditions["Ready"]["status"] == "True"
        assert conditions["Reconciling"]["reason"] == "RateLimited"
        assert there.ledger.state.count == 1
        there.clock.advance(caught.value.retry_after)
        await in_virtual_time(there.clock, service.reconcile(READER))
        assert there.ledger.state.count == 2
        body = there.world.identities.get(READER)
        assert [each["type"] for each in body["status"]["conditions"]] == ["Ready"]


async def test_a_renewal_that_is_due_waits_for_no_rate(
    cluster: Callable[[], AbstractAsyncContextManager[Cluster]],
) -> None:
    """Promise 5: whatever else the namespace asked for."""
    async with cluster() as there:
        service = service_of(there, SecretDelivery(there.client), issuancesPerMinutePerNamespace=1)
        again = await in_virtual_time(there.clock, service.reconcile(READER))
        assert again is not None
        there.clock.advance(again - there.clock.now())
        others = [make_issued(n, namespace="finance", issued_at=there.clock.now(),
            grant='{"class":"batch"}', not_after=there.clock.now() + timedelta(hours=1))
            for n in range(1, 9)]  # fmt: skip
        await in_virtual_time(there.clock, there.ledger.append(*others))
        count = there.ledger.state.count
        await in_virtual_time(there.clock, service.reconcile(READER))
        assert there.ledger.state.count == count + 1


async def test_beyond_the_quota_nothing_is_made(
    cluster: Callable[[], AbstractAsyncContextManager[Cluster]],
) -> None:
    """Promise 2: no certificate, no Secret; the status tells the numbers, once."""
    async with cluster() as there:
        service = service_of(there, SecretDelivery(there.client), identities=0)
        for _ in range(2):
            await in_virtual_time(there.clock, service.reconcile(READER))
        body: Any = there.world.identities.get(READER)
        conditions = {each["type"]: each for each in body["status"]["conditions"]}
        assert set(conditions) == {"Ready", "Reconciling"}
        for each in conditions.values():
            assert each["reason"] == "QuotaExceeded"
            assert "limits its identities to 0 (spec.limits.identities)" in each["message"]
        assert conditions["Ready"]["status"] == "False"
        assert there.ledger.state.count == 0
        assert [each.split()[0] for each in there.writes()] == ["PUT"]


async def test_a_lowered_quota_lets_renewals_go_on(
    cluster: Callable[[], AbstractAsyncContextManager[Cluster]],
) -> None:
    """Promise 5: a limit is for those who come, also when the operator has started anew."""
    async with cluster() as there:
        service = service_of(there, SecretDelivery(there.client))
        again = await in_virtual_time(there.clock, service.reconcile(READER))
        assert again is not None
        there.put_class(limits={"identities": 0})
        there.clock.advance(again - there.clock.now())
        anew = IdentityService(
            world=there.world,
            gatherer=service._gatherer,
            issuance=Issuance(ledger=there.ledger, clock=there.clock),
            delivery=SecretDelivery(there.client),
            ledger=there.ledger,
            objects=IdentityObjects(there.client, there.world),
            clock=there.clock,
            metrics=Metrics(),
        )
        await in_virtual_time(there.clock, anew.reconcile(READER))
        assert there.ledger.state.count == 2
