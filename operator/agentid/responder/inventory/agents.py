"""An AgentIdentity as the page shows it: a row of a table, and what stands behind it."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from agentid.api.conditions import ConditionStatus, ConditionType
from agentid.api.vocabulary import DeliveryMode, Tier
from agentid.kube.objects import ObjectKey
from agentid.responder.inventory.bodies import (
    ConditionView,
    conditions_in,
    section_in,
    text_in,
    time_in,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

__all__ = ["Agent", "AgentState", "Expiry", "agent_of"]


class AgentState(StrEnum):
    """How an agent is doing, in one word; the worst first."""

    STALLED = "Stalled"
    """Waiting does not help; a person has to change something."""
    NOT_READY = "Not ready"
    """It has no certificate that counts, or not the one that it asks for."""
    DELETING = "Deleting"
    """Its deletion was asked for."""
    SUSPENDED = "Suspended"
    """Held back by `spec.suspend`."""
    READY = "Ready"
    """It has its certificate."""


class Expiry(StrEnum):
    """When the certificate in the status expires."""

    EXPIRED = "expired"
    TEN_MINUTES = "10m"
    HOUR = "1h"
    FOUR_HOURS = "4h"
    TWELVE_HOURS = "12h"
    DAY = "24h"
    LATER = "later"
    NONE = "none"

    @property
    def words(self) -> str:
        """For people."""
        return _WORDS[self]

    @staticmethod
    def at(now: datetime) -> Callable[[datetime | None], Expiry]:
        """What tells where a certificate belongs, by the end of its validity."""
        edges = [now + bound for bound in _BOUNDS]

        def of(not_after: datetime | None) -> Expiry:
            return Expiry.NONE if not_after is None else _SPANS[bisect_right(edges, not_after)]

        return of


_WORDS: Final = {
    Expiry.EXPIRED: "Expired",
    Expiry.TEN_MINUTES: "Within 10 minutes",
    Expiry.HOUR: "10 to 60 minutes",
    Expiry.FOUR_HOURS: "1 to 4 hours",
    Expiry.TWELVE_HOURS: "4 to 12 hours",
    Expiry.DAY: "12 to 24 hours",
    Expiry.LATER: "Later",
    Expiry.NONE: "No certificate",
}

_BOUNDS: Final = (
    timedelta(0),
    timedelta(minutes=10),
    timedelta(hours=1),
    timedelta(hours=4),
    timedelta(hours=12),
    timedelta(hours=24),
)
_SPANS: Final = tuple(Expiry)
"""In the order of their bounds; what lies behind the last bound is later."""


@dataclass(frozen=True, slots=True)
class Agent:
    """One agent. Texts are what somebody wrote, and may be anything.

    Attributes:
        key: Namespace and name.
        class_name: Of its AgentClass.
        tier: Empty before it was classified.
        score: From 0 to 100; None before.
        reasons: Why this tier, in sentences.
        sponsor: Who answers for it; empty if nobody is named.
        purpose: What it is for.
        service_account: That its pods run as.
        delivery: The door.
        state: How it is doing.
        reason: The reason of the condition that says so.
        message: And its message.
        conditions: All of them.
        spiffe_id: Empty before there is one.
        serial: Of the certificate that was delivered last; empty if there is none.
        not_after: When that expires, or the first of those that its pods have.
        renewal_time: When it is to be renewed.
        issuer: The AgentIssuer that signed it.
        created: When the object was made.
        haystack: All that a search looks at, in lower case.
    """

    key: ObjectKey
    class_name: str
    tier: str
    score: int | None
    reasons: tuple[str, ...]
    sponsor: str
    purpose: str
    service_account: str
    delivery: str
    state: AgentState
    reason: str
    message: str
    conditions: tuple[ConditionView, ...]
    spiffe_id: str
    serial: str
    not_after: datetime | None
    renewal_time: datetime | None
    issuer: str
    created: datetime | None
    haystack: str = field(repr=False)


def agent_of(body: Mapping[str, object]) -> Agent:
    """Read an AgentIdentity.

    Raises:
        InputError: It has no name.
    """
    key = ObjectKey.of(body)
    spec, status = section_in(body, "spec"), section_in(body, "status")
    certificate, classified = (
        section_in(status, "certificate"),
        section_in(status, "classification"),
    )
    conditions = conditions_in(status)
    state, telling = _state(body, conditions)
    tier, score, reasons = text_in(classified, "tier"), classified.get("score"), None
    if isinstance(told := classified.get("reasons"), list):
        reasons = tuple(each for each in told if isinstance(each, str))
    class_name, sponsor = text_in(spec, "className"), text_in(spec, "sponsor")
    purpose, spiffe_id = text_in(spec, "purpose"), text_in(status, "spiffeID")
    serial = text_in(certificate, "serial")
    searched = (str(key), class_name, tier, sponsor, purpose, spiffe_id, serial, state)
    return Agent(
        key=key,
        class_name=class_name,
        tier=tier if tier in _TIERS else "",
        score=score if isinstance(score, int) else None,
        reasons=reasons or (),
        sponsor=sponsor,
        purpose=purpose,
        service_account=text_in(section_in(spec, "subject"), "serviceAccountName"),
        delivery=text_in(section_in(spec, "delivery"), "mode") or DeliveryMode.SECRET,
        state=state,
        reason="" if telling is None else telling.reason,
        message="" if telling is None else telling.message,
        conditions=conditions,
        spiffe_id=spiffe_id,
        serial=serial,
        not_after=time_in(certificate, "notAfter")
        or time_in(section_in(status, "pods"), "earliestNotAfter"),
        renewal_time=time_in(certificate, "renewalTime"),
        issuer=text_in(certificate, "issuer"),
        created=time_in(section_in(body, "metadata"), "creationTimestamp"),
        haystack="\n".join(searched).lower(),
    )


_TIERS: Final = frozenset(tier.value for tier in Tier)


def _state(
    body: Mapping[str, object], conditions: tuple[ConditionView, ...]
) -> tuple[AgentState, ConditionView | None]:
    by_type = {each.type: each for each in conditions}
    ready = by_type.get(ConditionType.READY)
    if text_in(section_in(body, "metadata"), "deletionTimestamp"):
        return AgentState.DELETING, ready
    for kind, state in _TELLING:
        found = by_type.get(kind)
        if found is not None and found.status == ConditionStatus.TRUE:
            return state, found
    return AgentState.NOT_READY, ready


_TELLING: Final = (
    (ConditionType.SUSPENDED, AgentState.SUSPENDED),
    (ConditionType.STALLED, AgentState.STALLED),
    (ConditionType.READY, AgentState.READY),
)
