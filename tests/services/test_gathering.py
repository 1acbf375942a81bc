"""What a decision is made from: gathered from caches, and doubted where doubt costs nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from agentid.api import DeliveryMode, Reason
from agentid.errors import UnavailableError
from agentid.identity import PodRef, RevocationReason, SerialNumber
from agentid.kube.objects import ObjectKey
from agentid.policy import Granted, Refused
from agentid.policy.observed import Blocked
from agentid.services.gathering import Gatherer
from agentid.services.pods import Pod
from agentid.services.world import IssuerState
from agentid.testing.ledger import NOON, in_virtual_time, make_issued, make_revoked, open_ledger
from agentid.testing.segments import MemorySegments

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager
    from datetime import datetime

    from agentid.ledger import Issued
    from agentid.policy.observed import Observed
    from tests.services.conftest import Cluster

    Open = Callable[[], AbstractAsyncContextManager[Cluster]]

READER = ObjectKey("finance", "reader")
HOUR = timedelta(hours=1)


def issued(number: int = 1, **changes: Any) -> Issued:  # noqa: ANN401
    """A record of `finance/reader`."""
    return make_issued(number, **({"namespace": "finance", "uid": "u-1"} | changes))


async def record(cluster: Cluster, *records: Issued) -> None:
    """Put certificates on the ledger."""
    await in_virtual_time(cluster.clock, cluster.ledger.append(*records))


async def gather(cluster: Cluster, now: datetime = NOON) -> Observed:
    """Gather, as a pass does."""
    gatherer = Gatherer(
        cluster.world,
        ledger=cluster.ledger,
        client=cluster.client,
        deliveries=frozenset({DeliveryMode.SECRET}),
    )
    return await gatherer.gather(READER, now)


async def blocked(cluster: Cluster) -> Blocked:
    """Gather, and expect that nobody can judge."""
    verdict = (await gather(cluster)).verdict
    assert isinstance(verdict, Blocked), verdict
    return verdict


# What is revoked by now


async def test_what_is_revoked_still_tells_where_it_lay_and_what_it_replaced(cluster: Open) -> None:
    """A delivery that was confirmed stays so when the certificate that confirmed it is revoked."""
    async with cluster() as c:
        c.put_issuer()
        c.set_up_issuer()
        c.put_class()
        c.put_identity()
        verdict = (await gather(c)).verdict
        assert isinstance(verdict, Granted)
        grant = verdict.grant.to_json()
        first = issued(1, grant=grant)
        second = issued(2, grant=grant, replaces=first.serial)
        others = issued(3, grant=grant, replaces=SerialNumber(9), uid="u-of-a-namesake")
        await record(c, first, second, others)
        assert (await gather(c)).replaced == frozenset()
        await in_virtual_time(c.clock, c.ledger.append(make_revoked(2), make_revoked(3)))
        seen = await gather(c)
        assert [each.serial for each in seen.held] == [first.serial]
        assert seen.replaced == {first.serial}
        assert seen.revoked_into == {"reader-agentid"}
        later = await gather(c, NOON + 2 * HOUR)
        assert later.revoked_into == frozenset(), "an expired one harms nobody"


# Whether it is there


async def test_gone_is_believed_from_the_api_server_alone(cluster: Open) -> None:
    """Promise 5: a cache that does not hold an identity is no reason to revoke what it holds."""
    async with cluster() as c:
        await record(c, issued())
        c.put_identity(seen=False)
        seen = await gather(c)
        assert seen.metadata is not None
        assert READER in c.world.identities
        assert len(c.server.requests) == 1
        await gather(c)
        assert len(c.server.requests) == 1, "what the cache holds is not asked for"


async def test_gone_is_believed_when_the_api_server_says_so(cluster: Open) -> None:
    """Promise 4: then everything that stands on the ledger is there to be revoked."""
    async with cluster() as c:
        await record(c, issued())
        seen = await gather(c)
        assert seen.metadata is None
        assert [each.serial for each in seen.held] == [SerialNumber(1)]


async def test_an_api_server_that_is_away_says_nothing(cluster: Open) -> None:
    """Nobody knows, so nothing is decided."""
    async with cluster() as c:
        await record(c, issued())
        c.server.fail_next(503)
        with pytest.raises(UnavailableError, match="get agentidentities finance/reader: 503"):
            await gather(c)


async def test_nobody_is_asked_about_what_holds_nothing(cluster: Open) -> None:
    """Whether it is there makes no difference then."""
    async with cluster() as c:
        c.put_identity(seen=False)
        assert (await gather(c)).metadata is None
        assert c.server.requests == []


# What it holds


async def test_what_is_held_comes_newest_first_with_everything_known(cluster: Open) -> None:
    """Serial, object, door, period, and what it replaced; a grant of a newer release is None."""
    async with cluster() as c:
        await record(
            c,
            issued(1),
            issued(2, issued_at=NOON + timedelta(minutes=1), replaces=SerialNumber(1)),
            issued(3, name="other"),
        )
        newest, oldest = (await gather(c)).held
        assert (newest.serial, oldest.serial) == (SerialNumber(2), SerialNumber(1))
        assert newest.replaces == SerialNumber(1)
        assert newest.uid == "u-1"
        assert newest.door is DeliveryMode.SECRET
        assert newest.issued_at == NOON + timedelta(minutes=1)
        assert newest.validity.not_after == NOON + HOUR
        assert newest.grant is None
        assert not newest.doubtful


async def test_revoked_and_long_expired_are_not_held(cluster: Open) -> None:
    """Nothing can be done about them any more."""
    async with cluster() as c:
        await record(c, issued(1), issued(2), issued(3, lifetime=48 * HOUR))
        entry = c.ledger.state.by_serial(SerialNumber(2))
        assert entry is not None
        revocation = entry.revocation(RevocationReason.SUPERSEDED, at=NOON, actor="a test")
        await in_virtual_time(c.clock, c.ledger.append(revocation))
        assert {each.serial.value for each in (await gather(c)).held} == {1, 3}
        c.clock.advance(2 * HOUR)
        assert {each.serial.value for each in (await gather(c, c.clock.now())).held} == {3}


async def test_a_clock_that_is_ahead_leaves_nothing_out(cluster: Open) -> None:
    """Promise 4: what only our clock calls expired is there to be revoked."""
    async with cluster() as c:
        await record(c, issued())
        assert len((await gather(c, NOON + timedelta(days=30))).held) == 1


async def test_without_a_better_time_ours_is_doubted_for_a_day(cluster: Open) -> None:
    """Promise 4: as long as a certificate lives at most, so a day ahead leaves nothing out."""
    async with cluster() as c:
        await record(c, issued())
        store = MemorySegments()
        for name, segment in c.store.objects.items():
            store.objects[name] = replace(segment, created_at=None)
        async with open_ledger(store, c.clock, "other") as ledger:
            assert ledger.trusted_now() is None
            other = replace(c, ledger=ledger)
            assert len((await gather(other, NOON + 25 * HOUR)).held) == 1
            assert (await gather(other, NOON + 25 * HOUR + timedelta(seconds=1))).held == ()


# Whether it can be judged


async def test_judged_when_everything_is_there(cluster: Open) -> None:
    """Within its class it is granted, beyond it refused; both by the class that the pass sees."""
    async with cluster() as c:
        c.put_issuer()
        c.set_up_issuer()
        c.put_class()
        c.put_identity()
        seen = await gather(c)
        assert isinstance(seen.verdict, Granted)
        assert str(seen.verdict.grant.spiffe_id) == "spiffe://example.org/ns/finance/agent/reader"
        assert seen.agent_class is not None
        c.put_class(permissions={})
        assert isinstance((await gather(c)).verdict, Refused)


async def test_a_door_that_nothing_serves_is_refused(cluster: Open) -> None:
    """The doors are those of this installation."""
    async with cluster() as c:
        c.put_issuer()
        c.set_up_issuer()
        c.put_class(delivery={"modes": ["Secret", "CSI"]})
        c.put_identity(delivery={"mode": "CSI"})
        verdict = (await gather(c)).verdict
        assert isinstance(verdict, Refused)
        assert verdict.reason is Reason.DELIVERY_UNAVAILABLE


async def test_suspended_and_deleted_are_not_judged(cluster: Open) -> None:
    """Nobody needs a class to take something away."""
    async with cluster() as c:
        c.put_identity(suspend=True)
        assert (await gather(c)).verdict is None
        stored = c.put_identity()
        stored["metadata"]["deletionTimestamp"] = "2026-11-01T12:00:00Z"
        c.world.identities.drop(READER)
        c.world.identities.put(stored)
        assert (await gather(c)).verdict is None


def incident(version: int, select: dict[str, Any]) -> dict[str, Any]:
    """An AgentRevocation that was executed and holds whom it selects."""
    return {
        "metadata": {"name": "leak", "uid": "u", "resourceVersion": str(version)},
        "spec": {"reason": "keyCompromise", "dryRun": False, "hold": True, "select": select},
        "status": {"startedAt": "2026-11-01T12:00:00.000000Z"},
    }


@pytest.mark.parametrize(
    "spec", [pytest.param({}, id="sound"), pytest.param({"sponsor": ""}, id="not-parsing")]
)
async def test_a_hold_is_seen_and_spares_the_judgement(cluster: Open, spec: dict[str, Any]) -> None:
    """Whether the spec parses or not; who is not selected is judged as ever."""
    async with cluster() as c:
        c.put_issuer()
        c.set_up_issuer()
        c.put_class()
        c.put_identity(**spec)
        c.world.incidents.put(incident(1, {"issuerNames": ["other"]}))
        assert (await gather(c)).hold is None
        c.world.incidents.put(incident(2, {"issuerNames": ["test"], "classNames": ["batch"]}))
        seen = await gather(c)
        assert seen.hold is not None
        assert seen.hold.incident == "leak"
        assert not isinstance(seen.verdict, Granted)
        c.world.incidents.drop("leak")
        assert (await gather(c)).hold is None


async def test_a_spec_that_does_not_parse_stalls(cluster: Open) -> None:
    """Every violation is told; what the identity holds, and its status, are seen even so."""
    async with cluster() as c:
        await record(c, issued())
        c.put_identity(sponsor="", lifetime="48h")
        seen = await gather(c)
        assert seen.identity is None
        assert seen.metadata is not None
        assert seen.metadata.uid == "u-1"
        assert len(seen.own) == 1
        assert isinstance(seen.verdict, Blocked)
        assert seen.verdict.reason is Reason.INVALID_SPEC
        assert seen.verdict.stalled
        assert "spec.sponsor" in seen.verdict.message
        assert "spec.lifetime" in seen.verdict.message


async def test_names_the_class_that_is_missing(cluster: Open) -> None:
    """With the next step; it proceeds by itself, so it is not stalled."""
    async with cluster() as c:
        c.put_identity()
        assert await blocked(c) == Blocked(
            Reason.CLASS_NOT_FOUND,
            "spec.className: there is no AgentClass batch; create it or name another one "
            "(kubectl get agentclasses). The identity proceeds by itself",
        )


async def test_repeats_the_faults_of_a_class(cluster: Open) -> None:
    """Whoever waits for it learns what is wrong with it."""
    async with cluster() as c:
        c.put_class(lifetime="48h")
        c.put_identity()
        found = await blocked(c)
        assert found.reason is Reason.CLASS_NOT_FOUND
        assert found.message.startswith('AgentClass batch cannot be used: spec.lifetime: "48h"')


async def test_names_the_issuer_that_is_missing(cluster: Open) -> None:
    """And the class that names it."""
    async with cluster() as c:
        c.put_class()
        c.put_identity()
        assert await blocked(c) == Blocked(
            Reason.ISSUER_NOT_FOUND,
            "AgentClass batch names AgentIssuer test, which does not exist; create it or correct "
            "spec.issuerName of the class. The identity proceeds by itself",
        )


async def test_tells_why_an_issuer_cannot_sign(cluster: Open) -> None:
    """In the words of whoever tried to set it up."""
    async with cluster() as c:
        c.put_issuer()
        c.put_class()
        c.put_identity()
        message = "AgentIssuer test cannot sign: it has not been set up yet"
        assert await blocked(c) == Blocked(Reason.ISSUER_NOT_READY, message)
        c.world.issuer_states["test"] = IssuerState(None, "root.key: it is missing")
        message = "AgentIssuer test cannot sign: root.key: it is missing"
        assert await blocked(c) == Blocked(Reason.ISSUER_NOT_READY, message)


async def test_an_issuer_that_no_longer_parses_signs_nothing(cluster: Open) -> None:
    """Promise 2: what was set up from an older spec is not used for a faulty one."""
    async with cluster() as c:
        c.set_up_issuer()
        c.put_issuer(trustDomain="10.0.0.1")
        c.put_class()
        c.put_identity()
        assert (await blocked(c)).reason is Reason.ISSUER_NOT_READY


# Pods

PODS_OF_FINANCE = "/api/v1/namespaces/finance/pods"


def pod_body(uid: str, identity: str = "reader", phase: str = "Running") -> dict[str, Any]:
    """A pod of the identity, as the API server has it."""
    labels = {"agentid.dev/identity": identity}
    return {
        "metadata": {"namespace": "finance", "name": f"p-{uid}", "uid": uid, "labels": labels},
        "status": {"phase": phase},
    }


def of_pod(number: int, uid: str) -> Issued:
    """The record of a certificate of a pod."""
    return issued(number, pod=PodRef(f"p-{uid}", uid, "node-1", f"request-{number}"))


async def test_nobody_is_gone_before_all_pods_were_told(cluster: Open) -> None:
    """Promise 5: a watch that has just begun does not show what is there."""
    async with cluster() as c:
        c.put_identity()
        await record(c, of_pod(1, "a"))
        assert (await gather(c)).gone == frozenset()
        assert c.server.requests == []


async def test_who_is_gone_is_known_from_the_watch_without_asking(cluster: Open) -> None:
    """Seen to go, finished, or of another identity now; one that runs is none of them."""
    async with cluster() as c:
        c.put_identity()
        await record(c, *(of_pod(n, uid) for n, uid in enumerate("abcd", 1)))
        pods = c.world.pods
        pods.synced = True
        pods.drop("a")
        pods.put(Pod.of(pod_body("b", phase="Succeeded")))
        pods.put(Pod.of(pod_body("c", "other")))
        pods.put(Pod.of(pod_body("d")))
        assert (await gather(c)).gone == {"a", "b", "c"}
        assert c.server.requests == []


async def test_who_is_not_shown_is_asked_for(cluster: Open) -> None:
    """One that went meanwhile, a namesake in its place, one without its label, one new."""
    async with cluster() as c:
        c.put_identity()
        await record(c, *(of_pod(n, uid) for n, uid in enumerate("abcd", 1)))
        c.world.pods.synced = True
        c.server.put(f"{PODS_OF_FINANCE}/p-b", pod_body("a-namesake"))
        c.server.put(f"{PODS_OF_FINANCE}/p-c", pod_body("c", ""))
        c.server.put(f"{PODS_OF_FINANCE}/p-d", pod_body("d"))
        assert (await gather(c)).gone == {"a", "b", "c"}
        assert len(c.server.requests) == 4
        assert len(c.world.pods) == 0, "only the watch tells the end of what it told"


async def test_an_answer_that_comes_after_the_end_does_not_bring_a_pod_back(cluster: Open) -> None:
    """Promise 4: the watch tells an end once, and the answer may be older."""
    async with cluster() as c:
        c.put_identity()
        await record(c, of_pod(1, "a"))
        c.world.pods.synced = True
        c.server.put(f"{PODS_OF_FINANCE}/p-a", pod_body("a"))
        assert (await gather(c)).gone == frozenset()
        c.world.pods.drop("a")
        assert (await gather(c)).gone == {"a"}


@pytest.mark.parametrize("way", ["suspended", "deleted"])
async def test_nobody_asks_about_pods_of_what_is_over(cluster: Open, way: str) -> None:
    """Promise 4: all of it goes, and does not wait for an answer."""
    async with cluster() as c:
        stored = c.put_identity(suspend=way == "suspended")
        if way == "deleted":
            stored["metadata"]["deletionTimestamp"] = "2026-11-01T12:00:00Z"
            c.world.identities.drop(READER)
            c.world.identities.put(stored)
        await record(c, of_pod(1, "a"))
        c.world.pods.synced = True
        seen = await gather(c)
        assert len(seen.own) == 1
        assert c.server.requests == []


async def test_an_outage_while_asking_is_one(cluster: Open) -> None:
    """Nothing is decided by half of the answers."""
    async with cluster() as c:
        c.put_identity()
        await record(c, of_pod(1, "a"))
        c.world.pods.synced = True
        c.server.fail_next(503)
        with pytest.raises(UnavailableError, match="503"):
            await gather(c)


async def test_a_replica_that_is_behind_asks_whose_a_certificate_is(cluster: Open) -> None:
    """Promise 5: another one may know the object that was made anew, and have issued for it."""
    async with cluster() as c:
        c.put_identity()
        await record(c, issued(1, uid="u-2"))
        path = "/apis/agentid.dev/v1alpha1/namespaces/finance/agentidentities/reader"
        c.server.remove(path)
        c.put_identity(seen=False, uid="u-2")
        seen = await gather(c)
        assert seen.metadata is not None
        assert seen.metadata.uid == "u-2"
        assert [each.serial.value for each in seen.own] == [1]
        c.server.remove(path)
        await record(c, issued(2, uid="u-1"))
        assert (await gather(c)).metadata is None
