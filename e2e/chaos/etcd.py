"""Follows etcd itself: every write in its one order, over restarts of etcd and of API servers.

A watch of the API server begins anew after a restart, and what was written in between is never
seen. etcd keeps each revision until it is compacted, minutes later.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import grpc

from e2e.chaos.protobuf import encode, fields, text

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["Etcd", "Write"]

_ALL: Final = {1: b"/registry/", 2: b"/registry0"}
_OPTIONS: Final = (
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),
    # etcd is killed now and then; what is seen minutes later would count as settled minutes later.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
)


@dataclass(frozen=True, slots=True)
class Write:
    """One key at one revision.

    Attributes:
        revision: Of the store; writes of one transaction share it.
        key: Such as `/registry/secrets/finance/reader`.
        value: As stored; None when it was deleted.
    """

    revision: int
    key: str
    value: bytes | None


class Etcd:
    """One etcd on loopback, by the two calls that are needed of its API."""

    def __init__(self, port: int) -> None:
        self._channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=_OPTIONS)

    async def close(self) -> None:
        """Close the connection."""
        await self._channel.close()

    async def revision(self) -> int:
        """The revision of the newest write.

        Raises:
            grpc.RpcError: There is no answer.
        """
        ask: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = self._channel.unary_unary(
            "/etcdserverpb.KV/Range"
        )
        asked = encode({1: b"/registry/", 9: 1})
        answer = fields(await ask(asked, timeout=60, wait_for_ready=True))
        return _number(text(answer, 1), 3)

    async def writes(self, after: int) -> AsyncIterator[Write]:
        """Every write that comes after a revision; goes on over outages, without end.

        Raises:
            ValueError: etcd has forgotten what came after the revision.
        """
        while True:
            try:
                async for write in self._watched(after):
                    yield write
                    after = max(after, write.revision - 1)
            except grpc.RpcError:
                pass
            await asyncio.sleep(0.1)

    async def _watched(self, after: int) -> AsyncIterator[Write]:
        ask: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = self._channel.stream_stream(
            "/etcdserverpb.Watch/Watch"
        )
        watch = ask()
        await watch.write(encode({1: encode({**_ALL, 3: after + 1})}))
        try:
            async for payload in watch:
                answer = fields(payload)
                if answer.get(4) == [1]:
                    msg = f"etcd forgot what followed revision {after}: {text(answer, 6).decode()}"
                    raise ValueError(msg)
                for each in answer.get(11, ()):
                    if isinstance(each, bytes):
                        yield _write(each)
        finally:
            watch.cancel()


def _number(message: bytes, number: int) -> int:
    found = fields(message).get(number, [0])[-1]
    return found if isinstance(found, int) else 0


def _write(event: bytes) -> Write:
    parts = fields(event)
    pair = fields(text(parts, 2))
    revision = pair.get(3, [0])[-1]
    deleted = parts.get(1, [0])[-1] == 1
    return Write(
        revision if isinstance(revision, int) else 0,
        text(pair, 1).decode(),
        None if deleted else text(pair, 5),
    )
