"""Whether a class is usable, and how far it is in moving to another key algorithm."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from agentid.api import AgentClass
from agentid.api.agentissuer import AgentIssuer
from agentid.errors import UnavailableError
from agentid.services.classes import ClassService
from agentid.services.world import Parsed
from tests.support.api import condition
from tests.support.manifests import agent_class

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from tests.services.conftest import Cluster

    Open = Callable[[], AbstractAsyncContextManager[Cluster]]

ISSUER = "/apis/agentid.dev/v1alpha1/agentissuers/test"
CLASS = "/apis/agentid.dev/v1alpha1/agentclasses/batch"


def service_of(c: Cluster) -> ClassService:
    """The service on a cluster."""
    return ClassService(world=c.world, client=c.client, clock=c.clock, ledger=c.ledger.state)


def status_of(c: Cluster, path: str) -> dict[str, Any]:
    """The status that somebody with kubectl sees."""
    status: Any = c.server.objects[path].get("status") or {}
    assert isinstance(status, dict)
    return status


def watch(c: Cluster) -> None:
    """Have the world see issuer and class as they are stored."""
    if ISSUER in c.server.objects:
        c.world.issuers["test"] = Parsed.of(AgentIssuer.parse, c.server.objects[ISSUER])
    if CLASS in c.server.objects:
        c.world.classes["batch"] = Parsed.of(AgentClass.parse, c.server.objects[CLASS])


async def test_a_class_is_available_once_its_issuer_exists(cluster: Open) -> None:
    """Before, it names the issuer that is missing, and is not stalled: it proceeds by itself."""
    async with cluster() as c:
        c.put_class()
        service = service_of(c)
        await service.reconcile("batch")
        found = condition(status_of(c, CLASS), "Reconciling")
        assert (found["status"], found["reason"]) == ("True", "IssuerNotFound")
        assert found["message"] == (
            "spec.issuerName: there is no AgentIssuer test; create it or name another one. "
            "The class proceeds by itself"
        )
        c.put_issuer()
        watch(c)
        await service.reconcile("batch")
        assert [
            (each["type"], each["status"], each["reason"], each["message"])
            for each in status_of(c, CLASS)["conditions"]
        ] == [("Ready", "True", "Available", "Identities may use it; AgentIssuer test signs")]
        watch(c)
        before = c.writes()
        await service.reconcile("batch")
        assert c.writes() == before, "nothing has changed, so nothing is written"


async def test_a_class_that_does_not_parse_is_told_why(cluster: Open) -> None:
    """Every violation, for its current generation; said once and not at every look."""
    async with cluster() as c:
        c.put_class(lifetime="48h")
        service = service_of(c)
        await service.reconcile("batch")
        status = status_of(c, CLASS)
        assert status["observedGeneration"] == 1
        found = condition(status, "Stalled")
        assert found["reason"] == "InvalidSpec"
        assert found["message"].startswith('spec.lifetime: "48h" is outside 1m to 24h')
        watch(c)
        c.clock.advance(60)
        before = c.writes()
        await service.reconcile("batch")
        assert c.writes() == before, "nothing has changed, so nothing is written"


async def test_a_class_that_is_gone_is_not_written(cluster: Open) -> None:
    """Neither when the world knows it, nor when only the API server does."""
    async with cluster() as c:
        await service_of(c).reconcile("batch")
        assert c.server.requests == []
        c.put_class()
        c.server.remove(CLASS)
        await service_of(c).reconcile("batch")
        assert CLASS not in c.server.objects


async def test_a_status_outlives_a_change_of_the_object(cluster: Open) -> None:
    """Nobody else writes it, so it is written to the newer object."""
    async with cluster() as c:
        c.put_class()
        c.server.put(CLASS, c.server.objects[CLASS] | agent_class("batch", lifetime="2h"))
        await service_of(c).reconcile("batch")
        assert condition(status_of(c, CLASS), "Ready")["reason"] == "IssuerNotFound"
        assert c.server.objects[CLASS]["spec"]["lifetime"] == "2h"  # type: ignore[index]


async def test_a_status_is_given_up_when_the_object_never_stands_still(cluster: Open) -> None:
    """Three tries, and then later again."""
    async with cluster() as c:
        stored = c.put_class()
        service = service_of(c)
        for _ in range(3):
            c.server.fail_next(409, {"reason": "Conflict"})
            c.server.answers.append(lambda _: web.json_response(stored))
        with pytest.raises(UnavailableError, match="AgentClass batch changes faster than its"):
            await service.reconcile("batch")
