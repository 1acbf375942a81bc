"""Stands between a replica and the API server, and does to requests what the weather says.

It ends TLS, since it has to know where a request begins. The client's own token is passed through,
so that the API server sees each replica as what it is.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import TYPE_CHECKING, Final

import aiohttp
from aiohttp import web

from e2e.chaos.dice import dice
from e2e.chaos.weather import CALM, Fate, fortune

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator

    from e2e.chaos.weather import Fortune, Weather

__all__ = ["Proxy"]

_ENOUGH: Final = 64 * 1024 * 1024
_HOP: Final = frozenset(
    ("connection", "content-length", "host", "keep-alive", "transfer-encoding", "te", "upgrade")
)
_PIECE: Final = 4096
_REASONS: Final = {
    409: "Conflict", 429: "TooManyRequests", 500: "InternalError", 503: "ServiceUnavailable",
    504: "Timeout",
}  # fmt: skip
_EXPIRED: Final = (
    b'{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure",'
    b'"message":"too old resource version: by the proxy","reason":"Expired","code":410}}\n'
)
_LOOKS: Final = 0.25
"""Seconds between two looks at the weather while a watch is idle."""
_BROKEN: Final = (aiohttp.ClientError, OSError, TimeoutError)


class Proxy:
    """One replica's way to the API server."""

    def __init__(self, name: str, seed: int, upstream: str, trust: ssl.SSLContext) -> None:
        """Take what is drawn from; needs no loop yet.

        Args:
            name: Of the replica.
            seed: Of the course.
            upstream: URL of the API server.
            trust: How to know it.
        """
        self.name = name
        self.fates: Counter[str] = Counter()
        self._seed = seed
        self._upstream = upstream
        self._trust = trust
        self._weather = CALM
        self._changed = asyncio.Event()
        self._asked: Counter[str] = Counter()
        self._late: set[asyncio.Task[None]] = set()
        self._session: aiohttp.ClientSession | None = None
        self._runner: web.ServerRunner | None = None

    def turn(self, weather: Weather) -> None:
        """Change the weather: whoever waits in silence is cut off."""
        self._weather = weather
        self._changed.set()
        self._changed = asyncio.Event()

    def begin(self, seed: int) -> None:
        """Draw from another seed from now on."""
        self._seed = seed
        self._asked.clear()
        self.fates.clear()

    async def start(self, context: ssl.SSLContext) -> int:
        """Listen on loopback, and return the port."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=self._trust, keepalive_timeout=20),
            auto_decompress=False,
            skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent", "Content-Type"),
        )
        self._runner = web.ServerRunner(
            web.Server(self._handle, access_log=None), shutdown_timeout=0.5
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=context, reuse_address=True)
        await site.start()
        port: int = self._runner.addresses[0][1]
        return port

    async def stop(self) -> None:
        """End everything."""
        for task in self._late:
            task.cancel()
        if self._runner is not None:
            await self._runner.shutdown()
            await self._runner.cleanup()
        if self._session is not None:
            await self._session.close()

    async def settle(self) -> None:
        """Wait until nothing late is on its way any more."""
        await asyncio.gather(*self._late, return_exceptions=True)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        if request.query.get("watch") in {"true", "1"}:
            return await self._watch(request)
        about = f"{request.method} {request.path}"
        self._asked[about] += 1
        drawn = fortune(
            self._weather, request.method, dice(self._seed, self.name, about, self._asked[about])
        )
        self.fates[drawn.fate] += 1
        await asyncio.sleep(drawn.delay)
        try:
            return await self._fate(request, body, drawn)
        except _BROKEN:
            return _cut(request)

    async def _fate(  # noqa: PLR0911 - one for each fate
        self, request: web.BaseRequest, body: bytes, drawn: Fortune
    ) -> web.StreamResponse:
        match drawn.fate:
            case Fate.PASS | Fate.TORN:
                return await self._pass(request, body, torn=drawn.fate is Fate.TORN)
            case Fate.REFUSED:
                return _error(drawn.code)
            case Fate.LOST:
                return _cut(request)
            case Fate.UNHEARD:
                await self._send(request, body)
                return _cut(request)
            case Fate.MISREPORTED:
                await self._send(request, body)
                return _error(500 if drawn.code == 429 else drawn.code)  # noqa: PLR2004 - HTTP
            case Fate.TWICE:
                await self._send(request, body)
                await asyncio.sleep(drawn.after)
                return await self._pass(request, body, torn=False)
            case Fate.LATE:
                task = asyncio.create_task(self._later(request, body, drawn.after))
                self._late.add(task)
                task.add_done_callback(self._late.discard)
                return _cut(request)
            case Fate.SILENT:
                await self._changed.wait()
                return _cut(request)

    async def _later(self, request: web.BaseRequest, body: bytes, after: float) -> None:
        await asyncio.sleep(after)
        try:
            await self._send(request, body)
        except _BROKEN:
            return  # the API server is away: then it is lost

    def _ask(
        self, request: web.BaseRequest, body: bytes | None
    ) -> aiohttp.client._RequestContextManager:
        assert self._session is not None  # noqa: S101 - started
        headers = {k: v for k, v in request.headers.items() if k.lower() not in _HOP}
        return self._session.request(
            request.method, f"{self._upstream}{request.raw_path}", data=body or None,
            headers=headers, timeout=aiohttp.ClientTimeout(total=None, sock_connect=10),
            allow_redirects=False,
        )  # fmt: skip

    async def _send(
        self, request: web.BaseRequest, body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        async with self._ask(request, body) as answer:
            headers = {k: v for k, v in answer.headers.items() if k.lower() not in _HOP}
            return answer.status, headers, await answer.read()

    async def _pass(
        self, request: web.BaseRequest, body: bytes, *, torn: bool
    ) -> web.StreamResponse:
        code, headers, payload = await self._send(request, body)
        rate = self._weather.rate
        if not torn and not rate:
            return web.Response(status=code, headers=headers, body=payload)
        answer = web.StreamResponse(status=code, headers=headers)
        answer.content_length = len(payload)
        await answer.prepare(request)
        end = len(payload) // 2 if torn else len(payload)
        for at in range(0, end, _PIECE):
            piece = payload[at : min(at + _PIECE, end)]
            await answer.write(piece)
            if rate:
                await asyncio.sleep(len(piece) / rate)
        if torn:
            return _cut(request)
        await answer.write_eof()
        return answer

    async def _watch(self, request: web.BaseRequest) -> web.StreamResponse:
        """Pass a watch on, line by line, for as long as the weather lets it live."""
        self._asked["watch"] += 1
        chance = dice(self._seed, self.name, "watch", self._asked["watch"])
        answer = web.StreamResponse(headers={"Content-Type": "application/json"})
        try:
            async with self._ask(request, None) as upstream:
                answer.set_status(upstream.status)
                await answer.prepare(request)
                async for lines in self._lines(upstream.content, chance.random()):
                    await answer.write(lines)
                if self._ends and chance.random() < self._weather.expires:
                    await answer.write(_EXPIRED)
                    await answer.write_eof()
                    return answer
        except _BROKEN:
            pass
        return _cut(request)

    @property
    def _ends(self) -> bool:
        return self._weather.watch_life > 0

    async def _lines(
        self, content: aiohttp.StreamReader, share: float
    ) -> AsyncGenerator[bytes, None]:
        """Whole lines as they come, until a share of a watch's life in this weather is over."""
        began, pending = asyncio.get_running_loop().time(), b""
        while not self._ends or asyncio.get_running_loop().time() < (
            began + self._weather.watch_life * share
        ):
            try:
                async with asyncio.timeout(_LOOKS):
                    chunk = await content.readany()
            except TimeoutError:
                continue
            except RuntimeError:
                return  # so aiohttp says when the other side has closed meanwhile
            if not chunk:
                return
            *whole, pending = (pending + chunk).split(b"\n")
            for line in whole:
                if self._weather.bookmarks or b'"type":"BOOKMARK"' not in line[:80]:
                    yield line + b"\n"


def _cut(request: web.BaseRequest) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=503)


def _error(code: int) -> web.StreamResponse:
    details = {"retryAfterSeconds": 1} if code == 429 else {}  # noqa: PLR2004 - HTTP
    headers = {"Retry-After": "1"} if details else {}
    status = {
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "so the proxy says", "reason": _REASONS[code], "details": details, "code": code,
    }  # fmt: skip
    return web.Response(
        status=code, headers=headers, body=json.dumps(status).encode(),
        content_type="application/json",
    )  # fmt: skip
