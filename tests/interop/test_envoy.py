"""Envoy, as a proxy that agents call and that calls agents, with our bundle and our CRLs."""

from __future__ import annotations

import http.client
import json
import ssl
import subprocess
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.support.api import until
from tests.support.presented import TRUST_DOMAIN, Presented
from tests.support.probing import ports

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_TLS: Final = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3"
_HTTP: Final = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
_HCM: Final = (
    "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3."
    "HttpConnectionManager"
)
SECOND: Final = 1.0

Json = dict[str, Any]


class Proxy:
    """One Envoy: `door` asks callers for certificates, `way_out` calls an agent with mTLS."""

    def __init__(self, shown: Presented, lists: str = "crl.pem", **checks: object) -> None:
        """Write its configuration; the peers that it takes are those of the trust domain."""
        self.shown = shown
        self.door, self.way_out, self.agent = ports(3)
        shown.agent("proxy")
        (shown.folder / "peers.json").write_text(json.dumps(self._peers(lists, **checks)))
        (shown.folder / "envoy.json").write_text(json.dumps(self._bootstrap()))

    def _peers(self, lists: str, **checks: object) -> Json:
        """Whom it trusts; read anew when a file is moved into the folder, as a kubelet does."""
        folder = self.shown.folder
        secret = {
            "@type": f"{_TLS}.Secret",
            "name": "peers",
            "validation_context": {
                "trusted_ca": {"filename": str(folder / "ca.crt")},
                "crl": {"filename": str(folder / lists)},
                "watched_directory": {"path": str(folder)},
                "match_typed_subject_alt_names": [
                    {"san_type": "URI", "matcher": {"prefix": f"spiffe://{TRUST_DOMAIN}/"}}
                ],
                **checks,
            },
        }
        return {"resources": [secret]}

    def _context(self, kind: str, **more: object) -> Json:
        folder = self.shown.folder
        own = {
            "certificate_chain": {"filename": str(folder / "proxy.crt")},
            "private_key": {"filename": str(folder / "proxy.key")},
        }
        source = {"path_config_source": {"path": str(folder / "peers.json")}}
        common = {
            "tls_certificates": [own],
            "validation_context_sds_secret_config": {
                "name": "peers",
                "sds_config": {**source, "resource_api_version": "V3"},
            },
        }
        context = {"@type": f"{_TLS}.{kind}", "common_tls_context": common, **more}
        return {"name": "envoy.transport_sockets.tls", "typed_config": context}

    def _listener(self, port: int, route: Json, **chain: object) -> Json:
        connections = {
            "@type": _HCM,
            "stat_prefix": "test",
            "http_filters": [{"name": "router", "typed_config": {"@type": _HTTP}}],
            "route_config": {
                "virtual_hosts": [
                    {
                        "name": "all",
                        "domains": ["*"],
                        "routes": [{"match": {"prefix": "/"}, **route}],
                        "response_headers_to_add": [
                            {
                                "header": {"key": "x-peer", "value": "%DOWNSTREAM_PEER_URI_SAN%"},
                            }
                        ],
                    }
                ]
            },
        }
        filters = [{"name": "http", "typed_config": connections}]
        return {
            "name": str(port),
            "address": _address(port),
            "filter_chains": [{"filters": filters, **chain}],
        }

    def _bootstrap(self) -> Json:
        asks = self._context(
            "DownstreamTlsContext",
            require_client_certificate=True,
            disable_stateless_session_resumption=True,
            disable_stateful_session_resumption=True,
        )
        agent = {
            "name": "agent",
            "type": "STATIC",
            "connect_timeout": "2s",
            "load_assignment": {
                "cluster_name": "agent",
                "endpoints": [
                    {"lb_endpoints": [{"endpoint": {"address": _address(self.agent)}}]},
                ],
            },
            # A session that is resumed is not verified again (RFC 8446 §2.2).
            "transport_socket": self._context("UpstreamTlsContext", max_session_keys=0),
        }
        answer = {"direct_response": {"status": 200, "body": {"inline_string": "hello"}}}
        return {
            "node": {"id": "proxy", "cluster": "test"},
            "static_resources": {
                "listeners": [
                    self._listener(self.door, answer, transport_socket=asks),
                    self._listener(self.way_out, {"route": {"cluster": "agent"}}),
                ],
                "clusters": [agent],
            },
        }

    @contextmanager
    def running(self) -> Iterator[Proxy]:
        """Run it until the context is left."""
        program = str(files("envoy") / "_bin" / "envoy")
        folder = self.shown.folder
        command = [program, "-c", str(folder / "envoy.json"), "--use-dynamic-base-id"]
        with (folder / "envoy.log").open("wb") as log:
            process = subprocess.Popen(
                [*command, "--concurrency", "1", "-l", "warning"], stdout=log, stderr=log
            )
        try:
            until("Envoy", lambda: self.called() == 503 or process.poll() is not None, 20)
            assert process.poll() is None, (folder / "envoy.log").read_text()[-3000:]
            yield self
        finally:
            process.kill()
            process.wait()

    def calls(self, shown: Presented, name: str) -> str:
        """Call it as an agent; who it takes us for, or why it does not."""
        context = ssl.create_default_context(cafile=self.shown.folder / "ca.crt")
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        context.check_hostname = False
        context.load_cert_chain(shown.folder / f"{name}.crt", shown.folder / f"{name}.key")
        connection = http.client.HTTPSConnection("127.0.0.1", self.door, timeout=5, context=context)
        try:
            connection.request("GET", "/")
            return str(connection.getresponse().headers["x-peer"])
        except OSError as error:
            return str(error)
        finally:
            connection.close()

    def called(self) -> int:
        """Have it call an agent; the status that it answers, 0 while it does not listen."""
        connection = http.client.HTTPConnection("127.0.0.1", self.way_out, timeout=5)
        try:
            connection.request("GET", "/")
            return connection.getresponse().status
        except OSError:
            return 0
        finally:
            connection.close()


def _address(port: int) -> Json:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


class _Hello(BaseHTTPRequestHandler):
    """One request for each connection, as HTTP/1.0 has it, so that each is a handshake."""

    def do_GET(self) -> None:
        """Answer with nothing."""
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class _Quiet(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """A handshake that fails is what some tests are about."""


@contextmanager
def agent_on(port: int, shown: Presented, name: str) -> Iterator[None]:
    """An agent that serves with mTLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(shown.folder / "ca.crt")
    context.load_cert_chain(shown.folder / f"{name}.crt", shown.folder / f"{name}.key")
    with _Quiet(("127.0.0.1", port), _Hello) as server:
        server.socket = context.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """An Envoy that looks every certificate of a chain up."""
    with Proxy(Presented(tmp_path_factory.mktemp("envoy") / "ours")).running() as running:
        yield running


@pytest.fixture
def foreign(tmp_path: Path) -> Presented:
    """The same trust domain by other authorities."""
    made = Presented(tmp_path / "foreign", seed="another")
    made.agent("reader")
    return made


def refuses(proxy: Proxy, shown: Presented, name: str) -> bool:
    """Whether Envoy turns an agent away: by an alert, which the end of the connection may beat."""
    told = proxy.calls(shown, name)
    assert told.startswith("spiffe://") or "alert" in told or "EOF" in told, told
    return not told.startswith("spiffe://")


def test_an_agent_is_taken_for_who_it_is(proxy: Proxy) -> None:
    """Of every shard, with lists for leaf and intermediate at hand."""
    for shard in range(3):
        proxy.shown.agent(f"reader-{shard}", shard=shard)
        assert proxy.calls(proxy.shown, f"reader-{shard}") == proxy.shown.spiffe_id(
            f"reader-{shard}"
        )


def test_a_foreign_agent_is_refused(proxy: Proxy, foreign: Presented) -> None:
    """Of the same name and trust domain, by authorities that are not in the bundle."""
    assert refuses(proxy, foreign, "reader")


def test_a_revoked_agent_is_refused_within_a_second(proxy: Proxy) -> None:
    """Of the new CRL; others of its shard go on."""
    gone = proxy.shown.agent("gone", shard=1)
    proxy.shown.agent("stays", shard=1)
    assert proxy.calls(proxy.shown, "gone") == proxy.shown.spiffe_id("gone")
    proxy.shown.publish(gone)
    began = time.monotonic()
    until("refused", lambda: refuses(proxy, proxy.shown, "gone"), SECOND)
    assert time.monotonic() - began < SECOND
    assert proxy.calls(proxy.shown, "stays") == proxy.shown.spiffe_id("stays")


def test_it_calls_agents(proxy: Proxy, foreign: Presented) -> None:
    """A live one, and neither a foreign one nor, within a second, one that is revoked."""
    server = proxy.shown.agent("server", shard=2)
    with agent_on(proxy.agent, foreign, "reader"):
        assert proxy.called() == 503
    with agent_on(proxy.agent, proxy.shown, "server"):
        assert proxy.called() == 200
        proxy.shown.publish(server)
        began = time.monotonic()
        until("refused", lambda: proxy.called() == 503, SECOND)
        assert time.monotonic() - began < SECOND


def test_without_the_list_of_the_root_it_has_to_be_told(tmp_path: Path) -> None:
    """Envoy wants a CRL for each certificate of a chain, unless only_verify_leaf_cert_crl says no.

    An ephemeral leaf is looked up in no CRL, and is refused by whoever insists on one.
    """
    with Proxy(Presented(tmp_path / "all"), "leaves.pem").running() as proxy:
        proxy.shown.agent("reader")
        assert refuses(proxy, proxy.shown, "reader")
    with Proxy(
        Presented(tmp_path / "leaves"), "leaves.pem", only_verify_leaf_cert_crl=True
    ).running() as proxy:
        proxy.shown.agent("reader")
        assert proxy.calls(proxy.shown, "reader") == proxy.shown.spiffe_id("reader")
        proxy.shown.agent("brief", crl_uri=None, ocsp_uri=None, no_rev_avail=True)
        assert refuses(proxy, proxy.shown, "brief")
