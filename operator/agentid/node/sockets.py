"""One server for each pod: its socket stands in the pod's mount.

A server of its own costs 40 KiB and a listening socket, measured in ADR 14; grpcio tells no peer
of a Unix socket apart, so sharing one server would need names that the peer cannot choose.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, Self

import grpc

from agentid.errors import InputError, InternalError
from agentid.node.sds import SecretDiscovery
from agentid.node.workload import WorkloadApi

if TYPE_CHECKING:
    from pathlib import Path

    from agentid.node.workload import JwtValidator, Source

__all__ = ["MAX_SOCKET_PATH", "PodSocket", "SocketLimits"]

MAX_SOCKET_PATH: Final = 107
"""Octets: sun_path of unix(7) without its final zero."""

_MODE: Final = 0o666
"""Connecting takes the right to write. Whoever sees the mount is the pod, as whatever user."""


class SocketLimits:
    """What one pod may take of the node plugin.

    Attributes:
        MESSAGE: Octets of a request; the largest is a token with its audience.
        METADATA: Octets of the headers of a request.
        CALLS: Calls and streams at once; more are told to come again.
    """

    MESSAGE: Final = 64 * 1024
    METADATA: Final = 16 * 1024
    CALLS: Final = 2048


class PodSocket:
    """A pod's socket, served from `open` to `close`."""

    def __init__(self, server: grpc.aio.Server, path: Path) -> None:
        """Use `open`."""
        self._server = server
        self._path = path

    @classmethod
    async def open(
        cls,
        path: Path,
        source: Source,
        validate: JwtValidator,
        calls: int = SocketLimits.CALLS,
    ) -> Self:
        """Serve the Workload API and SDS at this path, in place of whatever socket is there.

        The socket of an earlier process is exchanged at once: a client finds the old one or the
        new one, and never none.

        Raises:
            InputError: The path is too long for a socket.
        """
        fresh = path.with_name(f".{path.name}")
        if len(os.fsencode(fresh)) > MAX_SOCKET_PATH:
            msg = f"{path}: a socket's path has at most {MAX_SOCKET_PATH - 1} octets; shorten it"
            raise InputError(msg)
        server = grpc.aio.server(
            handlers=(
                WorkloadApi(source, validate).handlers(),
                SecretDiscovery(source).handlers(),
            ),
            options=(
                ("grpc.max_receive_message_length", SocketLimits.MESSAGE),
                ("grpc.max_metadata_size", SocketLimits.METADATA),
                ("grpc.absolute_max_metadata_size", SocketLimits.METADATA),
                ("grpc.max_concurrent_streams", SocketLimits.CALLS),
                ("grpc.so_reuseport", 0),
            ),
            maximum_concurrent_rpcs=calls,
        )
        fresh.unlink(missing_ok=True)
        try:
            server.add_insecure_port(f"unix:{fresh}")
        except RuntimeError as error:
            msg = f"{path}: the socket could not be made: {error}"
            raise InternalError(msg) from error
        fresh.chmod(_MODE)
        await server.start()
        fresh.replace(path)
        return cls(server, path)

    async def close(self) -> None:
        """End every stream and take the socket away."""
        await self._server.stop(0)
        self._path.unlink(missing_ok=True)
