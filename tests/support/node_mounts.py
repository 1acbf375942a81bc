"""A node's folders with real mounts, the drivers that come and go on it, and what a pod sees."""

from __future__ import annotations

import asyncio
import contextlib
import random
import ssl
from typing import TYPE_CHECKING

import pytest

from agentid.clock import SystemClock
from agentid.node import files
from agentid.node.driver import Driver, DriverSettings
from agentid.node.metrics import NodeMetrics
from agentid.node.mounts import mounts
from agentid.node.volume import VolumeOrder
from tests.support.node import POD, Told, no_validation

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from agentid.clock import Clock
    from agentid.node.issuer import PodProof
    from agentid.testing.node_issuer import FakeNodeIssuer

__all__ = ["Node", "pair", "until"]


class Node:
    """A node's folders, and the drivers that come and go on it."""

    def __init__(self, folder: Path, issuer: FakeNodeIssuer) -> None:
        self.folder = folder
        self.issuer = issuer
        self.told = Told()
        self.clock: Clock = SystemClock()
        self.metrics = NodeMetrics()
        self.settings = DriverSettings(
            root=folder / "p", targets=folder / "t", publish_seconds=3, bundle_seconds=0.3
        )

    def target(self, pod: PodProof = POD) -> Path:
        """Where the kubelet wants the pod's volume."""
        return self.settings.targets / pod.uid / "mount"

    def order(self, pod: PodProof = POD, group: int | None = None) -> VolumeOrder:
        """What the kubelet asks for; it has made the folder above by then."""
        self.target(pod).parent.mkdir(parents=True, exist_ok=True)
        return VolumeOrder(f"csi-{pod.uid}", self.target(pod), pod, group)

    def make(self) -> Driver:
        """A driver in a new process, as far as it can tell."""
        return Driver(
            self.settings, self.issuer, no_validation, self.told,
            clock=self.clock, random=random.Random(1).random, metrics=self.metrics,
        )  # fmt: skip

    @contextlib.asynccontextmanager
    async def driver(self) -> AsyncIterator[Driver]:
        """A driver that runs; ended without a word to its volumes, as by SIGKILL."""
        made = self.make()
        await made.start()
        running = asyncio.create_task(made.run())
        try:
            yield made
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await made.close()

    def left(self) -> list[str]:
        """Mounts of pods, targets and state that are there."""
        below = [m.path for m in mounts() if self.folder in m.path.parents]
        state = self.settings.root / "state"
        found = [str(path.relative_to(self.folder)) for path in below if path != state]
        found += [entry.name for entry in state.iterdir()]
        return sorted(found) + [str(path) for path in self.settings.targets.glob("*/mount")]


def pair(folder: Path) -> str:
    """The serial in `tls.crt`, once OpenSSL has found the key to belong to it."""
    data = folder / (folder / files.DATA).readlink()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(data / "tls.crt", data / "tls.key")
    return (data / "tls.crt").read_text()


async def until(what: str, condition: Callable[[], object], seconds: float = 5) -> None:
    """Wait for a condition."""
    for _ in range(int(seconds * 100)):
        if condition():
            return
        await asyncio.sleep(0.01)
    pytest.fail(f"not within {seconds} s: {what}")
