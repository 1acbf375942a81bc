"""The parts of one webhook, made once, with no network yet: what tests serve from memory.

What is wrong, and what the gauges show, is asked of it too.
"""

from __future__ import annotations

import asyncio
from contextlib import ExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import structlog

from agentid.admission.directory import Directory
from agentid.admission.handler import ReviewHandler
from agentid.admission.metrics import AdmissionMetrics, AdmissionSnapshot
from agentid.admission.reviewer import Reviewer
from agentid.admission.sources import SECRET, Sources
from agentid.serving.bounded import BoundedServer
from agentid.serving.certificates import TlsSlot
from agentid.serving.listening import listen

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from agentid.admission.lookup import Lookup
    from agentid.admission.settings import Settings
    from agentid.clock import Clock
    from agentid.kube.client import Client

__all__ = ["Webhook"]

_log = structlog.stdlib.get_logger(__name__)

_MAX_PATH = 256
"""Characters of a path with its query: ours, and the time-out that the API server tells."""


class Webhook:
    """Everything that answers.

    Args:
        settings: Of this installation.
        client: For watches.
        lookup: For single identities.
        namespace: Where agentid runs.
        clock: For times.
        random: A number in [0, 1) at each call.
    """

    def __init__(
        self,
        settings: Settings,
        client: Client,
        lookup: Lookup,
        namespace: str,
        *,
        clock: Clock,
        random: Callable[[], float],
    ) -> None:
        self.settings = settings
        self.clock = clock
        self.metrics = AdmissionMetrics()
        self.directory = Directory(clock)
        self.tls = TlsSlot()
        self.sources = Sources(
            client, namespace, self.directory, self.tls, self.metrics, clock=clock, random=random
        )
        lookup.on_request = self.metrics.lookups.inc
        self.handler = ReviewHandler(
            Reviewer(self.directory, lookup, namespace),
            self.metrics,
            settings.limits,
            clock=clock,
            unready=lambda: self.sources.missing,
        )
        self._server = BoundedServer(
            self.handler,
            settings.limits,
            lambda limit: self.metrics.refused.labels(limit).inc(),
            max_path=_MAX_PATH,
        )
        self.loop_lag = 0.0
        self.metrics.observe_state(self.snapshot)

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[asyncio.Future[int]]:
        """Serve while the context is open; at its end reviews in work are answered.

        Yields:
            The port, once there is a certificate to serve with; it raises InputError if it cannot
            be taken.
        """
        with ExitStack() as opened:
            port = asyncio.ensure_future(self._listen(opened))
            watching = asyncio.create_task(self._server.watch(), name="slow-clients")
            try:
                yield port
            finally:
                port.cancel()
                await asyncio.gather(port, return_exceptions=True)
                opened.close()
                await self.handler.finish(self.settings.drain)
                self._server.pre_shutdown()
                await self._server.shutdown(self.settings.drain)
                watching.cancel()
                await asyncio.gather(watching, return_exceptions=True)

    async def _listen(self, opened: ExitStack) -> int:
        await self.tls.ready.wait()
        settings = self.settings
        number = await listen(opened, self._server, settings.host, settings.port, self.tls.context)
        _log.info("https_serving", port=number)
        return number

    # Probes

    def unhealthy(self) -> Sequence[str]:
        """What only a restart can mend: nothing that is known."""
        return ()

    def unready(self) -> Sequence[str]:
        """What still keeps this replica from answering reviews.

        An API server that is away later on is no reason: what is known still holds, and all
        replicas would be taken out of service at once.
        """
        found = [f"{what} have not been read yet" for what in self.sources.missing]
        if not self.tls.ready.is_set():
            found.append(
                f"there is no serving certificate yet: the operator writes one to Secret {SECRET}"
            )
        if self.handler.closing:
            found.append("it is about to stop")
        return found

    def remarks(self) -> Sequence[str]:
        """What a person should look at, while this replica answers on."""
        found = [] if not self.sources.tls_refused else [self.sources.tls_refused]
        identity = self.tls.identity
        if identity is not None and identity.not_after < self.clock.now():
            found.append(f"the certificate in Secret {SECRET} has expired")
        return found

    def snapshot(self) -> AdmissionSnapshot:
        """The state for the gauges."""
        identity, expiry = self.tls.identity, None
        if identity is not None:
            expiry = (identity.not_after - self.clock.now()).total_seconds()
        return AdmissionSnapshot(
            identities=self.directory.count,
            connections=self._server.open_connections,
            heard=self.sources.age,
            tls_expiry=expiry,
            loop_lag=self.loop_lag,
        )
