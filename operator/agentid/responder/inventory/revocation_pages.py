"""The page of revocations, and the table that the overview has of them too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agentid.responder.inventory.layout import page
from agentid.responder.inventory.markup import tag
from agentid.responder.inventory.parts import (
    agent_link,
    field,
    hidden,
    link,
    pager,
    scrolling,
    sortable,
    when,
)
from agentid.responder.inventory.questions import Question, Sort

if TYPE_CHECKING:
    from agentid.responder.inventory.catalogue import Revocation
    from agentid.responder.inventory.layout import Frame
    from agentid.responder.inventory.markup import Html, Part
    from agentid.responder.inventory.views import Rows

__all__ = ["REVOCATIONS", "revocation_table", "revocations_page"]

REVOCATIONS: Final = "/revocations"


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
            field("Search", "words", tag(
                "input", type="search", id="words", name="q", value=question.q,
            )),
            field("Class", "class", tag(
                "input", id="class", name="class", value=question.class_name,
            )),
            hidden(question),
            tag("button", "Filter"),
            tag("a", "Clear", href=link(REVOCATIONS, question.namespace))
            if question.is_narrow else None,
            action=REVOCATIONS,
            class_="filters",
            aria_label="Filter revocations",
        ),
        pager(REVOCATIONS, question, rows, "revocations"),
        scrolling("Revocations", revocation_table(frame, rows, question)) if rows.items else None,
    )  # fmt: skip


def revocation_table(frame: Frame, rows: Rows[Revocation], question: Question | None) -> Html:
    """Revocations; its columns can be sorted by if it is the answer to a question."""
    columns = (
        ("Agent", Sort.NAME),
        ("Revoked", Sort.REVOKED),
        ("Reason", Sort.REASON),
        ("Would expire", Sort.EXPIRES),
    )
    heads = [
        tag("th", words, scope="col")
        if question is None
        else sortable(words, sort, REVOCATIONS, question, default=(Sort.REVOKED, True))
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
