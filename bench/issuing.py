"""`python -m bench.issuing`: certificates per second on one core, without a cluster.

One issuance is all that the pure path does: make the agent's key, fill in a profile with policy,
CRL, OCSP, caIssuers and an authorization of its own, prepare it with the lint, sign, and write key
and chain as PEM. Each agent is another one: other name, other serial, other authorization.

The time is CPU time of this process, in many short rounds. What else runs on the machine still
shows: in caches, in the core's other thread, and in time that a host takes away from a virtual
machine without its knowing. The highest rounds are the undisturbed ones; *signatures* is how many
bare signatures take as long as one issuance of theirs.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from datetime import timedelta
from statistics import median, quantiles
from typing import TYPE_CHECKING

from agentid.identity import SerialNumber, SpiffeId, Validity
from agentid.pki import KeyAlgorithm, LeafProfile, generate, prepare, sign, to_pkcs8_pem
from agentid.pki.authorization import AgentAuthorization, AuthorizedPolicy, AuthorizedSchedule
from agentid.pki.oids import class_policy_oid
from agentid.testing.ca import NOON, ThrowawayCA

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agentid.pki import PreparedLeaf, PrivateKey

_BASE = "http://agentid-responder.agentid-system.svc"
_SLOW = frozenset({KeyAlgorithm.RSA3072, KeyAlgorithm.RSA4096})
_WEEKDAYS = AuthorizedSchedule(
    "Europe/Berlin", tuple((day * 1440 + 480, day * 1440 + 1080) for day in range(5))
)


@dataclass(frozen=True, slots=True)
class Order:
    """What differs from one issuance to the next."""

    spiffe_id: SpiffeId
    serial: SerialNumber
    sponsor: str
    shard: int


class Bench:
    """An authority of an algorithm, and orders for leaves of the same algorithm."""

    def __init__(self, algorithm: KeyAlgorithm, count: int) -> None:
        self.algorithm = algorithm
        self.ca = ThrowawayCA("agents.example.org", algorithm=algorithm)
        self.authority = self.ca.authority
        self.policy_oid = class_policy_oid("assistant")
        self.authority_id = self.authority.key_id[:8].hex()
        self.validity = Validity.of(NOON, timedelta(hours=1), timedelta(seconds=60))
        self.orders = [
            Order(
                SpiffeId.for_agent(self.ca.trust_domain, f"team-{at % 50}", f"agent-{at}"),
                self.ca.serial(),
                f"team-{at}@example.org",
                at % 8,
            )
            for at in range(count)
        ]

    def authorization(self, order: Order) -> AgentAuthorization:
        """What the agent of this order may do."""
        policy = AuthorizedPolicy(
            ("crm.contacts", "erp.invoices", "mail.*"), ("list", "read"), _WEEKDAYS, ("gdpr",)
        )
        return AgentAuthorization.of(
            agent_class="assistant",
            tier="Moderate",
            sponsor=order.sponsor,
            policy=policy,
            base_uri=_BASE,
        )

    def profile(self, order: Order, authorization: AgentAuthorization) -> LeafProfile:
        """What its leaf is to say."""
        return LeafProfile(
            spiffe_id=order.spiffe_id,
            class_name="assistant",
            validity=self.validity,
            key_algorithm=self.algorithm,
            policy_oid=self.policy_oid,
            cps_uri="https://pki.example.org/cps",
            crl_uri=f"{_BASE}/crl/{self.authority_id}/{order.shard}.crl",
            ocsp_uri=f"{_BASE}/ocsp",
            ca_issuers_uri=f"{_BASE}/ca/{self.authority_id}.crt",
            authorization=authorization,
        )

    def issue(self, order: Order, key: PrivateKey | None = None) -> int:
        """One issuance; returns how many octets of PEM came out."""
        key = key or generate(self.algorithm)
        profile = self.profile(order, self.authorization(order))
        prepared = prepare(profile, key.public_key(), self.authority, order.serial)
        leaf = sign(prepared, self.authority)
        return len(to_pkcs8_pem(key)) + len(leaf.chain_pem)

    def steps(self) -> dict[str, Callable[[Order], object]]:
        """The parts of an issuance, each with what it needs made before."""
        key = generate(self.algorithm)
        public = key.public_key()
        given = self.authorization(self.orders[0])

        def prepared(order: Order) -> PreparedLeaf:
            return prepare(self.profile(order, given), public, self.authority, order.serial)

        return {
            "key": lambda _: generate(self.algorithm),
            "authorization": self.authorization,
            "profile": lambda order: self.profile(order, given),
            "prepare": prepared,
            "prepare, sign": lambda order: sign(prepared(order), self.authority),
            "key PEM": lambda _: to_pkcs8_pem(key),
        }


def seconds(work: Callable[[Order], object], orders: Sequence[Order]) -> float:
    """CPU seconds that the work takes for all orders."""
    before = time.process_time()
    for order in orders:
        work(order)
    return time.process_time() - before


def rates(bench: Bench, rounds: int) -> list[float]:
    """Issuances per CPU second, one number for each round; RSA with keys made before."""
    spare = generate(bench.algorithm) if bench.algorithm in _SLOW else None
    bench.issue(bench.orders[0], spare)  # fills the caches
    return [
        len(bench.orders) / seconds(lambda order: bench.issue(order, spare), bench.orders)
        for _ in range(rounds)
    ]


def least_seconds(work: Callable[[Order], object], orders: Sequence[Order], rounds: int) -> float:
    """CPU seconds of the work for one order, the least of the rounds."""
    return min(seconds(work, orders) / len(orders) for _ in range(rounds))


def signature_seconds(bench: Bench, rounds: int) -> float:
    """CPU seconds of one bare signature, the least of the rounds."""
    data = bytes(1000)
    return least_seconds(lambda _: bench.authority.signer.sign(data), bench.orders, rounds)


def main(given: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.issuing", description=__doc__)
    parser.add_argument("--number", type=int, default=20, help="issuances in a round")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument(
        "--algorithm", action="append", choices=[str(each) for each in KeyAlgorithm]
    )
    parser.add_argument("--steps", action="store_true", help="also the time of each part")
    options = parser.parse_args(given)
    chosen = [KeyAlgorithm(each) for each in options.algorithm or KeyAlgorithm]
    print(
        f"issuances per second, {options.rounds} rounds of {options.number}\n"
        f"{'algorithm':<11} {'median':>8} {'best 5 %':>10} {'highest':>8} {'signatures':>11}"
    )
    for algorithm in chosen:
        count = options.number if algorithm not in _SLOW else max(1, options.number // 10)
        bench = Bench(algorithm, count)
        found = rates(bench, options.rounds)
        bare = signature_seconds(bench, options.rounds)
        best = quantiles(found, n=20)[-1] if options.rounds > 1 else found[0]
        note = "  without making the key" if algorithm in _SLOW else ""
        print(
            f"{algorithm:<11} {median(found):>8.0f} {best:>10.0f} {max(found):>8.0f} "
            f"{1 / max(found) / bare:>11.1f}{note}"
        )
        if options.steps:
            for name, work in bench.steps().items():
                if name == "key" and algorithm in _SLOW:
                    continue
                spent = least_seconds(work, bench.orders, options.rounds)
                print(f"  {name:<15} {spent * 1e6:>8.1f} us")
    return 0


if __name__ == "__main__":
    sys.exit(main())
