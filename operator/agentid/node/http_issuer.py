"""The issuer service over HTTPS, any replica of it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, Self

import aiohttp

from agentid.errors import InputError, UnavailableError
from agentid.node.wire import (
    MAX_ANSWER,
    MAX_CHANGE,
    jwt_request,
    read_bundles,
    read_change,
    read_jwt,
    read_problem,
    read_x509,
    x509_request,
)

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from agentid.node.issuer import Bundle, Change, JwtGrant, PodProof, X509Grant

__all__ = ["HttpIssuer"]

_ANSWER_SECONDS: Final = 15.0
_SILENCE_SECONDS: Final = 45.0
"""Of the feed: the service sends an empty line every 15 seconds."""
_OK: Final = 200
_REFUSALS: Final = frozenset({400, 403, 404, 409, 422})


class HttpIssuer:
    """An `IssuerPort`; use it as a context, which holds its connections."""

    def __init__(
        self,
        url: str,
        context: Callable[[], ssl.SSLContext],
        headers: Callable[[], Awaitable[Mapping[str, str]]],
    ) -> None:
        """Take the parts.

        Args:
            url: Of the service, without a slash at the end.
            context: Whom to trust as the service; asked for each request, since roots are rotated.
            headers: What authenticates the node plugin, asked for each request.
        """
        self._url = url
        self._context = context
        self._headers = headers
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        """Open."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=32), auto_decompress=False
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close its connections."""
        if self._session is not None:
            await self._session.close()

    async def x509(self, pod: PodProof, csr_der: bytes) -> X509Grant:
        """Have a certificate issued."""
        body = x509_request(pod.token, pod.identity, csr_der)
        return read_x509(await self._ask("POST", "/node/v1/x509", body))

    async def jwt(self, pod: PodProof, audience: tuple[str, ...]) -> JwtGrant:
        """Have a token minted."""
        body = jwt_request(pod.token, pod.identity, audience)
        return read_jwt(await self._ask("POST", "/node/v1/jwt", body))

    async def bundles(self) -> Mapping[str, Bundle]:
        """What is trusted."""
        return read_bundles(await self._ask("GET", "/node/v1/bundles", None))

    async def changes(self) -> AsyncIterator[Change]:
        """Follow the feed until it ends or falls silent."""
        limits = aiohttp.ClientTimeout(sock_connect=5, sock_read=_SILENCE_SECONDS)
        try:
            async with self._request("GET", "/node/v1/changes", None, limits) as response:
                if response.status != _OK:
                    await self._refuse(response)
                async for line in response.content:
                    if len(line) > MAX_CHANGE:
                        msg = f"a change has more than {MAX_CHANGE} octets"
                        raise InputError(msg)
                    change = read_change(line)
                    if change is not None:
                        yield change
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise self._away(error) from error

    async def _ask(self, method: str, path: str, body: bytes | None) -> bytes:
        limits = aiohttp.ClientTimeout(total=_ANSWER_SECONDS, sock_connect=5)
        try:
            async with self._request(method, path, body, limits) as response:
                if response.status != _OK:
                    await self._refuse(response)
                return await _read(response)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise self._away(error) from error

    @asynccontextmanager
    async def _request(
        self, method: str, path: str, body: bytes | None, limits: aiohttp.ClientTimeout
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        if self._session is None:
            msg = "the client of the issuer service is closed"
            raise UnavailableError(msg)
        headers = {"Content-Type": "application/json", **await self._headers()}
        async with self._session.request(
            method, self._url + path, data=body, headers=headers, timeout=limits,
            ssl=self._context(), allow_redirects=False,
        ) as response:  # fmt: skip
            yield response

    async def _refuse(self, response: aiohttp.ClientResponse) -> None:
        if response.status in _REFUSALS:
            raise read_problem(await _read(response))
        msg = f"the issuer service answers {response.status}"
        raise UnavailableError(msg)

    def _away(self, error: BaseException) -> UnavailableError:
        what = str(error) or type(error).__name__
        return UnavailableError(f"the issuer service {self._url} does not answer: {what}")


async def _read(response: aiohttp.ClientResponse) -> bytes:
    data = await response.content.read(MAX_ANSWER + 1)
    while len(data) <= MAX_ANSWER and (more := await response.content.read(MAX_ANSWER)):
        data += more
    if len(data) > MAX_ANSWER:
        msg = f"the issuer service answers with more than {MAX_ANSWER} octets"
        raise InputError(msg)
    return data
