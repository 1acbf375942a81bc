"""py-spiffe, unmodified, on a pod's socket."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentid.node.material import Ended
from tests.support.node import SteeredSource, served

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from agentid.testing.node_issuer import FakeNodeIssuer

CLIENT = Path(__file__).parent.parent / "support" / "clients" / "py_spiffe.py"
ID = "spiffe://example.org/ns/finance/agent/invoice-reader"


@asynccontextmanager
async def client(path: Path) -> AsyncIterator[Callable[[str], Awaitable[Any]]]:
    """A running py-spiffe, to ask."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(CLIENT), f"unix:{path}",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "GRPC_VERBOSITY": "NONE"},
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


async def test_sources_follow_the_pod(issuer: FakeNodeIssuer, short_path: Path) -> None:
    """X509Source and JwtSource work, follow a renewal, and are refused once it is over."""
    issuer.federated = [issuer.make_ca("partner.test")]
    source = SteeredSource(issuer)
    held = await source.renew()
    async with served(short_path, source) as path, client(path) as ask:
        assert await ask("svid") == {"ok": {"id": ID, "serial": held.serial}}
        domains = ["spiffe://example.org", "spiffe://partner.test"]
        found = (await ask("bundles"))["ok"]
        assert [name.removeprefix("spiffe://") for name in found] == [
            name.removeprefix("spiffe://") for name in domains
        ]
        assert await ask("jwt") == {"ok": {"id": ID, "audience": ["erp"]}}
        held = await source.renew()
        await eventually(ask, "svid", {"ok": {"id": ID, "serial": held.serial}})
        source.state.put(Ended("Suspended", "it is suspended"))
        answer = await ask("fresh")
        assert "denied" in answer["error"].lower()
