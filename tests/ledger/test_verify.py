"""Verification: every way of touching stored segments is noticed, and named."""

from __future__ import annotations

import re
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING, TypeAlias

import pytest

from agentid.ledger import AlarmKind, StoredSegment, VerifyReport, verify_segments
from agentid.ledger.naming import segment_name
from agentid.ledger.reading import decode
from agentid.ledger.records import encode_record
from agentid.ledger.segment import Cover, Head, Header, seal
from agentid.testing.ledger import NOON, make_issued

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Objects: TypeAlias = dict[str, bytes]


def chain(
    objects: Objects, writer: str, length: int, *, heads: tuple[Head, ...] = ()
) -> tuple[str, ...]:
    """Add a chain of so many segments, and return their hashes."""
    hashes: list[str] = []
    for sequence in range(1, length + 1):
        previous = hashes[-1] if hashes else None
        first_heads = heads if sequence == 1 else ()
        header = Header(writer, sequence, previous, NOON, first_heads)
        made = seal(header, [encode_record(make_issued(100 * length + sequence))], [])
        objects[made.name] = made.data
        hashes.append(made.hash)
    return tuple(hashes)


def two_chains() -> Objects:
    """Return chain `a` of five, and chain `b` of three that witnessed its end."""
    objects: Objects = {}
    hashes = chain(objects, "a", 5)
    chain(objects, "b", 3, heads=(Head("a", 5, hashes[-1]),))
    return objects


def compacted() -> Objects:
    """Return the same after the third of `b` has taken the place of the middle of `a`."""
    objects = two_chains()
    a = [decode(segment_name("a", n), objects[segment_name("a", n)]) for n in range(1, 6)]
    cover = Cover("a", 2, 4, a[0].hash, a[3].hash, NOON)
    before = decode(segment_name("b", 2), objects[segment_name("b", 2)])
    made = seal(Header("b", 3, before.hash, NOON, covers=(cover,)), [], [])
    objects[made.name] = made.data
    for n in (2, 3, 4):
        del objects[segment_name("a", n)]
    return objects


def report(objects: Mapping[str, bytes]) -> VerifyReport:
    """Verify, in an order that is not that of the chains."""
    return verify_segments(
        StoredSegment(name, data) for name, data in reversed(list(objects.items()))
    )


def resealed(data: bytes, old: bytes, new: bytes) -> bytes:
    """Return a segment with something exchanged, and a seal that fits again."""
    assert old in data
    body = data.replace(old, new)
    body = body[: body.rindex(b'{"sha256"')]
    return body + b'{"sha256":"%b"}\n' % sha256(body).hexdigest().encode()


A2, A3, A5, B1, B3 = (
    segment_name(writer, n) for writer, n in (("a", 2), ("a", 3), ("a", 5), ("b", 1), ("b", 3))
)


def flip(name: str) -> Callable[[Objects], None]:
    """Flip one bit in the middle of a segment."""

    def tamper(objects: Objects) -> None:
        data = bytearray(objects[name])
        data[len(data) // 2] ^= 1
        objects[name] = bytes(data)

    return tamper


def remove(*names: str) -> Callable[[Objects], None]:
    """Remove segments."""

    def tamper(objects: Objects) -> None:
        for name in names:
            del objects[name]

    return tamper


def swap(objects: Objects) -> None:
    """Exchange the contents of two segments."""
    objects[A2], objects[A3] = objects[A3], objects[A2]


def forge(name: str, old: bytes, new: bytes) -> Callable[[Objects], None]:
    """Exchange something in a segment, and seal it again."""

    def tamper(objects: Objects) -> None:
        objects[name] = resealed(objects[name], old, new)

    return tamper


def replay_old(objects: Objects) -> None:
    """Put a copy of an older segment at the end of the chain."""
    objects[segment_name("a", 6)] = objects[A5]


@pytest.mark.parametrize("make", [two_chains, compacted], ids=["whole", "compacted"])
def test_what_nobody_touched_is_sound(make: Callable[[], Objects]) -> None:
    """No alarm, and the numbers are right."""
    objects = make()
    found = report(objects)
    assert found.alarms == ()
    assert [(one.writer, one.last) for one in found.chains] == [("a", 5), ("b", 3)]
    assert found.segments == len(objects)
    assert found.bytes == sum(len(data) for data in objects.values())


def test_segments_that_are_stood_for_may_still_be_there() -> None:
    """A compaction that was interrupted is no fault."""
    assert report(two_chains() | compacted()).alarms == ()


@pytest.mark.parametrize(
    ("tamper", "alarms"),
    [
        pytest.param(
            flip(A3), [(AlarmKind.DAMAGED, A3, "the seal says .* the lines before have")], id="bit"
        ),
        pytest.param(
            remove(A3),
            [(AlarmKind.MISSING, A3, f"{segment_name('a', 4)} as its predecessor speaks of it")],
            id="middle-removed",
        ),
        pytest.param(
            remove(A2, A3),
            [(AlarmKind.MISSING, A2, f"segments {A2} to {A3}: missing")],
            id="two-removed",
        ),
        pytest.param(
            remove(A5),
            [(AlarmKind.MISSING, A5, f"{B1} as a witness speaks of it")],
            id="witnessed-end-removed",
        ),
        pytest.param(
            remove(*(segment_name("a", n) for n in range(1, 6))),
            [
                (
                    AlarmKind.MISSING,
                    segment_name("a", 1),
                    "segments .* to agentid-ledger-a-0000000000",
                )
            ],
            id="whole-chain-removed",
        ),
        pytest.param(
            remove(segment_name("a", 1)),
            [(AlarmKind.MISSING, segment_name("a", 1), f"{A2} as its predecessor")],
            id="beginning-removed",
        ),
        pytest.param(
            swap,
            [
                (AlarmKind.DAMAGED, A2, f"the header is that of {A3}"),
                (AlarmKind.DAMAGED, A3, f"the header is that of {A2}"),
            ],
            id="swapped",
        ),
        pytest.param(
            replay_old,
            [(AlarmKind.DAMAGED, segment_name("a", 6), f"the header is that of {A5}")],
            id="copy-at-the-end",
        ),
        pytest.param(
            forge(A3, b'"name":"reader"', b'"name":"raider"'),
            [(AlarmKind.CONTRADICTED, A3, "its own bytes have .* as its predecessor says")],
            id="record-forged",
        ),
        pytest.param(
            forge(A5, b'"name":"reader"', b'"name":"raider"'),
            [(AlarmKind.CONTRADICTED, A5, f"its own bytes have .* {B1} as a witness says")],
            id="witnessed-end-forged",
        ),
        pytest.param(
            forge(A3, b'"created":"2026', b'"created":"2025'),
            [(AlarmKind.CONTRADICTED, A3, "disputed")],
            id="header-forged",
        ),
        pytest.param(
            forge(A3, b'"previous":"', b'"previous":"0000'),
            [(AlarmKind.DAMAGED, A3, "previous .* is not 64 lower-case")],
            id="link-malformed",
        ),
        pytest.param(
            forge(B1, b'"sequence":5,"writer":"a"', b'"sequence":9,"writer":"a"'),
            [
                (AlarmKind.CONTRADICTED, B1, "disputed"),
                (AlarmKind.MISSING, segment_name("a", 6), "as a witness speaks of it"),
            ],
            id="witness-forged",
        ),
    ],
)
def test_every_touch_is_noticed(
    tamper: Callable[[Objects], None], alarms: list[tuple[AlarmKind, str, str]]
) -> None:
    """The alarm names the object and says what differs; nothing else is accused."""
    objects = two_chains()
    tamper(objects)
    found = report(objects).alarms
    assert [(alarm.kind, alarm.subject) for alarm in found] == [(k, name) for k, name, _ in alarms]
    for alarm, (_, _, message) in zip(found, alarms, strict=True):
        assert re.search(message, str(alarm)), str(alarm)


@pytest.mark.parametrize(
    ("tamper", "kind", "subject", "message"),
    [
        pytest.param(
            remove(B3), AlarmKind.MISSING, A2, f"segments {A2} to .*4: missing", id="merged-removed"
        ),
        pytest.param(
            flip(B3), AlarmKind.MISSING, A2, f"segments {A2} to .*4: missing", id="merged-damaged"
        ),
        pytest.param(
            forge(B3, b'"first":2,', b'"first":3,'), AlarmKind.MISSING, A2, A2, id="run-shortened"
        ),
        pytest.param(
            forge(B3, b'"hash":"', b'"hash":"' + b"0" * 64 + b'","x":"'),
            AlarmKind.DAMAGED,
            B3,
            'key "x" is unknown',
            id="run-with-more-keys",
        ),
    ],
)
def test_a_merged_segment_answers_for_its_runs(
    tamper: Callable[[Objects], None], kind: AlarmKind, subject: str, message: str
) -> None:
    """When it is touched, what it stood for is missing."""
    objects = compacted()
    tamper(objects)
    found = [alarm for alarm in report(objects).alarms if alarm.kind is kind]
    assert [alarm.subject for alarm in found] == [subject]
    assert re.search(message, str(found[0])), str(found[0])


def test_a_run_has_to_fit_its_neighbours() -> None:
    """A merged segment that names other hashes than its neighbours do is contradicted."""
    objects = compacted()
    merged = decode(B3, objects[B3])
    (cover,) = merged.header.covers
    wrong = replace(merged.header, covers=(replace(cover, hash="00" * 32),))
    objects[B3] = seal(wrong, [], []).data
    (alarm,) = report(objects).alarms
    assert (alarm.kind, alarm.subject) == (AlarmKind.CONTRADICTED, segment_name("a", 4))
    assert f"{B3}, which stands for it says {'00' * 32}" in str(alarm)


def test_what_no_other_object_speaks_of_is_the_limit() -> None:
    """The last segments of the chain that nobody witnessed yet can go unnoticed; nothing else."""
    objects = two_chains()
    remove(B3)(objects)
    assert report(objects).alarms == ()


def test_an_object_of_another_name_is_damaged() -> None:
    """Something else under the ledger's label is an alarm, not an error."""
    (alarm,) = report({"stray": b"{}"}).alarms
    assert alarm.kind is AlarmKind.DAMAGED
    assert "stray" in str(alarm)


def test_each_record_is_counted() -> None:
    """Also of several writers."""
    assert report(two_chains()).records == 8
