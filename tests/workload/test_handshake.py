"""Who gets through a handshake, on either side, by each way in which Python speaks TLS."""

from __future__ import annotations

import re
import socket
import ssl
import threading
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID as Purpose

from agentid.errors import AgentIdError
from agentid.pki import to_pkcs8_pem
from agentid.testing.clock import ManualClock
from agentid.workload import (
    NOBODY,
    OwnIdentityError,
    PeerRefusedError,
    Peers,
    Workload,
    any_of,
    exactly,
    matching,
    peer_of,
)
from agentid.workload.connection import CheckedObject, _context_of
from tests.support import chains
from tests.support.talking import WAYS, Talk
from tests.support.workloads import TRUST_DOMAIN, Domain, Made, write_together

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from agentid.testing.ca import LeafParts

    Way = Callable[[ssl.SSLContext, ssl.SSLContext], Talk]

Context = ssl.SSLContext
ANYBODY = any_of(TRUST_DOMAIN)


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> Way:
    """How both sides talk."""
    return WAYS[request.param]


@pytest.fixture
def reader(domain: Domain) -> Workload:
    """One agent."""
    return Workload(domain.agent("reader"))


@pytest.fixture
def writer(domain: Domain) -> Workload:
    """And another."""
    return Workload(domain.agent("writer"))


def test_two_agents_see_one_another(
    way: Way, domain: Domain, reader: Workload, writer: Workload
) -> None:
    """Each wants the other alone, and is told who it is."""
    talk = way(
        reader.server_context(exactly(domain.spiffe_id("writer"))),
        writer.client_context(exactly(domain.spiffe_id("reader"))),
    )
    assert talk == Talk(b"HELLO", domain.spiffe_id("writer"), domain.spiffe_id("reader"))


@pytest.mark.parametrize(
    "peers",
    [
        pytest.param(NOBODY, id="nobody"),
        pytest.param(exactly(f"spiffe://{TRUST_DOMAIN}/ns/finance/agent/other"), id="another"),
        pytest.param(matching(f"spiffe://{TRUST_DOMAIN}/ns/hr/agent/*"), id="another-namespace"),
        pytest.param(any_of("other.org"), id="another-domain"),
    ],
)
def test_who_is_not_wanted_is_refused(
    way: Way, domain: Domain, reader: Workload, writer: Workload, peers: Peers
) -> None:
    """On either side; nothing is said, and the message names both."""
    talk = way(reader.server_context(peers), writer.client_context(ANYBODY))
    assert talk.said == b""
    if way is WAYS["sockets"]:  # an event loop's server keeps failed handshakes to itself
        assert talk.at_server == (
            f"the peer {domain.spiffe_id('writer')} is not one of those that "
            f"{domain.spiffe_id('reader')} talks to"
        )
    talk = way(reader.server_context(ANYBODY), writer.client_context(peers))
    assert talk.said == b""
    assert talk.at_client == (
        f"the peer {domain.spiffe_id('reader')} is not one of those that "
        f"{domain.spiffe_id('writer')} talks to"
    )


def test_a_refusal_is_logged(
    way: Way, reader: Workload, writer: Workload, caplog: pytest.LogCaptureFixture
) -> None:
    """Once, by whoever refuses: an event loop would tell nobody."""
    way(reader.server_context(NOBODY), writer.client_context(ANYBODY))
    (message,) = caplog.messages
    assert message.startswith("handshake refused: the peer ")


def test_an_agent_in_its_pods(way: Way, domain: Domain, reader: Workload) -> None:
    """`matching` lets each pod of an agent in, `exactly` only the one that it names."""
    pods = {
        uid: Workload(domain.agent("worker", domain.issue("worker", pod=uid), place=uid))
        for uid in ("pod-1", "pod-2")
    }
    worker = domain.spiffe_id("worker")
    for uid, workload in pods.items():
        talk = way(reader.server_context(matching(worker)), workload.client_context(ANYBODY))
        assert (talk.said, talk.at_server) == (b"HELLO", f"{worker}/pod/{uid}")
        talk = way(reader.server_context(exactly(worker)), workload.client_context(ANYBODY))
        assert talk.said == b""
    only = reader.server_context(exactly(f"{worker}/pod/pod-1"))
    assert way(only, pods["pod-1"].client_context(ANYBODY)).said == b"HELLO"
    assert way(only, pods["pod-2"].client_context(ANYBODY)).said == b""


def uris(*values: str) -> Callable[[LeafParts], object]:
    """Other URIs in the subjectAltName."""

    def tweak(parts: LeafParts) -> None:
        names = [x509.UniformResourceIdentifier(each) for each in values]
        parts.put(x509.SubjectAlternativeName(names), critical=True)

    return tweak


def host(parts: LeafParts) -> None:
    """A certificate as servers of the web have."""
    parts.put(x509.SubjectAlternativeName([x509.DNSName("agents.example.org")]), critical=True)


def only_for(purpose: x509.ObjectIdentifier, parts: LeafParts) -> None:
    """Another extendedKeyUsage."""
    parts.put(x509.ExtendedKeyUsage([purpose]))


def usage(*, certificates: bool) -> x509.KeyUsage:
    """A keyUsage that is not an agent's."""
    return x509.KeyUsage(
        digital_signature=True, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, key_cert_sign=certificates, crl_sign=False,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip


ID = f"spiffe://{TRUST_DOMAIN}/ns/finance/agent/writer"
DEFECTS = [
    pytest.param(uris(ID, f"{ID}2"), "exactly one URI is allowed, found 2", id="two-uris"),
    pytest.param(uris(ID, ID), "exactly one URI is allowed, found 2", id="the-same-twice"),
    pytest.param(host, "excluded subtree violation", id="web-server"),
    pytest.param(uris(f"{ID}/../admin"), "is malformed", id="path-goes-up"),
    pytest.param(uris(f"{ID}/%2e%2e/admin"), "is malformed", id="path-goes-up-escaped"),
    pytest.param(uris(f"{ID}//x"), "is malformed", id="empty-segment"),
    pytest.param(uris(f"{ID}/"), "is malformed", id="ends-with-slash"),
    pytest.param(uris(f"{ID}?x=1"), "is malformed", id="query"),
    pytest.param(uris(f"{ID}#x"), "is malformed", id="fragment"),
    pytest.param(uris(f"{ID} "), "is malformed", id="blank"),
    pytest.param(uris(f"spiffe://{TRUST_DOMAIN}"), "names the trust domain itself", id="no-path"),
    pytest.param(uris(f"https://{TRUST_DOMAIN}/ns/a/agent/b"), "begin with spiffe", id="https"),
    pytest.param(
        lambda parts: parts.put(usage(certificates=True), critical=True),
        r"must not have keyCertSign|Key usage keyCertSign invalid",
        id="may-sign-certificates",
    ),
    pytest.param(
        lambda parts: parts.put(usage(certificates=False)), "keyUsage: it must be critical",
        id="usage-not-critical",
    ),
    pytest.param(
        lambda parts: parts.drop(x509.KeyUsage), "keyUsage: it is missing", id="no-usage"
    ),
]  # fmt: skip


@pytest.fixture
def showing(domain: Domain, tmp_path: Path) -> Callable[[Made | None], tuple[Context, Context]]:
    """Contexts of the module ssl, server and client, which show anything and believe everybody."""

    def make(made: Made | None) -> tuple[Context, Context]:
        server, client = Context(ssl.PROTOCOL_TLS_SERVER), Context(ssl.PROTOCOL_TLS_CLIENT)
        client.check_hostname = False
        client.verify_mode = ssl.CERT_NONE
        if made is not None:
            write_together(tmp_path / "shown", domain.files(made))
            for each in (server, client):
                each.load_cert_chain(tmp_path / "shown" / "..data" / "credentials.pem")
        return server, client

    return make


def refusals(workload: Workload, shown: tuple[Context, Context]) -> tuple[str, str]:
    """Why a workload refuses somebody: as a client, and as a server."""
    server, client = shown
    as_client = WAYS["sockets"](server, workload.client_context(ANYBODY))
    as_server = WAYS["sockets"](workload.server_context(ANYBODY), client)
    assert (as_client.said, as_server.said) == (b"", b"")
    for way in ("asyncio", "uvloop"):
        talk = WAYS[way](server, workload.client_context(ANYBODY))
        assert (talk.said, talk.at_client) == (b"", as_client.at_client)
        assert WAYS[way](workload.server_context(ANYBODY), client).said == b""
    return as_client.at_client, as_server.at_server


@pytest.mark.parametrize(("tweak", "message"), DEFECTS)
def test_a_certificate_that_is_no_svid_is_refused(
    domain: Domain,
    showing: Callable[[Made], tuple[Context, Context]],
    reader: Workload,
    tweak: Callable[[LeafParts], object],
    message: str,
) -> None:
    """Though an authority of the bundle signed it; on either side."""
    for why in refusals(reader, showing(domain.tweaked("writer", tweak))):
        assert re.search(message, why), why


def test_the_same_certificate_without_a_defect_is_accepted(
    domain: Domain, showing: Callable[[Made], tuple[Context, Context]], reader: Workload
) -> None:
    """So what is refused above is refused for the defect."""
    server, client = showing(domain.tweaked("writer", lambda _: None))
    talk = WAYS["sockets"](server, reader.client_context(exactly(ID)))
    assert talk == Talk(b"HELLO", "unverified", ID)
    talk = WAYS["sockets"](reader.server_context(exactly(ID)), client)
    assert talk == Talk(b"HELLO", ID, "unverified")


def test_a_certificate_for_one_purpose_is_refused(
    domain: Domain, showing: Callable[[Made], tuple[Context, Context]], reader: Workload
) -> None:
    """An SVID is for both sides, or OpenSSL has refused it already."""
    for purpose in (Purpose.SERVER_AUTH, Purpose.CLIENT_AUTH, Purpose.CODE_SIGNING):
        made = domain.tweaked("writer", partial(only_for, purpose))
        for why in refusals(reader, showing(made)):
            assert re.search(r"extKeyUsage: \w+ is missing|unsuitable certificate purpose", why), (
                why
            )


def test_who_shows_no_certificate_is_refused(
    showing: Callable[[Made | None], tuple[Context, Context]], reader: Workload
) -> None:
    """A server that asks for one goes without no caller."""
    _, client = showing(None)
    for way in WAYS.values():
        assert way(reader.server_context(ANYBODY), client).said == b""
    talk = WAYS["sockets"](reader.server_context(ANYBODY), client)
    assert "peer did not return a certificate" in talk.at_server


def test_an_expired_peer_is_refused(
    domain: Domain, showing: Callable[[Made], tuple[Context, Context]], reader: Workload
) -> None:
    """On either side."""
    past = domain.now - timedelta(minutes=5)

    def expired(parts: LeafParts) -> None:
        parts.not_before, parts.not_after = past - timedelta(hours=1), past

    for why in refusals(reader, showing(domain.tweaked("writer", expired))):
        assert "certificate has expired" in why


def test_a_peer_of_another_root_is_refused(
    domain: Domain, showing: Callable[[Made], tuple[Context, Context]], reader: Workload
) -> None:
    """Though its certificate says the same; on either side."""
    made = domain.issue("writer", by=domain.authority("somebody-elses"))
    for why in refusals(reader, showing(made)):
        assert "self-signed certificate" in why or "unable to get local issuer" in why


def test_a_spiffe_id_outside_the_trust_domain_is_refused(
    domain: Domain, showing: Callable[[Made], tuple[Context, Context]], reader: Workload
) -> None:
    """Authorities of ours are constrained to theirs, which OpenSSL sees."""
    made = domain.tweaked("writer", uris("spiffe://other.org/ns/finance/agent/writer"))
    for why in refusals(reader, showing(made)):
        assert "permitted subtree violation" in why


def test_an_authority_without_constraints_vouches_for_its_domain_alone(
    domain: Domain, showing: Callable[[Made], tuple[Context, Context]], tmp_path: Path
) -> None:
    """A bundle is that of one trust domain, whatever is signed below it, and whoever is wanted."""
    since, until = domain.now - timedelta(hours=1), domain.now + timedelta(hours=1)
    root = chains.authority("root", not_before=since, not_after=until)

    def made(uri: str) -> Made:
        key = ec.generate_private_key(ec.SECP256R1())
        names = [x509.UniformResourceIdentifier(uri)]
        leaf = chains.leaf(root, names=names, key=key, not_before=since, not_after=until)
        return Made(to_pkcs8_pem(key), leaf.pem)

    own = made(ID)
    files = {"tls.key": own.key, "tls.crt": own.chain, "ca.crt": root.pem}
    write_together(tmp_path / "own", files)
    workload = Workload(tmp_path / "own")
    server, client = showing(made("spiffe://other.org/ns/finance/agent/writer"))
    everybody = ANYBODY | any_of("other.org")
    message = "is of another trust domain than"
    talk = WAYS["sockets"](server, workload.client_context(everybody))
    assert message in talk.at_client
    talk = WAYS["sockets"](workload.server_context(everybody), client)
    assert message in talk.at_server


def test_roots_come_and_go(way: Way, domain: Domain) -> None:
    """By the bundle alone: contexts that exist believe new roots, and no longer those removed."""
    reader, writer = Workload(domain.agent("reader")), Workload(domain.agent("writer"))
    server, client = reader.server_context(ANYBODY), writer.client_context(ANYBODY)
    first, second = domain.roots[0], domain.authority("second")
    assert way(server, client).said == b"HELLO"
    # The bundle comes first, then what the new root signed, then the old one goes.
    old = {name: domain.issue(name) for name in ("reader", "writer")}
    domain.roots = [second, first]
    for name, made in old.items():
        domain.agent(name, made)
    assert way(server, client).said == b"HELLO"
    new = {name: domain.issue(name, by=second) for name in ("reader", "writer")}
    domain.agent("writer", new["writer"])
    assert way(server, client).said == b"HELLO"
    domain.agent("reader", new["reader"])
    assert way(server, client).said == b"HELLO"
    domain.roots = [second]
    domain.agent("reader", new["reader"])
    assert way(server, client).said == b"HELLO"
    domain.agent("writer", old["writer"])
    talk = way(server, client)
    assert talk.said == b""


def test_the_bundle_of_the_client_counts_for_the_client(domain: Domain) -> None:
    """A server whose root the client no longer has is refused by the client."""
    reader, writer = Workload(domain.agent("reader")), Workload(domain.agent("writer"))
    server, client = reader.server_context(ANYBODY), writer.client_context(ANYBODY)
    domain.roots = [domain.authority("second")]
    domain.agent("writer")
    assert "certificate verify failed" in WAYS["asyncio"](server, client).at_client


def test_an_own_certificate_that_expired(way: Way, domain: Domain) -> None:
    """Says so on whichever side it is; the server goes on once it is renewed."""
    clock = ManualClock(domain.now)
    old = Workload(domain.agent("old"), clock=clock)
    other = Workload(domain.agent("other"))
    server, client = old.server_context(ANYBODY), old.client_context(ANYBODY)
    clock.advance(timedelta(hours=2))
    assert way(server, other.client_context(ANYBODY)).said == b""
    talk = way(other.server_context(ANYBODY), client)
    assert talk.said == b""
    assert "agent/old expired at" in talk.at_client
    clock.step(timedelta(hours=-2))
    domain.agent("old")
    assert way(server, other.client_context(ANYBODY)).said == b"HELLO"
    assert way(other.server_context(ANYBODY), client).said == b"HELLO"


def connected() -> tuple[socket.socket, socket.socket]:
    """Two ends of a TCP connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        caller = socket.create_connection(listener.getsockname(), 10)
        called, _ = listener.accept()
    called.settimeout(10)
    return caller, called


@pytest.mark.parametrize("first", ["recv", "recv_into", "read", "send", "sendall", "write"])
def test_without_a_handshake_of_its_own_nothing_gets_through(
    reader: Workload, writer: Workload, first: str
) -> None:
    """OpenSSL shakes hands when somebody reads or writes; the peer is checked there too."""
    caller, called = connected()

    def call() -> None:
        try:
            with writer.client_context(ANYBODY).wrap_socket(caller) as connection:
                connection.sendall(b"secret")
                connection.recv(1)
        except OSError:
            pass

    thread = threading.Thread(target=call)
    thread.start()
    with reader.server_context(NOBODY).wrap_socket(
        called, server_side=True, do_handshake_on_connect=False
    ) as connection:
        argument = {"recv": 6, "read": 6, "recv_into": bytearray(6)}.get(first, b"secret")
        for _ in range(2):
            with pytest.raises(PeerRefusedError, match="is not one of those"):
                getattr(connection, first)(argument)
            with pytest.raises(PeerRefusedError, match="is not known"):
                peer_of(connection)
    thread.join()


def in_memory(server: Context, client: Context) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """Two ends of a connection without a network, of which neither has begun."""
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    return server.wrap_bio(there, back, server_side=True), client.wrap_bio(back, there)


@pytest.mark.parametrize("first", ["read", "write"])
def test_nor_in_memory(reader: Workload, writer: Workload, first: str) -> None:
    """As `test_without_a_handshake_of_its_own_nothing_gets_through`, for what event loops use."""
    called, caller = in_memory(reader.server_context(NOBODY), writer.client_context(ANYBODY))
    begin: Callable[[], object] = {
        "read": lambda: called.read(6), "write": lambda: called.write(b"x")
    }[first]  # fmt: skip
    refused = None
    for _ in range(6):
        for step in (lambda: caller.write(b"secret"), begin):
            try:
                step()
            except ssl.SSLWantReadError:
                continue
            except PeerRefusedError as error:
                refused = error
    assert refused is not None
    for again in (lambda: called.read(6), lambda: called.write(b"x"), called.do_handshake):
        with pytest.raises(PeerRefusedError, match="is not one of those"):
            again()


def test_a_listening_socket_follows_the_files(domain: Domain, writer: Workload) -> None:
    """`accept` of a wrapped listener wraps each caller with the files of that moment."""
    reader = Workload(domain.agent("reader"))
    context = reader.server_context(ANYBODY)
    client = writer.client_context(ANYBODY)
    serials = []
    with (
        socket.create_server(("127.0.0.1", 0)) as plain,
        context.wrap_socket(plain, server_side=True) as listener,
    ):

        def accept() -> None:
            connection, _ = listener.accept()
            with connection:
                assert peer_of(connection) == writer.identity.spiffe_id
                connection.sendall(b"x")

        for _ in range(2):
            thread = threading.Thread(target=accept)
            thread.start()
            raw = socket.create_connection(listener.getsockname(), 10)
            with client.wrap_socket(raw) as connection:
                connection.recv(1)
                serials.append(str((connection.getpeercert() or {})["serialNumber"]))
            thread.join()
            assert int(serials[-1], 16) == reader.identity.serial.value
            domain.agent("reader")
    assert len(set(serials)) == 2


def test_tls_1_2_has_to_be_asked_for(
    domain: Domain, showing: Callable[[Made], tuple[Context, Context]], reader: Workload
) -> None:
    """By an argument, on the side that has to speak it."""
    server, client = showing(domain.issue("writer"))
    for each in (server, client):
        each.maximum_version = ssl.TLSVersion.TLSv1_2
    old = ssl.TLSVersion.TLSv1_2
    for way in WAYS.values():
        assert way(reader.server_context(exactly(ID)), client).said == b""
        assert way(server, reader.client_context(exactly(ID))).said == b""
        context = reader.server_context(exactly(ID), minimum_version=old)
        assert way(context, client).said == b"HELLO"
        assert way(server, reader.client_context(exactly(ID), minimum_version=old)).said == b"HELLO"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_no_session_is_resumed(
    domain: Domain,
    showing: Callable[[Made], tuple[Context, Context]],
    reader: Workload,
    version: ssl.TLSVersion,
) -> None:
    """A caller that offers one is verified anew, or refused; it is never taken at its word."""
    _, client = showing(domain.issue("writer"))
    client.maximum_version = version
    context = reader.server_context(ANYBODY, minimum_version=version)
    resumed, session = [], None
    for _ in range(2):
        caller, called = connected()
        outcome: list[str] = []

        def serve(plain: socket.socket = called, outcome: list[str] = outcome) -> None:
            try:
                with context.wrap_socket(plain, server_side=True) as connection:
                    connection.sendall(b"x")
                    outcome.append(f"served {connection.session_reused}")
            except OSError as error:
                outcome.append(str(error))

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            with client.wrap_socket(caller, session=session) as connection:
                connection.recv(1)
                session = connection.session
        except OSError:
            pass
        thread.join()
        resumed += outcome
    assert resumed[0] == "served False"
    assert resumed[1] == "served False" or "resumed a session" in resumed[1]
    with socket.socket() as plain, pytest.raises(ValueError, match="leave `session` out"):
        reader.client_context(ANYBODY).wrap_socket(plain, session=session)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("verify_mode", ssl.CERT_NONE),
        ("verify_flags", ssl.VerifyFlags.VERIFY_DEFAULT),
        ("check_hostname", True),
        ("minimum_version", ssl.TLSVersion.TLSv1_2),
        ("options", ssl.Options.OP_ALL),
        ("keylog_filename", "/tmp/keys"),
    ],
)
def test_a_context_cannot_be_weakened(reader: Workload, name: str, value: object) -> None:
    """What would change nothing inside, or too much, is refused; what is as it was is not."""
    context = reader.client_context(ANYBODY)
    with pytest.raises(AttributeError, match=f"^{name}: a context of agentid.workload is made of"):
        setattr(context, name, value)
    setattr(context, name, getattr(context, name))


@pytest.mark.parametrize(
    "name",
    ["load_cert_chain", "load_verify_locations", "load_default_certs", "set_default_verify_paths"],
)
def test_a_context_loads_nothing_else(reader: Workload, name: str) -> None:
    """Its files are those of the workload."""
    with pytest.raises(AttributeError, match=f"^{name}: a context of agentid.workload is made of"):
        getattr(reader.server_context(ANYBODY), name)()


def test_a_connection_of_another_context_has_no_peer(
    domain: Domain, showing: Callable[[Made], tuple[Context, Context]]
) -> None:
    """Whatever certificate it shows."""
    server, _ = showing(domain.issue("writer"))
    raw = server.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_side=True)
    for each in (raw, None, "spiffe://example.org/x", socket):
        with pytest.raises(PeerRefusedError, match="the peer of this connection is not known"):
            peer_of(each)


def test_a_context_exchanged_for_another_is_seen(
    domain: Domain, showing: Callable[[Made], tuple[Context, Context]], reader: Workload
) -> None:
    """The module ssl lets whoever has a connection exchange its context; ours does not follow."""
    server, _ = showing(domain.issue("writer"))
    connection = reader.server_context(ANYBODY).wrap_bio(
        ssl.MemoryBIO(), ssl.MemoryBIO(), server_side=True
    )
    assert isinstance(connection, CheckedObject)
    connection.context = server
    with pytest.raises(PeerRefusedError, match="was exchanged"):
        _context_of(connection)


@pytest.mark.parametrize("error", [PeerRefusedError("why"), OwnIdentityError("why")])
def test_errors_are_those_of_both(error: Exception) -> None:
    """Event loops end a connection in order for errors of the module ssl."""
    assert isinstance(error, ssl.SSLError)
    assert isinstance(error, AgentIdError)
    assert str(error) == "why"


def test_protocols_of_the_application(way: Way, reader: Workload, writer: Workload) -> None:
    """ALPN is set as on any context, also later, and each connection has what was asked last."""
    server, client = reader.server_context(ANYBODY), writer.client_context(ANYBODY)
    server.set_alpn_protocols(["h2", "http/1.1"])
    for wanted in ("http/1.1", "h2", "http/1.1"):
        client.set_alpn_protocols([wanted])
        assert way(server, client).said == b"HELLO"
        called, caller = in_memory(server, client)
        for _ in range(4):
            for each in (caller, called):
                with suppress(ssl.SSLWantReadError):
                    each.do_handshake()
        assert caller.selected_alpn_protocol() == called.selected_alpn_protocol() == wanted
