"""What tests of the issuer service ask of it, and wait for."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from typing import TYPE_CHECKING

import pytest
from cryptography import x509

from agentid.errors import AgentIdError
from agentid.node.issuer import RefusedError
from tests.support.node_plugins import csr
from tests.support.probing import metric

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentid.node.issuer import Change, X509Grant
    from agentid.node.service_client import IssuerServiceClient
    from tests.issuing.conftest import Service
    from tests.support.node_plugins import OnNode

__all__ = [
    "collect",
    "come",
    "eventually",
    "following",
    "refused",
    "serial_of",
    "until_issued",
]


def serial_of(grant: X509Grant) -> str:
    """The serial of the leaf, as the ledger has it."""
    serial = x509.load_pem_x509_certificates(grant.chain_pem)[0].serial_number
    text = f"{serial:x}"
    return text.zfill(len(text) + len(text) % 2)


async def refused(client: IssuerServiceClient, pod: OnNode) -> RefusedError:
    """The refusal that a pod gets."""
    with pytest.raises(RefusedError) as caught:
        await client.x509(pod.proof, csr())
    return caught.value


async def eventually(client: IssuerServiceClient, pod: OnNode, reason: str) -> None:
    """Ask until the watch has told what was done; within a second."""
    deadline = time.monotonic() + 5
    while True:
        try:
            await client.x509(pod.proof, csr())
        except RefusedError as refusal:
            if refusal.reason == reason:
                return
        assert time.monotonic() < deadline, f"{reason} did not come"
        await asyncio.sleep(0.05)


async def collect(client: IssuerServiceClient, into: list[tuple[float, Change]]) -> None:
    """Follow until cancelled."""
    async with aclosing(client.changes()) as changes:
        async for change in changes:
            into += [(time.monotonic(), change)]


async def come(condition: Callable[[], bool]) -> None:
    """Wait until it holds."""
    for _ in range(3000):
        if condition():
            return
        await asyncio.sleep(0.01)
    assert condition()


async def following(service: Service, count: int) -> None:
    """Wait until so many plugins follow changes."""
    await come(lambda: metric(service.probes, "agentid_issuer_service_followers") == count)


async def until_issued(client: IssuerServiceClient, pod: OnNode) -> X509Grant:
    """A certificate from a replica that has just started."""
    deadline = time.monotonic() + 30
    while True:
        try:
            return await client.x509(pod.proof, csr())
        except AgentIdError:
            assert time.monotonic() < deadline
        await asyncio.sleep(0.2)
