"""The audit stream on real files, pipes and full devices."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agentid.errors import InputError
from agentid.telemetry.audit_stream import AuditStream
from tests.support.api import until

FULL = Path("/dev/full")
"""A device of Linux on which every write fails with ENOSPC."""


def line(number: int, size: int = 32) -> bytes:
    """A line of so many bytes."""
    return f"{number:0{size - 1}d}\n".encode()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the stream goes."""
    return tmp_path / "audit.jsonl"


def test_lines_are_appended_whole_and_in_order(path: Path) -> None:
    """To what stands there; nobody else may read the file, and closing writes all that waits."""
    path.write_bytes(b"before\n")
    stream = AuditStream(path)
    lines = [line(number, 200) for number in range(5_000)]
    assert all(map(stream.write, lines))
    assert stream.close(10) == 0
    assert path.read_bytes() == b"before\n" + b"".join(lines)
    assert not stream.write(line(0)), "it is closed"


def test_a_new_file_is_not_for_everybody(path: Path) -> None:
    """It names agents and who answers for them."""
    AuditStream(path).close(10)
    assert path.stat().st_mode & 0o007 == 0


def test_a_file_that_was_moved_away_is_followed_by_a_new_one(path: Path) -> None:
    """As log rotation does it; no line is lost, cut, or in both."""
    stream = AuditStream(path)
    stream.write(line(1))
    until("the first line", lambda: path.read_bytes() == line(1))
    path.rename(path.with_suffix(".1"))
    stream.write(line(2))
    until("the second line", lambda: path.exists() and path.read_bytes() == line(2))
    path.unlink()
    stream.write(line(3))
    until("the third line", lambda: path.exists() and path.read_bytes() == line(3))
    assert stream.close(10) == 0
    assert path.with_suffix(".1").read_bytes() == line(1)


def test_a_disk_that_was_full_gets_everything_in_the_end(path: Path) -> None:
    """What failed is tried again where it broke off; meanwhile the stream says what is wrong."""
    path.symlink_to(FULL)
    stream = AuditStream(path)
    assert stream.write(line(1))
    until("the failure", lambda: stream.failure)
    assert "No space left on device" in stream.failure
    assert stream.write(line(2))
    path.unlink()  # somebody makes room: the path leads to a disk that is not full
    until("both lines", lambda: path.exists() and path.read_bytes() == line(1) + line(2))
    until("the end of the failure", lambda: not stream.failure)
    assert stream.close(10) == 0


LIMITED = """
import resource, sys
from pathlib import Path
from agentid.telemetry.audit_stream import AuditStream
from agentid.telemetry.logs import configure_logging
from tests.support.api import until
configure_logging()
path = Path(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
stream = AuditStream(path)
for number in range(5):
    stream.write(b"%0299d\\n" % number)
until("the failure", lambda: stream.failure)
path.rename(sys.argv[2])
until("the end of the failure", lambda: not stream.failure)
sys.exit(stream.close(10))
"""


def test_a_line_that_was_cut_is_whole_in_the_next_file(path: Path, tmp_path: Path) -> None:
    """Of a write that the system took in part; nothing is lost, and nothing whole comes twice."""
    full = tmp_path / "full"
    subprocess.run([sys.executable, "-c", LIMITED, str(path), str(full)], check=True)
    lines = [b"%0299d\n" % number for number in range(5)]
    assert full.read_bytes() == b"".join(lines)[:1000]
    assert path.read_bytes() == b"".join(lines[3:])


def test_what_finds_no_room_is_refused_at_once(path: Path) -> None:
    """A destination that stands still costs a bounded amount of memory, and nobody's time."""
    path.symlink_to(FULL)
    stream = AuditStream(path, waiting=100)
    begun = time.monotonic()
    taken = [stream.write(line(number)) for number in range(1_000)]
    assert time.monotonic() - begun < 1
    assert taken == [True] * 3 + [False] * 997, "three of 32 bytes go into a hundred"
    begun = time.monotonic()
    assert stream.close(0.2) == 96, "bytes that were lost"
    assert time.monotonic() - begun < 2


def test_a_destination_that_cannot_be_opened_is_told_at_the_start(tmp_path: Path) -> None:
    """With its name, and what to do."""
    with pytest.raises(InputError, match=r"nowhere/a: No such file.*name a file in a folder"):
        AuditStream(tmp_path / "nowhere" / "a")


def test_a_pipe_that_nobody_reads_does_not_hold_up_the_start(tmp_path: Path) -> None:
    """Opening one would wait for a reader, perhaps for ever."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="pipe: No such device or address"):
        AuditStream(tmp_path / "pipe")


PROGRAM = """
import sys
from agentid.telemetry.audit_stream import AuditStream
from agentid.telemetry.logs import configure_logging
configure_logging()
stream = AuditStream()
for number in range(int(sys.argv[1])):
    stream.write(b"%0199d\\n" % number)
print(stream.close(float(sys.argv[2])), file=sys.stderr)
"""


@pytest.fixture
def program() -> list[str]:
    """A process that writes to its standard output."""
    return [sys.executable, "-c", PROGRAM]


def test_standard_output_has_nothing_else(program: list[str]) -> None:
    """Logs are on standard error."""
    done = subprocess.run([*program, "3000", "10"], capture_output=True, check=True)
    assert done.stdout == b"".join(b"%0199d\n" % number for number in range(3000))
    assert done.stderr == b"0\n"


def test_a_reader_that_stands_still_holds_up_nobody(program: list[str]) -> None:
    """The process ends in time, and says how much was lost."""
    begun = time.monotonic()
    with subprocess.Popen(
        [*program, "3000", "0.3"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stderr is not None
        lost = int(process.stderr.read())
        assert process.wait(10) == 0
    assert lost > 0
    assert time.monotonic() - begun < 10


def test_a_reader_that_is_gone_is_told(program: list[str]) -> None:
    """The log has the reason; the process is not killed by the pipe."""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [*program, "10", "1.5"], stdout=writing, stderr=subprocess.PIPE, check=True
    )
    os.close(writing)
    assert b"audit_stream_broken" in done.stderr
    assert b"Broken pipe" in done.stderr
    assert done.stderr.endswith(b"2000\n")
