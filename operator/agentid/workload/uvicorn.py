"""uvicorn with the workload's identity: an ASGI application that knows who calls.

    config = secure(uvicorn.Config(app, host="0.0.0.0", port=8443), workload, peers)
    uvicorn.Server(config).run()

In the application, `peer_of(request.scope)` is the caller; this needs no uvicorn, so it works in
Starlette, FastAPI and MCP handlers alike.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Protocol, cast

from uvicorn.config import HTTP_PROTOCOLS
from uvicorn.importer import import_from_string

from agentid.errors import InputError
from agentid.identity import SpiffeId
from agentid.workload.connection import peer_of as _peer_of
from agentid.workload.errors import PeerRefusedError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable, Mapping, MutableMapping

    import uvicorn

    from agentid.workload.peers import Peers
    from agentid.workload.workload import Workload

    Scope = MutableMapping[str, object]
    Message = MutableMapping[str, object]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    Application = Callable[[Scope, Receive, Send], Awaitable[None]]

__all__ = ["EXTENSION", "peer_of", "secure"]

EXTENSION = "agentid"
"""Where in a scope's `extensions` the caller stands, as `{"peer": "spiffe://..."}`."""


def secure(config: uvicorn.Config, workload: Workload, peers: Peers) -> uvicorn.Config:
    """Let a server be called over TLS by these peers alone, and tell its application who calls.

    Args:
        config: Of a server that is not running yet; one process, HTTP/1.1 and WebSockets.
        workload: Who is called.
        peers: Who may call.

    Returns:
        The same configuration.

    Raises:
        ValueError: It has been loaded, or asks for more processes or for HTTP/2.
    """
    if config.loaded or config.use_subprocess or config.http2:
        msg = "agentid.workload: a uvicorn.Config not loaded yet, with one process and no http2"
        raise ValueError(msg)
    context = workload.server_context(peers)
    config.ssl_context_factory = lambda *_: context
    config.http = _naming(_resolved(config.http))
    config.ws = "none"
    return config


def peer_of(scope: Mapping[str, object]) -> SpiffeId:
    """The SPIFFE ID of the caller, by the scope of its request.

    Raises:
        PeerRefusedError: The server is not one of `secure`.
    """
    extensions = scope.get("extensions")
    said = extensions.get(EXTENSION) if isinstance(extensions, dict) else None
    try:
        return SpiffeId.parse(said["peer"] if isinstance(said, dict) else None)
    except (InputError, KeyError) as error:
        msg = "the caller is not known: its server is not one of agentid.workload.uvicorn.secure"
        raise PeerRefusedError(msg) from error


class _Protocol(Protocol):
    """What uvicorn's protocols have in common."""

    app: Application

    def connection_made(self, transport: asyncio.BaseTransport) -> None: ...


def _resolved(chosen: object) -> type[asyncio.Protocol]:
    name = HTTP_PROTOCOLS.get(chosen, chosen) if isinstance(chosen, str) else ""
    found = import_from_string(name) if name else chosen
    if not inspect.isclass(found):
        msg = f"agentid.workload: {chosen!r} is no HTTP protocol of uvicorn's"
        raise ValueError(msg)
    return cast("type[asyncio.Protocol]", found)


def _naming(protocol: type[asyncio.Protocol]) -> type[asyncio.Protocol]:
    """The protocol, with an application that is told who is at the other end of its connection."""

    def connection_made(self: _Protocol, transport: asyncio.BaseTransport) -> None:
        protocol.connection_made(cast("asyncio.Protocol", self), transport)
        self.app = _named(self.app, str(_peer_of(transport)))

    return type(f"Named{protocol.__name__}", (protocol,), {"connection_made": connection_made})


def _named(app: Application, peer: str) -> Application:
    async def told(scope: Scope, receive: Receive, send: Send) -> None:
        extensions = scope.get("extensions")
        before = extensions if isinstance(extensions, dict) else {}
        await app({**scope, "extensions": {**before, EXTENSION: {"peer": peer}}}, receive, send)

    return told
