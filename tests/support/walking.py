"""Walks through a page of the documentation: writes its files, runs its commands, compares."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from website.commands import Command, Instead, Mode, Written, difference, steps

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from e2e.providers import Cluster

__all__ = ["Walk", "make_programs"]

_PATIENCE: Final = 180.0
"""Seconds until something comes about by itself; some takes a minute where cores are shared."""

_LONGEST: Final = "120"
"""Seconds for one command; `timeout` then ends it with exit code 124."""

_PAUSE: Final = 0.2


def make_programs(directory: Path, cluster: Cluster) -> Path:
    """Make the programs that pages speak of: `kubectl`, `agentid` and `python`.

    Returns:
        The folder that holds them.
    """
    directory.mkdir(parents=True, exist_ok=True)
    commands = {
        "kubectl": " ".join(cluster.kubectl_command),
        "agentid": f"{sys.executable} -m agentid",
        "python": sys.executable,
    }
    for name, command in commands.items():
        path = directory / name
        path.write_text(f'#!/bin/sh\nexec {command} "$@"\n', encoding="utf-8")
        path.chmod(0o755)
    return directory


@dataclass(frozen=True, slots=True)
class Walk:
    """One walk through a page.

    Attributes:
        directory: Where its files go, and its commands run; empty at first.
        variables: The environment of its commands, on top of ours.
        instead: What a test does in place of a block, by name.
    """

    directory: Path
    variables: Mapping[str, str]
    instead: Mapping[str, Callable[[], None]]

    def through(self, page: Path) -> None:
        """Do what the page says; fails at the first thing that is not as it says."""
        for step in steps(page.read_text(encoding="utf-8")):
            match step:
                case Written():
                    (self.directory / step.name).write_text(step.content, encoding="utf-8")
                case Instead():
                    self.instead[step.name]()
                case Command():
                    problem = self._done(step)
                    assert not problem, f"{page.name}:{step.line}: $ {step.text}\n{problem}"

    def _done(self, step: Command) -> str:
        deadline = time.monotonic() + _PATIENCE
        while problem := self._problem(step):
            if step.mode is not Mode.UNTIL or time.monotonic() > deadline:
                return problem
            time.sleep(_PAUSE)
        return ""

    def _problem(self, step: Command) -> str:
        # Variables and functions that a command sets are there for the next one, as at a terminal.
        kept = "variables"
        lines = (
            f"set -a; [ ! -f {kept} ] || . ./{kept}",
            f"trap '{{ export -p; declare -f; }} >{kept}' EXIT",
            "set -euo pipefail",
            step.text,
        )
        done = subprocess.run(
            ["timeout", _LONGEST, "bash", "-c", "\n".join(lines)],
            cwd=self.directory,
            env={**os.environ, **self.variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if (done.returncode != 0) is not (step.mode is Mode.FAILS):
            return f"exit code {done.returncode}\n{done.stdout}"
        return difference(step.expected, done.stdout)
