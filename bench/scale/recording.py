"""What a stage of a run has cost: writes, processor, memory, and how late the event loop was."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import aiohttp

from agentid.kube.resources import CONFIG_MAPS, Selector
from agentid.ledger.configmaps import SELECTOR
from bench.counting import counts, quiet
from bench.figures import Counts
from bench.processes import Meter
from e2e.install import NAMESPACE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from agentid.kube.client import Client
    from bench.bare import Bare
    from bench.figures import Latency
    from bench.processes import Usage

__all__ = ["Recorder", "Run", "Stage"]

_LOOK: Final = 0.5
"""Seconds between two looks at the operator's event loop."""

_LAG: Final = "agentid_event_loop_lag_seconds "


@dataclass(slots=True)
class Stage:
    """One part of the life of all identities.

    Attributes:
        name: What happened.
        seconds: How long it took.
        number: To how many identities.
        latency: Of one, where that means something.
        writes: As the API server counted them, until what came afterwards was over.
        costs: Of processes, by name.
        lag: Seconds that the operator's event loop was late at most, as it says.
        segments: Objects of the ledger afterwards.
        ledger_bytes: In all of them, as JSON.
    """

    name: str
    seconds: float = 0.0
    number: int = 0
    latency: Latency | None = None
    writes: Counts = field(default_factory=Counts)
    costs: Mapping[str, Usage] = field(default_factory=dict)
    lag: float = 0.0
    segments: int = 0
    ledger_bytes: int = 0

    def took(self, seconds: float, number: int) -> None:
        """Note how long it took for how many."""
        self.seconds, self.number = seconds, number


@dataclass(slots=True)
class Run:
    """What was measured with so many identities.

    Attributes:
        number: Identities.
        bare: The limit.
        stages: In their order.
    """

    number: int
    bare: Bare
    stages: list[Stage] = field(default_factory=list)


class Recorder:
    """Records stages of one run."""

    def __init__(
        self, client: Client, processes: Mapping[str, int], probes: str, quiet: float
    ) -> None:
        """Take what is measured.

        Args:
            client: The API server.
            processes: Ids by name.
            probes: Where the operator serves its metrics, such as `http://127.0.0.1:8080`.
            quiet: Seconds without a write after which a stage is over.
        """
        self._client = client
        self._processes = processes
        self._probes = probes
        self._quiet = quiet

    @asynccontextmanager
    async def stage(self, name: str, *, settles: bool = True) -> AsyncIterator[Stage]:
        """Record what happens while the context is open, and what comes of it afterwards.

        Args:
            name: Of the stage.
            settles: Whether the writes end by themselves; those of renewals do not.
        """
        stage, before, meter = Stage(name), await counts(self._client), Meter(self._processes)
        sampling = asyncio.create_task(self._sample(stage))
        try:
            yield stage
        finally:
            sampling.cancel()
            await asyncio.gather(sampling, return_exceptions=True)
        stage.costs = meter.read()
        after = await (quiet(self._client, self._quiet) if settles else counts(self._client))
        stage.writes = after.since(before)
        await self._weigh(stage)

    async def _sample(self, stage: Stage) -> None:
        async with aiohttp.ClientSession(self._probes) as http:
            while True:
                try:
                    async with http.get("/metrics") as answer:
                        text = await answer.text()
                except aiohttp.ClientError:
                    text = ""  # it is being started, or ended
                for line in text.splitlines():
                    if line.startswith(_LAG):
                        stage.lag = max(stage.lag, float(line.removeprefix(_LAG)))
                await asyncio.sleep(_LOOK)

    async def _weigh(self, stage: Stage) -> None:
        selector = Selector(labels=SELECTOR)
        stage.segments = stage.ledger_bytes = 0
        async for body in self._client.list(CONFIG_MAPS, NAMESPACE, selector=selector):
            stage.segments += 1
            data = body.get("data")
            if isinstance(data, dict):
                stage.ledger_bytes += sum(len(str(each)) for each in data.values())
