"""Incidents are executed once, whatever happens in between, and tell what they did."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from agentid.api import AgentRevocationStatus, Phase, Reason
from agentid.api.agentrevocation import MAX_HELD, MAX_HITS, AgentRevocation
from agentid.api.conditions import ConditionStatus, ConditionType
from agentid.errors import AgentIdError, UnavailableError
from agentid.identity import RevocationReason, SerialNumber
from agentid.kube.objects import ObjectKey
from agentid.ledger.records import Revoked, decode_record
from agentid.services import incidents
from agentid.services.incidents import SETTLE, IncidentService, Outcome
from agentid.services.world import World
from agentid.telemetry.metrics import Metrics
from agentid.testing.ledger import NOON, in_virtual_time, make_issued, open_ledger
from agentid.testing.segments import Fault

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    from agentid.kube.client import Client
    from agentid.ledger import Issued, Ledger
    from agentid.ledger.records import Record
    from tests.services.conftest import Cluster

    Open = Callable[[], AbstractAsyncContextManager[Cluster]]

PATH = "/apis/agentid.dev/v1alpha1/agentrevocations/leak"
ACTOR = "AgentRevocation leak (uid-of-leak)"
READY, RECONCILING, STALLED = (
    ConditionType.READY,
    ConditionType.RECONCILING,
    ConditionType.STALLED,
)
FINANCE = {"namespaces": ["finance"]}


def issued(number: int, name: str = "reader", **changes: Any) -> Issued:  # noqa: ANN401
    """A certificate of an identity in namespace finance, made a minute before noon."""
    fields: dict[str, Any] = {
        "namespace": "finance",
        "issued_at": NOON - timedelta(minutes=1),
    } | changes
    fields.setdefault("grant", json.dumps({"class": "batch", "serial": number}))
    return make_issued(number, name, **fields)


def put(cluster: Cluster, *, known: bool = True, **spec: Any) -> None:  # noqa: ANN401
    """Store the incident, or a change of it, as a user does."""
    before: dict[str, Any] = cluster.server.objects.get(PATH, {})
    generation = before.get("metadata", {}).get("generation", 0) + 1
    defaults = {"reason": "keyCompromise", "dryRun": False, "select": FINANCE}
    body = {
        "metadata": {"name": "leak", "uid": "uid-of-leak", "generation": generation},
        "spec": defaults | before.get("spec", {}) | spec,
        "status": before.get("status"),
    }
    stored = cluster.server.put(PATH, body)
    if known:
        cluster.world.incidents.put(stored)


def put_identity(cluster: Cluster, name: str, **metadata: Any) -> None:  # noqa: ANN401
    """Store an identity in namespace finance, known to the world."""
    body = {
        "metadata": {"name": name, "namespace": "finance", "uid": f"uid-of-{name}"} | metadata,
        "spec": {"className": "batch", "subject": {"serviceAccountName": "default"}},
    }
    path = f"/apis/agentid.dev/v1alpha1/namespaces/finance/agentidentities/{name}"
    cluster.world.identities.put(cluster.server.put(path, body))


def service(cluster: Cluster, client: Client | None = None) -> IncidentService:
    """The service, as an operator that has just begun to lead has it."""
    return IncidentService(
        world=cluster.world,
        client=client or cluster.client,
        ledger=cluster.ledger,
        clock=cluster.clock,
        metrics=Metrics(),
    )


def status(cluster: Cluster) -> AgentRevocationStatus:
    """The status as the API server holds it."""
    return AgentRevocation.status_of(cluster.server.objects[PATH])


def told(of: AgentRevocationStatus) -> list[tuple[str, ConditionStatus, str]]:
    """The conditions without messages and times."""
    return [(each.type, each.status, each.reason) for each in of.conditions]


def message(of: AgentRevocationStatus) -> str:
    """What Ready says."""
    return of.conditions[0].message


def revoked(cluster: Cluster) -> dict[int, str]:
    """Who revoked each serial, by the ledger's state."""
    return {each.serial.value: each.actor for each in cluster.ledger.state.revoked()}


def records(cluster: Cluster) -> list[Revoked]:
    """All revocations in all segments, duplicates included."""
    found: list[Record] = []
    for stored in cluster.store.objects.values():
        lines = [json.loads(line) for line in stored.data.splitlines()]
        found += [
            decode_record(json.dumps(line, sort_keys=True, separators=(",", ":")).encode())
            for line in lines
            if line.get("type") in {"issued", "revoked"}
        ]
    return [each for each in found if isinstance(each, Revoked)]


async def to_the_end(cluster: Cluster, of: IncidentService | None = None) -> list[Outcome]:
    """Look at the incident as often as it asks for it."""
    looks, of = [], of or service(cluster)
    while True:
        looks.append(await of.reconcile("leak"))
        again = looks[-1].again
        if again is None:
            return looks
        await cluster.clock.run_for(again.total_seconds())


# Dry run


async def test_a_dry_run_tells_and_revokes_nothing(cluster: Open) -> None:
    """What it would hit, why, and the next step; nothing is on the ledger afterwards."""
    async with cluster() as c:
        await c.ledger.append(issued(1), issued(2, "writer"), issued(3, namespace="support"))
        put(c, dryRun=True)
        assert await to_the_end(c) == [Outcome()]
        found = status(c)
        assert (found.phase, found.matched, found.identities) == (Phase.DRY_RUN, 2, 2)
        assert (found.revoked, found.more, found.started_at) == (0, 0, None)
        assert found.completed_at == NOON
        assert [(hit.name, hit.serial, hit.why) for hit in found.hits] == [
            ("reader", "01", "namespace finance"),
            ("writer", "02", "namespace finance"),
        ]
        assert told(found) == [(READY, ConditionStatus.TRUE, Reason.DRY_RUN)]
        assert message(found) == (
            "A dry run: would revoke 2 certificates of 2 identities; nothing is revoked. Set "
            "spec.dryRun to false to execute it"
        )
        assert revoked(c) == {}


async def test_a_dry_run_is_told_once_for_each_spec(cluster: Open) -> None:
    """A look that finds nothing new writes nothing; a changed spec is looked at anew."""
    async with cluster() as c:
        await c.ledger.append(issued(1))
        put(c, dryRun=True)
        await to_the_end(c)
        await to_the_end(c)
        assert len(c.writes()) == 1
        put(c, select={"namespaces": ["support"]})
        await to_the_end(c)
        assert status(c).matched == 0
        assert status(c).observed_generation == 2


async def test_a_list_of_hits_is_cut_and_says_so(cluster: Open) -> None:
    """The first by name are shown, the others counted."""
    async with cluster() as c:
        await c.ledger.append(*(issued(n, f"agent-{n:03}") for n in range(1, MAX_HITS + 8)))
        put(c, dryRun=True)
        await to_the_end(c)
        found = status(c)
        assert (len(found.hits), found.more, found.matched) == (MAX_HITS, 7, MAX_HITS + 7)
        assert found.hits[0].name == "agent-001"


@pytest.mark.parametrize(
    ("select", "serials"),
    [
        pytest.param({"namespaces": ["support"]}, {3}, id="namespace"),
        pytest.param({"classNames": ["clerk"]}, {2}, id="class-in-the-grant"),
        pytest.param({"issuerNames": ["other"]}, {4}, id="issuer"),
        pytest.param({"identities": [{"namespace": "finance", "name": "gone"}]}, {4}, id="gone"),
        pytest.param({"serials": ["01", "05"]}, {1}, id="serial-and-one-on-no-record"),
        pytest.param({"issued": {"before": "2026-11-01T11:00:00Z"}}, {2}, id="window"),
        pytest.param({"labelSelector": {"matchLabels": {"team": "red"}}}, {1}, id="labels"),
    ],
)
async def test_hits_what_the_ledger_knows(
    cluster: Open, select: dict[str, Any], serials: set[int]
) -> None:
    """Certificates of identities that are gone as well; labels are those in the API server."""
    async with cluster() as c:
        await c.ledger.append(
            issued(1),
            issued(2, "writer", grant='{"class":"clerk"}', issued_at=NOON - timedelta(hours=1)),
            issued(3, namespace="support"),
            issued(4, "gone", issuer="other"),
        )
        put_identity(c, "reader", labels={"team": "red"})
        put_identity(c, "writer", labels={"team": "blue"})
        c.world.identities.drop(ObjectKey("finance", "reader"))  # the cache is young
        put(c, select=select)
        await to_the_end(c)
        assert revoked(c) == dict.fromkeys(serials, ACTOR)
        assert status(c).phase is Phase.EXECUTED
        assert ("on no record" in message(status(c))) is ("serials" in select)


# Execution


async def test_executes_in_order_and_tells_how_far_it_is(cluster: Open) -> None:
    """The cut-off is durable, then the ledger, then the status; later it is over."""
    async with cluster() as c:
        await c.ledger.append(issued(1), issued(2, "writer"))
        put(c)
        of = service(c)
        first = await of.reconcile("leak")
        assert revoked(c) == {1: ACTOR, 2: ACTOR}
        assert {each.reason for each in records(c)} == {RevocationReason.KEY_COMPROMISE}
        assert first.concerned == (ObjectKey("finance", "reader"), ObjectKey("finance", "writer"))
        assert first.again == SETTLE
        under_way = status(c)
        assert under_way.phase is Phase.EXECUTING
        assert under_way.started_at == c.clock.now()
        assert (under_way.matched, under_way.revoked, under_way.progress) == (2, 2, 100)
        assert told(under_way) == [
            (READY, ConditionStatus.FALSE, Reason.EXECUTING),
            (RECONCILING, ConditionStatus.TRUE, Reason.EXECUTING),
        ]
        await c.clock.run_for(SETTLE.total_seconds())
        assert await of.reconcile("leak") == Outcome()
        done = status(c)
        assert (done.phase, done.completed_at) == (Phase.EXECUTED, NOON + SETTLE)
        assert told(done) == [(READY, ConditionStatus.TRUE, Reason.EXECUTED)]
        assert message(done) == "2 certificates of 2 identities revoked"
        assert [each.split("/")[-1] for each in c.writes()] == ["status"] * 3


async def test_what_comes_later_is_spared(cluster: Open) -> None:
    """Neither the new certificate of an identity that was hit, nor one after the end."""
    async with cluster() as c:
        await c.ledger.append(issued(1))
        put(c)
        of = service(c)
        await of.reconcile("leak")
        await c.ledger.append(issued(2, issued_at=NOON + timedelta(microseconds=1)))
        await c.clock.run_for(SETTLE.total_seconds())
        await to_the_end(c, of)
        writes = len(c.writes())
        await c.ledger.append(issued(3, issued_at=NOON + timedelta(minutes=1)))
        assert await to_the_end(c) == [Outcome()]
        assert revoked(c) == {1: ACTOR}
        assert len(c.writes()) == writes


async def test_what_was_on_its_way_to_the_ledger_is_hit(cluster: Open) -> None:
    """Issued before the cut-off and recorded after the first look: the second one finds it."""
    async with cluster() as c:
        await c.ledger.append(issued(1))
        put(c)
        of = service(c)
        await of.reconcile("leak")
        await c.ledger.append(issued(2, "late", issued_at=NOON))
        await c.clock.run_for(SETTLE.total_seconds())
        (last,) = await to_the_end(c, of)
        assert ObjectKey("finance", "late") in last.concerned
        assert revoked(c) == {1: ACTOR, 2: ACTOR}
        assert (status(c).matched, status(c).revoked) == (2, 2)


async def test_what_was_counted_stays_counted(cluster: Open) -> None:
    """Records leave the ledger as their certificates expire; the figures of an incident stay."""
    async with cluster() as c:
        await c.ledger.append(issued(1, lifetime=timedelta(seconds=5)), issued(2, "writer"))
        put(c)
        of = service(c)
        await of.reconcile("leak")
        assert c.ledger.state.expire(NOON + timedelta(seconds=6)) == 1
        await c.clock.run_for(SETTLE.total_seconds())
        await to_the_end(c, of)
        found = status(c)
        assert (found.matched, found.revoked, found.identities) == (2, 2, 2)
        assert [each.serial for each in found.hits] == ["01", "02"]
        assert (found.more, found.progress) == (0, 100)
        assert message(found) == "2 certificates of 2 identities revoked"


async def test_a_clock_that_was_ahead_shields_nothing(cluster: Open) -> None:
    """A certificate that seems to come from the future was made before now."""
    async with cluster() as c:
        await c.ledger.append(issued(1, issued_at=NOON + timedelta(hours=2)))
        put(c)
        await to_the_end(c)
        assert revoked(c) == {1: ACTOR}


async def test_what_others_revoked_is_left_to_them(cluster: Open) -> None:
    """The first revocation of a serial stands; an incident does not count it as its own."""
    async with cluster() as c:
        await c.ledger.append(issued(1), issued(2))
        entry = c.ledger.state.by_serial(SerialNumber(1))
        assert entry is not None
        other = entry.revocation(RevocationReason.SUPERSEDED, at=NOON, actor="somebody")
        await c.ledger.append(other)
        put(c)
        await to_the_end(c)
        assert revoked(c) == {1: "somebody", 2: ACTOR}
        assert (status(c).matched, status(c).revoked) == (1, 1)


async def test_nothing_to_hit_is_executed_too(cluster: Open) -> None:
    """And says that it hit nothing."""
    async with cluster() as c:
        put(c)
        await to_the_end(c)
        assert (status(c).phase, status(c).matched, status(c).progress) == (Phase.EXECUTED, 0, 100)
        assert message(status(c)) == "0 certificates of 0 identities revoked"


async def test_progress_is_told_in_between(cluster: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large incident counts as it goes."""
    monkeypatch.setattr(incidents, "CHUNK", 2)
    async with cluster() as c:
        await c.ledger.append(*(issued(n) for n in range(1, 6)))
        put(c)
        await service(c).reconcile("leak")
        counted = [
            json.loads(body)["status"]["revoked"]
            for method, _, _, body in c.server.requests
            if method == "PUT"
        ]
        assert counted == [0, 2, 4, 5]


async def test_a_ledger_that_is_away_is_told_and_tried_again(cluster: Open) -> None:
    """The cut-off stands meanwhile, and nothing is lost."""
    async with cluster() as c:
        await c.ledger.append(issued(1))
        put(c)

        async def refuse(*_: Record) -> None:
            away = "ledger: away"
            raise UnavailableError(away)

        of = service(replace(c, ledger=_Reading(c.ledger, refuse)))  # type: ignore[arg-type]
        with pytest.raises(UnavailableError, match="ledger: away"):
            await of.reconcile("leak")
        found = status(c)
        assert found.started_at == NOON
        assert told(found) == [
            (READY, ConditionStatus.FALSE, Reason.LEDGER_UNAVAILABLE),
            (RECONCILING, ConditionStatus.TRUE, Reason.LEDGER_UNAVAILABLE),
        ]
        assert message(found) == "0 of 1 certificates are revoked; retries: ledger: away"
        await to_the_end(c)
        assert revoked(c) == {1: ACTOR}
        assert status(c).phase is Phase.EXECUTED


async def test_a_spec_that_does_not_parse_stalls(cluster: Open) -> None:
    """What only the parser finds is told in the status, and nothing is revoked."""
    async with cluster() as c:
        await c.ledger.append(issued(1))
        put(c, select={"labelSelector": {"matchLabels": {"a b": "c"}}})
        assert await to_the_end(c) == [Outcome()]
        found = status(c)
        assert found.phase is Phase.PENDING
        assert told(found) == [
            (READY, ConditionStatus.FALSE, Reason.INVALID_SPEC),
            (STALLED, ConditionStatus.TRUE, Reason.INVALID_SPEC),
        ]
        assert '"a b" is not the key of a label' in message(found)
        await to_the_end(c)
        assert len(c.writes()) == 1
        assert revoked(c) == {}


# Holds


async def test_a_hold_begins_before_the_first_revocation(cluster: Open) -> None:
    """So nobody is issued a certificate in between; and all that it holds are looked at."""
    async with cluster() as c:
        await c.ledger.append(issued(1))
        put_identity(c, "reader")
        put_identity(c, "waiting")  # has no certificate yet
        put(c, hold=True)
        body = c.world.identities.get(ObjectKey("finance", "waiting"))
        assert body is not None
        assert c.world.hold_on(body) is None
        held_at_append: list[bool] = []

        async def append(*each: Record) -> None:
            held_at_append.append(c.world.hold_on(body) is not None)
            await c.ledger.append(*each)

        of = service(replace(c, ledger=_Reading(c.ledger, append)))  # type: ignore[arg-type]
        outcome = await of.reconcile("leak")
        assert held_at_append == [True]
        assert set(outcome.concerned) == {
            ObjectKey("finance", "reader"),
            ObjectKey("finance", "waiting"),
        }
        assert status(c).held == ()


async def test_a_hold_by_serial_names_who_was_hit(cluster: Open) -> None:
    """And nobody else: the identity shows no serials by which it could be found."""
    async with cluster() as c:
        await c.ledger.append(issued(1), issued(2, "writer"))
        put_identity(c, "reader")
        put_identity(c, "writer")
        put(c, hold=True, select={"serials": ["01"]})
        await to_the_end(c)
        assert [(each.namespace, each.name) for each in status(c).held] == [("finance", "reader")]
        for name, held in (("reader", True), ("writer", False)):
            body = c.world.identities.get(ObjectKey("finance", name))
            assert body is not None
            assert (c.world.hold_on(body) is not None) is held


@pytest.mark.parametrize("dry_run", [True, False])
async def test_a_hold_that_names_too_many_is_refused(cluster: Open, dry_run: bool) -> None:  # noqa: FBT001
    """Before anything is revoked, with the way out."""
    async with cluster() as c:
        await c.ledger.append(*(issued(n, f"agent-{n}") for n in range(1, MAX_HELD + 2)))
        put(c, dryRun=dry_run, hold=True, select={"issued": {"before": "2026-11-01T12:00:00Z"}})
        for _ in range(2):
            assert await to_the_end(c) == [Outcome()]
        found = status(c)
        assert told(found) == [
            (READY, ConditionStatus.FALSE, Reason.TOO_MANY_HELD),
            (STALLED, ConditionStatus.TRUE, Reason.TOO_MANY_HELD),
        ]
        assert "would hold 501 identities" in message(found)
        assert "Select by namespaces, classNames or labelSelector instead" in message(found)
        assert found.started_at is None
        assert found.matched == MAX_HELD + 1
        assert revoked(c) == {}
        assert len(c.writes()) == 1


async def test_a_release_ends_the_hold_and_has_everybody_looked_at(cluster: Open) -> None:
    """What is revoked stays revoked."""
    async with cluster() as c:
        await c.ledger.append(issued(1))
        put_identity(c, "reader")
        put(c, hold=True)
        await to_the_end(c)
        assert "held until spec.release is true" in message(status(c))
        put(c, release=True)
        assert await to_the_end(c) == [Outcome(concerned=(ObjectKey("finance", "reader"),))]
        found = status(c)
        assert (found.phase, found.observed_generation) == (Phase.RELEASED, 2)
        assert told(found) == [(READY, ConditionStatus.TRUE, Reason.RELEASED)]
        assert "for good; the hold has ended" in message(found)
        assert await to_the_end(c) == [Outcome()]
        assert revoked(c) == {1: ACTOR}


async def test_a_release_during_execution_is_carried_out_at_its_end(cluster: Open) -> None:
    """The hold is over at once, and the phases follow each other."""
    async with cluster() as c:
        await c.ledger.append(issued(1))
        put_identity(c, "reader")
        put(c, hold=True)
        of = service(c)
        await of.reconcile("leak")
        put(c, release=True)
        assert not list(c.world.incidents.holds())
        await to_the_end(c, of)
        assert status(c).phase is Phase.RELEASED


# Races and crashes


async def test_another_leader_came_further(cluster: Open) -> None:
    """An old picture of the object leads to no second execution."""
    async with cluster() as c:
        await c.ledger.append(issued(1))
        put(c)
        old = c.world.incidents.get("leak")
        assert old is not None
        await to_the_end(c)
        done = status(c)
        c.world.incidents.drop("leak")
        c.world.incidents.put(old.body)
        await c.ledger.append(issued(2, issued_at=c.clock.now()))
        await to_the_end(c)
        assert status(c) == done
        assert revoked(c) == {1: ACTOR}


async def test_deleted_before_it_started_it_does_nothing(cluster: Open) -> None:
    """The first write says that it is gone, and nothing was revoked by then."""
    async with cluster() as c:
        await c.ledger.append(issued(1))
        put(c)
        c.server.remove(PATH)
        assert await to_the_end(c) == [Outcome()]
        assert "leak" not in list(c.world.incidents)
        assert revoked(c) == {}


async def test_a_namesake_that_comes_amid_it_is_left_alone(cluster: Open) -> None:
    """The records name the object that was executed, and the other one is not told of it."""
    async with cluster() as c:
        await c.ledger.append(issued(1))
        put(c)

        async def append(*each: Record) -> None:
            await c.ledger.append(*each)
            c.server.remove(PATH)
            namesake = {"name": "leak", "uid": "another", "generation": 1}
            spec = {"reason": "superseded", "select": FINANCE}
            c.world.incidents.put(c.server.put(PATH, {"metadata": namesake, "spec": spec}))

        of = service(replace(c, ledger=_Reading(c.ledger, append)))  # type: ignore[arg-type]
        assert await of.reconcile("leak") == Outcome(concerned=(ObjectKey("finance", "reader"),))
        assert revoked(c) == {1: ACTOR}
        assert status(c).phase is None


def namesake(cluster: Cluster) -> None:
    """Another incident of this name comes after one that was deleted, as a watch tells it."""
    known = cluster.world.incidents.get("leak")
    assert known is not None
    cluster.world.incidents.ended(known.body)
    metadata = {"name": "leak", "uid": "another", "generation": 1}
    spec = {"reason": "superseded", "hold": True, "dryRun": False, "select": FINANCE}
    stored = cluster.server.put(PATH, {"metadata": metadata, "spec": spec})
    cluster.world.incidents.put(stored)


async def test_a_namesake_that_is_told_before_the_answer_stays(cluster: Open) -> None:
    """The answer is about the object that went; the new one is executed at once all the same."""
    async with cluster() as c:
        put(c)
        c.server.remove(PATH)
        c.server.answer_late(lambda: namesake(c))
        of = service(c)
        await of.reconcile("leak")
        known = c.world.incidents.get("leak")
        assert known is not None
        assert known.body["metadata"]["uid"] == "another"  # type: ignore[index]


@pytest.mark.parametrize("renamed", [False, True], ids=["gone", "a-namesake"])
async def test_whom_it_held_is_looked_at_if_a_write_finds_it_gone(
    cluster: Open,
    renamed: bool,  # noqa: FBT001
) -> None:
    """The watch tells it later, and then nobody knows any more whom it held."""
    async with cluster() as c:
        await c.ledger.append(issued(1))
        put_identity(c, "reader")
        put(c, hold=True)
        of = service(c)
        await of.reconcile("leak")
        await c.clock.run_for(SETTLE.total_seconds())
        c.server.remove(PATH)
        if renamed:
            metadata = {"name": "leak", "uid": "another", "generation": 1}
            c.server.put(PATH, {"metadata": metadata, "spec": {"reason": "superseded"}})
        assert (await of.reconcile("leak")).concerned == (ObjectKey("finance", "reader"),)


@pytest.mark.parametrize("release", [False, True], ids=["execution", "release"])
async def test_whom_it_concerns_is_looked_at_though_the_answer_is_lost(
    cluster: Open,
    release: bool,  # noqa: FBT001
) -> None:
    """The watch tells what was written, and the next pass finds nothing left to write."""
    async with cluster() as c:
        await c.ledger.append(issued(1))
        put_identity(c, "reader")
        put(c, hold=release)
        of = service(c)
        if release:
            await to_the_end(c, of)
            put(c, release=True)
        else:
            c.server.answer_late(lambda: None)  # the cut-off is written, and answered
        c.server.lose_answer()
        with pytest.raises(UnavailableError):
            await of.reconcile("leak")
        c.world.incidents.put(c.server.objects[PATH])
        assert (await of.reconcile("leak")).concerned == (ObjectKey("finance", "reader"),)


async def test_an_older_version_is_no_news(cluster: Open) -> None:
    """A watch that tells late must not end a hold for a moment; a newer namesake is news."""
    async with cluster() as c:
        put(c, hold=True)
        old = c.world.incidents.get("leak")
        assert old is not None
        await service(c).reconcile("leak")
        assert list(c.world.incidents.holds())
        assert not c.world.incidents.put(old.body)
        assert list(c.world.incidents.holds())
        body: dict[str, Any] = dict(old.body)
        body["metadata"] = body["metadata"] | {"uid": "another", "resourceVersion": "1"}
        assert not c.world.incidents.put(body)
        body["metadata"] = body["metadata"] | {"resourceVersion": "999"}
        assert c.world.incidents.put(body)


class _Crash(BaseException):
    """The process is no more."""


@dataclass
class _Reading:
    """A ledger whose appends are watched."""

    ledger: Ledger
    append: Any

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the ledger has
        return getattr(self.ledger, name)


@dataclass
class _Bomb:
    """Ends the process at a write, before or after it is carried out."""

    at: int
    before: bool
    writes: list[str] = field(default_factory=list)

    async def around(self, what: str, write: Any) -> Any:  # noqa: ANN401
        """Carry out a write, unless this is the end."""
        self.writes.append(what)
        fatal = len(self.writes) == self.at
        if fatal and self.before:
            raise _Crash
        done = await write()
        if fatal:
            raise _Crash
        return done


@asynccontextmanager
async def _mined(c: Cluster, bomb: _Bomb) -> AsyncIterator[IncidentService]:
    async def append(*each: Record) -> None:
        await bomb.around(f"ledger {len(each)}", lambda: c.ledger.append(*each))

    async with c.server.client() as client:
        replace_status = client.replace_status

        async def replacing(*given: Any, **options: Any) -> Any:  # noqa: ANN401
            return await bomb.around("status", lambda: replace_status(*given, **options))

        client.replace_status = replacing  # type: ignore[method-assign]
        yield service(replace(c, ledger=_Reading(c.ledger, append)), client)  # type: ignore[arg-type]


@asynccontextmanager
async def _restarted(c: Cluster, writer: str) -> AsyncIterator[Cluster]:
    """The next process: what is durable is all that it knows."""
    world = World()
    for path, body in c.server.objects.items():
        if "/agentrevocations/" in path:
            world.incidents.put(body)
        elif "/agentidentities/" in path:
            world.identities.put(body)
    async with open_ledger(c.store, c.clock, writer) as ledger:
        yield replace(c, world=world, ledger=ledger)


WRITES = ["status", "ledger 2", "status", "ledger 2", "status", "ledger 1", "status", "status"]


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("at", range(1, len(WRITES) + 1))
@pytest.mark.parametrize(
    "select",
    [
        pytest.param(FINANCE, id="by-namespace"),
        pytest.param({"serials": [f"{n:02x}" for n in range(1, 6)]}, id="by-serial"),
    ],
)
async def test_ended_at_any_write_it_converges(
    cluster: Open,
    monkeypatch: pytest.MonkeyPatch,
    select: dict[str, Any],
    at: int,
    before: bool,  # noqa: FBT001
) -> None:
    """Each serial is revoked by exactly one record, the cut-off stands, and the hold holds."""
    monkeypatch.setattr(incidents, "CHUNK", 2)
    async with cluster() as c:
        await c.ledger.append(
            *(issued(n, f"agent-{n}") for n in range(1, 6)), issued(6, namespace="support")
        )
        put_identity(c, "agent-5")
        put(c, select=select, hold=True)
        bomb = _Bomb(at, before)
        async with _mined(c, bomb) as of:
            with pytest.raises(_Crash):
                await to_the_end(c, of)
        assert bomb.writes == WRITES[:at], "the sweep covers exactly the writes of an execution"
        cut_off = status(c).started_at
        await c.clock.run_for(5)
        # In the meantime an identity that was hit got another one, made after the cut-off.
        if cut_off is not None:
            await c.ledger.append(issued(7, "agent-1", issued_at=c.clock.now()))
        async with _restarted(c, "w2") as after:
            await to_the_end(after)
            body = after.world.identities.get(ObjectKey("finance", "agent-5"))
            assert body is not None
            assert after.world.hold_on(body) is not None
        found = status(c)
        assert found.phase is Phase.EXECUTED
        assert cut_off in {None, found.started_at}
        assert (found.matched, found.revoked, found.identities) == (5, 5, 5)
        assert sorted(each.serial.value for each in records(c)) == [1, 2, 3, 4, 5]
        assert {each.actor for each in records(c)} == {ACTOR}


async def test_ended_after_the_ledger_its_identities_are_looked_at(cluster: Open) -> None:
    """The next process finds nothing to revoke, and knows that nobody was told."""
    async with cluster() as c:
        await c.ledger.append(issued(1))
        put(c)
        async with _mined(c, _Bomb(2, before=False)) as of:
            with pytest.raises(_Crash):
                await of.reconcile("leak")
        async with _restarted(c, "w2") as after:
            outcome = await service(after).reconcile("leak")
        assert outcome.concerned == (ObjectKey("finance", "reader"),)


@pytest.mark.parametrize("fault", list(Fault))
async def test_a_ledger_whose_answer_is_lost_revokes_once(cluster: Open, fault: Fault) -> None:
    """The committer finds out what became of it; the incident goes by the ledger's state."""
    async with cluster() as c:
        await c.ledger.append(issued(1))
        put(c)
        c.store.faults.append(fault)
        of = service(c)
        for _ in range(5):
            try:
                await c.clock.run_for(1)
                await in_virtual_time(c.clock, of.reconcile("leak"))
                break
            except AgentIdError:
                continue
        await to_the_end(c, of)
        assert [each.serial.value for each in records(c)] == [1]
        assert status(c).phase is Phase.EXECUTED
