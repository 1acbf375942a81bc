"""An API server with behaviour that fits into a test: lists, watches, compare-and-swap writes.

It keeps no schema, asks no admission and knows no user; what it does keep to is checked against a
real API server in `tests/kube/test_conformance.py`.
"""

from __future__ import annotations

import asyncio
import inspect
import json
from contextlib import AsyncExitStack, asynccontextmanager
from copy import deepcopy
from typing import TYPE_CHECKING, Self, TypeAlias, cast
from urllib.parse import unquote

from aiohttp import web

from agentid.kube.client import Client
from agentid.testing.json_patch import apply_operation

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from agentid.kube.credentials import Credentials
    from agentid.kube.transport import WriteHook

__all__ = [
    "Answer",
    "FakeApiServer",
    "StaticCredentials",
    "cut_off",
    "half_an_answer",
    "nothing",
    "silence",
]

Json: TypeAlias = dict[str, object]
Answer: TypeAlias = "Callable[[web.Request], web.StreamResponse | Awaitable[web.StreamResponse]]"


class StaticCredentials:
    """Credentials with tokens that are taken one after the other, whenever one is refused."""

    namespace = "agentid-system"
    ssl_context: ssl.SSLContext | None = None
    server_hostname = None
    proxy = None

    def __init__(self, server: str, tokens: tuple[str, ...] = ("good",)) -> None:
        self.server = server
        self._tokens = list(tokens)

    async def headers(self) -> Mapping[str, str]:
        """Return the first token."""
        return {"Authorization": f"Bearer {self._tokens[0]}"}

    async def renew(self, refused: Mapping[str, str]) -> bool:
        """Go on to the next token, if there is one."""
        if len(self._tokens) > 1:
            del self._tokens[0]
        return await self.headers() != refused

    def as_kopf_fields(self) -> dict[str, object]:
        """Return nothing; Kopf is not there."""
        return {}


class FakeApiServer:
    """Lists, watches and compare-and-swap writes as the API server does them, for any kind.

    To be used as an asynchronous context manager, on a free port of the loopback. Switches to fail:
    `answers` (what the next requests get instead), `expire` (forget the past), `cut` (end all
    watches, or break them off). `bookmark` tells watches that nothing else has happened.

    Attributes:
        url: Where it serves, while it does.
        objects: What is stored, by path.
        requests: Method, path with query, headers and body of all requests so far.
        answers: What the next requests get, one after the other, in place of service.
        refused: What any request gets whose path is, or is below, one of these.
    """

    def __init__(self) -> None:
        self.url = ""
        self.objects: dict[str, Json] = {}
        self.requests: list[tuple[str, str, Mapping[str, str], bytes]] = []
        self.answers: list[Answer] = []
        self.refused: dict[str, int] = {}
        self._version = 100
        self._oldest = 0
        self._events: list[tuple[int, str, Json]] = []
        self._changed = asyncio.Event()
        self._arrived = asyncio.Event()
        self._cut = 0
        self._abort = False
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=3 * 1024 * 1024)  # the real one's limit
        app.router.add_route("*", "/{path:.*}", self._serve)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        self._stack.callback(self.cut)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    @asynccontextmanager
    async def client(
        self,
        credentials: Credentials | None = None,
        *,
        connections: int = 32,
        timeout: float = 30.0,  # noqa: ASYNC109 - the client's, not that of this function
        on_write: WriteHook | None = None,
    ) -> AsyncIterator[Client]:
        """Open a client of this server; closed at the end."""
        async with Client(
            credentials or StaticCredentials(self.url),
            connections=connections,
            timeout=timeout,
            on_write=on_write,
        ) as client:
            yield client

    async def arrival(self) -> None:
        """Return once the next request has arrived."""
        self._arrived.clear()
        await self._arrived.wait()

    # Switches

    def fail_next(
        self,
        code: int,
        status: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Answer the next request with this, and do nothing."""
        body = json.dumps({"kind": "Status", "code": code, **(status or {})})
        self.answers.append(
            lambda _: web.Response(
                status=code, text=body, content_type="application/json", headers=headers
            )
        )

    def answer_late(self, meanwhile: Callable[[], object]) -> None:
        """Carry out the next request, and have something happen before it is answered."""

        async def answer(request: web.Request) -> web.StreamResponse:
            answer = await self._carry_out(request, await request.read())
            meanwhile()
            return answer

        self.answers.append(answer)

    def lose_answer(self) -> None:
        """Carry out the next request, and break off its connection instead of an answer."""

        async def answer(request: web.Request) -> web.StreamResponse:
            await self._carry_out(request, await request.read())
            return cut_off(request)

        self.answers.append(answer)

    def expire(self) -> None:
        """Forget the past: tokens of pages and older versions are answered with 410."""
        self._version += 1
        self._oldest = self._version
        self._events.clear()

    def cut(self, *, abort: bool = False) -> None:
        """End all watches, as a time-out does, or break them off."""
        self._cut += 1
        self._abort = abort
        self._changed.set()

    def bookmark(self) -> None:
        """Tell all watches that nothing else has happened."""
        self._version += 1
        body: Json = {"metadata": {"resourceVersion": str(self._version)}}
        self._events.append((self._version, "BOOKMARK", body))
        self._changed.set()

    def put(self, path: str, body: Mapping[str, object]) -> Json:
        """Write an object behind the clients' backs."""
        return self._store(path, body, "MODIFIED" if path in self.objects else "ADDED")

    def remove(self, path: str) -> None:
        """Delete an object behind the clients' backs."""
        self._store(path, self.objects[path], "DELETED")

    # Service

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        payload = await request.read()
        self.requests.append((request.method, request.raw_path, request.headers.copy(), payload))
        self._arrived.set()
        if self.answers:
            answer = self.answers.pop(0)(request)
            return await answer if inspect.isawaitable(answer) else answer
        return await self._carry_out(request, payload)

    async def _carry_out(  # noqa: PLR0911 - a table
        self, request: web.Request, payload: bytes
    ) -> web.StreamResponse:
        if request.headers.get("Authorization") != "Bearer good":
            return _status(401, "Unauthorized", "Unauthorized")
        path = unquote(request.rel_url.raw_path)
        if (code := self._refusal(path)) is not None:
            return _status(code, _REASONS[code], f"{path} is refused")
        if request.query.get("watch") == "true":
            return await self._watch(request, path)
        body = json.loads(payload) if payload else {}
        match request.method:
            case "GET" if path in self.objects:
                return web.json_response(self.objects[path])
            case "GET" if "limit" in request.query:
                return self._list(request, path)
            case "POST":
                return self._create(path, body)
            case "PUT" | "PATCH" | "DELETE" if (
                target := path.removesuffix("/status")
            ) in self.objects:
                if request.content_type == "application/json-patch+json":
                    return self._patch(target, json.loads(payload))
                if request.method == "PUT" and target != path:
                    return self._change_status(target, body)
                return self._change(request.method, target, body)
        return _status(404, "NotFound", f"{path} not found")

    def _refusal(self, path: str) -> int | None:
        codes = (code for each, code in self.refused.items() if f"{path}/".startswith(f"{each}/"))
        return next(codes, None)

    def _create(self, path: str, body: Json) -> web.Response:
        target = f"{path}/{body['metadata']['name']}"  # type: ignore[index]
        if target in self.objects:
            return _status(409, "AlreadyExists", f"{target} already exists")
        return web.json_response(self._store(target, body, "ADDED"), status=201)

    def _change(self, method: str, path: str, body: Json) -> web.Response:
        before = self.objects[path]
        metadata: Json = before["metadata"]  # type: ignore[assignment]
        named: Json = body.get("preconditions" if method == "DELETE" else "metadata") or {}  # type: ignore[assignment]
        for field in ("resourceVersion", "uid"):
            if field in named and named[field] != metadata[field]:
                return _status(409, "Conflict", "the object has been modified")
        if method == "DELETE":
            self._store(path, before, "DELETED")
            return web.json_response({"kind": "Status", "status": "Success"})
        if method == "PATCH":
            body = {**before, **body, "metadata": metadata | named}
        return web.json_response(self._store(path, body, "MODIFIED"))

    def _change_status(self, path: str, body: Json) -> web.Response:
        before = self.objects[path]
        named: Json = body["metadata"]  # type: ignore[assignment]
        metadata: Json = before["metadata"]  # type: ignore[assignment]
        mine = {field: named[field] for field in ("resourceVersion", "uid") if field in named}
        return self._change(
            "PUT", path, {**before, "metadata": metadata | mine, "status": body.get("status")}
        )

    def _patch(self, path: str, operations: list[Json]) -> web.Response:
        changed = deepcopy(self.objects[path])
        try:
            for operation in operations:
                apply_operation(changed, operation)
        except (LookupError, ValueError) as error:
            return _status(422, "Invalid", f"the operation cannot be applied: {error}")
        return web.json_response(self._store(path, changed, "MODIFIED"))

    def _store(self, path: str, body: Mapping[str, object], event: str) -> Json:
        self._version += 1
        metadata: Json = dict(body.get("metadata") or {})  # type: ignore[call-overload]
        before = self.objects.pop(path, None)
        if before is not None:
            metadata["uid"] = before["metadata"]["uid"]  # type: ignore[index]
        metadata.setdefault("uid", f"uid-{self._version}")
        metadata["resourceVersion"] = str(self._version)
        stored = {**body, "metadata": metadata}
        if event != "DELETED":
            self.objects[path] = stored
        self._events.append((self._version, event, stored))
        self._changed.set()
        return stored

    def _list(self, request: web.Request, path: str) -> web.Response:
        start, moment = 0, self._version
        if token := request.query.get("continue"):
            start, moment = (int(part) for part in token.split("-"))
            if moment < self._oldest:
                return _status(410, "Expired", "the provided continue parameter is too old")
        selector = request.query.get("labelSelector", "")
        paths = sorted(
            found
            for found, body in self.objects.items()
            if _is_in(found, path) and _selected(body, selector)
        )
        limit = int(request.query["limit"])
        metadata: Json = {"resourceVersion": str(moment)}
        if len(paths) > start + limit:
            metadata["continue"] = f"{start + limit}-{moment}"
        items = [self.objects[found] for found in paths[start : start + limit]]
        return web.json_response({"kind": "List", "metadata": metadata, "items": items})

    async def _watch(self, request: web.Request, path: str) -> web.StreamResponse:
        version, cut = int(request.query["resourceVersion"]), self._cut
        response = web.StreamResponse()
        await response.prepare(request)
        if version < self._oldest:
            gone = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}
            await _send(response, "ERROR", gone)
            return response
        while cut == self._cut:
            self._changed.clear()
            for number, event, body in list(self._events):
                if number > version and (event == "BOOKMARK" or _is_in(_path_of(body, path), path)):
                    await _send(response, event, body)
            version = max(version, self._version)
            await self._changed.wait()
        if self._abort:
            cut_off(request)
        return response


def _path_of(body: Json, collection: str) -> str:
    metadata: Json = body["metadata"]  # type: ignore[assignment]
    root, _, plural = collection.rpartition("/")
    root = root.split("/namespaces/")[0]
    if namespace := metadata.get("namespace"):
        return f"{root}/namespaces/{namespace}/{plural}/{metadata['name']}"
    return f"{root}/{plural}/{metadata['name']}"


def _selected(body: Json, selector: str) -> bool:
    """Whether an object has all labels of a selector such as `a=b,c`; `c` may have any value."""
    metadata: Json = body["metadata"]  # type: ignore[assignment]
    labels: Json = metadata.get("labels") or {}  # type: ignore[assignment]
    pairs = (each.partition("=") for each in selector.split(",") if each)
    return all(
        labels.get(name) == value if wanted else name in labels for name, wanted, value in pairs
    )


def _is_in(path: str, collection: str) -> bool:
    inside, _, plural = collection.rpartition("/")
    return path.startswith(f"{inside}/") and path.rsplit("/", 2)[-2] == plural


async def _send(response: web.StreamResponse, event: str, body: Json) -> None:
    await response.write(json.dumps({"type": event, "object": body}).encode() + b"\n")


_REASONS = {403: "Forbidden", 404: "NotFound", 422: "Invalid", 500: "InternalError"}


def _status(code: int, reason: str, message: str) -> web.Response:
    body = {"kind": "Status", "code": code, "reason": reason, "message": message}
    return web.json_response(body, status=code)


async def silence(_: web.Request) -> web.StreamResponse:
    """Never answer."""
    await asyncio.Event().wait()
    return web.Response()


def cut_off(request: web.Request) -> web.StreamResponse:
    """Break off the connection without an answer."""
    cast("asyncio.Transport", request.transport).abort()
    return web.Response()


def nothing(_: web.Request) -> web.StreamResponse:
    """Answer with success and no word, as a watch that ends at once."""
    return web.Response()


async def half_an_answer(request: web.Request) -> web.StreamResponse:
    """Break off the connection in the middle of an answer."""
    response = web.StreamResponse(headers={"Content-Length": "7000"})
    await response.prepare(request)
    await response.write(b'{"kind"')
    cast("asyncio.Transport", request.transport).close()
    return response
