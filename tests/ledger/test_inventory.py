"""Which certificates there are: every way of asking, and what damage does to the answer."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from agentid.api.vocabulary import DeliveryMode, Instances, Tier
from agentid.identity import SerialNumber, SpiffeId
from agentid.ledger import Issued, Revoked, StoredSegment
from agentid.ledger.inventory import Item, Query, SortKey, State, take_stock
from agentid.ledger.naming import segment_name
from agentid.ledger.records import Record, encode_record
from agentid.ledger.segment import Header, seal
from agentid.pki import KeyAlgorithm
from agentid.policy.grant import Grant
from agentid.policy.permissions import Permissions
from agentid.testing.ledger import NOON, make_issued, make_revoked

if TYPE_CHECKING:
    from collections.abc import Iterable

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
NOW = NOON + 30 * MINUTE


def grant(name: str, class_name: str = "reader", tier: Tier = Tier.LOW) -> str:
    """Return what an identity in namespace `demo` is given."""
    return Grant(
        spiffe_id=SpiffeId.parse(f"spiffe://example.org/ns/demo/agent/{name}"),
        class_name=class_name,
        issuer_name="builtin",
        sponsor="team@example.com",
        tier=tier,
        permissions=Permissions(systems=("erp.invoices",), operations=("read",)),
        lifetime=HOUR,
        key_algorithm=KeyAlgorithm.ECDSAP256,
        delivery=DeliveryMode.SECRET,
        instances=Instances.SHARED,
        service_account="default",
        secret_name=f"{name}-agentid",
        policy_oid="1.2.3",
        cps_uri=None,
        critical=False,
        ephemeral=False,
    ).to_json()


def certificate(
    number: int, name: str = "reader", *, lifetime: timedelta = HOUR, **changes: object
) -> Issued:
    """Return a record whose grant can be read."""
    return make_issued(number, name, lifetime=lifetime, **({"grant": grant(name)} | changes))


def segments(*records: Record) -> list[StoredSegment]:
    """Return one chain that holds these records, each in a segment of its own."""
    found, previous = list[StoredSegment](), None
    for number, record in enumerate(records, start=1):
        revokes = [record.serial] if isinstance(record, Revoked) else []
        made = seal(Header("w", number, previous, NOON), [encode_record(record)], revokes)
        found.append(StoredSegment(made.name, made.data, NOON))
        previous = made.hash
    return found


RECORDS = (
    certificate(0x11),
    certificate(0x12, grant=grant("reader", "batch", Tier.HIGH), replaces=SerialNumber(0x11)),
    make_revoked(0x11),
    certificate(0x21, "writer", namespace="finance", lifetime=10 * MINUTE),
    certificate(0x22, "writer", issuer="other", authority="fedcba9876543210"),
    certificate(0x31, "later", issued_at=NOON + 20 * MINUTE, not_before=NOON + HOUR / 2 + MINUTE),
    certificate(0x41, "odd", grant='{"version":7}'),
    replace(make_revoked(0x51), actor="an administrator"),
)


def asked(query: Query, by: SortKey = SortKey.SERIAL) -> list[str]:
    """Return the serials of the answer."""
    return [
        str(item.serial) for item in take_stock(segments(*RECORDS), query, now=NOW, by=by).items
    ]


@pytest.mark.parametrize(
    ("query", "serials"),
    [
        pytest.param(Query(), ["11", "12", "21", "22", "31", "41", "51"], id="all"),
        pytest.param(Query(namespace="finance"), ["21"], id="namespace"),
        pytest.param(Query(name="writer"), ["21", "22"], id="name"),
        pytest.param(Query(namespace="demo", name="writer"), ["22"], id="identity"),
        pytest.param(Query(class_name="batch"), ["12"], id="class"),
        pytest.param(Query(class_name="reader"), ["11", "21", "22", "31"], id="class-not-the-odd"),
        pytest.param(Query(tier=Tier.HIGH), ["12"], id="tier"),
        pytest.param(Query(issuer="other"), ["22"], id="issuer"),
        pytest.param(Query(authority="fedc"), ["22"], id="authority"),
        pytest.param(Query(serial="2"), ["21", "22"], id="serial"),
        pytest.param(Query(serial="51"), ["51"], id="serial-only-revoked"),
        pytest.param(Query(state=State.REVOKED), ["11", "51"], id="revoked"),
        pytest.param(Query(state=State.EXPIRED), ["21"], id="expired"),
        pytest.param(Query(state=State.LIVE), ["12", "22", "31", "41"], id="live"),
        pytest.param(Query(state=State.REVOKED, name="reader"), ["11"], id="revoked-by-name"),
        pytest.param(Query(state=State.REVOKED, name="writer"), [], id="none"),
        pytest.param(Query(issued_after=NOON + 20 * MINUTE), ["31"], id="issued-after"),
        pytest.param(
            Query(issued_before=NOON + 20 * MINUTE), ["11", "12", "21", "22", "41"], id="before"
        ),
        pytest.param(Query(issued_before=NOON), [], id="before-is-exclusive"),
        pytest.param(
            Query(valid_at=NOON), ["11", "12", "21", "22", "41"], id="valid-before-it-was-revoked"
        ),
        pytest.param(
            Query(valid_at=NOON + 5 * MINUTE), ["12", "21", "22", "41"], id="valid-once-revoked"
        ),
        pytest.param(
            Query(valid_at=NOON + 10 * MINUTE), ["12", "21", "22", "41"], id="valid-last-second"
        ),
        pytest.param(
            Query(valid_at=NOON + HOUR), ["12", "22", "31", "41"], id="valid-in-the-future"
        ),
    ],
)
def test_everything_that_is_asked_holds(query: Query, serials: list[str]) -> None:
    """Each question alone, and some together."""
    assert asked(query) == serials


@pytest.mark.parametrize(
    ("by", "serials"),
    [
        (SortKey.SERIAL, ["11", "12", "21", "22", "31", "41", "51"]),
        (SortKey.ISSUED, ["11", "12", "21", "22", "41", "31", "51"]),
        (SortKey.EXPIRES, ["21", "11", "12", "22", "31", "41", "51"]),
        (SortKey.IDENTITY, ["31", "41", "11", "12", "22", "21", "51"]),
    ],
)
def test_answers_are_sorted(by: SortKey, serials: list[str]) -> None:
    """Equals by serial; what only its revocation is known of comes last."""
    assert asked(Query(), by) == serials


def one(serial: str, stored: Iterable[StoredSegment]) -> Item:
    """Return the only item of this serial."""
    (item,) = take_stock(stored, Query(serial=serial), now=NOW).items
    return item


def test_an_item_says_where_it_stands() -> None:
    """All segments that hold a record of it, each once, also duplicates that compaction left."""
    stored = segments(*RECORDS, certificate(0x11))
    item = one("11", stored)
    assert item.issued == certificate(0x11)
    assert item.revoked == make_revoked(0x11)
    assert item.segments == tuple(segment_name("w", n) for n in (1, 3, 9))
    unknown = one("51", stored)
    assert (unknown.issued, unknown.segments) == (None, (segment_name("w", 8),))


def test_the_order_of_the_segments_does_not_matter() -> None:
    """A revocation may come before its certificate."""
    stored = segments(*RECORDS)
    forward = take_stock(stored, Query(), now=NOW)
    assert take_stock(reversed(stored), Query(), now=NOW) == forward


@pytest.mark.parametrize(
    ("end", "state"),
    [(timedelta(0), State.LIVE), (timedelta(microseconds=1), State.EXPIRED)],
)
def test_the_last_second_of_a_certificate_is_live(end: timedelta, state: State) -> None:
    """RFC 5280 §4.1.2.5: notAfter counts."""
    (item,) = take_stock(segments(certificate(1)), Query(), now=NOON + HOUR).items
    assert item.state(NOON + HOUR + end) is state


def test_damage_is_told_and_hides_no_revocation() -> None:
    """The header names the serial whose record cannot be read; what is doubtful says so."""
    stored = segments(*RECORDS)
    bad = StoredSegment(stored[2].name, stored[2].data.replace(b'"actor"', b'"actoR"'))
    odd = StoredSegment(stored[3].name, stored[3].data.replace(b"builtin", b"bui1tin"))
    inventory = take_stock([*stored[:2], bad, odd, *stored[4:]], Query(), now=NOW)
    items = {str(item.serial): item for item in inventory.items}
    assert items["11"].state(NOW) is State.REVOKED
    assert items["21"].doubtful
    assert not items["22"].doubtful
    assert [alarm.subject for alarm in inventory.report.alarms] == [bad.name, odd.name]


def test_what_is_not_asked_for_is_checked_all_the_same() -> None:
    """An answer of nothing from a ledger that lacks a segment is no answer."""
    stored = segments(*RECORDS)
    inventory = take_stock([stored[0], *stored[2:]], Query(name="nobody"), now=NOW)
    assert inventory.items == ()
    assert [alarm.subject for alarm in inventory.report.alarms] == [stored[1].name]
