"""`python -m bench.verifying`: what a policy point pays for a verdict, on one core.

Chains are those that agentid issues, leaf and intermediate, with an authorization; each verdict
includes the question for a system and an operation. `first` is a chain that the verifier has not
seen, `again` one that it remembers, `with CRL` one that it remembers, looked up in a list. Time
is that of the processor, and of the rounds the median is told: other programs use the machine too.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from agentid.identity import RevocationReason, SerialNumber
from agentid.pki import KeyAlgorithm
from agentid.pki.authorization import AgentAuthorization, AuthorizedPolicy
from agentid.pki.crl import make_crl
from agentid.pki.crl_entry import CrlEntry
from agentid.testing.ca import NOON, ThrowawayCA
from agentid.verify import BundleSet, CrlSet, Verifier, Wanted
from agentid.verify.revocation import read_crls

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Rates", "measure"]

_CRL_URI = "http://agentid-responder.agentid-system.svc/crl/0011223344556677/0.crl"
_WANTED = Wanted("erp.invoices", "read")


@dataclass(frozen=True, slots=True)
class Rates:
    """Verdicts per second of processor time.

    Attributes:
        first: Of chains that were not seen before.
        again: Of chains that are remembered.
        with_crl: Of the same, with a list.
        crl_seconds: What reading and verifying that list takes, once.
    """

    first: float
    again: float
    with_crl: float
    crl_seconds: float


def measure(algorithm: KeyAlgorithm, *, chains: int, rounds: int, revoked: int) -> Rates:
    """Measure one algorithm.

    Args:
        algorithm: Of leaf, intermediate and root.
        chains: How many different ones a round verifies.
        rounds: How many rounds.
        revoked: How many certificates the list holds.
    """
    ca = ThrowawayCA(algorithm=algorithm)
    given = [_chain(ca, number) for number in range(chains)]
    bundles = BundleSet([ca.bundle])
    entries = [
        CrlEntry(SerialNumber(serial), NOON, RevocationReason.SUPERSEDED)
        for serial in range(1, revoked + 1)
    ]
    crl = make_crl(ca.authority, entries, 1, NOON, NOON + timedelta(hours=1), _CRL_URI)
    found: list[Rates] = []
    for _ in range(rounds):
        verifier = Verifier(bundles, remembered=chains)
        first, again = _rate(verifier, given), _rate(verifier, given)
        begun = time.process_time()
        checking = verifier.with_crls(CrlSet(read_crls(crl)))
        _rate(checking, given[:1])  # which verifies the signature of the list
        reading = time.process_time() - begun
        found.append(Rates(first, again, _rate(checking, given), reading))
    return Rates(
        statistics.median(each.first for each in found),
        statistics.median(each.again for each in found),
        statistics.median(each.with_crl for each in found),
        statistics.median(each.crl_seconds for each in found),
    )


def _chain(ca: ThrowawayCA, number: int) -> list[bytes]:
    policy = AuthorizedPolicy(systems=("crm.*", "erp.invoices"), operations=("list", "read"))
    authorization = AgentAuthorization.of(
        agent_class="assistant", tier="Moderate", sponsor="team@example.org", policy=policy
    )
    profile = ca.profile(f"agent-{number}", authorization=authorization, crl_uri=_CRL_URI)
    return [ca.issue(profile).leaf.der, *ca.authority.chain_der]


def _rate(verifier: Verifier, chains: Sequence[list[bytes]]) -> float:
    begun = time.process_time()
    for chain in chains:
        verifier.verify(chain, at=NOON, wanted=_WANTED)
    return len(chains) / (time.process_time() - begun)


def main(given: Sequence[str] | None = None) -> None:
    """Measure and tell."""
    parser = argparse.ArgumentParser(prog="python -m bench.verifying", description=__doc__)
    parser.add_argument("--chains", type=int, default=200, help="different chains in a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--revoked", type=int, default=10_000, help="entries of the list")
    parser.add_argument("--algorithm", type=KeyAlgorithm, action="append", choices=KeyAlgorithm)
    options = parser.parse_args(given)
    print(f"{'algorithm':<12}{'first/s':>10}{'again/s':>10}{'with CRL/s':>12}{'CRL read, ms':>14}")
    for algorithm in options.algorithm or (KeyAlgorithm.ECDSAP256, KeyAlgorithm.ED25519):
        rates = measure(
            algorithm, chains=options.chains, rounds=options.rounds, revoked=options.revoked
        )
        print(
            f"{algorithm:<12}{rates.first:>10.0f}{rates.again:>10.0f}{rates.with_crl:>12.0f}"
            f"{1000 * rates.crl_seconds:>14.1f}"
        )


if __name__ == "__main__":
    main()
