"""aiohttp with the workload's identity: who it calls, and who calls it.

session = aiohttp.ClientSession(connector=connector(workload, peers))
site = aiohttp.web.TCPSite(runner, port=8443, ssl_context=workload.server_context(peers))
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import aiohttp

from agentid.workload.connection import peer_of as _peer_of

if TYPE_CHECKING:
    from aiohttp import web
    from aiohttp.client_reqrep import ClientRequest
    from aiohttp.connector import Connection
    from aiohttp.tracing import Trace

    from agentid.identity import SpiffeId
    from agentid.workload.peers import Peers
    from agentid.workload.workload import Workload

__all__ = ["Connector", "connector", "peer_of"]


class Connector(aiohttp.TCPConnector):
    """Connects over TLS alone: a plain `http://` address is refused, also after a redirect."""

    async def connect(
        self,
        req: ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109
    ) -> Connection:
        """Give a connection for the request if it goes over TLS, by the context of the workload."""
        if req.url.scheme not in {"https", "wss"} or req.ssl is not True:
            msg = f"{req.url.origin()}: without TLS by the workload's context it shows no identity"
            raise aiohttp.ClientConnectionError(msg)
        return await super().connect(req, traces, timeout)


def connector(workload: Workload, peers: Peers) -> Connector:
    """What a ClientSession connects by; to be made where the event loop runs.

    Args:
        workload: Who calls.
        peers: Whom it may reach.
    """
    return Connector(ssl=workload.client_context(peers))


def peer_of(request: web.Request) -> SpiffeId:
    """The SPIFFE ID of whoever sent the request.

    Raises:
        PeerRefusedError: It did not come over a connection of agentid.workload.
    """
    return _peer_of(request.transport)
