"""`agentid inspect`: a certificate in words."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from agentid.cli.files import read_input
from agentid.clock import SystemClock
from agentid.pki import describe, words

__all__ = ["inspect"]

_MAX_INPUT = 1 << 20
"""Octets read of a file; a chain of a dozen certificates stays below 32 KiB."""


def inspect(
    file: Annotated[str, typer.Argument(help="PEM or DER; - reads standard input.")],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Explain a certificate, or a chain, in words."""
    description = describe.describe(read_input(file, limit=_MAX_INPUT))
    if as_json:
        typer.echo(json.dumps(description.to_json(), indent=2))
        return
    for label, text in words.lines(description, SystemClock().now()):
        typer.echo(f"{label:<18} {text}" if label else text)
