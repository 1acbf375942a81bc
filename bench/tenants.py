"""`python -m bench.tenants`: what one tenant notices of another that misbehaves.

A quiet tenant creates an identity every so often, waits until it is Ready, and deletes it. First it
is alone. Then a noisy tenant holds thousands of identities that are broken: half of them name a
class that does not exist, half ask for more than theirs allows. At last it also creates and deletes
such ones, so many a second. Beside each identity a ConfigMap is created and deleted in the quiet
namespace, which no operator looks at: it tells what the API server itself makes the tenant wait.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections import deque
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import uvloop

from agentid.clock import SystemClock
from agentid.errors import AgentIdError, NotFoundError
from agentid.kube.client import Client
from agentid.kube.credentials import load_credentials
from agentid.kube.resources import AGENT_IDENTITIES, CONFIG_MAPS
from bench.__main__ import positive
from bench.figures import Latency
from bench.load import Watcher, many, watching
from bench.namespaces import namespace_of_its_own
from bench.processes import Meter, Usage, control_plane
from bench.report import machine
from bench.templates import Template
from e2e.errors import E2EError
from e2e.install import install, operator, samples
from e2e.progress import say
from e2e.providers import DevCluster

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from agentid.kube.objects import JsonObject
    from e2e.install import Operator
    from e2e.providers import Cluster

_TEMPLATE: Final = Path(__file__).parent / "templates" / "agentidentity.yaml"
_QUIET, _NOISY = "bench-quiet", "bench-noisy"
_SETTLE: Final = 20.0
"""Seconds between what is prepared and what is measured: ledger and watches come to rest."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How much is measured.

    Attributes:
        broken: Identities that the noisy tenant holds.
        churn: Of these it creates, and deletes, so many a second.
        seconds: For which each phase is measured.
        every: Seconds between two identities of the quiet tenant.
    """

    broken: int
    churn: float
    seconds: float
    every: float


@dataclass(frozen=True, slots=True)
class Phase:
    """What the quiet tenant met.

    Attributes:
        name: What the noisy one did.
        ready: From the create of an identity until it was seen Ready.
        create: How long the create itself took.
        bare: How long the create of a ConfigMap took.
        samples: How many identities.
        seconds: How long it took; longer than asked for where the tenant was kept waiting.
        churned: How many the noisy tenant created a second.
        costs: Of processes, by name.
    """

    name: str
    ready: Latency
    create: Latency
    bare: Latency
    samples: int
    seconds: float
    churned: float
    costs: dict[str, Usage]


class Tenants:
    """Both of them, on a cluster where an operator runs."""

    def __init__(
        self, client: Client, noisy: Client, settings: Settings, processes: dict[str, int]
    ) -> None:
        """Touch nothing yet.

        Args:
            client: Of the quiet tenant.
            noisy: Of the other one, with connections of its own.
            settings: How much is measured.
            processes: Ids by name.
        """
        self._client = client
        self._noisy = noisy
        self._settings = settings
        self._processes = processes
        self._template = Template.read(_TEMPLATE)
        self._number = 0
        self._churned = 0

    async def phases(self) -> AsyncIterator[Phase]:
        """Measure, and yield each phase as it is over."""
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(namespace_of_its_own(self._client, _QUIET))
            await stack.enter_async_context(namespace_of_its_own(self._noisy, _NOISY))
            await self._measure("warm-up", 10)
            yield await self._measure("alone", self._settings.seconds)
            say(f"  {self._settings.broken} broken identities")
            await many(
                partial(self._noisy.create, AGENT_IDENTITIES, self._broken(index))
                for index in range(self._settings.broken)
            )
            await asyncio.sleep(_SETTLE)
            yield await self._measure("beside broken ones", self._settings.seconds)
            async with self._churning():
                await asyncio.sleep(_SETTLE)
                yield await self._measure("and churn", self._settings.seconds)
            await asyncio.sleep(_SETTLE)
            yield await self._measure("after it", self._settings.seconds)

    async def _measure(self, name: str, seconds: float) -> Phase:
        say(f"  {name}: {seconds:.0f} s")
        seen, creates, bare = Watcher(), list[float](), list[float]()
        churned, meter, began = self._churned, Meter(self._processes), time.monotonic()
        async with watching(self._client, AGENT_IDENTITIES, _QUIET, seen):
            due = began
            while due < began + seconds:
                await asyncio.sleep(max(due - time.monotonic(), 0))
                due += self._settings.every
                bare.append(await self._config_map())
                creates.append(await self._identity(seen))
        took = time.monotonic() - began
        return Phase(
            name=name,
            ready=Latency.of(seen.latencies(seen.created)),
            create=Latency.of(creates),
            bare=Latency.of(bare),
            samples=len(creates),
            seconds=took,
            churned=(self._churned - churned) / took,
            costs=meter.read(),
        )

    async def _identity(self, seen: Watcher) -> float:
        """Create one, wait until it is Ready and delete it; how long the create took."""
        self._number += 1
        body = self._template.body(_QUIET, self._number, "agent")
        name = f"agent-{self._number}"
        began = seen.created[name] = time.monotonic()
        await self._client.create(AGENT_IDENTITIES, body)
        took = time.monotonic() - began
        await seen.until(f"{name} Ready", lambda: name in seen.ready)
        await self._client.delete(AGENT_IDENTITIES, name, _QUIET)
        return took

    async def _config_map(self) -> float:
        name = f"bare-{self._number}"
        body: JsonObject = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": _QUIET},
            "data": {"text": "x" * 600},
        }
        began = time.monotonic()
        await self._client.create(CONFIG_MAPS, body)
        took = time.monotonic() - began
        await self._client.delete(CONFIG_MAPS, name, _QUIET)
        return took

    def _broken(self, index: int) -> JsonObject:
        body = self._template.body(_NOISY, index, "broken")
        spec = body["spec"]
        if isinstance(spec, dict):
            if index % 2:
                spec["className"] = "no-such-class"
            else:
                spec["permissions"] = {"systems": ["*"], "operations": ["grant"]}
        return body

    @asynccontextmanager
    async def _churning(self) -> AsyncIterator[None]:
        """Create and delete so many a second while the context is open."""
        task = asyncio.create_task(self._churn())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _churn(self) -> None:
        index, alive, due = self._settings.broken, deque[int](), time.monotonic()
        async with asyncio.TaskGroup() as group:
            while True:
                await asyncio.sleep(max(due - time.monotonic(), 0))
                due = max(due, time.monotonic() - 1) + 1 / self._settings.churn
                index += 1
                group.create_task(self._one_more(index))
                alive.append(index)
                if len(alive) > self._settings.churn:  # each is there for a second
                    group.create_task(self._one_less(alive.popleft()))

    async def _one_more(self, index: int) -> None:
        await self._noisy.create(AGENT_IDENTITIES, self._broken(index))
        self._churned += 1

    async def _one_less(self, index: int) -> None:
        try:
            await self._noisy.delete(AGENT_IDENTITIES, f"broken-{index}", _NOISY)
        except NotFoundError:
            return  # its create has not come through yet


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.tenants", description=__doc__)
    parser.add_argument("--broken", type=positive, default=5000, help="that are held")
    parser.add_argument("--churn", type=positive, default=50, help="created and deleted a second")
    parser.add_argument("--seconds", type=positive, default=180, help="of each phase")
    parser.add_argument(
        "--every", type=float, default=0.5, help="seconds between two of the quiet tenant"
    )
    parser.add_argument("--output", type=Path, help="where to write the figures as JSON")
    return parser.parse_args(given)


def main() -> int:
    """Measure, and print what each phase was like."""
    given = arguments()
    settings = Settings(given.broken, given.churn, given.seconds, given.every)
    with tempfile.TemporaryDirectory(prefix="agentid-bench-") as directory:
        chosen = DevCluster(Path(directory))
        try:
            cluster = chosen.up(fsync=True)
            install(cluster)
            samples(cluster, "issuer", "classes")
            with operator(cluster, "tenants") as running:
                phases = uvloop.run(_run(cluster, running, settings))
        except (E2EError, AgentIdError) as error:
            print(f"\n{error}", file=sys.stderr)
            return 1
        finally:
            chosen.down()
    if given.output is not None:
        whole = {"machine": machine(), "phases": [asdict(each) for each in phases]}
        given.output.write_text(json.dumps(whole, indent=2) + "\n", encoding="utf-8")
    return 0


async def _run(cluster: Cluster, running: Operator, settings: Settings) -> list[Phase]:
    credentials = await load_credentials(clock=SystemClock(), kubeconfig=cluster.kubeconfig)
    processes = {"operator": running.process.pid, **control_plane(cluster.directory)}
    phases: list[Phase] = []
    async with (
        Client(credentials, connections=8, field_manager="bench") as client,
        Client(credentials, connections=32, field_manager="noise") as noisy,
    ):
        print(machine(), flush=True)
        async for phase in Tenants(client, noisy, settings, processes).phases():
            phases.append(phase)
            print("\n".join(as_text(phase, phases[0])), flush=True)
    return phases


def as_text(phase: Phase, alone: Phase) -> list[str]:
    """Lines about a phase, beside what it was like alone."""
    took = f"{phase.samples} identities in {phase.seconds:.0f} s"
    lines = [f"{phase.name}: {took}; {phase.churned:.0f} churned /s"]
    for what, met, before in (
        ("create to Ready", phase.ready, alone.ready),
        ("of this, create", phase.create, alone.create),
        ("bare ConfigMap", phase.bare, alone.bare),
    ):
        lines.append(
            f"  {what:<16} p50 {1000 * met.p50:6.1f} ms ({met.p50 / before.p50:.2f})  "
            f"p99 {1000 * met.p99:6.1f} ms ({met.p99 / before.p99:.2f})  "
            f"worst {1000 * met.worst:.0f} ms"
        )
    spent = ", ".join(f"{name} {cost.cpu:.1f} s" for name, cost in phase.costs.items())
    return [*lines, f"  CPU: {spent}"]


if __name__ == "__main__":
    sys.exit(main())
