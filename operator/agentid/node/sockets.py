"""One server for each pod: its socket stands in the pod's mount.

A server of its own costs 40 KiB and a listening socket, measured in ADR 14; grpcio tells no peer
of a Unix socket apart, so sharing one server would need names that the peer cannot choose.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING, Final, Self

import grpc

from agentid.errors import InputError, InternalError
from agentid.node.rpc import Door
from agentid.node.sds import SecretDiscovery
from agentid.node.workload import WorkloadApi

if TYPE_CHECKING:
    from pathlib import Path

    from agentid.node.rpc import CallCounts
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
        CALLS: Calls and streams at once; more are told to come again, as Unavailable.
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
        self._inode = path.stat().st_ino

    @classmethod
    async def open(
        cls,
        path: Path,
        source: Source,
        validate: JwtValidator,
        calls: int = SocketLimits.CALLS,
        counts: CallCounts | None = None,
    ) -> Self:
        """Serve the Workload API and SDS at this path, in place of whatever socket is there.

        The socket of an earlier process is exchanged at once: a client finds the old one or the
        new one, and never none.

        Raises:
            InputError: The path is too long for a socket.
            InternalError: It could not be made.
        """
        fresh = path.with_name(f".{path.name}")
        if len(os.fsencode(fresh)) > MAX_SOCKET_PATH:
            msg = f"{path}: a socket's path has at most {MAX_SOCKET_PATH - 1} octets; shorten it"
            raise InputError(msg)
        door = Door(calls, counts or _Uncounted())
        server = grpc.aio.server(
            handlers=(
                WorkloadApi(source, validate).handlers(door),
                SecretDiscovery(source).handlers(door),
            ),
            options=(
                ("grpc.max_receive_message_length", SocketLimits.MESSAGE),
                ("grpc.max_metadata_size", SocketLimits.METADATA),
                ("grpc.absolute_max_metadata_size", SocketLimits.METADATA),
                ("grpc.max_concurrent_streams", SocketLimits.CALLS),
                ("grpc.so_reuseport", 0),
            ),
        )
        try:
            fresh.unlink(missing_ok=True)
            server.add_insecure_port(f"unix:{fresh}")
            fresh.chmod(_MODE)
            await server.start()
            fresh.replace(path)
            return cls(server, path)
        except (RuntimeError, OSError) as error:
            await server.stop(0)
            msg = f"{path}: the socket could not be made: {error}"
            raise InternalError(msg) from error
        except asyncio.CancelledError:
            await server.stop(0)  # nobody else knows of it
            raise

    async def close(self) -> None:
        """End every stream and take the socket away, unless another process has put its own."""
        await self._server.stop(0)
        with contextlib.suppress(FileNotFoundError):
            if self._path.stat().st_ino == self._inode:
                self._path.unlink()


class _Uncounted:
    """Where nobody counts."""

    def opened(self, method: str) -> None:
        """Nothing."""

    def ended(self, method: str, code: str) -> None:
        """Nothing."""
