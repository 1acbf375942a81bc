"""A segment that a later release wrote: told, left as it is, and nothing is issued beside it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from io import BytesIO
from typing import TYPE_CHECKING

import orjson
import pytest

from agentid._version import __version__
from agentid.errors import UnknownVersionError
from agentid.identity import SerialNumber
from agentid.ledger import AlarmKind, StoredSegment, verify_segments
from agentid.ledger.compactor import Compaction
from agentid.ledger.export import Exporter, read_export
from agentid.ledger.naming import segment_name
from agentid.ledger.reading import decode, inspect
from agentid.testing.ledger import NOON, make_issued, make_revoked, open_ledger
from tests.support.later import LATER_RELEASE, of_later_format, with_unknown_key

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentid.testing.clock import ManualClock
    from agentid.testing.segments import MemorySegments

FIRST, SECOND = (segment_name("w", n) for n in (1, 2))

SAID = (
    f"ledger segment {FIRST}: format 7 was written by agentid {LATER_RELEASE}, and agentid "
    f"{__version__} reads format 1; it is left as it is: go back to agentid {LATER_RELEASE} or "
    "later (docs/operations/upgrade.md)"
)


async def later_ledger(
    store: MemorySegments,
    clock: ManualClock,
    change: Callable[[dict[str, object]], object] = lambda _: None,
) -> None:
    """Leave a segment of a later format: certificates 1 and 2, of which 1 is revoked."""
    async with open_ledger(store, clock) as ledger:
        await ledger.append(make_issued(1), make_issued(2), make_revoked(1))
    store.objects[FIRST] = replace(
        store.objects[FIRST], data=of_later_format(store.objects[FIRST].data, change)
    )


async def test_nothing_is_issued_beside_it(clock: ManualClock, store: MemorySegments) -> None:
    """Promise 3: its serials are not forgotten, so nothing is issued, and it is said why."""
    await later_ledger(store, clock)
    async with open_ledger(store, clock, "v") as ledger:
        assert ledger.later_format == SAID
        with pytest.raises(UnknownVersionError, match=r"nothing is issued.*agentid 9\.1\.0"):
            await ledger.append(make_issued(3))
    assert set(store.objects) == {FIRST}


async def test_it_has_an_alarm_of_its_own(clock: ManualClock, store: MemorySegments) -> None:
    """It is not called damaged, and nothing that it may stand for is called missing."""
    await later_ledger(store, clock)
    async with open_ledger(store, clock, "v") as ledger:
        (alarm,) = ledger.alarms
    assert (alarm.kind, alarm.subject, alarm.detail) == (AlarmKind.LATER_FORMAT, FIRST, SAID)


@pytest.mark.parametrize(
    ("change", "known"),
    [
        pytest.param(lambda _: None, 2, id="records-that-can-be-read"),
        pytest.param(with_unknown_key, 0, id="records-that-cannot"),
    ],
)
async def test_revoking_goes_on(
    clock: ManualClock,
    store: MemorySegments,
    change: Callable[[dict[str, object]], object],
    known: int,
) -> None:
    """Promise 4: what it revokes is revoked, whatever its records look like, and more may be."""
    await later_ledger(store, clock, change)
    async with open_ledger(store, clock, "v") as ledger:
        assert ledger.state.count == known
        assert ledger.state.is_revoked(SerialNumber(1))
        assert not ledger.state.is_revoked(SerialNumber(2))
        await ledger.append(make_revoked(2))
        assert ledger.state.is_revoked(SerialNumber(2))


async def test_it_is_left_as_it_is(clock: ManualClock, store: MemorySegments) -> None:
    """It is neither merged, nor deleted, nor recorded anew, however old it grows."""
    await later_ledger(store, clock)
    before = store.objects[FIRST].data
    async with open_ledger(store, clock, "v") as ledger:
        for number in range(2, 12):  # as many as make compaction worth it
            await ledger.append(replace(make_revoked(2), actor=f"test {number}"))
        await clock.run_for(timedelta(days=2).total_seconds())
        assert await ledger.compact() == Compaction()
    assert store.objects[FIRST].data == before
    assert not [name for verb, name in store.calls if verb == "delete"]
    written = [name for verb, name in store.calls if verb == "create" and name != FIRST]
    assert len(written) == 10  # the revocations that were asked for, and nothing anew


async def test_what_it_stands_for_is_not_recorded_anew(
    clock: ManualClock, store: MemorySegments
) -> None:
    """A later release that merges segments into one of its own removes them; that is no loss."""
    async with open_ledger(store, clock) as old, open_ledger(store, clock, "v") as ledger:
        await old.append(make_issued(1))
        await old.append(make_issued(2))
        await clock.settle()
        merged = of_later_format(store.objects[SECOND].data, with_unknown_key)
        name = segment_name("x", 1)
        await store.create(name, merged, {})
        await store.delete(FIRST)
        await store.delete(SECOND)
        await clock.run_for(30)
        assert [alarm.kind for alarm in ledger.alarms] == [AlarmKind.LATER_FORMAT]
    assert set(store.objects) == {name}


async def test_issuing_goes_on_once_it_is_gone(clock: ManualClock, store: MemorySegments) -> None:
    """A later release that ran for a moment and left nothing does no lasting harm."""
    await later_ledger(store, clock)
    async with open_ledger(store, clock, "v") as ledger:
        await store.delete(FIRST)
        await clock.settle()
        assert ledger.later_format is None
        await ledger.append(make_issued(3))


async def test_with_a_seal_that_does_not_hold_it_is_damage(
    clock: ManualClock, store: MemorySegments
) -> None:
    """Somebody who alters the number of the format stops nothing."""
    async with open_ledger(store, clock) as ledger:
        await ledger.append(make_issued(1))
    stored = store.objects[FIRST]
    store.objects[FIRST] = replace(stored, data=stored.data.replace(b'"format":1', b'"format":7'))
    async with open_ledger(store, clock, "v") as ledger:
        assert [alarm.kind for alarm in ledger.alarms] == [AlarmKind.DAMAGED]
        await ledger.append(make_issued(2))


def test_a_release_is_named_only_if_it_looks_like_one() -> None:
    """What is told of the release comes from the object, and into messages."""
    body = b'{"format":2,"readBy":"\\u001b[31m9.9.9"}\n'
    data = body + b'{"sha256":"%b"}\n' % sha256(body).hexdigest().encode()
    with pytest.raises(UnknownVersionError, match=r"by a later release, .* the release that wrote"):
        decode(FIRST, data)


@pytest.mark.parametrize("found", [0, -1, "2", 2.5, None, True])
def test_a_number_that_is_no_later_format_is_damage(found: object) -> None:
    """Only a whole number above ours speaks of a later release."""
    body = orjson.dumps({"format": found}) + b"\n"
    data = body + b'{"sha256":"%b"}\n' % sha256(body).hexdigest().encode()
    reading = inspect(FIRST, data)
    assert reading.later is None
    assert reading.faults


def test_verification_tells_of_it_without_a_cluster() -> None:
    """An auditor with exported segments is told the same."""
    body = b'{"format":2}\n'
    data = body + b'{"sha256":"%b"}\n' % sha256(body).hexdigest().encode()
    report = verify_segments([StoredSegment(FIRST, data), StoredSegment(SECOND, data)])
    assert [alarm.kind for alarm in report.alarms] == [AlarmKind.LATER_FORMAT] * 2


def test_an_export_of_a_later_format_says_so() -> None:
    """The file is not called altered."""
    out = BytesIO()
    Exporter(out.write, NOON).end()
    later = out.getvalue().replace(b'"format":1', b'"format":3')
    said = r"ledger export, line 1: format 3 was written by a later release"
    with pytest.raises(UnknownVersionError, match=said):
        list(read_export(BytesIO(later)))
