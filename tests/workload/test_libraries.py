"""HTTP libraries with the contexts and adapters: whoever is refused never reaches a handler."""

from __future__ import annotations

import asyncio
import http.client
import json
import ssl
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

import aiohttp
import httpx
import httpx2
import pytest
import uvicorn
import uvloop

from agentid.workload import NOBODY, PeerRefusedError, Workload, any_of, exactly
from agentid.workload import aiohttp as on_aiohttp
from agentid.workload import httpx as on_httpx
from agentid.workload.uvicorn import peer_of, secure
from tests.support import serving
from tests.support.workloads import TRUST_DOMAIN, Domain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agentid.workload import Peers

    Client = Callable[[Workload, Peers, int], tuple[str, int]]

ANYBODY = any_of(TRUST_DOMAIN)
BODY = b"x" * 100_000
REFUSED = r"is not one of those that"


def by_http_client(caller: Workload, peers: Peers, port: int) -> tuple[str, int]:
    """http.client; each gives whom the server saw, and how much it got."""
    context = caller.client_context(peers)
    connection = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=10)
    try:
        connection.request("POST", "/", body=BODY)
        return _told(json.load(connection.getresponse()))
    finally:
        connection.close()


def by_urllib(caller: Workload, peers: Peers, port: int) -> tuple[str, int]:
    """Urllib."""
    url = f"https://127.0.0.1:{port}/"
    try:
        with urllib.request.urlopen(
            url, data=BODY, timeout=10, context=caller.client_context(peers)
        ) as answer:
            return _told(json.load(answer))
    except urllib.error.URLError as error:
        raise ssl.SSLError(str(error.reason)) from error


def by_httpx(caller: Workload, peers: Peers, port: int) -> tuple[str, int]:
    """httpx, blocking."""
    with on_httpx.client(caller, peers, base_url=f"https://127.0.0.1:{port}") as client:
        answer = client.post("/", content=BODY)
        assert str(on_httpx.peer_of(answer)).endswith("/agent/server")
        return _told(answer.json())


def by_async_httpx(caller: Workload, peers: Peers, port: int) -> tuple[str, int]:
    """Httpx on asyncio."""

    async def call() -> tuple[str, int]:
        url = f"https://127.0.0.1:{port}"
        async with on_httpx.async_client(caller, peers, base_url=url) as client:
            answer = await client.post("/", content=BODY)
            assert str(on_httpx.peer_of(answer)).endswith("/agent/server")
            return _told(answer.json())

    return asyncio.run(call())


def by_httpx2(caller: Workload, peers: Peers, port: int) -> tuple[str, int]:
    """httpx2, which mcp brings, with a context."""

    async def call() -> tuple[str, int]:
        async with httpx2.AsyncClient(verify=caller.client_context(peers)) as client:
            return _told((await client.post(f"https://127.0.0.1:{port}/", content=BODY)).json())

    return asyncio.run(call())


async def _by_aiohttp(caller: Workload, peers: Peers, port: int) -> tuple[str, int]:
    async with (
        aiohttp.ClientSession(connector=on_aiohttp.connector(caller, peers)) as session,
        session.post(f"https://127.0.0.1:{port}/", data=BODY) as answer,
    ):
        return _told(await answer.json())


def by_aiohttp(caller: Workload, peers: Peers, port: int) -> tuple[str, int]:
    """Aiohttp."""
    return asyncio.run(_by_aiohttp(caller, peers, port))


def by_aiohttp_on_uvloop(caller: Workload, peers: Peers, port: int) -> tuple[str, int]:
    """Aiohttp on the other event loop."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_by_aiohttp(caller, peers, port))


def _told(answer: object) -> tuple[str, int]:
    assert isinstance(answer, dict)
    return str(answer["peer"]), int(answer["sent"])


CLIENTS = [
    by_http_client, by_urllib, by_httpx, by_async_httpx, by_httpx2, by_aiohttp,
    by_aiohttp_on_uvloop,
]  # fmt: skip
ERRORS = (OSError, httpx.HTTPError, httpx2.HTTPError, aiohttp.ClientError)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Domain:
    """A trust domain for all tests here."""
    return Domain(tmp_path_factory.mktemp("libraries"))


@pytest.fixture(scope="module", params=[serving.by_uvicorn, serving.by_aiohttp])
def port(shared: Domain, request: pytest.FixtureRequest) -> Iterator[int]:
    """A server that answers the caller alone."""
    server = Workload(shared.agent("server"))
    with request.param(server, exactly(shared.spiffe_id("caller"))) as number:
        yield number


@pytest.mark.parametrize("client", CLIENTS)
def test_a_request_arrives_with_its_sender(shared: Domain, port: int, client: Client) -> None:
    """The handler knows who sent it, and the client whom it reached."""
    caller = Workload(shared.agent("caller"))
    peers = exactly(shared.spiffe_id("server"))
    assert client(caller, peers, port) == (shared.spiffe_id("caller"), len(BODY))


@pytest.mark.parametrize("client", CLIENTS)
def test_a_server_that_is_not_wanted_gets_no_request(
    shared: Domain, port: int, client: Client
) -> None:
    """The client fails, by an error of its library that says whom it found."""
    caller = Workload(shared.agent("caller"))
    with pytest.raises(ERRORS, match=rf"agent/server {REFUSED} spiffe://.*/agent/caller talks to"):
        client(caller, NOBODY, port)


@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_that_is_not_wanted_gets_no_answer(
    shared: Domain, port: int, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """The server says who it was, in its log."""
    with pytest.raises(ERRORS):
        client(Workload(shared.agent("stranger")), ANYBODY, port)
    assert f"agent/stranger {REFUSED} spiffe://{TRUST_DOMAIN}/ns/finance/agent/server" in (
        caplog.text
    )


@pytest.mark.parametrize("client", CLIENTS)
def test_an_own_certificate_that_expired_is_told_of(
    shared: Domain, port: int, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By an error of the library."""
    caller = Workload(shared.agent("caller"))
    late = caller.identity.not_after.replace(year=caller.identity.not_after.year + 1)
    monkeypatch.setattr(caller._clock, "now", lambda: late)
    with pytest.raises(ERRORS, match="agent/caller expired at"):
        client(caller, ANYBODY, port)


def test_httpx_goes_nowhere_without_tls(shared: Domain) -> None:
    """Not by an address that lacks the s, and not by a proxy of the environment."""
    caller = Workload(shared.agent("caller"))
    message = r"^http://localhost/ is not https, so it shows no identity$"
    with (
        on_httpx.client(caller, ANYBODY) as client,
        pytest.raises(httpx.UnsupportedProtocol, match=message),
    ):
        client.get("http://localhost/secret?token=x")

    async def call() -> None:
        async with on_httpx.async_client(caller, ANYBODY) as client:
            await client.get("http://localhost/secret")

    with pytest.raises(httpx.UnsupportedProtocol, match=message):
        asyncio.run(call())


def test_httpx_uses_no_proxy_of_the_environment(
    shared: Domain, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be told where agents go."""
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    caller = Workload(shared.agent("caller"))
    assert by_httpx(caller, ANYBODY, port)[1] == len(BODY)
    assert by_async_httpx(caller, ANYBODY, port)[1] == len(BODY)


@pytest.mark.parametrize(
    ("url", "options"),
    [("http://localhost/", {}), ("https://localhost/", {"ssl": False})],
)
def test_aiohttp_goes_nowhere_without_tls(
    shared: Domain, url: str, options: dict[str, bool]
) -> None:
    """Nor with TLS that checks nothing, which a request may ask for."""
    caller = Workload(shared.agent("caller"))

    async def call() -> None:
        connector = on_aiohttp.connector(caller, ANYBODY)
        async with aiohttp.ClientSession(connector=connector) as session:
            await session.get(url, ssl=options.get("ssl", True))

    with pytest.raises(aiohttp.ClientConnectionError, match="it shows no identity"):
        asyncio.run(call())


def test_a_response_of_another_client_has_no_peer() -> None:
    """It came over a connection that nobody verified."""
    with pytest.raises(PeerRefusedError, match="is not known"):
        on_httpx.peer_of(httpx.Response(200))


@pytest.mark.parametrize(
    "scope",
    [
        {},
        {"extensions": None},
        {"extensions": {}},
        {"extensions": {"agentid": None}},
        {"extensions": {"agentid": {}}},
        {"extensions": {"agentid": {"peer": None}}},
        {"headers": [(b"agentid", b"spiffe://example.org/x")]},
    ],
)
def test_a_request_of_another_server_has_no_peer(scope: dict[str, object]) -> None:
    """An application that is served without TLS does not take anybody at his word."""
    with pytest.raises(PeerRefusedError, match="the caller is not known"):
        peer_of(scope)


@pytest.mark.parametrize("spoil", ["loaded", "workers", "http2", "http"])
def test_a_server_that_cannot_be_secured_is_refused(shared: Domain, spoil: str) -> None:
    """Rather than served without."""
    workload = Workload(shared.agent("server"))
    config = uvicorn.Config("json:loads", log_config=None)
    if spoil == "loaded":
        config.load()
    elif spoil == "workers":
        config.workers = 2
    elif spoil == "http2":
        config.http2 = True
    else:
        config.http = "json:loads"
    with pytest.raises(ValueError, match=r"agentid\.workload: "):
        secure(config, workload, ANYBODY)
