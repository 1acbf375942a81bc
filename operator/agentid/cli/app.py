"""The subcommands of `agentid`, and the place where an error becomes a line and an exit code."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from agentid.api.crd import render_crds
from agentid.errors import AgentIdError
from agentid.pki import describe, words

__all__ = ["main"]

_MAX_INPUT = 1 << 20
"""Octets read of a certificate file; a chain of a dozen certificates stays below 32 KiB."""

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def root() -> None:
    """Verifiable, short-lived, revocable identities for AI agents."""


@app.command()
def crds(
    output: Annotated[Path | None, typer.Option(help="Write a file for each kind here.")] = None,
    check: Annotated[Path | None, typer.Option(help="Exit 1 unless these files equal.")] = None,
) -> None:
    """Print the resource definitions, write them, or check written ones."""
    rendered = render_crds()
    if check is not None:
        stale = [
            name
            for name, text in rendered.items()
            if not (check / name).is_file() or (check / name).read_text(encoding="utf-8") != text
        ]
        if stale:
            message = f"{check}: {', '.join(stale)} differ from the models; run: make crds"
            typer.echo(message, err=True)
            raise typer.Exit(1)
    elif output is not None:
        output.mkdir(parents=True, exist_ok=True)
        for name, text in rendered.items():
            (output / name).write_text(text, encoding="utf-8")
    else:
        typer.echo("---\n".join(rendered.values()), nl=False)


@app.command()
def inspect(
    file: Annotated[str, typer.Argument(help="PEM or DER; - reads standard input.")],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Explain a certificate, or a chain, in words."""
    try:
        if file == "-":
            content = sys.stdin.buffer.read(_MAX_INPUT + 1)
        else:
            with Path(file).open("rb") as stream:
                content = stream.read(_MAX_INPUT + 1)
    except OSError as error:
        typer.echo(f"{file} cannot be read: {error.strerror}", err=True)
        raise typer.Exit(2) from error
    description = describe.describe(content)
    if as_json:
        typer.echo(json.dumps(description.to_json(), indent=2))
        return
    for label, text in words.lines(description):
        typer.echo(f"{label:<18} {text}" if label else text)


def main() -> None:
    """Run the command; an error of ours is one message and exit code 2, never a traceback."""
    try:
        app()
    except AgentIdError as error:
        typer.echo(f"agentid: {error}", err=True)
        sys.exit(2)
