"""Group commit: one writer's chain, one segment in flight, everything that waits in the next.

              append ──► waiting ──take──► in flight ──stored──► durable ──► state, callers return
                            │                  │
    timed out or cancelled: withdrawn          └─ timed out or cancelled: its fate is unknown to the
    for good, nothing was sent                    caller; the committer goes on until it is known

While a segment's fate is unknown nothing else is sent: the next one has to name its hash. The same
name is written again with the same bytes until the store says that it is there, so trying again can
neither write something twice nor leave a gap.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import structlog

from agentid.errors import AgentIdError, InternalError, UnavailableError
from agentid.ledger.naming import successor
from agentid.ledger.records import Record, Revoked, encode_record
from agentid.ledger.segment import Cover, Head, Header, Sealed, Segment, seal
from agentid.ledger.store import LABEL_SEGMENT, LABEL_WRITER, SEGMENT, CreateOutcome

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agentid.clock import Clock
    from agentid.ledger.store import SegmentStore

__all__ = ["Commit", "CommitLimits", "Committer"]

_log = structlog.stdlib.get_logger(__name__)

ROLLOVER: Final = timedelta(hours=6)
"""A chain that was idle for so long is not gone on with; the next commit begins another one.
Compaction forgets a chain whose last segment is a day old (`compaction.FORGET_AFTER`); a writer
that came back to it later would leave a gap that nothing explains."""

_FIRST_RETRY: Final = 0.1
_LAST_RETRY: Final = 5.0


@dataclass(frozen=True, slots=True)
class CommitLimits:
    """How commits are made up.

    Attributes:
        records: In one segment at most.
        bytes: In one segment at most, records only. Header and covers have 200 KiB left then.
        pace: Seconds from one commit to the next when several callers wait, so that a busy
            ledger writes fewer and larger segments; a caller that comes alone never waits for it.
        timeout: Seconds after which a caller is told that the store is unavailable.
        drain: Seconds that closing waits for what is under way.
    """

    records: int = 500
    bytes: int = 700 * 1024
    pace: float = 0.1
    timeout: float = 10.0
    drain: float = 5.0


@dataclass(frozen=True, slots=True)
class Commit:
    """A segment that has just become durable.

    Attributes:
        segment: What was written.
        data: Its bytes.
        outcome: What the store said, with its time if it has a clock.
        seconds: From the first attempt until the store confirmed it.
        callers: How many appends it holds, or parts of long ones.
    """

    segment: Segment
    data: bytes = field(repr=False)
    outcome: CreateOutcome
    seconds: float
    callers: int


@dataclass(slots=True, eq=False)
class _Part:
    """What one caller waits for; of a long append several parts."""

    records: tuple[Record, ...]
    lines: tuple[bytes, ...]
    deadline: float
    done: asyncio.Future[None]
    covers: tuple[Cover, ...] = ()
    size: int = 0


class _NameTakenError(Exception):
    """Somebody else wrote other bytes under our name."""


class Committer:
    """Makes records durable; `run` does the work.

    Args:
        store: Where segments go.
        clock: For times, waits and deadlines.
        writer: Of this process; never used before.
        witness: Called with True for the heads of all other chains, with False for those that
            changed since.
        on_durable: Called for each segment as soon as it is durable, before its callers return.
        on_shared_writer: Called with the name of a segment that somebody else wrote into our chain.
        limits: How commits are made up.
    """

    def __init__(
        self,
        store: SegmentStore,
        clock: Clock,
        writer: str,
        *,
        witness: Callable[[bool], tuple[Head, ...]],
        on_durable: Callable[[Commit], None],
        on_shared_writer: Callable[[str], None],
        limits: CommitLimits,
    ) -> None:
        self.writer = writer
        self._store = store
        self._clock = clock
        self._witness = witness
        self._on_durable = on_durable
        self._on_shared_writer = on_shared_writer
        self._limits = limits
        self._sequence = 0
        self._previous: str | None = None
        self._last_start = float("-inf")
        self._last_end = float("-inf")
        self._last_callers = 0
        self._queue: deque[_Part] = deque()
        self._in_flight: tuple[_Part, ...] = ()
        self._storing: Sealed | None = None
        self._work = asyncio.Event()
        self._closing = False
        self._ended = False

    @property
    def waiting(self) -> int:
        """Records that are not durable yet."""
        return sum(len(part.records) for part in (*self._queue, *self._in_flight))

    def is_storing(self, name: str, data: bytes) -> bool:
        """Whether this is the segment that was sent and not answered yet."""
        storing = self._storing
        return storing is not None and storing.name == name and storing.data == data

    async def append(self, records: Sequence[Record]) -> None:
        """Make records durable; see `Ledger.append`."""
        if not records:
            return
        parts = self._parts(records)
        self._enqueue(parts)
        if len(parts) == 1:
            await parts[0].done
            return
        results = await asyncio.gather(*(part.done for part in parts), return_exceptions=True)
        for result in results:
            if result is not None:
                raise result

    async def replace(self, covers: tuple[Cover, ...], records: Sequence[Record]) -> None:
        """Make records durable in one segment that stands for others.

        Unlike `append` it does not time out: whether the covered segments may be deleted has to be
        known.

        Raises:
            UnavailableError: They do not fit into one segment, the store refuses, or the ledger was
                closed.
        """
        lines = tuple(encode_record(record) for record in records)
        part = _Part(tuple(records), lines, float("inf"), _future(), covers)
        self._enqueue([part])
        await part.done

    async def run(self) -> None:
        """Commit until closed and drained. To be run once.

        However it ends, nobody is left waiting.
        """
        failure: str | None = None
        try:
            while not (self._closing and not self._queue):
                if not self._queue:
                    self._work.clear()
                    await self._work.wait()
                    continue
                await self._keep_pace()
                self._in_flight = self._take()
                if self._in_flight:
                    await self._commit(self._in_flight)
                self._in_flight = ()
        except Exception as error:
            failure = f"ledger: the committer has failed, nothing more is recorded: {error}"
            raise
        finally:
            self._ended = True
            for part in (*self._in_flight, *self._queue):
                if failure is not None:
                    _fail(part, InternalError(failure))
                elif part in self._in_flight:
                    _fail(part, UnavailableError(_UNKNOWN.format("closed")))
                else:
                    _fail(part, UnavailableError(_CLOSED))

    def close(self) -> None:
        """Take no more; `run` returns once everything is durable."""
        self._closing = True
        self._work.set()

    def expire(self) -> None:
        """Tell callers whose time is over. Called about every second while somebody waits."""
        now = self._clock.monotonic()
        for part in self._in_flight:
            if part.deadline <= now:
                _fail(part, UnavailableError(_UNKNOWN.format("not stored in time")))
        for part in self._queue:
            if part.deadline <= now:
                _fail(part, UnavailableError(_UNSENT))
        self._queue = deque(part for part in self._queue if not part.done.done())

    # Inside

    def _parts(self, records: Sequence[Record]) -> list[_Part]:
        deadline = self._clock.monotonic() + self._limits.timeout
        parts: list[_Part] = []
        chunk: list[tuple[Record, bytes]] = []
        size = 0
        for record in records:
            line = encode_record(record)
            if chunk and self._is_full(len(chunk) + 1, size + len(line)):
                parts.append(_part(chunk, deadline, size))
                chunk, size = [], 0
            chunk.append((record, line))
            size += len(line) + 1
        parts.append(_part(chunk, deadline, size))
        return parts

    def _is_full(self, records: int, size: int) -> bool:
        return records > self._limits.records or size > self._limits.bytes

    def _enqueue(self, parts: Sequence[_Part]) -> None:
        if self._ended or self._closing:
            raise UnavailableError(_CLOSED)
        self._queue.extend(parts)
        self._work.set()

    async def _keep_pace(self) -> None:
        """Let more callers come, if the last commit shows that there are several."""
        waiting = sum(len(part.records) for part in self._queue)
        if self._last_callers < 2 or waiting >= self._limits.records or self._closing:  # noqa: PLR2004 - several
            return
        rest = self._last_start + self._limits.pace - self._clock.monotonic()
        if rest > 0:
            await self._clock.sleep(rest)

    def _take(self) -> tuple[_Part, ...]:
        taken: list[_Part] = []
        records = size = 0
        while self._queue:
            part = self._queue[0]
            if part.done.done():  # withdrawn
                self._queue.popleft()
                continue
            records += len(part.records)
            size += part.size
            if taken and (part.covers or taken[0].covers or self._is_full(records, size)):
                break
            taken.append(self._queue.popleft())
        return tuple(taken)

    async def _commit(self, parts: tuple[_Part, ...]) -> None:
        if self._sequence and self._clock.monotonic() - self._last_end > ROLLOVER.total_seconds():
            self._begin_chain()
        self._last_start = self._clock.monotonic()
        self._last_callers = len(parts)
        try:
            header, sealed, outcome = await self._store_next(parts)
        except AgentIdError as error:
            _log.error("ledger_commit_refused", writer=self.writer, cause=str(error))
            message = f"ledger: the records were refused and are not on it: {error}"
            for part in parts:
                _fail(part, UnavailableError(message), cause=error)
            return
        self._last_end = self._clock.monotonic()
        self._sequence, self._previous = header.sequence, sealed.hash
        records = tuple(record for part in parts for record in part.records)
        segment = Segment(header, records, sealed.hash, len(sealed.data))
        seconds = self._last_end - self._last_start
        self._on_durable(Commit(segment, sealed.data, outcome, seconds, len(parts)))
        for part in parts:
            if not part.done.done():
                part.done.set_result(None)

    async def _store_next(self, parts: tuple[_Part, ...]) -> tuple[Header, Sealed, CreateOutcome]:
        while True:
            header = self._header(parts[0].covers)
            self._storing = sealed = _seal(header, parts)
            try:
                return header, sealed, await self._write(sealed)
            except _NameTakenError:
                self._on_shared_writer(header.name)
                self._begin_chain()
            finally:
                self._storing = None

    def _header(self, covers: tuple[Cover, ...]) -> Header:
        return Header(
            writer=self.writer,
            sequence=self._sequence + 1,
            previous=self._previous,
            created=self._clock.now(),
            heads=self._witness(self._sequence == 0 or bool(covers)),
            covers=covers,
        )

    def _begin_chain(self) -> None:
        self.writer = successor(self.writer)
        self._sequence, self._previous = 0, None

    async def _write(self, sealed: Sealed) -> CreateOutcome:
        """Store a segment, or find out that it is stored; as long as it takes.

        Raises:
            AgentIdError: It is refused, and no earlier attempt can have stored it.
            _NameTakenError: Another segment has its name.
        """
        labels = {LABEL_SEGMENT: SEGMENT, LABEL_WRITER: self.writer}
        wait, unsure = _FIRST_RETRY, False
        while True:
            asked = wait
            try:
                outcome = await self._store.create(sealed.name, sealed.data, labels)
                if outcome.created:
                    return outcome
                stored = await self._store.read(sealed.name)
                if stored is not None and stored.data != sealed.data:
                    raise _NameTakenError
                if stored is not None:
                    return replace(outcome, at=stored.created_at)
            except UnavailableError as error:
                unsure = True
                asked = error.retry_after.total_seconds() if error.retry_after else wait
                _log.warning("ledger_commit_retried", segment=sealed.name, cause=str(error))
            except AgentIdError as error:
                if not unsure:
                    raise
                # An earlier attempt may have stored it, or may do so yet: only the same name with
                # the same bytes can be tried until that is known.
                _log.error("ledger_commit_refused", segment=sealed.name, cause=str(error))
            await self._clock.sleep(max(wait, min(asked, _LAST_RETRY)))
            wait = min(2 * wait, _LAST_RETRY)


_UNKNOWN: Final = (
    "ledger: {}; the records may be on it or come onto it yet, look at its state before you go on"
)
_CLOSED: Final = "ledger: closed, the records are not on it"
_UNSENT: Final = "ledger: the segment before is not stored yet; the records were not sent"


def _future() -> asyncio.Future[None]:
    return asyncio.get_running_loop().create_future()


def _part(chunk: Sequence[tuple[Record, bytes]], deadline: float, size: int) -> _Part:
    records, lines = tuple(one for one, _ in chunk), tuple(line for _, line in chunk)
    return _Part(records, lines, deadline, _future(), size=size)


def _seal(header: Header, parts: Sequence[_Part]) -> Sealed:
    lines = [line for part in parts for line in part.lines]
    records = (record for part in parts for record in part.records)
    return seal(header, lines, [one.serial for one in records if isinstance(one, Revoked)])


def _fail(part: _Part, error: BaseException, *, cause: BaseException | None = None) -> None:
    if not part.done.done():
        error.__cause__ = cause
        part.done.set_exception(error)
