"""OpenSSL, the verifier most peers have, acts on our lists and answers."""

from __future__ import annotations

import dataclasses
import subprocess
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Final

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from agentid.identity import RevocationReason, SerialNumber, Validity
from agentid.pki import Authority, KeyAlgorithm, LocalSigner
from agentid.pki.crl import CrlEntry, crl_pem, make_crl
from agentid.pki.ocsp import CertIdTable, CertState, OcspResponder, Revoked, parse_request
from agentid.pki.ocsp_http import OCSP_RESPONSE_TYPE
from agentid.pki.ocsp_signer import make_ocsp_responder, responder_key_algorithm
from agentid.testing.ca import ThrowawayCA

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from cryptography import x509

    from agentid.pki.ocsp import OcspStatus

# OpenSSL knows ML-DSA from 3.5 on.
ALGORITHMS = [each for each in KeyAlgorithm if not each.startswith("MLDSA")]
PRESENT: Final = datetime.now(UTC).replace(microsecond=0)  # `openssl ocsp` cannot be told another
HOUR: Final = timedelta(hours=1)
BASE: Final = "http://agentid-responder.agentid-system.svc/crl/0011223344556677"


@pytest.fixture(scope="module")
def authorities() -> dict[KeyAlgorithm, ThrowawayCA]:
    """A CA of each algorithm, valid now."""
    return {algorithm: ThrowawayCA(algorithm=algorithm, now=PRESENT) for algorithm in ALGORITHMS}


@pytest.fixture(scope="module")
def ca(authorities: dict[KeyAlgorithm, ThrowawayCA]) -> ThrowawayCA:
    """The one whose leaves are revoked."""
    return authorities[KeyAlgorithm.ECDSAP256]


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """OpenSSL, in a folder of files."""
    return subprocess.run(
        ["openssl", *command], cwd=folder, capture_output=True, text=True, check=False
    )


def in_shard(ca: ThrowawayCA, shard: int) -> x509.Certificate:
    """A leaf that can be looked up in this shard."""
    return ca.issue(ca.profile(crl_uri=f"{BASE}/{shard}.crl")).leaf.certificate


def shard_of(
    ca: ThrowawayCA, shard: int, *revoked: x509.Certificate, at: datetime = PRESENT
) -> bytes:
    """A shard in PEM."""
    entries = [
        CrlEntry(SerialNumber(each.serial_number), at, RevocationReason.KEY_COMPROMISE)
        for each in revoked
    ]
    uri = f"{BASE}/{shard}.crl"
    return crl_pem(make_crl(ca.authority, entries, 1, at, at + HOUR, uri))


def root_list(ca: ThrowawayCA, *revoked: x509.Certificate) -> bytes:
    """The list of the root in PEM."""
    root = ca.root.certificate
    authority = Authority(ca.trust_domain, (root,), root, LocalSigner(ca.root.private_key))
    entries = [CrlEntry(SerialNumber(each.serial_number), PRESENT) for each in revoked]
    return crl_pem(make_crl(authority, entries, 1, PRESENT, PRESENT + HOUR))


def verify(
    folder: Path,
    ca: ThrowawayCA,
    leaf: x509.Certificate,
    lists: Sequence[bytes],
    *options: str,
) -> str:
    """What `openssl verify` objects to; empty if it accepts."""
    (folder / "root.pem").write_bytes(ca.bundle.pem)
    (folder / "chain.pem").write_bytes(ca.authority.chain_pem)
    (folder / "leaf.pem").write_bytes(leaf.public_bytes(Encoding.PEM))
    (folder / "lists.pem").write_bytes(b"".join(lists))
    files = ["-CAfile", "root.pem", "-untrusted", "chain.pem", "-CRLfile", "lists.pem"]
    result = run(folder, "verify", "-x509_strict", *options, *files, "leaf.pem")
    assert (result.returncode == 0) == (not result.stderr), result
    return result.stderr


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_list_verifies(
    algorithm: KeyAlgorithm, authorities: dict[KeyAlgorithm, ThrowawayCA], tmp_path: Path
) -> None:
    """`openssl crl -verify` finds the signature good, for authorities of every algorithm."""
    ca = authorities[algorithm]
    (tmp_path / "issuing.pem").write_bytes(ca.authority.chain_pem)
    (tmp_path / "list.pem").write_bytes(shard_of(ca, 0, ca.issue().leaf.certificate))
    result = run(
        tmp_path, "crl", "-verify", "-in", "list.pem", "-CAfile", "issuing.pem", "-noout", "-text"
    )
    assert (result.returncode, result.stderr) == (0, "verify OK\n")
    assert "Only User Certificates" in result.stdout
    assert "Key Compromise" in result.stdout


def test_several_shards_of_one_authority_are_told_apart(ca: ThrowawayCA, tmp_path: Path) -> None:
    """With all shards at hand, each leaf is looked up in its own."""
    good, revoked, other = in_shard(ca, 0), in_shard(ca, 0), in_shard(ca, 1)
    shards = [shard_of(ca, 0, revoked), shard_of(ca, 1), shard_of(ca, 2, good, other)]
    for order in (shards, shards[::-1]):
        assert verify(tmp_path, ca, good, order, "-crl_check") == ""
        assert verify(tmp_path, ca, other, order, "-crl_check") == ""
        assert "certificate revoked" in verify(tmp_path, ca, revoked, order, "-crl_check")


def test_without_its_shard_a_leaf_is_refused(ca: ThrowawayCA, tmp_path: Path) -> None:
    """The shard of another leaf does not do, so a withheld shard hides no revocation."""
    leaf = in_shard(ca, 0)
    assert "different CRL scope" in verify(tmp_path, ca, leaf, [shard_of(ca, 1)], "-crl_check")


def test_an_overdue_list_is_refused(ca: ThrowawayCA, tmp_path: Path) -> None:
    """A list whose successor is due no longer says that a certificate is good."""
    leaf = in_shard(ca, 0)
    old = shard_of(ca, 0, at=PRESENT - 2 * HOUR)
    assert "CRL has expired" in verify(tmp_path, ca, leaf, [old], "-crl_check")


def test_the_whole_chain_is_checked_with_the_list_of_the_root(
    ca: ThrowawayCA, tmp_path: Path
) -> None:
    """`-crl_check_all` wants a list for the intermediate as well, and acts on it."""
    leaf, shard = in_shard(ca, 0), shard_of(ca, 0)
    assert verify(tmp_path, ca, leaf, [shard, root_list(ca)], "-crl_check_all") == ""
    revoked = root_list(ca, ca.intermediate.certificate)
    assert "certificate revoked" in verify(tmp_path, ca, leaf, [shard, revoked], "-crl_check_all")
    assert "unable to get certificate CRL" in verify(tmp_path, ca, leaf, [shard], "-crl_check_all")


def ask(folder: Path, ca: ThrowawayCA, leaf: x509.Certificate, *options: str) -> bytes:
    """A question from `openssl ocsp`."""
    (folder / "root.pem").write_bytes(ca.bundle.pem)
    (folder / "issuing.pem").write_bytes(ca.authority.chain_pem)
    (folder / "leaf.pem").write_bytes(leaf.public_bytes(Encoding.PEM))
    files = ["-issuer", "issuing.pem", *options, "-cert", "leaf.pem", "-reqout", "request.der"]
    result = run(folder, "ocsp", *files)
    assert result.returncode == 0, result
    return (folder / "request.der").read_bytes()


def hear(folder: Path, answer: bytes, *options: str) -> subprocess.CompletedProcess[str]:
    """What `openssl ocsp` makes of the answer to its question, whose nonce it is to leave alone."""
    (folder / "answer.der").write_bytes(answer)
    files = ["-reqin", "request.der", "-respin", "answer.der", "-CAfile", "root.pem"]
    about = ["-verify_other", "issuing.pem", "-issuer", "issuing.pem", *options]
    return run(folder, "ocsp", "-no_nonce", *files, *about, "-cert", "leaf.pem")


def responder_of(ca: ThrowawayCA) -> OcspResponder:
    """A responder with a delegated key."""
    made = make_ocsp_responder(
        ca.authority,
        ca.key("ocsp", responder_key_algorithm(ca.authority.algorithm)),
        Validity.of(PRESENT, timedelta(days=7), timedelta(minutes=1)),
        ca.serial(),
    )
    return OcspResponder(ca.intermediate.certificate, made.certificate, made.private_key)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_answer_verifies(
    algorithm: KeyAlgorithm, authorities: dict[KeyAlgorithm, ThrowawayCA], tmp_path: Path
) -> None:
    """OpenSSL's question is understood and its verification succeeds, nonce included."""
    ca = authorities[algorithm]
    question = parse_request(ask(tmp_path, ca, ca.issue().leaf.certificate))
    assert question.nonce is not None
    table = CertIdTable([ca.root.certificate, ca.intermediate.certificate])
    assert table.find(question) == ca.intermediate.certificate
    answer = responder_of(ca).answer(question, CertState.GOOD, PRESENT, PRESENT + HOUR, PRESENT)
    result = hear(tmp_path, answer)
    assert result.returncode == 0
    assert result.stderr == "Response verify OK\n"
    assert result.stdout.startswith("leaf.pem: good\n")


@pytest.mark.parametrize(
    ("status", "words"),
    [
        pytest.param(CertState.UNKNOWN, ["leaf.pem: unknown"], id="unknown"),
        pytest.param(
            Revoked(PRESENT, RevocationReason.KEY_COMPROMISE),
            ["leaf.pem: revoked", "Reason: keyCompromise", "Revocation Time: "],
            id="revoked",
        ),
        pytest.param(Revoked(PRESENT), ["leaf.pem: revoked"], id="unspecified"),
    ],
)
@pytest.mark.parametrize("digest", ["-sha1", "-sha256", "-sha384", "-sha512"])
def test_statuses_arrive(
    digest: str, status: OcspStatus, words: list[str], ca: ThrowawayCA, tmp_path: Path
) -> None:
    """Each status, asked for by each hash, without a nonce."""
    question = parse_request(ask(tmp_path, ca, ca.issue().leaf.certificate, "-no_nonce", digest))
    assert question.hash_algorithm == digest.removeprefix("-")
    answer = responder_of(ca).answer(question, status, PRESENT, PRESENT + HOUR, PRESENT)
    result = hear(tmp_path, answer, digest)
    assert "Response verify OK" in result.stderr
    for word in words:
        assert word in result.stdout


@contextmanager
def serving(respond: Callable[[bytes], bytes]) -> Iterator[str]:
    """The URL of a server that answers each POST; with files, OpenSSL does not look at nonces."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            answer = respond(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Type", OCSP_RESPONSE_TYPE)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/ocsp"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("repeat", "words"),
    [
        pytest.param(True, "Response verify OK\n", id="repeated"),
        pytest.param(False, "Nonce Verify error\n", id="another"),
    ],
)
def test_the_nonce_protects(*, repeat: bool, words: str, ca: ThrowawayCA, tmp_path: Path) -> None:
    """OpenSSL accepts the answer that repeats its nonce, and no other."""
    responder = responder_of(ca)

    def respond(request: bytes) -> bytes:
        question = parse_request(request)
        nonce = question.nonce if repeat else b"another"
        question = dataclasses.replace(question, nonce=nonce)
        return responder.answer(question, CertState.GOOD, PRESENT, PRESENT + HOUR, PRESENT)

    ask(tmp_path, ca, ca.issue().leaf.certificate)
    with serving(respond) as url:
        files = ["-CAfile", "root.pem", "-issuer", "issuing.pem", "-verify_other", "issuing.pem"]
        result = run(tmp_path, "ocsp", "-url", url, *files, "-cert", "leaf.pem")
    assert result.stderr == words


def test_an_altered_answer_is_refused(ca: ThrowawayCA, tmp_path: Path) -> None:
    """What another status was written into does not verify."""
    question = parse_request(ask(tmp_path, ca, ca.issue().leaf.certificate))
    good = responder_of(ca).answer(question, CertState.GOOD, PRESENT, PRESENT + HOUR, PRESENT)
    altered = good.replace(b"\x80\x00\x18", b"\x82\x00\x18")
    assert altered != good
    assert "Response Verify Failure" in hear(tmp_path, altered).stderr


def test_an_answer_is_that_of_its_authority(ca: ThrowawayCA, tmp_path: Path) -> None:
    """A delegate of another authority under the same trust domain is not believed."""
    stranger = ThrowawayCA(algorithm=KeyAlgorithm.ECDSAP256, now=PRESENT, seed="stranger")
    leaf = stranger.issue().leaf.certificate
    question = parse_request(ask(tmp_path, stranger, leaf))
    answer = responder_of(stranger).answer(
        question, CertState.GOOD, PRESENT, PRESENT + HOUR, PRESENT
    )
    assert "Response verify OK" in hear(tmp_path, answer).stderr
    (tmp_path / "root.pem").write_bytes(ca.bundle.pem)
    assert "Response Verify Failure" in hear(tmp_path, answer).stderr
