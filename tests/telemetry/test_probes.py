"""What the kubelet asks: over HTTP, of an event loop that turns or is stuck."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from agentid.telemetry.probes import LoopWatch, serve_probes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from agentid.testing.clock import ManualClock

PATIENCE = 10.0
SHORT = 0.2
"""Seconds that an answer which never comes is waited for."""


class Health:
    """Whoever knows what is wrong, told by the test."""

    def __init__(self, unhealthy: Sequence[str] = (), unready: Sequence[str] = ()) -> None:
        self._unhealthy, self._unready = unhealthy, unready

    def unhealthy(self) -> Sequence[str]:
        """What only a restart can mend."""
        return self._unhealthy

    def unready(self) -> Sequence[str]:
        """What keeps it from its work."""
        return self._unready


@contextmanager
def served(health: Health) -> Iterator[tuple[int, asyncio.AbstractEventLoop]]:
    """Probes on an event loop of another thread, so that it can be stuck."""
    loop, begun, ports = asyncio.new_event_loop(), threading.Event(), list[int]()
    end = asyncio.Event()

    async def serve() -> None:
        async with serve_probes("127.0.0.1", 0, health, lambda: b"") as port:
            ports.append(port)
            begun.set()
            await end.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        assert begun.wait(PATIENCE)
        yield ports[0], loop
    finally:
        loop.call_soon_threadsafe(end.set)
        thread.join(PATIENCE)
        loop.close()


def ask(port: int, path: str, seconds: float = PATIENCE) -> tuple[int, str]:
    """Ask as the kubelet does: one request, and so long for an answer."""
    try:
        with urlopen(f"http://127.0.0.1:{port}{path}", timeout=seconds) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        with error:
            return error.code, error.read().decode()


@pytest.mark.parametrize(
    ("health", "healthz", "readyz"),
    [
        pytest.param(Health(), (200, "ok\n"), (200, "ok\n"), id="well"),
        pytest.param(
            Health(unready=["no ledger", "no classes"]),
            (200, "ok\n"),
            (503, "no ledger\nno classes\n"),
            id="not-ready",
        ),
        pytest.param(
            Health(unhealthy=["stuck"]), (503, "stuck\n"), (503, "stuck\n"), id="not-healthy"
        ),
        pytest.param(
            Health(["stuck"], ["no ledger"]),
            (503, "stuck\n"),
            (503, "stuck\nno ledger\n"),
            id="neither",
        ),
    ],
)
def test_faults_are_told_in_words(
    health: Health, healthz: tuple[int, str], readyz: tuple[int, str]
) -> None:
    """Whoever is not ready is not restarted for it; whoever needs a restart is not ready."""
    with served(health) as (port, _):
        assert ask(port, "/healthz") == healthz
        assert ask(port, "/readyz") == readyz


def test_a_loop_that_is_stuck_does_not_answer() -> None:
    """Promise 5: the kubelet's probe times out and the operator is restarted; then it is well."""
    with served(Health()) as (port, loop):
        release = threading.Event()
        loop.call_soon_threadsafe(release.wait)
        try:
            with pytest.raises(TimeoutError, match="timed out"):
                ask(port, "/healthz", SHORT)
        finally:
            release.set()
        assert ask(port, "/healthz") == (200, "ok\n")


def test_nothing_else_is_served() -> None:
    """No page, and no way to write."""
    with served(Health()) as (port, _):
        assert ask(port, "/")[0] == 404
        assert ask(port, "/debug")[0] == 404


async def test_lateness_of_the_loop_is_measured(clock: ManualClock) -> None:
    """Once a second, by how much later than asked for it went on; and it is forgotten again."""
    watch = LoopWatch(clock)
    running = asyncio.create_task(watch.run())
    await clock.settle()
    clock.advance(3.5)
    await clock.settle()
    assert watch.lag == pytest.approx(2.5)
    await clock.run_for(1.0)
    assert watch.lag == pytest.approx(0.0)
    running.cancel()
    await asyncio.wait([running])
