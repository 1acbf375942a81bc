"""One run of the webhook, from its start to its orderly end.

```
 credentials ─► probes ─► caches filled, certificate there ─► HTTPS ─► … ─► SIGTERM
                                                                               │
     exit 0 ◄─ reviews in work answered ◄─ port closed ◄─ lingers, not ready ◄─┘
```
"""

from __future__ import annotations

import asyncio
import random
import signal
from typing import TYPE_CHECKING

import structlog

from agentid.admission.lookup import LOOKUP_SECONDS, Lookup
from agentid.admission.webhook import Webhook
from agentid.errors import InternalError
from agentid.kube.client import Client
from agentid.kube.credentials import load_credentials
from agentid.telemetry.probes import LoopWatch, serve_probes

if TYPE_CHECKING:
    from agentid.admission.settings import Settings
    from agentid.clock import Clock

__all__ = ["run_admission"]

_log = structlog.stdlib.get_logger(__name__)

_CONNECTIONS = 4
"""To the API server, for lists."""

_LOOKUPS = 8
"""Identities that are asked for at a time; each takes some milliseconds."""


async def run_admission(settings: Settings, *, clock: Clock) -> None:
    """Run until SIGTERM or SIGINT, then stop in order.

    Raises:
        InputError: It cannot begin, such as without credentials.
        AgentIdError: It cannot go on, such as without the right to read what it judges by.
    """
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    credentials = await load_credentials(clock=clock)
    namespace = settings.namespace or credentials.namespace
    async with (
        Client(credentials, connections=_CONNECTIONS) as client,
        Client(credentials, connections=_LOOKUPS, timeout=LOOKUP_SECONDS) as asker,
    ):
        lookup = Lookup(asker, clock)
        webhook = Webhook(settings, client, lookup, namespace, clock=clock, random=random.random)
        async with (
            serve_probes(
                settings.probe_host,
                settings.probe_port,
                webhook,
                webhook.metrics.render,
                webhook.remarks,
            ) as probes,
            webhook.serve() as port,
        ):
            _log.info("admission_started", namespace=namespace, probes=probes)
            try:
                await _until(stop, webhook, port)
            finally:
                await lookup.close()
    _log.info("admission_stopped")


async def _until(stop: asyncio.Event, webhook: Webhook, port: asyncio.Future[int]) -> None:
    """Follow everything until a stop is asked for, and a little longer."""
    stopped = asyncio.create_task(stop.wait(), name="stop")
    tasks = [asyncio.create_task(one) for one in (*webhook.sources.work(), _watch_loop(webhook))]
    # The port is there once it was taken; before, it is one more thing that may fail.
    tasks.append(asyncio.create_task(_taken(port)))
    try:
        done, _ = await asyncio.wait((stopped, *tasks), return_when=asyncio.FIRST_COMPLETED)
        _log.info("admission_stopping", asked=stopped in done)
        if stopped in done:
            webhook.handler.closing = True
            await asyncio.wait(tasks, timeout=webhook.settings.linger)
    finally:
        for task in (stopped, *tasks):
            task.cancel()
        await asyncio.gather(stopped, *tasks, return_exceptions=True)
    if stopped in done:
        return
    for task in done:
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error
    message = "a part of the webhook ended that must not; its log lines above say which"
    raise InternalError(message)


async def _taken(port: asyncio.Future[int]) -> None:
    """Raise if the port cannot be taken; without end if it can."""
    await asyncio.shield(port)
    await asyncio.Event().wait()


async def _watch_loop(webhook: Webhook) -> None:
    watch = LoopWatch(webhook.clock)
    measuring = asyncio.create_task(watch.run(), name="loop-watch")
    try:
        while True:
            await webhook.clock.sleep(1.0)
            webhook.loop_lag = watch.lag
    finally:
        measuring.cancel()
