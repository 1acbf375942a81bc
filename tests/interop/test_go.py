"""Go's crypto/x509 accepts our certificates, and acts on our lists and answers."""

from __future__ import annotations

import json
import subprocess
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from agentid.identity import RevocationReason, Validity
from agentid.pki import KeyAlgorithm
from agentid.pki.ocsp import CertState, OcspQuestion, OcspResponder, Revoked
from agentid.pki.ocsp_request import issuer_hashes
from agentid.pki.ocsp_signer import make_ocsp_responder, responder_key_algorithm
from agentid.pki.oids import AUTHORIZATION, class_policy_oid
from e2e.toolchain import goverify
from tests.support.presented import BASE, Presented

if TYPE_CHECKING:
    from pathlib import Path

    from agentid.pki.ocsp import OcspStatus
    from agentid.testing.ca import Issued

# crypto/x509 of Go 1.26 knows no ML-DSA.
ALGORITHMS = [each for each in KeyAlgorithm if not each.startswith("MLDSA")]
HOUR = timedelta(hours=1)


def verify(shown: Presented, name: str, *options: str) -> dict[str, Any]:
    """What Go finds."""
    files = ["-chain", f"{name}.crt", "-bundle", "ca.crt"]
    done = subprocess.run(
        [goverify(), "verify", *files, *options],
        cwd=shown.folder, capture_output=True, text=True, check=True,
    )  # fmt: skip
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture
def shown(tmp_path: Path) -> Presented:
    """A trust domain."""
    return Presented(tmp_path)


@pytest.mark.parametrize("usage", ["client", "server"])
def test_a_leaf_with_everything_is_accepted(shown: Presented, usage: str) -> None:
    """In both roles; whatever it says is read as it was meant, the authorization left aside."""
    shown.agent("reader", shard=2)
    found = verify(shown, "reader", "-usage", usage, "-crl", "crl.pem")
    assert found["error"] == ""
    assert found["spiffeID"] == shown.spiffe_id("reader")
    assert found["policies"] == [class_policy_oid("assistant")]
    assert found["crlDistributionPoints"] == [shown.uri(2)]
    assert found["ocspServers"] == [f"{BASE}/ocsp"]
    assert found["caIssuers"] == [f"{BASE}/ca/0011223344556677.crt"]
    assert found["otherExtensions"] == [AUTHORIZATION]
    assert len(found["path"]) == 3


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_authority_is_accepted(algorithm: KeyAlgorithm, tmp_path: Path) -> None:
    """With its lists, for each algorithm of an authority."""
    shown = Presented(tmp_path, algorithm=algorithm)
    shown.agent("reader", algorithm=KeyAlgorithm.ECDSAP256)
    assert verify(shown, "reader", "-crl", "crl.pem")["error"] == ""


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_leaf_is_accepted(algorithm: KeyAlgorithm, shown: Presented) -> None:
    """For each algorithm of an agent's key."""
    shown.agent("reader", algorithm=algorithm)
    assert verify(shown, "reader", "-crl", "crl.pem")["error"] == ""


def test_an_ephemeral_leaf_is_accepted(shown: Presented) -> None:
    """It says noRevAvail, and has nothing to be looked up by."""
    shown.agent("reader", crl_uri=None, ocsp_uri=None, no_rev_avail=True)
    found = verify(shown, "reader")
    assert (found["error"], found["crlDistributionPoints"]) == ("", None)
    assert "2.5.29.56" in found["otherExtensions"]


def test_a_critical_authorization_is_refused_by_who_does_not_know_it(shown: Presented) -> None:
    """That is what a class asks for that makes it critical (RFC 5280 §4.2)."""
    shown.agent("reader", authorization_critical=True)
    assert verify(shown, "reader")["error"] == "x509: unhandled critical extension"


def test_a_foreign_chain_is_refused(shown: Presented, tmp_path: Path) -> None:
    """Another authority under the same name."""
    other = Presented(tmp_path / "other", seed="another")
    other.agent("reader")
    (other.folder / "ca.crt").write_bytes(shown.ca.bundle.pem)
    assert "certificate signed by unknown authority" in verify(other, "reader")["error"]


def test_an_expired_leaf_is_refused(shown: Presented) -> None:
    """A second after its notAfter."""
    at = shown.agent("reader").leaf.validity.not_after
    stamp = "%Y-%m-%dT%H:%M:%SZ"
    assert verify(shown, "reader", "-at", at.strftime(stamp))["error"] == ""
    late = (at + timedelta(seconds=1)).strftime(stamp)
    assert "has expired" in verify(shown, "reader", "-at", late)["error"]


def test_a_revoked_leaf_is_refused_by_its_list(shown: Presented) -> None:
    """And another of the same shard is not."""
    revoked = shown.agent("reader", shard=1)
    shown.agent("writer", shard=1)
    shown.publish(revoked)
    found = verify(shown, "reader", "-crl", "crl.pem")["error"]
    assert found == f"{revoked.leaf.certificate.subject.rfc4514_string()} is revoked for reason 1"
    assert verify(shown, "writer", "-crl", "crl.pem")["error"] == ""


def test_a_revoked_intermediate_is_refused_by_the_list_of_its_root(shown: Presented) -> None:
    """And everything below it."""
    shown.agent("reader")
    shown.publish(intermediate=True)
    assert "is revoked for reason 2" in verify(shown, "reader", "-crl", "crl.pem")["error"]
    assert "no CRL is about it" in verify(shown, "reader", "-crl", "leaves.pem")["error"]


def test_an_overdue_list_is_refused(shown: Presented) -> None:
    """It says nothing about today."""
    shown.agent("reader")
    shown.publish(age=2 * HOUR)
    assert "its CRL is not of this time" in verify(shown, "reader", "-crl", "crl.pem")["error"]


def answer(shown: Presented, issued: Issued, status: OcspStatus) -> None:
    """Write what a responder with a delegated key says of a leaf."""
    ca = shown.ca
    made = make_ocsp_responder(
        ca.authority,
        ca.key("ocsp", responder_key_algorithm(ca.authority.algorithm)),
        Validity.of(shown.now, timedelta(days=7), timedelta(minutes=1)),
        ca.serial(),
    )
    responder = OcspResponder(ca.intermediate.certificate, made.certificate, made.private_key)
    name, key = issuer_hashes(ca.intermediate.certificate)["sha1"]
    question = OcspQuestion("sha1", name, key, issued.leaf.serial, None)
    der = responder.answer(question, status, shown.now, shown.now + HOUR, shown.now)
    (shown.folder / "ocsp.der").write_bytes(der)


@pytest.mark.parametrize(
    ("status", "told", "error"),
    [
        pytest.param(CertState.GOOD, "good", "", id="good"),
        pytest.param(CertState.UNKNOWN, "unknown", "unknown to the responder", id="unknown"),
    ],
)
def test_an_answer_is_believed(shown: Presented, status: CertState, told: str, error: str) -> None:
    """By golang.org/x/crypto/ocsp, which checks the delegate's certificate and signature."""
    answer(shown, shown.agent("reader"), status)
    found = verify(shown, "reader", "-ocsp", "ocsp.der")
    assert (found["ocsp"], found["error"]) == (told, error)
    assert found["ocspResponder"] != ""


def test_a_revoked_leaf_is_refused_by_an_answer(shown: Presented) -> None:
    """With time and reason."""
    issued = shown.agent("reader")
    answer(shown, issued, Revoked(shown.now, RevocationReason.SUPERSEDED))
    found = verify(shown, "reader", "-ocsp", "ocsp.der")
    assert found["ocsp"] == "revoked"
    assert found["error"] == f"revoked at {shown.now:%Y-%m-%dT%H:%M:%SZ} for reason 4"


def test_an_answer_about_another_leaf_is_refused(shown: Presented) -> None:
    """It is for one serial."""
    answer(shown, shown.agent("writer"), CertState.GOOD)
    shown.agent("reader")
    found = verify(shown, "reader", "-ocsp", "ocsp.der")["error"]
    assert "no response matching the supplied certificate" in found
