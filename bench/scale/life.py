"""The life that all identities of a run have together, one stage after the other."""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import aiohttp

from agentid.kube.resources import AGENT_CLASSES, AGENT_IDENTITIES, AGENT_REVOCATIONS
from bench.bare import bare
from bench.figures import Latency
from bench.load import many, watching
from bench.namespaces import namespace_of_its_own
from bench.processes import control_plane
from bench.scale.agents import Agents
from bench.scale.recording import Recorder
from bench.templates import Template
from e2e.errors import E2EError
from e2e.install import start_operator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from agentid.kube.client import Client
    from agentid.kube.objects import JsonObject
    from bench.bare import Bare
    from bench.scale.recording import Stage
    from e2e.install import Operator
    from e2e.providers import Cluster

__all__ = ["Life", "Settings"]

_TEMPLATE: Final = Path(__file__).parents[1] / "templates" / "agentidentity.yaml"
_CLASS: Final = "assistant"
_HOME: Final = "bench-scale"
_PATIENCE: Final = 900.0
_ENDING: Final = 60.0
"""Seconds that an operator has for its end."""

_SHORT: Final = "10m"
"""The lifetime whose renewals are measured."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How a run is made.

    Attributes:
        number: Identities.
        renewing: Seconds for which renewals are watched.
        quiet: Seconds without a write after which a stage is over.
        port: Of the operator's probes.
    """

    number: int
    renewing: float
    quiet: float
    port: int


class Life:
    """One run, on a cluster of its own in which agentid is installed."""

    def __init__(self, cluster: Cluster, client: Client, settings: Settings) -> None:
        """Touch nothing yet."""
        self._cluster = cluster
        self._client = client
        self._settings = settings
        self._template = Template.read(_TEMPLATE)
        self._names = [f"agent-{index}" for index in range(settings.number)]

    async def limit(self) -> Bare:
        """What the bare API server takes of the same writes."""
        processes = control_plane(self._cluster.directory)
        return await bare(
            self._client, self._template, "bench-bare", self._settings.number, processes
        )

    async def stages(self) -> AsyncIterator[Stage]:
        """Live it, and yield each stage as it is over; operators are stopped, whatever comes."""
        with ExitStack() as started:
            operator, agents = await self._start("first", started), Agents()
            async with (
                namespace_of_its_own(self._client, _HOME),
                watching(self._client, AGENT_IDENTITIES, _HOME, agents),
            ):
                yield await self._created(agents, self._recorder(operator))
                operator.stop(_ENDING)
                operator, stage = await self._restarted(started)
                yield stage
                recorder = self._recorder(operator)
                yield await self._class_changed(agents, recorder)
                yield await self._renewed(agents, recorder)
                yield await self._revoked(recorder)
                yield await self._deleted(agents, recorder)

    def _recorder(self, operator: Operator) -> Recorder:
        processes = {"operator": operator.process.pid, **control_plane(self._cluster.directory)}
        return Recorder(self._client, processes, self._probes, self._settings.quiet)

    @property
    def _probes(self) -> str:
        return f"http://127.0.0.1:{self._settings.port}"

    async def _start(self, name: str, started: ExitStack) -> Operator:
        """Start an operator, and wait until it leads and has looked at everything.

        It is stopped with `started`, also one that never gets ready.
        """
        operator = start_operator(self._cluster, f"scale-{name}", self._settings.port)
        started.callback(operator.stop, _ENDING)
        deadline = time.monotonic() + _PATIENCE
        async with aiohttp.ClientSession(self._probes) as http:
            while time.monotonic() < deadline and operator.process.poll() is None:
                if await _idle(http):
                    return operator
                await asyncio.sleep(0.1)
        msg = f"the operator does not get ready; see {operator.log}"
        raise E2EError(msg)

    async def _created(self, agents: Agents, recorder: Recorder) -> Stage:
        """All are created as fast as the API server takes them."""

        async def create(name: str, index: int) -> None:
            body = self._template.body(_HOME, index, "agent")
            agents.created[name] = time.monotonic()
            await self._client.create(AGENT_IDENTITIES, body)

        async with recorder.stage("create") as stage:
            began = time.monotonic()
            await many(partial(create, name, index) for index, name in enumerate(self._names))
            await agents.until("all Ready", lambda: len(agents.ready) >= len(self._names))
            stage.took(time.monotonic() - began, len(self._names))
        stage.latency = Latency.of(agents.latencies(self._names))
        return stage

    async def _restarted(self, started: ExitStack) -> tuple[Operator, Stage]:
        """A new operator starts, in the place of one that has gone."""
        recorder = Recorder(
            self._client, control_plane(self._cluster.directory), self._probes, self._settings.quiet
        )
        async with recorder.stage("restart") as stage:
            began = time.monotonic()
            operator = await self._start("second", started)
            stage.took(time.monotonic() - began, len(self._names))
        return operator, stage

    async def _class_changed(self, agents: Agents, recorder: Recorder) -> Stage:
        """Their class gives less: every certificate is replaced."""
        before = dict(agents.serials)
        async with recorder.stage("class change", settles=False) as stage:
            began = datetime.now(UTC)
            patch: JsonObject = {"spec": {"lifetime": _SHORT}}
            await self._client.patch_merge(AGENT_CLASSES, _CLASS, patch)
            await agents.until(
                "all replaced",
                lambda: all(agents.serials.get(n, before[n]) != before[n] for n in self._names),
            )
            seconds = [(agents.changed_at[n] - began).total_seconds() for n in self._names]
            stage.took(max(seconds), len(self._names))
        stage.latency = Latency.of(seconds)
        return stage

    async def _renewed(self, agents: Agents, recorder: Recorder) -> Stage:
        """Certificates of ten minutes are renewed, steadily."""
        agents.lateness.clear()
        async with recorder.stage("renewal", settles=False) as stage:
            await asyncio.sleep(self._settings.renewing)
            stage.took(self._settings.renewing, len(agents.lateness))
        if agents.lateness:
            stage.latency = Latency.of(agents.lateness)
        return stage

    async def _revoked(self, recorder: Recorder) -> Stage:
        """An incident takes every certificate back."""
        body: JsonObject = {
            "apiVersion": AGENT_REVOCATIONS.api_version,
            "kind": AGENT_REVOCATIONS.kind,
            "metadata": {"name": _HOME},
            "spec": {
                "reason": "keyCompromise",
                "dryRun": False,
                "select": {"namespaces": [_HOME]},
            },
        }
        async with recorder.stage("incident", settles=False) as stage:
            began = time.monotonic()
            await self._client.create(AGENT_REVOCATIONS, body)
            status: dict[str, object] = {}
            while status.get("progress") != 100 or not status.get("revoked"):  # noqa: PLR2004
                if time.monotonic() - began > _PATIENCE:
                    msg = f"the incident is not over after {_PATIENCE:.0f} s: {status}"
                    raise E2EError(msg)
                await asyncio.sleep(0.2)
                found = await self._client.get(AGENT_REVOCATIONS, _HOME)
                told = found.get("status")
                status = told if isinstance(told, dict) else {}
            stage.took(time.monotonic() - began, int(str(status["revoked"])))
        return stage

    async def _deleted(self, agents: Agents, recorder: Recorder) -> Stage:
        """All are deleted."""
        async with recorder.stage("delete") as stage:
            began = time.monotonic()
            await many(
                partial(self._client.delete, AGENT_IDENTITIES, name, _HOME) for name in self._names
            )
            await agents.until("all gone", lambda: len(agents.gone) >= len(self._names))
            stage.took(time.monotonic() - began, len(self._names))
        return stage


async def _idle(http: aiohttp.ClientSession) -> bool:
    """Whether the operator is ready, leads, and has nothing left to look at."""
    try:
        async with http.get("/readyz") as answer:
            if answer.status != 200:  # noqa: PLR2004 - OK
                return False
        async with http.get("/metrics") as answer:
            lines = (await answer.text()).splitlines()
    except aiohttp.ClientError:
        return False
    values = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    waiting = sum(float(n) for name, n in values.items() if name.startswith("agentid_queue_depth{"))
    return float(values["agentid_leader"]) == 1 and waiting == 0
