"""One run of the responder, from its start to its orderly end.

```
 credentials ─► probes, HTTP ─► publications and ledger read ─► HTTPS ─► … ─► SIGTERM
                                                                                 │
            exit 0 ◄─ watches ended ◄─ requests in work answered ◄─ feeds ended ◄┘
```
"""

from __future__ import annotations

import asyncio
import random
import resource
import secrets
import signal
from functools import partial
from typing import TYPE_CHECKING, Final

import structlog

from agentid.errors import InternalError
from agentid.kube.client import Client
from agentid.kube.credentials import load_credentials
from agentid.kube.stores import ConfigMaps
from agentid.ledger import LedgerView
from agentid.ledger.configmaps import ConfigMapSegments
from agentid.responder.inventory import Inventory, follow
from agentid.responder.listeners import serve_ports, watch_files
from agentid.responder.responder import Responder
from agentid.responder.sources import Watches
from agentid.telemetry.probes import LoopWatch, serve_probes

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable, Sequence

    from agentid.clock import Clock
    from agentid.errors import AgentIdError
    from agentid.responder.listeners import Ports
    from agentid.responder.settings import Settings

__all__ = ["run_responder"]

_log = structlog.stdlib.get_logger(__name__)

_TIDY: Final = 60.0
"""Seconds between two looks for what has expired."""

_EPOCH_OCTETS: Final = 6

_CONNECTIONS: Final = 4
"""To the API server, for lists and reviews."""

_REVIEW_SECONDS: Final = 10.0
"""For a review, or a page of a list; somebody waits for it."""

_OTHER_FILES: Final = 256
"""Open files beside connections of clients: watches, probes, handshakes that are under way."""


async def run_responder(settings: Settings, *, clock: Clock) -> None:
    """Run until SIGTERM or SIGINT, then stop in order.

    Raises:
        InputError: It cannot begin, such as without credentials or with files that are no
            certificate.
        AgentIdError: It cannot go on, such as without the right to read what is published.
    """
    _allow_connections(settings.limits.connections, 2 if settings.inventory is None else 3)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    credentials = await load_credentials(clock=clock)
    namespace = settings.namespace or credentials.namespace
    async with (
        Client(credentials, connections=_CONNECTIONS) as client,
        # The page's own connections: who floods it takes none of those above.
        Client(credentials, connections=_CONNECTIONS, timeout=_REVIEW_SECONDS) as reviewer,
    ):
        segments = ConfigMaps(client, clock=clock, random=random.random, on_outage=_outage)
        ledger = LedgerView(ConfigMapSegments(segments, namespace), clock=clock)
        responder = Responder(settings, ledger, clock=clock, epoch=secrets.token_hex(_EPOCH_OCTETS))
        watches = Watches(
            client,
            namespace,
            responder.publications,
            responder.published_current,
            clock=clock,
            random=random.random,
        )
        host, port = settings.probe_host, settings.probe_port
        inventory = _inventory(reviewer, ledger, responder)
        async with (
            serve_probes(
                host, port, responder, responder.metrics.render,
                lambda: _remarks(responder, inventory),
            ) as probes,
            serve_ports(responder, inventory) as ports,
        ):  # fmt: skip
            _log.info("responder_started", namespace=namespace, probes=probes)
            work = [
                watches.follow_config_maps(),
                watches.follow_secret(),
                _follow(ledger, responder),
                _keep_house(responder, ports),
            ]
            if settings.tls is not None:
                work.append(watch_files(responder, settings.tls))
            if inventory is not None:
                catalogue = inventory.catalogue
                work.append(follow(reviewer, catalogue, clock=clock, random=random.random))
            try:
                await _until(stop, work)
            finally:
                await ledger.close()
    _log.info("responder_stopped")


def _inventory(reviewer: Client, ledger: LedgerView, responder: Responder) -> Inventory | None:
    settings = responder.settings.inventory
    if settings is None:
        return None
    count = partial(responder.metrics.count_request, "inventory")
    return Inventory(reviewer, ledger, settings, clock=responder.clock, count=count)


def _remarks(responder: Responder, inventory: Inventory | None) -> Sequence[str]:
    return [*responder.remarks(), *(() if inventory is None else inventory.remarks())]


async def _follow(ledger: LedgerView, responder: Responder) -> None:
    await ledger.start()
    responder.ledger_read()
    _log.info("ledger_read", entries=ledger.state.count, revoked=ledger.state.revoked_count)
    await ledger.join()


async def _keep_house(responder: Responder, ports: Ports) -> None:
    watch = LoopWatch(responder.clock)
    measuring = asyncio.create_task(watch.run(), name="loop-watch")
    tick = 0
    try:
        while True:
            await responder.clock.sleep(1.0)
            responder.loop_lag = watch.lag
            ports.check()
            tick += 1
            if tick % _TIDY == 0:
                responder.tidy()
    finally:
        measuring.cancel()


async def _until(stop: asyncio.Event, work: Iterable[Coroutine[object, object, None]]) -> None:
    """Do the work until a stop is asked for; none of it ends by itself."""
    stopped = asyncio.create_task(stop.wait(), name="stop")
    tasks = [asyncio.create_task(one) for one in work]
    try:
        done, _ = await asyncio.wait((stopped, *tasks), return_when=asyncio.FIRST_COMPLETED)
        _log.info("responder_stopping", asked=stopped in done)
    finally:
        for task in (stopped, *tasks):
            task.cancel()
        await asyncio.gather(stopped, *tasks, return_exceptions=True)
    if stopped in done:
        return
    for task in done:
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error
    message = "a part of the responder ended that must not; its log lines above say which"
    raise InternalError(message)


def _allow_connections(each: int, ports: int = 2) -> None:
    """Raise the soft limit of open files as far as it goes, so that ours are what is met first."""
    wanted = ports * each + _OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < wanted:
        _log.warning("open_files_limited", allowed=allowed, wanted=wanted)


def _outage(error: AgentIdError, seconds: float) -> None:
    _log.warning("ledger_watch_interrupted", error=str(error), seconds=round(seconds, 1))
