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
from bench.report import as_json, as_text
from bench.run import Bare, Result, bare, measure
from bench.templates import Template
from e2e.install import operator, samples

if TYPE_CHECKING:
    from e2e.providers import Cluster

pytestmark = pytest.mark.integration

NUMBER = 40


def test_an_identity_costs_three_writes_and_a_share(installed: Cluster) -> None:
    """The user's own, the Secret, the status; the ledger's segments are shared. And no Event."""
    template = Template.read(Path(bench.__file__).parent / "templates" / "agentidentity.yaml")
    samples(installed, "issuer", "classes")

    async def run(pid: int) -> tuple[Result, Bare]:
        credentials = await load_credentials(clock=SystemClock(), kubeconfig=installed.kubeconfig)
        async with Client(credentials, connections=64) as client:
            measured = await measure(client, template, "bench-a", NUMBER, 3, {"operator": pid})
            return measured, await bare(client, template, "bench-b", NUMBER)

    installed.kubectl(
        "delete", "lease", "agentid-controller", "-n", "agentid-system", "--ignore-not-found"
    )
    with operator(installed, "bench") as running:
        result, limit = asyncio.run(run(running.process.pid))
    installed.kubectl("delete", "namespace", "bench-a", "bench-b", "--wait=false")

    ledger = result.created.pop(("configmaps", "POST"))
    assert 1 <= ledger <= NUMBER // 2
    per_object = {
        ("agentidentities", "POST"), ("secrets", "POST"), ("agentidentities/status", "PUT"),
    }  # fmt: skip
    assert {key: result.created.get(key) for key in per_object} == dict.fromkeys(per_object, NUMBER)
    assert ("events", "POST") not in result.created
    assert result.deleted["agentidentities", "DELETE"] == NUMBER
    assert result.deleted["agentidentities", "PATCH"] == NUMBER
    text = as_text([result], limit)
    assert "1.000  POST secrets" in text
    assert json.loads(as_json([result], limit))["results"][0]["number"] == NUMBER
