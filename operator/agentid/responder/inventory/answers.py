"""Which path shows what, for a user who is known: as HTML or as JSON."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

import orjson
from aiohttp import web

from agentid.kube.objects import ObjectKey
from agentid.responder.inventory.agent_pages import agent_page, agents_page, gone_page
from agentid.responder.inventory.assets import URLS
from agentid.responder.inventory.authority_pages import (
    authorities_page,
    authorities_section,
    message_page,
)
from agentid.responder.inventory.layout import Frame
from agentid.responder.inventory.overview_pages import overview_page
from agentid.responder.inventory.questions import Question, read_query
from agentid.responder.inventory.records import (
    agent_record,
    agent_row,
    gone_record,
    issuer_record,
    overview_record,
    revocation_record,
    rows_record,
)
from agentid.responder.inventory.revocation_pages import revocations_page
from agentid.responder.inventory.views import (
    agents_asked_for,
    overview_of,
    revocations_asked_for,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from agentid.responder.inventory.access import Access, User
    from agentid.responder.inventory.catalogue import Catalogue
    from agentid.responder.inventory.markup import Html

__all__ = ["ROUTES", "Answers", "Asked", "as_html", "as_json"]

_LATEST: Final = Question(size=5)

ROUTES: Final = frozenset({"", "agents", "revocations", "authorities"})
"""First parts of the paths that show something."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request of somebody who is known.

    Attributes:
        path: Without its query and without `.json`.
        query: Everything behind the question mark.
        is_json: Whether the answer is to be JSON.
        user: Who asks.
        by_cookie: Whether by a session of a browser.
        literal: The path as it came, since an agent may be named `a.json`.
    """

    path: str
    query: str
    is_json: bool
    user: User
    by_cookie: bool
    literal: str


class Answers:
    """Looks things up and shows them.

    Args:
        catalogue: What there is.
        access: Who may see it.
        now: The time.
    """

    def __init__(self, catalogue: Catalogue, access: Access, now: Callable[[], datetime]) -> None:
        self._catalogue = catalogue
        self._access = access
        self._now = now

    @property
    def frame(self) -> Frame:
        """Around a page for nobody in particular."""
        return Frame(URLS, self._now())

    async def answer(self, asked: Asked) -> web.Response:
        """Answer a request.

        Raises:
            InputError: Something in its query cannot be.
            AgentIdError: The API server could not be asked whether the user may see it.
        """
        question = Question.of(read_query(asked.query))
        frame = replace(
            self.frame,
            user=asked.user.name,
            by_cookie=asked.by_cookie,
            namespace=question.namespace,
            age=self._catalogue.age,
            here=asked.path,
        )
        name, _, rest = asked.path[1:].partition("/")
        if name not in ROUTES or (rest and name != "agents"):
            return self.refuse(asked, frame, 404, "There is no such page.")
        if not self._catalogue.is_read:
            return self.refuse(asked, frame, 503, *self._why_unread())
        if name == "authorities":
            return await self._authorities(asked, frame)
        key = _key(asked.literal) if rest else None
        looked_at = question.namespace if key is None else key.namespace
        if not await self._access.may_list_agents(asked.user, looked_at):
            return self.refuse(asked, frame, 403, *_why_forbidden(asked.user, looked_at))
        return self._agent(asked, frame, key) if key else await self._table(asked, frame, question)

    async def _table(self, asked: Asked, frame: Frame, question: Question) -> web.Response:
        name = asked.path[1:]
        if name == "agents":
            return self._agents(asked, frame, question)
        if name == "revocations":
            return self._revocations(asked, frame, question)
        return await self._overview(asked, frame)

    def refuse(self, asked: Asked, frame: Frame, status: int, *sentences: str) -> web.Response:
        """Say in sentences why there is nothing to see."""
        if asked.is_json:
            return as_json({"error": " ".join(sentences)}, status)
        return as_html(message_page(frame, _TITLES[status], *sentences), status)

    def _why_unread(self) -> tuple[str, ...]:
        found = [f"{kind}: {why}" for kind, why in self._catalogue.missing.items() if why]
        if not found:
            return ("Not everything has been read yet.", "Come again in a few seconds.")
        return (
            "The responder may not read what this page shows.",
            *found,
            "Apply manifests/inventory.yaml; it tries again every few seconds.",
        )

    async def _overview(self, asked: Asked, frame: Frame) -> web.Response:
        catalogue = self._catalogue
        told = overview_of(catalogue.agents.values(), frame.namespace, frame.now)
        if asked.is_json:
            return as_json(overview_record(told))
        found = catalogue.revocations(frame.namespace or None, frame.now)
        latest = revocations_asked_for(found, _LATEST)
        more = None
        if await self._access.may_list_issuers(asked.user):
            issuers = [catalogue.issuers[name] for name in sorted(catalogue.issuers)]
            more = authorities_section(issuers, frame.now)
        return as_html(overview_page(frame, told, latest, more))

    def _agents(self, asked: Asked, frame: Frame, question: Question) -> web.Response:
        rows = agents_asked_for(self._catalogue.agents.values(), question, frame.now)
        revoked = {
            agent.serial: told
            for agent in rows.items
            if (told := self._catalogue.revocation_of(agent)) is not None
        }
        if asked.is_json:
            return as_json(
                rows_record(rows, lambda each: agent_row(each, revoked.get(each.serial)))
            )
        return as_html(agents_page(frame, question, rows, revoked))

    def _agent(self, asked: Asked, frame: Frame, key: ObjectKey) -> web.Response:
        catalogue = self._catalogue
        if asked.is_json and key not in catalogue.agents:
            key = _key(asked.path)
        agent, certificates = catalogue.agents.get(key), catalogue.certificates_of(key)
        if agent is None and not certificates:
            sentences = (f"There is no AgentIdentity {key}, and no certificate of it on record.",)
            return self.refuse(asked, frame, 404, *sentences)
        if agent is None:
            if asked.is_json:
                return as_json(gone_record(key, certificates))
            return as_html(gone_page(frame, key, certificates))
        revoked = catalogue.revocation_of(agent)
        if asked.is_json:
            return as_json(agent_record(agent, revoked, certificates))
        return as_html(agent_page(frame, agent, certificates, revoked))

    def _revocations(self, asked: Asked, frame: Frame, question: Question) -> web.Response:
        found = self._catalogue.revocations(question.namespace or None, frame.now)
        rows = revocations_asked_for(found, question)
        if asked.is_json:
            return as_json(rows_record(rows, revocation_record))
        return as_html(revocations_page(frame, question, rows))

    async def _authorities(self, asked: Asked, frame: Frame) -> web.Response:
        if not await self._access.may_list_issuers(asked.user):
            told = f"{asked.user.name} may not list agentissuers.agentid.dev."
            return self.refuse(asked, frame, 403, told, _GRANT)
        issuers = [self._catalogue.issuers[name] for name in sorted(self._catalogue.issuers)]
        if asked.is_json:
            return as_json({"items": [issuer_record(issuer) for issuer in issuers]})
        return as_html(authorities_page(frame, issuers))


_TITLES: Final = {
    403: "Not for you",
    404: "Not found",
    503: "Not yet",
}
_GRANT: Final = "Ask whoever administers the cluster for a role with that right."


def _why_forbidden(user: User, namespace: str) -> tuple[str, ...]:
    where = f"in namespace {namespace}" if namespace else "in the whole cluster"
    told = f"{user.name} may not list agentidentities.agentid.dev {where}."
    if namespace:
        return (told, _GRANT)
    return (told, "Give a namespace above in which it may.", _GRANT)


def _key(path: str) -> ObjectKey:
    """Namespace and name in a path; what is none names nothing that there is."""
    namespace, _, name = path.removeprefix("/agents/").partition("/")
    return ObjectKey(unquote(namespace), unquote(name))


def as_html(content: Html, status: int = 200) -> web.Response:
    """An answer for a browser."""
    return web.Response(
        status=status, body=content.encode("utf-8", "replace"),
        headers={"Content-Type": "text/html; charset=utf-8"},
    )  # fmt: skip


def as_json(content: object, status: int = 200) -> web.Response:
    """An answer for a script."""
    return web.Response(
        status=status, body=orjson.dumps(content), headers={"Content-Type": "application/json"}
    )
