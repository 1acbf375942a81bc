"""The deny feed: what was revoked, in an order, so that a policy point misses nothing.

Each issuer has a log. An event in it is a revocation, with a position: the epoch of this process
and a number that counts up. A client that names a position of this log goes on behind it. For any
other, of another process or so old that it was dropped, the feed begins with `reset` and everything
that is revoked, so that nothing is ever lost:

    position known                       position unknown, or none given
    ──────────────                       ───────────────────────────────
    what came after it                   reset
    synced                               everything that is revoked now
    what comes                           synced
                                         what comes

An event may come twice, and the later one counts: at first perhaps without the identity, when a
revocation is read before the record of its certificate.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import orjson

from agentid.ledger.wire import time_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from agentid.ledger import Durable, Entry, Issued, LedgerState, Revoked
    from agentid.responder.register import LedgerSource

__all__ = ["CAPACITY", "FeedEvent", "FeedLog", "Feeds"]

CAPACITY: Final = 32_768
"""Events that a log remembers for clients that come back. An incident of 10,000 certificates fits
in three times; 400 bytes each make 13 MB."""


@dataclass(frozen=True, slots=True)
class FeedEvent:
    """One revocation.

    Attributes:
        number: Its place in the log.
        issuer: Of the certificate, empty if it is on no record.
        not_after: When it stops to matter.
        fields: Its JSON from after `{"id":…,` on, with the closing brace.
    """

    number: int
    issuer: str
    not_after: datetime
    fields: bytes = field(repr=False)


class FeedLog:
    """The revocations of one issuer, in the order in which they became known here.

    Args:
        epoch: Of this process, no other ever has it.
        capacity: Events that are remembered.
    """

    def __init__(self, epoch: str, capacity: int = CAPACITY) -> None:
        self._epoch = epoch
        self._events: deque[FeedEvent] = deque(maxlen=capacity)
        self._current: dict[int, FeedEvent] = {}
        self._last = 0
        self._changed = asyncio.Event()

    def append(self, serial: int, issuer: str, not_after: datetime, fields: bytes) -> None:
        """A revocation has become known, or more has about one."""
        self._last += 1
        event = FeedEvent(self._last, issuer, not_after, fields)
        self._events.append(event)
        self._current[serial] = event
        self.wake()

    def wake(self) -> None:
        """Let everybody who waits look."""
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def find(self, position: str) -> int | None:
        """The number of a position, None if events behind it are not known to be remembered."""
        epoch, _, text = position.partition("-")
        if (
            epoch != self._epoch
            or not text.isascii()
            or not text.isdecimal()
            or len(text) > _DIGITS
        ):
            return None
        number = int(text)
        return number if self._oldest - 1 <= number <= self._last else None

    def position(self, number: int) -> str:
        """What a client names to go on behind this event."""
        return f"{self._epoch}-{number}"

    @property
    def last(self) -> int:
        """Number of the newest event, 0 before the first."""
        return self._last

    @property
    def _oldest(self) -> int:
        return self._last - len(self._events) + 1

    def after(self, number: int, limit: int) -> Sequence[FeedEvent] | None:
        """The next events behind this one, at most so many; None if some were dropped."""
        if number < self._oldest - 1:
            return None
        if number >= self._last:
            return ()
        start = number - self._oldest + 1
        # A deque is slow in its middle; a client is near its right end, as a rule.
        count = len(self._events)
        return [self._events[at] for at in range(start, min(start + limit, count))]

    def snapshot(self, now: datetime) -> tuple[int, tuple[FeedEvent, ...]]:
        """Everything that is revoked now and not expired, and the number it goes up to."""
        gone = [serial for serial, event in self._current.items() if event.not_after < now]
        for serial in gone:
            del self._current[serial]
        return self._last, tuple(self._current.values())

    async def wait_behind(self, number: int) -> None:
        """Return when there is an event behind this one, or somebody was woken."""
        if self._last <= number:
            await self._changed.wait()


_DIGITS: Final = 18


class Feeds:
    """The logs of all issuers, fed by the ledger.

    Args:
        epoch: Of this process, no other ever has it.
        capacity: Events that each log remembers.
    """

    def __init__(self, epoch: str, capacity: int = CAPACITY) -> None:
        self._epoch = epoch
        self._capacity = capacity
        self._logs: dict[str, FeedLog] = {}
        self._told: dict[int, tuple[Revoked, str]] = {}
        self._unmatched: dict[int, Revoked] = {}
        self._state: LedgerState | None = None

    def follow(self, ledger: LedgerSource) -> None:
        """Take in what stands on the ledger, and whatever comes to it.

        Nothing is awaited in between, so nothing is missed.
        """
        self._state = ledger.state
        ledger.subscribe(self.learn)
        for entry in ledger.state.entries():
            self._look(entry.serial.value)
        for revoked in ledger.state.revoked():
            self._look(revoked.serial.value)

    def learn(self, durable: Durable) -> None:
        """Records became durable; a listener of the ledger's."""
        for record in durable.records:
            self._look(record.serial.value)

    def add_issuer(self, issuer: str) -> None:
        """There is such an issuer, though nothing of its may be revoked."""
        self._log(issuer)

    def get(self, issuer: str) -> FeedLog | None:
        """The log of an issuer, None if it is unknown."""
        return self._logs.get(issuer)

    def issuers(self) -> tuple[str, ...]:
        """All issuers that have one, sorted."""
        return tuple(sorted(self._logs))

    def wake(self) -> None:
        """Let every client look, so that it sees that this process ends."""
        for log in self._logs.values():
            log.wake()

    def forget_expired(self, now: datetime) -> None:
        """Let go of what does not matter any more."""
        for serial in [s for s, (revoked, _) in self._told.items() if revoked.not_after < now]:
            del self._told[serial]
            self._unmatched.pop(serial, None)
        for log in self._logs.values():
            log.snapshot(now)

    def _log(self, issuer: str) -> FeedLog:
        log = self._logs.get(issuer)
        if log is None:
            log = self._logs[issuer] = FeedLog(self._epoch, self._capacity)
            for revoked in self._unmatched.values():
                _append(log, revoked, None)
        return log

    def _look(self, serial: int) -> None:
        if self._state is None:
            return
        entry, revoked = self._state.by_value(serial), self._state.revocation_of(serial)
        log = None if entry is None else self._log(entry.issued.issuer)
        if revoked is None:
            return
        issuer = "" if entry is None else entry.issued.issuer
        if self._told.get(serial) == (revoked, issuer):
            return
        self._told[serial] = (revoked, issuer)
        if log is not None:
            self._unmatched.pop(serial, None)
            _append(log, revoked, entry)
            return
        # Whose it is nobody knows, so everybody is told.
        self._unmatched[serial] = revoked
        for each in self._logs.values():
            _append(each, revoked, None)


def _append(log: FeedLog, revoked: Revoked, entry: Entry | None) -> None:
    issued = None if entry is None else entry.issued
    log.append(
        revoked.serial.value,
        "" if issued is None else issued.issuer,
        revoked.not_after,
        _fields(revoked, issued),
    )


def _fields(revoked: Revoked, issued: Issued | None) -> bytes:
    body = {
        "type": "revoked",
        "serial": str(revoked.serial),
        "issuer": None,
        "authority": None,
        "spiffeID": None,
        "namespace": None,
        "name": None,
        "reason": revoked.reason.value,
        "revokedAt": time_text(revoked.revoked_at),
        "notAfter": time_text(revoked.not_after),
    }
    if issued is not None:
        body |= {
            "issuer": issued.issuer,
            "authority": issued.authority,
            "spiffeID": issued.spiffe_id,
            "namespace": issued.namespace,
            "name": issued.name,
        }
    return orjson.dumps(body)[1:]


def batches(events: Sequence[FeedEvent], size: int) -> Iterator[Sequence[FeedEvent]]:
    """The events in runs of at most so many."""
    for at in range(0, len(events), size):
        yield events[at : at + size]
