"""The issuer service over HTTPS: a server that answers as the real one does, and one that errs."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from agentid.errors import InputError, UnavailableError
from agentid.node.http_issuer import HttpIssuer
from agentid.node.issuer import Change, ChangeKind, IssuerPort, RefusedError
from agentid.node.keys import make_key
from agentid.node.material import Material
from agentid.node.wire import (
    bundles_to_wire,
    change_to_wire,
    jwt_to_wire,
    problem_to_wire,
    read_bundles,
    read_x509,
    x509_to_wire,
)
from agentid.pki import KeyAlgorithm
from tests.support.node import POD

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from agentid.testing.node_issuer import FakeNodeIssuer

PROBLEM = "application/problem+json"


class Service:
    """An issuer service over HTTP that asks the fake; `broken` answers in its place."""

    def __init__(self, issuer: FakeNodeIssuer) -> None:
        self.issuer = issuer
        self.seen: list[tuple[str, dict[str, Any]]] = []
        self.broken: tuple[int, bytes] | None = None

    async def answer(
        self, request: web.Request, ask: Callable[[dict[str, Any]], Awaitable[bytes]]
    ) -> web.Response:
        """Answer as the fake does."""
        body = json.loads(await request.read() or b"{}")
        self.seen.append((request.headers["Authorization"], body))
        if self.broken is not None:
            return web.Response(status=self.broken[0], body=self.broken[1])
        try:
            return web.Response(body=await ask(body))
        except RefusedError as error:
            problem = problem_to_wire(error, 403)
            return web.Response(status=403, body=problem, content_type=PROBLEM)
        except UnavailableError:
            return web.Response(status=503)

    async def x509(self, request: web.Request) -> web.Response:
        """POST /node/v1/x509."""

        async def ask(body: dict[str, Any]) -> bytes:
            return x509_to_wire(await self.issuer.x509(POD, base64.b64decode(body["csr"])))

        return await self.answer(request, ask)

    async def jwt(self, request: web.Request) -> web.Response:
        """POST /node/v1/jwt."""

        async def ask(body: dict[str, Any]) -> bytes:
            return jwt_to_wire(await self.issuer.jwt(POD, tuple(body["audience"])))

        return await self.answer(request, ask)

    async def bundles(self, request: web.Request) -> web.Response:
        """GET /node/v1/bundles."""

        async def ask(_: dict[str, Any]) -> bytes:
            return bundles_to_wire(await self.issuer.bundles())

        return await self.answer(request, ask)

    async def changes(self, request: web.Request) -> web.StreamResponse:
        """GET /node/v1/changes."""
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"\n")
        async for change in self.issuer.changes():
            await response.write(change_to_wire(change))
        return response


@asynccontextmanager
async def service(issuer: FakeNodeIssuer) -> AsyncIterator[tuple[Service, HttpIssuer]]:
    """The service, and a client of it."""
    made = Service(issuer)
    app = web.Application()
    app.add_routes(
        [
            web.post("/node/v1/x509", made.x509),
            web.post("/node/v1/jwt", made.jwt),
            web.get("/node/v1/bundles", made.bundles),
            web.get("/node/v1/changes", made.changes),
        ]
    )
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]

    async def headers() -> Mapping[str, str]:
        return {"Authorization": "Bearer node-token"}

    context = ssl.create_default_context()
    try:
        async with HttpIssuer(f"http://127.0.0.1:{port}", lambda: context, headers) as client:
            yield made, client
    finally:
        await runner.cleanup()


async def test_all_methods(issuer: FakeNodeIssuer) -> None:
    """What the service says arrives as it was, and each request proves node and pod."""
    issuer.federated = [issuer.make_ca("partner.test")]
    async with service(issuer) as (made, client):
        port: IssuerPort = client
        key, request = make_key(KeyAlgorithm.ECDSAP256)
        grant = await port.x509(POD, request)
        assert Material.of(grant, key, {}).serial == issuer.issued[0].serial
        assert grant.renew_at > grant.issued_at > grant.not_before
        assert set(grant.federated) == {"partner.test"}
        token = await port.jwt(POD, ("erp",))
        assert token.token.count(".") == 2
        assert dict(await port.bundles()) == dict(await issuer.bundles())
    assert made.seen[0][0] == "Bearer node-token"
    assert {body.get("podToken") for _, body in made.seen[:2]} == {"pod-token"}


async def test_changes_arrive_until_the_feed_ends(issuer: FakeNodeIssuer) -> None:
    """Changes come as they are told; when the service goes, the feed ends."""
    async with service(issuer) as (_, client):
        seen: list[Change] = []

        async def follow() -> None:
            seen.extend([change async for change in client.changes()])

        following = asyncio.create_task(follow())
        while not issuer.followers:  # noqa: ASYNC110 - another task sets it
            await asyncio.sleep(0.01)
        change = Change(ChangeKind.REVOKED, POD.uid, "0a", "KeyCompromise", "it leaked")
        issuer.tell(change)
        issuer.go_away()
        await asyncio.wait_for(following, 5)
    assert seen == [change]


@pytest.mark.parametrize(
    ("status", "body", "kind", "message"),
    [
        pytest.param(503, b"", UnavailableError, "answers 503", id="away"),
        pytest.param(500, b"{}", UnavailableError, "answers 500", id="broken"),
        pytest.param(302, b"", UnavailableError, "answers 302", id="elsewhere"),
        pytest.param(403, b"<html>", InputError, "not JSON", id="problem-html"),
        pytest.param(403, b"{}", InputError, "reason is missing", id="problem-empty"),
        pytest.param(200, b"[]", InputError, "no JSON object", id="list"),
        pytest.param(200, b"{}", InputError, "is missing", id="empty"),
        pytest.param(200, b"x" * (17 << 20), InputError, "more than", id="giant"),
    ],
)
async def test_answers_that_are_none(
    issuer: FakeNodeIssuer, status: int, body: bytes, kind: type[Exception], message: str
) -> None:
    """An answer that is no good is one of the two errors that leave the pod what it holds."""
    async with service(issuer) as (made, client):
        made.broken = (status, body)
        with pytest.raises(kind, match=message):
            await client.x509(POD, b"csr")


async def test_refusal_keeps_its_reason(issuer: FakeNodeIssuer) -> None:
    """A refusal arrives with reason, message, finality and the kind of key that is wanted."""
    issuer.key_algorithm = KeyAlgorithm.ED25519
    async with service(issuer) as (_, client):
        _, request = make_key(KeyAlgorithm.ECDSAP256)
        with pytest.raises(RefusedError, match="wants a key of Ed25519") as other:
            await client.x509(POD, request)
        assert other.value.key_algorithm is KeyAlgorithm.ED25519
        issuer.refused[POD.uid] = RefusedError("Suspended", "it is suspended", final=True)
        with pytest.raises(RefusedError, match="it is suspended") as refused:
            await client.jwt(POD, ("erp",))
    assert (refused.value.reason, refused.value.final) == ("Suspended", True)


async def test_nobody_there() -> None:
    """A service that does not answer is unavailable, and so is its feed."""

    async def headers() -> Mapping[str, str]:
        return {}

    context = ssl.create_default_context()
    async with HttpIssuer("https://127.0.0.1:9", lambda: context, headers) as client:
        with pytest.raises(UnavailableError, match="does not answer"):
            await client.bundles()
        with pytest.raises(UnavailableError, match="does not answer"):
            await anext(aiter(client.changes()))


def test_times_and_names_are_checked() -> None:
    """A member of another type, or a time that is none, is named."""
    with pytest.raises(InputError, match="crl is missing or malformed"):
        read_x509(b'{"crl": 1}')
    with pytest.raises(InputError, match='"x" is no object'):
        read_bundles(b'{"x": 1}')
