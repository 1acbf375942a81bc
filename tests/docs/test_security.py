"""What the security pages call shown is shown: each test that they name is there."""

from __future__ import annotations

import ast
import re
from functools import cache
from typing import TYPE_CHECKING

import pytest

from website.pages import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_NAMED = re.compile(r"`([a-z0-9_/]+\.py)(?:::(\w+))?`")
_PAGES = sorted((ROOT / "docs" / "security").glob("*.md"))


def _named(text: str) -> Iterator[tuple[str, str]]:
    for found in _NAMED.finditer(text):
        yield found[1], found[2] or ""


@cache
def _tests_in(path: str) -> frozenset[str]:
    tree = ast.parse((ROOT / "tests" / path).read_text(encoding="utf-8"))
    return frozenset(
        each.name
        for each in ast.walk(tree)
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef) and each.name.startswith("test")
    )


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: page.stem)
def test_every_test_that_is_named_is_there(page: Path) -> None:
    """A threat whose test was renamed or removed is answered by nothing."""
    text = page.read_text(encoding="utf-8")
    missing = [
        f"{path}::{name}"
        for path, name in _named(text)
        if not (ROOT / "tests" / path).exists() or (name and name not in _tests_in(path))
    ]
    assert missing == []


def _rows(text: str) -> Iterator[tuple[str, list[str]]]:
    """Rows of tables, each with the heading it is under; heads of tables left out."""
    heading, lines = "", text.splitlines()
    for number, line in enumerate(lines):
        if line.startswith("#"):
            heading = line.lstrip("# ")
        is_head = number + 1 < len(lines) and lines[number + 1].startswith("|--")
        if line.startswith("| ") and not is_head:
            yield heading, [cell.strip() for cell in line.strip("|").split("|")]


def test_every_threat_has_an_answer_and_what_shows_it() -> None:
    """Or says that it is not defended against, and is told of at the end."""
    text = (ROOT / "docs" / "security" / "threats.md").read_text(encoding="utf-8")
    rows = [cells for _, cells in _rows(text)]
    assert len(rows) > 40
    for threat, answer, shown in rows:
        assert list(_named(shown)) or answer == "not defended: see below", threat


def test_every_promise_has_tests() -> None:
    """Five promises, with three tests at the least for each."""
    text = (ROOT / "docs" / "security" / "promises.md").read_text(encoding="utf-8")
    counts: dict[str, int] = {}
    for heading, cells in _rows(text):
        counts[heading] = counts.get(heading, 0) + len(list(_named(cells[-1])))
    assert [heading[:2] for heading in counts] == ["1.", "2.", "3.", "4.", "5."]
    assert min(counts.values()) >= 3
