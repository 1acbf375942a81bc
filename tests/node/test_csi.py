"""What the kubelet may ask for and how it is told no, over a real socket, without mounts."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING

import grpc
import pytest

from agentid.clock import SystemClock
from agentid.errors import InputError
from agentid.node.csi import CsiServices, Registration, serve
from agentid.node.driver import Driver, DriverSettings
from agentid.node.issuer import PodProof
from agentid.node.proto import csi_pb2 as csi
from agentid.node.proto import registration_pb2 as registration
from agentid.node.volume import read_order
from tests.support.node import POD, Told, connected, no_validation

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from google.protobuf.message import Message

    from agentid.testing.node_issuer import FakeNodeIssuer

TARGET = f"/pods/{POD.uid}/volumes/kubernetes.io~csi/agentid/mount"
TOKENS = json.dumps({"agentid.dev": {"token": "pod-token", "expirationTimestamp": "x"}})
KEY = "csi.storage.k8s.io/serviceAccount.tokens"


def request(**changes: object) -> csi.NodePublishVolumeRequest:
    """A good request of a kubelet that puts tokens into secrets."""
    made = csi.NodePublishVolumeRequest(
        volume_id="csi-1",
        target_path=TARGET,
        readonly=True,
        volume_context={
            "csi.storage.k8s.io/pod.name": POD.name,
            "csi.storage.k8s.io/pod.namespace": POD.namespace,
            "csi.storage.k8s.io/pod.uid": POD.uid,
            "csi.storage.k8s.io/serviceAccount.name": POD.service_account,
            "csi.storage.k8s.io/ephemeral": "true",
            "agentid.dev/identity": POD.identity,
        },
        secrets={KEY: TOKENS},
    )
    made.volume_capability.mount.SetInParent()
    for name, value in changes.items():
        setattr(made, name, value)
    return made


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The root of paths; nothing is written there."""
    return tmp_path.__class__("/pods")


def test_order(root: Path) -> None:
    """A good request says which pod, by which token, at which place, for which group."""
    asked = request()
    asked.volume_capability.mount.volume_mount_group = "2000"
    order = read_order(asked, root)
    assert (str(order.target), order.volume_id, order.group) == (TARGET, "csi-1", 2000)
    assert order.pod == PodProof(
        POD.namespace, POD.name, POD.uid, POD.service_account, POD.identity, "pod-token"
    )
    assert "pod-token" not in repr(order)


def test_tokens_of_an_older_kubelet(root: Path) -> None:
    """A kubelet that knows no tokens in secrets puts them into the context."""
    asked = request()
    del asked.secrets[KEY]
    asked.volume_context[KEY] = TOKENS
    assert read_order(asked, root).pod.token == "pod-token"


def attribute(key: str, value: str) -> Callable[[csi.NodePublishVolumeRequest], None]:
    """A change of one attribute."""

    def change(asked: csi.NodePublishVolumeRequest) -> None:
        asked.volume_context[key] = value

    return change


def field(name: str, value: object) -> Callable[[csi.NodePublishVolumeRequest], None]:
    """A change of one field."""

    def change(asked: csi.NodePublishVolumeRequest) -> None:
        setattr(asked, name, value)

    return change


def secret(value: str) -> Callable[[csi.NodePublishVolumeRequest], None]:
    """Other tokens."""

    def change(asked: csi.NodePublishVolumeRequest) -> None:
        asked.secrets[KEY] = value

    return change


REFUSED = [
    pytest.param(field("volume_id", ""), "volume_id", id="no-id"),
    pytest.param(field("volume_id", "a" * 257), "volume_id", id="long-id"),
    pytest.param(field("target_path", ""), "target_path", id="no-target"),
    pytest.param(field("target_path", "/pods/../etc"), "target_path", id="target-up"),
    pytest.param(field("target_path", "/pods/x/../../etc/mount"), "target_path", id="target-up2"),
    pytest.param(field("target_path", "pods/x/mount"), "target_path", id="target-relative"),
    pytest.param(field("target_path", "/etc/x"), "target_path", id="target-elsewhere"),
    pytest.param(field("target_path", "/pods"), "target_path", id="target-root"),
    pytest.param(field("target_path", "/pods//x"), "target_path", id="target-slashes"),
    pytest.param(field("target_path", "/pods/" + "a/" * 3000), "target_path", id="target-long"),
    pytest.param(field("target_path", "/pods/\x00/x"), "target_path", id="target-nul"),
    pytest.param(field("readonly", 0), "readOnly: true", id="writable"),
    pytest.param(
        lambda asked: asked.ClearField("volume_capability"), "volume_capability", id="no-capability"
    ),
    pytest.param(
        lambda asked: asked.volume_capability.block.SetInParent(), "no block device", id="block"
    ),
    pytest.param(attribute("agentid.dev/identity", ""), "identity", id="no-identity"),
    pytest.param(attribute("agentid.dev/identity", "../other"), "identity", id="identity-up"),
    pytest.param(attribute("agentid.dev/identity", "/etc"), "identity", id="identity-absolute"),
    pytest.param(attribute("agentid.dev/identity", "a/b"), "identity", id="identity-slash"),
    pytest.param(attribute("agentid.dev/identity", "A"), "identity", id="identity-upper"),
    pytest.param(attribute("agentid.dev/identity", "a\n"), "identity", id="identity-newline"),
    pytest.param(attribute("agentid.dev/identity", "a" * 10**6), "identity", id="identity-giant"),
    pytest.param(attribute("path", "/etc"), '"path" is unknown', id="unknown"),
    pytest.param(attribute("agentid.dev/namespace", "x"), "unknown", id="unknown-ours"),
    pytest.param(attribute("csi.storage.k8s.io/x", "x"), "unknown", id="unknown-kubelet"),
    pytest.param(attribute("x" * 10**6, "x"), "unknown", id="unknown-giant"),
    pytest.param(attribute(KEY, TOKENS), "is not allowed", id="token-of-the-author"),
    pytest.param(
        attribute("csi.storage.k8s.io/ephemeral", "false"), "inline", id="not-ephemeral"
    ),
    pytest.param(attribute("csi.storage.k8s.io/pod.uid", "../x"), "pod.uid", id="uid-up"),
    pytest.param(attribute("csi.storage.k8s.io/pod.name", ""), "pod.name", id="no-pod"),
    pytest.param(secret(""), "no token", id="no-token"),
    pytest.param(secret("{"), "no token", id="token-no-json"),
    pytest.param(secret("[]"), "no token", id="token-list"),
    pytest.param(secret('{"agentid.dev": "x"}'), "no token", id="token-text"),
    pytest.param(secret('{"other": {"token": "x"}}'), "no token", id="token-for-others"),
    pytest.param(
        secret('{"agentid.dev": {"token": "a\\r\\nb: c"}}'), "no token", id="token-header"
    ),
    pytest.param(secret("x" * 70_000), "more than", id="token-giant"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "message"), REFUSED)
def test_refused(
    root: Path, change: Callable[[csi.NodePublishVolumeRequest], None], message: str
) -> None:
    """What this driver does not fulfil is refused with what to change, and briefly."""
    asked = request()
    change(asked)
    with pytest.raises(InputError, match=message) as caught:
        read_order(asked, root)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("group", ["-1", "root", "99999999999", "4294967295", "0x10", " 1"])
def test_group_is_refused(root: Path, group: str) -> None:
    """What is no number of a group is refused."""
    asked = request()
    asked.volume_capability.mount.volume_mount_group = group
    with pytest.raises(InputError, match="volume_mount_group"):
        read_order(asked, root)


@contextlib.asynccontextmanager
async def served(
    folder: Path, issuer: FakeNodeIssuer
) -> AsyncIterator[Callable[[str, Message | bytes], Awaitable[bytes]]]:
    """A driver that mounts nothing in these tests, to call methods of."""
    settings = DriverSettings(root=folder / "p", targets=folder / "t")

    driver = Driver(settings, issuer, no_validation, Told(), clock=SystemClock(), random=float)
    services = CsiServices(driver, settings.targets, "node-1", "1.2.3")
    path = folder / "csi.sock"
    server = await serve(path, (*services.handlers(), *Registration(path).handlers()))
    async with connected(path) as channel:

        async def call(method: str, message: Message | bytes) -> bytes:
            data = message if isinstance(message, bytes) else message.SerializeToString()
            unary: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(method)
            return await unary(data)

        yield call
    await server.stop(0)


async def test_says_who_it_is(issuer: FakeNodeIssuer, short_path: Path) -> None:
    """Name, version, node, capabilities, and how to register: as CSI and kubelet want them."""
    async with served(short_path, issuer) as call:
        info = csi.GetPluginInfoResponse.FromString(
            await call("/csi.v1.Identity/GetPluginInfo", b"")
        )
        assert (info.name, info.vendor_version) == ("csi.agentid.dev", "1.2.3")
        node = csi.NodeGetInfoResponse.FromString(await call("/csi.v1.Node/NodeGetInfo", b""))
        assert node.node_id == "node-1"
        capable = csi.NodeGetCapabilitiesResponse.FromString(
            await call("/csi.v1.Node/NodeGetCapabilities", b"")
        )
        assert [each.rpc.type for each in capable.capabilities] == [
            csi.NodeServiceCapability.RPC.VOLUME_MOUNT_GROUP
        ]
        probed = csi.ProbeResponse.FromString(await call("/csi.v1.Identity/Probe", b""))
        assert probed.ready.value is False
        plugin = registration.PluginInfo.FromString(
            await call("/pluginregistration.Registration/GetInfo", b"")
        )
        assert (plugin.type, plugin.name) == ("CSIPlugin", "csi.agentid.dev")
        assert list(plugin.supported_versions) == ["1.0.0"]
        assert (short_path / "csi.sock").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("method", "data", "code"),
    [
        ("Node/NodePublishVolume", b"", grpc.StatusCode.INVALID_ARGUMENT),
        ("Node/NodePublishVolume", b"\xff", grpc.StatusCode.INVALID_ARGUMENT),
        ("Node/NodePublishVolume", b"\x0a" + b"x" * 2_000_000, grpc.StatusCode.RESOURCE_EXHAUSTED),
        ("Node/NodeUnpublishVolume", b"", grpc.StatusCode.INVALID_ARGUMENT),
        ("Node/NodeStageVolume", b"", grpc.StatusCode.UNIMPLEMENTED),
        ("Controller/CreateVolume", b"", grpc.StatusCode.UNIMPLEMENTED),
    ],
    ids=["empty", "nonsense", "huge", "unpublish-empty", "stage", "create"],
)
async def test_refused_by_status(
    issuer: FakeNodeIssuer, short_path: Path, method: str, data: bytes, code: grpc.StatusCode
) -> None:
    """Requests that are no good end with the status that CSI has for them."""
    async with served(short_path, issuer) as call:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(f"/csi.v1.{method}", data)
        assert caught.value.code() is code
