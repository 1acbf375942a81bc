"""The one way to a certificate: signed, on record, and only then to be used."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import SubjectKeyIdentifier, load_der_x509_certificate

from agentid.api import DeliveryMode, Instances, Reason
from agentid.api.model import ObjectMeta
from agentid.errors import InternalError, UnavailableError
from agentid.identity import PodRef, SerialNumber
from agentid.issuers import BuiltinIssuer, IssueRequest
from agentid.ledger import Issued
from agentid.pki import KeyAlgorithm
from agentid.policy import Grant
from agentid.services.failure import PassError
from agentid.services.issuance import Issuance, Made, make_key
from agentid.testing.ca import ThrowawayCA
from agentid.testing.clock import ManualClock
from agentid.testing.ledger import NOON, in_virtual_time, open_ledger
from agentid.testing.segments import Fault, MemorySegments
from tests.support.observed import granted

if TYPE_CHECKING:
    from agentid.identity import TrustDomain
    from agentid.issuers import AuthorityInfo, Issuer, Signed
    from agentid.pki import X509Bundle

OWNER = ObjectMeta(namespace="finance", name="reader", uid="u-1")
GRANT: Grant = granted()


def issuer(clock: ManualClock, ca: ThrowawayCA | None = None) -> BuiltinIssuer:
    """An issuer that signs for the grant's trust domain."""
    chosen = ca or ThrowawayCA()
    return BuiltinIssuer(
        name="main", authorities=chosen.authority_set, clock=clock, random=chosen.random
    )


async def made(
    service: Issuance,
    by: Issuer,
    grant: Grant = GRANT,
    replaces: SerialNumber | None = None,
) -> Made:
    """Have a certificate signed for a new key."""
    key, _ = await make_key(grant.key_algorithm)
    return await service.sign(OWNER, grant, by, key.public_key(), replaces=replaces)


@pytest.mark.parametrize("algorithm", KeyAlgorithm)
async def test_makes_keys_of_every_algorithm(algorithm: KeyAlgorithm) -> None:
    """The PEM holds the very key that is handed out, and no two are alike."""
    key, pem = await make_key(algorithm)
    _, other = await make_key(algorithm)
    assert load_pem_private_key(pem, None).public_key() == key.public_key()
    assert pem.startswith(b"-----BEGIN PRIVATE KEY-----")
    assert pem != other


async def test_record_says_everything_about_the_certificate() -> None:
    """Promise 3: what the ledger is told is what was signed, and what it was granted for."""
    clock = ManualClock()
    async with open_ledger(MemorySegments(clock.now), clock) as ledger:
        service = Issuance(ledger=ledger, clock=clock)
        signed = await made(service, issuer(clock), replaces=SerialNumber(7))
        leaf = signed.leaf
        authority = load_der_x509_certificate(leaf.chain_der[1])
        key_id = authority.extensions.get_extension_for_class(SubjectKeyIdentifier)
        assert signed.record == Issued(
            serial=leaf.serial,
            fingerprint=leaf.fingerprint,
            spiffe_id="spiffe://example.org/ns/finance/agent/reader",
            namespace="finance",
            name="reader",
            uid="u-1",
            issuer="main",
            authority=key_id.value.digest[:8].hex(),
            shard=leaf.serial.value % 8,
            bundle=1,
            not_before=leaf.validity.not_before,
            not_after=leaf.validity.not_after,
            issued_at=NOON,
            door=DeliveryMode.SECRET,
            grant=GRANT.to_json(),
            replaces=SerialNumber(7),
        )
        assert Grant.from_json(signed.record.grant) == GRANT
        assert leaf.validity.not_after == NOON + timedelta(hours=24, seconds=-1)


async def test_signed_is_not_recorded() -> None:
    """What a caller does between the two cannot be mistaken for done."""
    clock, told = ManualClock(), list[Issued]()
    async with open_ledger(MemorySegments(clock.now), clock) as ledger:
        service = Issuance(ledger=ledger, clock=clock, on_recorded=told.append)
        signed = await made(service, issuer(clock))
        assert ledger.state.by_serial(signed.leaf.serial) is None
        assert told == []
        await in_virtual_time(clock, service.record(signed))
        entry = ledger.state.by_serial(signed.leaf.serial)
        assert entry is not None
        assert entry.issued == signed.record
        assert told == [signed.record]


@pytest.mark.parametrize("fault", [Fault.BEFORE, Fault.AFTER, Fault.LATE])
async def test_a_ledger_that_gives_no_answer_lets_nothing_be_used(fault: Fault) -> None:
    """Promise 3: as long as nobody knows whether it is on record, nobody is told that it is."""
    clock, told = ManualClock(), list[Issued]()
    store = MemorySegments(clock.now)
    async with open_ledger(store, clock) as ledger:
        service = Issuance(ledger=ledger, clock=clock, on_recorded=told.append)
        signed = await made(service, issuer(clock))
        store.faults.extend([fault] * 100)
        with pytest.raises(PassError, match="ledger") as caught:
            await in_virtual_time(clock, service.record(signed))
        assert caught.value.reason is Reason.LEDGER_UNAVAILABLE
        assert not caught.value.stalled
        assert told == []


class Away:
    """An issuer that is away, or answers otherwise than it should."""

    name = "main"

    def __init__(self, inner: Issuer) -> None:
        self._inner = inner

    @property
    def trust_domain(self) -> TrustDomain:
        """As of the one that it stands for."""
        return self._inner.trust_domain

    async def issue(self, request: IssueRequest) -> Signed:
        """Never."""
        del request
        message = "the CA asks us to wait"
        raise UnavailableError(message, retry_after=timedelta(seconds=40))

    def bundle(self) -> X509Bundle:
        """As of the one that it stands for."""
        return self._inner.bundle()

    @property
    def bundle_sequence(self) -> int:
        """As of the one that it stands for."""
        return self._inner.bundle_sequence

    def authorities(self) -> tuple[AuthorityInfo, ...]:
        """As of the one that it stands for."""
        return self._inner.authorities()


async def test_an_issuer_that_is_away_is_waited_for() -> None:
    """As long as it asks for, in its words."""
    clock = ManualClock()
    async with open_ledger(MemorySegments(clock.now), clock) as ledger:
        service = Issuance(ledger=ledger, clock=clock)
        with pytest.raises(PassError, match="the CA asks us to wait") as caught:
            await made(service, Away(issuer(clock)))
        assert caught.value.reason is Reason.ISSUER_UNAVAILABLE
        assert caught.value.retry_after == timedelta(seconds=40)
        assert not caught.value.stalled


async def test_a_refusal_stalls() -> None:
    """Trying again does not help: the issuer signs for another trust domain."""
    clock = ManualClock()
    async with open_ledger(MemorySegments(clock.now), clock) as ledger:
        service = Issuance(ledger=ledger, clock=clock)
        other = issuer(clock, ThrowawayCA("elsewhere.test"))
        with pytest.raises(PassError, match=r"elsewhere\.test") as caught:
            await made(service, other)
        assert caught.value.reason is Reason.ISSUER_DENIED
        assert caught.value.stalled


async def test_time_of_making_is_never_before_the_certificate() -> None:
    """A clock that is set back after signing makes no record that begins before its certificate."""
    clock = ManualClock()

    class Slow(Away):
        async def issue(self, request: IssueRequest) -> Signed:
            signed = await self._inner.issue(request)
            clock.step(timedelta(hours=-1))
            return signed

    async with open_ledger(MemorySegments(clock.now), clock) as ledger:
        signed = await made(Issuance(ledger=ledger, clock=clock), Slow(issuer(clock)))
        assert signed.record.issued_at == signed.leaf.validity.not_before


async def test_a_grant_decides_on_key_and_lifetime() -> None:
    """The leaf is what was granted, to the algorithm and the second."""
    clock = ManualClock()
    strong = replace(GRANT, key_algorithm=KeyAlgorithm.ECDSAP384, lifetime=timedelta(hours=1))
    async with open_ledger(MemorySegments(clock.now), clock) as ledger:
        signed = await made(Issuance(ledger=ledger, clock=clock), issuer(clock), strong)
        assert signed.leaf.validity.not_after == NOON + timedelta(hours=1, seconds=-1)
        weak, _ = await make_key(KeyAlgorithm.ECDSAP256)
        with pytest.raises(PassError, match="ECDSAP384"):
            await Issuance(ledger=ledger, clock=clock).sign(
                OWNER, strong, issuer(clock), weak.public_key(), replaces=None
            )


# Pods


async def test_a_pods_certificate_says_which_pod_where_each_has_its_own() -> None:
    """In the SPIFFE ID and on the record; where they share one, on the record alone."""
    clock = ManualClock()
    pod = PodRef("reader-x", "5f0c8a7e-0000-4000-8000-000000000001", "node-1", "uid-of-request")
    shared = "spiffe://example.org/ns/finance/agent/reader"
    async with open_ledger(MemorySegments(clock.now), clock) as ledger:
        service = Issuance(ledger=ledger, clock=clock)
        key, _ = await make_key(GRANT.key_algorithm)
        for instances, expected in (
            (Instances.SHARED, shared),
            (Instances.PER_POD, f"{shared}/pod/{pod.uid}"),
        ):
            signed = await service.sign(
                OWNER,
                replace(GRANT, instances=instances),
                issuer(clock),
                key.public_key(),
                replaces=None,
                pod=pod,
                lifetime=timedelta(hours=2),
            )
            assert str(signed.leaf.spiffe_id) == signed.record.spiffe_id == expected
            assert signed.record.pod == pod
            assert signed.leaf.validity.not_after == NOON + timedelta(hours=2, seconds=-1)
        with pytest.raises(InternalError, match="no pod is named"):
            await made(service, issuer(clock), grant=replace(GRANT, instances=Instances.PER_POD))


async def test_a_door_gets_no_longer_lifetime_than_is_granted() -> None:
    """Promise 2: what a kubelet asks for is an upper bound of its own."""
    clock = ManualClock()
    async with open_ledger(MemorySegments(clock.now), clock) as ledger:
        key, _ = await make_key(GRANT.key_algorithm)
        signed = await Issuance(ledger=ledger, clock=clock).sign(
            OWNER, GRANT, issuer(clock), key.public_key(), replaces=None,
            lifetime=timedelta(days=90),
        )  # fmt: skip
        assert signed.leaf.validity.not_after == NOON + GRANT.lifetime - timedelta(seconds=1)
