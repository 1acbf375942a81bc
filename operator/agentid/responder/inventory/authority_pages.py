"""Authorities and their rotation; and the pages about who may see what."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentid.responder.inventory.access import AUDIENCE
from agentid.responder.inventory.agent_pages import conditions_table
from agentid.responder.inventory.layout import page
from agentid.responder.inventory.markup import tag
from agentid.responder.inventory.parts import badge, bar, facts, scrolling, when

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from agentid.responder.inventory.authorities import AuthorityView, IssuerView, JwtKeyView
    from agentid.responder.inventory.layout import Frame
    from agentid.responder.inventory.markup import Html, Part

__all__ = ["authorities_page", "authorities_section", "login_page", "message_page"]

_STATES = {"Signing": "ready", "Staged": "moderate", "Retired": "suspended"}


def authorities_page(frame: Frame, issuers: Sequence[IssuerView]) -> Html:
    """All issuers, each with its authorities and how far a rotation is."""
    none = tag("p", "There is no AgentIssuer yet.", class_="soft")
    return page(
        frame,
        "Authorities",
        tag("h1", "Authorities"),
        *([_issuer(issuer, frame.now) for issuer in issuers] or [none]),
    )


def _issuer(issuer: IssuerView, now: datetime) -> Html:
    sequence = None if issuer.bundle_sequence is None else str(issuer.bundle_sequence)
    name = f"issuer-{issuer.name}"
    return tag(
        "section",
        tag("h2", issuer.name, id=name),
        facts(("Trust domain", issuer.trust_domain), ("Bundle sequence", sequence)),
        _authorities(f"Authorities of {issuer.name}", issuer.authorities, now),
        _jwt_keys(f"Keys for JWT-SVIDs of {issuer.name}", issuer.jwt_keys, now),
        conditions_table(issuer.conditions, now),
        aria_labelledby=name,
    )


def authorities_section(issuers: Sequence[IssuerView], now: datetime) -> Html | None:
    """For the overview: the authorities that sign, and those about to."""
    signing = [
        (issuer.name, each)
        for issuer in issuers
        for each in issuer.authorities
        if each.state in {"Signing", "Staged"}
    ]
    if not signing:
        return None
    heads = [
        tag("th", words, scope="col")
        for words in ("Issuer", "Role", "State", "Algorithm", "Expires", "Lifetime spent")
    ]
    lines = (
        tag(
            "tr",
            tag("th", name, scope="row"),
            tag("td", each.role),
            tag("td", badge(each.state, _STATES.get(each.state, "critical"))),
            tag("td", each.algorithm),
            tag("td", when(each.not_after, now)),
            tag("td", _spent(each, now), class_="bars"),
        )
        for name, each in signing
    )
    table = tag("table", tag("thead", tag("tr", *heads)), tag("tbody", *lines))
    return tag(
        "section",
        tag("h2", "Authorities", id="authorities"),
        scrolling("Authorities", table),
        aria_labelledby="authorities",
    )


def _authorities(label: str, authorities: Sequence[AuthorityView], now: datetime) -> Html:
    if not authorities:
        return tag("p", "It has no authorities yet.", class_="soft")
    heads = [
        tag("th", words, scope="col")
        for words in ("Authority", "Role", "State", "Algorithm", "Begins", "Expires",
                      "Lifetime spent", "Subject")
    ]  # fmt: skip
    lines = (
        tag(
            "tr",
            tag("th", tag("code", each.id), scope="row"),
            tag("td", each.role),
            tag("td", badge(each.state, _STATES.get(each.state, "critical"))),
            tag("td", each.algorithm),
            tag("td", when(each.not_before, now, exactly=True)),
            tag("td", when(each.not_after, now, exactly=True)),
            tag("td", _spent(each, now), class_="bars"),
            tag("td", tag("bdi", each.subject), class_="long"),
        )
        for each in authorities
    )
    return scrolling(label, tag("table", tag("thead", tag("tr", *heads)), tag("tbody", *lines)))


def _jwt_keys(label: str, keys: Sequence[JwtKeyView], now: datetime) -> Html | None:
    if not keys:
        return None
    heads = [
        tag("th", words, scope="col")
        for words in ("Key for JWT-SVIDs", "State", "Algorithm", "Since")
    ]
    lines = (
        tag(
            "tr",
            tag("th", tag("code", each.kid), scope="row"),
            tag("td", badge(each.state, _STATES.get(each.state, "critical"))),
            tag("td", each.algorithm),
            tag("td", when(each.since, now, exactly=True)),
        )
        for each in keys
    )
    return scrolling(label, tag("table", tag("thead", tag("tr", *heads)), tag("tbody", *lines)))


def _spent(each: AuthorityView, now: datetime) -> Part:
    spent = each.spent(now)
    if spent is None:
        return None
    return (tag("span", f"{spent:.0%}", class_="percent"), bar(spent))


# Who may see what


def login_page(frame: Frame, after: str, refused: str = "") -> Html:
    """Asks for a token.

    Args:
        frame: What is around it.
        after: Path to go to afterwards.
        refused: Why the one that was given was not taken.
    """
    command = f"kubectl create token NAME --namespace NAMESPACE --audience {AUDIENCE}"
    return page(
        frame,
        "Log in",
        tag("h1", "Log in"),
        tag("p", refused, class_="notice", role="alert", id="refused") if refused else None,
        tag(
            "form",
            tag("label", "Token", for_="token"),
            tag(
                "input", type="password", id="token", name="token", required=True,
                autocomplete="off", autofocus=True, maxlength=16384,
                aria_describedby="refused how" if refused else "how",
            ),
            tag("input", type="hidden", name="next", value=after),
            tag("button", "Log in"),
            method="post",
            action="/login",
            class_="login",
        ),
        tag(
            "div",
            tag("p", "A token of a ServiceAccount that may list AgentIdentities, in the cluster or "
                "in a namespace. One made for this page alone is of no use elsewhere:"),
            tag("pre", tag("code", command), tabindex="0", aria_label="Command"),
            tag("p", "It is kept by the server while you are logged in, and never by the browser."),
            id="how",
        ),
    )  # fmt: skip


def message_page(frame: Frame, title: str, *sentences: str) -> Html:
    """Says in sentences why there is nothing to see, and what to do."""
    return page(frame, title, tag("h1", title), *(tag("p", each) for each in sentences))
