"""What the parsers of the node plugin accept."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import orjson
from google.protobuf.message import DecodeError

from agentid.errors import InputError
from agentid.node.proto import csi_pb2
from agentid.node.state import Held, VolumeState
from agentid.node.volume import read_order
from tests.support.node import POD

__all__ = ["orders", "publish", "states"]

_TOKENS = "csi.storage.k8s.io/serviceAccount.tokens"


def states() -> tuple[bytes, ...]:
    """What a volume is taken up from."""
    held = Held("spiffe://example.org/a", "ECDSAP256", 1.0, 2.0, {"b.test": "x"}, {"b.test": "y"})
    state = VolumeState("csi-1", "/pods/x/mount", 2000, POD, held, ("Suspended", "it is"))
    return (orjson.dumps(asdict(state)),)


def orders() -> tuple[bytes, ...]:
    """Requests of a kubelet."""
    order = csi_pb2.NodePublishVolumeRequest(
        volume_id="csi-1",
        target_path="/pods/u-1/volumes/mount",
        readonly=True,
        volume_context={
            "csi.storage.k8s.io/pod.name": "a",
            "csi.storage.k8s.io/pod.namespace": "b",
            "csi.storage.k8s.io/pod.uid": "u-1",
            "csi.storage.k8s.io/serviceAccount.name": "c",
            "agentid.dev/identity": "d",
        },
        secrets={_TOKENS: json.dumps({"agentid.dev": {"token": "x"}})},
    )
    order.volume_capability.mount.volume_mount_group = "2000"
    return (order.SerializeToString(),)


def publish(data: bytes) -> object:
    """Read a request as the driver does."""
    try:
        order = csi_pb2.NodePublishVolumeRequest.FromString(data)
    except DecodeError as error:
        raise InputError(str(error)) from error
    return read_order(order, Path("/pods"))
