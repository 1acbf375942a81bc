"""One measurement: a kind of object, created, watched and deleted."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from agentid.kube.objects import ObjectKey
from bench.counting import quiet
from bench.figures import Latency
from bench.load import Watcher, many, watching
from bench.namespaces import namespace_of_its_own
from bench.processes import Meter

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agentid.kube.client import Client
    from agentid.kube.objects import JsonObject
    from agentid.kube.resources import Resource
    from bench.figures import Counts
    from bench.processes import Usage
    from bench.templates import Template

__all__ = ["Plan", "Result", "measure"]

_SETTLE: Final = 3.0
"""Seconds for work that comes after the last object is Ready, or gone; CPU is read after them."""

_PAUSE: Final = 0.05
"""Seconds between two objects that are created one at a time."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured.

    Attributes:
        number: Objects created all at once.
        samples: Objects created one at a time before.
        condition: Whose truth makes an object Ready.
        quiet: Seconds without a write after which a phase is over. agentid's ledger looks for
            segments to merge every 15 s, and each phase has to pay for its own.
    """

    number: int
    samples: int
    condition: str = "Ready"
    quiet: float = 20.0


@dataclass(frozen=True, slots=True)
class Result:
    """What was measured of one template.

    Attributes:
        name: Of the template.
        resource: Its kind, as the API spells it in paths.
        number: Objects created.
        rate: Objects per second, from the first create to the last Ready.
        idle: Create to Ready, one at a time; None where no samples were asked for.
        busy: Create to Ready, while all are created at once.
        created: Writes while they were created, those of the user included.
        deleted: Writes while they were deleted, likewise.
        delete_rate: Objects per second, from the first delete to the last that is gone.
        costs: Of processes while they were created, by name.
        delete_costs: Of processes while they were deleted, by name.
    """

    name: str
    resource: str
    number: int
    rate: float
    idle: Latency | None
    busy: Latency
    created: Counts
    deleted: Counts
    delete_rate: float
    costs: Mapping[str, Usage]
    delete_costs: Mapping[str, Usage]


async def measure(
    client: Client,
    template: Template,
    namespace: str,
    plan: Plan,
    processes: Mapping[str, int],
) -> Result:
    """Measure one template in a namespace of its own."""
    resource = await template.resource(client)
    seen = Watcher(plan.condition)
    async with (
        namespace_of_its_own(client, namespace),
        watching(client, resource, namespace, seen),
    ):
        load = _Load(client, resource, seen)
        # The first one waits for what is made once, such as the authorities of an issuer.
        await load.one_at_a_time([template.body(namespace, 0, "first")])
        await asyncio.sleep(_SETTLE)
        idle = await load.one_at_a_time(
            [template.body(namespace, index, "idle") for index in range(plan.samples)]
        )
        bodies = [template.body(namespace, index, "busy") for index in range(plan.number)]
        before, meter = await quiet(client, plan.quiet), Meter(processes)
        seconds, busy = await load.all_at_once(bodies)
        await asyncio.sleep(_SETTLE)
        costs, middle = meter.read(), await quiet(client, plan.quiet)

        names = [ObjectKey.of(body).name for body in bodies]
        meter = Meter(processes)
        delete_seconds = await load.delete(names, namespace)
        await asyncio.sleep(_SETTLE)
        delete_costs, after = meter.read(), await quiet(client, plan.quiet)
    return Result(
        name=template.name,
        resource=resource.plural,
        number=plan.number,
        rate=plan.number / seconds,
        idle=Latency.of(idle) if idle else None,
        busy=Latency.of(busy),
        created=middle.since(before),
        deleted=after.since(middle),
        delete_rate=plan.number / delete_seconds,
        costs=costs,
        delete_costs=delete_costs,
    )


class _Load:
    """What a user does to objects of one kind, and how long it is until it shows."""

    def __init__(self, client: Client, resource: Resource, seen: Watcher) -> None:
        self._client = client
        self._resource = resource
        self._seen = seen

    async def one_at_a_time(self, bodies: Sequence[JsonObject]) -> list[float]:
        """Create each when the one before is Ready; seconds from create to Ready."""
        seen, names = self._seen, [ObjectKey.of(body).name for body in bodies]
        for name, body in zip(names, bodies, strict=True):
            await self._create(name, body)
            await seen.until(f"{name} Ready", partial(seen.ready.__contains__, name))
            await asyncio.sleep(_PAUSE)
        return seen.latencies(names)

    async def all_at_once(self, bodies: Sequence[JsonObject]) -> tuple[float, list[float]]:
        """Create them; seconds until the last is Ready, and from create to Ready of each."""
        seen, names = self._seen, [ObjectKey.of(body).name for body in bodies]
        wanted = len(seen.ready) + len(bodies)
        began = time.monotonic()
        await many(
            partial(self._create, name, body) for name, body in zip(names, bodies, strict=True)
        )
        await seen.until("all Ready", lambda: len(seen.ready) >= wanted)
        return time.monotonic() - began, seen.latencies(names)

    async def delete(self, names: Sequence[str], namespace: str) -> float:
        """Delete them; seconds until the last is gone."""
        seen = self._seen
        wanted = len(seen.gone) + len(names)
        began = time.monotonic()
        await many(partial(self._client.delete, self._resource, name, namespace) for name in names)
        await seen.until("all gone", lambda: len(seen.gone) >= wanted)
        return time.monotonic() - began

    async def _create(self, name: str, body: JsonObject) -> None:
        self._seen.created[name] = time.monotonic()
        await self._client.create(self._resource, body)
