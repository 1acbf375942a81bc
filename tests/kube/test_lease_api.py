"""The Lease as the API server keeps it."""

from __future__ import annotations

import asyncio
import json
import random
from typing import TYPE_CHECKING

import pytest

from agentid.errors import AlreadyExistsError, ConflictError, UnavailableError
from agentid.kube.lease import ApiLease, Leader, LeaseRecord
from agentid.testing.api_server import FakeApiServer

if TYPE_CHECKING:
    from agentid.kube.client import Client
    from agentid.testing.clock import ManualClock

TIME = "2026-11-01T12:00:00.000000Z"
PATH = "/apis/coordination.k8s.io/v1/namespaces/agentid-system/leases/controller"


def lease(client: Client) -> ApiLease:
    """Return the Lease of the tests."""
    return ApiLease(client, namespace="agentid-system", name="controller")


async def test_a_record_survives_the_way_there_and_back() -> None:
    """Every field is stored where other tools look for it, and read back."""
    record = LeaseRecord("a", 15, TIME, TIME, 3)
    async with FakeApiServer() as server, server.client() as client:
        assert await lease(client).read() is None
        stored = await lease(client).create(record)
        assert stored == LeaseRecord("a", 15, TIME, TIME, 3, version=stored.version)
        assert await lease(client).read() == stored
        assert server.objects[PATH]["spec"] == {
            "holderIdentity": "a",
            "leaseDurationSeconds": 15,
            "acquireTime": TIME,
            "renewTime": TIME,
            "leaseTransitions": 3,
        }


async def test_only_the_version_that_was_seen_is_replaced() -> None:
    """Of two candidates that saw the same, one wins."""
    async with FakeApiServer() as server, server.client() as client:
        seen = await lease(client).create(LeaseRecord("", 15, TIME, TIME, 0))
        await lease(client).update(LeaseRecord("a", 15, TIME, TIME, 1, seen.version))
        with pytest.raises(ConflictError, match="update leases agentid-system/controller"):
            await lease(client).update(LeaseRecord("b", 15, TIME, TIME, 1, seen.version))
        with pytest.raises(AlreadyExistsError, match="create leases agentid-system/controller"):
            await lease(client).create(LeaseRecord("b", 15, TIME, TIME, 0))


async def test_a_lease_of_others_making_is_read_leniently() -> None:
    """A Lease without a spec, as `kubectl create` may leave it, is nobody's."""
    async with FakeApiServer() as server, server.client() as client:
        stored = server.put(PATH, {"metadata": {"name": "controller"}})
        version = stored["metadata"]["resourceVersion"]  # type: ignore[index]
        assert await lease(client).read() == LeaseRecord("", 0, "", "", 0, str(version))


async def test_a_term_over_http(clock: ManualClock) -> None:
    """Acquire, renew and give up write three records; times are those of the clock."""
    async with FakeApiServer() as server, server.client() as client:
        leader = Leader(lease(client), identity="a", clock=clock, random=random.Random(1).random)
        led = asyncio.Event()
        task = asyncio.ensure_future(leader.run(led.set, led.clear))
        await led.wait()
        await clock.settle()
        clock.advance(2)
        await server.arrival()
        leader.stop()
        await task
        bodies = [json.loads(body)["spec"] for method, _, _, body in server.requests if body]
        assert [body["holderIdentity"] for body in bodies] == ["a", "a", ""]
        assert [body["renewTime"] for body in bodies][:2] == [TIME, "2026-11-01T12:00:02.000000Z"]
        assert {body["acquireTime"] for body in bodies} == {TIME}
        assert [method for method, *_ in server.requests] == ["GET", "POST", "PUT", "PUT"]


async def test_trouble_with_the_server_is_passed_on() -> None:
    """Only a Lease that is not there is no error."""
    async with FakeApiServer() as server, server.client() as client:
        server.fail_next(500, {"message": "etcd"})
        with pytest.raises(UnavailableError, match="get leases agentid-system/controller: 500"):
            await lease(client).read()
