"""The watch of AgentIdentities: all that there are, every change, and what went unseen."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from agentid.clock import SystemClock
from agentid.controller.watching import IdentityWatch
from agentid.kube.objects import metadata_of
from agentid.testing.api_server import FakeApiServer
from tests.support.manifests import identity
from tests.support.webhook import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

PATH = "/apis/agentid.dev/v1alpha1/namespaces/finance/agentidentities"


class Told:
    """What was told, as name and whether it has gone."""

    def __init__(self) -> None:
        self.all: list[tuple[str, bool]] = []

    def __call__(self, body: Mapping[str, object], *, gone: bool) -> None:
        """Note it."""
        self.all.append((str(metadata_of(body)["name"]), gone))


def put(server: FakeApiServer, name: str) -> None:
    """Write an identity of this name."""
    body = identity(name, "assistant")
    body["metadata"] |= {"namespace": "finance", "name": name}
    server.put(f"{PATH}/{name}", body)


@asynccontextmanager
async def watching(server: FakeApiServer, told: Told) -> AsyncIterator[IdentityWatch]:
    """A watch that runs while the context is open."""
    async with server.client() as client:
        watch = IdentityWatch(client, SystemClock(), told)
        running = asyncio.create_task(watch.run())
        try:
            yield watch
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


async def test_all_that_there_are_and_then_every_change() -> None:
    """It is synced once all have been told, and not before."""
    told = Told()
    async with FakeApiServer() as server:
        for name in ("a", "b"):
            put(server, name)
        async with watching(server, told) as watch:
            assert not watch.synced
            await until(lambda: watch.synced)
            assert sorted(told.all) == [("a", False), ("b", False)]
            put(server, "c")
            await until(lambda: told.all[2:] == [("c", False)])
            server.remove(f"{PATH}/a")
            await until(lambda: told.all[3:] == [("a", True)])


async def test_what_went_while_the_api_server_forgot_is_told() -> None:
    """A list that has one less is the end of that one: what it held is to be revoked."""
    told = Told()
    async with FakeApiServer() as server:
        for name in ("a", "b"):
            put(server, name)
        async with watching(server, told) as watch:
            await until(lambda: watch.synced)
            told.all.clear()
            del server.objects[f"{PATH}/a"]
            server.expire()
            server.cut(abort=True)
            await until(lambda: told.all == [("a", True)])


@pytest.mark.parametrize("code", [403, 404])
async def test_it_waits_for_rights_and_definitions(
    code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An installation comes in any order."""
    monkeypatch.setattr("agentid.controller.watching._FOLLOW_AGAIN", 0.01)
    told = Told()
    async with FakeApiServer() as server:
        put(server, "a")
        server.refused["/apis/agentid.dev"] = code
        async with watching(server, told) as watch:
            await until(lambda: len(server.requests) > 3)
            assert not watch.synced
            server.refused.clear()
            await until(lambda: watch.synced)
        assert told.all == [("a", False)]
