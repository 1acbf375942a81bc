"""`agentid completion`: what a shell needs to complete the command line."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final

import typer

# Made public by typer as well, under a name that its types do not export.
from typer.completion import get_completion_script  # type: ignore[attr-defined]

__all__ = ["COMPLETE_VARIABLE", "completion"]

COMPLETE_VARIABLE: Final = "_AGENTID_COMPLETE"
"""By which a shell asks the program for completions."""


class Shell(StrEnum):
    """Shells that there is a script for."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(shell: Annotated[Shell, typer.Argument(help="Which shell.")]) -> None:
    """Print a script that completes agentid in a shell.

    bash: source <(agentid completion bash). zsh: source <(agentid completion zsh). fish: agentid
    completion fish | source.
    """
    script: str = get_completion_script(
        prog_name="agentid", complete_var=COMPLETE_VARIABLE, shell=shell.value
    )
    typer.echo(script.strip())
