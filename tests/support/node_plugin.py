"""The node plugin as it ships, with an issuer service to throw away, in a process of its own.

Words on standard input steer the issuer: `down`, `up`, `revoke UID`, `readmit UID`, `lifetime N`,
`count`. Each is answered by a line.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from datetime import timedelta
from pathlib import Path
from random import random
from typing import Final

from agentid.clock import SystemClock
from agentid.node.driver import Driver, DriverSettings
from agentid.node.serving import Places, serving
from agentid.telemetry.logs import configure_logging
from agentid.testing.node_issuer import FakeNodeIssuer
from tests.support.node import Told, no_validation

__all__ = ["KUBELET"]

KUBELET: Final = Path("/var/lib/kubelet")


async def main(lifetime: float) -> None:
    """Serve the kubelet of this mount namespace until SIGTERM."""
    clock = SystemClock()
    issuer = FakeNodeIssuer(clock, lifetime=timedelta(seconds=lifetime))
    settings = DriverSettings(
        root=KUBELET / "plugins" / "csi.agentid.dev", targets=KUBELET / "pods", publish_seconds=5
    )
    driver = Driver(settings, issuer, no_validation, Told(), clock=clock, random=random)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    async with serving(driver, settings, Places(KUBELET / "plugins_registry", "node", "test")):
        steering = asyncio.create_task(_steer(issuer))
        await stop.wait()
        steering.cancel()


async def _steer(issuer: FakeNodeIssuer) -> None:
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := (await reader.readline()).decode():
        match line.split():
            case ["down"]:
                issuer.go_away()
            case ["up"]:
                issuer.down = False
            case ["revoke", uid]:
                issuer.revoke(uid)
            case ["readmit", uid]:
                issuer.readmit(uid)
            case ["lifetime", seconds]:
                issuer.lifetime = timedelta(seconds=float(seconds))
            case _:
                pass
        print(f"done {len(issuer.issued)}", flush=True)  # noqa: T201 - the answer


if __name__ == "__main__":
    configure_logging("info")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(float(sys.argv[1])))
