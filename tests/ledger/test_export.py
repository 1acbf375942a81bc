"""The ledger as a file: what goes in comes out, and no byte of it can change unnoticed."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentid.errors import InputError
from agentid.ledger import StoredSegment, verify_segments
from agentid.ledger.export import MAX_OBJECT_BYTES, Exporter, Seal, read_export
from agentid.ledger.naming import segment_name
from agentid.ledger.reading import decode
from agentid.ledger.records import encode_record
from agentid.ledger.segment import Cover, Head, Header, seal
from agentid.testing.ledger import NOON, make_issued, make_revoked

DOCUMENT = Path("docs/operations/ledger-export.md")


def export(*segments: StoredSegment) -> bytes:
    """Return an export of segments, given in their order."""
    out = io.BytesIO()
    exporter = Exporter(out.write, NOON)
    for stored in segments:
        exporter.add(stored)
    exporter.end()
    return out.getvalue()


def read(data: bytes) -> list[StoredSegment]:
    """Return what an export holds."""
    return list(read_export(io.BytesIO(data)))


@cache
def ledger() -> tuple[StoredSegment, ...]:
    """Return two chains: of `a` the second of three was merged into the second of `b`."""
    objects: list[StoredSegment] = []

    def add(
        writer: str,
        sequence: int,
        previous: str | None,
        *,
        heads: tuple[Head, ...] = (),
        covers: tuple[Cover, ...] = (),
    ) -> str:
        number = 10 * sequence + ord(writer)
        lines = [encode_record(make_issued(number)), encode_record(make_revoked(number))]
        header = Header(writer, sequence, previous, NOON, heads, covers)
        made = seal(header, lines, [make_revoked(number).serial])
        objects.append(StoredSegment(made.name, made.data, NOON))
        return made.hash

    first = add("a", 1, None)
    second = add("a", 2, first)
    third = add("a", 3, second)
    one = add("b", 1, None, heads=(Head("a", 3, third),))
    add("b", 2, one, covers=(Cover("a", 2, 2, first, second, NOON),))
    return tuple(one for one in objects if one.name != segment_name("a", 2))


names = st.from_regex(r"[a-z][-a-z0-9.]{0,20}", fullmatch=True)
moments = st.none() | st.datetimes(
    datetime(1970, 1, 1),  # noqa: DTZ001 - hypothesis adds the zone
    datetime(2999, 1, 1),  # noqa: DTZ001
    timezones=st.just(UTC),
)
contents = st.binary(max_size=60) | st.sampled_from(
    [b"\n", b"\n\n", b'{"end":{}}\n', b'{"segment":{"bytes":1}}\n', b"no line feed"]
)


@given(st.dictionaries(names, st.tuples(contents, moments), max_size=5))
def test_whatever_is_stored_comes_out_as_it_was(
    objects: dict[str, tuple[bytes, datetime | None]],
) -> None:
    """Also what is no segment at all, and what looks like a line of the export's own."""
    stored = [StoredSegment(name, *objects[name]) for name in sorted(objects)]
    assert read(export(*stored)) == stored


def test_segments_stand_in_it_byte_for_byte() -> None:
    """The lines are those of the documentation, and an auditor's tools find the segments' own."""
    segment = ledger()[0]
    data = export(segment)
    lines = data.split(b"\n")
    assert lines[0] == b'{"export":{"createdAt":"2026-11-01T12:00:00Z","format":1}}'
    assert lines[1] == (
        b'{"segment":{"bytes":%d,"createdAt":"2026-11-01T12:00:00Z","lines":4,"name":"%b"}}'
        % (len(segment.data), segment.name.encode())
    )
    assert b"\n".join(lines[2:6]) + b"\n" == segment.data
    before = data[: data.index(b'{"end"')]
    assert lines[6:] == [
        b'{"end":{"segments":1,"sha256":"%b"}}' % sha256(before).hexdigest().encode(),
        b"",
    ]


def test_the_end_tells_what_was_written() -> None:
    """Who exports can print it, for others to keep."""
    out = io.BytesIO()
    exporter = Exporter(out.write, NOON)
    made = exporter.end()
    before = out.getvalue().splitlines(keepends=True)[0]
    assert made == Seal(0, sha256(before).hexdigest())


@given(st.data())
def test_no_byte_can_change_unnoticed(data: st.DataObject) -> None:
    """Flipped, left out, doubled or put in: the reader says that the file was altered."""
    whole = export(*ledger())
    at = data.draw(st.integers(0, len(whole) - 1))
    other = data.draw(st.integers(1, 255))
    altered = data.draw(
        st.sampled_from(
            [
                whole[:at] + bytes([whole[at] ^ other]) + whole[at + 1 :],
                whole[:at] + whole[at + 1 :],
                whole[:at],
                whole[:at] + bytes([other]) + whole[at:],
            ]
        )
    )
    if altered != whole:
        with pytest.raises(InputError, match=r"ledger export, line \d+: .*altered, or is no"):
            read(altered)


def test_every_byte_flipped_once_is_noticed() -> None:
    """The same for all bytes of a small file, one bit each: none is left to chance."""
    whole = export(ledger()[0])
    for at in range(len(whole)):
        altered = bytearray(whole)
        altered[at] ^= 1
        with pytest.raises(InputError, match="altered"):
            read(bytes(altered))


@given(st.binary(max_size=300))
def test_no_bytes_let_out_another_error(data: bytes) -> None:
    """Whatever the file is, it is read or refused."""
    with suppress(InputError):
        read(data)
    with suppress(InputError):
        read(export(*ledger()) + data)


def resealed(data: bytes) -> bytes:
    """Return what somebody would make who alters an export and knows how its end is made."""
    body = data[: data.rindex(b'{"end"')]
    segments = len(re.findall(rb'^\{"segment":', body, re.MULTILINE))
    digest = sha256(body).hexdigest().encode()
    return body + b'{"end":{"segments":%d,"sha256":"%b"}}\n' % (segments, digest)


def without(data: bytes, name: str) -> bytes:
    """Return an export that leaves a segment out, with an end that fits."""
    return export(*(stored for stored in read(data) if stored.name != name))


A1, A3, B1, B2 = (stored.name for stored in ledger())


def test_an_export_of_a_sound_ledger_is_sound() -> None:
    """No alarm, with a segment that stands for another one as well."""
    report = verify_segments(read(export(*ledger())))
    assert (report.alarms, report.segments, report.records) == ((), 4, 8)


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        pytest.param(A1, A1, id="first"),
        pytest.param(A3, A3, id="last-but-witnessed"),
        pytest.param(B1, B1, id="between"),
        pytest.param(B2, segment_name("a", 2), id="stands-for-another"),
    ],
)
def test_a_segment_that_is_left_out_is_missed(name: str, missing: str) -> None:
    """Even by somebody who gives the file an end that fits."""
    alarms = verify_segments(read(without(export(*ledger()), name))).alarms
    assert [(alarm.kind.value, alarm.subject) for alarm in alarms] == [("Missing", missing)]


def test_a_record_that_is_changed_breaks_its_seal() -> None:
    """The end fits, the segment's own seal does not."""
    data = export(*ledger())
    changed = resealed(data.replace(b'"name":"reader"', b'"name":"raider"', 1))
    (alarm,) = verify_segments(read(changed)).alarms
    assert (alarm.kind.value, alarm.subject) == ("Damaged", A1)


@pytest.mark.parametrize(
    ("order", "message"),
    [
        pytest.param((1, 0, 2, 3), f'"{A1}" comes after "{A3}"; segments come by', id="swapped"),
        pytest.param((0, 1, 1, 2), f'"{A3}" comes after "{A3}"', id="twice"),
    ],
)
def test_segments_in_another_order_are_refused(order: tuple[int, ...], message: str) -> None:
    """By the reader, and by who would write them so."""
    data = export(*ledger())
    body = data[data.index(b'{"segment"') : data.rindex(b'{"end"')]
    pieces = re.split(rb'(?m)^(?=\{"segment":)', body)[1:]
    head = data[: data.index(b'{"segment"')]
    shuffled = resealed(head + b"".join(pieces[n] for n in order) + b'{"end"')
    with pytest.raises(InputError, match=message):
        read(shuffled)
    with pytest.raises(InputError, match=message):
        export(*(ledger()[n] for n in order))


def edited(old: bytes, new: bytes) -> bytes:
    """Return an export in which something else stands once, with an end that fits."""
    data = export(*ledger())
    assert old in data
    return resealed(data.replace(old, new, 1))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param(b"", "line 1: the file ends where export belongs", id="empty"),
        pytest.param(b"certificate\n", "line 1: not JSON .* where export", id="no-json"),
        pytest.param(b"[]\n", "line 1: something else where export", id="no-object"),
        pytest.param(b'{"export":{}}\n', "line 1: key 'format' is missing", id="no-format"),
        pytest.param(
            edited(b'"format":1}', b'"format":2}'),
            "line 1: format 2 was written by a later release",
            id="newer-format",
        ),
        pytest.param(
            edited(b'"export":{"cr', b'"export": {"cr'), "line 1: it is spelled", id="spelling"
        ),
        pytest.param(edited(b'"lines":4', b'"lines":5'), "has 4 lines, not 5", id="lines"),
        pytest.param(
            edited(b'{"segment":{"bytes":', b'{"segment":{"bytes":9'),
            "line 2: the file ends in the middle of a segment",
            id="longer-than-the-file",
        ),
        pytest.param(
            edited(b'{"segment":{"bytes":', b'{"segment":{"bytes":9999'),
            f"bytes 9999.* are above {MAX_OBJECT_BYTES}",
            id="enormous",
        ),
        pytest.param(
            edited(b'"createdAt":"2026-11-01T12:00:00Z","lines"', b'"createdAt":5,"lines"'),
            "createdAt a value of type int is not a time",
            id="created",
        ),
        pytest.param(
            export(*ledger()).replace(b'"segments":4', b'"segments":5'),
            "the end counts 5 segments, 4 are there",
            id="count",
        ),
        pytest.param(export(*ledger()) + b"\n", "something follows the end", id="more"),
        pytest.param(
            export(StoredSegment("x", b"y")).replace(b"y\n", b"y{"),
            "no line feed follows the 1 bytes of x",
            id="no-line-feed",
        ),
    ],
)
def test_what_is_no_export_is_refused(data: bytes, message: str) -> None:
    """The line is named, and what differs."""
    with pytest.raises(InputError, match=message):
        read(data)


def test_lines_of_its_own_are_read_in_bounds() -> None:
    """A file of one endless line costs a kilobyte."""

    class Endless(io.RawIOBase):
        taken = 0

        def readline(self, size: int | None = -1, /) -> bytes:
            """Give as much as is asked for."""
            assert size is not None
            assert size > 0
            self.taken += size
            return b"x" * size

    stream = Endless()
    with pytest.raises(InputError, match="not JSON"):
        list(read_export(stream))  # type: ignore[arg-type]
    assert stream.taken <= 4096


def test_an_object_too_large_is_not_exported() -> None:
    """The API server stores none of that size."""
    with pytest.raises(InputError, match=r"big: \d+ bytes are above"):
        export(StoredSegment("big", b"x" * (MAX_OBJECT_BYTES + 1)))


# What the documentation gives to an auditor who has no agentid


@pytest.fixture(scope="module")
def script() -> str:
    """The script of the documentation, as it stands there."""
    (found,) = re.findall(r"```sh\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    return str(found)


def run(script: str, folder: Path, data: bytes) -> tuple[int, str]:
    """Run it in a folder with this export; return its exit code, and what it printed."""
    (folder / "ledger.jsonl").write_bytes(data)
    shell = shutil.which("sh")
    assert shell is not None
    done = subprocess.run(
        [shell, "-c", script], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    return done.returncode, done.stdout.strip()


def test_the_documented_script_accepts_what_is_whole(script: str, tmp_path: Path) -> None:
    """With a run of segments that another one stands for."""
    assert run(script, tmp_path, export(*ledger())) == (
        0,
        "4 segments, each with its seal and in its chain",
    )


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param(
            export(*ledger()).replace(b"reader", b"raider", 1),
            f"the file was altered: .*\n{A1}: its seal says .*",
            id="altered",
        ),
        pytest.param(
            edited(b'"name":"reader"', b'"name":"raider"'), f"{A1}: its seal says .*", id="resealed"
        ),
        pytest.param(
            without(export(*ledger()), B1), f"{B2}: what came before it is not here.*", id="missing"
        ),
    ],
)
def test_the_documented_script_names_what_is_wrong(
    script: str, tmp_path: Path, data: bytes, message: str
) -> None:
    """As far as the documentation says that it does."""
    code, told = run(script, tmp_path, data)
    assert code == 1
    assert re.fullmatch(message, told), told


def test_the_documented_script_follows_the_chain(script: str, tmp_path: Path) -> None:
    """A segment that was written anew as a whole, seal and end included."""
    first, third, one, two = ledger()
    header = Header("b", 1, None, NOON)
    other = seal(header, [encode_record(make_issued(1))], [])
    assert decode(two.name, two.data).header.previous != other.hash
    data = export(first, third, StoredSegment(one.name, other.data, NOON), two)
    code, told = run(script, tmp_path, data)
    assert code == 1
    assert re.fullmatch(f"{B2}: names [0-9a-f]{{64}}, the one before has {other.hash}", told)
