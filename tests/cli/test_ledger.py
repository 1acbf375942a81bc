"""`agentid ledger` on an export, as an auditor without a cluster has it."""

from __future__ import annotations

import io
import json
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from agentid.api.vocabulary import DeliveryMode, Instances, Tier
from agentid.cli.app import app
from agentid.errors import InputError
from agentid.identity import SpiffeId
from agentid.ledger import Revoked, StoredSegment
from agentid.ledger.export import Exporter
from agentid.ledger.naming import segment_name
from agentid.ledger.records import Record, encode_record
from agentid.ledger.segment import Header, seal
from agentid.pki import KeyAlgorithm
from agentid.policy.grant import Grant
from agentid.policy.permissions import Permissions
from agentid.policy.schedule import Schedule
from agentid.testing.ledger import make_issued, make_revoked

if TYPE_CHECKING:
    from pathlib import Path

# The commands look at the clock, so everything here is measured from the present.
START = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=30)
LONG = "4a" * 16
GRANT = Grant(
    spiffe_id=SpiffeId.parse("spiffe://example.org/ns/demo/agent/reader"),
    class_name="batch",
    issuer_name="builtin",
    sponsor="team@example.com",
    tier=Tier.HIGH,
    permissions=Permissions(
        systems=("erp.invoices",),
        operations=("read",),
        schedule=Schedule("Europe/Berlin", (1 << 600) - (1 << 480)),
    ),
    lifetime=timedelta(hours=1),
    key_algorithm=KeyAlgorithm.ECDSAP256,
    delivery=DeliveryMode.SECRET,
    instances=Instances.SHARED,
    service_account="default",
    secret_name="reader-agentid",
    policy_oid="1.2.3",
    cps_uri=None,
    critical=False,
    ephemeral=False,
)
TIMES: dict[str, Any] = {
    "issued_at": START,
    "not_before": START,
    "not_after": START + timedelta(hours=1),
    "grant": GRANT.to_json(),
}
SEGMENTS: tuple[tuple[Record, ...], ...] = (
    (make_issued(int(LONG, 16), **TIMES),),
    (make_issued(0x12, "writer", **(TIMES | {"shard": None, "grant": "{}"})),),
    (Revoked(make_revoked(0x12).serial, make_revoked(1).reason, START, START, "somebody\x1b[2J"),),
)


def export(*, left_out: int | None = None) -> bytes:
    """Return an export of three segments, or of all but one."""
    out, previous = io.BytesIO(), None
    exporter = Exporter(out.write, START)
    for number, records in enumerate(SEGMENTS, start=1):
        lines = [encode_record(record) for record in records]
        revokes = [record.serial for record in records if isinstance(record, Revoked)]
        made = seal(Header("w", number, previous, START), lines, revokes)
        previous = made.hash
        if number != left_out:
            exporter.add(StoredSegment(made.name, made.data, START))
    exporter.end()
    return out.getvalue()


@pytest.fixture
def file(tmp_path: Path) -> str:
    """The path of an export."""
    path = tmp_path / "ledger.jsonl"
    path.write_bytes(export())
    return str(path)


def run(*arguments: str, stdin: bytes | None = None) -> tuple[int, str, str]:
    """Run `agentid ledger`; return exit code, output and error output."""
    done = CliRunner().invoke(app, ["ledger", *arguments], input=stdin)
    if isinstance(done.exception, InputError):
        raise done.exception
    return done.exit_code, done.stdout, done.stderr


def test_a_table_has_a_line_for_each_certificate(file: str) -> None:
    """Aligned, with a head; what the ledger does not know is said to be unknown."""
    code, out, err = run("list", "--from", file, "--sort", "serial")
    issued = START.strftime("%Y-%m-%dT%H:%M:%SZ")
    ends = (START + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    head, first, second = out.splitlines()
    assert (code, err) == (0, "")
    assert head.split() == ["SERIAL", "IDENTITY", "CLASS", "TIER", "STATE", "ISSUED", "EXPIRES"]
    assert first.split() == ["12", "demo/writer", "?", "?", "Revoked", "(superseded)", issued, ends]
    assert second.split() == [f"{LONG[:16]}…", "demo/reader", "batch", "High", "Live", issued, ends]
    assert head.index("IDENTITY") == first.index("demo/") == second.index("demo/")


def test_a_wide_table_has_whole_serials_and_more(file: str) -> None:
    """Sponsor, issuer, authority, shard, bundle, door and SPIFFE ID."""
    _, out, _ = run("list", "--from", file, "-o", "wide", "--serial", LONG[:4].upper())
    assert out.splitlines()[1].split() == [
        LONG, "demo/reader", "batch", "High", "Live",
        START.strftime("%Y-%m-%dT%H:%M:%SZ"),
        (START + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "team@example.com", "builtin", "0123456789abcdef", str(int(LONG, 16) % 8), "1", "Secret",
        "spiffe://example.org/ns/demo/agent/reader",
    ]  # fmt: skip


def test_json_says_everything(file: str) -> None:
    """One list, or a line for each; the grant as an object where it can be read."""
    _, out, _ = run("list", "--from", file, "-o", "json", "--state", "revoked")
    (found,) = json.loads(out)
    assert found["serial"] == "12"
    assert found["state"] == "revoked"
    assert found["revocation"] == {
        "reason": "superseded",
        "revokedAt": START.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "actor": "somebody\x1b[2J",
    }
    assert found["segments"] == [segment_name("w", 2), segment_name("w", 3)]
    assert found["certificate"]["grant"] == "{}"
    _, out, _ = run("list", "--from", file, "-o", "jsonl")
    lines: list[dict[str, Any]] = [json.loads(line) for line in out.splitlines()]
    assert [line["serial"] for line in lines] == ["12", LONG]
    assert lines[1]["certificate"]["grant"]["class"] == "batch"
    assert lines[1]["revocation"] is None


@pytest.mark.parametrize(
    ("options", "count"),
    [
        pytest.param(["--identity", "demo/reader"], 1, id="identity"),
        pytest.param(["--identity", "demo/"], 2, id="namespace"),
        pytest.param(["--identity", "/writer"], 1, id="name"),
        pytest.param(["--class", "batch"], 1, id="class"),
        pytest.param(["--tier", "high"], 1, id="tier"),
        pytest.param(["--issuer", "builtin", "--authority", "0123"], 2, id="authority"),
        pytest.param(["--state", "live"], 1, id="live"),
        pytest.param(["--issued-after", "40m"], 2, id="issued-after"),
        pytest.param(["--issued-before", "40m"], 0, id="issued-before"),
        pytest.param(["--issued-after", "2999-01-01"], 0, id="day"),
        pytest.param(["--valid-at", START.isoformat()], 1, id="valid-at"),
    ],
)
def test_options_narrow_the_list(file: str, options: list[str], count: int) -> None:
    """Each as its help says; nothing found is a sentence on standard error, and no failure."""
    code, out, err = run("list", "--from", file, *options)
    assert code == 0
    assert len(out.splitlines()) == (count + 1 if count else 0)
    assert ("No certificate on record" in err) is not bool(count)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param(["--identity", "reader"], "is not NAMESPACE/NAME", id="no-slash"),
        pytest.param(["--identity", "/"], "is not NAMESPACE/NAME", id="nothing"),
        pytest.param(["--identity", "a/b/c"], "is not NAMESPACE/NAME", id="two-slashes"),
        pytest.param(["--serial", "0x12"], '--serial "0x12" is not 1 to 40 hexa', id="serial"),
        pytest.param(["--valid-at", "noon"], '--valid-at "noon" is not a time', id="time"),
        pytest.param(["--valid-at", "2026-11-01T12:00"], "a time with its zone", id="no-zone"),
        pytest.param(["--from", "/nowhere"], "/nowhere: cannot be read", id="no-file"),
    ],
)
def test_what_was_mistyped_is_named(file: str, options: list[str], message: str) -> None:
    """With what would be right."""
    with pytest.raises(InputError, match=message):
        run("list", *([] if "--from" in options else ["--from", file]), *options)


def test_show_tells_everything_in_words(file: str) -> None:
    """Who, under what class and permissions, by which authority, and where it stands."""
    code, out, _ = run("show", "4A:4A", "--from", file)
    told = {line[:18].strip(): line[19:] for line in out.splitlines()}
    assert code == 0
    assert (
        told
        | {
            "serial": LONG,
            "state": "live",
            "who": "agent reader in namespace demo",
            "class": "batch, tier High",
            "sponsor": "team@example.com",
            "policy": "1.2.3",
            "systems": "erp.invoices",
            "operations": "read",
            "hours": "Mon 08:00/Mon 10:00 in Europe/Berlin",
            "compliance": "none",
            "issuer": "builtin",
            "authority": "0123456789abcdef",
            "CRL shard": str(int(LONG, 16) % 8),
            "bundle": "sequence 1",
            "on record in": segment_name("w", 1),
        }
        == told
    )


def test_show_tells_of_a_revocation_and_moves_no_cursor(file: str) -> None:
    """Who revoked it, why and when; what a terminal would obey is spelled out."""
    _, out, _ = run("show", "12", "--from", file)
    told = [line[:18].strip() for line in out.splitlines()]
    assert "revoked by         somebody\\x1b[2J" in out.splitlines()
    assert "revoked for        superseded" in out.splitlines()
    assert "CRL shard          none, no CRL speaks of it" in out.splitlines()
    assert "granted            grant: a field is missing" in out
    assert told.count("on record in") == 2


@pytest.mark.parametrize(
    ("serial", "message"),
    [
        pytest.param("99", "No serial on record begins with 99", id="unknown"),
        pytest.param("1", "", id="beginning-of-one"),
    ],
)
def test_a_serial_that_is_on_no_record(file: str, serial: str, message: str) -> None:
    """Exit code 1 and a sentence."""
    code, _, err = run("show", serial, "--from", file)
    assert code == bool(message)
    assert err.startswith(message)


def test_a_beginning_of_several_serials_asks_for_more(tmp_path: Path) -> None:
    """And names some of them."""
    out = io.BytesIO()
    exporter = Exporter(out.write, START)
    made = seal(
        Header("w", 1, None, START), [encode_record(make_issued(n)) for n in range(0x10, 0x18)], []
    )
    exporter.add(StoredSegment(made.name, made.data))
    exporter.end()
    (tmp_path / "x").write_bytes(out.getvalue())
    code, _, err = run("show", "1", "--from", str(tmp_path / "x"))
    assert code == 1
    assert err == "8 serials begin with 1: 10, 11, 12, 13, 14, …; give more digits.\n"


def test_verify_says_that_a_file_is_whole(file: str) -> None:
    """From a file, and from standard input."""
    code, out, _ = run("verify", file)
    assert code == 0
    told, known_by = out.splitlines()
    assert told.startswith("The ledger is whole: 3 records in 3 segments of 1 chains, ")
    sha256 = json.loads(export().splitlines()[-1])["end"]["sha256"]
    assert known_by == f"The file is the one that was exported if that printed {sha256}"
    assert run("verify", "-", stdin=export()) == (0, out, "")


@pytest.mark.parametrize(
    ("data", "messages"),
    [
        pytest.param(
            export().replace(b'"name":"reader"', b'"name":"raider"'),
            [
                f"Damaged: ledger segment {segment_name('w', 1)}: line 3: the seal",
                "Altered: .* the end say",
            ],
            id="altered",
        ),
        pytest.param(
            export(left_out=2),
            [f"Missing: ledger segment {segment_name('w', 2)}: missing"],
            id="left-out",
        ),
        pytest.param(
            export()[:-200], ["Altered: .* the file ends|Altered: .*not JSON"], id="cut-short"
        ),
    ],
)
def test_verify_says_what_is_wrong(data: bytes, messages: list[str]) -> None:
    """Exit code 1; each fault once, and nothing that only follows from another."""
    code, out, err = run("verify", "-", stdin=data)
    assert (code, out) == (1, "")
    lines = err.splitlines()
    assert len(lines) == len(messages)
    for line, message in zip(lines, messages, strict=True):
        assert re.match(message, line), line


def test_list_and_show_warn_of_a_ledger_that_is_not_whole(tmp_path: Path) -> None:
    """The answer may lack something: that is said beside it."""
    path = tmp_path / "ledger.jsonl"
    path.write_bytes(export(left_out=2))
    for command in (["list"], ["show", LONG]):
        code, out, err = run(*command, "--from", str(path))
        assert code == 0
        assert out
        assert err.startswith("Warning: the ledger is not whole, 1 alarms; the first: ledger seg")


def test_an_altered_file_gives_no_answer(tmp_path: Path) -> None:
    """An error instead: what it says cannot be relied on."""
    path = tmp_path / "ledger.jsonl"
    path.write_bytes(export().replace(b'"name":"reader"', b'"name":"raider"'))
    with pytest.raises(InputError, match="the file was altered"):
        run("list", "--from", str(path))
