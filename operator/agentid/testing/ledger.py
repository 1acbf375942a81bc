"""Records, and ledgers on virtual time, for tests."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING

from agentid.api.vocabulary import DeliveryMode
from agentid.identity import SerialNumber
from agentid.identity.revocation import RevocationReason
from agentid.ledger.ledger import Ledger
from agentid.ledger.records import Issued, Revoked

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable
    from typing import TypeVar

    from agentid.clock import Clock
    from agentid.ledger.committer import CommitLimits
    from agentid.ledger.state import LedgerState
    from agentid.ledger.store import SegmentStore
    from agentid.testing.clock import ManualClock

    T = TypeVar("T")

__all__ = ["NOON", "in_virtual_time", "make_issued", "make_revoked", "open_ledger", "snapshot"]

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
"""The moment at which tests begin, as `ManualClock` does."""


def make_issued(
    number: int,
    name: str = "reader",
    *,
    lifetime: timedelta = timedelta(hours=1),
    **changes: object,
) -> Issued:
    """The record of a certificate made at noon; the number is its serial.

    Args:
        number: From 1 up.
        name: Of the AgentIdentity, in namespace `demo`.
        lifetime: Of the certificate.
        changes: Fields that are to be different.
    """
    spiffe_id = f"spiffe://example.org/ns/demo/agent/{name}"
    record = Issued(
        serial=SerialNumber(number),
        fingerprint=sha256(str(number).encode()).hexdigest(),
        spiffe_id=spiffe_id,
        namespace="demo",
        name=name,
        uid=f"uid-of-{name}",
        issuer="builtin",
        authority="0123456789abcdef",
        shard=number % 8,
        bundle=1,
        not_before=NOON - timedelta(minutes=1),
        not_after=NOON + lifetime,
        issued_at=NOON,
        door=DeliveryMode.SECRET,
        grant=f'{{"spiffeID":"{spiffe_id}"}}',
    )
    return replace(record, **changes) if changes else record  # type: ignore[arg-type]


def make_revoked(number: int, *, lifetime: timedelta = timedelta(hours=1)) -> Revoked:
    """The record of a revocation, of the certificate that `make_issued` makes."""
    return Revoked(
        serial=SerialNumber(number),
        reason=RevocationReason.SUPERSEDED,
        revoked_at=NOON + timedelta(minutes=5),
        not_after=NOON + lifetime,
        actor="a test",
    )


@asynccontextmanager
async def open_ledger(
    store: SegmentStore,
    clock: Clock,
    writer: str = "w",
    *,
    limits: CommitLimits | None = None,
) -> AsyncIterator[Ledger]:
    """A ledger that has started, ended as a crash would: nothing is drained."""
    ledger = Ledger(store, clock=clock, writer=writer, limits=limits)
    await ledger.start()
    try:
        yield ledger
    finally:
        await ledger.abandon()


async def in_virtual_time(clock: ManualClock, work: Awaitable[T], *, seconds: float = 3600) -> T:
    """Await something while virtual time passes.

    Raises:
        TimeoutError: It did not come to its end within so many virtual seconds.
    """
    task = asyncio.ensure_future(work)
    end = clock.monotonic() + seconds
    await clock.settle()
    while not task.done():
        if clock.monotonic() >= end:
            task.cancel()
            await asyncio.wait([task])
            message = f"not done within {seconds} virtual seconds"
            raise TimeoutError(message)
        await clock.run_for(0.05)
    return task.result()


def snapshot(state: LedgerState) -> object:
    """Everything that a state says; equal for states that say the same."""
    entries = sorted(state.entries(), key=lambda entry: entry.serial)
    by_identity = {key: state.entries_of(*key) for key in sorted(state.keys())}
    revoked = sorted(state.revoked(), key=lambda one: (one.serial, one.actor))
    counts = (state.count, state.revoked_count, state.identity_count)
    return entries, by_identity, revoked, counts
