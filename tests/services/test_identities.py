"""A pass over one identity: what it writes, and what it tells when it cannot go on."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from agentid.api import DeliveryMode
from agentid.errors import InternalError
from agentid.kube.objects import ObjectKey
from agentid.ledger import Revoked
from agentid.services.failure import PassError
from agentid.services.gathering import Gatherer
from agentid.services.identities import IdentityService
from agentid.services.issuance import Issuance
from agentid.services.objects import IdentityObjects
from agentid.services.secrets import SecretDelivery
from agentid.telemetry.metrics import Metrics
from agentid.testing.ledger import in_virtual_time

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from tests.services.conftest import Cluster

READER = ObjectKey("finance", "reader")


class BrokenDelivery(SecretDelivery):
    """A delivery with a defect that nobody foresaw."""

    async def deliver(self, *_: object) -> str:
        """Fail always."""
        message = "delivery Letter was granted"
        raise InternalError(message)


def service_of(cluster: Cluster, delivery: SecretDelivery) -> IdentityService:
    """The service as the operator builds it, on a cluster where `finance/reader` is granted."""
    cluster.put_issuer()
    cluster.set_up_issuer()
    cluster.put_class()
    cluster.put_identity()
    return IdentityService(
        world=cluster.world,
        gatherer=Gatherer(
            cluster.world,
            ledger=cluster.ledger,
            client=cluster.client,
            deliveries=frozenset({DeliveryMode.SECRET}),
        ),
        issuance=Issuance(ledger=cluster.ledger, clock=cluster.clock),
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
