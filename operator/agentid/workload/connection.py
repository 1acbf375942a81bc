"""Connections on which nothing is read or written before the peer was found to be wanted.

The module ssl makes a connection of the classes that its context names. These two look at the
peer's SPIFFE ID as the last step of the handshake, so that every library that runs a handshake
fails in it. OpenSSL also shakes hands by itself when somebody reads or writes first; therefore
these do so explicitly in that case.
"""

from __future__ import annotations

import logging
import socket
import ssl
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from agentid.errors import InputError
from agentid.workload.credentials import svid_of
from agentid.workload.errors import PeerRefusedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from _typeshed import ReadableBuffer

    from agentid.identity import SpiffeId
    from agentid.workload.credentials import Identity
    from agentid.workload.peers import Peers

__all__ = ["CheckedObject", "CheckedSocket", "CheckingContext", "Transport", "peer_of"]

_log = logging.getLogger("agentid.workload")


@runtime_checkable
class Transport(Protocol):
    """What asyncio has of a connection: a transport, or a StreamWriter."""

    def get_extra_info(self, name: str, /) -> object:
        """What is known of the connection by this name."""


class CheckingContext(ssl.SSLContext):
    """A context of the module ssl for one version of the files, which knows who is wanted.

    Attributes:
        own: Who it says it is.
        require_valid: Raises OwnIdentityError if that has expired, so that no peer would accept it.
        peers: Whom it lets finish a handshake.
        renewing: The context that made this one; connections that come later are made by it.
    """

    own: Identity
    require_valid: Callable[[Identity], None]
    peers: Peers
    renewing: ssl.SSLContext


class CheckedObject(ssl.SSLObject):
    """What asyncio, uvloop and httpx use."""

    _has_begun = False
    _peer: SpiffeId | None = None

    def do_handshake(self) -> None:
        """Go on with the handshake.

        Raises:
            OwnIdentityError: The certificate of this workload has expired.
            PeerRefusedError: The peer is not wanted, which turns out at the end.
        """
        # Not in the first step, in which nothing has been heard of the peer: aiohttp on uvloop
        # leaves a socket open where that fails.
        if self._peer is None and self._has_begun:
            _begin(self)
        self._has_begun = True
        super().do_handshake()
        if self._peer is None:
            self._peer = _admit(self)

    def read(self, len: int = 1024, buffer: ReadableBuffer | None = None) -> bytes:  # noqa: A002
        """As in the module ssl, once the peer was found to be wanted."""
        if self._peer is None:
            self.do_handshake()
        # Bytes, or their number where there is a buffer, as the module ssl has it.
        return super().read(len, buffer)

    def write(self, data: ReadableBuffer) -> int:
        """As in the module ssl, once the peer was found to be wanted."""
        if self._peer is None:
            self.do_handshake()
        return super().write(data)


class CheckedSocket(ssl.SSLSocket):
    """What http.client and everything that blocks uses."""

    _peer: SpiffeId | None = None

    def do_handshake(self, block: bool = False) -> None:  # noqa: FBT001, FBT002 - theirs
        """Shake hands; errors as of `CheckedObject.do_handshake`."""
        if self._peer is None:
            _begin(self)
        super().do_handshake(block)
        if self._peer is None:
            self._peer = _admit(self)

    def read(self, len: int = 1024, buffer: ReadableBuffer | None = None) -> bytes:  # noqa: A002
        """As in the module ssl, once the peer was found to be wanted; `recv` comes here too."""
        self._require_peer()
        # What `recv` is made of, so no more deprecated than that.
        return super().read(len, buffer)  # type: ignore[deprecated]

    def write(self, data: ReadableBuffer) -> int:
        """As in the module ssl, once the peer was found to be wanted."""
        self._require_peer()
        return super().write(data)  # type: ignore[deprecated]

    def send(self, data: ReadableBuffer, flags: int = 0) -> int:
        """As in the module ssl, once the peer was found to be wanted; `sendall` comes here too."""
        self._require_peer()
        return super().send(data, flags)

    def accept(self) -> tuple[ssl.SSLSocket, object]:
        """Take a caller, with the files that are there by now.

        A caller that is refused is told of by an exception, as by every listening socket of the
        module ssl; a server takes plain sockets and wraps each where it can fail alone.
        """
        plain, address = socket.socket.accept(self)
        wrapped = _context_of(self).renewing.wrap_socket(
            plain,
            server_side=True,
            do_handshake_on_connect=self.do_handshake_on_connect,  # type: ignore[attr-defined]
            suppress_ragged_eofs=self.suppress_ragged_eofs,  # type: ignore[attr-defined]
        )
        return wrapped, address

    def _require_peer(self) -> None:
        # Without a TLS object the module ssl refuses by itself, or it is not connected yet.
        if self._peer is None and getattr(self, "_sslobj", None) is not None:
            self.do_handshake()


def peer_of(connection: object) -> SpiffeId:
    """The SPIFFE ID of the other side, which was verified in the handshake.

    Args:
        connection: What a context of `Workload` made: a TLS socket or object; or asyncio's
            transport or StreamWriter above one.

    Raises:
        PeerRefusedError: It is another connection, whose peer nobody verified.
    """
    if isinstance(connection, Transport):
        connection = connection.get_extra_info("ssl_object")
    peer = connection._peer if isinstance(connection, CheckedObject | CheckedSocket) else None  # noqa: SLF001
    if peer is None:
        msg = (
            "the peer of this connection is not known: it has no TLS by a context of "
            "agentid.workload, or its handshake is not over"
        )
        raise PeerRefusedError(msg)
    return peer


def _context_of(connection: CheckedObject | CheckedSocket) -> CheckingContext:
    context = connection.context
    if not isinstance(context, CheckingContext):
        msg = "the context of the connection was exchanged for one that checks no SPIFFE ID"
        raise PeerRefusedError(msg)
    return context


def _begin(connection: CheckedObject | CheckedSocket) -> None:
    """Within a handshake, where errors end the connection as those of OpenSSL do."""
    context = _context_of(connection)
    context.require_valid(context.own)


def _admit(connection: CheckedObject | CheckedSocket) -> SpiffeId:
    """The last step of a handshake; the peer's SPIFFE ID.

    Raises:
        PeerRefusedError: It is not wanted, or nobody can tell who it is.
    """
    try:
        return _wanted(connection, _context_of(connection))
    except PeerRefusedError as error:
        # Servers keep failed handshakes to themselves; somebody has to be able to find out.
        _log.warning("handshake refused: %s", error)
        raise


def _wanted(connection: CheckedObject | CheckedSocket, context: CheckingContext) -> SpiffeId:
    """Who the peer is, after OpenSSL has verified its chain.

    1. It is no resumed session: that was verified some time ago, by other files perhaps.
    2. The certificate keeps the rules of the X509-SVID standard.
    3. Its trust domain is that of the bundle, which cannot vouch for another one.
    4. It is wanted.

    Raises:
        PeerRefusedError: One of them does not hold.
    """
    own = context.own.spiffe_id
    if connection.session_reused:
        msg = "the peer resumed a session, which verifies nothing; it has to shake hands anew"
        raise PeerRefusedError(msg)
    der = connection.getpeercert(binary_form=True)
    if der is None:
        msg = "the peer showed no certificate"
        raise PeerRefusedError(msg)
    try:
        peer = svid_of(der)
    except InputError as error:
        msg = f"the peer is refused: {error}"
        raise PeerRefusedError(msg) from error
    if peer.trust_domain != own.trust_domain:
        msg = (
            f"the peer {peer} is of another trust domain than {own}, whose bundle cannot "
            "vouch for it"
        )
        raise PeerRefusedError(msg)
    if peer not in context.peers:
        msg = f"the peer {peer} is not one of those that {own} talks to"
        raise PeerRefusedError(msg)
    return peer
