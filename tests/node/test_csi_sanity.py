"""csi-sanity, of its parts those that a driver without a controller service can be asked."""

from __future__ import annotations

import asyncio
import random
import re
from typing import TYPE_CHECKING

import pytest

from agentid.clock import SystemClock
from agentid.node.driver import Driver, DriverSettings
from agentid.node.mounts import unmount
from agentid.node.serving import Places, serving
from e2e.toolchain import csisanity
from tests.support.node import Told, no_validation

if TYPE_CHECKING:
    from pathlib import Path

    from agentid.testing.node_issuer import FakeNodeIssuer

pytestmark = pytest.mark.node

PARTS = "Identity Service|NodeGetCapabilities|NodeGetInfo|NodePublishVolume|NodeUnpublishVolume"
CREATES = "should remove target path"
"""Left out: it creates a volume first, which only drivers with a controller service can."""


async def test_sanity(issuer: FakeNodeIssuer, short_path: Path) -> None:
    """Identity, capabilities and refused arguments are as CSI wants them."""
    settings = DriverSettings(root=short_path / "p", targets=short_path / "t")
    settings.targets.mkdir()
    driver = Driver(
        settings, issuer, no_validation, Told(), clock=SystemClock(), random=random.random
    )
    async with serving(driver, settings, Places(short_path / "r", "node-1", "1")):
        process = await asyncio.create_subprocess_exec(
            csisanity(), f"--csi.endpoint=unix:{settings.root}/csi.sock",
            f"--csi.mountdir={settings.targets}/m", f"--csi.stagingdir={short_path}/s",
            "--ginkgo.no-color", f"--ginkgo.focus={PARTS}", f"--ginkgo.skip={CREATES}",
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        output, _ = await asyncio.wait_for(process.communicate(), 60)
    unmount(settings.root / "state")
    told = output.decode()
    assert process.returncode == 0, told[-3000:]
    passed = re.search(r"(\d+) Passed \| 0 Failed", told)
    assert passed is not None, told[-3000:]
    assert int(passed[1]) == 10
