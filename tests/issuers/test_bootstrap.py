"""Authorities made once, then only read."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from agentid.errors import AuthorityError, InputError, UnavailableError
from agentid.identity import TrustDomain
from agentid.issuers import AuthoritySettings, AuthorityStore, ensure_authorities
from agentid.pki import KeyAlgorithm
from agentid.testing.ca import NOON, MemoryAuthorityStore, ThrowawayCA
from agentid.testing.clock import ManualClock

if TYPE_CHECKING:
    from agentid.pki import Authority

CA = ThrowawayCA()
SETTINGS = AuthoritySettings(
    trust_domain=CA.trust_domain,
    root_algorithm=KeyAlgorithm.ECDSAP384,
    root_lifetime=timedelta(days=3650),
    intermediate_algorithm=KeyAlgorithm.ECDSAP256,
    intermediate_lifetime=timedelta(days=90),
)


async def ensure(
    store: AuthorityStore, settings: AuthoritySettings = SETTINGS, clock: ManualClock | None = None
) -> Authority:
    """Ensure, with the clock at noon and real randomness."""
    return await ensure_authorities(
        store, settings, clock or ManualClock(NOON), secrets.token_bytes
    )


def test_the_first_start_makes_and_stores_them() -> None:
    """Four files, of the algorithms and lifetimes that were set, back-dated by a minute."""
    store = MemoryAuthorityStore()
    authority = asyncio.run(ensure(store))
    assert store.calls == ["read", "create"]
    assert store.data is not None
    assert sorted(store.data) == ["issuing.crt", "issuing.key", "root.crt", "root.key"]
    assert authority.algorithm is KeyAlgorithm.ECDSAP256
    minute, second = timedelta(minutes=1), timedelta(seconds=1)
    assert authority.validity.not_before == NOON - minute
    assert authority.validity.not_after == NOON + timedelta(days=90) - second
    assert authority.root.not_valid_after_utc == NOON + timedelta(days=3650) - second
    assert authority.root.signature_hash_algorithm is not None
    assert authority.root.signature_hash_algorithm.name == "sha384"


def test_a_root_that_was_told_of_is_not_exchanged_for_another() -> None:
    """Nobody would trust the new one: what is lost is told, and nothing is stored."""
    store = MemoryAuthorityStore()
    made = ensure_authorities(
        store, SETTINGS, ManualClock(NOON), secrets.token_bytes, known_root="ab" * 32
    )
    with pytest.raises(AuthorityError, match=f"below the root {'ab' * 32}; restore it from a"):
        asyncio.run(made)
    assert store.calls == ["read"]


def test_a_later_start_reads_them_and_writes_nothing() -> None:
    """The same root and the same issuing certificate, also when the settings have changed."""
    store = MemoryAuthorityStore()
    first = asyncio.run(ensure(store))
    changed = replace(SETTINGS, intermediate_algorithm=KeyAlgorithm.ED25519)
    second = asyncio.run(ensure(store, changed))
    assert store.calls == ["read", "create", "read"]
    assert (second.root, second.chain) == (first.root, first.chain)


@pytest.mark.parametrize("starters", [2, 5])
def test_replicas_that_start_together_end_with_one_root(starters: int) -> None:
    """All read nothing, all make one, one is stored, and everybody uses that."""
    store = MemoryAuthorityStore()

    async def start() -> list[Authority]:
        return await asyncio.gather(*(ensure(store) for _ in range(starters)))

    authorities = asyncio.run(start())
    assert store.calls.count("create") == starters
    assert len({authority.root for authority in authorities}) == 1
    assert len({authority.chain for authority in authorities}) == 1


@pytest.mark.parametrize("algorithm", list(KeyAlgorithm))
def test_every_algorithm_can_be_made(algorithm: KeyAlgorithm) -> None:
    """Root and intermediate of the same algorithm, and what was stored loads again."""
    settings = replace(SETTINGS, root_algorithm=algorithm, intermediate_algorithm=algorithm)
    store = MemoryAuthorityStore()
    made = asyncio.run(ensure(store, settings))
    assert made.algorithm is algorithm
    assert asyncio.run(ensure(store, settings)).chain == made.chain


def test_losing_the_race_means_reading_theirs() -> None:
    """Ours is thrown away."""
    store = MemoryAuthorityStore()
    store.rivals = [CA.files]
    assert asyncio.run(ensure(store)).root == CA.root.certificate
    assert store.calls == ["read", "create", "read"]
    assert store.data == CA.files


def test_what_keeps_disappearing_is_told() -> None:
    """Three lost races with nothing to read afterwards are no bad luck."""
    store = MemoryAuthorityStore()
    store.vanishing = True
    store.rivals = [CA.files] * 3
    with pytest.raises(UnavailableError, match="find out what deletes the Secret") as raised:
        asyncio.run(ensure(store))
    assert raised.value.retry_after == timedelta(seconds=5)


def test_a_store_that_is_away_makes_nothing() -> None:
    """Whether there are authorities is unknown, so none are made."""
    store = MemoryAuthorityStore()
    store.fail_read = True
    with pytest.raises(UnavailableError, match="the store is away"):
        asyncio.run(ensure(store))
    assert store.calls == ["read"]


def test_a_write_that_failed_before_is_done_by_the_next_start() -> None:
    """Nothing was stored; the next start makes and stores."""
    store = MemoryAuthorityStore()
    store.fail_before_write = True
    with pytest.raises(UnavailableError, match="did not answer"):
        asyncio.run(ensure(store))
    assert store.data is None
    store.fail_before_write = False
    assert asyncio.run(ensure(store)).trust_domain == CA.trust_domain


def test_a_write_whose_answer_was_lost_is_found_by_the_next_start() -> None:
    """It was stored; the next start reads it and makes nothing."""
    store = MemoryAuthorityStore()
    store.fail_after_write = True
    with pytest.raises(UnavailableError, match="was lost"):
        asyncio.run(ensure(store))
    stored = store.data
    assert stored is not None
    authority = asyncio.run(ensure(store))
    assert store.data == stored
    assert authority.chain_pem == stored["issuing.crt"]


@pytest.mark.parametrize(
    ("change", "faults"),
    [
        pytest.param({"issuing.crt": b""}, ["issuing.crt: it is missing"], id="missing"),
        pytest.param(
            {"root.crt": CA.files["root.crt"][:100], "issuing.key": b"x"},
            ["root.crt: ", "issuing.key holds no PEM block"],
            id="two-at-once",
        ),
        pytest.param(
            {"root.key": ThrowawayCA(seed="other").files["root.key"]},
            ["root.key: it is not the private key of root.crt"],
            id="root-key",
        ),
    ],
)
def test_a_faulty_secret_is_reported_and_left_alone(
    change: dict[str, bytes], faults: list[str]
) -> None:
    """Every fault is listed; nothing is repaired, replaced or written."""
    faulty = CA.files | change
    store = MemoryAuthorityStore(faulty)
    with pytest.raises(AuthorityError, match=r"(issuing|root)\.") as raised:
        asyncio.run(ensure(store))
    assert len(raised.value.faults) == len(faults)
    assert all(
        found.startswith(wanted) for found, wanted in zip(raised.value.faults, faults, strict=True)
    )
    assert store.data == faulty
    assert store.calls == ["read"]


def test_an_empty_secret_is_a_fault_and_no_invitation() -> None:
    """Somebody made it; filling it in could overwrite what a restore is about to bring."""
    store = MemoryAuthorityStore({})
    with pytest.raises(AuthorityError, match=r"issuing\.crt: it is missing"):
        asyncio.run(ensure(store))
    assert store.data == {}


def test_expired_authorities_are_reported_with_the_present() -> None:
    """The faults say since when, and what time it is believed to be."""
    store = MemoryAuthorityStore(CA.files)
    clock = ManualClock(NOON + timedelta(days=200))
    with pytest.raises(AuthorityError, match=r"expired at 2027-01-30.* and it is 2027-05-20"):
        asyncio.run(ensure(store, clock=clock))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        pytest.param(
            replace(SETTINGS, root_lifetime=timedelta(days=30)),
            "reaches beyond that of the root",
            id="intermediate-outlives-root",
        ),
        pytest.param(
            replace(SETTINGS, root_lifetime=timedelta(0)), "at least one second", id="no-lifetime"
        ),
        pytest.param(
            replace(SETTINGS, root_lifetime=timedelta(days=365 * 9000)),
            "after the year 9999",
            id="9000-years",
        ),
        pytest.param(
            replace(SETTINGS, trust_domain=TrustDomain.parse("10.0.0.1")),
            "cannot be the host of a name constraint",
            id="trust-domain",
        ),
    ],
)
def test_settings_that_cannot_be_met_make_nothing(
    settings: AuthoritySettings, message: str
) -> None:
    """The refusal names the setting, and nothing is stored."""
    store = MemoryAuthorityStore()
    with pytest.raises(InputError, match=message):
        asyncio.run(ensure(store, settings))
    assert store.data is None


def test_a_store_does_not_show_private_keys() -> None:
    """Names of files only."""
    assert repr(MemoryAuthorityStore(CA.files)) == (
        "MemoryAuthorityStore(issuing.crt, issuing.key, root.crt, root.key)"
    )
