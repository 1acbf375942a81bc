"""Reading the ledger of a cluster: what is exported is the ledger of one moment."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest

from agentid.cli.ledger.source import spool_from
from agentid.errors import NotFoundError, UnavailableError
from agentid.ledger import StoredSegment, verify_segments
from agentid.ledger.export import read_export
from agentid.testing.api_server import FakeApiServer
from agentid.testing.clock import ManualClock
from agentid.testing.ledger import make_issued, make_revoked, open_ledger
from agentid.testing.segments import MemorySegments

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentid.kube.client import Client
    from agentid.kube.objects import JsonObject
    from agentid.kube.resources import Resource

FOLDER = "/api/v1/namespaces/agentid-system/configmaps"


async def made(clock: ManualClock, records: int) -> tuple[StoredSegment, ...]:
    """Return the segments of a ledger with so many commits, merged when there were eight."""
    store = MemorySegments(clock.now)
    async with open_ledger(store, clock) as ledger:
        for n in range(1, records + 1):
            await ledger.append(make_issued(n), make_revoked(n))
        await ledger.compact()
    return tuple(store.objects[name] for name in sorted(store.objects))


def put(server: FakeApiServer, segments: tuple[StoredSegment, ...]) -> None:
    """Make these the segments of the cluster, as the operator and its compaction would."""
    for path in list(server.objects):
        server.remove(path)
    for stored in segments:
        metadata = {
            "namespace": "agentid-system",
            "name": stored.name,
            "labels": {"agentid.dev/ledger": "segment"},
            "creationTimestamp": "2026-11-01T12:00:00Z",
        }
        server.put(
            f"{FOLDER}/{stored.name}",
            {"metadata": metadata, "data": {"segment.jsonl": stored.data.decode()}},
        )


class Disturbed:
    """A client before whose reads of an object something happens."""

    def __init__(self, client: Client, happen: Callable[[int], None]) -> None:
        self.list_metadata = client.list_metadata
        self._client = client
        self._happen = happen
        self._reads = 0

    async def get(self, resource: Resource, name: str, namespace: str | None = None) -> JsonObject:
        """Let it happen, then read."""
        self._reads += 1
        self._happen(self._reads)
        return await self._client.get(resource, name, namespace)


async def test_what_is_exported_is_what_is_stored() -> None:
    """Byte for byte, by name, with the API server's time."""
    clock = ManualClock()
    segments = await made(clock, 3)
    out = io.BytesIO()
    async with FakeApiServer() as server, server.client() as client:
        put(server, segments[::-1])
        seal = await spool_from(client, "agentid-system", out, clock)
    out.seek(0)
    assert list(read_export(out)) == list(segments)
    assert seal.segments == 3


async def test_compaction_in_between_begins_anew() -> None:
    """What is exported then is the ledger after it, whole; nothing of the first try is left."""
    clock = ManualClock()
    before, after = await made(clock, 7), await made(clock, 8)
    assert len(before) == 7
    assert len(after) == 1
    out = io.BytesIO()
    async with FakeApiServer() as server, server.client() as client:
        put(server, before)
        disturbed = Disturbed(client, lambda read: put(server, after) if read == 4 else None)
        seal = await spool_from(disturbed, "agentid-system", out, clock)  # type: ignore[arg-type]
    out.seek(0)
    found = list(read_export(out))
    assert found == list(after)
    assert seal.segments == 1
    assert verify_segments(found).alarms == ()


async def test_a_ledger_that_never_holds_still_is_an_outage() -> None:
    """After five tries, and with advice."""
    clock = ManualClock()
    out = io.BytesIO()
    async with FakeApiServer() as server, server.client() as client:
        put(server, await made(clock, 3))

        def vanish(_: int) -> None:
            message = "another segment stands for it"
            raise NotFoundError(message, status=404)

        disturbed = Disturbed(client, vanish)
        with pytest.raises(UnavailableError, match="compacted 5 times while it was read; try ag"):
            await spool_from(disturbed, "agentid-system", out, clock)  # type: ignore[arg-type]
