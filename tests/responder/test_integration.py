"""`agentid responder` as its own ServiceAccount, on a real API server, with real clients."""

from __future__ import annotations

import base64
import json
import ssl
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from agentid.clock import SystemClock
from agentid.identity.revocation import RevocationReason
from agentid.ledger import Revoked
from agentid.ledger.naming import segment_name
from agentid.ledger.records import encode_record
from agentid.ledger.segment import Header, seal
from agentid.pki import KeyAlgorithm
from agentid.pki.crl import CrlEntry
from agentid.testing.ca import ThrowawayCA
from agentid.testing.ledger import make_issued
from agentid.testing.publications import Published, secret
from e2e.install import SERVICE_ACCOUNT, openssl, responder
from tests.support.api import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agentid.ledger import Record
    from e2e.install import Operator
    from e2e.providers import Cluster

pytestmark = pytest.mark.integration

SYSTEM = "agentid-system"
CONTROLLER = f"system:serviceaccount:{SYSTEM}:{SERVICE_ACCOUNT}"
CERTIFICATES = 3


def events(started: Operator) -> list[dict[str, Any]]:
    """What it has logged."""
    found = []
    for line in started.log.read_text().splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def value_of(started: Operator, event: str, key: str) -> Any:  # noqa: ANN401 - as it was logged
    """The latest value of a key of an event, None if there was none."""
    return next((one[key] for one in reversed(events(started)) if one.get("event") == event), None)


def fetch(url: str, context: ssl.SSLContext | None = None) -> tuple[int, bytes]:
    """Status and body."""
    try:
        with urlopen(url, timeout=10, context=context) as answer:
            return answer.status, answer.read()
    except HTTPError as error:
        with error:
            return error.code, error.read()
    except (URLError, ConnectionError):
        return 0, b""


@dataclass(frozen=True, slots=True)
class Site:
    """What an operator would publish, put into the cluster by hand.

    Attributes:
        cluster: Where.
        main: What.
        writer: Of the chain of segments that the test writes.
    """

    cluster: Cluster
    main: Published
    writer: str

    def apply(self, body: dict[str, object], *, user: str = "") -> None:
        """Create or replace an object."""
        as_user = ("--as", user) if user else ()
        verb = ("apply", "--server-side", "--force-conflicts", "-f", "-")
        self.cluster.kubectl(*as_user, *verb, stdin=json.dumps(body))

    def record(self, sequence: int, previous: str | None, *records: Record) -> str:
        """Write a segment as the controller does; its hash."""
        revokes = [record.serial for record in records if isinstance(record, Revoked)]
        header = Header(self.writer, sequence, previous, SystemClock().now(), (), ())
        sealed = seal(header, [encode_record(record) for record in records], revokes)
        body = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "namespace": SYSTEM,
                "name": segment_name(self.writer, sequence),
                "labels": {"agentid.dev/ledger": "segment"},
            },
            "immutable": True,
            "data": {"segment.jsonl": sealed.data.decode()},
        }
        done = self.cluster.kubectl("--as", CONTROLLER, "create", "-f", "-", stdin=json.dumps(body))
        assert done.returncode == 0, done.stderr
        return sealed.hash


@pytest.fixture(scope="module")
def site(installed: Cluster) -> Iterator[Site]:
    """An issuer's publications and certificates on the ledger, removed afterwards."""
    now = SystemClock().now().replace(microsecond=0)
    ca = ThrowawayCA("responder.example", now=now, algorithm=KeyAlgorithm.ECDSAP256)
    made = Site(
        installed, Published(ca, "responder-test"), f"responder-test-{int(now.timestamp())}"
    )
    # An operator that ran before has left these.
    without_secret = ("delete", "secret", "agentid-responder", "--ignore-not-found")
    installed.kubectl("-n", SYSTEM, *without_secret)
    published = ("configmaps", "-l", "agentid.dev/publication=bundle", "--ignore-not-found")
    installed.kubectl("-n", SYSTEM, "delete", *published)
    yield made
    label = "agentid.dev/issuer=responder-test"
    installed.kubectl("-n", SYSTEM, "delete", "configmaps", "-l", label, "--ignore-not-found")
    installed.kubectl("-n", SYSTEM, *without_secret)
    for sequence in range(1, 10):
        installed.kubectl(
            "--as", CONTROLLER, "-n", SYSTEM, "delete", "configmap", "--ignore-not-found",
            segment_name(made.writer, sequence),
        )  # fmt: skip


@contextmanager
def started(site: Site, name: str) -> Iterator[tuple[Operator, str]]:
    """A responder that serves HTTP; it and its base URL."""
    with responder(site.cluster, name) as running:
        until("HTTP", lambda: value_of(running, "http_serving", "port"))
        yield running, f"http://127.0.0.1:{value_of(running, 'http_serving', 'port')}"


def ready(running: Operator) -> tuple[int, str]:
    """What `/readyz` says."""
    until("probes", lambda: value_of(running, "responder_started", "probes"))
    port = value_of(running, "responder_started", "probes")
    status, body = fetch(f"http://127.0.0.1:{port}/readyz")
    return status, body.decode()


def ask(site: Site, url: str, tmp_path: Path, certificate: bytes) -> str:
    """What `openssl ocsp` says about a certificate."""
    ca = site.main.ca
    for name, content in (
        ("leaf.pem", certificate),
        ("ca.pem", ca.bundle.pem),
        ("issuing.pem", ca.authority.chain_pem),
    ):
        (tmp_path / name).write_bytes(content)
    done = subprocess.run(
        [
            openssl(), "ocsp", "-url", f"{url}/ocsp", "-issuer", "issuing.pem", "-cert", "leaf.pem",
            "-CAfile", "ca.pem", "-verify_other", "issuing.pem",
        ],
        cwd=tmp_path, check=False, capture_output=True, text=True,
    )  # fmt: skip
    return done.stdout + done.stderr


def test_a_life_of_a_responder(site: Site, tmp_path: Path) -> None:
    """Nothing is there; everything is published; one is revoked; it stops in order."""
    main, ca = site.main, site.main.ca
    leaves = [ca.issue(ca.profile(f"agent-{number}")).leaf for number in range(CERTIFICATES)]
    records = [
        make_issued(
            leaf.serial.value,
            issuer=main.issuer,
            authority=main.authority_id,
            not_before=leaf.validity.not_before,
            not_after=leaf.validity.not_after,
            issued_at=ca.now,
        )
        for leaf in leaves
    ]
    with started(site, "responder-life") as (running, url):
        until("ready with nothing to serve", lambda: ready(running)[0] == 200)
        assert "no issuer publishes anything yet" in ready(running)[1]
        previous = site.record(1, None, *records)
        site.apply(main.bundle())
        until("not ready", lambda: "HTTPS has no certificate yet" in ready(running)[1])
        assert ready(running)[0] == 503
        for body in (main.crl(0), main.crl(None), secret(main)):
            site.apply(body)
        until("ready", lambda: ready(running)[0] == 200)

        crl = f"{url}/crl/{main.authority_id}/0.crl"
        until("the CRL", lambda: fetch(crl)[0] == 200)
        until("good", lambda: "leaf.pem: good" in ask(site, url, tmp_path, leaves[0].chain_pem))

        context = ssl.create_default_context(cadata=ca.bundle.pem.decode())
        context.check_hostname = False
        https = f"https://127.0.0.1:{value_of(running, 'https_serving', 'port')}"
        status, bundle = fetch(f"{https}/bundle/responder.example", context)
        assert (status, json.loads(bundle)["spiffe_sequence"]) == (200, 1)

        feed = Request(f"{https}/feed/{main.issuer}", headers={"Accept": "application/jsonl"})
        with urlopen(feed, timeout=10, context=context) as stream:
            kinds = [json.loads(stream.readline())["type"] for _ in range(2)]
            assert kinds == ["reset", "synced"]
            bad = leaves[0]
            revoked = Revoked(
                bad.serial, RevocationReason.KEY_COMPROMISE, SystemClock().now(),
                bad.validity.not_after, "a test",
            )  # fmt: skip
            site.record(2, previous, revoked)
            began = time.monotonic()
            event = json.loads(stream.readline())
            assert (event["type"], event["serial"]) == ("revoked", str(bad.serial))
            answer = ask(site, url, tmp_path, bad.chain_pem)
            assert time.monotonic() - began < 1
            assert "leaf.pem: revoked" in answer
            assert "keyCompromise" in answer
        assert "leaf.pem: good" in ask(site, url, tmp_path, leaves[1].chain_pem)

        entry = CrlEntry(bad.serial, ca.now, RevocationReason.KEY_COMPROMISE)
        before = fetch(crl)[1]
        site.apply(main.crl(0, [entry], number=2))
        until("the new CRL", lambda: fetch(crl)[1] != before)

        assert running.stop() == 0
    told = [one["event"] for one in events(running)]
    assert told[-1] == "responder_stopped"
    assert "request_failed" not in told


def test_replicas_say_the_same(site: Site) -> None:
    """Two processes, the same bytes of every CRL, and OCSP answers that agree on their times."""
    site.apply(site.main.bundle())
    site.apply(site.main.crl(1))
    site.apply(secret(site.main))
    with started(site, "replica-1") as (one, first), started(site, "replica-2") as (two, second):
        until("ready", lambda: ready(one)[0] == ready(two)[0] == 200)
        crl = f"/crl/{site.main.authority_id}/1.crl"
        until("the CRL", lambda: fetch(first + crl)[0] == fetch(second + crl)[0] == 200)
        assert fetch(first + crl) == fetch(second + crl)
        authority = site.main.ca.intermediate.certificate
        request = (
            ocsp.OCSPRequestBuilder()
            .add_certificate(site.main.ocsp.certificate, authority, hashes.SHA256())
            .build()
            .public_bytes(Encoding.DER)
        )
        path = "/ocsp/" + base64.b64encode(request).decode().replace("/", "%2F")
        answers = [ocsp.load_der_ocsp_response(fetch(base + path)[1]) for base in (first, second)]
    assert abs(answers[0].this_update_utc - answers[1].this_update_utc) <= timedelta(seconds=60)
    assert {answer.certificate_status for answer in answers} == {ocsp.OCSPCertStatus.UNKNOWN}
