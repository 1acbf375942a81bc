"""`python -m bench.revocation_bytes`: what lists and OCSP answers cost as bytes, on one core.

Nothing is served and nothing is written: the figures are those of `agentid.pki` alone. They are
seconds of CPU, so that other processes on the machine count little.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import OCSPNonce, ocsp

from agentid.errors import InputError
from agentid.identity import RevocationReason, SerialNumber, Validity
from agentid.pki import KeyAlgorithm
from agentid.pki.crl import CrlEntry, make_crl, read_crl, verify_crl
from agentid.pki.ocsp import CertIdTable, CertState, OcspResponder, parse_request
from agentid.pki.ocsp_signer import make_ocsp_responder, responder_key_algorithm
from agentid.testing.ca import NOON, ThrowawayCA

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["Figure", "crl_figures", "main", "median_seconds", "ocsp_figures"]

_URI: Final = "http://agentid-responder.agentid-system.svc/crl/0011223344556677/0.crl"
_HOUR: Final = timedelta(hours=1)
_ONE_IN_PARTS: Final = 8
"""The shards of an authority: what is signed anew when one certificate is revoked."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One thing that was measured.

    Attributes:
        what: In words.
        seconds: The median for one of it, of CPU.
    """

    what: str
    seconds: float

    def __str__(self) -> str:
        """Milliseconds, and how many a second."""
        rate = 1 / max(self.seconds, 1e-9)  # CPU time may come in ticks
        return f"{self.what:<58} {self.seconds * 1000:>10.3f} ms {rate:>10,.0f} /s"


def median_seconds(act: Callable[[], object], rounds: int, times: int = 1) -> float:
    """CPU for one act: the median over rounds, each of which acts some times in a row."""
    samples = []
    for _ in range(rounds):
        begin = time.process_time()
        for _ in range(times):
            act()
        samples.append((time.process_time() - begin) / times)
    return statistics.median(samples)


def crl_figures(entries: int, rounds: int) -> Iterator[Figure]:
    """Lists of an ECDSA P-256 authority."""
    ca = ThrowawayCA(algorithm=KeyAlgorithm.ECDSAP256)
    issuer = ca.authority.certificate

    def listed() -> list[CrlEntry]:
        return [
            CrlEntry(SerialNumber((1 << 126) + at), NOON, RevocationReason.CESSATION_OF_OPERATION)
            for at in range(entries)
        ]

    def signed(chosen: Sequence[CrlEntry]) -> bytes:
        return make_crl(ca.authority, chosen, 1, NOON, NOON + _HOUR, _URI)

    kept = listed()
    shard = kept[: max(entries // _ONE_IN_PARTS, 1)]
    whole = signed(kept)
    for what, act in (
        (f"CRL of {entries:,} entries, entries built and list signed", lambda: signed(listed())),
        (f"CRL of {entries:,} entries, entries kept, list signed", lambda: signed(kept)),
        (f"CRL of {len(shard):,} entries, entries kept, list signed", lambda: signed(shard)),
        (f"CRL of {entries:,} entries, read", lambda: read_crl(whole)),
        (f"CRL of {entries:,} entries, verified", lambda: verify_crl(read_crl(whole), issuer)),
    ):
        yield Figure(what, median_seconds(act, rounds))


def ocsp_figures(algorithm: KeyAlgorithm, times: int, rounds: int) -> Iterator[Figure]:
    """Questions and answers of an authority of this algorithm, with a nonce."""
    ca = ThrowawayCA(algorithm=algorithm)
    issuer = ca.intermediate.certificate
    own = responder_key_algorithm(algorithm)
    validity = Validity.of(NOON, timedelta(days=7), timedelta(minutes=1))
    made = make_ocsp_responder(ca.authority, ca.key("ocsp", own), validity, ca.serial())
    responder = OcspResponder(issuer, made.certificate, made.private_key)
    table = CertIdTable([issuer])
    request = (
        ocsp.OCSPRequestBuilder()
        .add_certificate(ca.issue().leaf.certificate, issuer, hashes.SHA256())
        .add_extension(OCSPNonce(bytes(32)), critical=False)
        .build()
        .public_bytes(Encoding.DER)
    )
    hostile = bytes(1024 * 1024)

    def answer() -> bytes:
        question = parse_request(request)
        table.find(question)
        return responder.answer(question, CertState.GOOD, NOON, NOON + _HOUR, NOON)

    def refuse() -> None:
        try:
            parse_request(hostile)
        except InputError:
            return

    yield Figure(
        "OCSP question read", median_seconds(lambda: parse_request(request), rounds, times)
    )
    yield Figure("OCSP request of 1 MB refused", median_seconds(refuse, rounds, times))
    yield Figure(
        f"OCSP question read and answered, {algorithm.display_name}",
        median_seconds(answer, rounds, times),
    )


def main(given: Sequence[str] | None = None) -> int:
    """Measure, and print a line for each figure."""
    parser = argparse.ArgumentParser(prog="python -m bench.revocation_bytes", description=__doc__)
    parser.add_argument("--entries", type=int, default=100_000, help="in the longest list")
    parser.add_argument("--times", type=int, default=2000, help="answers in a row")
    parser.add_argument("--rounds", type=int, default=5, help="of which the median counts")
    chosen = parser.parse_args(given)
    for figure in crl_figures(chosen.entries, chosen.rounds):
        print(figure)
    for algorithm in (KeyAlgorithm.ECDSAP256, KeyAlgorithm.ED25519, KeyAlgorithm.MLDSA65):
        for figure in ocsp_figures(algorithm, chosen.times, chosen.rounds):
            print(figure)
    return 0


if __name__ == "__main__":
    sys.exit(main())
