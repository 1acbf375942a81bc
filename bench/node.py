"""What the node plugin costs, and how fast it is: `python -m bench.node`, as root, on real mounts.

The issuer service is the fake one in the same process, so its signing is in all figures. Printed:
times of publishing until the files can be read, of twenty pods that start at once and one after the
other; memory of the process before and with 110 pods; processor time of these at lifetimes of five
minutes, that is a renewal every 150 seconds each, measured at a hundredth of that; times from a
revocation until files and stream are gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

import grpc

from agentid.clock import SystemClock
from agentid.node.driver import Driver, DriverSettings
from agentid.node.issuer import PodProof
from agentid.node.mounts import mounts, unmount
from agentid.node.volume import VolumeOrder
from agentid.telemetry.logs import configure_logging
from agentid.testing.node_issuer import FakeNodeIssuer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agentid.node.workload import JwtClaims

PODS: Final = 110
AT_ONCE: Final = 20
ROUNDS: Final = 5


def _no_validation(token: str, audience: str, bundles: Mapping[str, bytes]) -> JwtClaims:
    raise AssertionError((token, audience, bundles))


def _silent(pod: PodProof, reason: str, message: str) -> None:
    del pod, reason, message


def _order(targets: Path, number: int) -> VolumeOrder:
    uid = f"pod-{number}"
    (targets / uid).mkdir(exist_ok=True)
    pod = PodProof("bench", uid, uid, "default", "agent", "token")
    return VolumeOrder(f"csi-{uid}", targets / uid / "mount", pod, None)


def _memory() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    raise AssertionError


def _say(what: str, seconds: Sequence[float]) -> None:
    ordered = sorted(seconds)
    middle, last = ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.99)]
    print(f"{what}: p50 {middle * 1e3:.1f} ms, p99 {last * 1e3:.1f} ms, n = {len(ordered)}")


async def _publish(driver: Driver, order: VolumeOrder) -> float:
    began = time.perf_counter()
    await driver.publish(order)
    (order.target / "tls.crt").read_bytes()
    return time.perf_counter() - began


async def _revoked(issuer: FakeNodeIssuer, order: VolumeOrder) -> float:
    async with grpc.aio.insecure_channel(f"unix:{order.target}/workload.sock") as channel:
        method: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(
            "/SpiffeWorkloadAPI/FetchX509SVID"
        )
        stream = method(b"", metadata=(("workload.spiffe.io", "true"),))
        await stream.read()
        began = time.perf_counter()
        issuer.revoke(order.pod.uid)
        await stream.code()
        while (order.target / "tls.crt").exists():  # noqa: ASYNC110 - measured
            await asyncio.sleep(0.0005)
        return time.perf_counter() - began


async def _bench(folder: Path) -> None:
    issuer = FakeNodeIssuer(SystemClock())
    settings = DriverSettings(root=folder / "p", targets=folder / "t")
    settings.targets.mkdir()
    driver = Driver(
        settings, issuer, _no_validation, _silent, clock=SystemClock(), random=random.random
    )
    await driver.start()
    running = asyncio.create_task(driver.run())
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    print(f"memory without pods: {_memory():.1f} MB")
    together: list[float] = []
    spent = 0.0
    for _ in range(ROUNDS):
        orders = [_order(settings.targets, number) for number in range(AT_ONCE)]
        busy = time.process_time()
        together += await asyncio.gather(*(_publish(driver, order) for order in orders))
        spent += time.process_time() - busy
        for order in orders:
            await driver.unpublish(order.volume_id, order.target)
    _say(f"publish, {AT_ONCE} at once", together)
    print(f"processor time of each, signing included: {spent / len(together) * 1e3:.2f} ms")
    orders = [_order(settings.targets, number) for number in range(PODS)]
    _say("publish, one after the other", [await _publish(driver, each) for each in orders])
    print(f"memory with {PODS} pods: {_memory():.1f} MB")
    issuer.lifetime = timedelta(seconds=3)
    for volume in driver.volumes.values():
        await volume.obtain()
        driver.renewals.schedule(volume.saved.key, volume)
    before, began, issued = time.process_time(), time.monotonic(), len(issuer.issued)
    await asyncio.sleep(15)
    share = (time.process_time() - before) / (time.monotonic() - began)
    each = share * (time.monotonic() - began) / (len(issuer.issued) - issued)
    print(f"a renewal: {each * 1e3:.2f} ms of a core, signing included")
    print(
        f"{PODS} pods at five minutes: {each * PODS / 150 * 100:.2f} % of a core and what is idle"
    )
    issuer.lifetime = timedelta(minutes=5)
    for volume in driver.volumes.values():
        await volume.obtain()
        driver.renewals.schedule(volume.saved.key, volume)
    idle = time.process_time()
    await asyncio.sleep(5)
    print(f"idle with {PODS} pods: {(time.process_time() - idle) / 5 * 100:.2f} % of a core")
    print(f"memory after {len(issuer.issued)} certificates: {_memory():.1f} MB")
    _say("revoked: stream closed and files gone", [await _revoked(issuer, o) for o in orders[:50]])
    for order in orders:
        await driver.unpublish(order.volume_id, order.target)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    print(f"left: {len(list((settings.root / 'state').iterdir()))}")


def main() -> None:
    """Measure, and leave nothing behind."""
    configure_logging("error")
    with tempfile.TemporaryDirectory(prefix="n") as name:
        folder = Path(name)
        try:
            asyncio.run(_bench(folder))
        finally:
            for mount in reversed(mounts()):
                if folder in mount.path.parents:
                    with contextlib.suppress(OSError):
                        unmount(mount.path)


if __name__ == "__main__":
    main()
