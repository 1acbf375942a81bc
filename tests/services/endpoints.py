"""Bundle endpoints on the loopback, with real TLS."""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
import tempfile
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from agentid.pki import to_pkcs8_pem
from agentid.testing.ca import ThrowawayCA

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

__all__ = ["Certified", "Served", "ca_of_now", "serve", "svid", "web_certificate"]

_DAY = dt.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Certified:
    """What a TLS server shows."""

    chain: bytes
    key: bytes


@dataclass(slots=True)
class Served:
    """An endpoint.

    Attributes:
        port: Where it listens.
        body: What it answers.
        status: With which code.
        headers: And headers.
        asked: The requests so far, as paths.
        handler: What answers instead, if there is anything.
    """

    port: int = 0
    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    handler: Handler | None = None

    @property
    def url(self) -> str:
        """Its URL, by address."""
        return f"https://127.0.0.1:{self.port}/bundle"

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer as it was told to."""
        self.asked.append(request.path)
        if self.handler is not None:
            return await self.handler(request)
        return web.Response(body=self.body, status=self.status, headers=self.headers)


def ca_of_now(
    trust_domain: str = "foreign.test", *, ago: dt.timedelta = dt.timedelta(0), seed: str = ""
) -> ThrowawayCA:
    """A CA in the real present, since TLS has no other, or some time ago."""
    return ThrowawayCA(trust_domain, now=dt.datetime.now(dt.UTC) - ago, seed=seed)


def svid(ca: ThrowawayCA, name: str = "bundle") -> Certified:
    """An X509-SVID."""
    issued = ca.issue(ca.profile(name))
    return Certified(issued.leaf.chain_pem, to_pkcs8_pem(issued.private_key))


def web_certificate(
    host: str = "127.0.0.1", *, ago: dt.timedelta = dt.timedelta(0)
) -> tuple[Certified, bytes]:
    """A certificate for a host by a CA of its own, and the root of that CA as PEM."""
    now = dt.datetime.now(dt.UTC) - ago
    ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Web CA")])

    def builder(subject: x509.Name, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        return x509.CertificateBuilder(
            name, subject, public, x509.random_serial_number(), now - _DAY, now + _DAY
        )

    root = (
        builder(name, ca_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key()), False)  # noqa: FBT003
        .sign(ca_key, hashes.SHA256())
    )
    try:
        san: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        san = x509.DNSName(host)
    leaf = (
        builder(x509.Name([]), key.public_key())
        .add_extension(x509.SubjectAlternativeName([san]), critical=True)
        .add_extension(_usage(signs=False), critical=True)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False
        )
        .sign(ca_key, hashes.SHA256())
    )
    return Certified(leaf.public_bytes(Encoding.PEM), to_pkcs8_pem(key)), root.public_bytes(
        Encoding.PEM
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )


@asynccontextmanager
async def serve(certified: Certified, body: bytes = b"") -> AsyncIterator[Served]:
    """Serve on a free port of the loopback."""
    served = Served(body=body)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "both.pem"
        path.write_bytes(certified.chain + certified.key)
        context.load_cert_chain(path)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", served.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        served.port = runner.addresses[0][1]
        yield served
    finally:
        await runner.cleanup()
