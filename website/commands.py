"""The commands in a page, as tests run them: a page is a story, its blocks are told in order.

    ```yaml                        ```console
    # agent.yaml                   $ kubectl apply -f agent.yaml
    apiVersion: …                  agentidentity.agentid.dev/reader created
    ```                            ```

A block whose first line is a comment with a file's name is that file. In a block of `console`, `$ `
begins a command and `> ` continues it; what follows is what it prints. `...` in it stands for
anything in a line, and on a line of its own for any lines; runs of spaces count as one. Where
nothing is shown, only the exit code counts.

What a test has to know and a reader has not stands in an HTML comment on the line before the block:

    <!-- until -->               asked again until it says this; for what comes about by itself
    <!-- fails -->               the last command is refused, and this is what it says
    <!-- in tests: NAME -->      in place of the block, the test does NAME by other means
    <!-- not run: reason -->     left out
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Command", "Instead", "Mode", "Step", "Written", "difference", "steps"]

_FENCE: Final = re.compile(
    r"(?:^<!-- (?P<marker>[^\n]*?) -->\n)?^```(?P<language>[a-z]*)\n(?P<body>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_FILE: Final = re.compile(r"# ([a-z0-9-]+\.(?:yaml|py|cnf))")
_NOT_RUN: Final = "not run: "
_INSTEAD: Final = "in tests: "


class Mode(StrEnum):
    """How a command is run."""

    ONCE = "once"
    UNTIL = "until"
    FAILS = "fails"


@dataclass(frozen=True, slots=True)
class Written:
    """A file that the page shows.

    Attributes:
        name: Of the file.
        content: What is in it, with the line that names it.
        line: Of the page, where it begins.
    """

    name: str
    content: str
    line: int


@dataclass(frozen=True, slots=True)
class Command:
    """A command that the page shows.

    Attributes:
        text: For a shell.
        expected: What it prints; empty where the page does not say.
        mode: How it is run.
        line: Of the page.
    """

    text: str
    expected: str
    mode: Mode
    line: int


@dataclass(frozen=True, slots=True)
class Instead:
    """Something that a test does in place of what the page shows.

    Attributes:
        name: What it does.
        line: Of the page.
    """

    name: str
    line: int


Step: TypeAlias = Written | Command | Instead


def steps(page: str) -> Iterator[Step]:
    """The steps of a page, in order.

    Raises:
        ValueError: A block is malformed; the message names its line.
    """
    for found in _FENCE.finditer(page):
        marker, body = found["marker"] or "", found["body"]
        line = page.count("\n", 0, found.start("body"))
        if marker.startswith(_NOT_RUN):
            continue
        if marker.startswith(_INSTEAD):
            yield Instead(marker.removeprefix(_INSTEAD), line)
        elif found["language"] == "console":
            yield from _commands(body, line, marker)
        elif named := _FILE.fullmatch(body.partition("\n")[0]):
            yield Written(named[1], body, line)


def _commands(body: str, line: int, marker: str) -> Iterator[Command]:
    if marker not in {"", Mode.UNTIL, Mode.FAILS}:
        message = f"line {line}: the marker {marker!r} means nothing; see website/commands.py"
        raise ValueError(message)
    found: list[tuple[int, list[str], list[str]]] = []
    for number, text in enumerate(body.splitlines(), line + 1):
        if text.startswith("$ "):
            found.append((number, [text[2:]], []))
        elif not found:
            message = f"line {number}: a block of console begins with a command, after `$ `"
            raise ValueError(message)
        elif text.startswith(("> ", ">")) and not found[-1][2]:
            found[-1][1].append(text.removeprefix(">").removeprefix(" "))
        else:
            found[-1][2].append(text)
    for number, command, expected in found:
        is_last = number == found[-1][0]
        mode = Mode(marker) if marker and is_last else Mode.ONCE
        yield Command("\n".join(command), "\n".join(expected), mode, number)


def difference(expected: str, printed: str) -> str:
    """Compare what was printed with what the page says; empty if it is that.

    Returns:
        A sentence and both texts.
    """
    if not expected.strip():
        return ""
    lines = [_squeezed(line) for line in expected.strip().splitlines()]
    pattern = "".join(
        r"(?:[^\n]*\n)*?" if line == "..." else _pattern(line) + r"\n" for line in lines
    )
    shown = "".join(f"{_squeezed(line)}\n" for line in printed.strip().splitlines())
    if re.fullmatch(pattern, shown):
        return ""
    return f"the page says\n{expected.rstrip()}\nand what was printed is\n{printed.rstrip()}"


def _squeezed(line: str) -> str:
    return " ".join(line.split())


def _pattern(line: str) -> str:
    return r"[^\n]*".join(re.escape(part) for part in line.split("..."))
