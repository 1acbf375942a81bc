"""Who the HTTPS port is: one X509-SVID for each issuer, or one certificate of the web's.

A client's SNI (RFC 6066 §3) chooses: the trust domain or the name of an issuer gets that issuer's
SVID, anything else that of the first issuer by name.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Final

import structlog

from agentid.serving.certificates import harden, read_tls_identity

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from agentid.serving.certificates import TlsIdentity

__all__ = ["FILES", "TlsShelf"]

_log = structlog.stdlib.get_logger(__name__)

FILES: Final = "files"
"""In place of an issuer's name, for a certificate from files."""


class TlsShelf:
    """The identities of the HTTPS port.

    Attributes:
        context: For the server: it has no certificate of its own, each handshake is given one.
        ready: Set once a handshake can succeed.
    """

    def __init__(self) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        harden(self.context)
        self.context.sni_callback = self._choose
        self._identities: dict[str, TlsIdentity] = {}
        self._by_server_name: dict[str, TlsIdentity] = {}
        self._default: TlsIdentity | None = None
        self.ready = asyncio.Event()

    def publish(self, name: str, chain: bytes, key: bytes) -> None:
        """Serve this from the next handshake on.

        Args:
            name: Of the issuer; `FILES` comes before all issuers.
            chain: In PEM, leaf first.
            key: In PEM.

        Raises:
            InputError: It cannot be served; what was served before still is.
        """
        known = self._identities.get(name)
        if known is not None and known.content == b"%b\n%b" % (chain, key):
            return
        identity = read_tls_identity(name, chain, key, svid=name != FILES)
        self._identities[name] = identity
        self._index()
        self.ready.set()
        _log.info("tls_identity_loaded", issuer=name, not_after=identity.not_after.isoformat())

    def keep(self, names: set[str]) -> None:
        """Drop the identities of issuers that are gone, unless nothing would be left."""
        kept = {name: one for name, one in self._identities.items() if name in names}
        if kept and len(kept) < len(self._identities):
            self._identities = kept
            self._index()

    @property
    def expiries(self) -> Mapping[str, datetime]:
        """When each identity expires."""
        return {name: one.not_after for name, one in self._identities.items()}

    def _index(self) -> None:
        names = sorted(self._identities)
        self._default = self._identities.get(FILES) or self._identities[names[0]]
        self._by_server_name = {}
        if FILES in self._identities:
            return
        for name in names:
            identity = self._identities[name]
            self._by_server_name[name] = identity
        for name in reversed(names):
            identity = self._identities[name]
            self._by_server_name[identity.trust_domain] = identity

    def _choose(
        self, connection: ssl.SSLObject, server_name: str | None, _: ssl.SSLContext
    ) -> int | None:
        """Give a handshake its certificate; called without SNI as well."""
        identity = self._by_server_name.get((server_name or "").lower(), self._default)
        if identity is None:
            return ssl.ALERT_DESCRIPTION_INTERNAL_ERROR
        connection.context = identity.context
        return None
