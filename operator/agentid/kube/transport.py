"""One request to the API server, and its answer or the error it stands for."""

from __future__ import annotations

import io
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, TypeAlias
from urllib.parse import urlencode

import aiohttp
import orjson
from yarl import URL

from agentid.errors import UnavailableError
from agentid.kube import failures
from agentid.kube.session import open_session
from agentid.kube.sockets import Sockets

if TYPE_CHECKING:
    from agentid.kube.credentials import Credentials
    from agentid.kube.failures import Call
    from agentid.kube.objects import JsonObject

__all__ = ["JSON", "Request", "Transport", "WriteHook", "decode"]

WriteHook: TypeAlias = Callable[[str, str, int], None]
"""Called after every write with resource (`secrets`, `agentidentities/status`), verb as RBAC spells
it, and HTTP status code; 0 when there was no answer."""

JSON: Final = "application/json"

_WATCH_SILENCE: Final = 150.0
"""Seconds without a byte after which a watch counts as cut off. The API server sends a bookmark
about once a minute, so a peer that is gone without a word shows by the second one missing."""

_BODY_AT_ONCE: Final = 1024 * 1024
"""Bytes of a body that are handed to the socket in one piece; aiohttp warns about more, since
copying them holds up the event loop, and sends a file-like object piece by piece."""

_LINE_MAX: Final = 16 * 1024 * 1024
"""Bytes of one watch event. etcd takes objects of 1.5 MiB, JSON escapes a byte in up to six."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent.

    Attributes:
        call: The same in the words of RBAC, for errors and counting.
        method: HTTP method.
        path: Path below the server's URL, percent-encoded.
        query: Parameters, not yet encoded.
        body: What becomes JSON, or None for no body.
        content_type: Of the body.
        accept: What the answer shall be.
    """

    call: Call
    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: object = None
    content_type: str = JSON
    accept: str = JSON


class Transport:
    """Two pools of connections: a capped one for requests, one for watches."""

    def __init__(
        self,
        credentials: Credentials,
        *,
        connections: int,
        timeout: float,
        on_write: WriteHook | None,
    ) -> None:
        """Open nothing yet; needs a running event loop."""
        self._server = credentials.server
        self._sockets = Sockets()
        self._session = open_session(
            credentials, connections=connections, make_socket=self._sockets.make
        )
        self._watches = open_session(credentials, connections=0, make_socket=self._sockets.make)
        self._seconds = timeout
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._watch_timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=timeout, sock_read=_WATCH_SILENCE
        )
        self._on_write = on_write

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()
        await self._watches.close()
        await self._sockets.end()

    async def send(self, request: Request) -> bytes:
        """Return the body of a successful answer.

        Raises:
            AgentIdError: The API server refused, or there was no answer; see `Client`.
        """
        call = request.call
        if self._session.closed:
            message = f"{call}: not sent, the client is closed"
            raise UnavailableError(message)
        headers = {"Accept": request.accept}
        data: bytes | io.BytesIO | None = None
        if request.body is not None:
            data = orjson.dumps(request.body)
            if len(data) > _BODY_AT_ONCE:
                data = io.BytesIO(data)
            headers["Content-Type"] = request.content_type
        code = 0
        try:
            async with self._session.request(
                request.method,
                self._url(request),
                data=data,
                headers=headers,
                timeout=self._timeout,
                allow_redirects=False,
            ) as answer:
                code = answer.status
                payload = await answer.read()
        except failures.TRANSPORT_ERRORS as error:
            raise failures.from_transport(call, error, seconds=self._seconds) from error
        finally:
            if self._on_write is not None and call.is_write:
                self._on_write(call.resource, call.verb, code)
        if not HTTPStatus.OK <= code < HTTPStatus.MULTIPLE_CHOICES:
            raise failures.from_answer(call, code, answer.headers, payload)
        return payload

    async def stream(self, request: Request) -> AsyncGenerator[bytes, None]:
        """Yield the lines of an answer that goes on; it ends when the server ends it or is silent.

        Raises:
            AgentIdError: As `send` does, and also when the connection breaks in between.
        """
        call = request.call
        if self._watches.closed:
            message = f"{call}: not sent, the client is closed"
            raise UnavailableError(message)
        try:
            async with self._watches.get(
                self._url(request),
                headers={"Accept": request.accept},
                timeout=self._watch_timeout,
                allow_redirects=False,
            ) as answer:
                if answer.status != HTTPStatus.OK:
                    payload = await answer.read()
                    raise failures.from_answer(call, answer.status, answer.headers, payload)
                async with aclosing(_lines(answer.content)) as lines:
                    async for line in lines:
                        yield line
        except aiohttp.SocketTimeoutError:
            return
        except failures.TRANSPORT_ERRORS as error:
            raise failures.from_transport(call, error, seconds=self._seconds) from error

    def _url(self, request: Request) -> URL:
        text = f"{self._server}{request.path}"
        if request.query:
            text = f"{text}?{urlencode(request.query)}"
        # Encoded already: yarl would decode the %2F that keeps a name inside its segment.
        return URL(text, encoded=True)


def decode(call: Call, payload: bytes) -> JsonObject:
    """Return the JSON object that an answer is.

    Raises:
        UnavailableError: It is none, so what answered is no API server.
    """
    try:
        body = orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        message = f"{call}: the answer is no JSON ({error}); is this a Kubernetes API server?"
        raise UnavailableError(message) from error
    if not isinstance(body, dict):
        message = f"{call}: the answer is no JSON object; is this a Kubernetes API server?"
        raise UnavailableError(message)
    return body


async def _lines(content: aiohttp.StreamReader) -> AsyncGenerator[bytes, None]:
    # aiohttp's own reader of lines stops at 512 KiB; a ledger segment has up to 900.
    pending: list[bytes] = []
    size = 0
    async for chunk in content.iter_any():
        *ends, rest = chunk.split(b"\n")
        for end in ends:
            pending.append(end)
            line = b"".join(pending)
            pending.clear()
            size = 0
            if line:
                yield line
        if rest:
            pending.append(rest)
            size += len(rest)
            if size > _LINE_MAX:
                message = f"an event of more than {_LINE_MAX} bytes"
                raise aiohttp.ClientPayloadError(message)
