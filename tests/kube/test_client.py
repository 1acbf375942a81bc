"""The client: what it sends, what it makes of the answers, and what it never does twice."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from contextlib import aclosing
from datetime import timedelta
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import parse_qsl, urlsplit

import pytest
from aiohttp import web

from agentid.errors import (
    AlreadyExistsError,
    ApiError,
    ConflictError,
    ForbiddenError,
    InputError,
    InvalidError,
    NotFoundError,
    PreconditionError,
    UnavailableError,
    WatchExpiredError,
)
from agentid.kube.client import PAGE_SIZE, Client
from agentid.kube.objects import EventType, ObjectKey
from agentid.kube.resources import (
    AGENT_CLASSES,
    AGENT_IDENTITIES,
    CONFIG_MAPS,
    LEASES,
    SECRETS,
    Resource,
    Selector,
)
from agentid.testing.api_server import (
    Answer,
    FakeApiServer,
    StaticCredentials,
    cut_off,
    half_an_answer,
    silence,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

SECRET_PATH = "/api/v1/namespaces/finance/secrets/reader"
SECRET = {"metadata": {"namespace": "finance", "name": "reader"}, "data": {}}


# What is sent

Send: TypeAlias = "Callable[[Client], Awaitable[object]]"

REQUESTS = [
    pytest.param(
        lambda c: c.get(SECRETS, "reader", "finance"),
        ("GET", SECRET_PATH, {}, None, None),
        id="get",
    ),
    pytest.param(
        lambda c: c.get(AGENT_CLASSES, "assistant"),
        ("GET", "/apis/agentid.dev/v1alpha1/agentclasses/assistant", {}, None, None),
        id="get-cluster-scoped",
    ),
    pytest.param(
        lambda c: c.create(SECRETS, SECRET),
        (
            "POST",
            "/api/v1/namespaces/finance/secrets",
            {"fieldManager": "agentid"},
            "application/json",
            SECRET,
        ),
        id="create",
    ),
    pytest.param(
        lambda c: c.replace(SECRETS, SECRET, dry_run=True),
        (
            "PUT",
            SECRET_PATH,
            {"fieldManager": "agentid", "dryRun": "All"},
            "application/json",
            SECRET,
        ),
        id="replace-dry-run",
    ),
    pytest.param(
        lambda c: c.replace_status(AGENT_IDENTITIES, SECRET),
        (
            "PUT",
            "/apis/agentid.dev/v1alpha1/namespaces/finance/agentidentities/reader/status",
            {"fieldManager": "agentid"},
            "application/json",
            SECRET,
        ),
        id="replace-status",
    ),
    pytest.param(
        lambda c: c.patch_json(
            AGENT_IDENTITIES,
            "reader",
            [{"op": "test", "path": "/a", "value": 1}],
            "finance",
            subresource="status",
        ),
        (
            "PATCH",
            "/apis/agentid.dev/v1alpha1/namespaces/finance/agentidentities/reader/status",
            {"fieldManager": "agentid"},
            "application/json-patch+json",
            [{"op": "test", "path": "/a", "value": 1}],
        ),
        id="patch-json",
    ),
    pytest.param(
        lambda c: c.patch_merge(LEASES, "reader", {"spec": {}}, "finance"),
        (
            "PATCH",
            "/apis/coordination.k8s.io/v1/namespaces/finance/leases/reader",
            {"fieldManager": "agentid"},
            "application/merge-patch+json",
            {"spec": {}},
        ),
        id="patch-merge",
    ),
    pytest.param(
        lambda c: c.delete(
            SECRETS, "reader", "finance", uid="u1", resource_version="7", dry_run=True
        ),
        (
            "DELETE",
            SECRET_PATH,
            {"dryRun": "All"},
            "application/json",
            {
                "apiVersion": "v1",
                "kind": "DeleteOptions",
                "propagationPolicy": "Background",
                "preconditions": {"uid": "u1", "resourceVersion": "7"},
            },
        ),
        id="delete",
    ),
]


@pytest.mark.parametrize(("send", "expected"), REQUESTS)
async def test_a_call_is_one_request(send: Send, expected: tuple[object, ...]) -> None:
    """Each call sends one request, with path, parameters, content type and body as the API asks."""
    async with FakeApiServer() as server, server.client() as client:
        server.fail_next(200)
        await send(client)
        ((method, raw_path, headers, body),) = server.requests
    parts = urlsplit(raw_path)
    query = dict(parse_qsl(parts.query))
    assert (
        method,
        parts.path,
        query,
        headers.get("Content-Type"),
        json.loads(body) if body else None,
    ) == expected
    assert headers["Authorization"] == "Bearer good"
    assert headers["Accept"] == "application/json"
    assert headers["Accept-Encoding"] == "identity"
    assert headers["User-Agent"].startswith("agentid/")


async def test_any_name_stays_in_its_place() -> None:
    """A slash, a question mark or a blank in a name cannot lead to another path."""
    async with FakeApiServer() as server, server.client() as client:
        server.fail_next(200)
        await client.get(SECRETS, "a/b?c d%2F", "x/../y")
        assert server.requests[0][1] == ("/api/v1/namespaces/x%2F..%2Fy/secrets/a%2Fb%3Fc%20d%252F")


@pytest.mark.parametrize(
    ("send", "message"),
    [
        pytest.param(
            lambda c: c.get(SECRETS, "reader"), "secrets live in namespaces", id="no-namespace"
        ),
        pytest.param(
            lambda c: c.get(AGENT_CLASSES, "a", "finance"),
            "agentclasses are cluster-scoped; found namespace finance",
            id="namespace-too-many",
        ),
        pytest.param(
            lambda c: c.get(SECRETS, "..", "finance"), r'can be named "\.\."', id="dot-dot"
        ),
        pytest.param(
            lambda c: c.delete(SECRETS, "", "finance"),
            "delete secrets finance: no name is given",
            id="delete-without-name",
        ),
        pytest.param(
            lambda c: c.create(SECRETS, {"metadata": {"name": "a"}}),
            "set metadata.namespace",
            id="create-without-namespace",
        ),
        pytest.param(
            lambda c: c.replace(SECRETS, {"metadata": {}}),
            "this one has none",
            id="replace-without-name",
        ),
    ],
)
async def test_what_cannot_be_meant_is_not_sent(send: Send, message: str) -> None:
    """Names and namespaces that do not fit the kind are refused here; deleting most of all."""
    async with FakeApiServer() as server, server.client() as client:
        with pytest.raises(InputError, match=message):
            await send(client)
        assert server.requests == []


# What comes back


@pytest.mark.parametrize(
    ("code", "reason", "error", "message"),
    [
        (401, "Unauthorized", ForbiddenError, "401 Unauthorized: why"),
        (403, "Forbidden", ForbiddenError, "403 Forbidden: why"),
        (404, "NotFound", NotFoundError, "404 NotFound: why"),
        (409, "AlreadyExists", AlreadyExistsError, "409 AlreadyExists: why"),
        (409, "Conflict", ConflictError, "409 Conflict: why"),
        (410, "Expired", WatchExpiredError, "410 Expired: why"),
        (422, "Invalid", InvalidError, "422 Invalid: why"),
        (400, "BadRequest", ApiError, "400 BadRequest: why"),
        (413, "RequestEntityTooLarge", ApiError, "413 RequestEntityTooLarge: why"),
        (429, "TooManyRequests", UnavailableError, "429 TooManyRequests: why"),
        (500, "InternalError", UnavailableError, "500 InternalError: why"),
        (503, "", UnavailableError, "503 Service Unavailable: why"),
        (302, "", UnavailableError, "302 Found: why"),
        (299, "", None, ""),
    ],
)
async def test_every_refusal_has_its_error(
    code: int, reason: str, error: type[Exception] | None, message: str
) -> None:
    """A code is one error; its message has verb, resource, object, code and the server's words."""
    async with FakeApiServer() as server, server.client() as client:
        server.fail_next(code, {"reason": reason, "message": "why"})
        if error is None:
            await client.replace(SECRETS, SECRET)
            return
        with pytest.raises(error, match=f"^update secrets finance/reader: {message}$") as caught:
            await client.replace(SECRETS, SECRET)
        assert type(caught.value) is error
        if isinstance(caught.value, ApiError):
            assert (caught.value.status, caught.value.reason) == (code, reason)


async def test_a_patch_that_does_not_apply_is_told_from_one_that_is_invalid() -> None:
    """Both are 422 `Invalid`; only an object that breaks its schema comes with causes."""
    generic = {"reason": "Invalid", "message": "the server rejected our request"}
    schema = generic | {"details": {"causes": [{"field": "spec.lifetime"}]}}
    async with FakeApiServer() as server, server.client() as client:
        server.fail_next(422, generic)
        with pytest.raises(PreconditionError, match="the object is not what the patch expects"):
            await client.patch_json(SECRETS, "reader", [{"op": "test"}], "finance")
        server.fail_next(422, schema)
        with pytest.raises(InvalidError, match="422 Invalid"):
            await client.patch_json(SECRETS, "reader", [{"op": "test"}], "finance")
        server.fail_next(422, generic)
        with pytest.raises(InvalidError, match="422 Invalid"):
            await client.patch_merge(SECRETS, "reader", {}, "finance")


@pytest.mark.parametrize(
    ("headers", "details", "expected"),
    [
        ({"Retry-After": "7"}, {}, 7),
        ({}, {"retryAfterSeconds": 3}, 3),
        ({"Retry-After": "999999999999"}, {}, 3600),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, {}, None),
        ({"Retry-After": "-1"}, {"retryAfterSeconds": "soon"}, None),
        ({}, {}, None),
    ],
)
async def test_the_wait_that_is_asked_for_is_passed_on(
    headers: dict[str, str], details: dict[str, object], expected: int | None
) -> None:
    """From the header or the Status; an hour at most; nonsense is none."""
    async with FakeApiServer() as server, server.client() as client:
        server.fail_next(429, {"message": "slow down", "details": details}, headers)
        with pytest.raises(UnavailableError, match="slow down") as caught:
            await client.create(SECRETS, SECRET)
        wait = caught.value.retry_after
        assert wait == (None if expected is None else timedelta(seconds=expected))


async def test_the_servers_words_are_shortened_and_harmless() -> None:
    """A message may quote what a user wrote, at length and with control characters."""
    async with FakeApiServer() as server, server.client() as client:
        server.fail_next(422, {"reason": "Invalid", "message": "\x1b[2Jbad\n\u202e" + "x" * 5000})
        with pytest.raises(InvalidError, match=re.escape(": [2Jbad x")) as caught:
            await client.create(SECRETS, SECRET)
        assert len(str(caught.value)) < 600
        assert str(caught.value).isprintable()


async def test_an_answer_of_something_else_is_quoted() -> None:
    """A proxy's page is no Status; what it says helps all the same."""
    async with FakeApiServer() as server, server.client() as client:
        server.answers.append(lambda _: web.Response(status=502, text="<h1>Bad gateway</h1>"))
        with pytest.raises(UnavailableError, match="502 Bad Gateway: <h1>Bad gateway</h1>"):
            await client.get(SECRETS, "reader", "finance")
        for text in (b"<html>", b"[1]"):
            server.answers.append(stream(text))
            with pytest.raises(UnavailableError, match="is this a Kubernetes API server"):
                await client.get(SECRETS, "reader", "finance")
        server.answers.append(lambda _: web.Response(status=404, text="[]"))
        with pytest.raises(NotFoundError, match="404 Not Found: no message"):
            await client.get(SECRETS, "reader", "finance")


# No answer


async def test_a_refused_connection_was_surely_not_sent() -> None:
    """Nobody listens: the message says that nothing happened."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    async with Client(StaticCredentials(f"http://127.0.0.1:{port}")) as client:
        with pytest.raises(UnavailableError, match="create secrets finance/reader: not sent"):
            await client.create(SECRETS, SECRET)
        with pytest.raises(UnavailableError, match="watch secrets: not sent"):
            _ = [event async for event in client.watch(SECRETS, resource_version="1")]


async def test_a_silent_server_is_given_up() -> None:
    """After the time-out a read says so, and a write that it may have been carried out."""
    async with FakeApiServer() as server, server.client(timeout=0.05) as client:
        server.answers += [silence, silence]
        with pytest.raises(UnavailableError, match=r"no answer within 0\.05 s$"):
            await client.get(SECRETS, "reader", "finance")
        with pytest.raises(UnavailableError, match=r"0\.05 s; it may have been carried out$"):
            await client.create(SECRETS, SECRET)


@pytest.mark.parametrize("fault", [cut_off, half_an_answer], ids=["cut", "half-an-answer"])
@pytest.mark.parametrize(
    "send",
    [
        lambda c: c.replace(SECRETS, SECRET),
        lambda c: c.delete(SECRETS, "reader", "finance"),
        lambda c: c.create(SECRETS, SECRET),
        lambda c: c.patch_merge(SECRETS, "reader", {}, "finance"),
    ],
    ids=["put", "delete", "post", "patch"],
)
async def test_a_write_cut_off_is_not_repeated(send: Send, fault: Answer) -> None:
    """On a connection that was in use before, too: aiohttp would send PUT and DELETE again."""
    async with FakeApiServer() as server, server.client(connections=1) as client:
        server.put(SECRET_PATH, SECRET)
        await client.get(SECRETS, "reader", "finance")
        server.answers.append(fault)
        with pytest.raises(UnavailableError, match="it may have been carried out"):
            await send(client)
        assert len(server.requests) == 2


async def test_a_closed_client_sends_nothing() -> None:
    """What comes after the end is refused, and said to be unsent."""
    async with FakeApiServer() as server, server.client() as client:
        await client.close()
        with pytest.raises(UnavailableError, match="not sent, the client is closed"):
            await client.create(SECRETS, SECRET)
        with pytest.raises(UnavailableError, match="not sent, the client is closed"):
            _ = [event async for event in client.watch(SECRETS, resource_version="1")]


# Credentials


async def test_a_refused_token_is_replaced_once() -> None:
    """401 with a newer token at hand: sent again, writes too, since nothing was done."""
    async with FakeApiServer() as server:
        credentials = StaticCredentials(server.url, ("old", "good"))
        async with server.client(credentials) as client:
            await client.create(SECRETS, SECRET)
        tokens = [headers["Authorization"] for _, _, headers, _ in server.requests]
        assert tokens == ["Bearer old", "Bearer good"]
        assert server.requests[0][3] == server.requests[1][3] != b""


async def test_a_refused_answer_gives_its_connection_back() -> None:
    """With a single connection, the second try does not wait for the first for ever."""
    async with FakeApiServer() as server:
        credentials = StaticCredentials(server.url, ("old", "good"))
        async with server.client(credentials, connections=1, timeout=5) as client:
            await client.create(SECRETS, SECRET)


async def test_a_redirect_is_not_followed() -> None:
    """Wherever it leads, it would be told our token."""
    async with FakeApiServer() as server, server.client() as client:
        for _ in range(2):
            server.fail_next(307, headers={"Location": "/elsewhere"})
        with pytest.raises(UnavailableError, match="307 Temporary Redirect"):
            await client.create(SECRETS, SECRET)
        with pytest.raises(UnavailableError, match="307 Temporary Redirect"):
            _ = [event async for event in client.watch(SECRETS, resource_version="1")]
        assert len(server.requests) == 2


async def test_a_refused_token_without_another_is_an_error() -> None:
    """No newer token, or that one refused as well: the caller hears of it, after one more try."""
    async with FakeApiServer() as server:
        for tokens, tries in ((("old",), 1), (("old", "older", "good"), 2)):
            server.requests.clear()
            credentials = StaticCredentials(server.url, tokens)
            async with server.client(credentials) as client:
                with pytest.raises(ForbiddenError, match="401 Unauthorized"):
                    await client.create(SECRETS, SECRET)
            assert len(server.requests) == tries


async def test_watches_carry_the_token_of_the_moment() -> None:
    """A watch is a request like any other."""
    async with FakeApiServer() as server:
        credentials = StaticCredentials(server.url, ("old", "good"))
        async with server.client(credentials) as client:
            server.put(SECRET_PATH, SECRET)
            async with aclosing(client.watch(SECRETS, resource_version="1")) as events:
                assert (await anext(events)).type is EventType.ADDED


# Counting and bounds


async def test_every_write_is_counted_and_nothing_else() -> None:
    """Resource with subresource, verb as RBAC has it, code; 0 where there was no answer."""
    told: list[tuple[str, str, int]] = []
    async with (
        FakeApiServer() as server,
        server.client(on_write=lambda *call: told.append(call)) as client,
    ):
        await client.create(SECRETS, SECRET)
        await client.get(SECRETS, "reader", "finance")
        _ = [item async for item in client.list(SECRETS)]
        await client.replace(SECRETS, SECRET)
        with pytest.raises(NotFoundError, match="404"):
            await client.patch_merge(AGENT_CLASSES, "a", {}, subresource="status")
        server.answers.append(cut_off)
        with pytest.raises(UnavailableError, match="delete secrets finance/reader"):
            await client.delete(SECRETS, "reader", "finance")
    assert told == [
        ("secrets", "create", 201),
        ("secrets", "update", 200),
        ("agentclasses/status", "patch", 404),
        ("secrets", "delete", 0),
    ]


async def test_no_more_requests_in_flight_than_allowed() -> None:
    """The pool is capped; whoever is over waits, and watches do not count."""
    transports: set[object] = set()

    def answer(request: web.Request) -> web.StreamResponse:
        transports.add(request.transport)
        return web.json_response({})

    async with FakeApiServer() as server, server.client(connections=3) as client:
        watch = client.watch(SECRETS, resource_version="100")
        waiting = asyncio.ensure_future(anext(watch))
        await server.arrival()
        server.answers += [answer] * 50
        await asyncio.gather(*(client.get(SECRETS, "reader", "finance") for _ in range(50)))
        assert len(transports) == 3
        server.put(SECRET_PATH, SECRET)
        assert (await waiting).type is EventType.ADDED
        await watch.aclose()


@pytest.mark.parametrize("size", [1000, 2_000_000])
async def test_a_body_may_be_large(size: int) -> None:
    """A ledger segment is sent whole and without a warning, also with a token that is renewed."""
    async with FakeApiServer() as server:
        credentials = StaticCredentials(server.url, ("old", "good"))
        async with server.client(credentials) as client:
            stored = await client.create(SECRETS, SECRET | {"data": {"x": "y" * size}})
        assert stored["data"] == {"x": "y" * size}
        assert [len(body) > size for _, _, _, body in server.requests] == [True, True]


# Lists


async def fill(server: FakeApiServer, count: int) -> list[ObjectKey]:
    """Make so many ConfigMaps; their keys, in order."""
    keys = [ObjectKey("finance", f"c{number:05}") for number in range(count)]
    for key in keys:
        server.put(
            f"/api/v1/namespaces/finance/configmaps/{key.name}",
            {"metadata": {"namespace": key.namespace, "name": key.name}},
        )
    return keys


@pytest.mark.parametrize("count", [0, 1, PAGE_SIZE, PAGE_SIZE + 1, 3 * PAGE_SIZE])
async def test_a_list_yields_everything_page_by_page(count: int) -> None:
    """However many there are, in pages of 500, at the moment of the first page."""
    async with FakeApiServer() as server, server.client() as client:
        keys = await fill(server, count)
        found = [ObjectKey.of(item) async for item in client.list(CONFIG_MAPS, "finance")]
        assert found == keys
        assert len(server.requests) == max(1, -(-count // PAGE_SIZE))
        versions = {page.resource_version async for page in client.pages(CONFIG_MAPS)}
        assert len(versions) == 1


async def test_a_list_that_expires_starts_again_and_repeats_nothing() -> None:
    """When the API server forgets the page's moment, what was yielded already is left out."""
    async with FakeApiServer() as server, server.client() as client:
        keys = await fill(server, 1200)
        found = []
        async for item in client.list(CONFIG_MAPS):
            found.append(ObjectKey.of(item))
            if len(found) == PAGE_SIZE:
                server.expire()
        assert found == keys


async def test_a_list_refused_with_410_at_once_is_an_error() -> None:
    """Starting again makes sense only where there was a beginning."""
    async with FakeApiServer() as server, server.client() as client:
        server.fail_next(410, {"reason": "Expired", "message": "gone"})
        with pytest.raises(WatchExpiredError, match="list configmaps: 410 Expired: gone"):
            _ = [item async for item in client.list(CONFIG_MAPS)]


async def test_selectors_and_metadata_are_asked_for() -> None:
    """What is left out is left out by the API server."""
    async with FakeApiServer() as server, server.client() as client:
        selector = Selector(labels="a=b,c in (d, e)", fields="spec.className=x")
        _ = [item async for item in client.list_metadata(AGENT_IDENTITIES, selector=selector)]
        _, raw_path, headers, _ = server.requests[0]
        assert headers["Accept"] == (
            "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
        )
        assert dict(parse_qsl(urlsplit(raw_path).query)) == {
            "labelSelector": "a=b,c in (d, e)",
            "fieldSelector": "spec.className=x",
            "limit": "500",
        }


# Watches


def stream(*lines: bytes) -> Callable[[web.Request], web.StreamResponse]:
    """Return an answer of these bytes."""
    return lambda _: web.Response(body=b"".join(lines))


async def test_a_watch_yields_events_and_bookmarks() -> None:
    """In their order, whatever pieces they arrive in; ending is no error."""
    async with FakeApiServer() as server, server.client() as client:
        server.answers.append(
            stream(
                b'{"type":"ADDED","object":{"metadata":{"name":"a"}}}\n',
                b'{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"9"}}}\n\n',
                b'{"type":"DELETED","object":{"metadata":{"name":"a"}}}\n',
            )
        )
        events = [event async for event in client.watch(SECRETS, resource_version="5")]
        assert [event.type.value for event in events] == ["ADDED", "BOOKMARK", "DELETED"]
        assert dict(parse_qsl(urlsplit(server.requests[0][1]).query)) == {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": "5",
            "timeoutSeconds": "300",
        }


async def test_an_event_may_be_large() -> None:
    """A ledger segment of 900 KiB passes; a stream without an end to its line does not."""
    large = b'{"type":"ADDED","object":{"data":"' + b"x" * 3_000_000 + b'"}}\n'
    async with FakeApiServer() as server, server.client() as client:
        server.answers.append(stream(large, large))
        events = [event async for event in client.watch(CONFIG_MAPS, resource_version="5")]
        assert [len(str(event.object["data"])) for event in events] == [3_000_000, 3_000_000]
        server.answers.append(stream(b"x" * (17 * 1024 * 1024)))
        with pytest.raises(UnavailableError, match="an event of more than 16777216 bytes"):
            _ = [event async for event in client.watch(CONFIG_MAPS, resource_version="5")]


@pytest.mark.parametrize(
    ("line", "error", "message"),
    [
        (
            b'{"type":"ERROR","object":{"code":410,"reason":"Expired","message":"too old"}}\n',
            WatchExpiredError,
            "watch secrets: 410 Expired: too old",
        ),
        (
            b'{"type":"ERROR","object":{"code":500,"message":"etcd"}}\n',
            UnavailableError,
            "500 Internal Server Error: etcd",
        ),
        (b'{"type":"ERROR"}\n', UnavailableError, "0 unknown status: no message"),
        (b'{"type":"NEW","object":{}}\n', UnavailableError, "unknown type 'NEW'"),
        (b"nonsense\n", UnavailableError, "is no JSON"),
    ],
)
async def test_a_watch_that_fails_says_how(
    line: bytes, error: type[Exception], message: str
) -> None:
    """The last event of a watch may be an error; 410 is the one that is answered by a list."""
    async with FakeApiServer() as server, server.client() as client:
        server.answers.append(stream(line))
        with pytest.raises(error, match=message):
            _ = [event async for event in client.watch(SECRETS, resource_version="5")]


async def test_a_watch_refused_or_broken_off_is_an_error() -> None:
    """Refused like any request; broken off, it is taken up by who asked."""
    async with FakeApiServer() as server, server.client() as client:
        server.fail_next(403, {"reason": "Forbidden", "message": "no"})
        with pytest.raises(ForbiddenError, match="watch secrets finance: 403 Forbidden: no"):
            _ = [e async for e in client.watch(SECRETS, "finance", resource_version="5")]
        server.put(SECRET_PATH, SECRET)
        watch = client.watch(SECRETS, resource_version="5")
        assert (await anext(watch)).type is EventType.ADDED
        server.cut(abort=True)
        with pytest.raises(UnavailableError, match="watch secrets: "):
            await anext(watch)


async def test_a_watch_that_goes_silent_just_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a bookmark in time the connection is taken for dead, and the watch for over."""
    monkeypatch.setattr("agentid.kube.transport._WATCH_SILENCE", 0.05)
    async with FakeApiServer() as server, server.client() as client:
        assert [event async for event in client.watch(SECRETS, resource_version="100")] == []


async def test_other_paths_are_read_as_they_are() -> None:
    """Metrics and health are not JSON."""
    async with FakeApiServer() as server, server.client() as client:
        server.answers.append(lambda _: web.Response(text="ok"))
        assert await client.get_raw("/readyz") == b"ok"
        assert server.requests[0][:2] == ("GET", "/readyz")


def test_a_resource_names_its_version() -> None:
    """The core group has no name, and its own root."""
    assert (CONFIG_MAPS.api_version, CONFIG_MAPS.root) == ("v1", "/api/v1")
    assert Resource("a.b", "v2", "cs", "C").api_version == "a.b/v2"
