"""What is on record for a request and is not what the request was answered with."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from agentid.api import DeliveryMode
from agentid.identity import PodRef, RevocationReason
from agentid.signer.request import PodCertificateRequest
from agentid.testing.ledger import in_virtual_time, make_issued
from tests.signer.world import Scene, scene
from tests.support.asked import request_body

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from agentid.ledger import Issued
    from agentid.signer.settling import Settling

Json = dict[str, Any]


def issued(number: int, request: str = "r-1", pod: str = "p-1") -> Issued:
    """A certificate that was made for a request."""
    return make_issued(
        number,
        namespace="finance",
        door=DeliveryMode.POD_CERTIFICATE,
        pod=PodRef("reader-1", pod, "node-a", request),
    )


def request(kind: str = "", fingerprint: str = "") -> PodCertificateRequest:
    """The request `r-1`, answered like this."""
    status: Json = {"conditions": [{"type": kind}]} if kind else {}
    parsed = PodCertificateRequest.parse({**request_body(), "status": status})
    if parsed.answer is None:
        return parsed
    return replace(parsed, answer=replace(parsed.answer, fingerprint=fingerprint))


@asynccontextmanager
async def settling() -> AsyncIterator[tuple[Scene, Settling]]:
    """A cluster, and settling that runs."""
    async with scene() as there:
        made = there.settling()
        running = asyncio.create_task(made.run())
        yield there, made
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def record(there: Scene, *records: Issued) -> None:
    """Put certificates on the ledger."""
    await in_virtual_time(there.clock, there.ledger.append(*records))


@pytest.mark.parametrize(
    ("ended", "left"),
    [
        pytest.param(request("Issued", issued(2).fingerprint), ["02"], id="issued-with-one"),
        pytest.param(request("Issued", "0" * 64), [], id="issued-with-another"),
        pytest.param(request("Issued"), [], id="issued-with-what-is-not-ours"),
        pytest.param(request("Denied"), [], id="denied"),
        pytest.param(request("Failed"), [], id="failed"),
        pytest.param(request(), [], id="deleted-while-it-waited"),
    ],
)
async def test_what_is_not_the_answer_is_revoked(
    ended: PodCertificateRequest, left: list[str]
) -> None:
    """As superseded, and nothing that was made for another request."""
    async with settling() as (there, settles):
        await record(there, issued(1), issued(2), issued(3, request="r-2"), issued(4, pod="p-2"))
        settles.ended(ended)
        await there.clock.run_for(3)
        assert there.live() == [*left, "03", "04"]
        revoked = [each.revoked for each in there.records() if each.revoked is not None]
        assert {each.reason for each in revoked} == {RevocationReason.SUPERSEDED}
        assert {each.actor for each in revoked} == {"agentid-controller"}


async def test_what_comes_late_is_revoked_too() -> None:
    """The record of a replica that died reaches the others after its request was answered."""
    async with settling() as (there, settles):
        settles.ended(request("Issued", issued(1).fingerprint))
        await record(there, issued(1))
        await there.clock.run_for(3)
        await record(there, issued(2))
        await there.clock.run_for(3)
        assert there.live() == ["01"]


async def test_only_the_leader_revokes_and_does_so_once_it_leads() -> None:
    """What others have seen meanwhile is not forgotten."""
    async with settling() as (there, settles):
        there.leads = False
        await record(there, issued(1))
        settles.ended(request("Denied"))
        await there.clock.run_for(60)
        assert there.live() == ["01"]
        there.leads = True
        await there.clock.run_for(3)
        assert there.live() == []


async def test_a_ledger_that_is_away_is_waited_for() -> None:
    """It is tried again until it is done."""
    async with settling() as (there, settles):
        await record(there, issued(1))
        there.store.away = True
        settles.ended(request("Denied"))
        await there.clock.run_for(60)
        assert there.live() == ["01"]
        there.store.away = False
        await there.clock.run_for(60)
        assert there.live() == []


async def test_what_comes_while_others_are_revoked_is_not_forgotten() -> None:
    """A second replica records another certificate for a request that is being settled."""
    async with settling() as (there, settles):
        await record(there, issued(1))
        whole, late = settles._revocations.revoke, [issued(2)]

        async def revoke(*arguments: Any) -> None:  # noqa: ANN401 - as the method
            if late:
                await there.ledger.append(late.pop())
            await whole(*arguments)

        settles._revocations.revoke = revoke  # type: ignore[method-assign,assignment]
        settles.ended(request("Denied"))
        await there.clock.run_for(5)
        assert late == []
        assert there.live() == []


async def test_an_end_is_forgotten_after_a_while() -> None:
    """The cluster deletes requests after fifteen minutes; nobody answers one that is gone."""
    async with settling() as (there, settles):
        settles.ended(request("Denied"))
        await there.clock.run_for(timedelta(minutes=21))
        await record(there, issued(1))
        await there.clock.run_for(3)
        assert there.live() == ["01"], "nothing is known of its end any more"
