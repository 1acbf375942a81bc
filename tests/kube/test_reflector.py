"""Reflection: nothing is lost, whatever happens to lists and watches."""

from __future__ import annotations

import random
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from agentid.errors import AgentIdError, ForbiddenError, NotFoundError, UnavailableError
from agentid.kube.client import PAGE_SIZE
from agentid.kube.reflector import Change, ChangeType, reflect
from agentid.kube.resources import CONFIG_MAPS
from agentid.testing.api_server import FakeApiServer, cut_off, nothing

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from agentid.kube.client import Client
    from agentid.testing.clock import ManualClock

FOLDER = "/api/v1/namespaces/finance/configmaps"


def put(server: FakeApiServer, name: str, **fields: object) -> None:
    """Write a ConfigMap behind the reflection's back."""
    body = {"metadata": {"namespace": "finance", "name": name}, "data": fields}
    server.put(f"{FOLDER}/{name}", body)


class Patient:
    """A clock whose sleeps end at once, and are written down."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self.naps: list[float] = []
        self.now = clock.now
        self.monotonic = clock.monotonic

    async def sleep(self, seconds: float) -> None:
        """Let time pass at once."""
        self.naps.append(seconds)
        self._clock.advance(seconds)


@pytest.fixture
def patient(clock: ManualClock) -> Patient:
    """Return a clock that makes nobody wait."""
    return Patient(clock)


class Reflection:
    """A reflection and what it has yielded, as short words."""

    def __init__(
        self, client: Client, clock: Patient, *, tell_current: bool, patience: float
    ) -> None:
        self.outages: list[tuple[AgentIdError, float]] = []
        self.changes: AsyncGenerator[Change, None] = reflect(
            client,
            CONFIG_MAPS,
            "finance",
            clock=clock,
            random=random.Random(1).random,
            tell_current=tell_current,
            on_outage=lambda error, wait: self.outages.append((error, wait)),
            patience=patience,
        )

    async def next(self) -> str:
        """Return the next change in words."""
        change = await anext(self.changes)
        return f"{change.type} {change.key.name}" if change.key else str(change.type)

    async def until_synced(self) -> list[str]:
        """Return all changes up to the next SYNCED."""
        words = []
        while (word := await self.next()) != ChangeType.SYNCED:
            words.append(word)
        return words


@asynccontextmanager
async def reflection(
    server: FakeApiServer, clock: Patient, *, tell_current: bool = False, patience: float = 0.0
) -> AsyncIterator[Reflection]:
    """Reflect the ConfigMaps of a server."""
    async with server.client() as client:
        found = Reflection(client, clock, tell_current=tell_current, patience=patience)
        async with aclosing(found.changes):
            yield found


async def test_what_is_there_comes_first_then_what_changes(patient: Patient) -> None:
    """All objects as added, the marker, and every change afterwards."""
    async with FakeApiServer() as server:
        put(server, "a")
        put(server, "b")
        async with reflection(server, patient) as seen:
            assert await seen.until_synced() == ["Added a", "Added b"]
            put(server, "c")
            assert await seen.next() == "Added c"
            put(server, "a", changed="yes")
            assert await seen.next() == "Modified a"
            server.remove(f"{FOLDER}/b")
            gone = await anext(seen.changes)
            assert (gone.type, gone.object["data"]) == (ChangeType.DELETED, {})


async def test_nothing_there_is_known_at_once(patient: Patient) -> None:
    """An empty kind is synced as any other."""
    async with FakeApiServer() as server, reflection(server, patient) as seen:
        assert await seen.until_synced() == []


@pytest.mark.parametrize("asked", [False, True], ids=["not-asked", "asked"])
async def test_that_nothing_else_has_happened_is_told_to_who_asks(
    patient: Patient, *, asked: bool
) -> None:
    """A bookmark comes after all that happened before it, and moves on where a watch goes on."""
    async with FakeApiServer() as server:
        async with reflection(server, patient, tell_current=asked) as seen:
            await seen.until_synced()
            put(server, "a")
            server.bookmark()
            server.cut()
            put(server, "b")
            words = [await seen.next() for _ in range(2 + asked)]
        assert words == ["Added a", *(["Current"] if asked else []), "Added b"]


@pytest.mark.parametrize("abort", [False, True], ids=["ended", "broken-off"])
async def test_a_watch_that_ends_is_taken_up_where_it_was(patient: Patient, *, abort: bool) -> None:
    """No second list, and nothing that happened in between is missed."""
    async with FakeApiServer() as server:
        put(server, "a")
        async with reflection(server, patient) as seen:
            await seen.until_synced()
            put(server, "b")
            assert await seen.next() == "Added b"
            server.cut(abort=abort)
            put(server, "c")
            server.remove(f"{FOLDER}/a")
            assert [await seen.next(), await seen.next()] == ["Added c", "Deleted a"]
            lists = [path for _, path, _, _ in server.requests if "watch" not in path]
            assert len(lists) == 1
            assert len(seen.outages) == abort


async def test_after_a_gap_only_what_differs_is_told(patient: Patient) -> None:
    """The API server forgot: changes, deletions and namesakes are found by listing again."""
    async with FakeApiServer() as server:
        for name in ("same", "changed", "gone", "renewed"):
            put(server, name)
        async with reflection(server, patient) as seen:
            assert len(await seen.until_synced()) == 4
            old = server.objects[f"{FOLDER}/renewed"]["metadata"]
            put(server, "changed", really="yes")
            server.remove(f"{FOLDER}/gone")
            server.remove(f"{FOLDER}/renewed")
            put(server, "renewed")
            put(server, "new")
            server.expire()
            changes = [await anext(seen.changes) for _ in range(6)]
    words = [f"{change.type} {change.key.name}" for change in changes[:-1] if change.key]
    assert words == [
        "Modified changed",
        "Added new",
        "Deleted renewed",
        "Added renewed",
        "Deleted gone",
    ]
    assert changes[-1].type is ChangeType.SYNCED
    assert isinstance(old, dict)
    assert changes[2].object == {
        "metadata": {"namespace": "finance", "name": "renewed", "uid": old["uid"]}
    }


async def test_a_list_that_expires_halfway_is_started_again(patient: Patient) -> None:
    """Pages that are forgotten are listed anew; nothing is told twice, and nothing is lost."""
    async with FakeApiServer() as server:
        for number in range(PAGE_SIZE + 10):
            put(server, f"c{number:04}")
        async with reflection(server, patient) as seen:
            words = [await seen.next() for _ in range(PAGE_SIZE)]
            server.expire()
            server.remove(f"{FOLDER}/c0003")
            rest = await seen.until_synced()
    assert len(set(words)) == PAGE_SIZE
    assert rest == [f"Added c{PAGE_SIZE + number:04}" for number in range(10)] + ["Deleted c0003"]


async def test_an_outage_is_waited_out(patient: Patient) -> None:
    """While the API server is away it is tried again, with growing waits, and each is told."""
    async with FakeApiServer() as server:
        put(server, "a")
        server.answers += [cut_off] * 12  # aiohttp sends a read that was cut off once more
        async with reflection(server, patient) as seen:
            assert await seen.until_synced() == ["Added a"]
            assert [wait for _, wait in seen.outages] == patient.naps
    assert len(patient.naps) == 6
    assert all(isinstance(error, UnavailableError) for error, _ in seen.outages)
    assert max(patient.naps[3:]) > 1 > patient.naps[0]


async def test_a_watch_that_lasted_ends_the_outage(patient: Patient, clock: ManualClock) -> None:
    """The next outage begins with a short wait again, however long the last one was."""
    async with FakeApiServer() as server:
        server.answers += [cut_off] * 20
        async with reflection(server, patient) as seen:
            await seen.until_synced()
            put(server, "a")
            await seen.next()
            clock.advance(60)
            server.cut(abort=True)
            put(server, "b")
            assert await seen.next() == "Added b"
    assert max(patient.naps) > 5
    assert patient.naps[-1] < 0.5


async def test_a_wait_that_is_asked_for_is_kept(patient: Patient) -> None:
    """Retry-After is the least."""
    async with FakeApiServer() as server:
        server.fail_next(429, {"message": "slow down"}, {"Retry-After": "30"})
        async with reflection(server, patient) as seen:
            await seen.until_synced()
    assert 30 <= patient.naps[0] <= 33


async def test_watches_that_end_at_once_do_not_spin(patient: Patient) -> None:
    """A proxy that ends every watch at once is not hammered."""
    async with FakeApiServer() as server, reflection(server, patient) as seen:
        await seen.until_synced()
        server.answers += [nothing] * 5
        put(server, "a")
        assert await seen.next() == "Added a"
    assert len(patient.naps) == 5


async def test_watches_that_told_something_are_taken_up_at_once(patient: Patient) -> None:
    """A busy API server ends those that are behind; who waited would be further behind."""
    async with FakeApiServer() as server, reflection(server, patient) as seen:
        await seen.until_synced()
        for number in range(10):
            put(server, f"a-{number}")
            assert await seen.next() == f"Added a-{number}"
            server.cut()
        put(server, "b")
        assert await seen.next() == "Added b"
    assert patient.naps == []


async def test_a_list_is_no_progress_of_a_watch(patient: Patient) -> None:
    """A proxy that lets lists through and ends every watch is not hammered with either."""
    async with FakeApiServer() as server, reflection(server, patient) as seen:
        put(server, "a")
        assert await seen.until_synced() == ["Added a"]
        server.answers += [nothing] * 2
        put(server, "b")
        assert await seen.next() == "Added b"
    assert len(patient.naps) == 2


async def test_an_api_server_that_has_just_started_may_refuse_for_a_while(
    patient: Patient,
) -> None:
    """Within the patience that the caller has, a refusal is an outage like others."""
    async with FakeApiServer() as server:
        put(server, "a")
        server.fail_next(403, {"message": "RBAC: clusterrole not found"})
        async with reflection(server, patient, patience=30) as seen:
            await seen.until_synced()
    assert len(patient.naps) == 1


async def test_patience_with_refusals_has_an_end(patient: Patient) -> None:
    """A right that is missing for good is told once the patience is over."""
    async with FakeApiServer() as server:
        for _ in range(100):
            server.fail_next(403, {"message": "no"})
        async with reflection(server, patient, patience=30) as seen:
            with pytest.raises(ForbiddenError, match="list configmaps finance: 403"):
                await seen.next()
    assert sum(patient.naps) >= 30


@pytest.mark.parametrize(("code", "error"), [(403, ForbiddenError), (404, NotFoundError)])
async def test_what_waiting_cannot_mend_is_raised(
    patient: Patient, code: int, error: type[Exception]
) -> None:
    """A missing right or kind is for the caller to deal with."""
    async with FakeApiServer() as server:
        server.fail_next(code, {"message": "no"})
        async with reflection(server, patient) as seen:
            with pytest.raises(error, match=f"list configmaps finance: {code}"):
                await seen.next()
