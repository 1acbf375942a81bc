"""What stands on each CRL: revocations by authority and shard, kept ready to be signed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from agentid.identity import RevocationReason
from agentid.issuers.locations import ROOT_SHARD
from agentid.ledger import Revoked
from agentid.pki.crl import CrlEntry

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from agentid.ledger import LedgerState
    from agentid.ledger.records import Record
    from agentid.policy.authorities import Authorities, Root

__all__ = ["CrlKey", "Shards", "root_entries", "root_key"]


@dataclass(frozen=True, slots=True, order=True)
class CrlKey:
    """One CRL.

    Attributes:
        authority: Id of the authority that signs it.
        shard: Its number as text, or `ROOT_SHARD`.
    """

    authority: str
    shard: str


_Entries: TypeAlias = "dict[int, tuple[CrlEntry, datetime | None]]"
"""By serial; with the notAfter of the certificate, None if it is on no record any more."""


class Shards:
    """The entries of all shards; fed by the ledger, read by who signs.

    A revocation whose certificate is on no record stands on the shard of its serial of every
    authority: serials are never used twice, so that harms nobody, and it is nowhere missing.
    """

    def __init__(self, ledger: LedgerState) -> None:
        self._ledger = ledger
        self._numbers: dict[str, int] = {}
        self._entries: dict[CrlKey, _Entries] = {}

    def follow(self, authorities: Iterable[Authorities]) -> frozenset[str]:
        """Know these authorities, and no others; a new one begins with what is on record.

        Returns:
            Ids of those that are new: what was revoked before they were followed, nobody learnt.
        """
        numbers = {each.id: each.shards for one in authorities for each in one.issuing}
        new = numbers.keys() - self._numbers.keys()
        for gone in self._numbers.keys() - numbers.keys():
            for key in [key for key in self._entries if key.authority == gone]:
                del self._entries[key]
        self._numbers = numbers
        if new:
            for revoked in self._ledger.revoked():
                for key in self._keys(revoked):
                    if key.authority in new:
                        self._put(key, revoked)
        return frozenset(new)

    @property
    def authorities(self) -> frozenset[str]:
        """Ids of those that are followed."""
        return frozenset(self._numbers)

    def learn(self, records: Iterable[Record]) -> set[CrlKey]:
        """Take in what became durable; the shards that changed by it."""
        changed: set[CrlKey] = set()
        for record in records:
            if isinstance(record, Revoked):
                changed.update(key for key in self._keys(record) if self._put(key, record))
        return changed

    def keep(self, key: CrlKey, published: Iterable[CrlEntry]) -> None:
        """Keep what a CRL named so far and the ledger no longer does, for one more CRL.

        RFC 5280 §3.3: a revoked certificate stands on one CRL that is issued after it has expired.
        """
        entries = self._entries.setdefault(key, {})
        for entry in published:
            entries.setdefault(entry.serial.value, (entry, None))

    def entries(self, key: CrlKey) -> list[CrlEntry]:
        """What has to stand on a CRL now."""
        return [entry for entry, _ in self._entries.get(key, {}).values()]

    def signed(self, key: CrlKey, certain: datetime, names: Iterable[CrlEntry]) -> None:
        """A CRL was published: what had expired by then has stood on one since.

        Args:
            key: Which one.
            certain: Its time; or an earlier one, if that is all that is certain.
            names: What stands on it.
        """
        entries = self._entries.get(key, {})
        for entry in names:
            _, not_after = entries.get(entry.serial.value, (entry, certain))
            if not_after is None or not_after < certain:
                entries.pop(entry.serial.value, None)

    def _put(self, key: CrlKey, revoked: Revoked) -> bool:
        entries = self._entries.setdefault(key, {})
        known = entries.get(revoked.serial.value)
        at = revoked.revoked_at.replace(microsecond=0)
        if known is not None and known[0].revoked_at == at and known[0].reason is revoked.reason:
            entries[revoked.serial.value] = (known[0], revoked.not_after)
            return False
        entry = CrlEntry(revoked.serial, at, revoked.reason)
        entries[revoked.serial.value] = (entry, revoked.not_after)
        return True

    def _keys(self, revoked: Revoked) -> Iterator[CrlKey]:
        found = self._ledger.by_serial(revoked.serial)
        if found is None:
            for authority, count in self._numbers.items():
                yield CrlKey(authority, str(revoked.serial.value % count))
        elif found.issued.shard is not None and found.issued.authority in self._numbers:
            yield CrlKey(found.issued.authority, str(found.issued.shard))


def root_key(root: str) -> CrlKey:
    """The CRL of a root."""
    return CrlKey(root, ROOT_SHARD)


def root_entries(root: Root) -> list[CrlEntry]:
    """What stands on the CRL of a root: the intermediates that it has revoked."""
    return [CrlEntry(one.serial, one.at, RevocationReason.CA_COMPROMISE) for one in root.revoked]
