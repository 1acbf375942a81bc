"""Which certificates there are: those on record that a question selects, and what became of them.

Segments are taken in one after the other, in any order, and only what may be part of the answer is
kept: certificates that the question selects by what never changes, and all revocations, which are
small. What the readable part of a damaged segment counts for is said in `intake`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING

from agentid.errors import InputError
from agentid.ledger.intake import named_as_revoked
from agentid.ledger.reading import inspect
from agentid.ledger.records import Issued
from agentid.ledger.state import LedgerState
from agentid.ledger.verify import SegmentInfo, VerifyReport, verify
from agentid.policy.grant import Grant

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from agentid.api.vocabulary import Tier
    from agentid.identity import SerialNumber
    from agentid.ledger.records import Record, Revoked
    from agentid.ledger.state import Entry
    from agentid.ledger.store import StoredSegment

__all__ = ["Inventory", "Item", "Query", "SortKey", "State", "grant_of", "take_stock"]


class State(StrEnum):
    """What became of a certificate; each is in one of these at each moment."""

    LIVE = "live"
    """Neither revoked nor expired; its notBefore may lie ahead."""
    REVOKED = "revoked"
    """Whether or not it has expired since."""
    EXPIRED = "expired"
    """And never revoked."""


class SortKey(StrEnum):
    """What items are sorted by; the serial decides between equals."""

    ISSUED = "issued"
    EXPIRES = "expires"
    IDENTITY = "identity"
    SERIAL = "serial"


@dataclass(frozen=True, slots=True)
class Query:
    """Which certificates are meant: those for which all that is given holds.

    Attributes:
        namespace: Of the identity.
        name: Of the identity.
        class_name: Of the AgentClass.
        tier: Of the class then.
        issuer: Name of the AgentIssuer.
        authority: Its id, or how that begins.
        serial: How the serial begins, lower-case hexadecimal.
        issued_after: The earliest `issued_at`.
        issued_before: The `issued_at` before which it was made.
        valid_at: A moment at which it was good: in its validity, and not revoked yet.
        state: What became of it, by `now`.
    """

    namespace: str | None = None
    name: str | None = None
    class_name: str | None = None
    tier: Tier | None = None
    issuer: str | None = None
    authority: str | None = None
    serial: str | None = None
    issued_after: datetime | None = None
    issued_before: datetime | None = None
    valid_at: datetime | None = None
    state: State | None = None

    def selects(self, record: Record) -> bool:
        """Whether what never changes of a certificate is as it is asked for.

        A revocation is selected by its serial alone: of which certificate it is may come later.
        """
        if not str(record.serial).startswith(self.serial or ""):
            return False
        return not isinstance(record, Issued) or (
            self._selects_who(record) and self._selects_when(record) and self._selects_grant(record)
        )

    @property
    def is_about_revocations(self) -> bool:
        """Whether a revocation whose certificate is not on record is part of the answer.

        Nothing is known of such a certificate but its serial.
        """
        return self.state in {None, State.REVOKED} and all(
            asked is None
            for asked in (
                self.namespace,
                self.name,
                self.class_name,
                self.tier,
                self.issuer,
                self.authority,
                self.issued_after,
                self.issued_before,
                self.valid_at,
            )
        )

    def accepts(self, item: Item, now: datetime) -> bool:
        """Whether what may change is as it is asked for; to be asked about what `selects`."""
        if item.issued is None and not self.is_about_revocations:
            return False
        if self.state is not None and item.state(now) is not self.state:
            return False
        return (
            self.valid_at is None or item.revoked is None or self.valid_at < item.revoked.revoked_at
        )

    def _selects_who(self, record: Issued) -> bool:
        return (
            self.namespace in {None, record.namespace}
            and self.name in {None, record.name}
            and self.issuer in {None, record.issuer}
            and record.authority.startswith(self.authority or "")
        )

    def _selects_when(self, record: Issued) -> bool:
        after, before, at = self.issued_after, self.issued_before, self.valid_at
        return (
            (after is None or after <= record.issued_at)
            and (before is None or record.issued_at < before)
            and (at is None or record.not_before <= at <= record.not_after)
        )

    def _selects_grant(self, record: Issued) -> bool:
        if self.class_name is None and self.tier is None:
            return True
        grant = grant_of(record.grant)
        if isinstance(grant, InputError):
            return False
        return self.class_name in {None, grant.class_name} and self.tier in {None, grant.tier}


@dataclass(frozen=True, slots=True)
class Item:
    """One serial, and everything on record about it.

    Attributes:
        serial: Of the certificate.
        issued: Its record; None if only its revocation is on record.
        revoked: Its revocation; None while it stands.
        doubtful: The record comes from a damaged segment.
        segments: Names of the segments that hold these records, sorted.
    """

    serial: SerialNumber
    issued: Issued | None
    revoked: Revoked | None
    doubtful: bool = False
    segments: tuple[str, ...] = ()

    def state(self, now: datetime) -> State:
        """What became of it."""
        if self.revoked is not None or self.issued is None:
            return State.REVOKED
        return State.EXPIRED if now > self.issued.not_after else State.LIVE


@dataclass(frozen=True, slots=True)
class Inventory:
    """The answer.

    Attributes:
        items: What the question selects, sorted.
        report: What is wrong with the segments that it was read from, and how many they are.
    """

    items: tuple[Item, ...] = field(repr=False)
    report: VerifyReport


def take_stock(
    segments: Iterable[StoredSegment],
    query: Query,
    *,
    now: datetime,
    by: SortKey = SortKey.ISSUED,
) -> Inventory:
    """Answer a question.

    Args:
        segments: All there are.
        query: What is asked.
        now: The time by which certificates are live or expired.
        by: What to sort by, ascending.
    """
    state = LedgerState()
    held_by: dict[SerialNumber, set[str]] = {}
    infos: list[SegmentInfo] = []
    for stored in segments:
        reading = inspect(stored.name, stored.data)
        infos.append(SegmentInfo.of(reading, stored.data))
        doubtful = bool(reading.faults)
        named = named_as_revoked(reading, state, now) if doubtful else ()
        for record in (*reading.records, *named):
            if query.selects(record):
                state.apply(record, doubtful=doubtful)
                held_by.setdefault(record.serial, set()).add(stored.name)
    items = [
        item
        for item in (*map(_item_of, state.entries()), *map(_unmatched, state.unmatched()))
        if query.accepts(item, now)
    ]
    items.sort(key=lambda item: _sort_key(item, by))
    placed = (_held(item, held_by.get(item.serial, set())) for item in items)
    return Inventory(tuple(placed), verify(infos))


@lru_cache(maxsize=4096)
def grant_of(text: str) -> Grant | InputError:
    """The grant in a record, or why it cannot be read; many certificates share one."""
    try:
        return Grant.from_json(text)
    except InputError as error:
        return error


def _item_of(entry: Entry) -> Item:
    return Item(entry.serial, entry.issued, entry.revoked, entry.doubtful)


def _unmatched(revoked: Revoked) -> Item:
    return Item(revoked.serial, None, revoked)


def _held(item: Item, names: set[str]) -> Item:
    return Item(item.serial, item.issued, item.revoked, item.doubtful, tuple(sorted(names)))


def _sort_key(item: Item, by: SortKey) -> tuple[object, ...]:
    issued, serial = item.issued, item.serial
    if issued is None:
        return (1, serial)  # of these nothing but the serial is known; they stand at the end
    match by:
        case SortKey.ISSUED:
            return (0, issued.issued_at, serial)
        case SortKey.EXPIRES:
            return (0, issued.not_after, serial)
        case SortKey.IDENTITY:
            return (0, issued.namespace, issued.name, issued.issued_at, serial)
        case SortKey.SERIAL:
            return (0, serial)
