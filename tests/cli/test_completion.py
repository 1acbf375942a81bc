"""Shells complete the command line."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path


def agentid(*arguments: str, **variables: str) -> str:
    """What the program prints."""
    done = subprocess.run(
        [sys.executable, "-m", "agentid", *arguments], env={**os.environ, **variables},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout


def test_bash_completes(tmp_path: Path) -> None:
    """With the script that it is given, a real bash offers commands and options."""
    program = tmp_path / "agentid"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m agentid "$@"\n', "utf-8")
    program.chmod(0o755)
    bash = shutil.which("bash") or ""
    asked = """
        source <(agentid completion bash)
        complete -p agentid
        COMP_WORDS=(agentid re) COMP_CWORD=1
        _agentid_completion agentid
        printf '%s\\n' "${COMPREPLY[@]}"
    """
    done = subprocess.run(
        [bash, "--norc", "-c", asked], capture_output=True, text=True, check=True,
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
    )  # fmt: skip
    assert done.stderr == ""
    assert set(done.stdout.split()) >= {"_agentid_completion", "renew", "resume", "responder"}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_there_is_a_script_for_each_shell(shell: str) -> None:
    """It asks the program by the variable that the program listens to."""
    assert f"_AGENTID_COMPLETE=complete_{shell}" in agentid("completion", shell)


def test_choices_are_completed() -> None:
    """What an option takes is offered behind it."""
    words = "agentid list --sort e"
    told = agentid(_AGENTID_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD="3")
    assert told.split() == ["expiry"]
