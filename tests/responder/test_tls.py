"""HTTPS: the issuer's SVID by SNI, exchanged under open connections, or files of the web's."""

from __future__ import annotations

import asyncio
import json
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from agentid.clock import SystemClock
from agentid.errors import InputError
from agentid.pki import KeyAlgorithm
from agentid.responder.listeners import serve_ports, watch_files
from agentid.responder.responder import Responder
from agentid.responder.settings import Settings, TlsFiles
from agentid.responder.tls import FILES, TlsShelf
from agentid.serving.certificates import read_tls_identity
from agentid.testing.ca import ThrowawayCA
from agentid.testing.publications import MemoryLedger, Published, secret
from tests.support.responding import serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from agentid.testing.clock import ManualClock
    from tests.support.responding import World

PATIENCE = 5.0


def fresh(
    trust_domain: str = "example.org", algorithm: KeyAlgorithm = KeyAlgorithm.ED25519
) -> ThrowawayCA:
    """A CA that is valid now, since `ssl` knows no other time."""
    now = SystemClock().now().replace(microsecond=0)
    return ThrowawayCA(trust_domain, algorithm=algorithm, now=now)


@asynccontextmanager
async def connected(
    port: int, ca: ThrowawayCA, server_name: str | None = None
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter, str]]:
    """A connection verified against a bundle; yields the SPIFFE ID of the server as well."""
    context = ssl.create_default_context(cadata=ca.bundle.pem.decode())
    context.check_hostname = False
    async with asyncio.timeout(PATIENCE):
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=context, server_hostname=server_name or ""
        )
    der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    names = x509.load_der_x509_certificate(der).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    (uri,) = names.value.get_values_for_type(x509.UniformResourceIdentifier)
    try:
        yield reader, writer, uri
    finally:
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)


async def fetch(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str) -> bytes:
    """One request on a connection that is kept; the body."""
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    async with asyncio.timeout(PATIENCE):
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        return await reader.readexactly(length)


async def serial_of(world: World) -> int:
    """Of the certificate that a new handshake gets."""
    async with connected(await world.ports.https, world.main.ca) as (_, writer, _uri):
        der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        return x509.load_der_x509_certificate(der).serial_number


async def test_the_bundle_is_served_to_who_trusts_the_issuer() -> None:
    """https_spiffe: the server is `spiffe://<trust domain>/agentid/responder`."""
    async with serving(SystemClock()) as world:
        foreign = {"keys": [], "spiffe_sequence": 3}
        world.responder.publications.config_map(
            world.main.bundle(7, hint=60, federated={"other.example": foreign})
        )
        async with connected(await world.ports.https, world.main.ca) as (reader, writer, uri):
            body = json.loads(await fetch(reader, writer, "/bundle/example.org"))
            beside = json.loads(
                await fetch(reader, writer, "/bundle/example.org/federated/other.example")
            )
            missing = await fetch(reader, writer, "/bundle/example.org/federated/no.example")
            await fetch(reader, writer, "/bundle/nobody.example")
    assert uri == "spiffe://example.org/agentid/responder"
    assert body["spiffe_sequence"] == 7
    assert beside == foreign
    assert missing.startswith(b"example.org publishes no bundle")


@pytest.mark.parametrize("algorithm", [KeyAlgorithm.ED25519, KeyAlgorithm.ECDSAP256])
async def test_sni_chooses_the_issuer(algorithm: KeyAlgorithm) -> None:
    """By trust domain or name; anything else, and nothing, gets the first by name."""
    async with serving(SystemClock(), ca=fresh(algorithm=algorithm)) as world:
        other = Published(fresh("other.example", algorithm=algorithm), "other")
        world.responder.publications.config_map(other.bundle())
        world.responder.publications.secret(secret(world.main, other))
        port = await world.ports.https
        for name, issuer in (
            ("other.example", other),
            ("OTHER.example", other),
            ("other", other),
            ("example.org", world.main),
            ("builtin", world.main),
            ("agentid-responder.agentid-system.svc", world.main),
            (None, world.main),
        ):
            async with connected(port, issuer.ca, name) as (_, _, uri):
                assert uri == f"spiffe://{issuer.ca.trust_domain}/agentid/responder"


async def test_a_new_certificate_is_served_without_a_break() -> None:
    """An open connection goes on, and the next handshake sees the new one."""
    async with serving(SystemClock()) as world:
        port = await world.ports.https
        before = await serial_of(world)
        async with connected(port, world.main.ca) as (reader, writer, _):
            await fetch(reader, writer, "/bundle/example.org")
            world.responder.publications.secret(secret(world.main))
            assert await serial_of(world) != before
            assert b"keys" in await fetch(reader, writer, "/bundle/example.org")


async def test_https_waits_for_its_certificate() -> None:
    """HTTP serves meanwhile; once there is an issuer, readiness says what is missing."""
    async with serving(SystemClock(), publish=False) as world:
        assert (await world.get("/crl/none/all.pem"))[0] == 404
        assert not world.ports.https.done()
        assert not any("HTTPS" in word for word in world.responder.unready())
        world.responder.publications.config_map(world.main.bundle())
        assert any("HTTPS has no certificate" in word for word in world.responder.unready())
        world.responder.publications.secret(secret(world.main))
        async with connected(await world.ports.https, world.main.ca) as (_, _, uri):
            assert uri.endswith("/agentid/responder")
        assert not any("HTTPS" in word for word in world.responder.unready())


async def test_what_cannot_be_served_leaves_what_is() -> None:
    """A key of somebody else, a Secret that is half there or gone."""
    async with serving(SystemClock()) as world:
        before = await serial_of(world)
        publications = world.responder.publications
        chain, _ = world.main.svid()
        _, key = Published(fresh("other.example")).svid()
        for files in (
            {"builtin.tls.crt": chain, "builtin.tls.key": key},
            {"builtin.tls.crt": chain},
            {"builtin.tls.crt": b"", "builtin.tls.key": key},
            {},
        ):
            publications.secret(secret(**files))
            assert await serial_of(world) == before
        publications.secret_gone()
        assert await serial_of(world) == before
        text = world.responder.metrics.render().decode()
    assert 'agentid_responder_publications_refused_total{kind="tls"} 3.0' in text


async def test_files_come_before_issuers_and_are_read_again(
    clock: ManualClock, tmp_path: Path
) -> None:
    """https_web: a certificate of the web's, exchanged by who writes the files."""
    files = TlsFiles(tmp_path / "tls.crt", tmp_path / "tls.key")
    main = Published(fresh())

    def write() -> None:
        chain, key = main.svid()
        files.certificate.write_bytes(chain)
        files.key.write_bytes(key)

    write()
    settings = Settings(host="127.0.0.1", http_port=0, https_port=0, tls=files)
    responder = Responder(settings, MemoryLedger(), clock=clock, epoch="e")
    watching = asyncio.create_task(watch_files(responder, files))
    async with serve_ports(responder) as ports:
        responder.publications.secret(secret(Published(fresh("other.example"), "aaa")))
        port = await ports.https
        async with connected(port, main.ca, "aaa") as (_, _, uri):
            assert uri == "spiffe://example.org/agentid/responder"
        first = responder.publications.tls.expiries
        assert set(first) == {FILES}
        files.key.write_bytes(b"half")
        await clock.run_for(6)
        async with connected(port, main.ca):
            pass
        write()
        await clock.run_for(6)
        async with connected(port, main.ca) as (_, writer, _):
            der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        watching.cancel()
        await asyncio.wait([watching])
    served = x509.load_pem_x509_certificates(files.certificate.read_bytes())[0]
    assert x509.load_der_x509_certificate(der) == served


async def test_files_that_are_not_there_stop_the_start(clock: ManualClock, tmp_path: Path) -> None:
    """With the name of the one that is missing."""
    files = TlsFiles(tmp_path / "tls.crt", tmp_path / "tls.key")
    responder = Responder(Settings(tls=files), MemoryLedger(), clock=clock, epoch="e")
    with pytest.raises(InputError, match=r"tls\.crt: cannot be read"):
        await watch_files(responder, files)


def test_a_certificate_without_a_spiffe_id_is_no_svid() -> None:
    """But it may be one of the web's."""
    ca = fresh()
    bare = ca.issue_tweaked(lambda parts: parts.drop(x509.SubjectAlternativeName))
    pem = bare.public_bytes(Encoding.PEM)
    with pytest.raises(InputError, match="no subjectAltName"):
        read_tls_identity("main", pem, b"", svid=True)


async def test_an_algorithm_that_tls_does_not_know_does_not_stop_http() -> None:
    """The interpreter's TLS knows no ML-DSA; CRLs and OCSP are served, and the reason is told."""
    async with serving(SystemClock(), ca=fresh(algorithm=KeyAlgorithm.MLDSA44)) as world:
        assert (await world.get("/crl/builtin/all.pem"))[0] == 200
        assert world.responder.unready() == []
        (remark,) = world.responder.remarks()
        assert remark.startswith("TLS certificate of builtin: chain and key cannot be used for TLS")
        assert not world.ports.https.done()
        other = Published(fresh("other.example"), "other")
        world.responder.publications.secret(secret(other))
        assert world.responder.remarks() == []
        async with connected(await world.ports.https, other.ca):
            pass


async def test_a_port_that_is_taken_is_told() -> None:
    """At once for HTTP; for HTTPS to whoever runs it."""
    async with serving(SystemClock()) as world:
        taken = await world.ports.https
        settings = Settings(host="127.0.0.1", http_port=taken, https_port=0)
        second = Responder(settings, MemoryLedger(), clock=SystemClock(), epoch="e")
        with pytest.raises(InputError, match=f"port {taken} of 127.0.0.1 cannot be taken"):
            async with serve_ports(second):
                pass
        settings = Settings(host="127.0.0.1", http_port=0, https_port=taken)
        third = Responder(settings, MemoryLedger(), clock=SystemClock(), epoch="e")
        third.publications.secret(secret(world.main))
        async with serve_ports(third) as ports:
            with pytest.raises(InputError, match=f"port {taken} of 127.0.0.1 cannot be taken"):
                await ports.https


def test_nothing_to_serve_refuses_the_handshake() -> None:
    """With an alert, not with an exception in the event loop."""
    shelf = TlsShelf()
    left, right = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = shelf.context.wrap_bio(left, right, server_side=True)
    client_context = ssl.create_default_context()
    client_context.check_hostname = False
    client = client_context.wrap_bio(right, left)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    with pytest.raises(ssl.SSLError):
        server.do_handshake()
