"""The pages about agents: overview, list, one agent; and revocations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agentid.api.vocabulary import Tier
from agentid.responder.inventory.agents import AgentState, Expiry
from agentid.responder.inventory.layout import (
    agent_link,
    badge,
    bar,
    facts,
    link,
    page,
    pager,
    scrolling,
    sortable,
    url,
    when,
)
from agentid.responder.inventory.markup import tag
from agentid.responder.inventory.questions import NO_TIER, Question, Sort
from agentid.responder.inventory.views import TIERS
from agentid.responder.inventory.words import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from agentid.kube.objects import ObjectKey
    from agentid.ledger import Entry, Revoked
    from agentid.responder.inventory.agents import Agent
    from agentid.responder.inventory.bodies import ConditionView
    from agentid.responder.inventory.catalogue import Revocation
    from agentid.responder.inventory.layout import Frame
    from agentid.responder.inventory.markup import Html, Part
    from agentid.responder.inventory.views import Overview, Rows

__all__ = [
    "agent_page",
    "agents_page",
    "conditions_table",
    "gone_page",
    "overview_page",
    "revocations_page",
]

_CLASSES: Final = 20
"""Classes that the overview names; those of the others are among the agents."""

_URGENT: Final = {Expiry.EXPIRED: "critical", Expiry.TEN_MINUTES: "high"}

_AGENTS: Final = "/agents"
_REVOCATIONS: Final = "/revocations"


# Overview


def overview_page(frame: Frame, told: Overview, latest: Rows[Revocation], more: Part) -> Html:
    """Everything at a glance.

    Args:
        frame: What is around it.
        told: Agents, counted.
        latest: The latest revocations.
        more: What comes behind all that.
    """
    scope = Question(namespace=frame.namespace)
    where = f" in {frame.namespace}" if frame.namespace else ""
    states = [
        (badge(state, state), count, scope.changed(state=state), "")
        for state, count in told.by_state.items()
    ]
    tiers = [
        (_tier(tier), count, scope.changed(tier=tier), tier) for tier, count in told.by_tier.items()
    ]
    expiries = [
        (expiry.words, count, scope.changed(expires=expiry), _URGENT.get(expiry, ""))
        for expiry, count in told.by_expiry.items()
    ]
    return page(
        frame,
        "Overview",
        tag("h1", f"{counted(told.total, 'agent')}{where}"),
        _overdue(told.overdue, scope),
        tag(
            "div",
            _section("States", _counts("State", states, told.total)),
            _section("Tiers", _counts("Tier", tiers, told.total)),
            _section("Certificates expire", _counts("When", expiries, told.total)),
            class_="cards",
        ),
        _section("Classes", *_classes(told, scope)),
        _section("Latest revocations", *_latest(frame, latest)),
        more,
    )


def _section(title: str, *content: Part) -> Html:
    name = title.lower().replace(" ", "-")
    return tag("section", tag("h2", title, id=name), *content, aria_labelledby=name)


def _overdue(count: int, scope: Question) -> Html | None:
    if not count:
        return None
    told = f"{counted(count, 'certificate')} should have been renewed by now. "
    soonest = url(_AGENTS, scope.changed(sort=Sort.EXPIRES))
    return tag("p", told, tag("a", "Show those that expire first", href=soonest), class_="notice")


def _counts(head: str, rows: Iterable[tuple[Part, int, Question, str]], total: int) -> Html:
    """Counts with their bars; each leads to the agents that were counted."""
    lines = (
        tag(
            "tr",
            tag("th", words, scope="row"),
            tag("td", _count_link(count, question), class_="number"),
            tag("td", bar(count / total if total else 0, kind), class_="bars"),
        )
        for words, count, question, kind in rows
    )
    heads = (
        tag("th", head, scope="col"),
        tag("th", "Agents", scope="col", class_="number"),
        tag("th", tag("span", "Share", class_="unseen"), scope="col"),
    )
    return tag("table", tag("thead", tag("tr", *heads)), tag("tbody", *lines), class_="counts")


def _count_link(count: int, question: Question) -> Part:
    if not count:
        return tag("span", "0", class_="soft")
    return tag("a", f"{count:,}", href=url(_AGENTS, question))


def _classes(told: Overview, scope: Question) -> Sequence[Html]:
    if not told.by_class:
        return (tag("p", "There is no agent yet.", class_="soft"),)
    tiers = [tier for tier in TIERS if told.by_tier[tier]]
    heads = [
        tag("th", "Class", scope="col"),
        tag("th", "Agents", scope="col", class_="number"),
        *(tag("th", _tier(tier), scope="col", class_="number") for tier in tiers),
    ]
    lines = [
        tag(
            "tr",
            tag("th", tag("a", name, href=url(_AGENTS, scope.changed(class_name=name))),
                scope="row"),
            tag("td", f"{sum(by_tier.values()):,}", class_="number"),
            *(
                tag(
                    "td",
                    _count_link(by_tier.get(tier, 0), scope.changed(class_name=name, tier=tier)),
                    class_="number",
                )
                for tier in tiers
            ),
        )
        for name, by_tier in told.by_class[:_CLASSES]
    ]  # fmt: skip
    table = tag("table", tag("thead", tag("tr", *heads)), tag("tbody", *lines))
    rest = len(told.by_class) - _CLASSES
    more = f"And {counted(rest, 'more class', 'more classes')}." if rest > 0 else None
    return (scrolling("Classes", table), *([tag("p", more, class_="soft more")] if more else ()))


def _latest(frame: Frame, latest: Rows[Revocation]) -> Sequence[Html]:
    if not latest.total:
        return (tag("p", "No certificate that would still be valid is revoked.", class_="soft"),)
    table = scrolling("Latest revocations", _revocation_table(frame, latest, None))
    everything = link(_REVOCATIONS, frame.namespace)
    words = f"All {counted(latest.total, 'revocation')}"
    more = tag("p", tag("a", words, href=everything), class_="more")
    return (table, more) if latest.pages > 1 else (table,)


# Agents


def agents_page(
    frame: Frame,
    question: Question,
    rows: Rows[Agent],
    revoked: Mapping[str, Revoked],
) -> Html:
    """The agents that a question selects.

    Args:
        frame: What is around it.
        question: That was asked.
        rows: The answer.
        revoked: Revocations of the certificates in these rows, by serial.
    """
    default = (Sort.NAME, False)
    heads = (
        sortable(words, sort, _AGENTS, question, default=default)
        for words, sort in (
            ("Agent", Sort.NAME),
            ("Class", Sort.CLASS),
            ("Tier", Sort.TIER),
            ("State", Sort.STATE),
            ("Expires", Sort.EXPIRES),
            ("Sponsor", Sort.SPONSOR),
        )
    )
    lines = (_agent_row(frame, agent, revoked.get(agent.serial)) for agent in rows.items)
    table = tag(
        "table",
        tag("caption", "Agents", class_="unseen"),
        tag("thead", tag("tr", *heads)),
        tag("tbody", *lines),
    )
    return page(
        frame,
        "Agents",
        tag("h1", "Agents"),
        _agent_filters(question),
        pager(_AGENTS, question, rows, "agents"),
        scrolling("Agents", table) if rows.items else None,
    )


def _agent_row(frame: Frame, agent: Agent, revoked: Revoked | None) -> Html:
    expires: Part = when(agent.not_after, frame.now)
    if revoked is not None:
        expires = badge("Revoked", "critical")
    return tag(
        "tr",
        tag("th", agent_link(agent.key, frame.namespace), scope="row"),
        tag("td", agent.class_name),
        tag("td", _tier(agent.tier)),
        tag("td", badge(agent.state, agent.state)),
        tag("td", expires),
        tag("td", tag("bdi", agent.sponsor)),
    )


def _agent_filters(question: Question) -> Html:
    return tag(
        "form",
        _field("Search", "words", tag(
            "input", type="search", id="words", name="q", value=question.q,
        )),
        _field("Class", "class", tag("input", id="class", name="class", value=question.class_name)),
        _field("Tier", "tier", _select(
            "tier", question.tier, [(tier, _tier_words(tier)) for tier in TIERS]
        )),
        _field("State", "state", _select(
            "state", question.state, [(state, state) for state in AgentState]
        )),
        _field("Expires", "expires", _select(
            "expires", question.expires, [(expiry, expiry.words) for expiry in Expiry]
        )),
        _hidden(question),
        tag("button", "Filter"),
        tag("a", "Clear", href=link(_AGENTS, question.namespace)) if question.is_narrow else None,
        action=_AGENTS,
        class_="filters",
        aria_label="Filter agents",
    )  # fmt: skip


def _field(words: str, name: str, control: Html) -> Html:
    return tag("div", tag("label", words, for_=name), control)


def _select(name: str, chosen: str | None, options: Iterable[tuple[str, str]]) -> Html:
    return tag(
        "select",
        tag("option", "Any", value=""),
        *(tag("option", words, value=value, selected=value == chosen) for value, words in options),
        id=name,
        name=name,
    )


def _hidden(question: Question) -> Sequence[Html]:
    """What a filter keeps as it is: where one looks, and the order."""
    kept = {
        "namespace": question.namespace,
        "sort": question.sort or "",
        "order": "desc" if question.descending else "",
    }
    return [tag("input", type="hidden", name=name, value=kept[name]) for name in kept if kept[name]]


def _tier(tier: str) -> Html:
    return badge(_tier_words(tier), tier if tier in _TIER_NAMES else "untiered")


def _tier_words(tier: str) -> str:
    return "Not classified" if tier in {"", NO_TIER} else tier


_TIER_NAMES: Final = frozenset(tier.value for tier in Tier)


# One agent


def agent_page(
    frame: Frame, agent: Agent, certificates: Sequence[Entry], revoked: Revoked | None
) -> Html:
    """One agent, with everything on record about it.

    Args:
        frame: What is around it.
        agent: It.
        certificates: Those on record, newest first.
        revoked: The revocation of the one in its status.
    """
    now = frame.now
    return page(
        frame,
        str(agent.key),
        tag("h1", tag("span", f"{agent.key.namespace}/", class_="soft"), agent.key.name),
        tag("p", badge(agent.state, agent.state), _tier(agent.tier), class_="marks"),
        tag("p", agent.message, class_="notice") if agent.state is not AgentState.READY else None,
        _section(
            "Who it is",
            facts(
                ("Sponsor", tag("bdi", agent.sponsor) if agent.sponsor else None),
                ("Purpose", tag("bdi", agent.purpose) if agent.purpose else None),
                ("Class", tag("a", agent.class_name, href=url(
                    _AGENTS, Question(namespace=frame.namespace, class_name=agent.class_name)
                ))),
                ("ServiceAccount", agent.service_account),
                ("SPIFFE ID", tag("code", agent.spiffe_id) if agent.spiffe_id else None),
                ("Since", when(agent.created, now, exactly=True)),
            ),
        ),
        _section(
            "Certificate in use",
            facts(
                ("Serial", tag("code", agent.serial) if agent.serial else None),
                ("Revoked", _revocation_words(revoked, now) if revoked else "no"),
                ("Expires", when(agent.not_after, now, exactly=True)),
                ("Renewal", when(agent.renewal_time, now, exactly=True)),
                ("Issuer", agent.issuer),
                ("Delivery", agent.delivery),
            ),
        ) if agent.serial else None,
        _section("Why this tier", _reasons(agent)) if agent.tier else None,
        _section("Conditions", conditions_table(agent.conditions, now)),
        _section("Certificates on record", _certificates(certificates, now)),
    )  # fmt: skip


def gone_page(frame: Frame, key: ObjectKey, certificates: Sequence[Entry]) -> Html:
    """What is on record of an agent whose AgentIdentity was deleted."""
    return page(
        frame,
        str(key),
        tag("h1", tag("span", f"{key.namespace}/", class_="soft"), key.name),
        tag("p", "There is no such AgentIdentity any more.", class_="notice"),
        _section("Certificates on record", _certificates(certificates, frame.now)),
    )


def _reasons(agent: Agent) -> Html:
    score = "" if agent.score is None else f"Score {agent.score} of 100."
    return tag(
        "div",
        tag("p", score) if score else None,
        tag("ul", *(tag("li", tag("bdi", reason)) for reason in agent.reasons)),
    )


def conditions_table(conditions: Sequence[ConditionView], now: datetime) -> Html:
    """Conditions, each with its reason and message."""
    if not conditions:
        return tag("p", "Nothing has looked at it yet.", class_="soft")
    heads = [tag("th", words, scope="col") for words in ("Condition", "Reason", "Since", "Message")]
    lines = (
        tag(
            "tr",
            tag("th", f"{each.type}: {each.status}", scope="row"),
            tag("td", each.reason),
            tag("td", when(each.since, now)),
            tag("td", tag("bdi", each.message), class_="long"),
        )
        for each in conditions
    )
    return scrolling("Conditions", tag("table", tag("thead", tag("tr", *heads)),
                                       tag("tbody", *lines)))  # fmt: skip


_SHOWN: Final = 100
"""Certificates of one agent that are shown; `agentid ledger list` has all of them."""


def _certificates(entries: Sequence[Entry], now: datetime) -> Html:
    if not entries:
        return tag("p", "None.", class_="soft")
    heads = [
        tag("th", words, scope="col")
        for words in ("Serial", "Issued", "Expires", "State", "Authority", "Delivery")
    ]
    lines = (
        tag(
            "tr",
            tag("th", tag("code", str(entry.serial)), scope="row"),
            tag("td", when(entry.issued.issued_at, now, exactly=True)),
            tag("td", when(entry.issued.not_after, now, exactly=True)),
            tag("td", _standing(entry, now)),
            tag("td", f"{entry.issued.issuer} ", tag("code", entry.issued.authority)),
            tag("td", entry.issued.door),
        )
        for entry in entries[:_SHOWN]
    )
    table = tag("table", tag("thead", tag("tr", *heads)), tag("tbody", *lines))
    return scrolling("Certificates on record", table)


def _standing(entry: Entry, now: datetime) -> Part:
    if entry.revoked is not None:
        return _revocation_words(entry.revoked, now)
    return badge("Live", "ready") if entry.is_live(now) else badge("Expired", "suspended")


def _revocation_words(revoked: Revoked, now: datetime) -> Part:
    return (badge("Revoked", "critical"), f" {revoked.reason}, ", when(revoked.revoked_at, now))


# Revocations


def revocations_page(frame: Frame, question: Question, rows: Rows[Revocation]) -> Html:
    """The revocations that a question selects."""
    return page(
        frame,
        "Revocations",
        tag("h1", "Revocations"),
        tag("p", "Of certificates that would still be valid. What has expired is left out.",
            class_="soft"),
        tag(
            "form",
            _field("Search", "words", tag(
                "input", type="search", id="words", name="q", value=question.q,
            )),
            _field("Class", "class", tag(
                "input", id="class", name="class", value=question.class_name,
            )),
            _hidden(question),
            tag("button", "Filter"),
            tag("a", "Clear", href=link(_REVOCATIONS, question.namespace))
            if question.is_narrow else None,
            action=_REVOCATIONS,
            class_="filters",
            aria_label="Filter revocations",
        ),
        pager(_REVOCATIONS, question, rows, "revocations"),
        scrolling("Revocations", _revocation_table(frame, rows, question)) if rows.items else None,
    )  # fmt: skip


def _revocation_table(frame: Frame, rows: Rows[Revocation], question: Question | None) -> Html:
    columns = (
        ("Agent", Sort.NAME),
        ("Revoked", Sort.REVOKED),
        ("Reason", Sort.REASON),
        ("Would expire", Sort.EXPIRES),
    )
    heads = [
        tag("th", words, scope="col")
        if question is None
        else sortable(words, sort, _REVOCATIONS, question, default=(Sort.REVOKED, True))
        for words, sort in columns
    ]
    heads += [tag("th", words, scope="col") for words in ("Serial", "By")]
    lines = (_revocation_row(frame, each) for each in rows.items)
    return tag("table", tag("thead", tag("tr", *heads)), tag("tbody", *lines))


def _revocation_row(frame: Frame, each: Revocation) -> Html:
    told, now = each.revoked, frame.now
    whose: Part = tag("span", "not on record", class_="soft")
    if each.key is not None:
        whose = agent_link(each.key, frame.namespace)
    return tag(
        "tr",
        tag("th", whose, scope="row"),
        tag("td", when(told.revoked_at, now)),
        tag("td", told.reason.value),
        tag("td", when(told.not_after, now)),
        tag("td", tag("code", str(told.serial))),
        tag("td", tag("bdi", told.actor), class_="long"),
    )
