"""What all pages have: head, navigation, search, the end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agentid.responder.inventory.markup import Html, join, tag
from agentid.responder.inventory.parts import link
from agentid.responder.inventory.words import moment, span

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from agentid.responder.inventory.markup import Part

__all__ = ["Frame", "page"]

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
        tag("main", _stale(frame), *content, id="content", tabindex="-1"),
        _footer(frame),
    )
    return join(Html("<!doctype html>\n"), tag("html", head, body, lang="en"))


def _stale(frame: Frame) -> Html | None:
    if frame.age < _STALE:
        return None
    told = f"The API server was last heard of {span(frame.age)} ago; things may have changed since."
    return tag("p", told, class_="notice", role="status")


_STALE: Final = 180.0
"""Seconds; a healthy API server says once a minute that nothing has changed."""


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
