"""What the parsers of the node plugin accept."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from functools import cache
from pathlib import Path

import orjson
from google.protobuf.message import DecodeError

from agentid.errors import InputError
from agentid.node.issuer import Change, ChangeKind, RefusedError
from agentid.node.keys import make_key
from agentid.node.proto import csi_pb2
from agentid.node.state import Held, VolumeState
from agentid.node.volume import read_order
from agentid.node.wire import (
    bundles_to_wire,
    change_to_wire,
    jwt_to_wire,
    problem_to_wire,
    x509_to_wire,
)
from agentid.pki import KeyAlgorithm
from agentid.testing.clock import ManualClock
from agentid.testing.node_issuer import FakeNodeIssuer
from tests.support.node import POD

__all__ = [
    "bundles",
    "certificates",
    "changes",
    "orders",
    "problems",
    "publish",
    "states",
    "tokens",
]

_TOKENS = "csi.storage.k8s.io/serviceAccount.tokens"


@cache
def certificates() -> tuple[bytes, ...]:
    """Answers with a certificate."""
    issuer = FakeNodeIssuer(ManualClock())
    _, request = make_key(KeyAlgorithm.ECDSAP256)
    return (x509_to_wire(asyncio.run(issuer.x509(POD, request))),)


@cache
def tokens() -> tuple[bytes, ...]:
    """Answers with a token."""
    issuer = FakeNodeIssuer(ManualClock())
    return (jwt_to_wire(asyncio.run(issuer.jwt(POD, ("erp",)))),)


@cache
def bundles() -> tuple[bytes, ...]:
    """Answers with bundles."""
    issuer = FakeNodeIssuer(ManualClock())
    return (bundles_to_wire(asyncio.run(issuer.bundles())),)


def problems() -> tuple[bytes, ...]:
    """Refusals."""
    refused = RefusedError("Key", "another", key_algorithm=KeyAlgorithm.ED25519)
    return (problem_to_wire(refused, 403),)


def changes() -> tuple[bytes, ...]:
    """Lines of the feed."""
    return (change_to_wire(Change(ChangeKind.REVOKED, "u", "0a", "Suspended", "it is")), b"\n")


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
