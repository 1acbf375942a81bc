"""Nodes without room, with wrong clocks, with parts that die: what pods hold stays whole."""

from __future__ import annotations

import asyncio
import dataclasses
import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import grpc
import pytest

from agentid.clock import SystemClock
from agentid.errors import InternalError, UnavailableError
from agentid.node.issuer import Change, ChangeKind, RefusedError
from agentid.node.material import Ended, Starting
from agentid.node.mounts import Tmpfs, mounts, unmount
from agentid.testing.node_issuer import FakeNodeIssuer
from tests.support.node import POD, Stream, connected
from tests.support.node_mounts import Node, pair, until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from agentid.node.issuer import PodProof, X509Grant

pytestmark = pytest.mark.node
"""Mounting takes root."""

OTHER = dataclasses.replace(POD, uid="another-pod", name="reader-1")


class WrongClock(SystemClock):
    """A node whose wall clock is off, and jumps when it is told to."""

    def __init__(self, off: float) -> None:
        self.off = off

    def now(self) -> datetime:
        """The time that the node believes in."""
        return datetime.now(UTC) + timedelta(seconds=self.off)


@pytest.mark.parametrize("off", [600.0, -600.0], ids=["ahead", "behind"])
async def test_a_wrong_clock_moves_no_renewal(node: Node, off: float) -> None:
    """Ten minutes off, and then set right: neither a storm of renewals nor a certificate that ends.

    Three renewals at a lifetime of four seconds take some five, whatever the wall clock says.
    """
    clock = WrongClock(off)
    node.clock = clock
    node.issuer.lifetime = timedelta(seconds=4)
    loop = asyncio.get_running_loop()
    async with node.driver() as driver:
        await driver.publish(node.order())
        began = loop.time()
        for count in (2, 3, 4):
            while len(node.issuer.issued) < count:
                expiry = driver.snapshot().expiry
                assert expiry is not None
                assert expiry > 0, "it ran out"
                assert loop.time() - began < 15
                await asyncio.sleep(0.01)
            clock.off = -off if count == 2 else 0.0
        assert loop.time() - began > 3.5, "a storm"
        pair(node.target())


async def test_a_refused_pod_is_not_served_beyond_its_end(node: Node) -> None:
    """A refusal that is not final leaves the certificate until its end, and no second longer."""
    node.issuer.lifetime = timedelta(seconds=3)
    async with node.driver() as driver:
        await driver.publish(node.order())
        node.issuer.refused[POD.uid] = RefusedError("OutsideSchedule", "not at this hour")
        await until("told", lambda: node.told.said)
        pair(node.target())
        await until("gone", lambda: not (node.target() / "tls.crt").exists(), 4)


def shown(folder: Path) -> set[str]:
    """The names that a pod sees; the folder behind them has another each time."""
    return {path.name for path in folder.iterdir() if not path.name.startswith("..")}


async def test_no_inode_for_a_new_name(node: Node) -> None:
    """Room for the files and none for the name of one more: nothing is exchanged, all is whole."""
    node.settings = dataclasses.replace(node.settings, volume=Tmpfs(bytes_=8 << 20, inodes=64))
    async with node.driver() as driver:
        await driver.publish(node.order())
        (volume,) = driver.volumes.values()
        first, names = pair(node.target()), shown(volume.folder)
        node.issuer.crl_pem = b"-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n"
        room = os.statvfs(volume.folder).f_ffree
        # A folder, six files and the link of `..data` find room; the link `crl.pem` does not.
        for number in range(room - 8):
            (volume.folder / f"filler-{number}").touch()
        driver.renewals.schedule(volume.saved.key, volume, 0.0)
        await until("a failure", lambda: volume.failures)
        assert pair(node.target()) == first
        for filler in volume.folder.glob("filler-*"):
            filler.unlink()
        assert shown(volume.folder) == names
        await until("renewed all the same", lambda: pair(node.target()) != first, 10)
        assert (node.target() / "crl.pem").read_bytes() == node.issuer.crl_pem


def fill(folder: Path) -> Path:
    """Take all room of a file system."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        file.write(bytes(1 << 20))
    assert os.statvfs(folder).f_bavail == 0
    return filler


@pytest.fixture
def small_state(monkeypatch: pytest.MonkeyPatch) -> None:
    """A state folder that is soon full."""
    small = Tmpfs(bytes_=64 * 1024, inodes=32, mode=0o700)
    monkeypatch.setattr("agentid.node.driver._STATE_TMPFS", small)


@pytest.mark.usefixtures("small_state")
async def test_a_full_state_folder(node: Node) -> None:
    """Pods that run are renewed and revoked all the same; a new one starts once there is room."""
    state = node.settings.root / "state"
    async with node.driver() as driver:
        await driver.publish(node.order())
        await until("the feed", lambda: node.issuer.followers)
        first, filler = pair(node.target()), fill(state)
        with pytest.raises(UnavailableError, match="cannot be kept"):
            await driver.publish(node.order(OTHER))
        assert not node.target(OTHER).exists()
        (volume,) = driver.volumes.values()
        driver.renewals.schedule(volume.saved.key, volume, 0.0)
        await until("renewed", lambda: pair(node.target()) != first)
        assert volume.failures == 0
        node.issuer.revoke(POD.uid)
        await until("revoked", lambda: not (node.target() / "tls.crt").exists(), 1)
        filler.unlink()
        await driver.publish(node.order(OTHER))
        pair(node.target(OTHER))
    async with node.driver() as driver:
        revoked = next(v for v in driver.volumes.values() if v.pod == POD)
        async with connected(node.target() / "workload.sock") as channel:
            code, _ = await Stream(channel, "FetchX509SVID").status()
        assert code in {grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAVAILABLE}
        await until("refused", lambda: isinstance(revoked.state.value, Ended))
        for pod in (POD, OTHER):
            await driver.unpublish(f"csi-{pod.uid}", node.target(pod))
    assert node.left() == []


@dataclasses.dataclass(slots=True)
class Overtaken(FakeNodeIssuer):
    """The feed tells of the revocation before the answer with the certificate arrives.

    Attributes:
        overtakes: Which call's certificate is revoked so.
        serial_told: Whether the feed names it; otherwise the pod loses whatever it has.
    """

    overtakes: int = 1
    serial_told: bool = True

    async def x509(self, pod: PodProof, csr_der: bytes) -> X509Grant:
        """Issue, and revoke at once."""
        grant = await FakeNodeIssuer.x509(self, pod, csr_der)
        if self.calls["x509"] == self.overtakes:
            serial = self.issued[-1].serial if self.serial_told else None
            self.tell(Change(ChangeKind.REVOKED, pod.uid, serial, "KeyCompromise", "it leaked"))
            for _ in range(20):
                await asyncio.sleep(0)
        return grant


@pytest.mark.parametrize("call", [1, 2], ids=["first", "renewal"])
async def test_a_revocation_overtakes_its_certificate(node: Node, call: int) -> None:
    """A certificate that is revoked before it arrives is not served, the first one neither."""
    node.issuer = Overtaken(SystemClock(), overtakes=call)
    async with node.driver() as driver:
        await until("the feed", lambda: node.issuer.followers)
        if call == 1:
            with pytest.raises(RefusedError, match="it leaked"):
                await driver.publish(node.order())
            assert node.left() == []
            return
        await driver.publish(node.order())
        first = pair(node.target())
        (volume,) = driver.volumes.values()
        with pytest.raises(RefusedError, match="it leaked"):
            await volume.obtain()
        assert pair(node.target()) == first


@pytest.mark.parametrize("serial_told", [True, False], ids=["serial", "pod"])
async def test_a_revocation_overtakes_what_comes_after_another(
    node: Node, *, serial_told: bool
) -> None:
    """Where nothing is left to take away, what is on its way is not served all the same."""
    node.issuer = Overtaken(SystemClock(), overtakes=2, serial_told=serial_told)
    async with node.driver() as driver:
        await until("the feed", lambda: node.issuer.followers)
        await driver.publish(node.order())
        (volume,) = driver.volumes.values()
        first = node.issuer.issued[0].serial
        node.issuer.tell(Change(ChangeKind.REVOKED, POD.uid, first, "KeyCompromise", "stolen"))
        await until("taken away", lambda: isinstance(volume.state.value, Ended))
        with pytest.raises(RefusedError, match=r"it leaked|was revoked"):
            await volume.obtain()
        assert isinstance(volume.state.value, Ended)
        assert not (node.target() / "tls.crt").exists()
        await volume.obtain()
        pair(node.target())


async def test_what_ran_out_is_not_ended_by_the_end_of_another(node: Node) -> None:
    """After an outage the feed tells again of what was revoked, and was never this pod's."""
    node.issuer.lifetime = timedelta(seconds=2)
    async with node.driver() as driver:
        await driver.publish(node.order())
        (volume,) = driver.volumes.values()
        node.issuer.go_away()
        await until("run out", lambda: isinstance(volume.state.value, Starting), 5)
        assert not volume.revoke("abc123", "Superseded", "it was made in doubt")
        assert isinstance(volume.state.value, Starting)
        assert node.told.said == []


async def test_unpublished_while_it_is_renewed(node: Node) -> None:
    """A certificate that arrives for a volume that is gone brings nothing of it back."""
    async with node.driver() as driver:
        await driver.publish(node.order())
        (volume,) = driver.volumes.values()
        node.issuer.slow = 0.3
        driver.renewals.schedule(volume.saved.key, volume, 0.0)
        await until("asked", lambda: node.issuer.calls["x509"] == 2)
        await driver.unpublish("csi-" + POD.uid, node.target())
        await until("issued", lambda: len(node.issuer.issued) == 2)
        for _ in range(10):
            await asyncio.sleep(0)
        assert node.left() == []
        assert driver.snapshot().volumes == {"serving": 0, "starting": 0, "ended": 0, "unread": 0}
        assert node.told.said == []


async def test_one_bad_volume_keeps_no_other_from_being_taken_up(node: Node) -> None:
    """A target in whose place something else lies; the other pods of the node are served."""
    async with node.driver() as driver:
        await driver.publish(node.order())
        await driver.publish(node.order(OTHER))
    unmount(node.target())
    node.target().rmdir()
    node.target().write_text("in the way")
    async with node.driver() as driver:
        assert [volume.pod.uid for volume in driver.volumes.values()] == [OTHER.uid]
        async with connected(node.target(OTHER) / "workload.sock") as channel:
            assert await Stream(channel, "FetchX509SVID").next()
        node.target().unlink()
        await driver.publish(node.order())  # as the kubelet does, again and again
        pair(node.target())


async def test_a_defect_ends_no_renewals(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """Something that nobody foresaw, in one renewal: counted, logged, and tried again."""
    async with node.driver() as driver:
        await driver.publish(node.order())
        (volume,) = driver.volumes.values()
        first = pair(node.target())
        with monkeypatch.context() as patch:
            patch.setattr(node.issuer.ca, "serial", lambda: 1 / 0)
            driver.renewals.schedule(volume.saved.key, volume, 0.0)
            await until("a failure", lambda: volume.failures)
        await until("renewed", lambda: pair(node.target()) != first)
        failed = node.metrics.registry.get_sample_value(
            "agentid_node_renewals_total", {"reason": "InternalError"}
        )
        assert failed == 1


ATTEMPTS: dict[str, Callable[[Path], object]] = {
    "delete": lambda target: (target / "tls.key").unlink(),
    "replace": lambda target: (target / "tls.key").write_text("mine"),
    "exchange": lambda target: (target / "..data").rename(target / "..mine"),
    "link": lambda target: (target / "x").symlink_to("/etc"),
    "folder": lambda target: (target / "x").mkdir(),
    "fill": lambda target: (target / "x").write_bytes(bytes(1 << 30)),
    "append": lambda target: (target / "tls.crt").open("ab"),
    "mode": lambda target: (target / "tls.key").chmod(0o666),
    "owner": lambda target: os.chown(target / "tls.key", 1, 1),
    "time": lambda target: os.utime(target / "tls.key"),
    "socket": lambda target: (target / "workload.sock").unlink(),
    "hard-link": lambda target: os.link(target / "tls.key", target / "x"),
}


@pytest.mark.parametrize("attempt", ATTEMPTS)
async def test_a_pod_changes_nothing_in_its_mount(node: Node, attempt: str) -> None:
    """As root of its container it deletes, replaces and fills nothing; files and socket go on."""
    async with node.driver() as driver:
        await driver.publish(node.order())
        target = node.target()
        with pytest.raises(OSError, match="Read-only"):
            ATTEMPTS[attempt](target)
        pair(target)
        room = os.statvfs(target)
        assert room.f_blocks * room.f_frsize <= 8 << 20
        assert room.f_files <= 64
        flags = room.f_flag
        assert flags & os.ST_RDONLY
        assert flags & os.ST_NOSUID
        assert flags & os.ST_NODEV
        assert flags & os.ST_NOEXEC


async def test_a_link_in_place_of_the_target_leads_nowhere(node: Node) -> None:
    """Unmounting follows no link: a mount of somebody else that it leads to stays."""
    async with node.driver() as driver:
        await driver.publish(node.order())
        link = node.folder / "link"
        link.symlink_to(node.target())
        unmount(link)
        assert any(mount.path == node.target() for mount in mounts())
        pair(node.target())
        await driver.unpublish("csi-" + POD.uid, node.target())


async def test_what_lies_at_the_target_is_told(node: Node) -> None:
    """A folder that cannot be removed is an error with its name, and no file of anybody is lost."""
    async with node.driver() as driver:
        await driver.publish(node.order())
        unmount(node.target())
        (node.target() / "kept").write_text("x")
        with pytest.raises(InternalError, match="cannot be removed: Directory not empty"):
            await driver.unpublish("csi-" + POD.uid, node.target())
        assert (node.target() / "kept").read_text() == "x"
        (node.target() / "kept").unlink()
        await driver.unpublish("csi-" + POD.uid, node.target())
    assert node.left() == []
