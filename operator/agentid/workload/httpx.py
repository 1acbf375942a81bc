"""httpx with the workload's identity: clients that reach wanted peers over TLS, and nobody else.

A plain `http://` address is refused, also after a redirect, and proxies of the environment are not
used. For anything else that httpx can be told there is
`httpx.AsyncClient(transport=AsyncTransport(context))`; libraries that make clients of their own
take `verify=workload.client_context(peers)`.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import httpx

from agentid.workload.connection import Transport as _Stream
from agentid.workload.connection import peer_of as _peer_of

if TYPE_CHECKING:
    from agentid.identity import SpiffeId
    from agentid.workload.context import WorkloadContext
    from agentid.workload.peers import Peers
    from agentid.workload.workload import Workload

__all__ = ["AsyncTransport", "Transport", "async_client", "client", "peer_of"]

_TIMEOUT = httpx.Timeout(5.0)
"""What httpx itself has."""


def client(
    workload: Workload,
    peers: Peers,
    *,
    base_url: str = "",
    timeout: httpx.Timeout = _TIMEOUT,
) -> httpx.Client:
    """A client that blocks.

    Args:
        workload: Who calls.
        peers: Whom it may reach.
        base_url: What relative addresses are relative to; `https://`.
        timeout: As in httpx.
    """
    transport = Transport(workload.client_context(peers))
    return httpx.Client(transport=transport, base_url=base_url, timeout=timeout)


def async_client(
    workload: Workload,
    peers: Peers,
    *,
    base_url: str = "",
    timeout: httpx.Timeout = _TIMEOUT,
) -> httpx.AsyncClient:
    """A client for asyncio; arguments as of `client`."""
    transport = AsyncTransport(workload.client_context(peers))
    return httpx.AsyncClient(transport=transport, base_url=base_url, timeout=timeout)


def peer_of(response: httpx.Response) -> SpiffeId:
    """The SPIFFE ID of whoever sent the response.

    Raises:
        PeerRefusedError: It did not come over a connection of agentid.workload.
    """
    stream = response.extensions.get("network_stream")
    if not isinstance(stream, _Stream):
        return _peer_of(stream)
    found = stream.get_extra_info("ssl_object")
    # A stream that blocks has only its socket to show.
    return _peer_of(found if isinstance(found, ssl.SSLObject) else stream.get_extra_info("socket"))


class Transport(httpx.HTTPTransport):
    """What a client that blocks sends by."""

    def __init__(self, context: WorkloadContext) -> None:
        """Send by connections of the context."""
        super().__init__(verify=context, trust_env=False)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request if it goes over TLS."""
        _require_tls(request)
        return super().handle_request(request)


class AsyncTransport(httpx.AsyncHTTPTransport):
    """What a client for asyncio sends by."""

    def __init__(self, context: WorkloadContext) -> None:
        """Send by connections of the context."""
        super().__init__(verify=context, trust_env=False)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request if it goes over TLS."""
        _require_tls(request)
        return await super().handle_async_request(request)


def _require_tls(request: httpx.Request) -> None:
    if request.url.scheme != "https":
        msg = f"{request.url.copy_with(path='/', query=None)} is not https, so it shows no identity"
        raise httpx.UnsupportedProtocol(msg, request=request)
