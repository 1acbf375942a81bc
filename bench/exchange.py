"""One request after the other on connections that are kept, and what answering them cost.

What counts is the server's own CPU time as the kernel counts it, so neither a noisy neighbour nor
clients that are slower than it change the figure.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, cast

from bench.processes import usage

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Sequence

__all__ = ["Figure", "exchange", "table"]


@dataclass(frozen=True, slots=True)
class Figure:
    """What one kind of request came to.

    Attributes:
        name: Of the kind.
        requests: How many were answered.
        seconds: How long it took by the clock on the wall.
        cpu: Seconds of CPU that the server spent on them.
        per_core: Answers for a second of its CPU.
        p50_ms: Half of the answers came within.
        p99_ms: 99 of 100 came within.
    """

    name: str
    requests: int
    seconds: float
    cpu: float
    per_core: float
    p50_ms: float
    p99_ms: float


class _Connection(asyncio.Protocol):
    """Sends one request after the other on a connection that is kept.

    With an interval each request has a time at which it is due, and counts from then, so that a
    server that was late once is not spared the requests that would have come meanwhile. The first
    one is due after `delay` seconds.
    """

    def __init__(
        self,
        requests: Callable[[], bytes | None],
        latencies: list[float],
        interval: float = 0.0,
        delay: float = 0.0,
    ) -> None:
        self._requests = requests
        self._latencies = latencies
        self._interval = interval
        self._delay = delay
        self._buffer = bytearray()
        self._due = 0.0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.closed = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._due = time.perf_counter() + self._delay
        if self._delay:
            asyncio.get_running_loop().call_later(self._delay, self._send)
        else:
            self._send()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = bytes(self._buffer[:end])
        if not head.startswith(b"HTTP/1.1 200"):
            self.done.set_exception(AssertionError(head.decode()))
            self._transport.abort()
            return
        at = head.index(b"Content-Length: ") + 16
        length = int(head[at:].split(b"\r\n", 1)[0])
        if len(self._buffer) < end + 4 + length:
            return
        now = time.perf_counter()
        self._latencies.append(now - self._due)
        self._buffer.clear()
        self._due = self._due + self._interval if self._interval else now
        if self._due > now:
            asyncio.get_running_loop().call_later(self._due - now, self._send)
        else:
            self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed.set()
        if not self.done.done():
            self.done.set_exception(exc or ConnectionResetError())

    def _send(self) -> None:
        request = self._requests()
        if request is None:
            if not self.done.done():
                self.done.set_result(None)
            self._transport.abort()
            return
        self._transport.write(request)


async def exchange(
    name: str,
    port: int,
    pid: int,
    requests: Sequence[bytes],
    connections: int,
    context: ssl.SSLContext | None = None,
    *,
    rate: float = 0.0,
) -> Figure:
    """Send requests to a server of this machine, and measure.

    Args:
        name: Of their kind.
        port: Where it serves.
        pid: Of its process.
        requests: All of them, each complete.
        connections: Kept open, each with one request in flight.
        context: Of TLS; None for plain HTTP.
        rate: Requests a second of all connections together, evenly spread over them and over
            time; 0: as fast as they are answered.

    Raises:
        AssertionError: An answer is not 200.
    """
    waiting = iter(requests)
    latencies: list[float] = []
    before, began = usage(pid).cpu, time.perf_counter()
    loop = asyncio.get_running_loop()

    interval = connections / rate if rate else 0.0

    def connection(number: int) -> _Connection:
        delay = number / rate if rate else 0.0
        return _Connection(lambda: next(waiting, None), latencies, interval, delay)

    opened = [
        await loop.create_connection(partial(connection, number), "127.0.0.1", port, ssl=context)
        for number in range(connections)
    ]
    await asyncio.gather(*(protocol.done for _, protocol in opened))
    seconds, cpu = time.perf_counter() - began, usage(pid).cpu - before
    await asyncio.gather(*(protocol.closed.wait() for _, protocol in opened))
    latencies.sort()
    count = len(latencies)
    return Figure(
        name,
        count,
        round(seconds, 2),
        round(cpu, 2),
        round(count / cpu) if cpu else 0,
        round(latencies[count // 2] * 1000, 2),
        round(latencies[count * 99 // 100] * 1000, 2),
    )


def table(figures: Sequence[Figure], width: int = 32) -> str:
    """The figures for people."""
    names = ("answers", "wall s", "cpu s", "per core", "p50 ms", "p99 ms")
    lines = [" ".join((" " * width, *(f"{name:>9}" for name in names)))]
    for one in figures:
        values = (one.requests, one.seconds, one.cpu, one.per_core, one.p50_ms, one.p99_ms)
        lines.append(" ".join((f"{one.name:{width}}", *(f"{value:>9}" for value in values))))
    return "\n".join(lines)
