"""What a trigger sets off: which queue, how urgently, and in which order at the start."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from agentid.api import AgentIdentity, Reason
from agentid.api.agentidentity import AgentIdentityStatus
from agentid.controller.loops import Loops
from agentid.errors import NotFoundError, UnavailableError
from agentid.factory import Settings, build
from agentid.kube.objects import ObjectKey
from agentid.kube.queue import Lane
from agentid.services.failure import PassError
from agentid.services.incidents import Outcome
from agentid.testing.api_server import FakeApiServer
from agentid.testing.clock import ManualClock
from agentid.testing.ledger import NOON, make_issued
from tests.support.manifests import agent_class, identity, issuer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from datetime import datetime
    from pathlib import Path

Json = dict[str, Any]
READER = ObjectKey("finance", "reader")
ROOT = "/apis/agentid.dev/v1alpha1"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Runs a coroutine with loops of an operator that is built as it ships, on a fake cluster."""
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    path = tmp_path / "kubeconfig"
    monkeypatch.setenv("KUBECONFIG", str(path))

    @asynccontextmanager
    async def opened() -> AsyncIterator[tuple[Loops, FakeApiServer]]:
        async with FakeApiServer() as server:
            path.write_text(
                json.dumps(
                    {
                        "current-context": "test",
                        "contexts": [
                            {"name": "test", "context": {"cluster": "test", "user": "test"}}
                        ],
                        "clusters": [{"name": "test", "cluster": {"server": server.url}}],
                        "users": [{"name": "test", "user": {"token": "good"}}],
                    }
                )
            )
            settings = Settings(process="test", namespace="agentid-system")
            async with build(settings, clock=ManualClock()) as parts:
                yield Loops(parts), server

    def runs(test: Callable[[Loops, FakeApiServer], Awaitable[None]]) -> None:
        async def whole() -> None:
            async with opened() as (loops, server):
                await test(loops, server)

        asyncio.run(whole())

    return runs


def seen(version: int = 1, *, told: int | None = 1, name: str = "reader", **changes: Any) -> Json:  # noqa: ANN401
    """An identity as a watch tells it; `told` is the generation that its status judges."""
    body = identity(name, changes.pop("className", "batch"), **changes.pop("spec", {}))
    body["metadata"] |= {
        "namespace": "finance",
        "uid": f"u-{name}",
        "generation": 1,
        "resourceVersion": str(version),
        **changes,
    }
    if told is not None:
        body["status"] = {"observedGeneration": told}
    return body


def small(kind: Json, generation: int = 1, uid: str = "u-1") -> Json:
    """A class or an issuer as a watch tells it."""
    kind["metadata"] |= {"generation": generation, "uid": uid, "resourceVersion": "1"}
    return kind


def waiting(loops: Loops) -> dict[Lane, int]:
    """How many identities wait in each lane that is not empty."""
    return {lane: count for lane, count in loops.queue.depth_by_lane().items() if count}


async def drained(loops: Loops) -> list[ObjectKey]:
    """The classes and issuers that are to be looked at, in their order."""
    found = []
    while loops._catalogue.depth:
        found.append(await loops._catalogue.get())
        loops._catalogue.done(found[-1])
    return found


# Namespaces


def test_a_namespace_that_asks_for_bundles_is_known(run: Callable[..., None]) -> None:
    """From the first list on, and until it is gone."""

    async def test(loops: Loops, server: FakeApiServer) -> None:
        labels = {"agentid.dev/trust-bundle": "enabled"}
        path = "/api/v1/namespaces/finance"
        body = server.put(path, {"metadata": {"name": "finance", "labels": labels}})
        await loops.prime()
        assert set(loops._world.bundle_namespaces) == {"finance"}
        loops.trust.namespace_seen(body, gone=True)
        assert not loops._world.bundle_namespaces

    run(test)


def test_the_end_of_an_older_namespace_is_none_of_a_newer_one(run: Callable[..., None]) -> None:
    """Kopf keeps the order for each object alone, and they are two."""

    async def test(loops: Loops, _: FakeApiServer) -> None:
        labels = {"agentid.dev/trust-bundle": "enabled"}
        old = {"metadata": {"name": "finance", "uid": "u-1", "labels": labels}}
        new = {"metadata": {"name": "finance", "uid": "u-2", "labels": labels}}
        ending = {"metadata": old["metadata"] | {"deletionTimestamp": "2026-11-01T12:00:00Z"}}
        loops.trust.namespace_seen(old, gone=False)
        loops.trust.namespace_seen(new, gone=False)
        loops.trust.namespace_seen(ending, gone=False)
        loops.trust.namespace_seen(ending, gone=True)
        assert loops._world.bundle_namespaces == {"finance": "u-2"}
        loops.trust.namespace_seen(new, gone=True)
        assert loops._world.bundle_namespaces == {}

    run(test)


# Identities


@pytest.mark.parametrize(
    ("body", "lane"),
    [
        pytest.param(seen(told=None), Lane.CHANGE, id="new"),
        pytest.param(seen(told=1, generation=2), Lane.CHANGE, id="edited"),
        pytest.param(seen(), Lane.BACKGROUND, id="its-status-was-written"),
        pytest.param(
            seen(deletionTimestamp="2026-11-01T12:00:00Z"), Lane.REVOCATION, id="being-deleted"
        ),
        pytest.param(
            seen(generation=2, spec={"suspend": True}), Lane.REVOCATION, id="just-suspended"
        ),
        pytest.param(seen(spec={"suspend": False}), Lane.BACKGROUND, id="not-suspended"),
        pytest.param(
            seen(annotations={"agentid.dev/renew-requested": "2026-11-01T12:00:00Z"}),
            Lane.CHANGE,
            id="renewal-asked-for",
        ),
        pytest.param(seen(annotations={"other": "x"}), Lane.BACKGROUND, id="annotated-otherwise"),
        pytest.param(
            {"metadata": {"name": "reader", "namespace": "finance", "uid": "u", "generation": 1}},
            Lane.CHANGE,
            id="without-a-spec",
        ),
    ],
)
def test_urgency_follows_from_the_object(run: Callable[..., None], body: Json, lane: Lane) -> None:
    """Revocations come first, then what people wait for, then the rest."""

    async def test(loops: Loops, _: FakeApiServer) -> None:
        revoking = asyncio.create_task(loops.revoking.run())
        loops.identity_seen(body, gone=False)
        for _turn in range(20):
            await asyncio.sleep(0)
        assert waiting(loops) == {lane: 1}
        assert await loops.queue.get() == READER
        revoking.cancel()
        await asyncio.gather(revoking, return_exceptions=True)

    run(test)


def test_echoes_of_our_own_writes_are_no_trigger(run: Callable[..., None]) -> None:
    """What the world holds already, or an older version, is nothing to look at."""

    async def test(loops: Loops, _: FakeApiServer) -> None:
        loops.identity_seen(seen(5), gone=False)
        loops.queue.done(await loops.queue.get())
        loops.identity_seen(seen(5), gone=False)
        loops.identity_seen(seen(4, told=None), gone=False)
        assert waiting(loops) == {}
        loops.identity_seen(seen(6), gone=False)
        assert waiting(loops) == {Lane.BACKGROUND: 1}

    run(test)


def test_what_is_gone_is_looked_at_first(run: Callable[..., None]) -> None:
    """Promise 4: it is forgotten, with its renewal, and what it held is revoked."""

    async def test(loops: Loops, _: FakeApiServer) -> None:
        loops.identity_seen(seen(), gone=False)
        loops.schedule.at(READER, NOON + timedelta(hours=1))
        loops.identity_seen(seen(2), gone=True)
        assert waiting(loops) == {Lane.REVOCATION: 1}
        assert loops.schedule.when(READER) is None
        assert READER not in loops._parts.world.identities

    run(test)


def test_the_answer_to_our_last_write_comes_after_the_end(run: Callable[..., None]) -> None:
    """Under load the watch is faster; what it ended stays so, and pods are told that it is gone."""

    async def test(loops: Loops, _: FakeApiServer) -> None:
        loops.identity_seen(seen(), gone=False)
        world = loops._parts.world
        loops.identity_seen(seen(3, told=None), gone=True)
        world.identities.learn(seen(2, told=None))
        assert READER not in world.identities

    run(test)


def test_a_change_that_an_answer_brings_is_looked_at_once_the_watch_tells(
    run: Callable[..., None],
) -> None:
    """A status is written on top of it, so that what is known is newer than the change itself."""

    async def test(loops: Loops, server: FakeApiServer) -> None:
        path = f"{ROOT}/namespaces/finance/agentidentities/reader"
        first = server.put(path, seen())
        loops.identity_seen(first, gone=False)
        key = await loops.queue.get()
        changed = server.put(path, {**first, "spec": {**first["spec"], "suspend": True}})  # type: ignore[dict-item]
        metadata = AgentIdentity.metadata_of(first)
        objects = loops._parts.identities._objects
        await objects.write_status(metadata, AgentIdentityStatus(observed_generation=1))
        loops.queue.done(key)
        assert waiting(loops) == {}
        loops.identity_seen(changed, gone=False)
        assert waiting(loops) == {Lane.REVOCATION: 1}
        loops.queue.done(await loops.queue.get())
        loops.identity_seen(server.objects[path], gone=False)
        loops.queue.done(await loops.queue.get())
        loops.identity_seen(server.objects[path], gone=False)
        assert waiting(loops) == {}, "the watch has told all that is known"

    run(test)


# Classes and issuers


def test_a_class_has_its_identities_looked_at_one_by_one(run: Callable[..., None]) -> None:
    """In the background, spread over time; a renewal that comes sooner keeps its time."""

    async def test(loops: Loops, _: FakeApiServer) -> None:
        for name in ("a", "b", "c", "d"):
            loops.identity_seen(seen(name=name), gone=False)
        loops.identity_seen(seen(name="e", className="other"), gone=False)
        before = waiting(loops)
        late, soon = ObjectKey("finance", "a"), ObjectKey("finance", "b")
        loops.schedule.at(late, NOON + timedelta(hours=1))
        loops.schedule.at(soon, NOON)
        loops.class_seen(small(agent_class("batch")), gone=False)
        assert waiting(loops) == before
        times = {name: loops.schedule.when(ObjectKey("finance", name)) for name in "abcde"}
        step = timedelta(seconds=0.01)
        assert times == {
            "a": NOON + step,
            "b": NOON,
            "c": NOON + 3 * step,
            "d": NOON + 4 * step,
            "e": None,
        }
        assert await drained(loops) == [ObjectKey("AgentClass", "batch")]

    run(test)


def test_a_class_that_comes_during_a_pass_is_not_missed(run: Callable[..., None]) -> None:
    """The pass knew nothing of it; at its end the identity is looked at once more."""

    async def test(loops: Loops, _: FakeApiServer) -> None:
        loops.identity_seen(seen(told=None), gone=False)
        key = await loops.queue.get()
        loops.class_seen(small(agent_class("batch")), gone=False)
        loops.queue.done(key)
        loops.schedule.cancel(key)
        assert waiting(loops) == {Lane.BACKGROUND: 1}

    run(test)


@pytest.mark.parametrize(
    ("body", "gone", "triggers"),
    [
        pytest.param(small(agent_class("batch")), False, False, id="its-status-was-written"),
        pytest.param(small(agent_class("batch"), 2), False, True, id="edited"),
        pytest.param(small(agent_class("batch"), 1, "u-2"), False, True, id="a-namesake"),
        pytest.param(small(agent_class("batch")), True, True, id="gone"),
    ],
)
def test_only_a_change_of_the_class_is_a_trigger(
    run: Callable[..., None], body: Json, *, gone: bool, triggers: bool
) -> None:
    """By UID and generation; in the world it is the newest in any case."""

    async def test(loops: Loops, _: FakeApiServer) -> None:
        loops.class_seen(small(agent_class("batch")), gone=False)
        await drained(loops)
        loops.identity_seen(seen(), gone=False)
        loops.class_seen(body, gone=gone)
        assert bool(await drained(loops)) is triggers
        assert (loops.schedule.when(READER) is not None) is triggers
        known = loops._parts.world.classes.get("batch")
        assert (None if known is None else known.body) == (None if gone else body)

    run(test)


@pytest.mark.parametrize("kind", ["AgentClass", "AgentIssuer"])
@pytest.mark.parametrize("gone", [False, True])
def test_what_an_older_namesake_did_last_is_none_of_a_newer_one(
    run: Callable[..., None], kind: str, *, gone: bool
) -> None:
    """Kopf keeps the order for each object alone: the old one may be told of after the new one."""

    async def test(loops: Loops, _: FakeApiServer) -> None:
        made: Callable[[], Json] = issuer if kind == "AgentIssuer" else lambda: agent_class("test")
        old, new = small(made()), small(made(), 1, "u-2")
        new["metadata"]["resourceVersion"] = "9"
        told = loops.issuer_seen if kind == "AgentIssuer" else loops.class_seen
        known: Any = loops._world.issuers if kind == "AgentIssuer" else loops._world.classes
        told(old, gone=False)
        told(new, gone=False)
        await drained(loops)
        told(old, gone=gone)
        assert known["test"].body == new
        assert await drained(loops) == []

    run(test)


def test_an_issuer_has_its_classes_looked_at_after_it(run: Callable[..., None]) -> None:
    """They tell whether it exists; identities follow once it can sign, or cannot any more."""

    async def test(loops: Loops, _: FakeApiServer) -> None:
        for name, chosen in (("a", "test"), ("b", "other")):
            loops.class_seen(small(agent_class(name, issuerName=chosen)), gone=False)
        await drained(loops)
        keys = {ObjectKey("AgentIssuer", "test"), ObjectKey("AgentClass", "a")}
        loops.issuer_seen(small(issuer()), gone=False)
        assert set(await drained(loops)) == keys
        loops.issuer_seen(small(issuer()), gone=False)
        assert await drained(loops) == []
        loops.issuer_seen(small(issuer()), gone=True)
        assert set(await drained(loops)) == keys
        assert loops._parts.world.issuers == {}

    run(test)


@pytest.mark.parametrize("name", ["rotate-requested", "rotate-root-requested"])
def test_a_rotation_that_is_asked_for_begins_at_once(run: Callable[..., None], name: str) -> None:
    """Its annotation is no new generation; nobody waits for the next look, and no class is told."""

    async def test(loops: Loops, _: FakeApiServer) -> None:
        loops.class_seen(small(agent_class("batch")), gone=False)
        loops.issuer_seen(small(issuer()), gone=False)
        await drained(loops)
        asked = small(issuer())
        asked["metadata"]["annotations"] = {f"agentid.dev/{name}": "2026-11-01T12:00:00Z"}
        loops.issuer_seen(asked, gone=False)
        assert await drained(loops) == [ObjectKey("AgentIssuer", "test")]
        loops.issuer_seen(asked, gone=False)
        assert await drained(loops) == []

    run(test)


def test_identities_follow_their_issuer_at_once(run: Callable[..., None]) -> None:
    """Somebody waits for it, so they come before what happens in the background."""

    async def test(loops: Loops, server: FakeApiServer) -> None:
        stored = server.put(f"{ROOT}/agentissuers/test", small(issuer()))
        loops.issuer_seen(stored, gone=False)
        loops.class_seen(small(agent_class("batch")), gone=False)
        loops._parts.world.identities.put(seen())
        assert await loops._try(ObjectKey("AgentIssuer", "test"))
        assert waiting(loops) == {Lane.CHANGE: 1}
        state = loops._parts.world.issuer_states["test"]
        assert state.issuer is not None

    run(test)


def test_an_issuer_that_may_come_right_is_tried_again(run: Callable[..., None]) -> None:
    """Its Secret may be restored, or the API server come back, and no event tells so."""

    async def test(loops: Loops, server: FakeApiServer) -> None:
        key = ObjectKey("AgentIssuer", "test")
        loops.issuer_seen(server.put(f"{ROOT}/agentissuers/test", small(issuer())), gone=False)
        server.fail_next(503)
        assert not await loops._try(key)
        path = "/api/v1/namespaces/agentid-system/secrets/agentid-ca-test"
        metadata = {"namespace": "agentid-system", "name": "agentid-ca-test"}
        server.put(path, {"metadata": metadata, "data": {}})
        assert not await loops._try(key)
        server.remove(path)
        assert await loops._try(key)

    run(test)


# Incidents


def incident(version: int = 1, generation: int = 1, **spec: Any) -> Json:  # noqa: ANN401
    """An incident of namespace finance, executed, as a watch tells it."""
    fields = {"reason": "keyCompromise", "dryRun": False, "hold": True, **spec}
    return {
        "metadata": {
            "name": "leak", "uid": "u", "generation": generation, "resourceVersion": str(version),
        },
        "spec": {"select": {"namespaces": ["finance"]}, **fields},
        "status": {"phase": "Executed", "startedAt": "2026-11-01T12:00:00.000000Z"},
    }  # fmt: skip


def test_an_incident_is_looked_at_before_all_else(run: Callable[..., None]) -> None:
    """In a queue of its own, once for each version; every replica knows its hold at once."""

    async def test(loops: Loops, _: FakeApiServer) -> None:
        loops.identity_seen(seen(), gone=False)
        loops.incidents.seen(incident(5), gone=False)
        loops.incidents.seen(incident(4), gone=False)
        assert {k: v for k, v in loops.incidents.queue.depth_by_lane().items() if v} == {
            Lane.REVOCATION: 1
        }
        assert await loops.incidents.queue.get() == "leak"
        assert loops._parts.world.hold_on(seen()) is not None

    run(test)


@pytest.mark.parametrize(
    ("spec", "looked_at"),
    [
        pytest.param({}, True, id="holding"),
        pytest.param({"hold": False}, False, id="without-hold"),
        pytest.param({"release": True}, False, id="released-before"),
        pytest.param({"select": {"namespaces": ["support"]}}, False, id="holding-others"),
    ],
)
def test_whom_a_deleted_incident_held_is_looked_at(
    run: Callable[..., None],
    spec: Json,
    looked_at: bool,  # noqa: FBT001
) -> None:
    """The hold ends with the object."""

    async def test(loops: Loops, _: FakeApiServer) -> None:
        loops.identity_seen(seen(), gone=False)
        loops.incidents.seen(incident(**spec), gone=False)
        loops.incidents.seen(incident(**spec), gone=True)
        assert (loops.schedule.when(READER) is not None) is looked_at
        assert loops._parts.world.hold_on(seen()) is None

    run(test)


def test_a_namesake_that_came_since_goes_on_holding(run: Callable[..., None]) -> None:
    """The end of the old object may be told after the beginning of the new one."""

    async def test(loops: Loops, _: FakeApiServer) -> None:
        old, new = incident(), incident(9)
        new["metadata"]["uid"] = "another"
        loops.incidents.seen(old, gone=False)
        loops.incidents.seen(new, gone=False)
        loops.incidents.seen(old, gone=True)
        assert loops._parts.world.hold_on(seen()) is not None

    run(test)


def test_whom_it_held_is_looked_at_once_a_namesake_is_told(run: Callable[..., None]) -> None:
    """The end of the old one is told later, or by no watch at all."""

    async def test(loops: Loops, _: FakeApiServer) -> None:
        loops.identity_seen(seen(), gone=False)
        old, new = incident(), incident(9, select={"namespaces": ["support"]})
        new["metadata"]["uid"] = "another"
        loops.incidents.seen(old, gone=False)
        assert loops.schedule.when(READER) is None
        loops.incidents.seen(new, gone=False)
        assert loops.schedule.when(READER) is not None

    run(test)


def test_an_end_that_no_watch_told_is_noticed(run: Callable[..., None]) -> None:
    """A hold whose object is gone ends, if only at the next look at all of them."""

    async def test(loops: Loops, server: FakeApiServer) -> None:
        path = f"{ROOT}/agentrevocations/leak"
        server.put(path, incident())
        await loops.prime()
        clock = loops._clock
        assert isinstance(clock, ManualClock)
        leading = asyncio.create_task(loops.incidents.run())
        await clock.run_for(5)
        assert loops._parts.world.hold_on(seen()) is not None
        server.remove(path)
        server.fail_next(503)
        for _ in range(100):
            await clock.run_for(20)
            if loops._parts.world.hold_on(seen()) is None:
                break
        assert loops._parts.world.hold_on(seen()) is None
        leading.cancel()
        await asyncio.gather(leading, return_exceptions=True)

    run(test)


def test_the_leader_executes_and_comes_back(run: Callable[..., None]) -> None:
    """From the first look to the last, with a failure in between; those concerned are looked at."""

    async def test(loops: Loops, server: FakeApiServer) -> None:
        clock, looks = loops._clock, []
        server.put(f"{ROOT}/agentrevocations/leak", incident())

        class Service:
            async def reconcile(self, name: str) -> Outcome:
                looks.append((name, clock.now() - NOON))
                match len(looks):
                    case 1:
                        away = "the ledger is away"
                        raise UnavailableError(away, retry_after=timedelta(seconds=2))
                    case 2:
                        return Outcome(timedelta(seconds=12), (READER,))
                    case _:
                        return Outcome()

        loops.incidents._service = Service()  # type: ignore[assignment]
        assert isinstance(clock, ManualClock)
        await loops.prime()
        leading = asyncio.create_task(loops.incidents.run())
        await clock.run_for(30)
        leading.cancel()
        await asyncio.gather(leading, return_exceptions=True)
        assert [name for name, _ in looks] == ["leak"] * 3
        first, second, third = (at for _, at in looks)
        assert timedelta(seconds=2) <= second - first < timedelta(seconds=4)
        assert timedelta(seconds=12) <= third - second < timedelta(seconds=13)
        assert loops.schedule.when(READER) is not None

    run(test)


# Life


def test_classes_and_issuers_are_known_before_the_first_identity(
    run: Callable[..., None],
) -> None:
    """Issuers first, so that no class is told that its issuer is missing."""

    async def test(loops: Loops, server: FakeApiServer) -> None:
        server.put(f"{ROOT}/agentissuers/test", small(issuer()))
        server.put(f"{ROOT}/agentclasses/batch", small(agent_class("batch")))
        assert not loops.primed
        await loops.prime()
        assert loops.primed
        asked = [path.split("?")[0].removeprefix(ROOT) for _, path, _, _ in server.requests]
        kinds = ["/agentissuers", "/agentclasses", "/agentrevocations", "/api/v1/namespaces"]
        kinds.append("/apis/certificates.k8s.io/v1")
        kinds.append("/apis/storage.k8s.io/v1/csidrivers/csi.agentid.dev")
        assert asked == kinds
        assert set(loops._parts.world.issuers) == {"test"}
        assert set(loops._parts.world.classes) == {"batch"}

    run(test)


def test_without_its_definitions_it_does_not_begin(run: Callable[..., None]) -> None:
    """A cluster without our kinds is no cluster without identities."""

    async def test(loops: Loops, server: FakeApiServer) -> None:
        server.fail_next(404, {"reason": "NotFound"})
        with pytest.raises(NotFoundError, match="list agentissuers: 404 NotFound"):
            await loops.prime()
        assert not loops.primed

    run(test)


@pytest.mark.parametrize(
    ("error", "backing_off"),
    [
        pytest.param(PassError(Reason.LEDGER_UNAVAILABLE, "away"), 1, id="passes"),
        pytest.param(PassError(Reason.ISSUER_DENIED, "no", stalled=True), 0, id="stalled"),
    ],
)
def test_what_trying_again_does_not_help_is_left_alone(
    run: Callable[..., None], error: PassError, backing_off: int
) -> None:
    """It comes again when something changes; everything else is tried again, ever more slowly."""

    async def test(loops: Loops, _: FakeApiServer) -> None:
        loops.queue.add(READER)
        loops._after_failure(await loops.queue.get(), error)
        assert loops.queue.backing_off == backing_off
        assert loops.queue.working == 0
        loops.identity_seen(seen(told=None), gone=False)
        assert waiting(loops) == {Lane.CHANGE: 1}

    run(test)


def test_a_loop_that_ends_by_a_defect_ends_the_process(run: Callable[..., None]) -> None:
    """Promise 5: an operator that only looks alive would let everything run out."""

    async def broken() -> None:
        message = "a defect"
        raise ZeroDivisionError(message)

    async def test(loops: Loops, _: FakeApiServer) -> None:
        with pytest.raises(ZeroDivisionError, match="a defect"):
            await loops._guarded(broken())
        assert loops.crashed.is_set()

    run(test)


def test_a_clock_that_was_ahead_for_a_moment_is_noticed(run: Callable[..., None]) -> None:
    """A step forward and back between two looks: what was made meanwhile is not valid yet."""

    async def test(loops: Loops, _: FakeApiServer) -> None:
        loops.identity_seen(seen(), gone=False)
        passes: list[datetime] = []
        clock = loops._parts.clock
        assert isinstance(clock, ManualClock)

        async def reconcile(_: ObjectKey) -> None:
            passes.append(clock.now())

        loops._parts.identities.reconcile = reconcile  # type: ignore[assignment,method-assign]
        loops.started()
        await clock.run_for(1.0)
        assert len(passes) == 1
        clock.step(timedelta(hours=1))
        loops.queue.add(READER)
        await clock.run_for(1.0)
        assert len(passes) == 2
        clock.step(timedelta(hours=-1))
        await clock.run_for(10.0)
        assert len(passes) == 3, "one look, and no more"
        assert passes[2] < passes[1]
        loops.stopped()

    run(test)


@pytest.mark.parametrize("before", [None, "u-old"], ids=["new", "a-namesake"])
def test_what_came_while_all_were_listed_stays_known(
    run: Callable[..., None], before: str | None
) -> None:
    """The list is older than what the watch has told; nobody would tell of it again."""

    async def test(loops: Loops, server: FakeApiServer) -> None:
        loops._parts.ledger.state.apply(make_issued(1, "reader", namespace="finance"))
        if before is not None:
            loops.identity_seen(seen(1, uid=before), gone=False)
        server.answer_late(lambda: loops.identity_seen(seen(3), gone=False))
        await loops._rounds._find_orphans()
        known: Any = loops._parts.world.identities.get(READER)
        assert known is not None
        assert known["metadata"]["uid"] == "u-reader"
        assert waiting(loops) == {Lane.REVOCATION: 1}

    run(test)


def test_what_no_list_shows_any_more_is_gone(run: Callable[..., None]) -> None:
    """Whatever comes late of it: no watch told of its end."""

    async def test(loops: Loops, _: FakeApiServer) -> None:
        loops._parts.ledger.state.apply(make_issued(1, "reader", namespace="finance"))
        loops.identity_seen(seen(1), gone=False)
        await loops._rounds._find_orphans()
        loops.identity_seen(seen(2), gone=False)
        assert READER not in loops._parts.world.identities
        assert waiting(loops) == {Lane.REVOCATION: 1}

    run(test)


def test_nothing_is_handed_out_once_it_stops(run: Callable[..., None]) -> None:
    """What is in work may come to its end; what waits is for the next leader."""

    async def test(loops: Loops, _: FakeApiServer) -> None:
        loops.queue.add(READER)
        loops.queue.add(ObjectKey("finance", "other"))
        in_work = await loops.queue.get()
        draining = asyncio.create_task(loops.drain(4.0))
        clock = loops._parts.clock
        assert isinstance(clock, ManualClock)
        await clock.run_for(1.0)
        assert not draining.done()
        loops.queue.done(in_work)
        await clock.run_for(1.0)
        assert draining.done()
        assert [key async for key in loops.queue] == []

    run(test)


# Pods


def test_a_look_that_is_wanted_during_a_pass_is_not_lost(run: Callable[..., None]) -> None:
    """The pass knew nothing of the certificate, and sets the timetable at its end."""

    async def test(loops: Loops, _: FakeApiServer) -> None:
        clock = loops._clock
        assert isinstance(clock, ManualClock)
        late, planned = NOON + timedelta(hours=8), iter([True, False])

        class Service:
            async def reconcile(self, key: ObjectKey) -> datetime | None:
                if next(planned):
                    loops.look_soon(key, timedelta(seconds=2))
                return late

        loops._parts = replace(loops._parts, identities=Service())  # type: ignore[arg-type]
        working = asyncio.create_task(loops._work())
        loops.queue.add(READER, Lane.BACKGROUND)
        await clock.run_for(0.1)
        assert loops.schedule.when(READER) == NOON + timedelta(seconds=2)
        loops.queue.add(READER, Lane.BACKGROUND)
        await clock.run_for(0.1)
        assert loops.schedule.when(READER) == late, "once"
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)

    run(test)


# Limits of a class


def test_a_leader_that_begins_gives_places_by_age_and_the_next_when_one_is_free(
    run: Callable[..., None],
) -> None:
    """After a look at everything there is; whoever gets one is told of to those who serve pods."""

    async def test(loops: Loops, server: FakeApiServer) -> None:
        clock = loops._parts.clock
        assert isinstance(clock, ManualClock)
        told: list[ObjectKey | None] = []

        class Companion:
            def changed(self, identity: ObjectKey | None) -> None:
                told.append(identity)

        loops.companions = (Companion(),)  # type: ignore[assignment]  # it has what is used
        server.put(f"{ROOT}/agentissuers/test", small(issuer()))
        limited = small(agent_class("batch", limits={"identities": 1}))
        server.put(f"{ROOT}/agentclasses/batch", limited)
        for hour, name in ((3, "a"), (1, "b"), (2, "c")):
            body = seen(told=None, name=name, creationTimestamp=f"2026-01-01T0{hour}:00:00Z")
            stored = server.put(f"{ROOT}/namespaces/finance/agentidentities/{name}", body)
            loops.identity_seen(stored, gone=False)

        def ready(name: str) -> list[tuple[str, str]]:
            body: Json = server.objects[f"{ROOT}/namespaces/finance/agentidentities/{name}"]
            conditions = (body.get("status") or {}).get("conditions") or []
            return [(each["type"], each["reason"]) for each in conditions]

        async def until(condition: Callable[[], bool]) -> None:
            for _ in range(2000):
                if condition():
                    return
                await clock.run_for(0.01)
                await asyncio.sleep(0.002)  # requests take real time

        waits = [("Ready", "QuotaExceeded"), ("Reconciling", "QuotaExceeded")]
        parts = loops._parts
        await parts.ledger.start()
        try:
            await loops.prime()
            loops.started()
            await until(lambda: ready("b") == [("Ready", "Issued")])
            await until(lambda: parts.quotas._counted and not loops.queue.working)
            assert {name: ready(name) for name in "abc"} == {
                "a": waits, "b": [("Ready", "Issued")], "c": waits,
            }  # fmt: skip
            told.clear()
            path = f"{ROOT}/namespaces/finance/agentidentities/b"
            gone = server.objects[path]
            server.remove(path)
            loops.identity_seen(gone, gone=True)
            await until(lambda: ObjectKey("finance", "c") in told)
            assert ready("c") == [("Ready", "Issued")]
            assert ready("a") == waits
            assert ObjectKey("finance", "c") in told
        finally:
            loops.stopped()
            await parts.ledger.abandon()

    run(test)
