"""Writes to identities: compare and swap, tried again where nobody else writes, and only there."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from agentid.api import AgentIdentity
from agentid.api.agentidentity import AgentIdentityStatus
from agentid.constants import FINALIZER
from agentid.errors import PreconditionError, UnavailableError
from agentid.kube.objects import ObjectKey
from agentid.services.objects import IdentityObjects

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from agentid.api.model import ObjectMeta
    from tests.services.conftest import Cluster

    Open = Callable[[], AbstractAsyncContextManager[Cluster]]

PATH = "/apis/agentid.dev/v1alpha1/namespaces/finance/agentidentities/reader"
READER = ObjectKey("finance", "reader")
STATUS = AgentIdentityStatus(observed_generation=1, active_certificates=2)
OTHERS = "example.com/held"


def metadata(body: dict[str, Any]) -> ObjectMeta:
    """What a pass knows of an object."""
    return AgentIdentity.metadata_of(body)


def with_finalizers(c: Cluster, *finalizers: str) -> dict[str, Any]:
    """The identity, held by these."""
    stored = c.put_identity()
    changed = {**stored, "metadata": {**stored["metadata"], "finalizers": list(finalizers)}}
    body: dict[str, Any] = c.server.put(PATH, changed)
    c.world.identities.put(body)
    return body


def known_version(c: Cluster) -> str:
    """The version that the world knows."""
    body = c.world.identities.get(READER)
    assert body is not None
    return metadata(body).resource_version


# Status


async def test_a_status_is_one_write_and_known_at_once(cluster: Open) -> None:
    """The world holds what was stored, so the watch that tells it later tells nothing new."""
    async with cluster() as c:
        stored = c.put_identity()
        await IdentityObjects(c.client, c.world).write_status(metadata(stored), STATUS)
        assert c.writes() == [f"PUT {PATH}/status"]
        assert len(c.server.requests) == 1
        after = c.server.objects[PATH]
        assert after["status"] == STATUS.to_api()
        assert after["spec"] == stored["spec"]
        assert not c.world.identities.put(after)
        assert AgentIdentity.status_of(c.world.identities.get(READER) or {}) == STATUS


async def test_a_status_outlives_a_change_of_the_object(cluster: Open) -> None:
    """Nobody else writes it, so it is right for the newer object too; that keeps its spec."""
    async with cluster() as c:
        stored = c.put_identity()
        c.put_identity(seen=False, purpose="Another")
        await IdentityObjects(c.client, c.world).write_status(metadata(stored), STATUS)
        after = c.server.objects[PATH]
        assert after["status"] == STATUS.to_api()
        assert after["spec"]["purpose"] == "Another"  # type: ignore[index]
        assert c.writes() == [f"PUT {PATH}/status"] * 2


async def test_a_status_is_given_up_when_the_object_never_stands_still(cluster: Open) -> None:
    """Three tries, then the pass is tried again as a whole."""
    async with cluster() as c:
        stored = c.put_identity()
        for _ in range(3):
            c.server.fail_next(409, {"reason": "Conflict"})
            c.server.answers.append(lambda _: web.json_response(stored))
        with pytest.raises(UnavailableError, match="finance/reader changes faster than its status"):
            await IdentityObjects(c.client, c.world).write_status(metadata(stored), STATUS)
        assert c.writes() == [f"PUT {PATH}/status"] * 3
        assert "status" not in c.server.objects[PATH]


async def test_a_status_is_not_written_to_what_is_gone(cluster: Open) -> None:
    """Nothing is to be told to nobody, and that is no failure."""
    async with cluster() as c:
        stored = c.put_identity()
        c.server.remove(PATH)
        await IdentityObjects(c.client, c.world).write_status(metadata(stored), STATUS)
        assert PATH not in c.server.objects


async def test_a_status_is_not_written_to_a_namesake(cluster: Open) -> None:
    """Promise 1: what was issued to one object is never told of another."""
    async with cluster() as c:
        stored = c.put_identity()
        c.server.remove(PATH)
        c.put_identity(seen=False, uid="u-2")
        await IdentityObjects(c.client, c.world).write_status(metadata(stored), STATUS)
        assert "status" not in c.server.objects[PATH]
        assert c.writes() == [f"PUT {PATH}/status"]


async def test_a_namesake_is_not_let_go(cluster: Open) -> None:
    """As the next try does, if the answer to the first one was lost: then the object is gone."""
    async with cluster() as c:
        before = metadata(with_finalizers(c, FINALIZER))
        c.server.remove(PATH)
        c.put_identity(seen=False, uid="u-2")
        namesake = c.server.objects[PATH]
        finalizers = {"finalizers": [FINALIZER]}
        c.server.put(PATH, {**namesake, "metadata": {**namesake["metadata"], **finalizers}})  # type: ignore[dict-item]
        with pytest.raises(PreconditionError):
            await IdentityObjects(c.client, c.world).release(before)
        assert c.server.objects[PATH]["metadata"]["finalizers"] == [FINALIZER]  # type: ignore[index]


async def test_an_api_server_that_is_away_is_not_asked_again(cluster: Open) -> None:
    """A write that may have been carried out is the next pass's to judge."""
    async with cluster() as c:
        stored = c.put_identity()
        c.server.fail_next(503)
        with pytest.raises(UnavailableError, match="update agentidentities/status"):
            await IdentityObjects(c.client, c.world).write_status(metadata(stored), STATUS)
        assert len(c.server.requests) == 1


# Finalizer


@pytest.mark.parametrize("held", [(), (OTHERS,)])
async def test_our_finalizer_joins_others(cluster: Open, held: tuple[str, ...]) -> None:
    """Whether the list is there or not; the metadata that come back are good for the next write."""
    async with cluster() as c:
        stored = with_finalizers(c, *held)
        objects = IdentityObjects(c.client, c.world)
        made = await objects.add_finalizer(metadata(stored))
        assert made.finalizers == (*held, FINALIZER)
        assert made.resource_version == known_version(c)
        assert made.resource_version != metadata(stored).resource_version
        await objects.write_status(made, STATUS)
        assert c.writes() == [f"PATCH {PATH}", f"PUT {PATH}/status"]


async def test_our_finalizer_is_not_put_on_what_has_changed(cluster: Open) -> None:
    """A deletion may have come in between: the next look sees the newer object, and decides."""
    async with cluster() as c:
        stored = c.put_identity()
        newer = c.put_identity(seen=False, purpose="Another")
        with pytest.raises(PreconditionError, match="nothing was written"):
            await IdentityObjects(c.client, c.world).add_finalizer(metadata(stored))
        assert "finalizers" not in c.server.objects[PATH]["metadata"]  # type: ignore[operator]
        assert known_version(c) == metadata(newer).resource_version


@pytest.mark.parametrize(
    "held",
    [
        pytest.param((FINALIZER,), id="alone"),
        pytest.param((OTHERS, FINALIZER), id="after-another"),
        pytest.param((FINALIZER, OTHERS), id="before-another"),
    ],
)
async def test_letting_go_takes_off_ours_alone(cluster: Open, held: tuple[str, ...]) -> None:
    """Others hold the object for as long as they want."""
    async with cluster() as c:
        stored = with_finalizers(c, *held)
        await IdentityObjects(c.client, c.world).release(metadata(stored))
        after = metadata(c.server.objects[PATH])
        assert after.finalizers == tuple(each for each in held if each != FINALIZER)


async def test_letting_go_does_not_take_off_another(cluster: Open) -> None:
    """If the list has changed, ours may stand elsewhere, so nothing is written."""
    async with cluster() as c:
        stored = with_finalizers(c, FINALIZER)
        newer = with_finalizers(c, OTHERS, FINALIZER)
        with pytest.raises(PreconditionError, match="nothing was written"):
            await IdentityObjects(c.client, c.world).release(metadata(stored))
        assert metadata(c.server.objects[PATH]).finalizers == (OTHERS, FINALIZER)
        assert known_version(c) == metadata(newer).resource_version


async def test_letting_go_of_what_is_gone_is_done(cluster: Open) -> None:
    """Somebody took it off by force."""
    async with cluster() as c:
        stored = with_finalizers(c, FINALIZER)
        c.server.remove(PATH)
        await IdentityObjects(c.client, c.world).release(metadata(stored))
        assert PATH not in c.server.objects


async def test_a_status_names_its_object(cluster: Open) -> None:
    """By UID and version, both; the API server refuses whatever is another."""
    async with cluster() as c:
        stored = c.put_identity()
        await IdentityObjects(c.client, c.world).write_status(metadata(stored), STATUS)
        ((_, _, _, payload),) = c.server.requests
        named = json.loads(payload)["metadata"]
        assert named["uid"] == stored["metadata"]["uid"]
        assert named["resourceVersion"] == stored["metadata"]["resourceVersion"]
