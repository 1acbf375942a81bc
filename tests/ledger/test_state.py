"""What records add up to."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentid.identity import PodRef, SerialNumber
from agentid.identity.revocation import RevocationReason
from agentid.ledger import Issued, LedgerState
from agentid.ledger.records import Record, decode_record, encode_record
from agentid.testing.ledger import NOON, make_issued, make_revoked, snapshot

HOUR = timedelta(hours=1)


def state_of(*records: Record) -> LedgerState:
    """Return the state of sound records."""
    state = LedgerState()
    for record in records:
        assert state.apply(record)
    return state


# Few serials and identities, so that records meet; each serial always has the same certificate.
known = st.integers(1, 6).map(lambda n: make_issued(n, f"agent-{n % 3}"))
revoked = st.builds(
    lambda n, minutes, reason: replace(
        make_revoked(n), revoked_at=NOON + timedelta(minutes=minutes), reason=reason
    ),
    st.integers(1, 7),
    st.integers(0, 2),
    st.sampled_from([RevocationReason.SUPERSEDED, RevocationReason.KEY_COMPROMISE]),
)
deliveries = st.lists(st.tuples(known | revoked, st.booleans()), max_size=14)


@given(deliveries, st.randoms())
def test_neither_order_nor_repetition_matters(
    records: list[tuple[Record, bool]], random: object
) -> None:
    """Records that come in another order, some of them twice, add up to the same."""
    first, second = LedgerState(), LedgerState()
    for record, doubtful in records:
        first.apply(record, doubtful=doubtful)
    again = records + records[: len(records) // 2]
    random.shuffle(again)  # type: ignore[attr-defined]
    for record, doubtful in again:
        second.apply(record, doubtful=doubtful)
    assert snapshot(first) == snapshot(second)
    assert set(first.doubtful()) == set(second.doubtful())


@given(deliveries)
def test_what_is_revoked_stays_revoked(records: list[tuple[Record, bool]]) -> None:
    """Once a revocation was taken in, nothing that comes later hides it."""
    state = LedgerState()
    seen: set[SerialNumber] = set()
    for record, doubtful in records:
        state.apply(record, doubtful=doubtful)
        if not hasattr(record, "fingerprint"):
            seen.add(record.serial)
        assert all(state.is_revoked(serial) for serial in seen)
        assert {one.serial for one in state.revoked()} == seen
        assert state.revoked_count == len(seen)


@given(deliveries, st.integers(-2, 2))
def test_counts_are_those_of_the_contents(records: list[tuple[Record, bool]], hours: int) -> None:
    """Also after some of it has expired."""
    state = LedgerState()
    for record, doubtful in records:
        state.apply(record, doubtful=doubtful)
    state.expire(NOON + timedelta(hours=hours))
    entries = list(state.entries())
    assert state.count == len(entries)
    assert state.revoked_count == len(list(state.revoked()))
    assert state.identity_count == len({entry.issued.name for entry in entries})
    assert sum(len(state.entries_of(*key)) for key in tuple(state.keys())) == len(entries)


def test_entries_come_newest_first() -> None:
    """By the time they were made at."""
    one, two, three = (make_issued(n, issued_at=NOON + n * HOUR) for n in (1, 2, 3))
    state = state_of(two, three, one)
    assert [entry.issued for entry in state.entries_of("demo", "reader")] == [three, two, one]


def test_what_replaces_is_newer_whatever_the_clock_said() -> None:
    """A clock that was set back between two certificates does not turn them round."""
    old = make_issued(1, issued_at=NOON)
    new = make_issued(2, issued_at=NOON - HOUR, replaces=old.serial)
    other = make_issued(3, issued_at=NOON + HOUR)
    state = state_of(old, new, other)
    assert [entry.issued for entry in state.entries_of("demo", "reader")] == [other, new, old]


def test_a_circle_of_replacements_loses_no_entry() -> None:
    """No writer makes one; a damaged segment may."""
    one = make_issued(1, replaces=SerialNumber(2))
    two = make_issued(2, replaces=SerialNumber(1))
    three = make_issued(3, replaces=SerialNumber(1))
    found = state_of(one, two, three).entries_of("demo", "reader")
    assert {entry.serial.value for entry in found} == {1, 2, 3}


def test_live_counts_both_ends_and_unrevoked_no_clock() -> None:
    """A certificate is good up to and including its notAfter; revoking does not ask the time."""
    state = state_of(make_issued(1), make_issued(2), make_revoked(2))
    ends = NOON + HOUR
    assert [entry.serial.value for entry in state.live("demo", "reader", now=ends)] == [1]
    assert not state.live("demo", "reader", now=ends + timedelta(seconds=1))
    late = state.unrevoked("demo", "reader")
    assert [entry.serial.value for entry in late] == [1]
    assert list(state.keys_with_live(ends)) == [("demo", "reader")]
    assert not list(state.keys_with_live(ends + timedelta(seconds=1)))


def test_a_certificate_that_is_not_valid_yet_is_live() -> None:
    """It will be valid, so it has to be revoked with the others."""
    record = make_issued(1, not_before=NOON + timedelta(minutes=30))
    assert state_of(record).live("demo", "reader", now=NOON)


def test_the_first_revocation_counts() -> None:
    """Whatever comes after it, in either order."""
    first, second = make_revoked(1), replace(make_revoked(1), revoked_at=NOON + HOUR, actor="late")
    for records in ((first, second), (second, first)):
        entry = state_of(make_issued(1), *records).by_serial(SerialNumber(1))
        assert entry is not None
        assert entry.revoked == first


def test_a_revocation_waits_for_its_certificate() -> None:
    """Chains of different writers come in no particular order."""
    state = state_of(make_revoked(1))
    assert state.is_revoked(SerialNumber(1))
    assert state.revoked_count == 1
    state.apply(make_issued(1))
    entry = state.by_serial(SerialNumber(1))
    assert entry is not None
    assert entry.revoked == make_revoked(1)
    assert state.revoked_count == 1


def test_namesakes_are_kept_apart_by_their_uid() -> None:
    """Both are found under the name; sharing texts does not mix them."""
    before, after = make_issued(1, uid="first"), make_issued(2, uid="second")
    found = state_of(before, after).entries_of("demo", "reader")
    assert {entry.issued for entry in found} == {before, after}


def test_two_certificates_under_one_serial_are_told() -> None:
    """The one that stays does not depend on the order, and both were on record."""
    one, two = make_issued(1), make_issued(1, "other")
    for first, second in ((one, two), (two, one)):
        state = LedgerState()
        assert state.apply(first)
        assert not state.apply(second)
        assert [entry.issued for entry in state.entries()] == [min(one, two, key=repr)]
        assert state.identity_count == 1


def test_a_sound_record_takes_the_place_of_a_doubtful_one() -> None:
    """A damaged segment may have any serial in it; that contradicts nobody."""
    damaged, sound = make_issued(1, "damaged"), make_issued(1)
    for first, second in ((damaged, sound), (sound, damaged)):
        state = LedgerState()
        assert state.apply(first, doubtful=first is damaged)
        assert state.apply(second, doubtful=second is damaged)
        entry = state.by_serial(SerialNumber(1))
        assert entry is not None
        assert (entry.issued, entry.doubtful) == (sound, False)


def test_the_record_that_revokes_comes_from_the_entry() -> None:
    """So that it knows until when it matters."""
    entry = state_of(make_issued(1)).by_serial(SerialNumber(1))
    assert entry is not None
    record = entry.revocation(RevocationReason.KEY_COMPROMISE, at=NOON, actor="me")
    assert record.serial == entry.serial
    assert record.not_after == entry.issued.not_after


def test_expiry_takes_entries_and_revocations() -> None:
    """Whose notAfter lies before the moment; one that is equal to it stays."""
    state = state_of(
        make_issued(1),
        make_issued(2, lifetime=2 * HOUR),
        make_revoked(1),
        make_revoked(2, lifetime=2 * HOUR),
        make_revoked(3),
    )
    assert state.expire(NOON + HOUR) == 0
    assert state.expire(NOON + HOUR + timedelta(seconds=1)) == 1
    assert [entry.serial.value for entry in state.entries()] == [2]
    assert [one.serial.value for one in state.revoked()] == [2]


GRANT = (
    '{{"class":"assistant","delivery":"Secret","instances":"Shared","issuer":"builtin",'
    '"keyAlgorithm":"ECDSAP256","lifetimeSeconds":3600,"permissions":{{"compliance":[],'
    '"operations":["list","read"],"schedule":null,"systems":["erp.invoices"]}},'
    '"secretName":"invoice-reader-agentid","serviceAccount":"invoice-reader",'
    '"spiffeID":"spiffe://example.org/ns/demo/agent/{name}",'
    '"sponsor":"finance-platform@example.com","tier":"Low","version":1}}'
)


@pytest.mark.parametrize(("each", "limit"), [(1, 1500), (2, 1100)])
def test_an_entry_takes_less_than_a_kilobyte_and_a_half(each: int, limit: int) -> None:
    """As replayed, with 10,000 identities; certificates of one identity share what is equal."""
    lines = [
        encode_record(
            make_issued(
                (1 << 126) + 2 * n + k,
                name,
                uid=f"0f1e2d3c-4b5a-6978-8796-{n:012d}",
                grant=GRANT.format(name=name),
            )
        )
        for k in range(each)
        for n in range(10_000)
        for name in (f"invoice-reader-{n}",)
    ]
    tracemalloc.start()
    state = LedgerState()
    for line in lines:
        state.apply(decode_record(line))
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size / (10_000 * each) < limit


# Pods

UIDS = ("a", "b", "c")


def for_pod(number: int, pod: str | None, minutes: int = 0) -> Issued:
    """The certificate of a pod, or of none; made at noon and some minutes."""
    ref = None if pod is None else PodRef(f"reader-{pod}", pod, "node-1", f"request-{number}")
    issued_at = NOON + timedelta(minutes=minutes)
    return make_issued(number, pod=ref, issued_at=issued_at, lifetime=number % 3 * HOUR + HOUR)


# Serials may come with contradicting contents here: another pod, another time.
of_pods = st.builds(
    for_pod, st.integers(1, 8), st.sampled_from(UIDS) | st.none(), st.integers(0, 2)
)


def by_pods(state: LedgerState) -> dict[str, list[int]]:
    """What the state answers for each pod."""
    return {uid: [each.serial.value for each in state.of_pod(uid)] for uid in UIDS}


def counted(state: LedgerState) -> dict[str, list[int]]:
    """The same, counted by hand from all there is."""
    found: dict[str, list[int]] = {uid: [] for uid in UIDS}
    age = lambda each: (each.issued.issued_at, each.serial.value)  # noqa: E731 - a key
    for each in sorted(state.entries(), key=age, reverse=True):
        if each.issued.pod is not None:
            found[each.issued.pod.uid].append(each.serial.value)
    return found


@given(st.lists(st.tuples(of_pods, st.booleans()), max_size=16), st.randoms(), st.integers(0, 4))
def test_a_pod_has_what_was_made_for_it(
    records: list[tuple[Issued, bool]], random: object, hours: int
) -> None:
    """In whatever order, twice, contradicting each other, and after some of it has expired."""
    first, second = LedgerState(), LedgerState()
    for record, doubtful in records:
        first.apply(record, doubtful=doubtful)
        assert by_pods(first) == counted(first)
    again = records + records[: len(records) // 2]
    random.shuffle(again)  # type: ignore[attr-defined]
    for record, doubtful in again:
        second.apply(record, doubtful=doubtful)
    assert by_pods(second) == by_pods(first)
    second.expire(NOON + hours * HOUR + timedelta(seconds=1))
    assert by_pods(second) == counted(second)
    second.expire(NOON + 9 * HOUR)
    assert second._by_pod == {}, "nothing is left of pods whose certificates have expired"


replacing = st.builds(
    lambda number, minutes, before: replace(
        for_pod(number, "a", minutes), replaces=None if before is None else SerialNumber(before)
    ),
    st.integers(1, 8),
    st.integers(0, 3),
    st.integers(1, 8) | st.none(),
)


@given(st.lists(replacing, max_size=12))
def test_the_newest_of_a_pod_is_the_first_of_all_it_has(records: list[Issued]) -> None:
    """Also where a clock was set back, so that times contradict who replaced whom."""
    state = LedgerState()
    for record in records:
        state.apply(record)
    everything = state.of_pod("a")
    newest = state.newest_of_pod("a", lambda _: True)
    assert newest == (everything[0] if everything else None)
    odd = state.newest_of_pod("a", lambda each: bool(each.serial.value % 2))
    assert (odd is None) == all(each.serial.value % 2 == 0 for each in everything)


def test_a_pod_that_nobody_recorded_has_nothing() -> None:
    """No error, and no entry that stays behind."""
    state = state_of(for_pod(1, "a"))
    assert state.of_pod("b") == ()
    assert state.of_pod("") == ()


def test_a_revocation_shows_in_what_a_pod_has() -> None:
    """A pod's entries are those of the ledger, not copies of what it said once."""
    state = state_of(for_pod(1, "a"))
    state.apply(replace(make_revoked(1), not_after=for_pod(1, "a").not_after))
    assert [each.revoked is not None for each in state.of_pod("a")] == [True]


@pytest.mark.parametrize("count", [1, 2, 15, 16, 17, 40])
def test_few_and_many_certificates_of_an_identity_are_kept_alike(count: int) -> None:
    """However they are kept: newest first, and whichever of them go."""
    made = [for_pod(n, f"p{n}", minutes=n) for n in range(1, count + 1)]
    state = state_of(*made)
    numbers = [each.serial.value for each in state.entries_of("demo", "reader")]
    assert numbers == list(range(count, 0, -1))
    state.expire(NOON + HOUR + timedelta(seconds=1))  # a third of them
    left = [each.serial.value for each in state.entries_of("demo", "reader")]
    assert left == [n for n in numbers if n % 3]
    assert state.identity_count == bool(left)
    state.apply(for_pod(1, "p1", minutes=1))
    assert state.entries_of("demo", "reader")[-1].serial.value == 1


def test_the_certificates_of_many_pods_are_kept_in_place() -> None:
    """What keeps them is not made anew for each: that made thousands cost seconds."""
    state = state_of(*(for_pod(n, f"p{n}") for n in range(1, 101)))
    before = state._by_identity["demo"]["reader"]
    state.apply(for_pod(101, "p101"))
    assert state._by_identity["demo"]["reader"] is before
    assert len(state.entries_of("demo", "reader")) == 101
