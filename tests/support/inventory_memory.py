"""The inventory page served from memory, with an API server that answers reviews by a table."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

import aiohttp
from aiohttp import web

from agentid.kube.resources import AGENT_IDENTITIES, AGENT_ISSUERS
from agentid.responder.inventory import Inventory
from agentid.responder.settings import InventorySettings
from agentid.testing.publications import MemoryLedger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from agentid.clock import Clock
    from agentid.errors import AgentIdError
    from agentid.kube.objects import JsonObject
    from agentid.kube.resources import Resource

__all__ = ["ReviewServer", "Served", "served", "spread"]


@dataclass(slots=True)
class ReviewServer:
    """Answers reviews as an API server does.

    Attributes:
        users: Who has which token, and for which audience; an empty one is the server's own.
        rights: Resource and namespace that each user may list; an empty one is everywhere.
        error: Raised in place of any answer, while it is set.
        asked: What was asked, in order: the kind and what it was about.
    """

    users: dict[str, tuple[str, str]] = field(default_factory=dict)
    rights: dict[str, set[tuple[str, str]]] = field(default_factory=dict)
    error: AgentIdError | None = None
    asked: list[tuple[str, str]] = field(default_factory=list)

    async def create(self, resource: Resource, body: Mapping[str, object]) -> JsonObject:
        """Answer a review."""
        spec = body["spec"]
        assert isinstance(spec, dict)
        if resource.kind == "TokenReview":
            audiences = spec.get("audiences", [""])
            self.asked.append((resource.kind, audiences[0]))
            status = self._token(spec["token"], audiences)
        else:
            about = spec["resourceAttributes"]
            asked = (about["resource"], about.get("namespace", ""))
            self.asked.append((resource.kind, " ".join(asked).strip()))
            granted = self.rights.get(spec["user"], set())
            status = {"allowed": asked in granted or (asked[0], "") in granted}
        if self.error is not None:
            raise self.error
        return {"status": status}

    def _token(self, token: str, audiences: list[str]) -> JsonObject:
        name, audience = self.users.get(token, ("", ""))
        if not name or audience not in audiences:
            return {"authenticated": False, "error": "no such token"}
        user = {"username": name, "uid": "u", "groups": ["g"], "extra": {"k": ["v"]}}
        return {"authenticated": True, "user": user, "audiences": audiences}


@dataclass(slots=True)
class Served:
    """A page that is served over plain HTTP on the loopback, since TLS is not what is tried.

    Attributes:
        inventory: It.
        ledger: What is on record.
        reviews: The API server.
        session: A client.
        base: Its URL.
        counted: HTTP status of each answer.
    """

    inventory: Inventory
    ledger: MemoryLedger
    reviews: ReviewServer
    session: aiohttp.ClientSession
    base: str
    counted: list[int]

    def put(self, *bodies: JsonObject) -> None:
        """Have a watch tell of identities."""
        for body in bodies:
            self.inventory.catalogue.put(AGENT_IDENTITIES, body)

    def current(self) -> None:
        """Have the watches tell that this was everything."""
        for kind in (AGENT_IDENTITIES, AGENT_ISSUERS):
            self.inventory.catalogue.current(kind)

    async def ask(
        self,
        path: str,
        token: str = "officer",
        *,
        method: str = "GET",
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, Mapping[str, str], str]:
        """One request; status, headers and body."""
        fields = {"Authorization": f"Bearer {token}"} if token else {}
        url = self.base + path
        async with self.session.request(
            method, url, headers={**fields, **(headers or {})}, data=data, allow_redirects=False
        ) as answer:
            return answer.status, dict(answer.headers), await answer.text()


@asynccontextmanager
async def served(clock: Clock, *, read: bool = True) -> AsyncIterator[Served]:
    """Serve a page while the context is open; `officer` may list everything, `team` in `demo`."""
    reviews = ReviewServer(
        users={"officer": ("olga", "agentid-inventory"), "team": ("tom", "")},
        rights={
            "olga": {("agentidentities", ""), ("agentissuers", "")},
            "tom": {("agentidentities", "demo")},
        },
    )
    ledger = MemoryLedger()
    counted: list[int] = []
    inventory = Inventory(
        reviews,
        ledger,
        InventorySettings(review_period=timedelta(seconds=30)),
        clock=clock,
        count=counted.append,
    )
    runner = web.ServerRunner(web.Server(inventory.handler))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert site._server is not None
    port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
    try:
        async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
            made = Served(inventory, ledger, reviews, session, f"http://127.0.0.1:{port}", counted)
            if read:
                made.current()
            yield made
    finally:
        await runner.cleanup()


def spread(number: int, *, now: str = "2026-11-01T13:00:00Z") -> JsonObject:
    """One of many identities, as a watch tells it; their numbers spread them."""
    tiers = ("Low", "Low", "Low", "Moderate", "Moderate", "High", "Critical")
    ready = number % 10 != 0
    return {
        "metadata": {
            "namespace": f"team-{number % 40}",
            "name": f"agent-{number:05}",
            "uid": f"uid-{number}",
            "creationTimestamp": "2026-10-01T12:00:00Z",
        },
        "spec": {
            "className": f"class-{number % 12}",
            "sponsor": f"owner-{number % 200}@example.com",
            "purpose": "Reads incoming invoices and answers questions about them",
            "subject": {"serviceAccountName": f"agent-{number}"},
        },
        "status": {
            "spiffeID": f"spiffe://example.org/ns/team-{number % 40}/agent/agent-{number:05}",
            "classification": {"tier": tiers[number % 7], "score": 10, "reasons": ["read"]},
            "certificate": {
                "serial": f"{number + 1:032x}",
                "notBefore": "2026-11-01T12:00:00Z",
                "notAfter": now,
                "renewalTime": "2026-11-01T12:40:00Z",
                "issuer": "main",
            },
            "conditions": [
                {
                    "type": "Ready",
                    "status": "True" if ready else "False",
                    "reason": "Issued" if ready else "IssuerUnavailable",
                    "message": "A certificate is delivered",
                    "lastTransitionTime": "2026-11-01T12:00:00Z",
                }
            ],
        },
    }
