"""How commands are read out of pages, and outputs compared."""

from __future__ import annotations

import pytest

from website.commands import Command, Instead, Mode, Written, difference, steps
from website.pages import ROOT

_PAGE = """# A page
```yaml
# agent.yaml
kind: AgentIdentity
```

```yaml
kind: not a file, since no line names it
```

```console
$ kubectl apply -f agent.yaml
created
$ for each in 1 2; do
>   echo $each
> done
1
2
```

<!-- until -->
```console
$ date
$ cat there
there
```

<!-- fails -->
```console
$ false
```

<!-- in tests: start it -->
```console
$ kubectl scale
```

<!-- not run: takes a month -->
```console
$ sleep 3000000
```
"""


def test_a_page_is_read_in_order() -> None:
    """Files, commands with what they print, and what a test does in their place."""
    assert list(steps(_PAGE)) == [
        Written("agent.yaml", "# agent.yaml\nkind: AgentIdentity\n", 2),
        Command("kubectl apply -f agent.yaml", "created", Mode.ONCE, 12),
        Command("for each in 1 2; do\n  echo $each\ndone", "1\n2", Mode.ONCE, 14),
        Command("date", "", Mode.ONCE, 23),
        Command("cat there", "there", Mode.UNTIL, 24),
        Command("false", "", Mode.FAILS, 30),
        Instead("start it", 34),
    ]


@pytest.mark.parametrize(
    ("page", "message"),
    [
        pytest.param("```console\nls\n```\n", "line 2: a block of console begins", id="no-prompt"),
        pytest.param(
            "<!-- untill -->\n```console\n$ ls\n```\n", "'untill' means nothing", id="marker"
        ),
    ],
)
def test_a_faulty_block_is_named_by_its_line(page: str, message: str) -> None:
    """A marker that was misspelled would otherwise be a command that is run another way."""
    with pytest.raises(ValueError, match=message):
        list(steps(page))


@pytest.mark.parametrize(
    ("expected", "printed"),
    [
        pytest.param("", "anything", id="nothing-shown"),
        pytest.param("same", "same\n", id="same"),
        pytest.param("NAME   AGE", "NAME AGE   \n", id="spaces"),
        pytest.param("serial ... issued", "serial 4fac issued", id="in-a-line"),
        pytest.param("a\n...\nd", "a\nb\nc\nd", id="lines"),
        pytest.param("a\n...\nd", "a\nd", id="no-lines"),
        pytest.param("...\nlast", "first\nlast", id="at-the-top"),
        pytest.param("a (b)*", "a (b)*", id="no-pattern"),
    ],
)
def test_output_is_as_the_page_says(expected: str, printed: str) -> None:
    """Dots stand for what differs from run to run, and spaces for columns."""
    assert difference(expected, printed) == ""


@pytest.mark.parametrize(
    ("expected", "printed"),
    [
        pytest.param("same", "other", id="other"),
        pytest.param("same", "same\nand more", id="more"),
        pytest.param("same\nand more", "same", id="less"),
        pytest.param("same", "", id="nothing"),
        pytest.param("a ... c", "a\nc", id="dots-stay-in-their-line"),
        pytest.param("True", "False True", id="part-of-a-line"),
    ],
)
def test_another_output_is_told_with_both(expected: str, printed: str) -> None:
    """Who wrote the page sees what it says and what was printed."""
    found = difference(expected, printed)
    assert expected in found
    assert found.endswith(printed.strip())


def test_no_command_is_shown_that_is_never_run() -> None:
    """A block of `console` is on a page that tests walk through, or says why it is not run."""
    walked = {ROOT / "docs" / "getting-started.md", *(ROOT / "docs" / "guides").glob("*.md")}
    walked |= {ROOT / "docs" / "operations" / f"{name}.md" for name in ("backup", "disaster")}
    left = {
        path.relative_to(ROOT): next(
            step.text for step in steps(path.read_text()) if isinstance(step, Command)
        )
        for path in (ROOT / "docs").rglob("*.md")
        if path not in walked
        and any(isinstance(step, Command) for step in steps(path.read_text(encoding="utf-8")))
    }
    assert left == {}
