"""The parts of the issuer service that need no cluster."""

from __future__ import annotations

import asyncio
import itertools
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cryptography import x509

from agentid.issuing.changes import Follower
from agentid.issuing.limits import Limits, Work
from agentid.kube.stores import SecretVersion
from agentid.services.issuing_credentials import IssuingCredentials
from agentid.testing.clock import ManualClock

if TYPE_CHECKING:
    from collections.abc import Mapping

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
NAME = "agentid-issuer.agentid-system.svc"


def test_takes_on_so_much_and_no_more() -> None:
    """One node cannot take what others need, and what has ended makes room."""
    work = Work(Limits(items=10, node_items=6))
    assert work.begin("a", 6)
    assert not work.begin("a", 1)
    assert work.begin("b", 4)
    assert not work.begin("c", 1)
    work.end("a", 6)
    assert work.begin("c", 6)
    work.end("b", 4)
    work.end("c", 6)
    assert work.idle


def test_lets_a_follower_go_that_takes_nothing() -> None:
    """What waits for one is bounded; beyond that it is behind, and keeps what it had."""

    async def fill() -> tuple[bool, bool, bytes]:
        follower = Follower("node-a")
        for _ in range(2048):
            follower.put(b"x")
        before = follower.behind
        follower.put(b"y")
        return before, follower.behind, await follower.take(1)

    assert asyncio.run(fill()) == (False, True, b"x" * 2048)


def test_a_follower_that_nothing_came_for_is_told_so() -> None:
    """It takes nothing, which is the time for a sign of life."""
    assert asyncio.run(Follower("node-a").take(0.01)) == b""


class Store:
    """A Secret in memory."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] | None = None
        self.writes = 0

    async def read(self) -> SecretVersion | None:
        """What it holds."""
        return None if self.files is None else SecretVersion(self.files, str(self.writes))

    async def create(self, data: Mapping[str, bytes]) -> bool:
        """Make it."""
        return await self.replace(data, "")

    async def replace(self, data: Mapping[str, bytes], _: str) -> bool:
        """Exchange what it holds."""
        self.files, self.writes = dict(data), self.writes + 1
        return True


def trusts(authorities: bytes, leaf: bytes) -> bool:
    """Whether one of the authorities signed the certificate."""
    certificate = x509.load_pem_x509_certificate(leaf)
    for each in x509.load_pem_x509_certificates(authorities):
        if each.subject == certificate.issuer:
            certificate.verify_directly_issued_by(each)
            return True
    return False


def test_a_serving_certificate_is_trusted_before_it_is_served() -> None:
    """Looked at every hour over forty days, plugins whose files are an hour old always agree."""
    clock, store, octets = ManualClock(NOON), Store(), itertools.count(1)
    credentials = IssuingCredentials(
        store=store,  # type: ignore[arg-type]  # it has what is used
        namespace="agentid-system",
        clock=clock,
        random=lambda count: next(octets).to_bytes(count),
    )

    async def live() -> tuple[int, int]:
        served = set[bytes]()
        behind: list[bytes] = []
        for _ in range(24 * 40):
            await credentials.renew()
            assert store.files is not None
            behind.append(store.files["ca.crt"])
            assert trusts(store.files["ca.crt"], store.files["tls.crt"])
            if len(behind) > 1:
                assert trusts(behind[-2], store.files["tls.crt"]), "not served before it was told"
            leaf = x509.load_pem_x509_certificate(store.files["tls.crt"])
            assert leaf.not_valid_before_utc <= clock.now() < leaf.not_valid_after_utc
            names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
            assert names.value.get_values_for_type(x509.DNSName) == [NAME]
            served.add(store.files["tls.crt"])
            clock.advance(timedelta(hours=1))
        return len(served), store.writes

    assert asyncio.run(live()) == (3, 5)


def test_mends_a_damaged_serving_certificate() -> None:
    """What cannot be served, by whoever wrote it, is made anew; what can is left alone."""
    clock, store, octets = ManualClock(NOON), Store(), itertools.count(1)
    credentials = IssuingCredentials(
        store=store,  # type: ignore[arg-type]  # it has what is used
        namespace="agentid-system",
        clock=clock,
        random=lambda count: next(octets).to_bytes(count),
    )

    async def damage(name: str, content: bytes) -> bool:
        await credentials.renew()
        assert store.files is not None
        assert not await credentials.renew()
        store.files[name] = content
        mended = await credentials.renew()
        return mended and trusts(store.files["ca.crt"], store.files["tls.crt"])

    for name in ("tls.crt", "tls.key", "ca.crt"):
        for content in (b"", b"nonsense"):
            assert asyncio.run(damage(name, content)), f"{name}: {content!r}"
