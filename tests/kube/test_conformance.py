"""What the client, and the fake API server that stands in for the real one, keep to.

Each check runs against the fake in every test run, and against a real API server where there is
one; so the fake cannot promise what the real one does not hold.
"""

from __future__ import annotations

import asyncio
import inspect
import random
import sys
import uuid
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, TypeAlias

import pytest

from agentid.clock import SystemClock
from agentid.errors import (
    AlreadyExistsError,
    ConflictError,
    InvalidError,
    NotFoundError,
    PreconditionError,
)
from agentid.kube.client import Client
from agentid.kube.credentials import load_credentials
from agentid.kube.lease import ApiLease, Leader, LeaseTimes
from agentid.kube.objects import (
    EventType,
    JsonObject,
    ObjectKey,
    metadata_of,
    resource_version_of,
    uid_of,
)
from agentid.kube.reflector import ChangeType, reflect
from agentid.kube.resources import CONFIG_MAPS, NAMESPACES, SECRETS, Selector
from agentid.testing.api_server import FakeApiServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from e2e.providers import Cluster


@asynccontextmanager
async def temporary_namespace(client: Client) -> AsyncIterator[str]:
    """Make a namespace, and delete it afterwards."""
    name = f"kube-{uuid.uuid4().hex[:12]}"
    await client.create(NAMESPACES, {"metadata": {"name": name}})
    try:
        yield name
    finally:
        await client.delete(NAMESPACES, name)


def config_map(namespace: str, name: str, **data: str) -> JsonObject:
    """Return a ConfigMap that carries the tests' label."""
    labels = {"agentid.dev/test": "conformance"}
    metadata = {"namespace": namespace, "name": name, "labels": labels}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


async def check_an_object_is_created_once(client: Client, namespace: str) -> None:
    """The second create of a name is refused, whatever it holds."""
    created = await client.create(CONFIG_MAPS, config_map(namespace, "a", x="1"))
    assert uid_of(created)
    with pytest.raises(AlreadyExistsError, match=f"create configmaps {namespace}/a: 409"):
        await client.create(CONFIG_MAPS, config_map(namespace, "a"))
    assert (await client.get(CONFIG_MAPS, "a", namespace))["data"] == {"x": "1"}


async def check_a_replacement_is_a_swap(client: Client, namespace: str) -> None:
    """With a version only that one is replaced; without one, whatever is there."""
    first = await client.create(CONFIG_MAPS, config_map(namespace, "a", x="1"))
    second = await client.replace(CONFIG_MAPS, first | {"data": {"x": "2"}})
    assert resource_version_of(second) != resource_version_of(first)
    assert uid_of(second) == uid_of(first)
    with pytest.raises(ConflictError, match=f"update configmaps {namespace}/a: 409 Conflict"):
        await client.replace(CONFIG_MAPS, first | {"data": {"x": "3"}})
    third = await client.replace(CONFIG_MAPS, config_map(namespace, "a", x="4"))
    assert third["data"] == {"x": "4"}


async def check_a_merge_patch_can_be_conditional(client: Client, namespace: str) -> None:
    """A patch that names a version is a swap, too."""
    first = await client.create(CONFIG_MAPS, config_map(namespace, "a", x="1"))
    version = {"metadata": {"resourceVersion": resource_version_of(first)}}
    await client.patch_merge(CONFIG_MAPS, "a", {"data": {"x": "2"}, **version}, namespace)
    with pytest.raises(ConflictError, match=f"patch configmaps {namespace}/a: 409 Conflict"):
        await client.patch_merge(CONFIG_MAPS, "a", {"data": {"x": "3"}, **version}, namespace)


async def check_a_json_patch_applies_as_a_whole(client: Client, namespace: str) -> None:
    """What is tested has to hold, what is removed has to be there, or nothing is written."""
    path = "/metadata/labels/agentid.dev~1test"
    await client.create(CONFIG_MAPS, config_map(namespace, "a", x="1"))
    written: list[JsonObject] = [
        {"op": "test", "path": path, "value": "conformance"},
        {"op": "add", "path": "/metadata/finalizers", "value": ["example.com/a"]},
        {"op": "add", "path": "/metadata/finalizers/-", "value": "example.com/b"},
        {"op": "remove", "path": "/metadata/finalizers/0"},
        {"op": "replace", "path": "/data/x", "value": "2"},
    ]
    stored = await client.patch_json(CONFIG_MAPS, "a", written, namespace)
    assert stored["data"] == {"x": "2"}
    assert metadata_of(stored)["finalizers"] == ["example.com/b"]
    for refused in (
        {"op": "test", "path": path, "value": "other"},
        {"op": "remove", "path": "/metadata/labels/none"},
        {"op": "test", "path": "/metadata/annotations/none", "value": "other"},
    ):
        operations = [{"op": "replace", "path": "/data/x", "value": "3"}, refused]
        with pytest.raises(PreconditionError, match="nothing was written"):
            await client.patch_json(CONFIG_MAPS, "a", operations, namespace)
    assert (await client.get(CONFIG_MAPS, "a", namespace))["data"] == {"x": "2"}
    let_go = {"op": "remove", "path": "/metadata/finalizers"}
    await client.patch_json(CONFIG_MAPS, "a", [let_go], namespace)


async def check_nothing_is_made_by_changing(client: Client, namespace: str) -> None:
    """Neither replacing nor patching nor deleting makes what is not there."""
    message = f"configmaps {namespace}/none: 404 NotFound"
    for call in (
        client.get(CONFIG_MAPS, "none", namespace),
        client.replace(CONFIG_MAPS, config_map(namespace, "none")),
        client.patch_merge(CONFIG_MAPS, "none", {"data": {}}, namespace),
        client.delete(CONFIG_MAPS, "none", namespace),
    ):
        with pytest.raises(NotFoundError, match=message):
            await call


async def check_a_namesake_is_not_deleted(client: Client, namespace: str) -> None:
    """A uid protects the object that came after the one that was meant."""
    old = await client.create(CONFIG_MAPS, config_map(namespace, "a"))
    await client.delete(CONFIG_MAPS, "a", namespace)
    new = await client.create(CONFIG_MAPS, config_map(namespace, "a"))
    assert uid_of(new) != uid_of(old)
    with pytest.raises(ConflictError, match=f"delete configmaps {namespace}/a: 409 Conflict"):
        await client.delete(CONFIG_MAPS, "a", namespace, uid=uid_of(old))
    await client.delete(CONFIG_MAPS, "a", namespace, uid=uid_of(new))


async def check_a_watch_goes_on_from_a_list(client: Client, namespace: str) -> None:
    """From the list's moment on, every change is an event, in its order."""
    await client.create(CONFIG_MAPS, config_map(namespace, "before"))
    pages = [page async for page in client.pages(CONFIG_MAPS, namespace, selector=MINE)]
    assert [ObjectKey.of(item).name for item in pages[0].items] == ["before"]
    await client.create(CONFIG_MAPS, config_map(namespace, "a", x="1"))
    await client.replace(CONFIG_MAPS, config_map(namespace, "a", x="2"))
    await client.delete(CONFIG_MAPS, "a", namespace)
    watch = client.watch(
        CONFIG_MAPS, namespace, resource_version=pages[-1].resource_version, selector=MINE
    )
    async with aclosing(watch):
        events = [await anext(watch) for _ in range(3)]
    assert [event.type for event in events] == [
        EventType.ADDED,
        EventType.MODIFIED,
        EventType.DELETED,
    ]
    assert events[2].object["data"] == {"x": "2"}


async def check_reflection_sees_what_happens(client: Client, namespace: str) -> None:
    """What is there, the marker, and what follows."""
    await client.create(CONFIG_MAPS, config_map(namespace, "a"))
    changes = reflect(
        client,
        CONFIG_MAPS,
        namespace,
        clock=SystemClock(),
        random=random.Random(1).random,
        selector=MINE,
    )
    async with aclosing(changes):
        seen = [await anext(changes), await anext(changes)]
        await client.create(CONFIG_MAPS, config_map(namespace, "b"))
        await client.delete(CONFIG_MAPS, "a", namespace)
        seen += [await anext(changes), await anext(changes)]
    assert [(change.type, change.key and change.key.name) for change in seen] == [
        (ChangeType.ADDED, "a"),
        (ChangeType.SYNCED, None),
        (ChangeType.ADDED, "b"),
        (ChangeType.DELETED, "a"),
    ]


async def check_leadership_is_handed_over(client: Client, namespace: str) -> None:
    """One of two leads; when it stops, the other does within about a second."""
    clock = SystemClock()
    times = LeaseTimes(duration=6, renew_deadline=4.0, retry_period=0.5, poll_period=0.2)
    started: asyncio.Queue[str] = asyncio.Queue()
    leaders: dict[str, Leader] = {}
    async with asyncio.TaskGroup() as group:
        for name in ("a", "b"):
            leader = leaders[name] = Leader(
                ApiLease(client, namespace=namespace, name="test"),
                identity=name,
                clock=clock,
                random=random.Random(name).random,
                times=times,
            )
            group.create_task(
                leader.run(lambda name=name: started.put_nowait(name), lambda: None)  # type: ignore[misc]
            )
        first = await started.get()
        stopped_at = clock.monotonic()
        leaders.pop(first).stop()
        second = await asyncio.wait_for(started.get(), 10)
        assert second != first
        assert clock.monotonic() - stopped_at < 2
        leaders.pop(second).stop()


MINE = Selector(labels="agentid.dev/test=conformance")
CHECKS = [
    found
    for name, found in inspect.getmembers(sys.modules[__name__], inspect.iscoroutinefunction)
    if name.startswith("check_")
]
Check: TypeAlias = "Callable[[Client, str], Awaitable[None]]"


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_the_fake_keeps_to_it(check: Check) -> None:
    """The API server for tests behaves as the real one in what it does at all."""
    async with FakeApiServer() as server, server.client() as client:
        await check(client, "finance")


@pytest.mark.integration
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_the_real_one_keeps_to_it(check: Check, cluster: Cluster) -> None:
    """And the real one behaves as the client expects."""
    credentials = await load_credentials(clock=SystemClock(), kubeconfig=cluster.kubeconfig)
    async with Client(credentials) as client, temporary_namespace(client) as namespace:
        await check(client, namespace)
    # TLS of a request that was cancelled is closed by then; nothing tells when.
    await asyncio.sleep(0.2)


@pytest.mark.integration
async def test_a_patch_that_does_not_apply_is_told_from_an_invalid_one(cluster: Cluster) -> None:
    """The real server's two kinds of 422: a test that failed, a path not there; a bad object."""
    credentials = await load_credentials(clock=SystemClock(), kubeconfig=cluster.kubeconfig)
    async with Client(credentials) as client, temporary_namespace(client) as namespace:
        await client.create(SECRETS, config_map(namespace, "a") | {"kind": "Secret"})
        label = "/metadata/labels/agentid.dev~1test"
        for operation in (
            {"op": "test", "path": label, "value": "other"},
            {"op": "remove", "path": "/metadata/labels/none"},
        ):
            with pytest.raises(PreconditionError, match="nothing was written"):
                await client.patch_json(SECRETS, "a", [operation], namespace)
        invalid = {"op": "replace", "path": label, "value": "no blanks here"}
        with pytest.raises(InvalidError, match=r"422 Invalid: .*a valid label must be"):
            await client.patch_json(SECRETS, "a", [invalid], namespace)
        large = {
            "metadata": {"namespace": namespace, "name": "b"},
            "stringData": {"x": "y" * 2**21},
        }
        with pytest.raises(InvalidError, match="Too long"):
            await client.create(SECRETS, large)
