"""The benchmark of the webhook measures reviews that are answered as it says."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from bench.admission import main

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_it_tells_a_line_for_each_kind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And looks at the memory of a webhook that has answered more."""
    output = tmp_path / "figures.json"
    given = ["--reviews", "32", "--rounds", "3", "--memory", "64", "--output", str(output)]
    monkeypatch.setattr(sys, "argv", ["bench.admission", *given])
    main()
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split()[0] == "answers"
    assert [line[:30].strip() for line in lines[:11]] == [
        "one container",
        "20 containers",
        "looked at again",
        "refused",
        "nothing",
        "one, 2000 a second, best",
        "one, 2000 a second, median",
        "one, 2000 a second, worst",
        "nothing, 2000 a second, best",
        "nothing, 2000 a second, median",
        "nothing, 2000 a second, worst",
    ]
    found = json.loads(output.read_text())
    assert [each["requests"] for each in found["reviews"]] == [32] * 11
    for at in (5, 8):
        best, median, worst = (each["p99_ms"] for each in found["reviews"][at : at + 3])
        assert best <= median <= worst
    assert len(found["resident"]) == 4
