"""Kubernetes Events: few, each once, and nobody waits for them."""

from __future__ import annotations

import asyncio
import re
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from agentid.api.model import ObjectMeta
from agentid.services.issuers import IssuerService
from agentid.services.notices import Notice, Notices
from agentid.services.witness import Witness

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    from tests.services.conftest import Cluster

    Open = Callable[[], AbstractAsyncContextManager[Cluster]]

READER = ObjectMeta(name="reader", namespace="finance", uid="u-1", resource_version="7")
ISSUER = ObjectMeta(name="test", uid="i-1", resource_version="8")


@asynccontextmanager
async def writing(c: Cluster, instance: str = "one") -> AsyncIterator[Notices]:
    """Notices that are being written."""
    notices = Notices(c.client, clock=c.clock, instance=instance)
    task = asyncio.create_task(notices.run())
    yield notices
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def events(c: Cluster) -> list[Any]:
    """What is stored."""
    return [body for path, body in c.server.objects.items() if "/events/" in path]


async def written(c: Cluster, requests: int) -> None:
    """Let virtual time pass until so many requests were sent."""
    for _ in range(200):
        await c.clock.run_for(0.1)
        await asyncio.sleep(0.01)
        if len(c.writes()) >= requests:
            return
    message = f"{c.writes()} after twenty virtual seconds"
    raise AssertionError(message)


async def test_an_event_says_what_and_about_whom(cluster: Open) -> None:
    """In the namespace of the object, as `events.k8s.io/v1` has it."""
    async with cluster() as c, writing(c) as notices:
        notices.tell(Notice.STALLED, "AgentIdentity", READER, "Ask for less", "ExceedsClass")
        await written(c, 1)
        (event,) = events(c)
        assert event["regarding"] == {
            "apiVersion": "agentid.dev/v1alpha1", "kind": "AgentIdentity", "name": "reader",
            "namespace": "finance", "uid": "u-1", "resourceVersion": "7",
        }  # fmt: skip
        assert event["metadata"]["namespace"] == "finance"
        assert event["metadata"]["name"].startswith("reader.")
        about = {each: event[each] for each in ("type", "reason", "action", "note")}
        assert about == {
            "type": "Warning", "reason": "Stalled", "action": "Issue", "note": "Ask for less",
        }  # fmt: skip
        assert event["reportingController"] == "agentid.dev/controller"
        assert event["reportingInstance"] == "one"
        assert event["eventTime"].endswith("Z")


async def test_the_same_is_stored_once(cluster: Open) -> None:
    """Told again, in other words, by another replica or after a restart: the name is the same."""
    async with cluster() as c:
        for instance in ("one", "two"):
            async with writing(c, instance) as notices:
                before = len(c.writes())
                for words in ("Ask for less", "Ask for much less"):
                    notices.tell(Notice.STALLED, "AgentIdentity", READER, words, "ExceedsClass")
                await written(c, before + 2)
        assert [event["note"] for event in events(c)] == ["Ask for less"]


@pytest.mark.parametrize(
    ("notice", "metadata", "what"),
    [
        pytest.param(Notice.STALLED, READER, "SponsorRequired", id="reason"),
        pytest.param(
            Notice.STALLED, READER.model_copy(update={"uid": "u-2"}), "ExceedsClass", id="namesake"
        ),
        pytest.param(Notice.INCIDENT_EXECUTED, READER, "ExceedsClass", id="notice"),
    ],
)
async def test_another_thing_is_another_event(
    cluster: Open, notice: Notice, metadata: ObjectMeta, what: str
) -> None:
    """Another reason, another object of the name, another notice."""
    async with cluster() as c, writing(c) as notices:
        notices.tell(Notice.STALLED, "AgentIdentity", READER, "Ask for less", "ExceedsClass")
        notices.tell(notice, "AgentIdentity", metadata, "Ask for less", what)
        await written(c, 2)
        assert len(events(c)) == 2


async def test_kinds_of_the_cluster_are_told_in_default(cluster: Open) -> None:
    """The API server takes their Events nowhere else; the longest name has room."""
    async with cluster() as c, writing(c) as notices:
        issuer = ISSUER.model_copy(update={"name": f"{'x' * 45}.{'y' * 17}"})
        notices.tell(Notice.DISTRUST_FINISHED, "AgentIssuer", issuer, "It is gone", "aa")
        await written(c, 1)
        (event,) = events(c)
        assert event["metadata"]["namespace"] == "default"
        assert len(event["metadata"]["name"]) <= 63
        assert event["metadata"]["name"].startswith("x" * 45)
        assert ".." not in event["metadata"]["name"]
        assert "namespace" not in event["regarding"]
        assert event["type"] == "Normal"


async def test_a_long_message_is_cut(cluster: Open) -> None:
    """Between characters: the API server takes 1024 octets."""
    async with cluster() as c, writing(c) as notices:
        notices.tell(Notice.STALLED, "AgentIdentity", READER, "ü" * 1000, "InvalidSpec")
        await written(c, 1)
        note = events(c)[0]["note"]
        assert len(note.encode()) <= 1024
        assert note == "ü" * 510 + "…"


async def test_an_api_server_that_is_away_is_asked_again(cluster: Open) -> None:
    """Three times; then it is let go, and the next is told."""
    async with cluster() as c, writing(c) as notices:
        c.server.fail_next(503)
        notices.tell(Notice.STALLED, "AgentIdentity", READER, "First", "ExceedsClass")
        await written(c, 2)
        assert [event["note"] for event in events(c)] == ["First"]
        for _ in range(3):
            c.server.fail_next(503)
        notices.tell(Notice.STALLED, "AgentIdentity", READER, "Second", "InvalidSpec")
        notices.tell(Notice.STALLED, "AgentIdentity", READER, "Third", "SponsorRequired")
        await written(c, 6)
        assert [event["note"] for event in events(c)] == ["First", "Third"]


async def test_a_refusal_is_not_repeated(cluster: Open) -> None:
    """Such as in a namespace that is being deleted, or without the right."""
    async with cluster() as c, writing(c) as notices:
        c.server.fail_next(403)
        notices.tell(Notice.STALLED, "AgentIdentity", READER, "First", "ExceedsClass")
        notices.tell(Notice.STALLED, "AgentIdentity", READER, "Second", "InvalidSpec")
        await written(c, 2)
        assert [event["note"] for event in events(c)] == ["Second"]


async def test_a_flood_is_bounded(cluster: Open) -> None:
    """Who tells never waits, and does not fail."""
    async with cluster() as c:
        notices = Notices(c.client, clock=c.clock, instance="one")
        for number in range(10_000):
            notices.tell(Notice.STALLED, "AgentIdentity", READER, "Ask for less", str(number))
        assert notices._waiting.qsize() == 500
        assert c.writes() == []


async def test_an_authority_that_cannot_be_replaced_is_told_once(cluster: Open) -> None:
    """The key of its root is elsewhere, and its time has come; the gauge says so too."""
    async with cluster() as c, writing(c) as notices:
        c.put_issuer()
        service = IssuerService(
            world=c.world, client=c.client, ledger=c.ledger.state, clock=c.clock,
            random=c.ca.random, namespace="agentid-system", witness=Witness(notices=notices),
        )  # fmt: skip
        await service.reconcile("test")
        assert service.conditions() == {
            ("test", "Ready"): True, ("test", "AuthoritiesCurrent"): True,
            ("test", "JWTKeysCurrent"): False,  # nobody publishes its bundle here
        }  # fmt: skip
        path = "/api/v1/namespaces/agentid-system/secrets/agentid-ca-test"
        secret: Any = c.server.objects[path]
        key = next(name for name in secret["data"] if re.fullmatch(r"root-.*\.key", name))
        del secret["data"][key]
        c.server.put(path, secret)
        c.clock.advance(timedelta(days=70))
        before = len(c.writes())
        for _ in range(3):
            await service.reconcile("test")
            c.clock.advance(timedelta(hours=1))
        await written(c, before + 2)
        (event,) = events(c)
        assert (event["reason"], event["type"]) == ("AuthorityExpires", "Warning")
        assert "bring it back for a moment" in event["note"]
        assert service.conditions()["test", "AuthoritiesCurrent"] is False
