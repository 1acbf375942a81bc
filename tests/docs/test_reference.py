"""The generated pages are what the code says."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from agentid.api.crd import render_crds
from website import reference
from website.pages import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_FOLDER = ROOT / "docs" / "reference"


@pytest.mark.parametrize("name", sorted(reference.render()))
def test_a_generated_page_is_as_the_code_has_it(name: str) -> None:
    """`make reference` was run after the last change."""
    assert (_FOLDER / name).read_text(encoding="utf-8") == reference.render()[name]


def _fields(path: str, schema: dict[str, Any]) -> Iterator[str]:
    for name, inner in schema.get("properties", {}).items():
        yield f"{path}.{name}"
        yield from _fields(f"{path}.{name}", inner)
    if "items" in schema:
        yield from _fields(f"{path}[]", schema["items"])


@pytest.mark.parametrize("text", render_crds().values(), ids=list(render_crds()))
def test_every_field_of_the_crd_has_its_row(text: str) -> None:
    """In order, each once, with a meaning."""
    crd = yaml.safe_load(text)
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    page = _FOLDER / f"{crd['spec']['names']['singular']}.md"
    rows = [
        [cell.strip() for cell in line.strip("|").split(" | ")]
        for line in page.read_text(encoding="utf-8").partition("## Rules")[0].splitlines()
        if line.startswith(("| `spec.", "| `status."))
    ]
    wanted = [name for part in ("spec", "status") for name in _fields(part, schema[part])]
    assert [row[0].strip("`") for row in rows] == wanted
    assert [row[0] for row in rows if not row[-1]] == []


def test_a_page_that_differs_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--check` names it and writes nothing; without it the page is written."""
    monkeypatch.setattr(reference, "_FOLDER", tmp_path)
    monkeypatch.setattr(sys, "argv", ["reference"])
    assert reference.main() == 0
    monkeypatch.setattr(sys, "argv", ["reference", "--check"])
    assert reference.main() == 0
    (tmp_path / "errors.md").write_text("old", encoding="utf-8")
    assert reference.main() == 1
    assert "docs/reference/errors.md is not what the code says" in capsys.readouterr().out
    assert (tmp_path / "errors.md").read_text(encoding="utf-8") == "old"
