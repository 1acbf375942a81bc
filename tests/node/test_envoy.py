"""Two Envoys that talk mTLS by SDS from the sockets of two pods, while certificates rotate."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import http.client
import json
import subprocess
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.support.envoy import agent_socket, backend, bootstrap, downstream, listener, upstream
from tests.support.node import POD, SteeredSource, served
from tests.support.probing import ports

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from agentid.testing.node_issuer import FakeNodeIssuer

Json = dict[str, Any]

ROTATIONS: Final = 12
PAUSE: Final = 0.4
CALLER = "spiffe://example.org/ns/finance/agent/invoice-reader"
SERVER = "spiffe://example.org/ns/finance/agent/ledger"


@contextlib.asynccontextmanager
async def envoy(folder: Path, name: str, *resources: Json, port: int) -> AsyncIterator[None]:
    """Run one until the context is left; it listens by then."""
    path = folder / f"{name}.json"
    path.write_text(json.dumps(bootstrap(name, *resources)))
    program = str(files("envoy") / "_bin" / "envoy")
    log = folder / f"{name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: ASYNC220 - starts in a millisecond
            [program, "-c", path, "--use-dynamic-base-id", "--concurrency", "1", "-l", "warning"],
            stdout=output, stderr=output,
        )  # fmt: skip
    try:
        for _ in range(200):
            if process.poll() is not None:
                break
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                break
            await asyncio.sleep(0.1)
        assert process.poll() is None, log.read_text()[-3000:]
        yield
    finally:
        process.kill()
        process.wait()


def ask(port: int) -> tuple[int, str]:
    """One request on a connection of its own: its status, and who the server took us for."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/")
        answer = connection.getresponse()
        answer.read()
        return answer.status, str(answer.headers["x-peer"])
    except OSError as error:
        return 0, str(error)
    finally:
        connection.close()


@pytest.mark.parametrize("peers", ["ROOTCA", "ALL", "spiffe://example.org"])
async def test_mutual_tls_through_rotations(
    issuer: FakeNodeIssuer, short_path: Path, peers: str
) -> None:
    """Under load, with certificates renewed every 0.4 s, no request fails."""
    caller = SteeredSource(issuer)
    server = SteeredSource(issuer, dataclasses.replace(POD, identity="ledger", uid="2"))
    await caller.renew()
    await server.renew()
    door, way_out = ports(2)
    (short_path / "a").mkdir()
    (short_path / "b").mkdir()
    asks = downstream(peers)
    hello = {"direct_response": {"status": 200, "body": {"inline_string": "hello"}}}
    told = {"x-peer": "%DOWNSTREAM_PEER_URI_SAN%"}
    passed_on = {"route": {"cluster": "server"}}
    server_cluster = backend("server", "127.0.0.1", door, upstream(peers))
    async with (
        served(short_path / "a", caller) as path_a,
        served(short_path / "b", server) as path_b,
        envoy(
            short_path, "server", listener(door, hello, told, transport_socket=asks),
            agent_socket(str(path_b)), port=door,
        ),
        envoy(
            short_path, "caller", listener(way_out, passed_on, {}), server_cluster,
            agent_socket(str(path_a)), port=way_out,
        ),
    ):  # fmt: skip
        for _ in range(100):
            if (await asyncio.to_thread(ask, way_out))[0] == 200:
                break
            await asyncio.sleep(0.1)
        stop = asyncio.Event()
        seen: list[tuple[int, str]] = []

        async def load() -> None:
            while not stop.is_set():
                seen.append(await asyncio.to_thread(ask, way_out))

        work = [asyncio.create_task(load()) for _ in range(4)]
        for _ in range(ROTATIONS):
            await asyncio.sleep(PAUSE)
            await caller.renew()
            await server.renew()
        stop.set()
        await asyncio.gather(*work)
    assert set(seen) == {(200, CALLER)}
    assert len(seen) > 100
    assert {each.pod.identity for each in issuer.issued} == {"invoice-reader", "ledger"}
