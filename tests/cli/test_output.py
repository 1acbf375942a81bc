"""How answers are printed, cell for cell."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
import yaml

from agentid.cli.output import (
    Cell,
    Column,
    Format,
    Line,
    Tone,
    as_list,
    as_name,
    in_colour,
    print_data,
    render_lines,
    render_table,
    span,
)
from agentid.cli.program import program_name
from agentid.kube.resources import AGENT_IDENTITIES

COLUMNS = (Column("NAME"), Column("STATUS"), Column("SERIAL", wide=True))
ROWS = (
    (Cell("reader"), Cell("Ready", Tone.GOOD), Cell("4fac")),
    (Cell("a"), Cell(""), Cell("")),
)


def test_a_table_is_aligned() -> None:
    """Under its head, with a dash where there is nothing, and no blank at the end of a line."""
    assert render_table(COLUMNS, ROWS) == ("NAME     STATUS\nreader   Ready\na        -")


def test_a_wide_table_has_every_column() -> None:
    """Those that are wide come as they were given."""
    assert render_table(COLUMNS, ROWS, wide=True).splitlines()[1] == "reader   Ready    4fac"


def test_colours_move_nothing() -> None:
    """A coloured table without its escapes is the plain one."""
    painted = render_table(COLUMNS, ROWS, wide=True, colour=True)
    assert "\x1b[32mReady\x1b[0m" in painted
    bare = painted.replace("\x1b[32m", "").replace("\x1b[0m", "")
    assert bare == render_table(COLUMNS, ROWS, wide=True)


def test_nothing_in_a_cell_or_line_moves_the_cursor() -> None:
    """What others wrote into a field is shown and not acted upon."""
    evil = "a\x1b[2Jb\nc\u202e"
    assert "\x1b" not in render_table(COLUMNS, [(Cell(evil), Cell(""), Cell(""))])
    assert render_lines([Line("purpose", evil)]) == f"{'purpose':<18} a\\x1b[2Jb\\nc\\u202e"


def test_lines_have_labels() -> None:
    """A line without one goes on with what the line before is about."""
    lines = (Line("why", "first", Tone.BAD), Line("", "second"), Line("", ""), Line("end", "x"))
    assert render_lines(lines) == (
        "why                first\n                   second\n\nend                x"
    )


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        pytest.param({}, True, id="terminal"),
        pytest.param({"NO_COLOR": "1"}, False, id="no-color"),
        pytest.param({"NO_COLOR": ""}, True, id="empty-is-not-set"),
        pytest.param({"TERM": "dumb"}, False, id="dumb"),
    ],
)
def test_colours_are_for_terminals(
    environ: dict[str, str],
    expected: bool,  # noqa: FBT001 - a row of the table
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And only where nobody declines them (no-color.org)."""
    assert in_colour(environ) is False
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert in_colour(environ) is expected


def test_objects_are_printed_as_kubectl_prints_them(capsys: pytest.CaptureFixture[str]) -> None:
    """A List, each with its kind and without managedFields; YAML and JSON say the same."""
    listed = as_list(
        [{"metadata": {"name": "x", "managedFields": [1]}, "spec": {"a": "ä"}}], AGENT_IDENTITIES
    )
    expected = {
        "apiVersion": "v1", "kind": "List",
        "items": [
            {
                "apiVersion": "agentid.dev/v1alpha1", "kind": "AgentIdentity",
                "spec": {"a": "ä"}, "metadata": {"name": "x"},
            }
        ],
    }  # fmt: skip
    print_data(listed, Format.JSON)
    assert json.loads(capsys.readouterr().out) == expected
    print_data(listed, Format.YAML)
    assert yaml.safe_load(capsys.readouterr().out) == expected
    assert as_name(AGENT_IDENTITIES, "x") == "agentidentity.agentid.dev/x"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0s"),
        (179, "179s"),
        (180, "3m"),
        (200, "3m20s"),
        (601, "10m"),
        (3 * 3600 - 1, "179m"),
        (3 * 3600, "3h"),
        (5 * 3600 + 120, "5h2m"),
        (11 * 3600 + 120, "11h"),
        (71 * 3600, "71h"),
        (72 * 3600, "3d"),
        (-90, "90s"),
    ],
)
def test_spans_are_those_of_kubectl(seconds: int, shown: str) -> None:
    """Two units at most, and only one where the second says little."""
    assert span(timedelta(seconds=seconds)) == shown


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("/usr/local/bin/agentid", "agentid"),
        ("/opt/x/agentid/__main__.py", "agentid"),
        ("/usr/local/bin/kubectl-agentid", "kubectl agentid"),
        ("kubectl-agentid.exe", "kubectl agentid"),
    ],
)
def test_the_program_is_called_what_was_typed(command: str, name: str) -> None:
    """As a plugin of kubectl it is `kubectl agentid`."""
    assert program_name(command) == name
