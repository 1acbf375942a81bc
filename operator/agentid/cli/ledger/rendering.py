"""Certificates on record as columns and as JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from agentid.cli.output import plain
from agentid.errors import InputError
from agentid.ledger.inventory import State, grant_of
from agentid.ledger.records import pod_to_json
from agentid.ledger.wire import time_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from agentid.ledger.inventory import Item
    from agentid.ledger.records import Issued

__all__ = ["as_json", "as_lines", "table"]

_SHORT: Final = 16
"""Digits of a serial in a narrow table: 64 bits of 126 random ones, enough to ask for it by."""

_COLUMNS: Final = ("SERIAL", "IDENTITY", "CLASS", "TIER", "STATE", "ISSUED", "EXPIRES")
_WIDE: Final = ("SPONSOR", "ISSUER", "AUTHORITY", "SHARD", "BUNDLE", "DOOR", "SPIFFE ID")
_NOTHING: Final = "-"


def table(items: Sequence[Item], now: datetime, *, wide: bool) -> str:
    """Columns with a head, two spaces between them; empty if there is nothing to show."""
    if not items:
        return ""
    head = (*_COLUMNS, *_WIDE) if wide else _COLUMNS
    rows = [head, *(tuple(map(plain, _row(item, now, wide=wide))) for item in items)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def as_json(items: Iterable[Item], now: datetime) -> str:
    """A list of objects, for people and programs."""
    return json.dumps([_body(item, now) for item in items], indent=2)


def as_lines(items: Iterable[Item], now: datetime) -> Iterator[str]:
    """The same objects, each on a line of its own."""
    return (json.dumps(_body(item, now), separators=(",", ":")) for item in items)


def _row(item: Item, now: datetime, *, wide: bool) -> Iterator[str]:
    serial, record = str(item.serial), item.issued
    yield serial if wide or len(serial) <= _SHORT else f"{serial[:_SHORT]}…"
    if record is None:
        yield from (_NOTHING,) * 3
        yield _state(item, now)
        yield from (_NOTHING,) * (2 + (len(_WIDE) if wide else 0))
        return
    grant = grant_of(record.grant)
    class_name, tier, sponsor = (
        ("?", "?", "?")
        if isinstance(grant, InputError)
        else (grant.class_name, grant.tier.value, grant.sponsor or _NOTHING)
    )
    yield f"{record.namespace}/{record.name}"
    yield class_name
    yield tier
    yield _state(item, now)
    yield record.issued_at.strftime("%Y-%m-%dT%H:%M:%SZ")
    yield time_text(record.not_after)
    if wide:
        yield sponsor
        yield record.issuer
        yield record.authority
        yield _NOTHING if record.shard is None else str(record.shard)
        yield str(record.bundle)
        yield record.door.value
        yield record.spiffe_id


def _state(item: Item, now: datetime) -> str:
    state = item.state(now)
    words = state.value.capitalize()
    if item.revoked is not None:
        words += f" ({item.revoked.reason.value})"
    not_yet = item.issued is not None and now < item.issued.not_before
    if state is State.LIVE and not_yet:
        words += " (not valid yet)"
    return f"{words}, doubtful" if item.doubtful else words


def _body(item: Item, now: datetime) -> dict[str, object]:
    revoked = item.revoked
    return {
        "serial": str(item.serial),
        "state": item.state(now).value,
        "certificate": None if item.issued is None else _certificate(item.issued),
        "revocation": None
        if revoked is None
        else {
            "reason": revoked.reason.value,
            "revokedAt": time_text(revoked.revoked_at),
            "actor": revoked.actor,
        },
        "doubtful": item.doubtful,
        "segments": list(item.segments),
    }


def _certificate(record: Issued) -> dict[str, object]:
    """The record under the names that it has on the ledger; of the grant, what it says."""
    grant = grant_of(record.grant)
    return {
        "spiffeID": record.spiffe_id,
        "namespace": record.namespace,
        "name": record.name,
        "uid": record.uid,
        "pod": None if record.pod is None else pod_to_json(record.pod),
        "fingerprint": record.fingerprint,
        "notBefore": time_text(record.not_before),
        "notAfter": time_text(record.not_after),
        "issuedAt": time_text(record.issued_at),
        "issuer": record.issuer,
        "authority": record.authority,
        "shard": record.shard,
        "bundle": record.bundle,
        "door": record.door.value,
        "replaces": None if record.replaces is None else str(record.replaces),
        "grant": record.grant if isinstance(grant, InputError) else json.loads(record.grant),
    }
