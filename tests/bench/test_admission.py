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
    given = ["bench.admission", "--reviews", "32", "--memory", "64", "--output", str(output)]
    monkeypatch.setattr(sys, "argv", given)
    main()
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split()[0] == "answers"
    assert [line[:17].strip() for line in lines[:5]] == [
        "one container",
        "20 containers",
        "looked at again",
        "refused",
        "one, 2000 a secon",
    ]
    found = json.loads(output.read_text())
    assert [each["requests"] for each in found["reviews"]] == [32] * 5
    assert len(found["resident"]) == 4
