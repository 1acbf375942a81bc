"""Authorities made once, kept together, and exchanged step by step."""

from __future__ import annotations

import asyncio
import json
import secrets
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from agentid.errors import AuthorityError, InputError, InternalError, UnavailableError
from agentid.identity import TrustDomain
from agentid.issuers import (
    AuthoritySet,
    AuthoritySettings,
    AuthorityStore,
    GivenAuthority,
    carried_out,
    ensure_authorities,
)
from agentid.issuers.authority_records import Records
from agentid.issuers.authority_set import load_set
from agentid.issuers.making import first_set
from agentid.pki import KeyAlgorithm
from agentid.pki.authority import authority_id
from agentid.policy.authorities import (
    DropRoot,
    Promote,
    Remove,
    Revoke,
    Stage,
    StageGiven,
    StageIssuing,
    StageRoot,
)
from agentid.testing.authorities import MemoryAuthorityStore
from agentid.testing.ca import NOON, ThrowawayCA
from agentid.testing.clock import ManualClock

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentid.policy.authorities import Step

CA = ThrowawayCA()
FILES = CA.authority_set.files
RECORDS = CA.authority_set.records
ROOT, ISSUING = RECORDS.roots[0].id, RECORDS.issuing[0].id
MINUTE, SECOND = timedelta(minutes=1), timedelta(seconds=1)
SETTINGS = AuthoritySettings(
    trust_domain=CA.trust_domain,
    root_algorithm=KeyAlgorithm.ECDSAP384,
    root_lifetime=timedelta(days=3650),
    intermediate_algorithm=KeyAlgorithm.ECDSAP256,
    intermediate_lifetime=timedelta(days=90),
    shards=4,
    responder="http://responder.test",
)


async def ensure(
    store: AuthorityStore, settings: AuthoritySettings = SETTINGS, clock: ManualClock | None = None
) -> AuthoritySet:
    """Ensure, with the clock at noon and real randomness."""
    kept = await ensure_authorities(
        store, settings, clock or ManualClock(NOON), secrets.token_bytes
    )
    return kept.authorities


def with_member(of: str) -> bytes:
    """The records with a member that a later release added to the document, or to a part of it."""
    body = json.loads(FILES["authorities.json"])
    (body[of][0] if of else body)["hsm"] = "slot 3"
    return json.dumps(body).encode()


def test_the_first_start_makes_and_stores_them() -> None:
    """Six files, of the algorithms and lifetimes that were set, back-dated by a minute."""
    store = MemoryAuthorityStore()
    made = asyncio.run(ensure(store))
    assert store.calls == ["read", "create"]
    assert store.data is not None
    root, issuing = made.records.roots[0], made.records.issuing[0]
    assert sorted(store.data) == sorted(
        [
            "authorities.json",
            f"issuing-{issuing.id}.crt",
            f"issuing-{issuing.id}.key",
            f"jwt-{made.records.jwt_keys[0].kid}.key",
            f"root-{root.id}.crt",
            f"root-{root.id}.key",
        ]
    )
    assert (issuing.stage, issuing.shards, issuing.since) == (Stage.SIGNING, 4, NOON)
    assert (made.records.sequence, root.since, root.has_key) == (1, 1, True)
    authority = made.signing
    assert authority is not None
    assert authority.algorithm is KeyAlgorithm.ECDSAP256
    assert authority.validity.not_before == NOON - MINUTE
    assert authority.validity.not_after == NOON + timedelta(days=90) - SECOND
    assert authority.root.not_valid_after_utc == NOON + timedelta(days=3650) - SECOND
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
    assert second.files == first.files


@pytest.mark.parametrize("starters", [2, 5])
def test_replicas_that_start_together_end_with_one_root(starters: int) -> None:
    """All read nothing, all make one, one is stored, and everybody uses that."""
    store = MemoryAuthorityStore()

    async def start() -> list[AuthoritySet]:
        return await asyncio.gather(*(ensure(store) for _ in range(starters)))

    found = asyncio.run(start())
    assert store.calls.count("create") == starters
    assert all(each.files == found[0].files for each in found)


@pytest.mark.parametrize("algorithm", list(KeyAlgorithm))
def test_every_algorithm_can_be_made(algorithm: KeyAlgorithm) -> None:
    """Root and intermediate of the same algorithm, and what was stored loads again."""
    settings = replace(SETTINGS, root_algorithm=algorithm, intermediate_algorithm=algorithm)
    store = MemoryAuthorityStore()
    made = asyncio.run(ensure(store, settings))
    assert made.signing is not None
    assert made.signing.algorithm is algorithm
    assert asyncio.run(ensure(store, settings)).files == made.files


def test_losing_the_race_means_reading_theirs() -> None:
    """Ours is thrown away."""
    store = MemoryAuthorityStore()
    store.rivals = [FILES]
    assert asyncio.run(ensure(store)).bundle == CA.bundle
    assert store.calls == ["read", "create", "read"]
    assert store.data == FILES


def test_what_keeps_disappearing_is_told() -> None:
    """Three lost races with nothing to read afterwards are no bad luck."""
    store = MemoryAuthorityStore()
    store.vanishing = True
    store.rivals = [FILES] * 3
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
    assert asyncio.run(ensure(store)).files == stored
    assert store.data == stored


@pytest.mark.parametrize(
    ("change", "faults"),
    [
        pytest.param(
            {f"issuing-{ISSUING}.crt": b""}, [f"issuing-{ISSUING}.crt: it is missing"], id="missing"
        ),
        pytest.param(
            {
                f"root-{ROOT}.crt": FILES[f"root-{ROOT}.crt"][:100],
                f"issuing-{ISSUING}.key": b"x",
            },
            [f"root-{ROOT}.crt: the PEM block 1"],
            id="root-cut-short",
        ),
        pytest.param(
            {f"issuing-{ISSUING}.key": b"x"},
            [f"issuing-{ISSUING}.key holds no PEM block"],
            id="key-is-none",
        ),
        pytest.param(
            {f"root-{ROOT}.key": ThrowawayCA(seed="other").files["root.key"]},
            [f"root-{ROOT}.key: it is not the private key of root-{ROOT}.crt"],
            id="root-key",
        ),
        pytest.param(
            {f"issuing-{ISSUING}.key": CA.files["root.key"]},
            [f"issuing-{ISSUING}.key: it is not the private key of issuing-{ISSUING}.crt"],
            id="issuing-key",
        ),
        pytest.param(
            {f"root-{ROOT}.crt": ThrowawayCA(seed="other").files["root.crt"]},
            [
                f"root-{ROOT}.crt: it is another authority's; restore the one that was there",
                f"issuing-{ISSUING}.crt: it is not signed by root-{ROOT}.crt",
            ],
            id="another-root",
        ),
        pytest.param(
            {"authorities.json": b"{"}, ["authorities.json: it is not JSON"], id="records-cut"
        ),
        pytest.param(
            {"authorities.json": b'{"version": 2}'},
            ["authorities.json: version 2 was written by a later release, and agentid "],
            id="records-of-a-later-release",
        ),
        pytest.param(
            {"authorities.json": with_member("")},
            ['authorities.json: the record of the document has a member "hsm" that is not known'],
            id="records-with-a-later-member",
        ),
        pytest.param(
            {"authorities.json": with_member("roots")},
            ['authorities.json: the record of a root has a member "hsm" that is not known'],
            id="root-with-a-later-member",
        ),
        pytest.param(
            {"authorities.json": with_member("issuing")},
            ['authorities.json: the record of an issuing authority has a member "hsm"'],
            id="issuing-with-a-later-member",
        ),
        pytest.param(
            {"authorities.json": with_member("jwtKeys")},
            ['authorities.json: the record of a key for JWT-SVIDs has a member "hsm"'],
            id="jwt-key-with-a-later-member",
        ),
    ],
)
def test_a_faulty_secret_is_reported_and_left_alone(
    change: dict[str, bytes], faults: list[str]
) -> None:
    """Every fault is listed; nothing is repaired, replaced or written."""
    faulty = {**FILES, **change}
    store = MemoryAuthorityStore(faulty)
    with pytest.raises(AuthorityError, match=r"(issuing|root|authorities)") as raised:
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
    with pytest.raises(AuthorityError, match=r"authorities\.json: it is missing"):
        asyncio.run(ensure(store))
    assert store.data == {}


def test_expired_authorities_are_no_fault() -> None:
    """They are replaced by the rotation, not restored by a person."""
    store = MemoryAuthorityStore(FILES)
    clock = ManualClock(NOON + timedelta(days=200))
    assert asyncio.run(ensure(store, clock=clock)).records == CA.authority_set.records


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        pytest.param(
            replace(SETTINGS, root_lifetime=timedelta(days=30)),
            "is longer than the 30 days",
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
    """Names of files only, in the store, in what it read, and in the set."""
    store = MemoryAuthorityStore({"root.key": b"PRIVATE"})
    assert repr(store) == "MemoryAuthorityStore(root.key)"
    assert "PRIVATE" not in repr(asyncio.run(store.read()))
    assert "PRIVATE" not in repr(CA.authority_set)
    assert ISSUING in repr(CA.authority_set)


# Steps


def after(have: AuthoritySet, *steps: Step, minutes: int = 0) -> AuthoritySet:
    """The set after some steps, each stored and read again."""
    now = NOON + minutes * MINUTE
    for step in steps:
        made = carried_out(have, step, SETTINGS, now, secrets.token_bytes)
        have = load_set(made.files, CA.trust_domain)
        assert have.records == made.records
        assert have.files == made.files
    return have


FIRST = first_set(SETTINGS, NOON, secrets.token_bytes)


def ids(have: AuthoritySet) -> list[tuple[str, Stage]]:
    """The issuing authorities, the newest first, and how far they are."""
    return [(each.id, each.stage) for each in have.records.issuing]


def test_a_successor_below_the_same_root_is_staged_then_signs() -> None:
    """The bundle stays as it is, and what signs changes at the second step only."""
    old, root = FIRST.records.issuing[0].id, FIRST.records.roots[0].id
    staged = after(FIRST, StageIssuing(root, "asked for"))
    new = staged.records.issuing[0].id
    assert ids(staged) == [(new, Stage.STAGED), (old, Stage.SIGNING)]
    assert staged.signing is not None
    assert authority_id(staged.signing.certificate) == old
    assert staged.bundle == FIRST.bundle
    signs = after(staged, Promote(new), minutes=5)
    assert ids(signs) == [(new, Stage.SIGNING), (old, Stage.RETIRED)]
    assert signs.records.issuing[1].since == NOON + 5 * MINUTE
    gone = after(signs, Remove(old))
    assert ids(gone) == [(new, Stage.SIGNING)]
    assert not any(old in name for name in gone.files), "its key goes with it"


def test_a_new_root_comes_first_into_the_bundle() -> None:
    """Both roots are trusted from the moment the new one is there, under a higher number."""
    staged = after(FIRST, StageRoot("asked for", hurry=True))
    assert [root.since for root in staged.records.roots] == [2, 1]
    assert (staged.records.sequence, staged.records.required) == (2, 2)
    assert len(staged.bundle.authorities) == 2
    new, old = staged.records.issuing
    assert (new.root, old.root) == tuple(root.id for root in staged.records.roots)
    done = after(staged, Promote(new.id), Remove(old.id), DropRoot(old.root, hurry=False))
    assert [root.id for root in done.records.roots] == [new.root]
    assert (done.records.sequence, done.records.required) == (3, 2)
    assert sorted(done.files) == sorted(
        ["authorities.json", f"jwt-{done.records.jwt_keys[0].kid}.key"]
        + [
            f"{kind}-{name}.{end}"
            for kind, name in (("root", new.root), ("issuing", new.id))
            for end in ("crt", "key")
        ]
    )


def test_a_revoked_intermediate_stays_on_record_with_its_root() -> None:
    """Also once it is forgotten itself."""
    old, root = FIRST.records.issuing[0], FIRST.records.roots[0].id
    staged = after(FIRST, StageIssuing(root, "distrusted"))
    done = after(
        staged, Promote(staged.records.issuing[0].id), Revoke(old.id), Remove(old.id), minutes=1
    )
    (entry,) = done.records.roots[0].revoked
    assert (entry.serial, entry.at) == (old.serial, NOON + MINUTE)
    assert entry.not_after == old.validity.not_after


def test_a_root_whose_key_was_taken_away_is_no_fault() -> None:
    """It is told as such, and what it has signed goes on."""
    root = FIRST.records.roots[0].id
    files = {name: content for name, content in FIRST.files.items() if name != f"root-{root}.key"}
    found = load_set(files, CA.trust_domain)
    assert not found.records.roots[0].has_key
    assert found.roots[root].authority is None
    assert found.signing is not None


def given(ca: ThrowawayCA) -> dict[str, bytes]:
    """The intermediate of a CA as cert-manager and others put it into a Secret."""
    return {
        "tls.crt": ca.files["issuing.crt"],
        "tls.key": ca.files["issuing.key"],
        "ca.crt": ca.files["root.crt"],
    }


def test_an_authority_that_is_given_signs_at_once_if_nothing_was_before() -> None:
    """With its own root in the bundle, and no key of that root."""
    other = ThrowawayCA(seed="corporate")
    taken = GivenAuthority.read(given(other), CA.trust_domain, NOON)
    store = MemoryAuthorityStore()
    kept = asyncio.run(
        ensure_authorities(store, SETTINGS, ManualClock(NOON), secrets.token_bytes, given=taken)
    )
    made = kept.authorities
    assert ids(made) == [(taken.id, Stage.SIGNING)]
    assert made.bundle.der == other.bundle.der
    assert not made.records.roots[0].has_key


def test_another_one_that_is_given_is_staged_as_a_successor() -> None:
    """Below a root of its own, which comes into the bundle first."""
    taken = GivenAuthority.read(given(ThrowawayCA(seed="corporate")), CA.trust_domain, NOON)
    step = StageGiven(hurry=False)
    made = carried_out(FIRST, step, SETTINGS, NOON, secrets.token_bytes, taken)
    assert ids(made)[0] == (taken.id, Stage.STAGED)
    assert len(made.bundle.authorities) == 2
    with pytest.raises(InternalError, match="none is given"):
        carried_out(FIRST, step, SETTINGS, NOON, secrets.token_bytes)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        pytest.param({"tls.key": b""}, "tls.key: it is missing", id="no-key"),
        pytest.param({"ca.crt": b""}, "ca.crt: it is missing", id="no-root"),
        pytest.param(
            {"tls.crt": CA.files["root.crt"]},
            "tls.crt: it is the root itself; let the root sign an intermediate",
            id="the-root-itself",
        ),
        pytest.param(
            {"tls.key": CA.files["root.key"]},
            "tls.key: it is not the private key of tls.crt",
            id="another-key",
        ),
    ],
)
def test_every_fault_of_what_is_given_is_named(change: dict[str, bytes], fault: str) -> None:
    """By the names that the files have in the Secret."""
    with pytest.raises(AuthorityError, match=fault):
        GivenAuthority.read({**given(CA), **change}, CA.trust_domain, NOON)


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda body: body["roots"][0].pop("since"), id="root-field"),
        pytest.param(lambda body: body["roots"][0].update(id="xyz"), id="root-id"),
        pytest.param(lambda body: body["issuing"][0].update(stage="Sleeping"), id="stage"),
        pytest.param(lambda body: body["issuing"][0].update(shards=0), id="shards"),
        pytest.param(lambda body: body["issuing"][0].update(since="then"), id="time"),
        pytest.param(lambda body: body["roots"][0].update(revoked=[{}]), id="revoked"),
        pytest.param(lambda body: body.update(required=7), id="required-beyond-sequence"),
    ],
)
def test_damaged_records_are_refused(spoil: Callable[[dict[str, object]], object]) -> None:
    """In words that say what to do."""
    body = json.loads(FILES["authorities.json"])
    spoil(body)
    with pytest.raises(InputError, match=r"restore it from a backup|write it as 2026"):
        Records.decode(json.dumps(body).encode())
