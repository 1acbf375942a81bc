"""Certificates of servers, exchanged under a running server.

A handshake takes what there is at that moment, and connections that are open stay open.

Certificate and key never touch a disk: the standard library reads them from a path only, and gets
one of a file in memory.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryptography import x509

from agentid.errors import InputError
from agentid.identity import SpiffeId
from agentid.pki.parse import parse_certificate
from agentid.pki.pem import MAX_CHAIN_PEM_BYTES, read_blocks

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["TlsIdentity", "TlsSlot", "harden", "read_tls_identity"]


@dataclass(frozen=True, slots=True)
class TlsIdentity:
    """A certificate chain and its key, ready for handshakes.

    Attributes:
        name: Whose it is, for messages and gauges.
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
        name: Whose it is, for messages and gauges.
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
    harden(context)
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


def harden(context: ssl.SSLContext) -> None:
    """Have a server's context take what is safe only, and HTTP/1.1."""
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


class TlsSlot:
    """The one identity of a port, whatever name a client asks for.

    Attributes:
        context: For the server: it has no certificate of its own, each handshake is given one.
        ready: Set once a handshake can succeed.
        identity: What is served, None before the first one.
    """

    def __init__(self) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        harden(self.context)
        self.context.sni_callback = self._choose
        self.ready = asyncio.Event()
        self.identity: TlsIdentity | None = None

    def publish(self, identity: TlsIdentity) -> None:
        """Serve this from the next handshake on."""
        self.identity = identity
        self.ready.set()

    def _choose(self, connection: ssl.SSLObject, _: str | None, __: ssl.SSLContext) -> int | None:
        """Give a handshake its certificate; called without SNI as well."""
        if self.identity is None:
            return ssl.ALERT_DESCRIPTION_INTERNAL_ERROR
        connection.context = self.identity.context
        return None
