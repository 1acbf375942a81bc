"""A context of the module ssl that is as new as the files."""

from __future__ import annotations

import ssl
import threading
from typing import TYPE_CHECKING, NoReturn, Protocol

from agentid.workload.connection import CheckedObject, CheckedSocket, CheckingContext
from agentid.workload.credentials import equip

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable
    from typing import Self

    from agentid.workload.credentials import Credentials, Identity
    from agentid.workload.peers import Peers

__all__ = ["Source", "WorkloadContext"]


class Source(Protocol):
    """Where a context has its files from."""

    def present(self) -> Credentials:
        """The newest files that can be used."""

    def require_valid(self, own: Identity) -> None:
        """Raise OwnIdentityError if these have expired."""


class WorkloadContext(ssl.SSLContext):
    """Hands every new connection to a context made of the files that are there now.

    It is an `ssl.SSLContext`, so libraries take it for one. What was loaded into a context stays
    in it; so for each version of the files there is a fresh one inside, with the new authorities
    and without those that are gone. Connections that exist keep theirs.

    Both sides show certificates, TLS sessions are not resumed, and host names are not compared: a
    certificate of an agent names no host. Whatever else would weaken it is refused.
    """

    _sealed = False

    def __new__(
        cls,
        protocol: ssl._SSLMethod,
        source: Source,  # noqa: ARG004 - __init__ takes it
        peers: Peers,  # noqa: ARG004
        minimum_version: ssl.TLSVersion,  # noqa: ARG004
    ) -> Self:
        """Make an empty context of the module ssl."""
        return super().__new__(cls, protocol)

    def __init__(
        self,
        protocol: ssl._SSLMethod,  # noqa: ARG002 - __new__ takes it
        source: Source,
        peers: Peers,
        minimum_version: ssl.TLSVersion,
    ) -> None:
        """Take the parts; `Workload` has them.

        Args:
            protocol: `ssl.PROTOCOL_TLS_CLIENT` or `ssl.PROTOCOL_TLS_SERVER`.
            source: Gives the files of this moment.
            peers: Whom a connection may be with.
            minimum_version: The oldest TLS that is spoken.
        """
        super().__init__()
        self._source = source
        self._peers = peers
        self._lock = threading.Lock()
        self._alpn: tuple[str, ...] = ()
        self._made: dict[tuple[str, ...], CheckingContext] = {}
        self._made_of: Credentials | None = None
        _harden(self, minimum_version)
        self._sealed = True

    def wrap_socket(
        self,
        sock: socket.socket,
        server_side: bool = False,  # noqa: FBT001, FBT002
        do_handshake_on_connect: bool = True,  # noqa: FBT001, FBT002
        suppress_ragged_eofs: bool = True,  # noqa: FBT001, FBT002
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLSocket:
        """As in the module ssl.

        Raises:
            PeerRefusedError: The peer is not wanted.
            OwnIdentityError: The certificate of this workload has expired.
            ssl.SSLError: The handshake fails.
        """
        _refuse(session)
        return self._inner().wrap_socket(
            sock,
            server_side=server_side,
            do_handshake_on_connect=do_handshake_on_connect,
            suppress_ragged_eofs=suppress_ragged_eofs,
            server_hostname=server_hostname,
        )

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,  # noqa: FBT001, FBT002
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        """As in the module ssl; the handshake raises what `wrap_socket` does."""
        _refuse(session)
        return self._inner().wrap_bio(
            incoming, outgoing, server_side=server_side, server_hostname=server_hostname
        )

    def set_alpn_protocols(self, alpn_protocols: Iterable[str]) -> None:
        """As in the module ssl, for connections from now on."""
        self._alpn = tuple(alpn_protocols)

    def load_cert_chain(self, *_: object, **__: object) -> NoReturn:
        """Refuse: the files of the workload are what it shows."""
        _refuse_to("load_cert_chain")

    def load_verify_locations(self, *_: object, **__: object) -> NoReturn:
        """Refuse: the bundle of the workload is what it believes."""
        _refuse_to("load_verify_locations")

    def load_default_certs(self, *_: object, **__: object) -> NoReturn:
        """Refuse: no authority of the web vouches for an agent."""
        _refuse_to("load_default_certs")

    def set_default_verify_paths(self) -> NoReturn:
        """Refuse, likewise."""
        _refuse_to("set_default_verify_paths")

    def __setattr__(self, name: str, value: object) -> None:
        """Let what is as it is be set once more; libraries do that."""
        if self._sealed and not name.startswith("_") and getattr(self, name, None) != value:
            _refuse_to(name)
        super().__setattr__(name, value)

    def _inner(self) -> CheckingContext:
        """A context of the present files, and of the protocols that were asked for last."""
        credentials, alpn = self._source.present(), self._alpn
        with self._lock:
            if self._made_of is not credentials:
                self._made, self._made_of = {}, credentials
            made = self._made.get(alpn)
            if made is None:
                made = self._made[alpn] = self._make(credentials, alpn)
            return made

    def _make(self, credentials: Credentials, alpn: tuple[str, ...]) -> CheckingContext:
        made = CheckingContext(self.protocol)
        made.own = credentials.identity
        made.require_valid = self._source.require_valid
        made.peers = self._peers
        made.renewing = self
        made.sslobject_class = CheckedObject
        made.sslsocket_class = CheckedSocket
        _harden(made, self.minimum_version)
        equip(made, credentials)
        if alpn:
            made.set_alpn_protocols(alpn)
        return made


def _harden(context: ssl.SSLContext, minimum_version: ssl.TLSVersion) -> None:
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    # The rules of RFC 5280, also those that others pass over.
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    context.minimum_version = minimum_version
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    if context.protocol == ssl.PROTOCOL_TLS_SERVER:
        context.num_tickets = 0


def _refuse(session: ssl.SSLSession | None) -> None:
    if session is not None:
        msg = "a session that is resumed verifies nothing; leave `session` out"
        raise ValueError(msg)


def _refuse_to(name: str) -> NoReturn:
    msg = (
        f"{name}: a context of agentid.workload is made of the workload's files; what can be "
        "chosen are arguments of Workload.client_context and server_context"
    )
    raise AttributeError(msg)
