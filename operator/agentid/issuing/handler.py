"""HTTP: who asks is known before anything of a request is read but its head."""

from __future__ import annotations

import asyncio
import contextlib
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

import structlog
from aiohttp import web

from agentid.errors import InputError
from agentid.issuing import wire
from agentid.issuing.certificates import IssuedX509
from agentid.issuing.limits import MAX_BODY, Work
from agentid.issuing.reasons import PASSING, RefusalReason, RefusedError
from agentid.issuing.refusing import as_refusals, internal

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from agentid.clock import Clock
    from agentid.issuing.authenticating import Authenticator, NodePlugin
    from agentid.issuing.bundles import Bundles
    from agentid.issuing.certificates import Certificates
    from agentid.issuing.changes import Changes
    from agentid.issuing.limits import Limits
    from agentid.issuing.metrics import IssuingMetrics
    from agentid.issuing.minting import Minting
    from agentid.issuing.undelivered import Undelivered

__all__ = ["Handler"]

_Route: TypeAlias = (
    "Callable[[web.BaseRequest, NodePlugin], Coroutine[None, None, web.StreamResponse]]"
)
_T = TypeVar("_T")

_log = structlog.stdlib.get_logger(__name__)

_JSON: Final = "application/json"
_LINES: Final = "application/jsonl"
_PROBLEM: Final = "application/problem+json"  # RFC 9457 §3
_BEARER: Final = "bearer "
_RETRY: Final = "1"
"""Seconds after which to come again, where nothing better is known."""


class Handler:
    """Answers requests of node plugins."""

    def __init__(  # noqa: PLR0913 - each is a part of its own
        self,
        *,
        authenticator: Authenticator,
        certificates: Certificates,
        minting: Minting,
        changes: Changes,
        bundles: Bundles,
        undelivered: Undelivered,
        limits: Limits,
        metrics: IssuingMetrics,
        clock: Clock,
    ) -> None:
        """Take the parts."""
        self._authenticator = authenticator
        self._certificates = certificates
        self._minting = minting
        self._changes = changes
        self._bundles = bundles
        self._undelivered = undelivered
        self._limits = limits
        self._metrics = metrics
        self._clock = clock
        self._work = Work(limits)
        self._under_way: set[asyncio.Task[None]] = set()
        self._routes: dict[str, tuple[str, _Route]] = {
            "/node/v1/x509": ("POST", self._x509),
            "/node/v1/jwt": ("POST", self._jwt),
            "/node/v1/bundles": ("GET", self._told_bundles),
            "/node/v1/changes": ("GET", self._told_changes),
        }
        self.stopping = False

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request."""
        path = request.raw_path.partition("?")[0]
        began = self._clock.monotonic()
        try:
            answer = await self._answer(request, path)
        except RefusedError as refused:
            answer = _refusal(refused)
        except (ConnectionError, asyncio.CancelledError):
            raise
        except Exception:  # noqa: BLE001 - one request's defect is not the next one's
            _log.exception("request_failed", path=path[:64])
            answer = _refusal(internal())
        if path in self._routes:
            self._metrics.seconds.labels(path).observe(self._clock.monotonic() - began)
        if self.stopping:
            answer.force_close()
        return answer

    async def finish(self) -> None:
        """End the streams, and return once what was begun has come to its end."""
        self.stopping = True
        self._changes.wake()
        while not self._work.idle or self._under_way:
            await self._clock.sleep(0.02)

    async def _answer(self, request: web.BaseRequest, path: str) -> web.StreamResponse:
        method, answer = self._routes.get(path, ("", None))
        if answer is None:
            return _plain(HTTPStatus.NOT_FOUND, "there is nothing here")
        if request.method != method:
            return _plain(HTTPStatus.METHOD_NOT_ALLOWED, f"{path} takes {method}")
        # Case of the scheme does not count (RFC 9110 §11.1).
        header = request.headers.get("Authorization", "")
        if header[: len(_BEARER)].lower() != _BEARER:
            message = "there is no bearer token; show that of the node plugin's ServiceAccount"
            raise RefusedError(RefusalReason.NOT_A_NODE_PLUGIN, message)
        with as_refusals():
            plugin = await self._authenticator.node_plugin(header[len(_BEARER) :].strip())
        return await answer(request, plugin)

    # Certificates and tokens

    async def _x509(self, request: web.BaseRequest, plugin: NodePlugin) -> web.StreamResponse:
        items = await self._read(request, wire.read_x509_request)
        with self._begun(plugin, len(items)):
            making = asyncio.ensure_future(self._certificates.issue(plugin, items))
            try:
                results = await asyncio.shield(making)
            except asyncio.CancelledError:
                # The plugin has gone; what was begun comes to its end, and then nobody has it.
                self._keep(self._nobody_has(making))
                raise
            try:
                body = wire.write_x509(results, self._bundles.document.version)
                return await _write(request, body)
            except BaseException:  # whatever it was, nobody has what was made
                self._revoke(results)
                raise

    async def _jwt(self, request: web.BaseRequest, plugin: NodePlugin) -> web.StreamResponse:
        token, audience = await self._read(request, wire.read_jwt_request)
        with self._begun(plugin, 1):
            minted = await self._minting.mint(plugin, token, audience)
        return await _write(request, wire.write_jwt(minted, self._clock.now()))

    @contextlib.contextmanager
    def _begun(self, plugin: NodePlugin, items: int) -> Iterator[None]:
        if self.stopping or not self._work.begin(plugin.node, items):
            self._metrics.refused.labels("work").inc()
            message = "more is in work than is taken on; come again"
            raise RefusedError(RefusalReason.OVERLOADED, message)
        try:
            yield
        finally:
            self._work.end(plugin.node, items)

    async def _nobody_has(self, making: asyncio.Future[list[IssuedX509 | RefusedError]]) -> None:
        self._revoke(await making)

    def _revoke(self, results: list[IssuedX509 | RefusedError]) -> None:
        self._undelivered.add(each.made.record for each in results if isinstance(each, IssuedX509))

    def _keep(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _read(self, request: web.BaseRequest, parse: Callable[[bytes], _T]) -> _T:
        size = request.content_length
        if size is None or size > MAX_BODY:
            self._metrics.refused.labels("size").inc()
            message = f"a request has a Content-Length of at most {MAX_BODY}"
            raise RefusedError(RefusalReason.MALFORMED, message)
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                body = await request.content.readexactly(size)
            return parse(body)
        except TimeoutError as error:
            self._metrics.refused.labels("slow").inc()
            message = "the body did not come in time"
            raise RefusedError(RefusalReason.MALFORMED, message) from error
        except (InputError, asyncio.IncompleteReadError) as error:
            raise RefusedError(RefusalReason.MALFORMED, str(error)) from error

    # What is told

    async def _told_bundles(self, request: web.BaseRequest, _: NodePlugin) -> web.StreamResponse:
        if not self._bundles.synced:
            message = "what is published has not been read yet; come again"
            raise RefusedError(RefusalReason.UNAVAILABLE, message)
        document = self._bundles.document
        etag = f'"{document.version}"'
        headers = {"ETag": etag, "Cache-Control": "no-store"}
        if request.headers.get("If-None-Match") == etag:
            return web.Response(status=HTTPStatus.NOT_MODIFIED, headers=headers)
        return web.Response(body=document.body, content_type=_JSON, headers=headers)

    async def _told_changes(
        self, request: web.BaseRequest, plugin: NodePlugin
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": _LINES, "Cache-Control": "no-store"})
        response.force_close()
        await response.prepare(request)
        with self._changes.follow(plugin.node) as follower:
            # Who follows on shows a newer token by then.
            while (
                not self.stopping and not follower.behind and self._clock.now() < plugin.not_after
            ):
                lines = await follower.take(self._limits.heartbeat)
                told = lines or self._changes.heartbeat(self._clock.now())
                try:
                    async with asyncio.timeout(self._limits.write_seconds):
                        await response.write(told)
                except (TimeoutError, ConnectionError):
                    self._metrics.refused.labels("slow").inc()
                    break
        if follower.behind and request.transport is not None:
            request.transport.abort()
        return response


async def _write(request: web.BaseRequest, body: bytes) -> web.StreamResponse:
    """Write an answer to its end, as far as the socket takes it."""
    response = web.Response(body=body, content_type=_JSON, headers={"Cache-Control": "no-store"})
    await response.prepare(request)
    await response.write_eof()
    return response


def _refusal(refused: RefusedError) -> web.Response:
    status = wire.status_of(refused)
    headers = {"Cache-Control": "no-store"}
    if status is HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"  # RFC 9110 §11.6.1
    if refused.reason in PASSING:
        wait = refused.retry_after
        headers["Retry-After"] = _RETRY if wait is None else f"{max(wait.total_seconds(), 1):.0f}"
    answer = web.Response(
        status=status, body=wire.problem(refused), content_type=_PROBLEM, headers=headers
    )
    if refused.reason in {RefusalReason.MALFORMED, RefusalReason.NOT_A_NODE_PLUGIN}:
        answer.force_close()  # the body was not read
    return answer


def _plain(status: HTTPStatus, sentence: str) -> web.Response:
    answer = web.Response(
        status=status, text=f"{sentence}\n", headers={"Cache-Control": "no-store"}
    )
    answer.force_close()
    return answer
