"""A responder that serves from memory on the loopback, for its clients."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import aiohttp
from yarl import URL

from agentid.identity import SerialNumber
from agentid.identity.revocation import RevocationReason
from agentid.ledger import Issued, Revoked
from agentid.responder.listeners import serve_ports
from agentid.responder.responder import Responder
from agentid.responder.settings import Limits, Periods, Settings
from agentid.testing.ca import ThrowawayCA
from agentid.testing.ledger import make_issued
from agentid.testing.publications import MemoryLedger, Published, secret

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from multidict import CIMultiDictProxy

    from agentid.clock import Clock
    from agentid.responder.listeners import Ports

__all__ = ["EPOCH", "World", "serving", "until"]

EPOCH: Final = "e0"
AGENT: Final = "spiffe://example.org/ns/demo/agent/reader"


@dataclass(slots=True)
class World:
    """A responder with one issuer, and what is around it.

    Attributes:
        responder: It.
        ledger: What stands on record.
        main: What the issuer publishes.
        ports: Where it serves.
    """

    responder: Responder
    ledger: MemoryLedger
    main: Published
    ports: Ports
    session: aiohttp.ClientSession

    @property
    def http(self) -> str:
        """Base URL of HTTP."""
        return f"http://127.0.0.1:{self.ports.http}"

    async def get(
        self,
        path: str,
        method: str = "GET",
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, CIMultiDictProxy[str], bytes]:
        """One request over HTTP, the path as it is; status, headers and body."""
        url = URL(self.http + path, encoded=True)
        async with self.session.request(method, url, headers=headers, data=body) as answer:
            return answer.status, answer.headers, await answer.read()

    def issue(self, number: int, spiffe_id: str = AGENT) -> Issued:
        """Put a certificate of this serial number on record."""
        now = self.main.ca.now
        record = make_issued(
            number,
            issuer=self.main.issuer,
            authority=self.main.authority_id,
            not_before=now - timedelta(minutes=1),
            not_after=now + timedelta(hours=1),
            issued_at=now,
            spiffe_id=spiffe_id,
        )
        self.ledger.record(record)
        return record

    def revoke(
        self, number: int, reason: RevocationReason = RevocationReason.KEY_COMPROMISE
    ) -> Revoked:
        """Put a revocation of this serial number on record."""
        now = self.responder.clock.now()
        until = self.main.ca.now + timedelta(hours=1)
        record = Revoked(SerialNumber(number), reason, now, until, "a test")
        self.ledger.record(record)
        return record


@asynccontextmanager
async def serving(
    clock: Clock,
    *,
    limits: Limits | None = None,
    periods: Periods | None = None,
    publish: bool = True,
    ca: ThrowawayCA | None = None,
) -> AsyncIterator[World]:
    """Serve a world while the context is open."""
    main = Published(ca or ThrowawayCA(now=clock.now().replace(microsecond=0)))
    ledger = MemoryLedger()
    settings = Settings(
        host="127.0.0.1",
        http_port=0,
        https_port=0,
        limits=limits or Limits(),
        periods=periods or Periods(drain=timedelta(seconds=0.2)),
    )
    responder = Responder(settings, ledger, clock=clock, epoch=EPOCH)
    responder.ledger_read()
    if publish:
        responder.publications.config_map(main.bundle())
        responder.publications.config_map(main.crl(0))
        responder.publications.config_map(main.crl(None))
        responder.publications.secret(secret(main))
        responder.published_current()
    connector = aiohttp.TCPConnector(limit=0)
    async with (
        serve_ports(responder) as ports,
        aiohttp.ClientSession(connector=connector, auto_decompress=False) as session,
    ):
        yield World(responder, ledger, main, ports, session)


async def until(condition: Callable[[], bool]) -> None:
    """Return once a condition holds; fails after five seconds."""
    for _ in range(250):
        if condition():
            return
        await asyncio.sleep(0.02)
    message = "not so within five seconds"
    raise AssertionError(message)
