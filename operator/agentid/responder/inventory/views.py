"""Answers to questions, as values that HTML and JSON are made of alike. Pure: `now` is given."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from agentid.api.vocabulary import Tier
from agentid.responder.inventory.agents import AgentState, Expiry
from agentid.responder.inventory.questions import NO_TIER, Sort

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from agentid.responder.inventory.agents import Agent
    from agentid.responder.inventory.catalogue import Revocation
    from agentid.responder.inventory.questions import Question

__all__ = ["Overview", "Rows", "agents_asked_for", "overview_of", "revocations_asked_for"]

T_co = TypeVar("T_co", covariant=True)

_OVERDUE: Final = timedelta(minutes=5)
"""After its renewal time a certificate is renewed within seconds; so late, something is wrong."""

_NEVER: Final = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Rows(Generic[T_co]):
    """One page of rows.

    Attributes:
        items: Those on this page.
        total: How many there are on all pages.
        page: Which one this is, from 1; the last one if the question asked for one behind it.
        pages: How many there are, at least one.
        first: Number of the first row of this page, from 1; 0 if there is none.
    """

    items: Sequence[T_co]
    total: int
    page: int
    pages: int
    first: int

    @classmethod
    def of(cls, found: Sequence[T_co], question: Question) -> Rows[T_co]:
        """The page that is asked for, out of all rows."""
        pages = max(1, -(-len(found) // question.size))
        page = min(question.page, pages)
        start = (page - 1) * question.size
        items = found[start : start + question.size]
        return cls(items, len(found), page, pages, start + 1 if items else 0)


def agents_asked_for(agents: Iterable[Agent], question: Question, now: datetime) -> Rows[Agent]:
    """The agents that a question selects, sorted."""
    words, expiry_of = question.words, Expiry.at(now)
    found = [agent for agent in agents if _selects(question, words, agent, expiry_of)]
    found.sort(key=lambda agent: (agent.key.namespace, agent.key.name))
    sort = question.sort or Sort.NAME
    if sort in _AGENT_KEYS:
        found.sort(key=_AGENT_KEYS[sort], reverse=question.descending)
    elif question.descending:
        found.reverse()
    return Rows.of(found, question)


def _selects(
    asked: Question,
    words: tuple[str, ...],
    agent: Agent,
    expiry_of: Callable[[datetime | None], Expiry],
) -> bool:
    return (
        (not asked.namespace or asked.namespace == agent.key.namespace)
        and (not asked.class_name or asked.class_name == agent.class_name)
        and (not asked.tier or asked.tier == (agent.tier or NO_TIER))
        and (asked.state is None or asked.state is agent.state)
        and (asked.expires is None or asked.expires is expiry_of(agent.not_after))
        and all(word in agent.haystack for word in words)
    )


_TIER_RANK: Final = {tier.value: tier.rank for tier in Tier}
_STATE_RANK: Final = {state: rank for rank, state in enumerate(AgentState)}

_AGENT_KEYS: Final[Mapping[Sort, Callable[[Agent], str | int | datetime]]] = {
    Sort.CLASS: lambda agent: agent.class_name,
    Sort.TIER: lambda agent: _TIER_RANK.get(agent.tier, -1),
    Sort.STATE: lambda agent: _STATE_RANK[agent.state],
    Sort.SPONSOR: lambda agent: agent.sponsor.lower(),
    Sort.EXPIRES: lambda agent: agent.not_after or _NEVER,
}


def revocations_asked_for(found: Iterable[Revocation], question: Question) -> Rows[Revocation]:
    """The revocations that a question selects; the latest first unless it says otherwise."""
    words = question.words
    selected = [
        each
        for each in found
        if question.class_name in {"", each.class_name}
        and (not words or all(word in each.haystack for word in words))
    ]
    selected.sort(key=lambda each: each.revoked.serial.value)
    sort = question.sort or Sort.REVOKED
    key = _REVOCATION_KEYS.get(sort, _REVOCATION_KEYS[Sort.REVOKED])
    descending = question.descending if question.sort else True
    selected.sort(key=key, reverse=descending)
    return Rows.of(selected, question)


_REVOCATION_KEYS: Final[Mapping[Sort, Callable[[Revocation], datetime | str | tuple[str, str]]]] = {
    Sort.REVOKED: lambda each: each.revoked.revoked_at,
    Sort.REASON: lambda each: each.revoked.reason.value,
    Sort.EXPIRES: lambda each: each.revoked.not_after,
    Sort.NAME: lambda each: ("", "") if each.key is None else (each.key.namespace, each.key.name),
}


@dataclass(frozen=True, slots=True)
class Overview:
    """Agents, counted.

    Attributes:
        total: All of them.
        by_state: The worst first.
        by_tier: The highest first; those without one last.
        by_class: The most agents first, by tier.
        by_expiry: The soonest first.
        overdue: Certificates that should have been renewed by now.
    """

    total: int
    by_state: Mapping[AgentState, int]
    by_tier: Mapping[str, int]
    by_class: Sequence[tuple[str, Counter[str]]]
    by_expiry: Mapping[Expiry, int]
    overdue: int


def overview_of(agents: Iterable[Agent], namespace: str, now: datetime) -> Overview:
    """Count the agents of a namespace, or all of them if it is empty."""
    states: Counter[AgentState] = Counter()
    tiers: Counter[tuple[str, str]] = Counter()
    expiries: Counter[Expiry] = Counter()
    overdue = total = 0
    expiry_of = Expiry.at(now)
    for agent in agents:
        if namespace and namespace != agent.key.namespace:
            continue
        total += 1
        states[agent.state] += 1
        tiers[agent.class_name, agent.tier or NO_TIER] += 1
        expiries[expiry_of(agent.not_after)] += 1
        overdue += _is_overdue(agent, now)
    classes: dict[str, Counter[str]] = {}
    by_tier: Counter[str] = Counter()
    for (name, tier), count in tiers.items():
        classes.setdefault(name, Counter())[tier] += count
        by_tier[tier] += count
    return Overview(
        total=total,
        by_state={state: states[state] for state in AgentState},
        by_tier={tier: by_tier[tier] for tier in TIERS},
        by_class=sorted(classes.items(), key=lambda each: (-each[1].total(), each[0])),
        by_expiry={expiry: expiries[expiry] for expiry in Expiry},
        overdue=overdue,
    )


TIERS: Final = (*(tier.value for tier in reversed(Tier)), NO_TIER)
"""The highest first, and what has none."""


_NOT_RENEWED: Final = frozenset({AgentState.SUSPENDED, AgentState.DELETING})


def _is_overdue(agent: Agent, now: datetime) -> bool:
    due = agent.renewal_time
    return due is not None and now - due > _OVERDUE and agent.state not in _NOT_RENEWED
