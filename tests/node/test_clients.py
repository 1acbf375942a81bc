"""py-spiffe and go-spiffe, unmodified, on a pod's socket."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from agentid.node.material import Ended
from e2e.toolchain import gospiffe
from tests.support.node import SteeredSource, served

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from agentid.testing.node_issuer import FakeNodeIssuer

CLIENT = Path(__file__).parent.parent / "support" / "clients" / "py_spiffe.py"
ID = "spiffe://example.org/ns/finance/agent/invoice-reader"


@asynccontextmanager
async def client(kind: str, path: Path) -> AsyncIterator[Callable[[str], Awaitable[Any]]]:
    """A running client, to ask."""
    program = [sys.executable, str(CLIENT)] if kind == "py-spiffe" else [str(gospiffe())]
    process = await asyncio.create_subprocess_exec(
        *program,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "GRPC_VERBOSITY": "NONE", "SPIFFE_ENDPOINT_SOCKET": f"unix://{path}"},
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    asking, answers = process.stdin, process.stdout

    async def ask(word: str) -> Any:  # noqa: ANN401 - JSON as it comes
        asking.write(f"{word}\n".encode())
        return json.loads(await asyncio.wait_for(answers.readline(), 30))

    try:
        yield ask
    finally:
        process.kill()
        await process.wait()


async def eventually(ask: Callable[[str], Awaitable[Any]], word: str, wanted: object) -> None:
    """Ask until it answers this."""
    answer = None
    for _ in range(100):
        answer = await ask(word)
        if answer == wanted:
            return
        await asyncio.sleep(0.05)
    assert answer == wanted


@pytest.mark.parametrize("kind", ["py-spiffe", "go-spiffe"])
async def test_sources_follow_the_pod(issuer: FakeNodeIssuer, short_path: Path, kind: str) -> None:
    """Sources of X.509 and of JWTs work, follow a renewal, and are refused once it is over."""
    issuer.federated = [issuer.make_ca("partner.test")]
    source = SteeredSource(issuer)
    held = await source.renew()
    async with served(short_path, source) as path, client(kind, path) as ask:
        assert await ask("svid") == {"ok": {"id": ID, "serial": held.serial}}
        assert await ask("jwt") == {"ok": {"id": ID, "audience": ["erp"]}}
        held = await source.renew()
        await eventually(ask, "svid", {"ok": {"id": ID, "serial": held.serial}})
        source.state.put(Ended("Suspended", "it is suspended"))
        answer = await ask("fresh")
        assert "denied" in answer["error"].lower()
