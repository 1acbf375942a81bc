"""Issuers of replicas that do not lead: read, kept current, and never written."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pytest

from agentid.api.agentissuer import AgentIssuer
from agentid.services.issuers import authority_secret
from agentid.services.standby import StandbyIssuers
from agentid.services.world import Parsed
from agentid.testing.ca import ThrowawayCA
from tests.signer.world import Scene, scene
from tests.support.manifests import issuer

if TYPE_CHECKING:
    from agentid.services.world import IssuerState

Json = dict[str, Any]
SECRET = f"/api/v1/namespaces/agentid-system/secrets/{authority_secret('test')}"


def standby(there: Scene) -> StandbyIssuers:
    """What a replica of the scene has."""
    return StandbyIssuers(
        world=there.world,
        client=there.client,
        clock=there.clock,
        random=there.ca.random,
        namespace="agentid-system",
        leads=lambda: there.leads,
    )


def store(there: Scene, ca: ThrowawayCA) -> None:
    """Store other authorities, as the leader does."""
    files = ca.authority_set.files
    data = {name: base64.b64encode(content).decode() for name, content in files.items()}
    there.server.put(SECRET, {**there.server.objects[SECRET], "data": data})


def state(there: Scene) -> IssuerState:
    """What the issuer of the scene can do."""
    return there.world.issuer_states["test"]


async def test_it_signs_with_what_the_leader_stored() -> None:
    """And goes on with what it stores next."""
    async with scene() as there:
        there.leads = False
        there.world.issuer_states.clear()
        reading = standby(there)
        await reading.look()
        first = state(there).issuer
        assert first is not None
        assert first.bundle() == there.ca.bundle
        await reading.look()
        assert state(there).issuer is first, "what has not changed is not loaded again"
        other = ThrowawayCA(seed="rotated")
        store(there, other)
        await reading.look()
        now = state(there).issuer
        assert now is not None
        assert now.bundle() == other.bundle
        assert [method for method, *_ in there.server.requests if method != "GET"] == []


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        pytest.param(None, "were not made yet", id="not-made"),
        pytest.param({}, "it is missing", id="empty"),
        pytest.param({"authorities.json": "e30="}, "Secret agentid-system/", id="not-readable"),
    ],
)
async def test_what_cannot_be_read_is_told(data: Json | None, problem: str) -> None:
    """Whoever needs the issuer waits, and reads why."""
    async with scene() as there:
        there.leads = False
        if data is None:
            there.server.remove(SECRET)
        else:
            there.server.put(SECRET, {**there.server.objects[SECRET], "data": data})
        await standby(there).look()
        assert state(there).issuer is None
        assert problem in state(there).problem


async def test_a_leader_is_left_alone() -> None:
    """It knows more: what is staged, and what its last look came to."""
    async with scene() as there:
        known = state(there)
        store(there, ThrowawayCA(seed="rotated"))
        await standby(there).look()
        assert state(there) is known


async def test_an_outage_takes_nothing_away() -> None:
    """What was read last signs on."""
    async with scene() as there:
        there.leads = False
        known = state(there)
        there.server.refused["/api/v1/namespaces/agentid-system"] = 500
        await standby(there).look()
        assert state(there) is known


async def test_a_namesake_signs_nothing_of_the_one_before() -> None:
    """The end of the old one came and went between two looks, and both are of generation 1."""
    async with scene() as there:
        there.leads = False
        there.world.issuer_states.clear()
        reading = standby(there)
        await reading.look()
        assert state(there).issuer is not None
        body = issuer("test", trustDomain="example.com")
        body["metadata"] |= {"generation": 1, "uid": "another"}
        there.world.issuers["test"] = Parsed.of(AgentIssuer.parse, body)
        await reading.look()
        assert state(there).issuer is None


async def test_an_issuer_that_is_gone_is_forgotten() -> None:
    """Nothing is signed by what was deleted."""
    async with scene() as there:
        there.leads = False
        reading = standby(there)
        await reading.look()
        there.world.issuers.clear()
        await reading.look()
        assert there.world.issuer_states == {}
