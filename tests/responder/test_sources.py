"""Watches of what is published: everything is taken in, and nothing but GET is ever sent."""

from __future__ import annotations

import asyncio
import random
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from agentid.clock import SystemClock
from agentid.errors import ForbiddenError
from agentid.responder.responder import Responder
from agentid.responder.settings import Settings
from agentid.responder.sources import Watches
from agentid.testing.api_server import FakeApiServer
from agentid.testing.ca import ThrowawayCA
from agentid.testing.publications import MemoryLedger, Published, secret
from tests.support.responding import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

FOLDER = "/api/v1/namespaces/agentid-system"


def put(server: FakeApiServer, body: dict[str, object]) -> str:
    """Store an object; its path."""
    metadata = body["metadata"]
    assert isinstance(metadata, dict)
    path = f"{FOLDER}/{str(body['kind']).lower()}s/{metadata['name']}"
    server.put(path, body)
    return path


@asynccontextmanager
async def watching(server: FakeApiServer) -> AsyncIterator[Responder]:
    """A responder that follows a server."""
    clock = SystemClock()
    responder = Responder(Settings(), MemoryLedger(), clock=clock, epoch="e")
    async with server.client() as client:
        watches = Watches(
            client,
            "agentid-system",
            responder.publications,
            responder.published_current,
            clock=clock,
            random=random.Random(1).random,
        )
        tasks = [
            asyncio.create_task(watches.follow_config_maps()),
            asyncio.create_task(watches.follow_secret()),
        ]
        try:
            yield responder
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def test_what_is_there_and_what_changes_is_served() -> None:
    """CRLs, bundle and Secret; and only reads, of the one Secret by its name."""
    main = Published(ThrowawayCA())
    async with FakeApiServer() as server:
        crl = put(server, main.crl(0))
        put(server, main.bundle(3))
        put(server, secret(main))
        async with watching(server) as responder:
            publications, now = responder.publications, main.ca.now
            await until(publications.tls.ready.is_set)
            await until(lambda: "what the operator" not in "".join(responder.unready()))
            assert [one.number for one in publications.crls.current(now)] == [1]
            put(server, main.crl(0, number=2))
            await until(lambda: [one.number for one in publications.crls.current(now)] == [2])
            server.remove(crl)
            await until(lambda: not any(one.published for one in publications.crls.current(now)))
            put(server, main.crl(0, number=3))
            await until(lambda: [one.number for one in publications.crls.current(now)] == [3])
            assert publications.signers.get(main.authority_id) is not None
        requests = [(method, path) for method, path, _, _ in server.requests]
    assert {method for method, _ in requests} == {"GET"}
    secrets = [path for _, path in requests if "/secrets" in path]
    assert secrets
    assert all("fieldSelector=metadata.name%3Dagentid-responder" in path for path in secrets)


async def test_what_was_published_outlives_an_outage() -> None:
    """The API server goes and comes back: what is known is served, and what changed is found."""
    main = Published(ThrowawayCA())
    async with FakeApiServer() as server:
        put(server, main.crl(0))
        put(server, secret(main))
        async with watching(server) as responder:
            crls, now = responder.publications.crls, main.ca.now
            await until(lambda: [one.number for one in crls.current(now)] == [1])
            server.expire()
            server.cut(abort=True)
            put(server, main.crl(0, number=2))
            await until(lambda: [one.number for one in crls.current(now)] == [2])


async def test_a_missing_right_ends_it() -> None:
    """Nothing would ever come, so the process says so and ends."""
    clock = SystemClock()
    responder = Responder(Settings(), MemoryLedger(), clock=clock, epoch="e")
    async with FakeApiServer() as server, server.client() as client:
        server.fail_next(403, {"message": "no"})
        watches = Watches(
            client,
            "agentid-system",
            responder.publications,
            responder.published_current,
            clock=clock,
            random=random.Random(1).random,
        )
        with pytest.raises(ForbiddenError, match="list configmaps agentid-system: 403"):
            await watches.follow_config_maps()
