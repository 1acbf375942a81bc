"""What all pages have: head, navigation, search, the end; and the parts that they are made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from agentid.responder.inventory.markup import Html, join, tag
from agentid.responder.inventory.questions import Question
from agentid.responder.inventory.words import ago_or_in, moment, span

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from agentid.kube.objects import ObjectKey
    from agentid.responder.inventory.markup import Part
    from agentid.responder.inventory.questions import Sort
    from agentid.responder.inventory.views import Rows

__all__ = [
    "Frame",
    "agent_link",
    "badge",
    "bar",
    "facts",
    "link",
    "page",
    "pager",
    "scrolling",
    "sortable",
    "url",
    "when",
]

_NAVIGATION: Final = (
    ("/", "Overview"),
    ("/agents", "Agents"),
    ("/revocations", "Revocations"),
    ("/authorities", "Authorities"),
)


@dataclass(frozen=True, slots=True)
class Frame:
    """What a page says around its content.

    Attributes:
        assets: URL of each asset, by its name.
        now: The moment that it shows.
        user: Who is logged in; empty for nobody.
        by_cookie: Whether there is a session to end.
        namespace: What is looked at; empty for everything.
        age: Seconds since everything was known to be known.
        here: Path of this page.
    """

    assets: Mapping[str, str]
    now: datetime
    user: str = ""
    by_cookie: bool = False
    namespace: str = ""
    age: float = 0.0
    here: str = ""


def page(frame: Frame, title: str, *content: Part) -> Html:
    """A whole page.

    Args:
        frame: What is around the content.
        title: Of the window; the content has the heading.
        content: Of the main part.
    """
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", f"{title} · agentid"),
        tag("link", rel="icon", href=frame.assets["icon.svg"], type="image/svg+xml"),
        tag("link", rel="stylesheet", href=frame.assets["inventory.css"]),
    )
    body = tag(
        "body",
        tag("a", "Skip to the content", class_="skip", href="#content"),
        _header(frame),
        tag("main", *content, id="content", tabindex="-1"),
        _footer(frame),
    )
    return join(Html("<!doctype html>\n"), tag("html", head, body, lang="en"))


def _header(frame: Frame) -> Html:
    brand = tag("a", "agentid", class_="brand", href=link("/", frame.namespace))
    if not frame.user:
        return tag("header", tag("div", tag("span", "agentid", class_="brand"), class_="bar-top"))
    pages = (
        tag(
            "li",
            tag(
                "a",
                words,
                href=link(path, frame.namespace),
                aria_current="page" if frame.here == path else None,
            ),
        )
        for path, words in _NAVIGATION
    )
    search = tag(
        "form",
        tag("label", "Search agents", for_="search", class_="unseen"),
        tag("input", type="search", id="search", name="q", placeholder="Search agents"),
        _hidden_namespace(frame.namespace),
        tag("button", "Search"),
        action="/agents",
        role="search",
    )
    logout = tag("form", tag("button", "Log out", class_="quiet"), method="post", action="/logout")
    who = tag(
        "div",
        tag("span", tag("span", "Logged in as ", class_="unseen"), tag("bdi", frame.user)),
        logout if frame.by_cookie else None,
        class_="who",
    )
    return tag(
        "header",
        tag(
            "div", brand, tag("nav", tag("ul", *pages), aria_label="Main"), search, class_="bar-top"
        ),
        tag("div", _scope(frame), who, class_="bar-scope"),
    )


def _scope(frame: Frame) -> Html:
    here = frame.here if frame.here in {path for path, _ in _NAVIGATION} else "/agents"
    return tag(
        "form",
        tag("label", "Namespace", for_="scope"),
        tag("input", id="scope", name="namespace", value=frame.namespace, placeholder="all"),
        tag("button", "Show", class_="quiet"),
        action=here,
        class_="scope",
        aria_label="Namespace",
    )


def _hidden_namespace(namespace: str) -> Html | None:
    return tag("input", type="hidden", name="namespace", value=namespace) if namespace else None


def _footer(frame: Frame) -> Html:
    age = f", {span(frame.age)} after the API server was last heard of" if frame.user else ""
    return tag("footer", tag("p", f"As of {moment(frame.now)}{age}. This page changes nothing."))


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
