"""Segments: their bytes, their seal, and what is read of damaged ones."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentid.errors import InputError, LedgerCorruptError
from agentid.identity import SerialNumber
from agentid.ledger.naming import new_writer, parse_segment_name, segment_name, successor
from agentid.ledger.reading import decode, inspect
from agentid.ledger.records import Record, Revoked, encode_record
from agentid.ledger.segment import MAX_SEGMENT_BYTES, Cover, Head, Header, Sealed, seal
from agentid.testing.ledger import NOON, make_issued, make_revoked

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HASH = "ab" * 32
HEADER = Header("w", 2, HASH, NOON, (Head("v", 3, HASH),), (Cover("u", 1, 4, None, HASH, NOON),))
RECORDS = (make_issued(1), make_revoked(2), make_issued(3), make_revoked(4))


def sealed(header: Header = HEADER, records: tuple[Record, ...] = RECORDS) -> Sealed:
    """Return the bytes of a segment."""
    revokes = [record.serial for record in records if isinstance(record, Revoked)]
    return seal(header, [encode_record(record) for record in records], revokes)


def test_a_segment_reads_back_as_it_was() -> None:
    """Header, records, hash and size are those that were written."""
    written = sealed()
    segment = decode(written.name, written.data)
    assert segment.header == HEADER
    assert segment.records == RECORDS
    assert segment.hash == written.hash
    assert segment.size == len(written.data)


def test_the_bytes_are_as_documented() -> None:
    """A change here is a change of format, which every release before would misread."""
    written = sealed(replace(HEADER, sequence=1, previous=None), (make_revoked(1),))
    assert written.name == "agentid-ledger-w-00000000001"
    assert written.data.decode() == (
        '{"covers":[{"created":"2026-11-01T12:00:00Z","first":1,"hash":"' + HASH + '","last":4,'
        '"previous":null,"writer":"u"}],"created":"2026-11-01T12:00:00Z","format":1,'
        '"heads":[{"hash":"' + HASH + '","sequence":3,"writer":"v"}],"previous":null,"records":1,'
        '"revokes":["01"],"sequence":1,"writer":"w"}\n'
        '{"actor":"a test","notAfter":"2026-11-01T13:00:00Z","reason":"superseded",'
        '"revokedAt":"2026-11-01T12:05:00Z","serial":"01","type":"revoked"}\n'
        '{"sha256":"' + written.hash + '"}\n'
    )


def test_an_auditor_recomputes_the_hash_with_a_shell(tmp_path: Path) -> None:
    """`head -n -1 FILE | sha256sum` gives the seal; no program of ours is needed."""
    written = sealed()
    file = tmp_path / "segment.jsonl"
    file.write_bytes(written.data)
    shell = f"head -n -1 {file} | sha256sum"
    found = subprocess.run(["sh", "-c", shell], capture_output=True, text=True, check=True)
    assert found.stdout.split()[0] == written.hash
    assert f'{{"sha256":"{written.hash}"}}' == written.data.decode().splitlines()[-1]


def test_no_changed_byte_goes_unnoticed_or_hides_a_revocation() -> None:
    """Each byte is changed in five ways: all are refused, and all revocations are still found."""
    written = sealed()
    wanted = {SerialNumber(2), SerialNumber(4)}
    for place, byte in enumerate(written.data):
        for other in {byte ^ 1, byte ^ 32, 0, ord("\n"), ord('"')} - {byte}:
            altered = written.data[:place] + bytes([other]) + written.data[place + 1 :]
            reading = inspect(written.name, altered)
            assert reading.faults, (place, other)
            found = {one.serial for one in reading.records if isinstance(one, Revoked)}
            assert wanted <= found | set(reading.revokes), (place, other)


def test_no_cut_goes_unnoticed_or_hides_a_revocation_from_the_header_on() -> None:
    """What is cut short at any place is refused; while the header is whole, it tells them all."""
    written = sealed()
    header_end = written.data.index(b"\n")
    for length in range(len(written.data)):
        reading = inspect(written.name, written.data[:length])
        assert reading.faults, length
        if length >= header_end:
            assert set(reading.revokes) == {SerialNumber(2), SerialNumber(4)}, length


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        pytest.param(lambda _: b"", "line 1 is no seal, the segment was cut short", id="empty"),
        pytest.param(
            lambda data: data[: data.rindex(b'{"sha')],
            "line 5 is no seal, the segment was cut short or altered: key",
            id="seal-missing",
        ),
        pytest.param(
            lambda data: data.replace(b"a test", b"a tesT"),
            "line 6: the seal says [0-9a-f]{64}, the lines before have [0-9a-f]{64}",
            id="record-altered",
        ),
        pytest.param(
            lambda data: data.replace(b'"serial":"03"', b'"serial":"0x"'),
            'line 4: serial: serial number: "0x" is not hexadecimal',
            id="record-unreadable",
        ),
        pytest.param(lambda data: data * 2, "line 12: the seal says", id="twice"),
        pytest.param(lambda _: b"\0" * MAX_SEGMENT_BYTES, "is no seal", id="zeros"),
        pytest.param(
            lambda _: b"x" * (MAX_SEGMENT_BYTES + 1), "921601 bytes are above 921600", id="too-long"
        ),
        pytest.param(
            lambda data: data.replace(b'"format":1', b'"format":2'),
            "line 1: format 2 is not 1",
            id="newer-format",
        ),
    ],
)
def test_damage_is_named(damage: Callable[[bytes], bytes], message: str) -> None:
    """The message names the object, the line and what differs."""
    written = sealed()
    with pytest.raises(LedgerCorruptError, match=f"ledger segment {written.name}: .*{message}"):
        decode(written.name, damage(written.data))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        pytest.param(
            "agentid-ledger-w-00000000003",
            "the header is that of agentid-ledger-w-00000000002, not of the object",
            id="moved",
        ),
        pytest.param("something", '"something" is not the name of a ledger segment', id="foreign"),
    ],
)
def test_a_segment_under_another_name_is_refused(name: str, message: str) -> None:
    """Bytes that are sound in themselves do not count in another place."""
    with pytest.raises(LedgerCorruptError, match=message):
        decode(name, sealed().data)


def test_a_header_that_contradicts_its_records_is_refused() -> None:
    """Also when the seal is right: somebody may have made it anew."""
    lines = [encode_record(record) for record in RECORDS]
    forged = seal(HEADER, lines, [SerialNumber(2)])
    with pytest.raises(LedgerCorruptError, match="revokes are not those that the records revoke"):
        decode(forged.name, forged.data)
    forged = seal(HEADER, lines[:1], [])
    data = forged.data.replace(b'"records":1', b'"records":9')
    assert "the seal says" in inspect(forged.name, data).sentence


def test_a_segment_above_the_bound_is_not_made() -> None:
    """What the API server would refuse is refused before it is sent."""
    line = encode_record(make_issued(1, grant="x" * 60_000))
    with pytest.raises(InputError, match="bytes are above 921600"):
        seal(HEADER, [line] * 16, [])


@given(st.binary(max_size=300))
def test_no_bytes_let_out_an_error(data: bytes) -> None:
    """Inspection reports; it never raises."""
    assert inspect("agentid-ledger-w-00000000001", data).faults


@given(st.text(max_size=80), st.binary(min_size=5, max_size=5))
def test_a_new_writer_fits_into_names_and_labels(process: str, octets: bytes) -> None:
    """Whatever the process is called, and for every successor of it."""
    writer = new_writer(process, octets)
    for _ in range(3):
        name = segment_name(writer, 7)
        assert len(writer) <= 63
        assert len(name) <= 253
        assert parse_segment_name(name) == (writer, 7)
        writer = successor(writer)


def test_writers_are_told_apart_by_their_random_part() -> None:
    """The end of a pod's name, which tells pods apart, is kept when it is cut."""
    octets = bytes.fromhex("0f1e2d3c4b")
    assert new_writer("agentid-7d9f-abcde", octets) == "agentid-7d9f-abcde-0f1e2d3c4b"
    assert new_writer("x" * 80 + "-abcde", octets).endswith("x-abcde-0f1e2d3c4b")
    assert successor("w") == "w.2"
    assert successor("w.9") == "w.10"


def test_too_little_randomness_is_refused() -> None:
    """Two runs that share a writer would write into one chain."""
    with pytest.raises(InputError, match="4 random octets given, 5 are needed"):
        new_writer("pod", b"1234")
