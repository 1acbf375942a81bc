"""The measurement of lists and answers runs; what it measures depends on the machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.revocation_bytes import Figure, main, median_seconds

if TYPE_CHECKING:
    import pytest


def test_every_figure_has_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Lists first, then answers of three algorithms, each with its rate."""
    assert main(["--entries", "10", "--times", "1", "--rounds", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 14
    assert all(line.endswith(" /s") for line in lines)
    assert lines[0].startswith("CRL of 10 entries, entries built and list signed")


def test_the_median_is_of_single_acts() -> None:
    """Every act is done, and a figure reads as milliseconds and a rate."""
    done: list[None] = []
    assert median_seconds(lambda: done.append(None), rounds=3, times=5) >= 0
    assert len(done) == 15
    assert str(Figure("x", 0.25)).split() == ["x", "250.000", "ms", "4", "/s"]
