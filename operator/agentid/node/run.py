"""One run of the node plugin, until SIGTERM or SIGINT."""

from __future__ import annotations

import asyncio
import random
import signal
import ssl
from typing import TYPE_CHECKING, Final

from agentid.errors import InputError, InternalError, UnavailableError
from agentid.kube.client import Client
from agentid.kube.credentials import load_credentials
from agentid.node.driver import Driver
from agentid.node.events import PodEvents
from agentid.node.metrics import NodeMetrics
from agentid.node.present import IssuersPresent
from agentid.node.service_client import IssuerServiceClient
from agentid.node.serving import serving
from agentid.node.validation import Validation
from agentid.telemetry.probes import LoopWatch, serve_probes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from agentid.clock import Clock
    from agentid.node.csi import CsiServices
    from agentid.node.settings import NodeSettings

__all__ = ["FileToken", "Silence", "TrustFile", "run_node", "watched"]

_MAX_TOKEN: Final = 16 * 1024
_CONNECTIONS: Final = 1
"""To the API server, for Events alone."""


class TrustFile:
    """Whom to trust, as a file says that somebody replaces now and then."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int] | None = None
        self._context: ssl.SSLContext | None = None

    def __call__(self) -> ssl.SSLContext:
        """The context of the file as it is now.

        Raises:
            UnavailableError: There is no file, or no certificate in it, and never was.
        """
        try:
            stat = self._path.stat()
            if self._context is None or self._seen != (stat.st_mtime_ns, stat.st_ino):
                self._context = ssl.create_default_context(cafile=self._path)
                self._seen = (stat.st_mtime_ns, stat.st_ino)
        except OSError as error:  # SSLError is one
            if self._context is None:
                msg = f"{self._path}: the issuer service's roots cannot be read: {error}"
                raise UnavailableError(msg) from error
        return self._context


class FileToken:
    """The plugin's own token, which the kubelet renews in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def __call__(self) -> Mapping[str, str]:
        """The header that authenticates a request.

        Raises:
            UnavailableError: There is no token.
        """
        return {"Authorization": f"Bearer {self._read()}"}

    def _read(self) -> str:
        try:
            token = self._path.read_bytes()[:_MAX_TOKEN].decode("ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            msg = f"{self._path}: the plugin's own token cannot be read: {error}"
            raise UnavailableError(msg) from error
        if not token.isprintable() or not token:
            msg = f"{self._path}: it holds no token"
            raise UnavailableError(msg)
        return token


class _Health:
    """What probes ask."""

    def __init__(self) -> None:
        self.services: CsiServices | None = None

    def unhealthy(self) -> Sequence[str]:
        """A loop that is stuck does not answer at all."""
        return ()

    def unready(self) -> Sequence[str]:
        """Whether the kubelet can publish."""
        ready = self.services is not None and self.services.ready
        return () if ready else ("volumes are being taken up",)


class Silence:
    """Seconds since somebody was heard of; since the start, before the first time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since = clock.monotonic()

    def end(self) -> None:
        """They were heard."""
        self._since = self._clock.monotonic()

    def __call__(self) -> float:
        """Return it now."""
        return self._clock.monotonic() - self._since


async def run_node(settings: NodeSettings, *, clock: Clock) -> None:
    """Serve the kubelet and the pods of this node, then stop in order; mounts stay.

    Raises:
        InputError: It cannot begin: no credentials, or the node does not let it mount.
        InternalError: A part ended that must not.
    """
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    credentials = await load_credentials(clock=clock)
    health, metrics, watch = _Health(), NodeMetrics(), LoopWatch(clock)
    silence, present = Silence(clock), IssuersPresent(clock)
    async with (
        Client(credentials, connections=_CONNECTIONS) as client,
        IssuerServiceClient(
            settings.issuer_url,
            TrustFile(settings.issuer_ca),
            FileToken(settings.token),
            heard=silence.end,
        ) as issuer,
        serve_probes(settings.probe_host, settings.probe_port, health, metrics.render),
    ):
        events = PodEvents(client, clock=clock, node=settings.places.node)
        driver = Driver(
            settings.driver, issuer, Validation(present), events,
            clock=clock, random=random.random, present=present, metrics=metrics,
        )  # fmt: skip
        metrics.observe_state(driver.snapshot, silence, lambda: watch.lag)
        try:
            async with serving(driver, settings.driver, settings.places) as health.services:
                await watched(stop, events, watch, health.services.running)
        except OSError as error:
            msg = f"the node does not let us mount: {error}; the plugin needs CAP_SYS_ADMIN"
            raise InputError(msg) from error


async def watched(
    stop: asyncio.Event, events: PodEvents, watch: LoopWatch, running: asyncio.Future[None] | None
) -> None:
    """Return once told to stop.

    Args:
        stop: Set then.
        events: Written meanwhile.
        watch: Run meanwhile.
        running: What keeps volumes current, if that is done.

    Raises:
        InternalError: A part ended that must not.
    """
    stopped: asyncio.Future[bool] = asyncio.create_task(stop.wait(), name="stop")
    parts: dict[str, asyncio.Future[None]] = {
        "writes events": asyncio.create_task(events.run(), name="events"),
        "watches the event loop": asyncio.create_task(watch.run(), name="loop watch"),
    }
    own = [*parts.values()]
    if running is not None:
        parts["keeps volumes current"] = running
    try:
        waiting: list[asyncio.Future[bool] | asyncio.Future[None]] = [stopped, *parts.values()]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for name, part in parts.items():
            if part.done():
                msg = f"the part that {name} ended; its log lines above say why"
                raise InternalError(msg) from part.exception()
    finally:
        stopped.cancel()
        for task in own:
            task.cancel()
        await asyncio.gather(stopped, *own, return_exceptions=True)
