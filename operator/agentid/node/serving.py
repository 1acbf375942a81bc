"""The node plugin's sockets around its driver, from start to orderly end.

```
 volumes taken up ─► csi.sock ─► registration ─► renewing, following … ─► SIGTERM
                                                                            │
   files and mounts stay for running pods ◄── sockets ended ◄───────────────┘
```
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import structlog

from agentid.node.csi import CsiServices, Registration, serve
from agentid.node.volume import DRIVER_NAME

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from agentid.node.driver import Driver, DriverSettings

__all__ = ["Places", "serving"]

_log = structlog.stdlib.get_logger(__name__)

_GRACE: Final = 5.0
"""Seconds for a publish that is under way when the plugin is to end."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where the kubelet looks for a driver.

    Attributes:
        registry: Its folder of registration sockets.
        node: Name of the node.
        version: Of this program.
    """

    registry: Path
    node: str
    version: str


@asynccontextmanager
async def serving(
    driver: Driver, settings: DriverSettings, places: Places
) -> AsyncIterator[CsiServices]:
    """Take volumes up, serve the kubelet while the context is open, and keep all current.

    `services.running` ends only with a defect: whoever opened the context has to look at it.

    Raises:
        OSError: The node does not let us mount.
    """
    await driver.start()
    endpoint = settings.root / "csi.sock"
    services = CsiServices(driver, settings.targets, places.node, places.version)
    registration = Registration(endpoint)
    csi = await serve(endpoint, services.handlers())
    services.ready = True
    registering = await serve(places.registry / f"{DRIVER_NAME}-reg.sock", registration.handlers())
    _log.info("node_plugin_started", node=places.node, volumes=len(driver.volumes))
    running = services.running = asyncio.create_task(driver.run(), name="driver")
    try:
        yield services
    finally:
        services.ready = False
        await registering.stop(0)
        await csi.stop(_GRACE)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await driver.close()
        _log.info("node_plugin_stopped")
