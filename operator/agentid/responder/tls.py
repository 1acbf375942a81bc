"""Who the HTTPS port is: one X509-SVID for each issuer, or one certificate of the web's.

A client's SNI (RFC 6066 §3) chooses: the trust domain or the name of an issuer gets that issuer's
SVID, anything else that of the first issuer by name. Certificates are exchanged under a running
server: a handshake takes what there is at that moment, and connections that are open stay open.

Certificate and key never touch a disk: the standard library reads them from a path only, and gets
one of a file in memory.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import structlog
from cryptography import x509

from agentid.errors import InputError
from agentid.identity import SpiffeId
from agentid.pki.parse import parse_certificate
from agentid.pki.pem import MAX_CHAIN_PEM_BYTES, read_blocks

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

__all__ = ["FILES", "TlsIdentity", "TlsShelf", "read_tls_identity"]

_log = structlog.stdlib.get_logger(__name__)

FILES: Final = "files"
"""In place of an issuer's name, for a certificate from files."""


@dataclass(frozen=True, slots=True)
class TlsIdentity:
    """A certificate chain and its key, ready for handshakes.

    Attributes:
        name: Of the issuer, or `FILES`.
        trust_domain: Of the SVID; empty for a certificate of the web's.
        not_after: When the leaf expires.
        context: Serves it.
        content: Chain and key, to see whether they have changed.
    """

    name: str
    trust_domain: str
    not_after: datetime
    context: ssl.SSLContext = field(repr=False)
    content: bytes = field(repr=False)


def read_tls_identity(name: str, chain: bytes, key: bytes, *, svid: bool) -> TlsIdentity:
    """Make an identity of a chain, leaf first, and its key, both in PEM.

    Args:
        name: Of the issuer, or `FILES`.
        chain: Bytes from outside.
        key: Bytes from outside.
        svid: Whether the leaf has to name a SPIFFE ID.

    Raises:
        InputError: They do not parse or do not belong together, or TLS cannot serve such a key.
    """
    what = f"TLS certificate of {name}"
    blocks = read_blocks(chain, what=what, limit=MAX_CHAIN_PEM_BYTES)
    leaf, _ = parse_certificate(blocks[0].der, what=what)
    trust_domain = _trust_domain(leaf, what) if svid else ""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _harden(context)
    content = b"%b\n%b" % (chain, key)
    descriptor = os.memfd_create("agentid-tls", os.MFD_CLOEXEC)
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(content)
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    except (ssl.SSLError, OSError) as error:
        msg = f"{what}: chain and key cannot be used for TLS ({error}); are they a pair?"
        raise InputError(msg) from error
    finally:
        os.close(descriptor)
    return TlsIdentity(name, trust_domain, leaf.not_valid_after_utc, context, content)


def _harden(context: ssl.SSLContext) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])


def _trust_domain(leaf: x509.Certificate, what: str) -> str:
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound as error:
        msg = f"{what}: it has no subjectAltName, so it is no X509-SVID"
        raise InputError(msg) from error
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    if len(uris) != 1:
        msg = f"{what}: it has {len(uris)} URIs, an X509-SVID has one (SPIFFE X509-SVID §2)"
        raise InputError(msg)
    return SpiffeId.parse(uris[0]).trust_domain.name


class TlsShelf:
    """The identities of the HTTPS port.

    Attributes:
        context: For the server: it has no certificate of its own, each handshake is given one.
        ready: Set once a handshake can succeed.
    """

    def __init__(self) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        _harden(self.context)
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
