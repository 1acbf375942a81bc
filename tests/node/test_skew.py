"""A node plugin and an issuer service of different releases."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from agentid.errors import UnavailableError
from agentid.issuing.wire import read_jwt_request, read_x509_request
from agentid.node.issuer import ChangeKind, RefusedError
from agentid.node.service_answers import NOTHING, read_change, refusal
from agentid.node.service_client import IssuerServiceClient
from tests.support.node import POD

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine

    Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def asking(answer: Answer) -> AsyncIterator[IssuerServiceClient]:
    """A plugin's client of a service that answers like this."""

    async def no_headers() -> dict[str, str]:
        return {}

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    try:
        # Of TLS nothing is asked here, and the context is never used.
        url = f"http://{host}:{port}"
        async with IssuerServiceClient(url, ssl.create_default_context, no_headers) as client:
            yield client
    finally:
        await runner.cleanup()


async def of_another_protocol(request: web.Request) -> web.StreamResponse:
    """A service that speaks /node/v2 alone."""
    del request
    return web.Response(status=404, text="there is nothing here\n")


async def first_change(client: IssuerServiceClient) -> object:
    """The first thing that the stream tells."""
    async with aclosing(client.changes()) as changes:
        return await anext(changes)


@pytest.mark.parametrize(
    ("asked", "path"),
    [
        pytest.param(lambda c: c.x509(POD, b"csr"), "/node/v1/x509", id="certificate"),
        pytest.param(lambda c: c.jwt(POD, ("a",)), "/node/v1/jwt", id="token"),
        pytest.param(lambda c: c.bundles(), "/node/v1/bundles", id="bundles"),
        pytest.param(first_change, "/node/v1/changes", id="changes"),
    ],
)
def test_a_service_of_another_protocol_takes_nothing_away(
    asked: Callable[[IssuerServiceClient], Coroutine[None, None, object]], path: str
) -> None:
    """Promise 5: it counts as away, what pods hold goes on, and it is said which two differ."""

    async def ask() -> None:
        async with asking(of_another_protocol) as client:
            said = f"does not know {path}, so it is of another release than this node plugin"
            with pytest.raises(UnavailableError, match=said) as raised:
                await asked(client)
            assert not isinstance(raised.value, RefusedError)

    asyncio.run(ask())


def test_a_later_plugin_may_say_more() -> None:
    """Members that a service does not know are passed over."""
    (item,) = read_x509_request(
        b'{"items":[{"podToken":"t","csr":"AAAA","attestation":{"tpm":1}}],"pluginVersion":"9"}'
    )
    assert item.pod_token == "t"
    assert read_jwt_request(b'{"podToken":"t","audience":["a"],"scope":"x"}') == ("t", ("a",))


def test_a_later_service_may_tell_more() -> None:
    """Kinds of changes that a plugin does not know are passed over, and so are members."""
    assert read_change({"type": "quarantined", "pod": "p"}, NOTHING) is None
    change = read_change({"type": "revoked", "pod": "p", "score": 3}, NOTHING)
    assert change is not None
    assert (change.kind, change.pod) == (ChangeKind.REVOKED, "p")


def test_a_reason_of_a_later_service_ends_nothing_unless_it_says_so() -> None:
    """A plugin goes by `final`, not by reasons: one that it does not know is a refusal."""
    told: dict[str, object] = {"reason": "TrustLowered", "detail": "…"}
    found = refusal(told)
    assert isinstance(found, RefusedError)
    assert not found.final
    ending = refusal({**told, "final": True})
    assert isinstance(ending, RefusedError)
    assert ending.final
