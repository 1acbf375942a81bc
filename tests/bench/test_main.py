"""The command line of the bench."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import incident
from bench.__main__ import arguments


def test_a_thousand_identities_unless_told_otherwise() -> None:
    """As the README has it."""
    given = arguments([])
    assert (given.number, given.rounds, given.template) == (1000, 1, None)
    assert given.ready_condition == "Ready"


def test_ten_thousand_certificates_unless_told_otherwise(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The figure that is to be held; fewer than one cannot be measured."""
    given = incident.arguments([])
    assert (given.number, given.rounds) == (10_000, 3)
    with pytest.raises(SystemExit, match="2"):
        incident.arguments(["--number", "0"])
    assert "0 is less than 1" in capsys.readouterr().err


def test_several_systems_in_one_run() -> None:
    """Templates, what they need first, and their processes, as often as there are systems."""
    given = arguments(
        [
            *("--template", "a.yaml", "--template", "b.yaml"),
            *("--setup", "s.yaml", "--pid", "other=12", "--pid", "third=13"),
        ]
    )
    assert given.template == [Path("a.yaml"), Path("b.yaml")]
    assert given.setup == [Path("s.yaml")]
    assert given.pid == [("other", 12), ("third", 13)]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["--pid", "12"], "not of the form NAME=PID"),
        (["--pid", "other=x"], "not of the form NAME=PID"),
        (["--number", "0"], "0 is less than 1"),
        (["--rounds", "-1"], "-1 is less than 1"),
    ],
    ids=["pid-alone", "pid-no-number", "no-objects", "no-rounds"],
)
def test_what_cannot_be_measured_is_told(
    line: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before any cluster is started."""
    with pytest.raises(SystemExit, match="2"):
        arguments(line)
    assert said in capsys.readouterr().err
