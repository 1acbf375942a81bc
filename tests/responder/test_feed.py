"""The deny feed: nothing is ever lost, whoever breaks off, comes back, or is slow."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from agentid.clock import SystemClock
from agentid.responder.feed import FeedLog, Feeds
from agentid.responder.settings import Limits, Periods
from agentid.testing.ca import NOON
from agentid.testing.ledger import make_issued, make_revoked
from agentid.testing.publications import MemoryLedger
from tests.support.responding import EPOCH, serving, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import aiohttp

    from agentid.ledger import Record
    from tests.support.responding import World

PATIENCE = 5.0
LINES = "application/jsonl"
QUICK = Periods(heartbeat=timedelta(seconds=1), drain=timedelta(seconds=0.2))


class Follower:
    """A client that reads JSON Lines."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self.answer = answer

    async def next(self) -> dict[str, Any]:
        """The next event but a heartbeat."""
        while True:
            async with asyncio.timeout(PATIENCE):
                line = await self.answer.content.readline()
            assert line, "the feed ended"
            event: dict[str, Any] = json.loads(line)
            if event["type"] != "heartbeat":
                return event

    async def until_synced(self) -> tuple[list[str], str]:
        """Types and serials up to `synced`, and its position."""
        words = []
        while (event := await self.next())["type"] != "synced":
            words.append(event["serial"] if event["type"] == "revoked" else event["type"])
        return words, event["id"]


@asynccontextmanager
async def following(
    world: World, position: str = "", issuer: str = "builtin", accept: str = LINES
) -> AsyncIterator[Follower]:
    """Follow the feed from a position."""
    port = await world.ports.https
    context = ssl.create_default_context(cadata=world.main.ca.bundle.pem.decode())
    context.check_hostname = False
    headers = {"Accept": accept}
    if position:
        headers["Last-Event-ID"] = position
    url = f"https://127.0.0.1:{port}/feed/{issuer}"
    async with world.session.get(url, headers=headers, ssl=context) as answer:
        yield Follower(answer)


async def test_a_new_client_gets_everything_then_what_comes() -> None:
    """`reset`, what is revoked, `synced`, and each revocation as it becomes durable."""
    async with serving(SystemClock()) as world:
        for number in (1, 2, 3):
            world.issue(number)
        world.revoke(2)
        async with following(world) as feed:
            assert feed.answer.headers["Content-Type"] == LINES
            assert feed.answer.headers["Cache-Control"] == "no-store"
            assert await feed.until_synced() == (["reset", "02"], f"{EPOCH}-1")
            record = world.revoke(3)
            event = await feed.next()
    assert event == {
        "id": f"{EPOCH}-2",
        "type": "revoked",
        "serial": "03",
        "issuer": "builtin",
        "authority": world.main.authority_id,
        "spiffeID": "spiffe://example.org/ns/demo/agent/reader",
        "namespace": "demo",
        "name": "reader",
        "reason": "keyCompromise",
        "revokedAt": record.revoked_at.isoformat().replace("+00:00", "Z"),
        "notAfter": record.not_after.isoformat().replace("+00:00", "Z"),
    }


async def test_who_comes_back_goes_on() -> None:
    """Behind the position that it names, by header or in the query, and gets nothing twice."""
    async with serving(SystemClock()) as world:
        for number in (1, 2, 3):
            world.issue(number)
        world.revoke(1)
        async with following(world) as feed:
            _, position = await feed.until_synced()
        world.revoke(2)
        world.revoke(3)
        async with following(world, position) as feed:
            assert await feed.until_synced() == (["02", "03"], f"{EPOCH}-3")
        async with following(world, issuer=f"builtin?after={EPOCH}-2") as feed:
            assert await feed.until_synced() == (["03"], f"{EPOCH}-3")


@pytest.mark.parametrize(
    "position",
    [
        "other-1",
        f"{EPOCH}-9",
        f"{EPOCH}-",
        f"{EPOCH}--1",
        f"{EPOCH}-1e3",
        "-",
        f"{EPOCH}-" + "9" * 99,
    ],
)
async def test_an_unknown_position_begins_anew(position: str) -> None:
    """Of another process, of the future, or no position at all."""
    async with serving(SystemClock()) as world:
        world.issue(1)
        world.revoke(1)
        async with following(world, position) as feed:
            assert await feed.until_synced() == (["reset", "01"], f"{EPOCH}-1")


async def test_a_reset_takes_the_position_away() -> None:
    """Whoever breaks off in the middle of everything must not go on from where it once was."""
    async with serving(SystemClock()) as world:
        world.issue(1)
        world.revoke(1)
        async with following(world) as feed:
            reset, revoked = await feed.next(), await feed.next()
        async with following(world, accept="text/event-stream") as feed:
            assert feed.answer.headers["Content-Type"] == "text/event-stream"
            text = (await feed.answer.content.readuntil(b"event: synced")).decode()
    assert (reset["id"], revoked["id"]) == ("", "")
    first, second, _ = text.split("\n\n")
    assert first == 'id: \nevent: reset\ndata: {"id":"","type":"reset"}'
    assert second.startswith('event: revoked\ndata: {"id":"","type":"revoked","serial":"01",')


async def test_server_sent_events_carry_their_ids() -> None:
    """By which a browser's EventSource comes back by itself."""
    async with serving(SystemClock()) as world:
        world.issue(1)
        async with following(world, accept="*/*") as feed:
            await feed.answer.content.readuntil(b"event: synced")
            world.revoke(1)
            text = (await feed.answer.content.readuntil(b'"serial":"01"')).decode()
    assert f"\n\nid: {EPOCH}-1\nevent: revoked\ndata: " in text


async def test_a_quiet_feed_shows_that_it_lives() -> None:
    """And how old what it knows is, so that a policy point can tell a quiet day from a lost one."""
    async with serving(SystemClock(), periods=QUICK) as world:
        world.ledger.lag = timedelta(seconds=61)
        async with following(world) as feed:
            await feed.until_synced()
            async with asyncio.timeout(PATIENCE):
                beat = json.loads(await feed.answer.content.readline())
    assert beat["type"] == "heartbeat"
    assert beat["id"] == f"{EPOCH}-0"
    assert beat["ledgerAgeSeconds"] == 61
    assert beat["time"].endswith("Z")


async def test_a_slow_client_is_let_go() -> None:
    """It takes nothing, so its socket fills; others are served on, and nothing piles up for it."""
    limits = Limits(write_seconds=0.5)
    async with serving(SystemClock(), limits=limits, periods=QUICK) as world:
        long = f"spiffe://example.org/{'a' * 2_000}"
        for number in range(1, 6_000):  # 13 MB, more than the kernel takes for one connection
            world.issue(number, spiffe_id=long)
            world.revoke(number)
        port = await world.ports.https
        context = ssl.create_default_context(cadata=world.main.ca.bundle.pem.decode())
        context.check_hostname = False
        silent = socket.socket()
        silent.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        silent.setblocking(False)  # noqa: FBT003 - the standard library's signature
        await asyncio.get_running_loop().sock_connect(silent, ("127.0.0.1", port))
        _, writer = await asyncio.open_connection(
            sock=silent, ssl=context, server_hostname="", limit=1024
        )
        writer.write(b"GET /feed/builtin HTTP/1.1\r\nHost: x\r\n\r\n")
        async with following(world) as other:
            words, _ = await other.until_synced()
        await until(lambda: not world.responder.secure.clients)
        assert len(words) == 6_000
        text = world.responder.metrics.render().decode()
        assert 'agentid_responder_feed_endings_total{reason="slow"} 1.0' in text
        writer.transport.abort()


async def test_clients_are_bounded() -> None:
    """One more is told to come again, and may once another has gone."""
    async with serving(SystemClock(), limits=Limits(feeds=1), periods=QUICK) as world:
        async with following(world) as feed:
            await feed.until_synced()
            async with following(world) as second:
                assert second.answer.status == 503
                assert second.answer.headers["Retry-After"] == "5"
        await until(lambda: not world.responder.secure.clients)
        async with following(world) as third:
            assert third.answer.status == 200


async def test_a_stop_ends_feeds_in_order() -> None:
    """The client sees the end of the stream, not a broken connection."""
    async with serving(SystemClock(), periods=QUICK) as world, following(world) as feed:
        await feed.until_synced()
        world.responder.stop_feeds()
        async with asyncio.timeout(PATIENCE):
            assert await feed.answer.content.readline() == b""


async def test_no_feed_before_the_ledger_was_read() -> None:
    """An empty set would be a lie. And an issuer that nobody knows has none."""
    async with serving(SystemClock()) as world:
        async with following(world, issuer="nobody") as feed:
            assert feed.answer.status == 404
        world.ledger.lag = None
        async with following(world) as feed:
            assert feed.answer.status == 503


# The log by itself


def test_a_log_forgets_the_oldest_and_says_so() -> None:
    """A client behind what is remembered is told, never given less."""
    log = FeedLog(EPOCH, capacity=3)
    for number in range(1, 6):
        log.append(number, "builtin", NOON, b"}")
    assert log.find(f"{EPOCH}-1") is None
    assert log.find(f"{EPOCH}-2") == 2
    assert log.after(1, 10) is None
    events = log.after(2, 2)
    assert events is not None
    assert [event.number for event in events] == [3, 4]
    assert log.after(5, 10) == ()


def test_what_has_expired_is_not_told_to_the_new() -> None:
    """No verifier accepts an expired certificate, so nobody has to know of it."""
    log = FeedLog(EPOCH)
    log.append(1, "builtin", NOON, b"}")
    log.append(2, "builtin", NOON + timedelta(hours=1), b"}")
    number, events = log.snapshot(NOON + timedelta(seconds=1))
    assert (number, [event.number for event in events]) == (2, [2])


def fed(*records: Record) -> Feeds:
    """Feeds of a ledger with these records."""
    ledger, feeds = MemoryLedger(), Feeds(EPOCH)
    feeds.follow(ledger)
    for record in records:
        ledger.record(record)
    return feeds


def told(feeds: Feeds, issuer: str = "builtin") -> list[tuple[str, str | None]]:
    """Serial and SPIFFE ID of each event."""
    log = feeds.get(issuer)
    assert log is not None
    events = [json.loads(b"{" + event.fields) for event in log.after(0, 100) or ()]
    return [(event["serial"], event["spiffeID"]) for event in events]


def test_a_revocation_of_nobody_known_is_told_to_everybody() -> None:
    """And again with the identity once the record of the certificate turns up."""
    feeds = fed(make_issued(1, issuer="one"), make_revoked(7), make_issued(2, issuer="two"))
    assert told(feeds, "one") == told(feeds, "two") == [("07", None)]
    feeds = fed(make_issued(1), make_revoked(7), make_issued(7))
    assert told(feeds) == [("07", None), ("07", "spiffe://example.org/ns/demo/agent/reader")]


def test_what_is_told_again_is_not_passed_on_again() -> None:
    """Compaction tells every record anew."""
    feeds = fed(make_issued(1), make_revoked(1), make_issued(1), make_revoked(1))
    assert len(told(feeds)) == 1


def test_what_stood_before_is_taken_in_once() -> None:
    """Feeds may begin to follow at any moment."""
    ledger, feeds = MemoryLedger(), Feeds(EPOCH)
    ledger.record(make_issued(1), make_revoked(1), make_revoked(9))
    feeds.follow(ledger)
    assert [serial for serial, _ in told(feeds)] == ["01", "09"]
    feeds.forget_expired(NOON + timedelta(days=2))
    log = feeds.get("builtin")
    assert log is not None
    assert log.snapshot(NOON)[1] == ()
