"""A pod's socket without a pod: a source to steer, and a client that sees bytes and status."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

import grpc

from agentid.node.issuer import PodProof
from agentid.node.keys import make_key
from agentid.node.latest import Latest
from agentid.node.material import Material, Serving, Starting, State
from agentid.node.sockets import PodSocket, SocketLimits
from agentid.node.trust import read_trust, visible

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from google.protobuf.message import Message

    from agentid.node.issuer import JwtGrant
    from agentid.node.workload import JwtClaims, JwtValidator
    from agentid.testing.node_issuer import FakeNodeIssuer

__all__ = [
    "HEADER",
    "POD",
    "SteeredSource",
    "Stream",
    "Told",
    "call",
    "connected",
    "material",
    "no_validation",
    "served",
]

Metadata: TypeAlias = tuple[tuple[str, str], ...]

HEADER: Final = (("workload.spiffe.io", "true"),)

POD: Final = PodProof(
    namespace="finance",
    name="reader-0",
    uid="6f1c2f3e-0b7a-4a53-9d28-2f6d8f8a1c11",
    service_account="invoice-reader",
    identity="invoice-reader",
    token="pod-token",
)


async def material(issuer: FakeNodeIssuer, pod: PodProof = POD) -> Material:
    """A fresh certificate with its key, and all that goes with it."""
    key, request = make_key(issuer.key_algorithm)
    grant = await issuer.x509(pod, request)
    trust = read_trust(await issuer.bundles())
    return Material.of(grant, key, visible(trust, issuer.ca.trust_domain.name, grant.federated))


@dataclass(slots=True)
class SteeredSource:
    """A `Source` whose state a test sets."""

    issuer: FakeNodeIssuer
    pod: PodProof = POD
    state: Latest[State] = field(default_factory=lambda: Latest[State](Starting()))

    async def jwt(self, audience: tuple[str, ...]) -> JwtGrant:
        """Ask the issuer."""
        return await self.issuer.jwt(self.pod, audience)

    async def renew(self) -> Material:
        """Serve a fresh certificate."""
        fresh = await material(self.issuer, self.pod)
        self.state.put(Serving(fresh))
        return fresh


class Told:
    """Keeps what would become events of pods: UID, reason and message of each."""

    def __init__(self) -> None:
        self.said: list[tuple[str, str, str]] = []

    def __call__(self, pod: PodProof, reason: str, message: str) -> None:
        """Keep it."""
        self.said.append((pod.uid, reason, message))


def no_validation(token: str, audience: str, bundles: Mapping[str, bytes]) -> JwtClaims:
    """Stands where tokens are validated, in tests that validate none."""
    raise AssertionError((token, audience, bundles))


@contextlib.asynccontextmanager
async def served(
    folder: Path,
    source: SteeredSource,
    validate: JwtValidator = no_validation,
    calls: int = SocketLimits.CALLS,
) -> AsyncIterator[Path]:
    """The socket of the source, served while the context is open."""
    path = folder / "workload.sock"
    socket = await PodSocket.open(path, source, validate, calls)
    try:
        yield path
    finally:
        await socket.close()


@contextlib.asynccontextmanager
async def connected(path: Path) -> AsyncIterator[grpc.aio.Channel]:
    """A connection of its own to a socket."""
    options = (("grpc.use_local_subchannel_pool", 1),)
    async with grpc.aio.insecure_channel(f"unix:{path}", options=options) as channel:
        yield channel


async def call(
    path: Path, method: str, request: Message | bytes, metadata: Metadata = HEADER
) -> bytes:
    """One answer of the Workload API, as bytes.

    Raises:
        grpc.aio.AioRpcError: The call ended with another status than OK.
    """
    async with connected(path) as channel:
        unary: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
            f"/SpiffeWorkloadAPI/{method}"
        )
        return await asyncio.wait_for(unary(_bytes(request), metadata=metadata), 10)


class Stream:
    """A stream of answers of the Workload API."""

    def __init__(
        self, channel: grpc.aio.Channel, method: str, metadata: Metadata = HEADER, data: bytes = b""
    ) -> None:
        stream: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(
            f"/SpiffeWorkloadAPI/{method}"
        )
        self._call = stream(data, metadata=metadata)

    async def next(self, seconds: float = 10) -> bytes:
        """The next message; the status, raised, where the stream has ended instead."""
        message = await asyncio.wait_for(self._call.read(), seconds)
        assert isinstance(message, bytes), "the stream has ended"
        return message

    async def status(self, seconds: float = 10) -> tuple[grpc.StatusCode, str]:
        """How the stream ends; messages before are passed over."""
        with contextlib.suppress(grpc.aio.AioRpcError):
            while await asyncio.wait_for(self._call.read(), seconds) is not grpc.aio.EOF:
                pass
        return await self._call.code(), await self._call.details()


def _bytes(request: Message | bytes) -> bytes:
    return request if isinstance(request, bytes) else request.SerializeToString()
