"""A running operator makes the webhook's certificate, and the API server believes it."""

from __future__ import annotations

import base64
import contextlib
import http.server
import json
import ssl
import threading
from typing import TYPE_CHECKING, Any

import pytest

from e2e.chart import rendered
from e2e.install import NAMESPACE
from tests.helm.conftest import of_kind
from tests.support.api import until
from tests.support.pods import identity_volume, pod

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from e2e.install import Operator
    from e2e.providers import Cluster

pytestmark = pytest.mark.integration

Json = dict[str, Any]
HOOKS = "mutatingwebhookconfiguration"


class Reviews(http.server.BaseHTTPRequestHandler):
    """Lets every pod through, and leaves a mark on it."""

    def do_POST(self) -> None:
        """Answer a review."""
        review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        mark = [{"op": "add", "path": "/metadata/labels/seen", "value": "yes"}]
        answer = {
            "uid": review["request"]["uid"], "allowed": True, "patchType": "JSONPatch",
            "patch": base64.b64encode(json.dumps(mark).encode()).decode(),
        }  # fmt: skip
        body = json.dumps({"apiVersion": review["apiVersion"], "kind": "AdmissionReview",
                           "response": answer}).encode()  # fmt: skip
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def serving(cluster: Cluster, folder: Path) -> Iterator[int]:
    """A webhook with the certificate that is in the Secret now; the port it listens on."""
    files = secret(cluster)
    for name in ("tls.crt", "tls.key"):
        (folder / name).write_bytes(files[name])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Reviews)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def secret(cluster: Cluster) -> dict[str, bytes]:
    """The files of the webhook's Secret, none if it is not there."""
    get = ("get", "secret", "agentid-admission", "-n", NAMESPACE, "-o", "json")
    done = cluster.kubectl(*get, check=False)
    data = json.loads(done.stdout)["data"] if done.returncode == 0 else {}
    return {name: base64.b64decode(content) for name, content in data.items()}


def bundle(cluster: Cluster) -> bytes:
    """The caBundle of the configuration."""
    told = cluster.kubectl("get", HOOKS, "agentid-pods", "-o", "json").stdout
    (hook,) = json.loads(told)["webhooks"]
    return base64.b64decode(hook["clientConfig"].get("caBundle", ""))


@pytest.fixture
def configured(running: Operator, installed: Cluster) -> Iterator[Cluster]:
    """The webhook configuration of the chart beside a running operator."""
    assert running.process.poll() is None
    body = of_kind(rendered(), "MutatingWebhookConfiguration", "agentid-pods")
    installed.kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(body))
    yield installed
    installed.kubectl("delete", HOOKS, "agentid-pods")
    installed.kubectl("delete", "service", "agentid-admission", "-n", NAMESPACE,
                      "--ignore-not-found")  # fmt: skip


def test_the_api_server_believes_the_webhook_and_no_other(
    configured: Cluster, make_namespace: Callable[[], str], tmp_path: Path
) -> None:
    """By Go's own verification, under the name of the Service."""
    until("the certificate", lambda: secret(configured))
    until("its trust", lambda: bundle(configured) == secret(configured)["ca.crt"])
    home = make_namespace()
    account = ("get", "serviceaccount", "default", "-n", home)
    until("the ServiceAccount", lambda: not configured.kubectl(*account, check=False).returncode)
    with serving(configured, tmp_path) as port:
        # Without a node nothing routes to the address of a Service; a name of DNS does instead.
        service = {
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "agentid-admission", "namespace": NAMESPACE},
            "spec": {"type": "ExternalName", "externalName": "localhost"},
        }  # fmt: skip
        configured.kubectl("create", "-f", "-", stdin=json.dumps(service))
        here = [
            {"op": "replace", "path": "/webhooks/0/clientConfig/service/port", "value": port},
            {"op": "replace", "path": "/webhooks/0/failurePolicy", "value": "Fail"},
        ]
        patch = ("patch", HOOKS, "agentid-pods", "--type=json", "-p", json.dumps(here))
        configured.kubectl(*patch)
        body = json.dumps(pod(home, volumes=[identity_volume()]))
        create = ("create", "--dry-run=server", "-o", "json", "-f", "-")

        def seen() -> bool:
            done = configured.kubectl(*create, stdin=body, check=False)
            return '"seen": "yes"' in done.stdout

        until("the API server to believe it", seen)
        stranger = [{"op": "replace", "path": "/webhooks/0/clientConfig/caBundle", "value": "Cg=="}]
        take_away = ("patch", HOOKS, "agentid-pods", "--type=json", "-p", json.dumps(stranger))
        configured.kubectl(*take_away)
        until("the operator to mend it", lambda: bundle(configured), 15)
        until("the API server to believe it again", seen)


def test_an_upgrade_that_takes_the_bundle_away_is_mended(configured: Cluster) -> None:
    """Within 15 seconds; nothing else of the configuration is the operator's."""
    until("the bundle", lambda: bundle(configured))
    body = of_kind(rendered(), "MutatingWebhookConfiguration", "agentid-pods")
    # As Helm 3 and `kubectl replace` do; server-side apply leaves fields of others alone.
    configured.kubectl("replace", "-f", "-", stdin=json.dumps(body))
    until("the operator to mend it", lambda: bundle(configured), 15)
    assert bundle(configured) == secret(configured)["ca.crt"]
    show = ("get", HOOKS, "agentid-pods", "-o", "json", "--show-managed-fields")
    told = json.loads(configured.kubectl(*show).stdout)
    (ours,) = [
        each["fieldsV1"]
        for each in told["metadata"]["managedFields"]
        if each["manager"] == "agentid"
    ]
    hook = 'k:{"name":"pods.agentid.dev"}'
    assert ours == {"f:webhooks": {hook: {"f:clientConfig": {"f:caBundle": {}}}}}


def test_server_side_apply_leaves_the_bundle_where_it_is(configured: Cluster) -> None:
    """As Helm 4, Flux and Argo CD apply it: no conflict, and nothing is taken away."""
    until("the bundle", lambda: bundle(configured))
    before = bundle(configured)
    body = of_kind(rendered(), "MutatingWebhookConfiguration", "agentid-pods")
    body["webhooks"][0]["timeoutSeconds"] = 5
    configured.kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(body))
    assert bundle(configured) == before
