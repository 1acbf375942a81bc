"""What a request costs the one who sends it: our client beside the official one.

`python -m bench.clients KUBECONFIG` measures against a running cluster, each client in a process of
its own, and prints the table of `docs/adr/0004-client-facade.md`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import time
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
import uvloop

from agentid.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

NAMESPACE = "bench-clients"
IN_FLIGHT = 16
PAGE_SIZE = 500
MERGE_PATCH = "application/merge-patch+json"

IMPORTS = {
    "agentid.kube.client": "import agentid.kube.client",
    "kubernetes.aio.client": "import kubernetes.aio.client",
    "kubernetes.aio.client.CoreV1Api": "from kubernetes.aio.client import CoreV1Api",
    "kopf alone": "import kopf",
}


@dataclass(frozen=True, slots=True)
class Port:
    """The three operations, as one of the clients does them."""

    create: Callable[[str], Awaitable[object]]
    patch: Callable[[str], Awaitable[object]]
    list: Callable[[], Awaitable[int]]


def secret(name: str) -> dict[str, object]:
    """Return a Secret of about 2 KB."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "data": {"value": "QUFB" * 500},
    }


@asynccontextmanager
async def ours(kubeconfig: Path) -> AsyncIterator[Port]:
    """The client of agentid."""
    from agentid.kube.client import Client  # noqa: PLC0415 - one client for each process
    from agentid.kube.credentials import load_credentials  # noqa: PLC0415
    from agentid.kube.resources import SECRETS  # noqa: PLC0415

    credentials = await load_credentials(clock=SystemClock(), kubeconfig=kubeconfig)
    async with Client(credentials, connections=IN_FLIGHT) as client:

        async def count() -> int:
            return len([item async for item in client.list(SECRETS, NAMESPACE)])

        yield Port(
            create=lambda name: client.create(SECRETS, secret(name)),
            patch=lambda name: client.patch_merge(
                SECRETS, name, {"metadata": {"labels": {"a": "b"}}}, NAMESPACE
            ),
            list=count,
        )


@asynccontextmanager
async def official(kubeconfig: Path, *, raw: bool) -> AsyncIterator[Port]:
    """The official client, handing out its models or the bytes as they came."""
    from kubernetes.aio import client, config  # noqa: PLC0415

    configuration = client.Configuration(connection_pool_maxsize=IN_FLIGHT)
    await config.load_kube_config(  # type: ignore[no-untyped-call]
        config_file=str(kubeconfig), client_configuration=configuration, persist_config=False
    )
    async with client.ApiClient(configuration) as api:
        core = client.CoreV1Api(api)

        async def create(name: str) -> object:
            if not raw:
                return await core.create_namespaced_secret(
                    NAMESPACE,
                    secret(name),  # type: ignore[arg-type] # a mapping serves as well
                )
            answer = await core.create_namespaced_secret_without_preload_content(
                NAMESPACE,
                secret(name),  # type: ignore[arg-type]
            )
            return orjson.loads(await answer.read())

        async def patch(name: str) -> object:
            body = {"metadata": {"labels": {"a": "b"}}}
            if not raw:
                return await core.patch_namespaced_secret(
                    name, NAMESPACE, body, _content_type=MERGE_PATCH
                )
            answer = await core.patch_namespaced_secret_without_preload_content(
                name, NAMESPACE, body, _content_type=MERGE_PATCH
            )
            return orjson.loads(await answer.read())

        async def count() -> int:
            found, token = 0, None
            while True:
                if raw:
                    answer = await core.list_namespaced_secret_without_preload_content(
                        NAMESPACE, limit=PAGE_SIZE, _continue=token
                    )
                    page = orjson.loads(await answer.read())
                    found += len(page["items"])
                    token = page["metadata"].get("continue")
                else:
                    listed = await core.list_namespaced_secret(
                        NAMESPACE, limit=PAGE_SIZE, _continue=token
                    )
                    found += len(listed.items)
                    token = listed.metadata and listed.metadata._continue  # noqa: SLF001 - its name
                if not token:
                    return found

        yield Port(create, patch, count)


CLIENTS: dict[str, Callable[[Path], AbstractAsyncContextManager[Port]]] = {
    "agentid": ours,
    "kubernetes.aio, bytes": lambda path: official(path, raw=True),
    "kubernetes.aio, models": lambda path: official(path, raw=False),
}


async def measure(name: str, kubeconfig: Path, number: int) -> dict[str, list[float]]:
    """Return seconds of wall and of CPU for each operation, in this process."""
    results: dict[str, list[float]] = {}

    async def timed(what: str, work: list[Callable[[], Awaitable[object]]]) -> None:
        waiting = iter(work)

        async def worker() -> None:
            for call in waiting:
                await call()

        wall, cpu = time.perf_counter(), time.process_time()
        await asyncio.gather(*(worker() for _ in range(IN_FLIGHT)))
        results[what] = [time.perf_counter() - wall, time.process_time() - cpu]

    async with CLIENTS[name](kubeconfig) as port:
        names = [f"s{index:05}" for index in range(number)]
        await timed("create", [lambda name=name: port.create(name) for name in names])  # type: ignore[misc]
        await timed("patch", [lambda name=name: port.patch(name) for name in names])  # type: ignore[misc]
        await timed("list", [port.list] * (IN_FLIGHT // 4))
    return results


def imported(statement: str) -> float:
    """Return the megabytes an import adds to a bare interpreter."""
    program = f"{statement}\nprint(open('/proc/self/status').read())"
    status = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout
    peak = next(line for line in status.decode().splitlines() if line.startswith("VmHWM"))
    return int(peak.split()[1]) / 1024


def change_namespace(kubeconfig: Path, verb: str) -> None:
    """Make or delete the namespace, through the API alone."""

    async def call() -> None:
        from agentid.errors import NotFoundError  # noqa: PLC0415
        from agentid.kube.client import Client  # noqa: PLC0415
        from agentid.kube.credentials import load_credentials  # noqa: PLC0415
        from agentid.kube.resources import NAMESPACES  # noqa: PLC0415

        credentials = await load_credentials(clock=SystemClock(), kubeconfig=kubeconfig)
        async with Client(credentials) as client:
            if verb == "create":
                await client.create(NAMESPACES, {"metadata": {"name": NAMESPACE}})
                return
            await client.delete(NAMESPACES, NAMESPACE)
            while True:
                try:
                    await client.get(NAMESPACES, NAMESPACE)
                except NotFoundError:
                    return
                await asyncio.sleep(0.2)

    asyncio.run(call())


def main() -> None:
    """Measure all clients, one after the other, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.clients", description=__doc__)
    parser.add_argument("kubeconfig", type=Path)
    parser.add_argument("--number", type=int, default=2000, help="Secrets to create and patch")
    parser.add_argument("--only", choices=CLIENTS, help="measure one client in this process")
    options = parser.parse_args()
    if options.only:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            result = runner.run(measure(options.only, options.kubeconfig, options.number))
        print(json.dumps(result))
        return
    bare = imported("")
    for module, statement in IMPORTS.items():
        print(f"{module}: {imported(statement) - bare:.0f} MB")
    print("| client | create/s | µs CPU | patch/s | µs CPU | list of all: ms CPU |")
    print("|---|---|---|---|---|---|")
    for name in CLIENTS:
        change_namespace(options.kubeconfig, "create")
        try:
            command = [sys.executable, "-m", "bench.clients", str(options.kubeconfig)]
            command += ["--only", name, "--number", str(options.number)]
            result = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
        finally:
            change_namespace(options.kubeconfig, "delete")
        cells = [name]
        for what in ("create", "patch"):
            wall, cpu = result[what]
            cells += [f"{options.number / wall:.0f}", f"{cpu / options.number * 1e6:.0f}"]
        cells.append(f"{result['list'][1] / (IN_FLIGHT // 4) * 1e3:.0f}")
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
