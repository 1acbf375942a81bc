"""HTTP sessions with the API server: authenticated, pooled, and doing each request once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import aiohttp

from agentid._version import __version__
from agentid.sockets import make_socket as make_own_socket

if TYPE_CHECKING:
    from agentid.kube.credentials import Credentials

__all__ = ["USER_AGENT", "open_session"]

USER_AGENT: Final = f"agentid/{__version__}"

_KEEP_ALIVE: Final = 60.0
"""Seconds. The API server closes a connection that was idle for 90 s; closing first avoids the
race in which it does so while a request is on its way."""

_UNAUTHORIZED: Final = 401
_REPEATED_BY_AIOHTTP: Final = frozenset({"PUT", "DELETE"})


def open_session(
    credentials: Credentials,
    *,
    connections: int,
    make_socket: aiohttp.SocketFactoryType = make_own_socket,
) -> aiohttp.ClientSession:
    """Return a session whose every request carries the credentials of that moment.

    A request refused with 401 is sent once more if there are newer credentials: the server did
    nothing with it. To be called in a running event loop, and closed by the caller. It is fit for
    `kopf.AiohttpSession` as well.

    Args:
        credentials: Who we are.
        connections: How many connections are open at most; 0 for any number.
        make_socket: Makes the sockets of connections; another one for who wants to know them.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            limit=connections,
            keepalive_timeout=_KEEP_ALIVE,
            ssl=credentials.ssl_context or True,
            socket_factory=make_socket,
        ),
        # No compression: it would cost the API server's CPU, which is what we wait for.
        headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity"},
        cookie_jar=aiohttp.DummyCookieJar(),
        middlewares=(_Authenticated(credentials),),
        proxy=credentials.proxy,
        auto_decompress=False,
    )


class _Authenticated:
    """Stamps each request with the credentials, and keeps aiohttp from repeating writes."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        request.server_hostname = self._credentials.server_hostname
        headers = await self._credentials.headers()
        request.headers.update(headers)
        try:
            response = await handler(request)
            if response.status == _UNAUTHORIZED and await self._credentials.renew(headers):
                response.release()
                request.headers.update(await self._credentials.headers())
                response = await handler(request)
        except aiohttp.ClientConnectorError:
            raise
        except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
            if request.method not in _REPEATED_BY_AIOHTTP:
                raise
            # aiohttp sends PUT and DELETE again when a kept-alive connection turns out to be
            # closed. The first may have been carried out; then the second reports a conflict, or
            # that nothing is there, about our own deed. Its base class is not repeated.
            raise aiohttp.ClientConnectionError(str(error)) from error
        return response
