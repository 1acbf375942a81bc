"""The pages about agents: the list, and one of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agentid.responder.inventory.agents import AgentState, Expiry
from agentid.responder.inventory.layout import page
from agentid.responder.inventory.markup import tag
from agentid.responder.inventory.parts import (
    agent_link,
    badge,
    facts,
    field,
    hidden,
    link,
    pager,
    scrolling,
    section,
    select,
    sortable,
    tier_mark,
    tier_words,
    url,
    when,
)
from agentid.responder.inventory.questions import Question, Sort
from agentid.responder.inventory.views import TIERS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from agentid.kube.objects import ObjectKey
    from agentid.ledger import Entry, Revoked
    from agentid.responder.inventory.agents import Agent
    from agentid.responder.inventory.bodies import ConditionView
    from agentid.responder.inventory.layout import Frame
    from agentid.responder.inventory.markup import Html, Part
    from agentid.responder.inventory.views import Rows

__all__ = ["agent_page", "agents_page", "conditions_table", "gone_page"]

_AGENTS: Final = "/agents"


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
        tag("td", tier_mark(agent.tier)),
        tag("td", badge(agent.state, agent.state)),
        tag("td", expires),
        tag("td", tag("bdi", agent.sponsor)),
    )


def _agent_filters(question: Question) -> Html:
    return tag(
        "form",
        field("Search", "words", tag(
            "input", type="search", id="words", name="q", value=question.q,
        )),
        field("Class", "class", tag("input", id="class", name="class", value=question.class_name)),
        field("Tier", "tier", select(
            "tier", question.tier, [(tier, tier_words(tier)) for tier in TIERS]
        )),
        field("State", "state", select(
            "state", question.state, [(state, state) for state in AgentState]
        )),
        field("Expires", "expires", select(
            "expires", question.expires, [(expiry, expiry.words) for expiry in Expiry]
        )),
        hidden(question),
        tag("button", "Filter"),
        tag("a", "Clear", href=link(_AGENTS, question.namespace)) if question.is_narrow else None,
        action=_AGENTS,
        class_="filters",
        aria_label="Filter agents",
    )  # fmt: skip


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
        tag("p", badge(agent.state, agent.state), tier_mark(agent.tier), class_="marks"),
        tag("p", agent.message, class_="notice") if agent.state is not AgentState.READY else None,
        section(
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
        section(
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
        section("Why this tier", _reasons(agent)) if agent.tier else None,
        section("Conditions", conditions_table(agent.conditions, now)),
        section("Certificates on record", _certificates(certificates, now)),
    )  # fmt: skip


def gone_page(frame: Frame, key: ObjectKey, certificates: Sequence[Entry]) -> Html:
    """What is on record of an agent whose AgentIdentity was deleted."""
    return page(
        frame,
        str(key),
        tag("h1", tag("span", f"{key.namespace}/", class_="soft"), key.name),
        tag("p", "There is no such AgentIdentity any more.", class_="notice"),
        section("Certificates on record", _certificates(certificates, frame.now)),
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
