"""The parts that pages are made of: links, marks, tables and the fields of forms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from agentid.api.vocabulary import Tier
from agentid.responder.inventory.markup import Html, join, tag
from agentid.responder.inventory.questions import NO_TIER, Question
from agentid.responder.inventory.words import ago_or_in, moment

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from agentid.kube.objects import ObjectKey
    from agentid.responder.inventory.markup import Part
    from agentid.responder.inventory.questions import Sort
    from agentid.responder.inventory.views import Rows

__all__ = [
    "agent_link",
    "badge",
    "bar",
    "facts",
    "field",
    "hidden",
    "link",
    "pager",
    "scrolling",
    "section",
    "select",
    "sortable",
    "tier_mark",
    "tier_words",
    "url",
    "when",
]


def url(path: str, question: Question) -> str:
    """The URL of a page, and of what is asked of it."""
    return f"{path}?{question.query}" if question.query else path


def link(path: str, namespace: str) -> str:
    """The URL of a page about a namespace, or about everything if it is empty."""
    return url(path, Question(namespace=namespace))


def agent_link(key: ObjectKey, namespace: str) -> Html:
    """A link to an agent, with the namespace before its name."""
    path = f"/agents/{quote(key.namespace, safe='')}/{quote(key.name, safe='')}"
    words = (tag("span", f"{key.namespace}/", class_="soft"), key.name)
    return tag("a", *words, href=link(path, namespace), class_="agent")


def badge(words: str, kind: str) -> Html:
    """A word with a mark beside it, so that it does not go by its colour alone."""
    return tag("span", words, class_=f"badge {kind.lower().replace(' ', '-')}")


def tier_mark(tier: str) -> Html:
    """A tier with its mark; `NO_TIER` or an empty one is none."""
    return badge(tier_words(tier), tier if tier in _TIER_NAMES else "untiered")


def tier_words(tier: str) -> str:
    """A tier in words."""
    return "Not classified" if tier in {"", NO_TIER} else tier


_TIER_NAMES: Final = frozenset(tier.value for tier in Tier)


def bar(share: float, kind: str = "") -> Html:
    """A bar of a share from 0 to 1; the number stands beside it as text."""
    width = f"{min(max(share, 0.0), 1.0) * 100:.2f}"
    return tag(
        "svg",
        tag("rect", width=width, height="1"),
        viewBox="0 0 100 1",
        preserveAspectRatio="none",
        aria_hidden="true",
        class_=f"bar {kind.lower()}".strip(),
    )


def when(instant: datetime | None, now: datetime, *, exactly: bool = False) -> Html:
    """A moment by how far it is away.

    Args:
        instant: The moment; None says that there is none.
        now: The time.
        exactly: Whether its date stands below; else who points at it sees it.
    """
    if instant is None:
        return tag("span", "none", class_="soft")
    words = tag(
        "time",
        ago_or_in(instant, now),
        datetime=instant.strftime("%Y-%m-%dT%H:%M:%SZ"),
        title=None if exactly else moment(instant),
        class_="past" if instant < now else None,
    )
    return join(words, tag("span", moment(instant), class_="date")) if exactly else words


def facts(*pairs: tuple[str, Part]) -> Html:
    """Terms and what they are; those that are empty say so."""
    none = tag("span", "none", class_="soft")
    return tag(
        "dl", *(tag("div", tag("dt", name), tag("dd", value or none)) for name, value in pairs)
    )


def section(title: str, *content: Part) -> Html:
    """A part of a page under a heading of its own."""
    name = title.lower().replace(" ", "-")
    return tag("section", tag("h2", title, id=name), *content, aria_labelledby=name)


def scrolling(label: str, table: Html) -> Html:
    """A table that scrolls by itself where the window is too narrow, by keyboard too."""
    return tag("div", table, class_="scroll", role="region", aria_label=label, tabindex="0")


def sortable(
    words: str, sort: Sort, path: str, question: Question, *, default: tuple[Sort, bool]
) -> Html:
    """The head of a column that can be sorted by.

    Args:
        words: Of the column.
        sort: What it sorts by.
        path: Of the page.
        question: That was asked.
        default: What the page is sorted by when nothing is asked, and whether descending.
    """
    by, descending = (question.sort, question.descending) if question.sort else default
    here = by is sort
    asked = question.changed(sort=sort, descending=here and not descending)
    state = None
    if here:
        state = "descending" if descending else "ascending"
    return tag("th", tag("a", words, href=url(path, asked)), scope="col", aria_sort=state)


def pager(path: str, question: Question, rows: Rows[object], noun: str) -> Html:
    """Where one is among the pages, and the way to the others."""
    last = rows.first + len(rows.items) - 1
    told = f"{rows.first:,} to {last:,} of {rows.total:,} {noun}" if rows.total else f"No {noun}"
    steps: Sequence[tuple[str, int, bool]] = (
        ("First", 1, rows.page > 1),
        ("Previous", rows.page - 1, rows.page > 1),
        ("Next", rows.page + 1, rows.page < rows.pages),
        ("Last", rows.pages, rows.page < rows.pages),
    )
    links = [
        tag("li", tag("a", words, href=url(path, question.changed(page=to))))
        for words, to, there in steps
        if there
    ]
    return tag(
        "div",
        tag("p", told, role="status"),
        tag("nav", tag("ul", *links), aria_label="Pages") if links else None,
        class_="pager",
    )


def field(words: str, name: str, control: Html) -> Html:
    """A control of a form, with its label."""
    return tag("div", tag("label", words, for_=name), control)


def select(name: str, chosen: str | None, options: Iterable[tuple[str, str]]) -> Html:
    """A choice; the first one leaves it open."""
    return tag(
        "select",
        tag("option", "Any", value=""),
        *(tag("option", words, value=value, selected=value == chosen) for value, words in options),
        id=name,
        name=name,
    )


def hidden(question: Question) -> Sequence[Html]:
    """What a filter keeps as it is: where one looks, and the order."""
    kept = {
        "namespace": question.namespace,
        "sort": question.sort or "",
        "order": "desc" if question.descending else "",
    }
    return [tag("input", type="hidden", name=name, value=kept[name]) for name in kept if kept[name]]
