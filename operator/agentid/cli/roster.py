"""AgentIdentities as `agentid list` selects, sorts and shows them; pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from agentid.api.agentidentity import AgentIdentity, AgentIdentityStatus
from agentid.api.conditions import ConditionStatus, ConditionType, Reason
from agentid.api.vocabulary import Tier
from agentid.cli.output import NOTHING, Cell, Column, Tone, span

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import timedelta

    from agentid.api.conditions import Condition
    from agentid.kube.objects import JsonObject

__all__ = ["Entry", "Question", "SortKey", "columns", "rows", "select"]

_END: Final = datetime.max.replace(tzinfo=UTC)
_TIER_TONES: Final = {Tier.HIGH: Tone.CARE, Tier.CRITICAL: Tone.BAD}
_SOON: Final = 10
"""Percent of a certificate's life: what is left when the renewal should long have come."""


class SortKey(StrEnum):
    """What to sort by."""

    NAME = "name"
    EXPIRY = "expiry"
    TIER = "tier"
    SPONSOR = "sponsor"
    CLASS = "class"
    STATUS = "status"
    AGE = "age"


@dataclass(frozen=True, slots=True)
class Entry:
    """An AgentIdentity as far as a list shows it; its spec may be one that does not parse.

    Attributes:
        body: The object.
        namespace: Where it is.
        name: What it is called.
        created: When it was made, None if it does not say.
        class_name: The class that it names, empty if none.
        sponsor: Who answers for it, empty if nobody.
        status: What the controller tells.
    """

    body: JsonObject
    namespace: str
    name: str
    created: datetime | None
    class_name: str
    sponsor: str
    status: AgentIdentityStatus

    @classmethod
    def of(cls, body: JsonObject) -> Entry:
        """Read an object of the API server."""
        metadata, spec = AgentIdentity.metadata_of(body), body.get("spec")
        told = spec if isinstance(spec, dict) else {}
        return cls(
            body,
            metadata.namespace,
            metadata.name,
            metadata.creation_timestamp,
            str(told.get("className") or ""),
            str(told.get("sponsor") or ""),
            AgentIdentity.status_of(body),
        )

    def condition(self, kind: ConditionType) -> Condition | None:
        """One of its conditions."""
        return next((each for each in self.status.conditions if each.type == kind), None)

    @property
    def is_ready(self) -> bool:
        """Whether its certificate can be used."""
        ready = self.condition(ConditionType.READY)
        return ready is not None and ready.status is ConditionStatus.TRUE

    @property
    def is_seen(self) -> bool:
        """Whether the status judges the spec as it is now."""
        metadata = AgentIdentity.metadata_of(self.body)
        return self.status.observed_generation == metadata.generation

    @property
    def standing(self) -> str:
        """How it is in a word, or in two while it is retried."""
        ready, retried = self.condition(ConditionType.READY), None
        if self.is_ready:
            retried = self.condition(ConditionType.RECONCILING)
            return "Ready" if retried is None else f"Ready ({retried.reason})"
        return Reason.PENDING if ready is None else ready.reason

    @property
    def tier(self) -> Tier | None:
        """Its tier, None before it was judged."""
        return None if self.status.classification is None else self.status.classification.tier

    @property
    def not_after(self) -> datetime | None:
        """The end of its certificate, of the first one where pods have several; None if none."""
        if self.status.certificate is not None:
            return self.status.certificate.not_after
        return None if self.status.pods is None else self.status.pods.earliest_not_after


@dataclass(frozen=True, slots=True)
class Question:
    """Which entries are meant; everything that is given has to hold.

    Attributes:
        class_name: Of this class.
        tier: Of this tier.
        sponsor: Whose sponsor has this in it.
        expiring: Whose certificate ends within this time, or has ended.
        not_ready: Only those that cannot be used.
    """

    class_name: str | None = None
    tier: Tier | None = None
    sponsor: str | None = None
    expiring: timedelta | None = None
    not_ready: bool = False

    def selects(self, entry: Entry, now: datetime) -> bool:
        """Whether an entry is meant."""
        ends = entry.not_after
        return (
            (self.class_name is None or entry.class_name == self.class_name)
            and (self.tier is None or entry.tier is self.tier)
            and (self.sponsor is None or self.sponsor.lower() in entry.sponsor.lower())
            and (self.expiring is None or (ends is not None and ends - now <= self.expiring))
            and not (self.not_ready and entry.is_ready)
        )


def select(
    entries: Iterable[Entry], question: Question, by: SortKey, now: datetime
) -> tuple[Entry, ...]:
    """Those that are meant, sorted; what is equal is sorted by name."""
    found = [each for each in entries if question.selects(each, now)]
    return tuple(sorted(found, key=lambda each: (_rank(each, by), each.namespace, each.name)))


def _rank(entry: Entry, by: SortKey) -> tuple[float, str]:  # noqa: PLR0911 - one for each key
    """What is urgent comes first: the soonest end, the highest tier, what is not ready."""
    match by:
        case SortKey.NAME:
            return 0, ""
        case SortKey.EXPIRY:
            return (entry.not_after or _END).timestamp(), ""
        case SortKey.TIER:
            return (0 if entry.tier is None else -1 - entry.tier.rank), ""
        case SortKey.SPONSOR:
            return not entry.sponsor, entry.sponsor
        case SortKey.CLASS:
            return not entry.class_name, entry.class_name
        case SortKey.STATUS:
            return entry.is_ready, entry.standing
        case SortKey.AGE:
            return (entry.created or _END).timestamp(), ""


def columns(*, everywhere: bool) -> tuple[Column, ...]:
    """The columns; the namespace where there is more than one."""
    shown = (
        Column("NAME"),
        Column("STATUS"),
        Column("CLASS"),
        Column("TIER"),
        Column("EXPIRES IN"),
        Column("SPONSOR"),
        Column("RENEWS IN", wide=True),
        Column("LIVE", wide=True),
        Column("PODS", wide=True),
        Column("KEY", wide=True),
        Column("AGE", wide=True),
        Column("SPIFFE ID", wide=True),
        Column("SERIAL", wide=True),
    )
    return (Column("NAMESPACE"), *shown) if everywhere else shown


def rows(
    entries: Iterable[Entry], now: datetime, *, everywhere: bool
) -> Iterator[tuple[Cell, ...]]:
    """The cells of each entry."""
    for entry in entries:
        cells = tuple(_cells(entry, now))
        yield (Cell(entry.namespace), *cells) if everywhere else cells


def _cells(entry: Entry, now: datetime) -> Iterator[Cell]:
    status, certificate = entry.status, entry.status.certificate
    yield Cell(entry.name)
    yield Cell(entry.standing, _standing_tone(entry))
    yield Cell(entry.class_name)
    yield Cell(entry.tier or NOTHING, _TIER_TONES.get(entry.tier or Tier.LOW, Tone.PLAIN))
    yield _ends(entry, now)
    yield Cell(entry.sponsor)
    yield Cell(NOTHING if certificate is None else _until(certificate.renewal_time, now))
    active = status.active_certificates
    yield Cell(NOTHING if active is None else str(active))
    yield Cell(NOTHING if status.pods is None else str(status.pods.certificates))
    yield Cell(str((certificate and certificate.key_algorithm) or NOTHING))
    yield Cell(NOTHING if entry.created is None else span(now - entry.created))
    yield Cell(status.spiffe_id or NOTHING)
    yield Cell(NOTHING if certificate is None else certificate.serial)


def _standing_tone(entry: Entry) -> Tone:
    if entry.is_ready:
        return Tone.GOOD if entry.standing == "Ready" else Tone.CARE
    return Tone.CARE if entry.standing in {Reason.PENDING, Reason.SUSPENDED} else Tone.BAD


def _ends(entry: Entry, now: datetime) -> Cell:
    certificate = entry.status.certificate
    if certificate is None:
        return Cell(NOTHING if entry.not_after is None else _until(entry.not_after, now))
    left, whole = certificate.not_after - now, certificate.not_after - certificate.not_before
    if left.total_seconds() < 0:
        return Cell("expired", Tone.BAD)
    return Cell(span(left), Tone.CARE if left * 100 < whole * _SOON else Tone.PLAIN)


def _until(moment: datetime, now: datetime) -> str:
    return "due" if moment <= now else span(moment - now)
