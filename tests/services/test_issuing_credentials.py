"""By what node plugins know the issuer service: told before it is served, mended when changed."""

from __future__ import annotations

import base64
import itertools
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509

from agentid.errors import AgentIdError
from agentid.kube.stores import SecretFiles
from agentid.services.issuer_trust import IssuerTrust
from agentid.services.issuing_credentials import IssuingCredentials
from agentid.testing.api_server import FakeApiServer
from agentid.testing.clock import ManualClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from agentid.kube.client import Client

SYSTEM = "agentid-system"
NAME = f"agentid-issuer.{SYSTEM}.svc"
SECRET = f"/api/v1/namespaces/{SYSTEM}/secrets/agentid-issuer"
TOLD = f"/api/v1/namespaces/{SYSTEM}/configmaps/agentid-issuer-ca"
SINCE = "agentid.dev/told-since"
HOUR, DAY, SETTLE = timedelta(hours=1), timedelta(days=1), timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Room:
    """A fake API server, and the service on it."""

    server: FakeApiServer
    clock: ManualClock
    credentials: IssuingCredentials

    @property
    def files(self) -> dict[str, bytes]:
        """What the Secret holds."""
        body: Any = self.server.objects[SECRET]
        return {name: base64.b64decode(content) for name, content in body["data"].items()}

    def damage(self, name: str, content: bytes) -> None:
        """Change a file of the Secret behind everybody's back."""
        body: Any = self.server.objects[SECRET]
        changed = body["data"] | {name: base64.b64encode(content).decode()}
        self.server.put(SECRET, body | {"data": changed})

    @property
    def told(self) -> bytes:
        """What plugins are told."""
        body: Any = self.server.objects[TOLD]
        found: str = body["data"]["ca.crt"]
        return found.encode()

    @property
    def settling(self) -> bool:
        """Whether a successor waits to be served."""
        return "next.crt" in self.files

    async def until_successor(self) -> None:
        """Go on to the moment at which a successor has been made."""
        await self.credentials.renew()
        self.clock.advance(16 * DAY)
        await self.credentials.renew()
        assert self.settling


@asynccontextmanager
async def opened() -> AsyncIterator[Room]:
    """A room in which nothing has been made yet."""
    clock = ManualClock()
    async with FakeApiServer() as server, server.client() as client:
        yield Room(server, clock, credentials_on(client, clock))


def credentials_on(client: Client, clock: ManualClock) -> IssuingCredentials:
    """What a leader runs."""
    octets = itertools.count(1)
    return IssuingCredentials(
        store=SecretFiles(client, namespace=SYSTEM, name="agentid-issuer", labels={}),
        trust=IssuerTrust(client, SYSTEM),
        namespace=SYSTEM,
        clock=clock,
        random=lambda count: next(octets).to_bytes(count),
    )


def trusts(authorities: bytes, leaf: bytes) -> bool:
    """Whether one of the authorities signed the certificate."""
    certificate = x509.load_pem_x509_certificate(leaf)
    for each in x509.load_pem_x509_certificates(authorities):
        if each.subject == certificate.issuer:
            certificate.verify_directly_issued_by(each)
            return True
    return False


async def test_a_serving_certificate_is_trusted_before_it_is_served() -> None:
    """Looked at every hour over forty days, plugins whose files are an hour old always agree."""
    served = set[bytes]()
    behind: list[bytes] = []
    async with opened() as room:
        for _ in range(24 * 40):
            await room.credentials.renew()
            files = room.files
            behind.append(room.told)
            assert room.told == files["ca.crt"]
            assert trusts(room.told, files["tls.crt"])
            if len(behind) > 1:
                assert trusts(behind[-2], files["tls.crt"]), "not served before it was told"
            leaf = x509.load_pem_x509_certificate(files["tls.crt"])
            assert leaf.not_valid_before_utc <= room.clock.now() < leaf.not_valid_after_utc
            names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
            assert names.value.get_values_for_type(x509.DNSName) == [NAME]
            served.add(files["tls.crt"])
            room.clock.advance(HOUR)
        writes = [method for method, _, _, _ in room.server.requests if method != "GET"]
    assert len(served) == 3
    assert len(writes) == 5 + 3, "the Secret five times; what is trusted, three times"


async def test_plugins_are_told_no_key() -> None:
    """What is mounted on every node is certificates and nothing else."""
    async with opened() as room:
        await room.until_successor()
        body: Any = room.server.objects[TOLD]
        assert list(body["data"]) == ["ca.crt"]
        assert b"PRIVATE" not in room.told
        assert len(x509.load_pem_x509_certificates(room.told)) == 2


async def test_a_successor_waits_for_those_who_were_told_late() -> None:
    """The time counts from when the ConfigMap says it, not from when the Secret does."""
    async with opened() as room:
        await room.credentials.renew()
        room.clock.advance(16 * DAY)
        room.server.refused[TOLD] = 403
        for _ in range(4):
            with pytest.raises(AgentIdError):
                await room.credentials.renew()
            room.clock.advance(HOUR)
        assert room.settling is False, "what cannot be told is not begun"
        room.server.refused.clear()
        await room.credentials.renew()
        assert room.settling
        told = room.told
        del room.server.objects[TOLD]
        room.clock.advance(HOUR)
        await room.credentials.renew()
        assert room.told == told
        assert room.settling, "told a moment ago"
        room.clock.advance(SETTLE - timedelta(seconds=1))
        await room.credentials.renew()
        assert room.settling
        room.clock.advance(timedelta(seconds=1))
        await room.credentials.renew()
        assert not room.settling


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"data": {"ca.crt": "nonsense"}}, id="another text"),
        pytest.param({"data": {}}, id="no file"),
        pytest.param({"data": None}, id="nothing"),
        pytest.param({"binaryData": {"ca.crt": "AAAA"}, "data": {}}, id="elsewhere"),
    ],
)
async def test_what_somebody_else_tells_plugins_is_put_right(change: dict[str, Any]) -> None:
    """At the next look, and the time to serve a successor counts anew."""
    async with opened() as room:
        await room.until_successor()
        told, body = room.told, room.server.objects[TOLD]
        room.clock.advance(HOUR)
        room.server.put(TOLD, {**body, **change})
        assert await room.credentials.renew()
        assert room.told == told
        assert room.settling


@pytest.mark.parametrize("since", ["", "soon", "2999-01-01T00:00:00Z"])
async def test_a_time_that_means_nothing_is_written_anew(since: str) -> None:
    """So that nobody can hold up a successor for ever, nor hurry it on."""
    async with opened() as room:
        await room.until_successor()
        body: Any = room.server.objects[TOLD]
        room.server.put(
            TOLD, {**body, "metadata": {**body["metadata"], "annotations": {SINCE: since}}}
        )
        room.clock.advance(HOUR)
        await room.credentials.renew()
        assert room.settling
        room.clock.advance(SETTLE)
        await room.credentials.renew()
        assert not room.settling


@pytest.mark.parametrize("name", ["tls.crt", "tls.key", "ca.crt"])
@pytest.mark.parametrize("content", [b"", b"nonsense", b"\xff\xfe"])
async def test_mends_a_damaged_serving_certificate(name: str, content: bytes) -> None:
    """What cannot be served, by whoever wrote it, is made anew; what can is left alone."""
    async with opened() as room:
        await room.credentials.renew()
        assert not await room.credentials.renew()
        room.damage(name, content)
        assert await room.credentials.renew()
        assert trusts(room.told, room.files["tls.crt"])


async def test_a_successor_serves_at_once_where_nothing_else_can() -> None:
    """A certificate that plugins will soon know is better than one that nobody can use."""
    async with opened() as room:
        await room.until_successor()
        coming = room.files["next.crt"]
        room.damage("tls.key", b"nonsense")
        await room.credentials.renew()
        assert room.files["tls.crt"] == coming
        assert trusts(room.told, coming)
