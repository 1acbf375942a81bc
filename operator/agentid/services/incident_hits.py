"""Finds what an incident hits, on the ledger: it knows certificates of identities that are gone."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import orjson

from agentid.api.agentrevocation import MAX_HITS, Hit
from agentid.kube.objects import ObjectKey, metadata_of
from agentid.kube.resources import AGENT_IDENTITIES, Selector
from agentid.policy.incident import Bearer, Candidate
from agentid.policy.incident_report import Found

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from agentid.api.agentrevocation import Selection
    from agentid.kube.client import Client
    from agentid.ledger import Entry, Ledger
    from agentid.policy.incident import Incident

__all__ = ["Hits", "Lookout"]

_BREATH: Final = 1000
"""Certificates looked at before others get a turn: some 20 ms if all of them are hit."""

_DOUBT: Final = timedelta(hours=24)
"""As in `services.gathering`: without a better time, what expired within the longest lifetime of a
certificate still counts."""


@dataclass(frozen=True, slots=True)
class Hits:
    """What a look found.

    Attributes:
        found: For the status.
        left: What is not revoked yet.
    """

    found: Found
    left: tuple[Entry, ...]


class Lookout:
    """Looks through the ledger."""

    def __init__(self, *, client: Client, ledger: Ledger) -> None:
        """Take the parts.

        Args:
            client: For the labels of identities.
            ledger: What was issued and revoked.
        """
        self._client = client
        self._ledger = ledger

    async def look(self, incident: Incident, until: datetime, now: datetime) -> Hits:
        """Find what is selected, was issued until a moment, and is not revoked by anybody else.

        Raises:
            UnavailableError: Labels are asked for, and the API server is away.
        """
        resource = incident.resource
        labels = await self._labels(resource.spec.select)
        certain = min(now, self._ledger.trusted_now() or now - _DOUBT)
        classes = bool(resource.spec.select.class_names)
        hits: list[tuple[Entry, tuple[str, ...]]] = []
        # A copy: what becomes durable meanwhile is for the next look.
        for number, entry in enumerate(tuple(self._ledger.state.entries())):
            if number % _BREATH == _BREATH - 1:
                await asyncio.sleep(0)
            issued, revoked = entry.issued, entry.revoked
            # What was made by a clock that was ahead was made before now, whatever it says.
            if until < issued.issued_at <= now:
                continue
            if issued.not_after < certain if revoked is None else revoked.actor != resource.actor:
                continue
            if why := incident.sieve.why(_candidate(entry, labels, classes=classes)):
                hits.append((entry, why))
        hits.sort(key=_place)
        known = {entry.serial for entry, _ in hits}
        found = Found(
            hits=tuple(_hit(entry, why) for entry, why in hits[:MAX_HITS]),
            matched=len(hits),
            revoked=sum(entry.revoked is not None for entry, _ in hits),
            identities=tuple(
                dict.fromkeys((entry.issued.namespace, entry.issued.name) for entry, _ in hits)
            ),
            unknown=sum(
                serial not in known and self._ledger.state.by_serial(serial) is None
                for serial in incident.sieve.serials
            ),
        )
        return Hits(found, tuple(entry for entry, _ in hits if entry.revoked is None))

    async def _labels(self, select: Selection) -> dict[tuple[str, str], Mapping[str, str]]:
        """The labels of the identities that a label selector selects, from the API server itself.

        The cache may be young and not hold them all; and an incident must not miss one.
        """
        if select.label_selector is None:
            return {}
        found: dict[tuple[str, str], Mapping[str, str]] = {}
        selector = Selector(labels=select.label_selector.query)
        listing = self._client.list_metadata(AGENT_IDENTITIES, selector=selector)
        async with aclosing(listing) as identities:
            async for body in identities:
                key, labels = ObjectKey.of(body), metadata_of(body).get("labels")
                found[key.namespace, key.name] = labels if isinstance(labels, dict) else {}
        return found


def _candidate(
    entry: Entry, labels: Mapping[tuple[str, str], Mapping[str, str]], *, classes: bool
) -> Candidate:
    """A certificate as a selection sees it; its class is read only if that is asked about."""
    issued = entry.issued
    bearer = Bearer(
        issued.namespace,
        issued.name,
        _class_of(issued.grant) if classes else None,
        issued.issuer,
        labels.get((issued.namespace, issued.name)),
    )
    return Candidate(bearer, issued.serial, issued.issued_at)


@lru_cache(maxsize=4096)
def _class_of(grant: str) -> str | None:
    """The class in a grant; also of one that a newer release wrote, as far as it can be read."""
    try:
        body = orjson.loads(grant)
    except orjson.JSONDecodeError:
        return None
    name = body.get("class") if isinstance(body, dict) else None
    return name if isinstance(name, str) else None


def _place(hit: tuple[Entry, Sequence[str]]) -> tuple[object, ...]:
    issued = hit[0].issued
    return issued.namespace, issued.name, issued.issued_at, issued.serial


def _hit(entry: Entry, why: Sequence[str]) -> Hit:
    issued = entry.issued
    return Hit(
        namespace=issued.namespace,
        name=issued.name,
        serial=str(issued.serial),
        spiffe_id=issued.spiffe_id,
        why=", ".join(why),
    )
