"""What pods set off on the leader: told by a fake cluster, and by a ledger that others write to."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from agentid.controller.pods import PodLoop
from agentid.errors import UnavailableError
from agentid.identity import PodRef
from agentid.kube.objects import ObjectKey
from agentid.ledger import Durable
from agentid.policy.plan import plan
from agentid.services.gathering import SERVED_DELIVERIES, Gatherer
from agentid.services.pods import Pod
from agentid.testing.clock import ManualClock
from agentid.testing.ledger import make_issued, make_revoked

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable
    from contextlib import AbstractAsyncContextManager
    from datetime import timedelta

    from agentid.ledger import Issued
    from tests.services.conftest import Cluster

    Open = Callable[[], AbstractAsyncContextManager[Cluster]]

READER = ObjectKey("finance", "reader")


def pod_body(uid: str = "a", name: str = "reader", phase: str = "Running") -> dict[str, Any]:
    """A pod that asks for an identity."""
    labels = {"agentid.dev/identity": name}
    return {
        "metadata": {"namespace": "finance", "name": f"p-{uid}", "uid": uid, "labels": labels},
        "status": {"phase": phase},
    }


def of_pod(number: int, pod: str = "a", **changes: Any) -> Issued:  # noqa: ANN401 - any field
    """The record of a certificate of a pod of `finance/reader`."""
    ref = PodRef(f"p-{pod}", pod, "node-1", f"request-{number}")
    fields: dict[str, Any] = {"namespace": "finance", "uid": "u-1", "pod": ref} | changes
    return make_issued(number, **fields)


class Ledger:
    """Holds what pods have; its listener is the loop."""

    def __init__(self) -> None:
        self.state = self
        self.held: set[str] = set()
        self.tell: Callable[[Durable], None] = lambda _: None

    def subscribe(self, listener: Callable[[Durable], None]) -> None:
        """Keep the one listener."""
        self.tell = listener

    def of_pod(self, uid: str) -> tuple[str, ...]:
        """Something if the pod has anything."""
        return (uid,) if uid in self.held else ()

    def entries(self) -> tuple[()]:
        """Nothing."""
        return ()


class Service:
    """Revokes at once, or refuses."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.away = 0

    async def revoke_pods(self, uids: Iterable[str]) -> frozenset[ObjectKey]:
        """Note which."""
        self.asked.append(list(uids))
        await asyncio.sleep(0)
        if self.away:
            self.away -= 1
            message = "the ledger is away"
            raise UnavailableError(message)
        return frozenset({READER})


class Doors:
    """Answers as it is told to."""

    def __init__(self) -> None:
        self.answers: list[frozenset[str] | Exception] = []
        self.closed: dict[str, str] = {}

    async def look(self) -> frozenset[str]:
        """The next answer; the last one for ever."""
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


class Stage:
    """A loop with its surroundings, and what it asked for."""

    def __init__(self, cluster: Cluster) -> None:
        self.client = cluster.client
        self.world = cluster.world
        self.clock = cluster.clock
        self.ledger = Ledger()
        self.identities = Service()
        self.doors = Doors()
        self.looked_at: list[ObjectKey] = []
        self.soon: list[ObjectKey] = []
        self.revoked: list[ObjectKey] = []
        self.loop = PodLoop(
            self,  # type: ignore[arg-type]
            look_at=self.looked_at.extend,
            look_soon=self._look_soon,
            revoke=self.revoked.append,
        )

    def _look_soon(self, key: ObjectKey, after: timedelta) -> None:
        assert after.total_seconds() > 0
        self.soon.append(key)

    def told(self, *records: Issued) -> None:
        """Records became durable, written by another replica."""
        self.ledger.held.update(each.pod.uid for each in records if each.pod is not None)
        self.ledger.tell(Durable(records, own=False))

    async def settle(self) -> None:
        """Let everything run that can, answers of the fake API server included."""
        for _ in range(20):
            await asyncio.sleep(0.001)


@asynccontextmanager
async def leading(cluster: Open, *, leads: bool = True) -> AsyncIterator[tuple[Stage, Cluster]]:
    """A replica whose world knows `finance/reader`; it leads unless told otherwise."""
    async with cluster() as c:
        c.put_identity()
        stage = Stage(c)
        task = asyncio.create_task(stage.loop.run() if leads else asyncio.sleep(3600))
        await asyncio.sleep(0)
        yield stage, c
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


# Pods that go


async def test_what_went_together_is_revoked_together(fake_cluster: Open) -> None:
    """One commit; a pod that has nothing on record costs none."""
    async with leading(fake_cluster) as (stage, _):
        stage.ledger.held = {"a", "b"}
        for uid in ("a", "b", "c"):
            stage.loop._seen(Pod.of(pod_body(uid)))
            stage.loop._went(uid)
        await stage.settle()
        assert stage.identities.asked == [["a", "b"]]
        assert stage.soon == [READER], "the status counts them"


@pytest.mark.parametrize(
    ("after", "ended"),
    [
        pytest.param(pod_body(phase="Succeeded"), True, id="finished"),
        pytest.param(pod_body(phase="Failed"), True, id="failed"),
        pytest.param(pod_body(name="other"), True, id="of-another-identity"),
        pytest.param(pod_body(phase="Pending"), False, id="as-it-was"),
    ],
)
async def test_an_end_is_more_than_a_deletion(
    fake_cluster: Open,
    after: dict[str, Any],
    *,
    ended: bool,
) -> None:
    """Whatever makes a pod carry nothing of the identity any more."""
    async with leading(fake_cluster) as (stage, _):
        stage.ledger.held = {"a"}
        stage.loop._seen(Pod.of(pod_body()))
        stage.loop._seen(Pod.of(after))
        await stage.settle()
        assert stage.identities.asked == ([["a"]] if ended else [])


async def test_a_ledger_that_is_away_is_tried_again(fake_cluster: Open) -> None:
    """Promise 4: with whoever went meanwhile; nobody is forgotten."""
    async with leading(fake_cluster) as (stage, _):
        stage.ledger.held = {"a", "b"}
        stage.identities.away = 2
        stage.loop._went("a")
        await stage.settle()
        stage.loop._went("b")
        await stage.settle()
        for _ in range(4):
            await stage.clock.run_for(1)
            await stage.settle()
        assert {uid for uids in stage.identities.asked[2:] for uid in uids} == {"a", "b"}


async def test_a_replica_that_follows_revokes_nothing(fake_cluster: Open) -> None:
    """Nor does it keep anything for later: whoever leads next looks at all identities."""
    async with leading(fake_cluster, leads=False) as (stage, _):
        stage.ledger.held = {"a"}
        stage.loop._went("a")
        stage.told(of_pod(1, "b"))
        await stage.settle()
        assert (stage.identities.asked, stage.soon, stage.revoked) == ([], [], [])
        assert stage.world.pods.is_gone("a"), "which it knows then"


# Certificates that come late


async def test_a_certificate_in_order_is_counted_a_little_later(fake_cluster: Open) -> None:
    """However many there are in one commit, one look."""
    async with leading(fake_cluster) as (stage, _):
        stage.told(of_pod(1), of_pod(2, "b"), of_pod(3, "c"))
        await stage.settle()
        assert stage.soon == [READER]
        assert stage.revoked == []


async def test_a_certificate_for_a_pod_that_is_gone_goes_at_once(fake_cluster: Open) -> None:
    """Promise 4: it was signed elsewhere while the pod went."""
    async with leading(fake_cluster) as (stage, _):
        stage.loop._went("a")
        stage.loop._seen(Pod.of(pod_body("b", "other")))
        stage.told(of_pod(1), of_pod(2, "b"), of_pod(3, "c"))
        await stage.settle()
        assert stage.identities.asked == [["a", "b"]]


@pytest.mark.parametrize("why", ["suspended", "another-object", "not-known"])
async def test_a_certificate_of_what_must_have_none_is_taken_away(
    fake_cluster: Open, why: str
) -> None:
    """At once, by what the API server says then: the other replica may know better."""
    async with leading(fake_cluster) as (stage, c):
        if why == "suspended":
            c.put_identity(suspend=True)
            c.put_identity(seen=False)  # it goes on, and this replica has not heard of it
        elif why == "not-known":
            c.world.identities.drop(READER)
        stage.told(of_pod(1, uid="u-2" if why == "another-object" else "u-1"))
        await stage.settle()
        assert stage.revoked == [READER]
        body = stage.world.identities.get(READER)
        assert body is not None
        spec = body["spec"]
        assert isinstance(spec, dict)
        assert not spec.get("suspend"), "it was asked for"


async def test_until_it_is_asked_for_no_pass_takes_it_away_either(fake_cluster: Open) -> None:
    """A pass that comes meanwhile asks by itself: it revokes by what it knows."""
    async with leading(fake_cluster) as (stage, c):
        c.put_class()
        c.put_issuer()
        c.put_identity(suspend=True)
        c.put_identity(seen=False)  # it goes on, and this replica has not heard of it
        record = of_pod(1)
        c.ledger.state.apply(record)
        stage.told(record)
        gatherer = Gatherer(c.world, ledger=c.ledger, client=c.client, deliveries=SERVED_DELIVERIES)
        now = c.clock.now()
        assert plan(await gatherer.gather(READER, now), now).revoke == ()
        c.ledger.state.apply(make_revoked(1))
        assert (await gatherer.gather(READER, now)).metadata is not None, "it is there all the same"
        await stage.settle()
        assert not c.world.doubted


async def test_an_api_server_that_is_away_keeps_nothing_in_force(fake_cluster: Open) -> None:
    """Promise 4: then what is known here counts."""
    async with leading(fake_cluster) as (stage, c):
        c.put_identity(suspend=True)
        c.server.fail_next(503)
        stage.told(of_pod(1))
        await stage.settle()
        assert stage.revoked == [READER]


# The watch


async def test_the_watch_tells_the_world_what_there_is(fake_cluster: Open) -> None:
    """Pods with our label alone, and their end."""
    async with leading(fake_cluster) as (stage, c):
        path = "/api/v1/namespaces/finance/pods"
        c.server.put(f"{path}/p-a", pod_body())
        stage.ledger.held = {"a", "b"}
        watching = asyncio.create_task(stage.loop.watch())
        for _ in range(100):
            await asyncio.sleep(0.01)
            if stage.world.pods.synced:
                break
        assert [pod.uid for pod in stage.world.pods] == ["a"]
        c.server.put(f"{path}/p-b", pod_body("b"))
        c.server.remove(f"{path}/p-a")
        for _ in range(100):
            await asyncio.sleep(0.01)
            if stage.identities.asked:
                break
        assert stage.identities.asked == [["a"]]
        assert [pod.uid for pod in stage.world.pods] == ["b"]
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


# Doors

OPEN, CLOSED = frozenset({"PodCertificate"}), frozenset[str]()


async def looking(stage: Stage, seconds: float) -> None:
    """Look at the doors for so long."""
    assert isinstance(stage.clock, ManualClock)
    task = asyncio.create_task(stage.loop.watch_doors())
    await stage.clock.run_for(seconds)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_the_doors_are_known_before_anything_is_judged(fake_cluster: Open) -> None:
    """Or every identity would be refused for a moment at each start."""
    async with leading(fake_cluster) as (stage, _):
        stage.doors.answers = [OPEN]
        await stage.loop.prime()
        assert stage.world.doors == OPEN
        assert stage.looked_at == []
        stage.doors.answers = [UnavailableError("away")]
        with pytest.raises(UnavailableError, match="away"):
            await stage.loop.prime()
        assert stage.world.doors == OPEN


@pytest.mark.parametrize(
    ("answers", "then", "looks"),
    [
        pytest.param([OPEN], OPEN, 0, id="as-before"),
        pytest.param([CLOSED, OPEN], OPEN, 0, id="denied-by-a-server-that-has-just-started"),
        pytest.param([CLOSED, CLOSED], CLOSED, 1, id="closed"),
        pytest.param([UnavailableError("away"), OPEN], OPEN, 0, id="away"),
        pytest.param([CLOSED, UnavailableError("away"), CLOSED], CLOSED, 1, id="away-between"),
    ],
)
async def test_a_door_is_closed_when_it_is_seen_closed_twice(
    fake_cluster: Open,
    answers: list[Any],
    then: frozenset[str],
    looks: int,
) -> None:
    """Then everybody who may use it is looked at."""
    async with leading(fake_cluster) as (stage, _):
        stage.world.doors = OPEN  # type: ignore[assignment]
        stage.doors.answers = answers
        await looking(stage, 70)
        assert stage.world.doors == then
        assert stage.looked_at == [READER] * looks


async def test_a_door_that_opens_is_open_at_once(fake_cluster: Open) -> None:
    """Within ten seconds of the policy that was missing."""
    async with leading(fake_cluster) as (stage, _):
        stage.doors.answers = [OPEN]
        await looking(stage, 10)
        assert stage.world.doors == OPEN
        assert stage.looked_at == [READER]
