"""Going back to this release from a later one: what it stored and this one cannot read.

Nothing is taken away that is in use, nothing is forgotten that was taken away, and it is said why.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from agentid.api import AgentIdentity, DeliveryMode, Reason
from agentid.api.conditions import ConditionStatus, ConditionType
from agentid.identity import SerialNumber
from agentid.kube.objects import ObjectKey
from agentid.policy import Granted
from agentid.policy.observed import Blocked
from agentid.services.failure import PassError
from agentid.services.gathering import Gatherer
from agentid.services.identities import IdentityService
from agentid.services.issuance import Issuance
from agentid.services.judging import Judging
from agentid.services.objects import IdentityObjects
from agentid.services.secrets import SecretDelivery
from agentid.telemetry.metrics import Metrics
from agentid.testing.ledger import in_virtual_time, open_ledger
from tests.support.later import of_later_format, with_unknown_key

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    from agentid.api.agentidentity import AgentIdentityStatus
    from agentid.ledger import Ledger
    from tests.services.conftest import Cluster

    Open = Callable[[], AbstractAsyncContextManager[Cluster]]

READER = ObjectKey("finance", "reader")


def gatherer_of(cluster: Cluster, ledger: Ledger) -> Gatherer:
    """What gathers, as the operator has it."""
    return Gatherer(
        cluster.world,
        ledger=ledger,
        client=cluster.client,
        deliveries=frozenset({DeliveryMode.SECRET}),
    )


def service_of(cluster: Cluster, ledger: Ledger) -> IdentityService:
    """The service as the operator builds it."""
    return IdentityService(
        world=cluster.world,
        gatherer=gatherer_of(cluster, ledger),
        issuance=Issuance(ledger=ledger, clock=cluster.clock),
        delivery=SecretDelivery(cluster.client),
        ledger=ledger,
        objects=IdentityObjects(cluster.client, cluster.world),
        clock=cluster.clock,
        metrics=Metrics(),
    )


@asynccontextmanager
async def after_going_back(
    cluster: Cluster, change: Callable[[dict[str, object]], object]
) -> AsyncIterator[Ledger]:
    """`finance/reader` has a certificate, on a ledger that a later release wrote anew.

    Args:
        cluster: Where.
        change: What that release writes differently in each record.
    """
    cluster.put_issuer()
    cluster.set_up_issuer()
    cluster.put_class()
    cluster.put_identity()
    service = service_of(cluster, cluster.ledger)
    await in_virtual_time(cluster.clock, service.reconcile(READER))
    await cluster.ledger.abandon()
    for name, stored in tuple(cluster.store.objects.items()):
        await cluster.store.tamper(name, of_later_format(stored.data, change))
    async with open_ledger(cluster.store, cluster.clock, "v") as ledger:
        yield ledger


def status_of(cluster: Cluster) -> AgentIdentityStatus:
    """The status of the identity as it is stored."""
    body = cluster.world.identities.get(READER)
    assert body is not None
    return AgentIdentity.status_of(body)


def condition(status: AgentIdentityStatus, kind: ConditionType) -> tuple[object, object]:
    """Status and reason of a condition."""
    return next((each.status, each.reason) for each in status.conditions if each.type == kind)


READABLE = pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda _: None, id="records-that-can-be-read"),
        pytest.param(with_unknown_key, id="records-that-cannot"),
    ],
)


@READABLE
async def test_what_is_in_use_stays(
    cluster: Open, change: Callable[[dict[str, object]], object]
) -> None:
    """Promise 5: Ready and the certificate stay in the status, nothing is revoked or replaced."""
    async with cluster() as there, after_going_back(there, change) as ledger:
        before, objects, writes = status_of(there), dict(there.store.objects), there.writes()
        service = service_of(there, ledger)
        with pytest.raises(PassError, match=r"Nothing is issued: ledger segment .* format 7 was"):
            await in_virtual_time(there.clock, service.reconcile(READER))
        after = status_of(there)
        assert after.certificate == before.certificate
        assert after.delivery == before.delivery
        assert condition(after, ConditionType.READY) == (ConditionStatus.TRUE, Reason.ISSUED)
        assert condition(after, ConditionType.RECONCILING) == (
            ConditionStatus.TRUE,
            Reason.LEDGER_UNAVAILABLE,
        )
        assert there.store.objects == objects
        assert [each for each in there.writes()[len(writes) :] if "secrets" in each] == []


async def test_who_is_suspended_is_suspended(cluster: Open) -> None:
    """Promise 4: what can be read of the ledger is revoked."""
    async with cluster() as there, after_going_back(there, lambda _: None) as ledger:
        serial = status_of(there).certificate
        assert serial is not None
        there.put_identity(suspend=True)
        await in_virtual_time(there.clock, service_of(there, ledger).revoke_due([READER]))
        assert ledger.state.is_revoked(SerialNumber.parse(serial.serial))


async def test_pods_are_given_nothing_meanwhile_and_everything_afterwards(cluster: Open) -> None:
    """A judgement that is kept does not outlive what it was made from."""
    async with cluster() as there, after_going_back(there, lambda _: None) as ledger:
        judging = Judging(gatherer=gatherer_of(there, ledger), world=there.world, clock=there.clock)
        seen = judging.observe(READER)
        assert seen is not None
        assert isinstance(seen.verdict, Blocked)
        for name in tuple(there.store.objects):
            await there.store.delete(name)
        await there.clock.settle()
        seen = judging.observe(READER)
        assert seen is not None
        assert isinstance(seen.verdict, Granted)


# Specs that a later release has more words for


def granted(cluster: Cluster) -> None:
    """Have `finance/reader` granted."""
    cluster.put_issuer()
    cluster.set_up_issuer()
    cluster.put_class()
    cluster.put_identity()


LATER_SPEC: dict[str, Any] = {"classification": {"riskExposure": "Existential"}}


async def test_an_unknown_value_takes_nothing_away(cluster: Open) -> None:
    """The identity stalls and says which field; its certificate stays in use."""
    async with cluster() as there:
        granted(there)
        service = service_of(there, there.ledger)
        await in_virtual_time(there.clock, service.reconcile(READER))
        there.put_identity(**LATER_SPEC)
        await in_virtual_time(there.clock, service.reconcile(READER))
        after = status_of(there)
        assert condition(after, ConditionType.STALLED) == (
            ConditionStatus.TRUE,
            Reason.INVALID_SPEC,
        )
        assert "riskExposure" in after.conditions[0].message
        assert len(there.ledger.state.unrevoked("finance", "reader")) == 1


async def test_an_unknown_value_beside_suspend_suspends(cluster: Open) -> None:
    """Promise 4: what takes away is heeded, though the rest of the spec cannot be read."""
    async with cluster() as there:
        granted(there)
        service = service_of(there, there.ledger)
        await in_virtual_time(there.clock, service.reconcile(READER))
        there.put_identity(**LATER_SPEC, suspend=True)
        await in_virtual_time(there.clock, service.reconcile(READER))
        assert there.ledger.state.unrevoked("finance", "reader") == ()
        assert condition(status_of(there), ConditionType.READY) == (
            ConditionStatus.FALSE,
            Reason.SUSPENDED,
        )


def incident(**spec: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    """An AgentRevocation that selects by what this release does not know."""
    return {
        "metadata": {"name": "leak", "uid": "r-1", "resourceVersion": "7"},
        "spec": {
            "reason": "keyCompromise",
            "dryRun": False,
            "select": {"namespaces": ["finance"], "nodes": ["worker-1"]},
            **spec,
        },
    }


@pytest.mark.parametrize(
    ("spec", "blocks"),
    [
        pytest.param({"hold": True}, True, id="holds"),
        pytest.param({"hold": True, "release": True}, False, id="released"),
        pytest.param({"hold": True, "dryRun": True}, False, id="dry-run"),
        pytest.param({}, False, id="holds-nobody"),
    ],
)
async def test_a_hold_that_cannot_be_read_holds_everybody(
    cluster: Open, spec: dict[str, Any], *, blocks: bool
) -> None:
    """Who is held gets no certificate by going back; nobody loses one either."""
    async with cluster() as there:
        granted(there)
        judging = Judging(
            gatherer=gatherer_of(there, there.ledger), world=there.world, clock=there.clock
        )
        seen = judging.observe(READER)
        assert seen is not None
        assert isinstance(seen.verdict, Granted)
        there.world.incidents.put(incident(**spec))
        assert there.world.incidents.incident("leak") is None, "it is not executed"
        seen = judging.observe(READER)
        assert seen is not None
        assert seen.hold is None, "nothing that anybody has is revoked for it"
        if blocks:
            assert isinstance(seen.verdict, Blocked)
            assert seen.verdict.reason is Reason.INCIDENT_UNREADABLE
            assert "AgentRevocation leak holds identities" in seen.verdict.message
            there.world.incidents.drop("leak")
            seen = judging.observe(READER)
            assert seen is not None
        assert isinstance(seen.verdict, Granted)
