"""One run of the operator, from its start to its orderly end.

```
 build ─► probes ─► ledger replay ─► classes and issuers ─► Kopf, Lease ─► … ─► SIGTERM
                                                                                  │
          exit 0 ◄─ ledger flushed ◄─ Lease given up ◄─ passes in work finished ◄─┘
```
"""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from typing import TYPE_CHECKING, Final

import kopf
import structlog

from agentid.controller.loops import Loops
from agentid.controller.triggers import make_registry, make_settings
from agentid.controller.watching import IdentityWatch
from agentid.errors import AgentIdError, InputError, InternalError
from agentid.factory import build
from agentid.services.census import Census, take_census
from agentid.telemetry.metrics import Snapshot
from agentid.telemetry.probes import LoopWatch, serve_probes

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Sequence

    from agentid.clock import Clock
    from agentid.controller.companion import MakeCompanion
    from agentid.factory import Parts, Settings

__all__ = ["run_operator"]

_log = structlog.stdlib.get_logger(__name__)

_DRAIN: Final = 4.0
"""Seconds for passes in work at the end; with the Lease (3 s) and the ledger (2 s) below the ten
that a stop may take."""

_DRAIN_COMPANIONS: Final = 0.5
"""Seconds on top of it, for answers that were begun."""

_STUCK: Final = 300.0
"""Seconds that the leader may hand out nothing while keys wait. Far above any back-off of the API
server; below it a slow cluster would be restarted into a slower one."""

_KOPF_END: Final = 0.3
"""Seconds for Kopf to end its watches in order; it owes nothing to anybody, so it need not."""

_PRIME_AGAIN: Final = 3.0


async def run_operator(
    settings: Settings,
    *,
    clock: Clock,
    probe_host: str,
    probe_port: int,
    companions: Sequence[MakeCompanion] = (),
) -> None:
    """Run until SIGTERM or SIGINT, then stop in order.

    Args:
        settings: What differs from one installation to another.
        clock: For everything.
        probe_host: Address of probes and metrics.
        probe_port: Port of them.
        companions: Make what runs beside the controller, in every replica.

    Raises:
        InputError: It cannot begin, such as without credentials.
        AgentIdError: It cannot go on, such as without the right to read its ledger.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def take_signals() -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)

    take_signals()
    async with build(settings, clock=clock) as parts:
        run = _Run(parts, stop, companions)
        parts.metrics.observe_state(run.snapshot)
        async with serve_probes(
            probe_host, probe_port, run, parts.metrics.render, run.remarks, run.count
        ) as port:
            _log.info(
                "operator_started",
                namespace=parts.namespace, writer=parts.ledger.writer, probes=port,
            )  # fmt: skip
            await run.run(take_signals)
    _log.info("operator_stopped")


class _Run:
    def __init__(
        self, parts: Parts, stop: asyncio.Event, companions: Sequence[MakeCompanion]
    ) -> None:
        self._parts = parts
        self._clock = parts.clock
        self._stop = stop
        self._loops = Loops(parts)
        self._loops.companions = tuple(make(parts, self._loops.look_soon) for make in companions)
        self._identities = IdentityWatch(parts.client, parts.clock, self._loops.identity_seen)
        self._watch = LoopWatch(parts.clock)
        self._census = Census()
        self._missing = "the ledger has not been read yet"

    async def run(self, take_signals: Callable[[], None]) -> None:
        parts, loops = self._parts, self._loops
        lag = asyncio.create_task(self._watch.run(), name="loop-watch")
        try:
            if not await self._until_stop(parts.ledger.start()):
                return
            if not await self._until_stop(self._prime()):
                return
            kopf_stop = asyncio.Event()
            ready = asyncio.Event()
            watching = asyncio.create_task(self._run_kopf(kopf_stop, ready), name="kopf")
            await asyncio.wait(
                (watching, asyncio.create_task(ready.wait())), return_when="FIRST_COMPLETED"
            )
            # Kopf takes the signals for itself as it starts; the order of stopping is ours.
            take_signals()
            leading = asyncio.create_task(
                parts.leader.run(loops.started, loops.stopped), name="leader"
            )
            endings = {
                watching,
                leading,
                asyncio.create_task(parts.ledger.join(), name="ledger"),
                asyncio.create_task(loops.crashed.wait(), name="crashed"),
                asyncio.create_task(self._identities.run(), name="identities"),
                asyncio.create_task(loops.pods.watch(), name="pods"),
                asyncio.create_task(loops.pods.watch_doors(), name="doors"),
                asyncio.create_task(parts.standby.run(), name="standby"),
                *(
                    asyncio.create_task(each.run(), name=type(each).__name__)
                    for each in loops.companions
                ),
                stopped := asyncio.create_task(self._stop.wait(), name="stop"),
            }
            done, _ = await asyncio.wait(endings, return_when=asyncio.FIRST_COMPLETED)
            asked = stopped in done
            _log.info("operator_stopping", asked=asked)
            draining = asyncio.gather(*(each.drain() for each in loops.companions))
            await loops.drain(_DRAIN)
            await asyncio.wait({draining}, timeout=_DRAIN_COMPANIONS)
            draining.cancel()
            parts.leader.stop()
            kopf_stop.set()
            await asyncio.wait({leading}, timeout=_DRAIN)
            await parts.ledger.close()
            await asyncio.wait({watching}, timeout=_KOPF_END)
            for task in endings:
                task.cancel()
            await asyncio.gather(*endings, return_exceptions=True)
            if not asked:
                _raise_first(done)
        finally:
            lag.cancel()
            await parts.ledger.abandon()

    async def _until_stop(self, work: Coroutine[None, None, None]) -> bool:
        """Do the work, unless a stop comes first; True if it was done."""
        task = asyncio.ensure_future(work)
        stopped = asyncio.create_task(self._stop.wait())
        await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if task.done():
            await task
            return True
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return False

    async def _prime(self) -> None:
        while True:
            try:
                await self._loops.prime()
            except InputError:
                raise
            except AgentIdError as error:
                self._missing = f"the small kinds cannot be read: {error}; install crds/ and rbac/"
                _log.warning("operator_waits", error=str(error))
                await self._clock.sleep(_PRIME_AGAIN)
            else:
                self._missing = ""
                return

    async def _run_kopf(self, stop: asyncio.Event, ready: asyncio.Event) -> None:
        await kopf.operator(
            registry=make_registry(self._loops, self._parts.credentials),
            settings=make_settings(),
            clusterwide=True,
            standalone=True,
            stop_flag=stop,
            ready_flag=ready,
        )

    # Probes

    def unhealthy(self) -> Sequence[str]:
        """What only a restart can mend."""
        stuck = self._loops.queue.stuck_for().total_seconds()
        if self._parts.leader.is_leader() and stuck > _STUCK:
            return (f"identities have waited for {stuck:.0f} s and none is looked at",)
        return ()

    def unready(self) -> Sequence[str]:
        """What still keeps this replica from doing its work."""
        if self._missing:
            return (self._missing,)
        return () if self._identities.synced else ("AgentIdentities have not been listed yet",)

    def remarks(self) -> Sequence[str]:
        """What a person should look at, though work goes on."""
        audit = self._parts.audit
        if audit is None or not audit.failure:
            return ()
        return (f"the audit stream cannot be written: {audit.failure}",)

    async def count(self) -> None:
        """Count what the gauges are to tell of, before they are asked."""
        self._census = await take_census(self._parts.ledger.state, self._clock.now())

    def snapshot(self) -> Snapshot:
        """The state for the gauges."""
        parts, loops = self._parts, self._loops
        now, stats = self._clock.now(), parts.ledger.stats()
        overdue = parts.world.identities.overdue(now)
        return Snapshot(
            leader=parts.leader.is_leader(),
            identities=len(parts.world.identities),
            queue_depth={lane.name.lower(): n for lane, n in loops.queue.depth_by_lane().items()},
            queue_oldest_seconds=loops.queue.oldest_wait().total_seconds(),
            renewals_due=loops.schedule.due_count(now),
            live_certificates=self._census.live,
            expiry_seconds=self._census.expiry_seconds,
            authority_expiry_seconds={
                (name, info.role.value, info.id): (info.validity.not_after - now).total_seconds()
                for name, state in parts.world.issuer_states.items()
                if state.issuer is not None
                for info in state.issuer.authorities()
            },
            keys_in_use={
                (name, algorithm.value): count
                for name, counted in self._census.keys.items()
                for algorithm, count in counted.items()
            },
            crl_seconds={
                name: (until - now).total_seconds()
                for name, until in parts.crls.next_updates().items()
            },
            ledger={"segments": stats.segments, "bytes": stats.bytes, "entries": stats.entries},
            ledger_alarms=len(parts.ledger.alarms),
            incidents=parts.world.incidents.by_phase(),
            loop_lag_seconds=self._watch.lag,
            not_ready=parts.world.identities.unready(),
            overdue=len(overdue),
            overdue_seconds=max(overdue, default=0.0),
            issuer_conditions=parts.issuers.conditions(),
            authorities=Counter(
                (name, info.role.value, info.state)
                for name, state in parts.world.issuer_states.items()
                if state.issuer is not None
                for info in state.issuer.authorities()
            ),
            bundles={
                name: state.authorities.records.sequence
                for name, state in parts.world.issuer_states.items()
                if state.authorities is not None
            },
            published_bundles=parts.world.published_bundles,
            federation_age_seconds=parts.federation.ages(),
            webhook_configured=parts.credentials_of_admission.wanted,
            audit_failing=parts.audit is not None and bool(parts.audit.failure),
        )


def _raise_first(done: Iterable[asyncio.Task[object]]) -> None:
    for task in done:
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error
    message = "a part of the operator ended that must not; its log lines above say which"
    raise InternalError(message)
