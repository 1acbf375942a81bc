"""The issuer service over HTTPS, as an `IssuerPort`.

Certificates that are asked for at about the same time go in one request, so that the issuer records
them together. What is trusted is fetched once, and again when an answer says that it is another.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections import deque
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import aiohttp
import orjson

from agentid.errors import UnavailableError
from agentid.node.issuer import RefusedError
from agentid.node.service_answers import (
    NOTHING,
    parsed,
    read_change,
    read_jwt,
    read_trusted,
    read_x509,
    reading,
    refusal,
    text,
)
from agentid.sockets import make_socket

if TYPE_CHECKING:
    import ssl
    from collections.abc import (
        AsyncGenerator,
        AsyncIterator,
        Awaitable,
        Callable,
        Iterable,
        Iterator,
        Mapping,
    )
    from typing import Self

    from agentid.node.issuer import Bundle, Change, JwtGrant, PodProof, X509Grant

__all__ = ["IssuerServiceClient"]

_BATCH: Final = 32
"""Certificates in one request, as many as the service takes."""

_GATHER: Final = 0.005
"""Seconds that a request waits for others. A start of many pods comes within some milliseconds."""

_AT_ONCE: Final = 4
"""Requests for certificates under way; the service takes 128 certificates of one node."""

_MINTING: Final = 32
"""Requests for tokens under way, of all pods. A connector has a hundred connections: those for
certificates and for changes never wait behind tokens."""

_TIMEOUT: Final = 15.0
_SILENCE: Final = 30.0
"""Seconds without a sign of life of the stream, three of its heartbeats."""

_MOST: Final = 64 * 1024 * 1024
"""Bytes of an answer: bundles and CRLs of all issuers, a CRL has up to 1 MiB."""

_MOST_LINE: Final = 64 * 1024

_OK: Final = 200
_NOT_FOUND: Final = 404


@dataclass(slots=True, eq=False)
class _Asked:
    item: dict[str, str] = field(repr=False)
    answer: asyncio.Future[dict[str, object]]


def _unheard() -> None:
    """Where nobody wants to know."""


class IssuerServiceClient:
    """To be made in a running event loop, and closed."""

    def __init__(
        self,
        url: str,
        context: Callable[[], ssl.SSLContext],
        headers: Callable[[], Awaitable[Mapping[str, str]]],
        *,
        server_name: str | None = None,
        heard: Callable[[], None] = _unheard,
    ) -> None:
        """Connect nothing yet.

        Args:
            url: Of the service, without a slash at the end.
            context: Whom to trust as the service; asked for each request, since roots are rotated.
            headers: What authenticates the node plugin, asked for each request.
            server_name: What the service's certificate names; None for the host of the URL.
            heard: Called for each sign of life of the service.
        """
        self._url = url
        self._tls = context
        self._headers = headers
        self._server_name = server_name
        self._heard = heard
        self._connector = aiohttp.TCPConnector(socket_factory=make_socket)
        self._session = aiohttp.ClientSession(
            connector=self._connector, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()
        )
        self._waiting: deque[_Asked] = deque()
        self._sending: set[asyncio.Task[None]] = set()
        self._trusted = NOTHING
        self._minting = asyncio.Semaphore(_MINTING)
        self._fetching = asyncio.Lock()

    async def __aenter__(self) -> Self:
        """Return itself."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close."""
        await self.close()

    async def close(self) -> None:
        """End what is under way, and close all connections."""
        for task in self._sending:
            task.cancel()
        await asyncio.gather(*self._sending, return_exceptions=True)
        _answer(self._waiting, UnavailableError("the issuer service was not asked"))
        await self._connector.close(abort_ssl=True)
        await self._session.close()

    # The port

    async def x509(self, pod: PodProof, csr_der: bytes) -> X509Grant:
        """Have a certificate issued; see `IssuerPort.x509`."""
        answer = asyncio.get_running_loop().create_future()
        item = {"podToken": pod.token, "csr": base64.b64encode(csr_der).decode("ascii")}
        self._waiting.append(_Asked(item, answer))
        if len(self._sending) < _AT_ONCE:
            task = asyncio.create_task(self._send(), name="issuer-batch")
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)
        issued = await answer
        with reading("x509"):
            version = text(issued, "bundles")
            if version != self._trusted.version:
                await self._fetch(version)
            return read_x509(issued, self._trusted)

    async def jwt(self, pod: PodProof, audience: tuple[str, ...]) -> JwtGrant:
        """Have a JWT-SVID minted; see `IssuerPort.jwt`."""
        body = {"podToken": pod.token, "audience": list(audience)}
        async with self._minting:
            answer = await self._ask("POST", "/node/v1/jwt", body)
        with reading("jwt"):
            return read_jwt(answer)

    async def bundles(self) -> Mapping[str, Bundle]:
        """What is trusted, as the service says now."""
        await self._fetch("")
        return self._trusted.bundles

    async def changes(self) -> AsyncGenerator[Change, None]:
        """What changes from now on, what stands before it; it ends when the connection does."""
        quiet = aiohttp.ClientTimeout(total=None, sock_connect=_TIMEOUT, sock_read=_SILENCE)
        with _translated():
            async with self._request("GET", "/node/v1/changes", limits=quiet) as response:
                if response.status != _OK:
                    body = await response.content.read(_MOST_LINE)
                    raise _refused(response.status, "/node/v1/changes", body)
                connection = response.connection
                try:
                    async with aclosing(_lines(response.content)) as lines:
                        async for line in lines:
                            self._heard()
                            with reading("changes"):
                                change = read_change(parsed(line), self._trusted)
                            if change is not None:
                                yield change
                finally:
                    # There is nothing left to say goodbye with.
                    if connection is not None and connection.transport is not None:
                        connection.transport.abort()

    # Inside

    async def _send(self) -> None:
        await asyncio.sleep(_GATHER)
        while self._waiting:
            count = min(_BATCH, len(self._waiting))
            taken = [self._waiting.popleft() for _ in range(count)]
            asked = [each for each in taken if not each.answer.done()]
            if not asked:
                continue
            try:
                await self._send_batch(asked)
            except (UnavailableError, RefusedError) as error:
                _answer(asked, error)
            finally:
                # Also when this task is cancelled or meets a defect: nobody waits for ever.
                _answer(asked, UnavailableError("the issuer service was not asked"))

    async def _send_batch(self, asked: list[_Asked]) -> None:
        body = {"items": [each.item for each in asked]}
        answer = await self._ask("POST", "/node/v1/x509", body)
        results, version = answer.get("results"), answer.get("bundles")
        if not isinstance(results, list) or len(results) != len(asked):
            msg = "the issuer service answered for others than it was asked for"
            raise UnavailableError(msg)
        for each, result in zip(asked, results, strict=True):
            if each.answer.done():
                continue
            match result:
                case {"issued": dict(issued)}:
                    each.answer.set_result({**issued, "bundles": version})
                case {"refused": dict(refused)}:
                    each.answer.set_exception(refusal(refused))
                case _:
                    each.answer.set_exception(UnavailableError("the issuer service said nothing"))

    async def _fetch(self, version: str) -> None:
        """Have what is trusted, of this version or a later one; whatever is told if it is empty."""
        async with self._fetching:
            if version and version == self._trusted.version:
                return
            told = await self._ask("GET", "/node/v1/bundles")
            with reading("bundles"):
                self._trusted = read_trusted(told)

    async def _ask(
        self, method: str, path: str, body: Mapping[str, object] | None = None
    ) -> dict[str, object]:
        with _translated():
            async with self._request(method, path, body=body) as response:
                read = await response.content.read(_MOST)
                self._heard()
                if response.status != _OK:
                    raise _refused(response.status, path, read)
                while not response.content.at_eof() and len(read) < _MOST:
                    read += await response.content.read(_MOST - len(read))
                return parsed(read)

    @contextlib.asynccontextmanager
    async def _request(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, object] | None = None,
        limits: aiohttp.ClientTimeout | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        headers = {"Content-Type": "application/json", **await self._headers()}
        async with self._session.request(
            method,
            f"{self._url}{path}",
            data=None if body is None else orjson.dumps(body),
            headers=headers,
            ssl=self._tls(),
            server_hostname=self._server_name,
            allow_redirects=False,
            timeout=limits or aiohttp.ClientTimeout(total=_TIMEOUT),
        ) as response:
            yield response


def _refused(status: int, path: str, body: bytes) -> UnavailableError | RefusedError:
    """What an answer says that is no success.

    A path that is not known says nothing of the pod: what it has stays.
    """
    if status == _NOT_FOUND:
        msg = (
            f"the issuer service does not know {path}, so it is of another release than this node "
            "plugin, and the two do not understand each other: upgrade the one that is behind "
            "(docs/operations/upgrade.md)"
        )
        return UnavailableError(msg)
    return refusal(parsed(body))


def _answer(asked: Iterable[_Asked], error: UnavailableError | RefusedError) -> None:
    """Have those that wait still know."""
    for each in asked:
        if not each.answer.done():
            each.answer.set_exception(error)


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """Whatever keeps an answer from coming, as `UnavailableError`."""
    try:
        yield
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        msg = f"the issuer service does not answer: {type(error).__name__} {error}"
        raise UnavailableError(msg) from error


async def _lines(stream: aiohttp.StreamReader) -> AsyncGenerator[bytes, None]:
    """Lines of bounded length."""
    rest = b""
    async for chunk in stream.iter_any():
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            if line:
                yield line
        if len(rest) > _MOST_LINE:
            msg = "a line of the stream is too long"
            raise UnavailableError(msg)
