"""The driver on real mounts: published, renewed, revoked, killed at any moment, taken up again."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import stat
from datetime import timedelta

import grpc
import orjson
import pytest

from agentid.errors import InputError, UnavailableError
from agentid.node import files
from agentid.node.issuer import Change, ChangeKind, RefusedError
from agentid.node.material import Starting
from agentid.node.mounts import Tmpfs, bind_read_only, mounts, unmount
from agentid.node.state import StateFolder, volume_key
from agentid.pki import KeyAlgorithm
from agentid.pki.keys import public_key_der
from tests.support.node import POD, Stream, connected
from tests.support.node_mounts import Node, pair, until

pytestmark = pytest.mark.node
"""Mounting takes root."""


async def test_published_and_unpublished(node: Node) -> None:
    """All files are there, belong together and cannot be written to; afterwards nothing is left."""
    async with node.driver() as driver:
        await driver.publish(node.order())
        target = node.target()
        pair(target)
        names = {entry.name for entry in target.iterdir() if not entry.name.startswith(".")}
        assert names == {
            "tls.crt", "tls.key", "ca.crt", "agent.json", "credentials.pem", "workload.sock"
        }  # fmt: skip
        with pytest.raises(OSError, match="Read-only"):
            (target / "mine").write_text("x")
        with pytest.raises(OSError, match="Read-only"):
            (target / "workload.sock").unlink()
        async with connected(target / "workload.sock") as channel:
            assert await Stream(channel, "FetchX509SVID").next()
        await driver.unpublish("csi-" + POD.uid, target)
        await driver.unpublish("csi-" + POD.uid, target)
    assert node.left() == []


@pytest.mark.parametrize(
    ("group", "uid", "groups", "readable"),
    [
        pytest.param(None, 65532, [], True, id="no-fsgroup"),
        pytest.param(2000, 65532, [2000], True, id="fsgroup"),
        pytest.param(2000, 65532, [], False, id="not-in-fsgroup"),
    ],
)
async def test_who_may_read(
    node: Node, group: int | None, uid: int, groups: list[int], *, readable: bool
) -> None:
    """A container that is not root reads with and without fsGroup; with one, only by it."""
    node.folder.chmod(0o755)
    async with node.driver() as driver:
        await driver.publish(node.order(group=group))
        target = node.target()
        for folder in (target.parent, node.settings.targets):
            folder.chmod(0o755)
        process = await asyncio.create_subprocess_exec(
            "cat", str(target / "tls.key"), user=uid, group=uid, extra_groups=groups,
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        assert (await process.wait() == 0) is readable
        mode = stat.S_IMODE(os.stat(target / "tls.key").st_mode)  # noqa: PTH116
        assert mode == (0o444 if group is None else 0o440)


async def test_published_again(node: Node) -> None:
    """A republish takes the new token, mounts nothing twice and asks nobody for a certificate."""
    async with node.driver() as driver:
        await driver.publish(node.order())
        for number in range(5):
            await driver.publish(node.order(dataclasses.replace(POD, token=f"token-{number}")))
        assert len([m for m in mounts() if m.path == node.target()]) == 1
        assert node.issuer.calls["x509"] == 1
        (volume,) = driver.volumes.values()
        assert volume.pod.token == "token-4"
        other = dataclasses.replace(node.order(), target=node.target().with_name("other"))
        with pytest.raises(InputError, match="unpublish it first"):
            await driver.publish(other)


async def test_published_by_many_at_once(node: Node) -> None:
    """Twenty pods, each published three times at the same moment: each has one volume."""
    pods = [dataclasses.replace(POD, uid=f"pod-{n}") for n in range(20)]
    async with node.driver() as driver:
        await asyncio.gather(*(driver.publish(node.order(pod)) for pod in pods for _ in range(3)))
        assert node.issuer.calls["x509"] == 20
        assert len({pair(node.target(pod)) for pod in pods}) == 20
        await asyncio.gather(
            *(driver.unpublish(f"csi-{pod.uid}", node.target(pod)) for pod in pods for _ in "ab")
        )
    assert node.left() == []


@pytest.mark.parametrize("algorithm", [KeyAlgorithm.RSA3072, KeyAlgorithm.ED25519])
async def test_key_of_the_class(node: Node, algorithm: KeyAlgorithm) -> None:
    """The key is of the kind that the class wants, at the second request."""
    node.issuer.key_algorithm = algorithm
    async with node.driver() as driver:
        await driver.publish(node.order())
        pair(node.target())
    assert (node.issuer.calls["x509"], len(node.issuer.issued)) == (2, 1)


@pytest.mark.parametrize("answer", ["refused", "down", "slow"])
async def test_nothing_is_left_of_what_was_not_granted(node: Node, answer: str) -> None:
    """A pod that gets no certificate finds no volume, and the next try can succeed."""
    problem: type[Exception] = UnavailableError
    if answer == "refused":
        node.issuer.refused[POD.uid] = RefusedError("NotFound", "no such identity")
        problem = RefusedError
    node.issuer.down = answer == "down"
    node.issuer.slow = 60.0 if answer == "slow" else 0.0
    async with node.driver() as driver:
        with pytest.raises(problem, match=r"identity|answer"):
            await driver.publish(node.order())
        assert node.left() == []
        node.issuer.refused.clear()
        node.issuer.down, node.issuer.slow = False, 0.0
        await driver.publish(node.order())
        pair(node.target())


async def test_renewed_without_a_mismatch(node: Node) -> None:
    """Renewed each second with a new key; whoever resolves `..data` finds a pair, every time."""
    node.issuer.lifetime = timedelta(seconds=2)
    async with node.driver() as driver:
        await driver.publish(node.order())
        seen: set[str] = set()
        end = asyncio.get_running_loop().time() + 4.5
        while asyncio.get_running_loop().time() < end:
            with contextlib.suppress(FileNotFoundError):  # exchanged between two opens
                seen.add(pair(node.target()))
            await asyncio.sleep(0.003)
    assert len(seen) >= 4
    keys = {public_key_der(each.public_key) for each in node.issuer.issued}
    assert len(keys) == len(node.issuer.issued)


async def test_revoked_within_a_second(node: Node) -> None:
    """Files and stream are gone within a second; readmitted, they come back."""
    async with node.driver() as driver:
        await driver.publish(node.order())
        await until("the feed", lambda: node.issuer.followers)
        async with connected(node.target() / "workload.sock") as channel:
            stream = Stream(channel, "FetchX509SVID")
            await stream.next()
            node.issuer.revoke(POD.uid)
            code, _ = await stream.status(1)
            assert code is grpc.StatusCode.PERMISSION_DENIED
            assert [p.name for p in node.target().iterdir()] == ["workload.sock"]
            await driver.publish(node.order())  # a republish does not bring it back, nor fail
            assert [p.name for p in node.target().iterdir()] == ["workload.sock"]
            assert node.told.said == [(POD.uid, "Suspended", "the identity is suspended")]
            node.issuer.readmit(POD.uid)
            await until("files", (node.target() / "tls.crt").exists)
            assert await Stream(channel, "FetchX509SVID").next()
        await driver.unpublish("csi-" + POD.uid, node.target())
    assert node.left() == []


async def test_revoked_by_another_serial(node: Node) -> None:
    """A revocation of what the pod no longer holds takes nothing from it."""
    async with node.driver() as driver:
        await driver.publish(node.order())
        await until("the feed", lambda: node.issuer.followers)
        serial = node.issuer.issued[0].serial
        node.issuer.tell(Change(ChangeKind.REVOKED, POD.uid, serial="0" + serial))
        node.issuer.tell(Change(ChangeKind.REVOKED, "another-pod"))
        node.issuer.tell(Change(ChangeKind.GRANTS, POD.uid))  # heard after the others
        await until("the feed was read", lambda: node.issuer.calls["x509"] == 2)
        pair(node.target())
        await until("renewed", lambda: len(node.issuer.issued) == 2)
        serial = node.issuer.issued[1].serial
        node.issuer.tell(Change(ChangeKind.REVOKED, POD.uid, serial, "KeyCompromise", "it leaked"))
        await until("gone", lambda: not (node.target() / "tls.crt").exists(), 1)


async def test_revoked_while_a_certificate_is_on_its_way(node: Node) -> None:
    """A certificate that was issued before the revocation and arrives after it is not served."""
    node.issuer.lifetime = timedelta(seconds=3)
    async with node.driver() as driver:
        await driver.publish(node.order())
        (volume,) = driver.volumes.values()
        node.issuer.slow = 0.3
        asking = asyncio.create_task(volume.obtain())
        await until("asked", lambda: node.issuer.calls["x509"] == 2)
        volume.take_away("Revoked", "gone")
        with pytest.raises(RefusedError, match="while a certificate was made"):
            await asking
        assert not (node.target() / "tls.crt").exists()


async def test_valid_certificates_outlive_the_issuer(node: Node) -> None:
    """An issuer that is away takes nothing away, nor does a restart; renewal resumes."""
    node.issuer.lifetime = timedelta(seconds=4)
    async with node.driver() as driver:
        await driver.publish(node.order())
        first = pair(node.target())
        node.issuer.go_away()
        (volume,) = driver.volumes.values()
        await until("a renewal that fails", lambda: volume.failures > 0)
        assert pair(node.target()) == first
    async with node.driver() as driver:
        async with connected(node.target() / "workload.sock") as channel:
            assert await Stream(channel, "FetchX509SVID").next()
        assert pair(node.target()) == first
        (volume,) = driver.volumes.values()
        await until("it has run out", lambda: isinstance(volume.state.value, Starting))
        async with connected(node.target() / "workload.sock") as channel:
            code, _ = await Stream(channel, "FetchX509SVID").status()
            assert code is grpc.StatusCode.UNAVAILABLE
        assert pair(node.target()) == first
        node.issuer.down = False
        await until("renewed", lambda: pair(node.target()) != first, 8)


async def test_refusal_at_renewal(node: Node) -> None:
    """A refusal leaves what is valid until it has run out; a final one takes it at once."""
    node.issuer.lifetime = timedelta(seconds=3)
    async with node.driver() as driver:
        await driver.publish(node.order())
        node.issuer.refused[POD.uid] = RefusedError("OutsideSchedule", "not at this hour")
        await until("told", lambda: node.told.said)
        pair(node.target())
        (volume,) = driver.volumes.values()
        node.issuer.refused[POD.uid] = RefusedError("Deleted", "it is deleted", final=True)
        driver.renewals.schedule(volume.saved.key, volume, 0.0)
        await until("gone", lambda: not (node.target() / "tls.crt").exists())


async def test_bundles_are_delivered_without_a_new_certificate(node: Node) -> None:
    """A change of a bundle reaches file and stream; the certificate stays the same."""
    async with node.driver() as driver:
        await driver.publish(node.order())
        await until("the feed", lambda: node.issuer.followers)
        before = pair(node.target())
        async with connected(node.target() / "workload.sock") as channel:
            stream = Stream(channel, "FetchX509Bundles")
            await stream.next()
            node.issuer.ca = node.issuer.make_ca("example.org", seed="second")
            node.issuer.tell(Change(ChangeKind.BUNDLES))
            await stream.next(2)
        assert (node.target() / "ca.crt").read_bytes() == node.issuer.ca.bundle.pem
        assert pair(node.target()) == before
        assert node.issuer.calls["x509"] == 1


async def test_taken_up_again(node: Node) -> None:
    """A new process serves the same certificate at once, renews it, and mounts nothing twice."""
    async with node.driver() as driver:
        await driver.publish(node.order())
    first = pair(node.target())
    node.issuer.down = True
    async with node.driver():
        assert len([m for m in mounts() if m.path == node.target()]) == 1
        assert pair(node.target()) == first
        async with connected(node.target() / "workload.sock") as channel:
            assert await Stream(channel, "FetchX509SVID").next()
    node.issuer.down = False
    unmount(node.target())
    async with node.driver() as driver:
        pair(node.target())  # was unmounted by somebody; it is back
        await driver.unpublish("csi-" + POD.uid, node.target())
    assert node.left() == []


async def test_revocation_outlives_a_restart(node: Node) -> None:
    """What was taken away is not served by the next process."""
    async with node.driver() as driver:
        await driver.publish(node.order())
        await until("the feed", lambda: node.issuer.followers)
        node.issuer.revoke(POD.uid)
        await until("gone", lambda: not (node.target() / "tls.crt").exists(), 1)
    node.issuer.down = True
    async with node.driver():
        async with connected(node.target() / "workload.sock") as channel:
            code, _ = await Stream(channel, "FetchX509SVID").status()
        assert code is grpc.StatusCode.PERMISSION_DENIED


async def test_pod_that_went_while_nobody_was_there(node: Node) -> None:
    """Of a pod whose folder the kubelet has removed meanwhile nothing is left."""
    async with node.driver() as driver:
        await driver.publish(node.order())
    unmount(node.target())
    node.target().rmdir()
    node.target().parent.rmdir()
    async with node.driver() as driver:
        assert not driver.volumes
    assert node.left() == []


class _KilledError(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("step", range(9))
async def test_killed_at_any_step_of_publishing(
    node: Node, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever step is the last of a process, the next one publishes, and leaves nothing."""
    count = 0

    def killing(function: object) -> object:
        def wrapped(*args: object, **more: object) -> object:
            nonlocal count
            if count == step:
                raise _KilledError
            count += 1
            assert callable(function)
            return function(*args, **more)

        return wrapped

    async def nothing(*_: object) -> None:
        """A process that is killed cleans nothing up."""

    async with node.driver() as driver:
        with monkeypatch.context() as patch:
            patch.setattr(driver, "_discard", nothing)
            patch.setattr(Tmpfs, "mount", killing(Tmpfs.mount))
            patch.setattr("agentid.node.driver.unmount", killing(unmount))
            patch.setattr("agentid.node.driver.bind_read_only", killing(bind_read_only))
            patch.setattr(StateFolder, "save", killing(StateFolder.save))
            patch.setattr(files, "_made", killing(files._made))
            patch.setattr(files, "tidy", killing(files.tidy))
            with contextlib.suppress(_KilledError):
                await driver.publish(node.order())
    async with node.driver() as driver:
        await driver.publish(node.order())
        pair(node.target())
        assert len([m for m in mounts() if m.path == node.target()]) == 1
        async with connected(node.target() / "workload.sock") as channel:
            assert await Stream(channel, "FetchX509SVID").next()
        await driver.unpublish("csi-" + POD.uid, node.target())
    assert node.left() == []


@pytest.mark.parametrize("limit", ["bytes", "inodes"])
async def test_full_volume_keeps_what_is_there(node: Node, limit: str) -> None:
    """Files that do not fit are not delivered; those before stay whole, and room is not leaked."""
    small = Tmpfs(bytes_=64 * 1024, inodes=64) if limit == "bytes" else Tmpfs(8 << 20, inodes=22)
    node.settings = dataclasses.replace(node.settings, volume=small)
    async with node.driver() as driver:
        await driver.publish(node.order())
        (volume,) = driver.volumes.values()
        if limit == "bytes":
            node.issuer.federated = []
            node.issuer.crl_pem = (
                b"-----BEGIN X509 CRL-----\n" + b"A" * 65536 + b"\n-----END X509 CRL-----\n"
            )
        else:
            for number in range(8):
                (volume.folder / f"filler-{number}").touch()
        first = pair(node.target())
        for _ in range(3):
            with pytest.raises(UnavailableError, match="do not fit"):
                await volume.obtain()
            assert pair(node.target()) == first
        node.issuer.crl_pem = None
        for filler in volume.folder.glob("filler-*"):
            filler.unlink()
        await volume.obtain()
        assert pair(node.target()) != first


async def test_keys_are_in_memory_for_root_alone(node: Node) -> None:
    """State and keys lie on a tmpfs that nobody else enters."""
    async with node.driver() as driver:
        await driver.publish(node.order())
        state = node.settings.root / "state"
        kinds = {m.kind for m in mounts() if node.folder in m.path.parents}
        assert kinds == {"tmpfs"}
        assert stat.S_IMODE(state.stat().st_mode) == 0o700
        assert (state / f"{volume_key('csi-' + POD.uid)}.json").exists()
        assert "pod-token" not in repr(driver.volumes)


async def test_a_volume_of_a_later_release_is_left_as_it_is(node: Node) -> None:
    """Promise 5: after going back, a running pod keeps its files until the later plugin is back."""
    async with node.driver() as driver:
        await driver.publish(node.order())
    held = pair(node.target())
    path = node.settings.root / "state" / f"{volume_key('csi-' + POD.uid)}.json"
    ours = path.read_bytes()
    path.write_bytes(orjson.dumps(orjson.loads(ours) | {"version": 2, "readBy": "9.1.0"}))
    asked = node.issuer.calls["x509"]
    async with node.driver() as driver:
        assert driver.snapshot().volumes["unread"] == 1
        await driver.publish(node.order())  # the kubelet looks again, and is told of nothing
        assert pair(node.target()) == held
        assert node.issuer.calls["x509"] == asked
        assert orjson.loads(path.read_bytes())["version"] == 2
    path.write_bytes(ours)
    async with node.driver() as driver:
        assert driver.snapshot().volumes == {"serving": 1, "starting": 0, "ended": 0, "unread": 0}
        await driver.unpublish("csi-" + POD.uid, node.target())
    assert node.left() == []


async def test_a_volume_of_a_later_release_goes_with_its_pod(node: Node) -> None:
    """What is to be unpublished needs no reading."""
    async with node.driver() as driver:
        await driver.publish(node.order())
    path = node.settings.root / "state" / f"{volume_key('csi-' + POD.uid)}.json"
    path.write_bytes(orjson.dumps(orjson.loads(path.read_bytes()) | {"version": 2}))
    async with node.driver() as driver:
        await driver.unpublish("csi-" + POD.uid, node.target())
        assert driver.snapshot().volumes["unread"] == 0
        assert node.left() == []
        await driver.publish(node.order())
        await driver.unpublish("csi-" + POD.uid, node.target())


async def test_a_volume_of_a_later_release_that_is_hidden_is_not_made_up(node: Node) -> None:
    """Where its mount is gone, the pod is told what to do, and the state stays."""
    async with node.driver() as driver:
        await driver.publish(node.order())
    path = node.settings.root / "state" / f"{volume_key('csi-' + POD.uid)}.json"
    path.write_bytes(orjson.dumps(orjson.loads(path.read_bytes()) | {"version": 2}))
    unmount(node.target())
    async with node.driver() as driver:
        with pytest.raises(UnavailableError, match="version 2 was written by a later release"):
            await driver.publish(node.order())
        assert path.exists()
        await driver.unpublish("csi-" + POD.uid, node.target())
    assert node.left() == []
