"""Questions to the person at the terminal.

They go to standard error and leave nothing in standard output, which may be a file that gets the
answer of the whole command.
"""

from __future__ import annotations

import sys

import typer

from agentid.errors import InputError

__all__ = ["ask", "can_ask", "confirmed"]


def can_ask() -> bool:
    """Whether somebody is there to be asked."""
    return sys.stdin.isatty()


def ask(question: str, default: str = "") -> str:
    """What is typed, without blanks around it; the default if that is nothing.

    Raises:
        Abort: There is nobody any more (end of input).
    """
    offered = f" [{default}]" if default else ""
    typer.echo(f"{question}{offered}: ", nl=False, err=True)
    line = sys.stdin.readline()
    if not line:
        raise typer.Abort
    return line.strip() or default


def confirmed(question: str, *, yes: bool, otherwise: str = "say --yes") -> bool:
    """Whether the person agrees; elsewhere than at a terminal nothing happens without `--yes`.

    Args:
        question: To be answered by yes or no; everything but a yes is a no.
        yes: Whether that was said beforehand.
        otherwise: What to do where nobody can be asked.

    Raises:
        InputError: Nobody can be asked.
        Abort: There is nobody any more (end of input).
    """
    if yes:
        return True
    if not can_ask():
        message = f"{question} Nobody is there to be asked; {otherwise}"
        raise InputError(message)
    return ask(f"{question} [y/N]").lower() in {"y", "yes"}
