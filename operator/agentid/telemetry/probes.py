"""Plain HTTP for the kubelet and for Prometheus: `/healthz`, `/readyz`, `/metrics`.

It is served on the operator's own event loop on purpose: a loop that is stuck cannot answer, and
the kubelet's probe fails. What a loop that still turns can have wrong is asked of `HealthSource`.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Protocol

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from agentid.clock import Clock

__all__ = ["HealthSource", "LoopWatch", "serve_probes"]


class HealthSource(Protocol):
    """Whoever knows what is wrong; each answer is a list of sentences, empty when all is well."""

    def unhealthy(self) -> Sequence[str]:
        """What only a restart can mend."""

    def unready(self) -> Sequence[str]:
        """What still keeps this replica from doing its work."""


class LoopWatch:
    """Measures how late the event loop is, once a second."""

    _PERIOD = 1.0

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.lag = 0.0

    async def run(self) -> None:
        """Measure until cancelled."""
        while True:
            before = self._clock.monotonic()
            await self._clock.sleep(self._PERIOD)
            self.lag = max(0.0, self._clock.monotonic() - before - self._PERIOD)


@contextlib.asynccontextmanager
async def serve_probes(
    host: str,
    port: int,
    health: HealthSource,
    render_metrics: Callable[[], bytes],
    remarks: Callable[[], Sequence[str]] = tuple,
    before_metrics: Callable[[], Awaitable[None]] | None = None,
) -> AsyncIterator[int]:
    """Serve the probes while the context is open.

    Args:
        host: Address to listen on.
        port: Port to listen on; 0 takes a free one.
        health: Whoever knows what is wrong.
        render_metrics: Returns the metrics in Prometheus' text format.
        remarks: What a person should look at; it stands below the `ok` of `/readyz`.
        before_metrics: Done before each rendering, for what takes too long to be done at once.

    Yields:
        The port that was taken.
    """

    def answer(faults: Sequence[str], notes: Sequence[str] = ()) -> web.Response:
        if faults:
            return web.Response(status=503, text="\n".join((*faults, *notes)) + "\n")
        return web.Response(text="\n".join(("ok", *notes)) + "\n")

    async def healthz(_: web.Request) -> web.Response:
        return answer(health.unhealthy())

    async def readyz(_: web.Request) -> web.Response:
        return answer([*health.unhealthy(), *health.unready()], remarks())

    async def metrics(_: web.Request) -> web.Response:
        if before_metrics is not None:
            await before_metrics()
        return web.Response(
            body=render_metrics(), headers={"Content-Type": "text/plain; version=0.0.4"}
        )

    app = web.Application()
    app.add_routes(
        [
            web.get("/healthz", healthz),
            web.get("/readyz", readyz),
            web.get("/metrics", metrics),
        ]
    )
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()
