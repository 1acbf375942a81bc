"""A walk through a page does what it says, and stops where it is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support import walking
from tests.support.walking import Walk

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def walk(tmp_path: Path) -> Callable[[str], list[str]]:
    """Walks through a page that is given as text; tells what was done in place of blocks."""
    done: list[str] = []
    here = tmp_path / "here"
    here.mkdir()

    def through(text: str) -> list[str]:
        page = tmp_path / "page.md"
        page.write_text(text, encoding="utf-8")
        Walk(here, {"GIVEN": "given"}, {"note": lambda: done.append("note")}).through(page)
        return done

    return through


def test_what_is_right_comes_to_its_end(walk: Callable[[str], list[str]]) -> None:
    """Files are there for commands, variables and functions for later ones, errors are printed."""
    page = """```yaml
# agent.yaml
kind: AgentIdentity
```

```console
$ tail -1 agent.yaml
kind: AgentIdentity
$ MADE=made
$ twice() { echo "$1 $1"; }
$ twice $GIVEN-$MADE
given-made given-made
```

<!-- in tests: note -->
```console
$ cannot be run
```

<!-- fails -->
```console
$ ls nowhere
...No such file or directory
```

<!-- until -->
```console
$ echo x >> count; wc -l < count
3
```
"""
    assert walk(page) == ["note"]


@pytest.mark.parametrize(
    ("page", "message"),
    [
        pytest.param(
            "```console\n$ echo one\ntwo\n```\n",
            r"(?s)page\.md:2: \$ echo one.*two.*one",
            id="other",
        ),
        pytest.param("```console\n$ exit 3\n```\n", r"page\.md:2: .*\nexit code 3", id="code"),
        pytest.param("```console\n$ false | true\n```\n", r"exit code 1", id="failure-in-a-pipe"),
        pytest.param("```console\n$ echo $NOTHING\n```\n", "unbound variable", id="no-variable"),
        pytest.param("```console\n$ sleep 9\n```\n", "exit code 124", id="hangs"),
        pytest.param(
            "<!-- fails -->\n```console\n$ true\n```\n", "exit code 0", id="does-not-fail"
        ),
        pytest.param(
            "<!-- until -->\n```console\n$ echo no\nyes\n```\n", "(?s)yes.*no", id="never-comes"
        ),
    ],
)
def test_what_is_wrong_is_told_with_its_line(
    walk: Callable[[str], list[str]], page: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the command, what the page says and what was printed."""
    monkeypatch.setattr(walking, "_PATIENCE", 0.5)
    monkeypatch.setattr(walking, "_LONGEST", "3")
    with pytest.raises(AssertionError, match=message):
        walk(page)
