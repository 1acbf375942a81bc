"""The whole measurement, of a few identities on a real API server: what it counts, not how fast."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import bench
from agentid.clock import SystemClock
from agentid.kube.client import Client
from agentid.kube.credentials import load_credentials
from bench.bare import Bare, bare
from bench.report import Round, as_json, as_text
from bench.run import Plan, Result, measure
from bench.templates import Template
from e2e.install import install, operator, samples
from e2e.providers import DevCluster

if TYPE_CHECKING:
    from collections.abc import Iterator

    from e2e.providers import Cluster

pytestmark = pytest.mark.integration

PLAN = Plan(number=40, samples=3, quiet=0.0)


@pytest.fixture
def installed(tmp_path: Path) -> Iterator[Cluster]:
    """A cluster in which nobody else writes, or deletes what others have left."""
    chosen = DevCluster(tmp_path / "alone")
    try:
        cluster = chosen.up()
        install(cluster)
        yield cluster
    finally:
        chosen.down()


def test_an_identity_costs_three_writes_and_a_share(installed: Cluster) -> None:
    """The user's own, the Secret, the status; the ledger's segments are shared. And no Event."""
    template = Template.read(Path(bench.__file__).parent / "templates" / "agentidentity.yaml")
    samples(installed, "issuer", "classes")

    async def client() -> Client:
        credentials = await load_credentials(clock=SystemClock(), kubeconfig=installed.kubeconfig)
        return Client(credentials, connections=64)

    async def limit() -> Bare:
        async with await client() as opened:
            return await bare(opened, template, "bench-bare", PLAN.number, {})

    async def run(pid: int) -> Result:
        async with await client() as opened:
            return await measure(opened, template, "bench", PLAN, {"operator": pid})

    bare_result = asyncio.run(limit())
    installed.kubectl(
        "delete", "lease", "agentid-controller", "-n", "agentid-system", "--ignore-not-found"
    )
    with operator(installed, "bench") as running:
        result = asyncio.run(run(running.process.pid))

    n, done = PLAN.number, result.created.done
    per_object = {
        ("agentidentities", "POST"), ("secrets", "POST"), ("agentidentities/status", "PUT"),
    }  # fmt: skip
    assert {key: done.get(key) for key in per_object} == dict.fromkeys(per_object, n)
    assert 1 <= done["configmaps", "POST"] <= n // 2
    assert result.created.of("events") == 0
    # Segments of the phases before may be merged meanwhile.
    assert done.keys() - per_object <= {("configmaps", "POST"), ("configmaps", "DELETE")}
    assert result.deleted.done["agentidentities", "DELETE"] == n
    assert result.deleted.done["agentidentities", "PATCH"] == n
    rounds = [Round(bare_result, [result])]
    assert "1.000  POST secrets" in as_text(rounds)
    assert json.loads(as_json(rounds))["rounds"][0]["results"][0]["number"] == n
    left = installed.kubectl("get", "namespaces", "-o", "name").stdout
    assert "bench" not in left
