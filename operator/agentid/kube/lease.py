"""Which replica writes: leader election on a `coordination.k8s.io/v1` Lease.

The protocol is client-go's (`tools/leaderelection`), so its guarantees are:

- A candidate takes the Lease over when nobody holds it, or when it has *itself* watched it stay
  unchanged for the holder's lease duration. Times written by others are never compared with a clock
  of ours; only how long nothing happened is measured, by a clock that cannot be set.
- Every write names the version it replaces, so of two candidates one loses.
- A holder believes in itself until `renew_deadline` after it *sent* its last successful renewal.
  The rest of the lease duration, five seconds by default, is what its last requests, and clocks of
  different speed, have left before anybody else can begin.

What no such protocol can promise: that a write sent while leading arrives while leading. Writes
are conditional on what they were decided from, and the ledger takes more than one writer.

What it costs the API server, at the defaults: the holder writes once in 2 s (1.1 ms of CPU each),
each other replica reads once a second (0.7 ms each): 0.13 % of one core for two replicas. Reading
once a second rather than once in 2 s halves the pause after a graceful stop, to 0.5 s on average
and 1.2 s at most. A watch would save at most half of that, since it would be sent every renewal,
and would have to be guarded by reads all the same.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Protocol

from agentid.errors import AgentIdError, AlreadyExistsError, ConflictError, NotFoundError
from agentid.kube.objects import resource_version_of
from agentid.kube.resources import LEASES
from agentid.kube.waiting import pause, within

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agentid.clock import Clock
    from agentid.kube.client import Client

__all__ = ["ApiLease", "Leader", "LeaseRecord", "LeaseStore", "LeaseTimes"]

_RELEASE_WITHIN: Final = 3.0
"""Seconds a stopping process spends on giving up the Lease; others get it by waiting as well."""

_DURATION_MAX: Final = 3600
"""Seconds. A Lease that claims to be held for longer is taken for one of our own duration: it was
not written by one of us, and would lock all replicas out."""


@dataclass(frozen=True, slots=True)
class LeaseTimes:
    """How fast leadership moves; seconds.

    Attributes:
        duration: How long others leave the Lease alone after they saw it change.
        renew_deadline: How long the holder believes in itself after a renewal was sent.
        retry_period: Between two renewals, and between two tries that failed.
        poll_period: Between two looks of those who wait; up to a fifth more or less, drawn anew
            each time, so that they do not come together.
    """

    duration: int = 15
    renew_deadline: float = 10.0
    retry_period: float = 2.0
    poll_period: float = 1.0

    def __post_init__(self) -> None:
        """Refuse times that would let two replicas lead, or the only one lose its Lease."""
        if not self.duration > self.renew_deadline > 1.2 * self.retry_period > 0:
            message = (
                f"a Lease needs duration > renew_deadline > 1.2 * retry_period > 0, found "
                f"{self.duration} s, {self.renew_deadline} s, {self.retry_period} s"
            )
            raise ValueError(message)


@dataclass(frozen=True, slots=True)
class LeaseRecord:
    """A Lease as it is stored.

    Attributes:
        holder: Who has it; empty when nobody has.
        duration: Seconds the holder asks others to leave it alone.
        acquired: When the holder got it, RFC 3339 with microseconds, for people.
        renewed: When it was last renewed; that it changes says that the holder is alive.
        transitions: How often it changed hands.
        version: `resourceVersion`, which the next write has to name; empty before the first.
    """

    holder: str
    duration: int
    acquired: str
    renewed: str
    transitions: int
    version: str = ""


class LeaseStore(Protocol):
    """Where the one Lease is kept; every write is a compare-and-swap."""

    async def read(self) -> LeaseRecord | None:
        """Return the Lease, or None when there is none."""

    async def create(self, record: LeaseRecord) -> LeaseRecord:
        """Write the first record and return it as stored.

        Raises:
            AlreadyExistsError: Somebody else was first.
        """

    async def update(self, record: LeaseRecord) -> LeaseRecord:
        """Write the record in place of the version it names, and return it as stored.

        Raises:
            ConflictError: The Lease has another version by now.
            NotFoundError: It is gone.
        """


class ApiLease:
    """The Lease in the API server.

    Give it a client of its own, with two connections and a time-out of a third of the renew
    deadline: a renewal must not wait its turn behind the writes that it makes legitimate.
    """

    def __init__(self, client: Client, *, namespace: str, name: str) -> None:
        self._client = client
        self._namespace = namespace
        self._name = name

    async def read(self) -> LeaseRecord | None:
        """Return the Lease, or None when there is none."""
        try:
            return _from_api(await self._client.get(LEASES, self._name, self._namespace))
        except NotFoundError:
            return None

    async def create(self, record: LeaseRecord) -> LeaseRecord:
        """Create the Lease."""
        return _from_api(await self._client.create(LEASES, self._to_api(record)))

    async def update(self, record: LeaseRecord) -> LeaseRecord:
        """Replace the Lease."""
        return _from_api(await self._client.replace(LEASES, self._to_api(record)))

    def _to_api(self, record: LeaseRecord) -> dict[str, object]:
        metadata = {"name": self._name, "namespace": self._namespace}
        if record.version:
            metadata["resourceVersion"] = record.version
        return {
            "apiVersion": LEASES.api_version,
            "kind": LEASES.kind,
            "metadata": metadata,
            "spec": {
                "holderIdentity": record.holder,
                "leaseDurationSeconds": record.duration,
                "acquireTime": record.acquired or None,
                "renewTime": record.renewed or None,
                "leaseTransitions": record.transitions,
            },
        }


class Leader:
    """One candidate. `run` campaigns and holds; `is_leader` may be asked at any time."""

    def __init__(
        self,
        store: LeaseStore,
        *,
        identity: str,
        clock: Clock,
        random: Callable[[], float],
        times: LeaseTimes | None = None,
        on_trouble: Callable[[AgentIdError], None] | None = None,
    ) -> None:
        """Campaign for nothing yet.

        Args:
            store: The Lease.
            identity: Who we are, unlike any other candidate and any earlier process: a pod's name
                and something random.
            clock: Its monotonic reading counts.
            random: A number in [0, 1) at each call.
            times: How fast leadership moves.
            on_trouble: Told about every try that failed; the next one follows by itself.
        """
        self._store = store
        self._identity = identity
        self._clock = clock
        self._random = random
        self._times = times or LeaseTimes()
        self._on_trouble = on_trouble
        # What is stored, as far as we know, and whether we know it for sure: only our own write,
        # answered, says so.
        self._stored: LeaseRecord | None = None
        self._look_first = True
        # The last record that said something new, and when that was. It outlives the Lease: one
        # that somebody deletes is not free before its holder has had its time.
        self._seen: LeaseRecord | None = None
        self._seen_at = 0.0
        self._valid_until: float | None = None
        self._stopping = asyncio.Event()

    def is_leader(self) -> bool:
        """Return whether we may write, at this very moment.

        Decided from the clock at each call, and not from what `run` last did: a process that was
        stopped, or an event loop that was stuck, finds out with its first question.
        """
        return self._valid_until is not None and self._clock.monotonic() < self._valid_until

    @property
    def holder(self) -> str:
        """Who holds the Lease, as far as we have seen; empty for nobody."""
        return self._seen.holder if self._seen else ""

    async def run(self, on_started: Callable[[], None], on_stopped: Callable[[], None]) -> None:
        """Campaign, hold, lose, and campaign again, until `stop` is called or the task cancelled.

        Both ends give up the Lease, so that another candidate has it within about a second. The
        callbacks alternate, beginning with `on_started`; `on_stopped` comes before the Lease is
        given up. Call `stop` when what is in flight is done: until then it is still renewed.

        Args:
            on_started: Called when we have become leader.
            on_stopped: Called when we no longer are, however that came about.
        """
        while not self._stopping.is_set():
            if not await self._campaign():
                await self._rest(self._times.poll_period * (0.8 + 0.4 * self._random()))
                continue
            try:
                on_started()
                await self._hold()
            finally:
                held, self._valid_until = self._valid_until is not None, None
                on_stopped()
                if held:
                    await within(self._clock, _RELEASE_WITHIN, self._release())

    def stop(self) -> None:
        """Have `run` give up the Lease and return."""
        self._stopping.set()

    async def _campaign(self) -> bool:
        await within(self._clock, self._times.renew_deadline, self._attempt())
        return self.is_leader()

    async def _hold(self) -> None:
        """Renew until `stop` is called, or until the Lease is lost and `_valid_until` is None."""
        while not self._stopping.is_set():
            await self._rest(self._times.retry_period)
            until = self._valid_until or 0.0
            left = until - self._clock.monotonic()
            if left > 0 and not self._stopping.is_set():
                await within(self._clock, left, self._attempt())
            # A renewal that arrives too late does not count: `is_leader` has said no meanwhile,
            # and who asked has acted on it.
            if self._clock.monotonic() >= until or not self._is_ours():
                self._valid_until = None
                return

    async def _rest(self, seconds: float) -> None:
        await pause(self._clock, seconds, self._stopping)

    async def _attempt(self) -> None:
        """Acquire or renew once, if the Lease is ours to have."""
        try:
            # A second time, when what we took the Lease for turned out to be old.
            for _ in range(2):
                began = self._clock.monotonic()
                if self._look_first:
                    self._note(await self._store.read())
                if self._is_others(began):
                    return
                if await self._write(self._identity, self._times.duration):
                    self._valid_until = began + self._times.renew_deadline
                    return
        except AgentIdError as error:
            if self._on_trouble is not None:
                self._on_trouble(error)

    async def _release(self) -> None:
        try:
            for _ in range(2):
                if self._look_first:
                    self._note(await self._store.read())
                # A duration of one second is what client-go writes here: none at all is invalid.
                if not self._is_ours() or await self._write("", 1):
                    return
        except AgentIdError as error:
            if self._on_trouble is not None:
                self._on_trouble(error)

    async def _write(self, holder: str, duration: int) -> bool:
        """Put our record in place of the one we know; False when it is another by now."""
        known, now = self._stored, _micro_time(self._clock.now())
        before = known or LeaseRecord("", 0, "", "", -1)
        kept = holder in {before.holder, ""}
        record = LeaseRecord(
            holder=holder,
            duration=duration,
            acquired=before.acquired if kept else now,
            renewed=now,
            transitions=before.transitions if kept else before.transitions + 1,
            version=before.version,
        )
        self._look_first = True  # until the answer is here: without it, it may be done or not
        try:
            written = await (self._store.update if known else self._store.create)(record)
        except (ConflictError, AlreadyExistsError, NotFoundError):
            return False
        self._note(written)
        self._look_first = False
        return True

    def _note(self, record: LeaseRecord | None) -> None:
        self._stored = record
        if record is None:
            return
        if self._seen is None or replace(record, version=self._seen.version) != self._seen:
            self._seen_at = self._clock.monotonic()
        self._seen = record

    def _is_ours(self) -> bool:
        return self._seen is not None and self._seen.holder == self._identity

    def _is_others(self, now: float) -> bool:
        seen = self._seen
        if seen is None or seen.holder in {"", self._identity}:
            return False
        claimed = 0 < seen.duration <= _DURATION_MAX
        return now - self._seen_at < (seen.duration if claimed else self._times.duration)


def _micro_time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _from_api(body: Mapping[str, object]) -> LeaseRecord:
    spec = body.get("spec")
    spec = spec if isinstance(spec, dict) else {}
    return LeaseRecord(
        holder=str(spec.get("holderIdentity") or ""),
        duration=int(spec.get("leaseDurationSeconds") or 0),
        acquired=str(spec.get("acquireTime") or ""),
        renewed=str(spec.get("renewTime") or ""),
        transitions=int(spec.get("leaseTransitions") or 0),
        version=resource_version_of(body),
    )
