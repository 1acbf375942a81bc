"""What the ledger's records add up to, in memory.

Records may come in any order and more than once: the result is the same. That is what lets
replicas follow each other's chains without agreeing on an order, and compaction leave duplicates
behind when it is interrupted.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from agentid.ledger.records import Issued, Record, Revoked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import datetime

    from agentid.identity import SerialNumber
    from agentid.identity.revocation import RevocationReason

__all__ = ["Entry", "LedgerState"]


@dataclass(frozen=True, slots=True)
class Entry:
    """A certificate on record.

    Attributes:
        issued: What is recorded of it.
        revoked: Its revocation, None while it stands.
        doubtful: The record comes from a damaged segment: good enough to revoke the certificate,
            not good enough to believe that it was delivered.
    """

    issued: Issued
    revoked: Revoked | None = None
    doubtful: bool = False

    @property
    def serial(self) -> SerialNumber:
        """The serial number of the certificate."""
        return self.issued.serial

    def is_live(self, now: datetime) -> bool:
        """Whether a verifier would accept the certificate: neither revoked nor expired.

        Its notBefore is left out on purpose: what becomes valid in a minute is to be revoked too.
        """
        return self.revoked is None and now <= self.issued.not_after

    def revocation(self, reason: RevocationReason, *, at: datetime, actor: str) -> Revoked:
        """The record that revokes it; to be appended to the ledger."""
        return Revoked(self.issued.serial, reason, at, self.issued.not_after, actor)


class LedgerState:
    """Certificates on record by serial and by identity, and their revocations.

    Entries are handed out newest first: after the certificate that it replaces comes the replaced
    one, else the later `issued_at` comes first, else the higher serial.
    """

    def __init__(self) -> None:
        self._by_serial: dict[int, Entry] = {}
        # Most identities have one or two certificates, so a list of them would weigh more than its
        # contents: one serial stands alone, several are a tuple. Where thousands of pods have one
        # each, a tuple that is made anew for each of them would cost more than all the rest.
        self._by_identity: dict[str, dict[str, int | tuple[int, ...] | list[int]]] = {}
        # One pod has few.
        self._by_pod: dict[str, tuple[int, ...]] = {}
        # Revocations whose certificate is not known (yet): the segment that records it may come
        # later, or is damaged.
        self._unmatched: dict[int, Revoked] = {}
        # Revocations that no sound segment holds; for entries the entry says it.
        self._doubtful: set[int] = set()
        self._identities = 0
        self._revoked = 0

    # Feeding

    def apply(self, record: Record, *, doubtful: bool = False) -> bool:
        """Take one record in.

        Args:
            record: To be taken in, if it says anything new.
            doubtful: It comes from a damaged segment. A revocation counts all the same.

        Returns:
            Whether it fits what is known: False if another certificate is on record under the same
            serial. Then one of the two stays, the same one in whatever order they came.
        """
        match record:
            case Issued():
                return self._apply_issued(record, doubtful=doubtful)
            case Revoked():
                self._apply_revoked(record, doubtful=doubtful)
                return True

    def _apply_issued(self, record: Issued, *, doubtful: bool) -> bool:
        key = record.serial.value
        known = self._by_serial.get(key)
        if known is None:
            shared = self._share(record)
            revoked = self._unmatched.pop(key, None)
            self._by_serial[key] = Entry(shared, revoked, doubtful)
            self._revoked += revoked is not None
            self._enlist(shared, key)
            return True
        if known.issued == record:
            if known.doubtful and not doubtful:
                self._by_serial[key] = replace(known, doubtful=False)
            return True
        if _rank(record, doubtful=doubtful) < _rank(known.issued, doubtful=known.doubtful):
            self._strike(known.issued.namespace, known.issued.name, {key})
            self._by_serial[key] = Entry(record, known.revoked, doubtful)
            self._forget_pod(known.issued, key)
            self._enlist(record, key)
        # A damaged segment may hold a record that never was; only two sound ones contradict.
        return doubtful or known.doubtful

    def _apply_revoked(self, record: Revoked, *, doubtful: bool) -> None:
        key = record.serial.value
        if not doubtful:
            self._doubtful.discard(key)
        elif not self.is_revoked(record.serial):
            self._doubtful.add(key)
        if (entry := self._by_serial.get(key)) is None:
            self._unmatched[key] = _earlier(self._unmatched.get(key), record)
            return
        first = _earlier(entry.revoked, record)
        if first is not entry.revoked:
            self._revoked += entry.revoked is None
            self._by_serial[key] = replace(entry, revoked=first)

    def expire(self, before: datetime) -> int:
        """Forget certificates, and revocations, whose notAfter lies before a moment.

        Returns:
            How many entries went.
        """
        gone = [entry for entry in self._by_serial.values() if entry.issued.not_after < before]
        by_identity: dict[tuple[str, str], set[int]] = {}
        for entry in gone:
            key = entry.serial.value
            del self._by_serial[key]
            self._forget_pod(entry.issued, key)
            self._revoked -= entry.revoked is not None
            by_identity.setdefault((entry.issued.namespace, entry.issued.name), set()).add(key)
        for (namespace, name), keys in by_identity.items():
            self._strike(namespace, name, keys)
        self._doubtful.intersection_update(self._by_serial.keys() | self._unmatched.keys())
        for key in [key for key, one in self._unmatched.items() if one.not_after < before]:
            del self._unmatched[key]
        return len(gone)

    # Asking

    def by_serial(self, serial: SerialNumber) -> Entry | None:
        """The certificate of this serial, None if it is not on record."""
        return self._by_serial.get(serial.value)

    def by_value(self, value: int) -> Entry | None:
        """The certificate whose serial number has this value."""
        return self._by_serial.get(value)

    def is_revoked(self, serial: SerialNumber) -> bool:
        """Whether this serial is revoked, on record or not."""
        entry = self._by_serial.get(serial.value)
        return (entry is not None and entry.revoked is not None) or serial.value in self._unmatched

    def revocation_of(self, value: int) -> Revoked | None:
        """The revocation of the serial number of this value, on record or not."""
        entry = self._by_serial.get(value)
        return self._unmatched.get(value) if entry is None else entry.revoked

    def entries_of(self, namespace: str, name: str) -> tuple[Entry, ...]:
        """All certificates on record of an identity and its namesakes, newest first."""
        found = self._by_identity.get(namespace, {}).get(name, ())
        serials = (found,) if isinstance(found, int) else found
        return _newest_first([self._by_serial[serial] for serial in serials])

    def of_pod(self, uid: str) -> tuple[Entry, ...]:
        """All certificates on record that were made for a pod, newest first."""
        return _newest_first([self._by_serial[key] for key in self._by_pod.get(uid, ())])

    def newest_of_pod(self, uid: str, wanted: Callable[[Entry], bool]) -> Entry | None:
        """The first of those in `of_pod` that are wanted, found without sorting them."""
        found = [
            entry for key in self._by_pod.get(uid, ()) if wanted(entry := self._by_serial[key])
        ]
        replaced = {entry.issued.replaces for entry in found}
        heads = [entry for entry in found if entry.serial not in replaced]
        return max(heads or found, key=_age, default=None)

    def live(self, namespace: str, name: str, *, now: datetime) -> tuple[Entry, ...]:
        """Those of them that a verifier would accept now, newest first."""
        return tuple(entry for entry in self.entries_of(namespace, name) if entry.is_live(now))

    def unrevoked(self, namespace: str, name: str) -> tuple[Entry, ...]:
        """Those of them that are not revoked, newest first, whatever the caller's clock says.

        This is what has to be revoked when an identity goes: a clock that is an hour ahead would
        make `live` leave out certificates that are good for an hour yet.
        """
        return tuple(e for e in self.entries_of(namespace, name) if e.revoked is None)

    def keys(self) -> Iterator[tuple[str, str]]:
        """Namespace and name of every identity with a certificate on record."""
        for namespace, names in self._by_identity.items():
            for name in names:
                yield namespace, name

    def keys_with_live(self, now: datetime) -> Iterator[tuple[str, str]]:
        """Namespace and name of every identity with a certificate that is good now."""
        for namespace, name in self.keys():
            if self.live(namespace, name, now=now):
                yield namespace, name

    def entries(self) -> Iterator[Entry]:
        """All certificates on record, in no particular order."""
        return iter(self._by_serial.values())

    def revoked(self) -> Iterator[Revoked]:
        """All revocations on record, also of serials that are not, in no particular order."""
        for entry in self._by_serial.values():
            if entry.revoked is not None:
                yield entry.revoked
        yield from self._unmatched.values()

    def unmatched(self) -> Iterator[Revoked]:
        """Those of them whose certificate is not on record."""
        return iter(self._unmatched.values())

    def doubtful(self) -> Iterator[Record]:
        """Records that only damaged segments hold."""
        for entry in self._by_serial.values():
            if entry.doubtful:
                yield entry.issued
        for key in self._doubtful:
            known = self._by_serial.get(key)
            revoked = self._unmatched.get(key) if known is None else known.revoked
            if revoked is not None:
                yield revoked

    @property
    def count(self) -> int:
        """Certificates on record."""
        return len(self._by_serial)

    @property
    def revoked_count(self) -> int:
        """Revocations on record."""
        return self._revoked + len(self._unmatched)

    @property
    def identity_count(self) -> int:
        """Identities with a certificate on record."""
        return self._identities

    # Inside

    def _share(self, record: Issued) -> Issued:
        """The same record, holding the texts that a sibling holds already.

        Two certificates of one identity differ in serial and times; the grant, the largest part by
        far, is mostly the same, so it is kept once.
        """
        found = self._by_identity.get(record.namespace, {}).get(record.name)
        if found is None:
            return record
        sibling = self._by_serial[found if isinstance(found, int) else found[-1]].issued
        same = {
            field: getattr(sibling, field)
            for field in _SHARED
            if getattr(sibling, field) == getattr(record, field)
        }
        return replace(record, **same)

    def _enlist(self, record: Issued, key: int) -> None:
        if record.pod is not None:
            self._by_pod[record.pod.uid] = (*self._by_pod.get(record.pod.uid, ()), key)
        names = self._by_identity.setdefault(record.namespace, {})
        known = names.get(record.name)
        if known is None:
            names[record.name] = key
            self._identities += 1
        elif isinstance(known, list):
            known.append(key)
        else:
            several = (known, key) if isinstance(known, int) else (*known, key)
            names[record.name] = several if len(several) < _MANY else list(several)

    def _forget_pod(self, record: Issued, key: int) -> None:
        if record.pod is None:
            return
        rest = tuple(each for each in self._by_pod[record.pod.uid] if each != key)
        if rest:
            self._by_pod[record.pod.uid] = rest
        else:
            del self._by_pod[record.pod.uid]

    def _strike(self, namespace: str, name: str, keys: set[int]) -> None:
        names = self._by_identity[namespace]
        known = names[name]
        rest = [key for key in ((known,) if isinstance(known, int) else known) if key not in keys]
        if rest:
            names[name] = rest[0] if len(rest) == 1 else rest if len(rest) >= _MANY else tuple(rest)
            return
        del names[name]
        self._identities -= 1
        if not names:
            del self._by_identity[namespace]


_MANY: Final = 16
"""Certificates of one identity from which on a list keeps their serials."""

_SHARED = ("spiffe_id", "namespace", "name", "uid", "issuer", "authority", "grant")


def _rank(record: Issued, *, doubtful: bool) -> tuple[object, ...]:
    """Which of two records under one serial stays: a sound one, else the earlier one."""
    return doubtful, record.issued_at, record.fingerprint, repr(record)


def _earlier(known: Revoked | None, other: Revoked) -> Revoked:
    """The revocation that counts: the first one decided."""
    if known is None:
        return other

    def order(one: Revoked) -> tuple[object, ...]:
        return one.revoked_at, one.reason.code, one.actor, one.not_after

    return other if order(other) < order(known) else known


def _newest_first(entries: list[Entry]) -> tuple[Entry, ...]:
    entries.sort(key=_age, reverse=True)
    place = {entry.serial.value: index for index, entry in enumerate(entries)}
    replaced = [
        (index, place[entry.issued.replaces.value])
        for index, entry in enumerate(entries)
        if entry.issued.replaces is not None and entry.issued.replaces.value in place
    ]
    if all(newer < older for newer, older in replaced):
        return tuple(entries)
    # A clock was set back between two certificates, so their times contradict who replaced whom.
    return tuple(entries[index] for index in _sorted_by(len(entries), replaced))


def _age(entry: Entry) -> tuple[datetime, int]:
    return entry.issued.issued_at, entry.serial.value


def _sorted_by(count: int, pairs: Iterable[tuple[int, int]]) -> Iterator[int]:
    """The numbers below count, each pair's first before its second, else in their order."""
    waits = [0] * count
    followers: dict[int, list[int]] = {}
    for before, after in pairs:
        waits[after] += 1
        followers.setdefault(before, []).append(after)
    ready = [number for number in range(count) if not waits[number]]
    while ready:
        number = heapq.heappop(ready)
        yield number
        for after in followers.get(number, ()):
            waits[after] -= 1
            if not waits[after]:
                heapq.heappush(ready, after)
    # A circle is no order; it takes a damaged record to make one, and none of it may be left out.
    yield from (number for number in range(count) if waits[number] > 0)
