"""The ledger's and the issuers' stores, in a cluster."""

from __future__ import annotations

import random
from contextlib import aclosing
from typing import TYPE_CHECKING

import pytest

from agentid.errors import AlreadyExistsError, NotFoundError, UnavailableError
from agentid.kube.stores import ConfigMaps, SecretFiles
from agentid.testing.api_server import FakeApiServer

if TYPE_CHECKING:
    from agentid.issuers import AuthorityStore
    from agentid.kube.client import Client
    from agentid.ledger.configmaps import ConfigMapClient
    from agentid.testing.clock import ManualClock

PATH = "/api/v1/namespaces/agentid-system/secrets/builtin-authority"


def files(client: Client) -> AuthorityStore:
    """Return the store of an issuer's authorities; that it is one is checked by its type."""
    return SecretFiles(
        client, namespace="agentid-system", name="builtin-authority", labels={"a": "b"}
    )


def config_maps(client: Client, clock: ManualClock) -> ConfigMapClient:
    """Return what the ledger asks for; that it is it is checked by its type."""
    return ConfigMaps(client, clock=clock, random=random.Random(1).random)


async def test_files_are_stored_once() -> None:
    """Bytes come back as they went; who comes second is told, and reads the first's."""
    mine, theirs = {"root.crt": b"\x00\xff", "root.key": b"k"}, {"root.crt": b"other"}
    async with FakeApiServer() as server, server.client() as client:
        assert await files(client).read() is None
        assert await files(client).create(mine)
        assert not await files(client).create(theirs)
        read = await files(client).read()
        assert read is not None
        assert read.files == mine
        stored = server.objects[PATH]
        assert stored["type"] == "Opaque"
        assert stored["metadata"]["labels"] == {"a": "b"}  # type: ignore[index]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, {}),
        ({"data": None}, {}),
        ({"data": {"a": "YQ==", "b": "%%", "c": "YQ"}}, {"a": b"a"}),
    ],
)
async def test_what_cannot_be_read_is_missing(
    body: dict[str, object], expected: dict[str, bytes]
) -> None:
    """An emptied or damaged Secret is there; its files are not."""
    async with FakeApiServer() as server, server.client() as client:
        server.put(PATH, {"metadata": {"namespace": "agentid-system"}, **body})
        read = await files(client).read()
        assert read is not None
        assert read.files == expected


async def test_files_are_exchanged_only_if_nobody_else_did() -> None:
    """Who read an older version, or finds nothing, has written nothing."""
    first, second = {"a": b"1"}, {"b": b"2"}
    async with FakeApiServer() as server, server.client() as client:
        store = files(client)
        assert not await store.replace(first, "1"), "there is nothing to replace"
        assert await store.create(first)
        read = await store.read()
        assert read is not None
        assert await store.replace(second, read.version)
        assert not await store.replace(first, read.version)
        again = await store.read()
        assert again is not None
        assert again.files == second


async def test_an_outage_is_not_an_empty_store() -> None:
    """Authorities are never made anew because the API server was away."""
    async with FakeApiServer() as server, server.client() as client:
        server.fail_next(503, {"message": "starting"})
        with pytest.raises(UnavailableError, match="get secrets agentid-system/builtin-authority"):
            await files(client).read()


async def test_config_maps_for_the_ledger(clock: ManualClock) -> None:
    """Made, read, listed, followed and deleted, in the namespace that is named."""
    manifest = {"metadata": {"name": "a", "labels": {"l": "1"}}, "data": {"x": "1"}}
    async with FakeApiServer() as server, server.client() as client:
        store = config_maps(client, clock)
        stored = await store.create_config_map("agentid-system", manifest)
        assert stored["data"] == {"x": "1"}
        with pytest.raises(AlreadyExistsError, match="configmaps agentid-system/a"):
            await store.create_config_map("agentid-system", manifest)
        assert await store.get_config_map("agentid-system", "a") == stored
        assert [item async for item in store.list_config_maps("agentid-system", "l=1")] == [stored]
        changes = store.follow_config_maps("agentid-system", "l=1", tell_current=True)
        seen = [await anext(changes), await anext(changes)]
        server.bookmark()
        seen.append(await anext(changes))
        await store.delete_config_map("agentid-system", "a")
        seen.append(await anext(changes))
        assert [str(change.type) for change in seen] == ["Added", "Synced", "Current", "Deleted"]
        async with aclosing(changes):  # type: ignore[type-var]
            pass
        with pytest.raises(NotFoundError, match="configmaps agentid-system/a"):
            await store.delete_config_map("agentid-system", "a")
        selected = [path for method, path, _, _ in server.requests if "labelSelector=l%3D1" in path]
        assert len(selected) == 3
