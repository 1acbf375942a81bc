"""One measurement: a kind of object, created, watched and deleted."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from agentid.kube.objects import ObjectKey
from agentid.kube.resources import AGENT_IDENTITIES, NAMESPACES, SECRETS
from bench.figures import Latency, Writes, parse_writes
from bench.load import many, watching
from bench.processes import usage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentid.kube.client import Client
    from bench.templates import Template

__all__ = ["Bare", "Cost", "Result", "bare", "measure"]

_SETTLE = 3.0
"""Seconds for writes that come after the last object is Ready, or gone."""

_FILES = {"tls.crt": 1700, "tls.key": 350, "ca.crt": 900, "agent.json": 550}
"""Bytes in the Secret of an identity, roughly, in base64."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Of a process, during one phase.

    Attributes:
        cpu: Seconds of CPU.
        peak: Bytes of memory resident at most, since its start.
    """

    cpu: float
    peak: int


@dataclass(frozen=True, slots=True)
class Result:
    """What was measured of one template.

    Attributes:
        name: Of the template.
        number: Objects created.
        rate: Objects per second, from the first create to the last Ready.
        idle: Create to Ready, one at a time.
        busy: Create to Ready, while all are created at once.
        created: Writes while they were created, those of the user included.
        deleted: Writes while they were deleted.
        delete_rate: Objects per second, from the first delete to the last that is gone.
        costs: Of processes while they were created, by name.
    """

    name: str
    number: int
    rate: float
    idle: Latency
    busy: Latency
    created: Writes
    deleted: Writes
    delete_rate: float
    costs: Mapping[str, Cost]


@dataclass(frozen=True, slots=True)
class Bare:
    """The same writes by a client that does nothing else.

    Attributes:
        number: Objects made.
        rate: Objects per second: a custom resource, a Secret and a status each.
    """

    number: int
    rate: float


async def measure(
    client: Client,
    template: Template,
    namespace: str,
    number: int,
    samples: int,
    processes: Mapping[str, int],
) -> Result:
    """Measure one template in a namespace of its own."""
    await _namespace(client, namespace)
    resource = await template.resource(client)
    async with watching(client, resource, namespace) as seen:

        async def create(index: int, prefix: str) -> str:
            body = template.body(namespace, index, prefix)
            name = ObjectKey.of(body).name
            seen.created[name] = time.monotonic()
            await client.create(resource, body)
            return name

        idle = []
        for index in range(samples):
            name = await create(index, "idle")
            await seen.until(name, lambda name=name: name in seen.ready)  # type: ignore[misc]
            idle.append(name)
            await asyncio.sleep(0.05)
        await asyncio.sleep(_SETTLE)

        before, spent = await _writes(client), {n: usage(pid) for n, pid in processes.items()}
        already = len(seen.ready)
        began = time.monotonic()
        await many(partial(create, index, "busy") for index in range(number))
        await seen.until("Ready", lambda: len(seen.ready) == already + number)
        seconds = time.monotonic() - began
        await asyncio.sleep(_SETTLE)
        middle = await _writes(client)
        costs = {
            each: Cost((now := usage(pid)).cpu - spent[each].cpu, now.peak)
            for each, pid in processes.items()
        }

        names = [name for name in seen.ready if name not in idle]
        began = time.monotonic()
        await many(partial(client.delete, resource, name, namespace) for name in names)
        await seen.until("the end", lambda: len(seen.gone) == number)
        delete_seconds = time.monotonic() - began
        await asyncio.sleep(_SETTLE)
        after = await _writes(client)
    return Result(
        name=template.name,
        number=number,
        rate=number / seconds,
        idle=Latency.of(seen.latencies(idle)),
        busy=Latency.of(seen.latencies(names)),
        created=_difference(before, middle),
        deleted=_difference(middle, after),
        delete_rate=number / delete_seconds,
        costs=costs,
    )


async def bare(client: Client, template: Template, namespace: str, number: int) -> Bare:
    """Write what one identity takes, without any controller, and remove it again."""
    await _namespace(client, namespace)

    async def one(index: int) -> None:
        made = await client.create(AGENT_IDENTITIES, template.body(namespace, index))
        await client.create(SECRETS, _secret(namespace, ObjectKey.of(made).name))
        await client.replace_status(AGENT_IDENTITIES, made | {"status": _STATUS})

    async def remove(index: int) -> None:
        name = f"bench-{index}"
        free = {"metadata": {"finalizers": None}}
        await client.patch_merge(AGENT_IDENTITIES, name, free, namespace)
        await client.delete(AGENT_IDENTITIES, name, namespace)

    seconds = await many(partial(one, index) for index in range(number))
    await many(partial(remove, index) for index in range(number))
    return Bare(number, number / seconds)


_STATUS = {
    "observedGeneration": 1,
    "spiffeID": "spiffe://agents.example/ns/bench/agent/bench",
    "conditions": [
        {
            "type": "Ready",
            "status": "True",
            "reason": "Issued",
            "message": "A message of usual length, with serial and the time of the next renewal",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
            "observedGeneration": 1,
        }
    ],
    "certificate": {
        "serial": "0" * 32,
        "fingerprint": "0" * 64,
        "notBefore": "2026-01-01T00:00:00Z",
        "notAfter": "2026-01-01T08:00:00Z",
        "renewalTime": "2026-01-01T05:00:00Z",
        "issuer": "default",
        "keyAlgorithm": "ECDSAP256",
    },
}


def _secret(namespace: str, name: str) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"namespace": namespace, "name": name},
        "type": "kubernetes.io/tls",
        "data": {file: "QUFB" * (size // 4) for file, size in _FILES.items()},
    }


async def _namespace(client: Client, name: str) -> None:
    metadata = {"name": name}
    await client.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})


async def _writes(client: Client) -> Writes:
    return parse_writes((await client.get_raw("/metrics")).decode())


def _difference(before: Writes, after: Writes) -> Writes:
    return {key: n - before.get(key, 0) for key, n in after.items() if n != before.get(key, 0)}
