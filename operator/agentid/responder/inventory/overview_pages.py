"""The overview: agents counted, the latest revocations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agentid.responder.inventory.agents import Expiry
from agentid.responder.inventory.layout import page
from agentid.responder.inventory.markup import tag
from agentid.responder.inventory.parts import (
    badge,
    bar,
    link,
    scrolling,
    section,
    tier_mark,
    url,
)
from agentid.responder.inventory.questions import Question, Sort
from agentid.responder.inventory.revocation_pages import REVOCATIONS, revocation_table
from agentid.responder.inventory.views import TIERS
from agentid.responder.inventory.words import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from agentid.responder.inventory.catalogue import Revocation
    from agentid.responder.inventory.layout import Frame
    from agentid.responder.inventory.markup import Html, Part
    from agentid.responder.inventory.views import Overview, Rows

__all__ = ["overview_page"]

_CLASSES: Final = 20
"""Classes that the overview names; those of the others are among the agents."""


_URGENT: Final = {Expiry.EXPIRED: "critical", Expiry.TEN_MINUTES: "high"}


_AGENTS: Final = "/agents"


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
        (tier_mark(tier), count, scope.changed(tier=tier), tier)
        for tier, count in told.by_tier.items()
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
            section("States", _counts("State", states, told.total)),
            section("Tiers", _counts("Tier", tiers, told.total)),
            section("Certificates expire", _counts("When", expiries, told.total)),
            class_="cards",
        ),
        section("Classes", *_classes(told, scope)),
        section("Latest revocations", *_latest(frame, latest)),
        more,
    )


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
        *(tag("th", tier_mark(tier), scope="col", class_="number") for tier in tiers),
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
    table = scrolling("Latest revocations", revocation_table(frame, latest, None))
    everything = link(REVOCATIONS, frame.namespace)
    words = f"All {counted(latest.total, 'revocation')}"
    more = tag("p", tag("a", words, href=everything), class_="more")
    return (table, more) if latest.pages > 1 else (table,)
