"""What is in force, counted from the ledger without holding up the event loop."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import orjson

from agentid.pki import KeyAlgorithm
from agentid.policy.tiers import Tier

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from agentid.identity import SerialNumber
    from agentid.ledger import Issued, LedgerState

__all__ = ["Census", "take_census"]

_BREATH: Final = 500
"""Certificates counted without letting others on the event loop: some 2 ms."""

_UNKNOWN: Final = "unknown"


@dataclass(frozen=True, slots=True)
class Census:
    """Certificates that a verifier would accept.

    Attributes:
        live: How many there are, by tier; `unknown` where the record's grant cannot be read.
        expiry_seconds: Seconds until the first one of each tier expires.
        keys: How many in use have a key of each algorithm, by class. One that was replaced runs out
            by itself and says nothing of where its agent is.
    """

    live: Mapping[str, int] = field(default_factory=dict)
    expiry_seconds: Mapping[str, float] = field(default_factory=dict)
    keys: Mapping[str, Counter[KeyAlgorithm]] = field(default_factory=dict)


async def take_census(ledger: LedgerState, now: datetime) -> Census:
    """Count what is in force at a moment.

    What is recorded while it counts may be missing.
    """
    live: Counter[str] = Counter()
    first: dict[str, datetime] = {}
    in_force: list[Issued] = []
    replaced: set[SerialNumber | None] = set()
    for number, entry in enumerate(tuple(ledger.entries()), 1):
        if entry.is_live(now):
            tier, _ = _read(entry.issued.grant)
            live[tier] += 1
            first[tier] = min(first.get(tier, entry.issued.not_after), entry.issued.not_after)
            in_force.append(entry.issued)
            replaced.add(entry.issued.replaces)
        if number % _BREATH == 0:
            await asyncio.sleep(0)
    keys: dict[str, Counter[KeyAlgorithm]] = {}
    for number, each in enumerate(in_force, 1):
        _, kind = _read(each.grant)
        if kind is not None and each.serial not in replaced:
            keys.setdefault(kind[0], Counter())[kind[1]] += 1
        if number % _BREATH == 0:
            await asyncio.sleep(0)
    left = {tier: (expiry - now).total_seconds() for tier, expiry in first.items()}
    return Census(live, left, keys)


def _read(grant: str) -> tuple[str, tuple[str, KeyAlgorithm] | None]:
    """Tier, class and key algorithm in a grant.

    Each identity has a grant of its own, and reading one whole takes ten times as long.
    """
    try:
        match orjson.loads(grant):
            case {"tier": str(tier), "class": str(class_name), "keyAlgorithm": str(algorithm)}:
                return Tier(tier).value, (class_name, KeyAlgorithm(algorithm))
            case _:
                return _UNKNOWN, None
    except ValueError:  # also what orjson raises
        return _UNKNOWN, None
