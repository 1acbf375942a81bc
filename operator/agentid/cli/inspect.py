"""`agentid inspect`: a certificate in words."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from agentid.clock import SystemClock
from agentid.errors import InputError
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
    description = describe.describe(_content(file))
    if as_json:
        typer.echo(json.dumps(description.to_json(), indent=2))
        return
    for label, text in words.lines(description, SystemClock().now()):
        typer.echo(f"{label:<18} {text}" if label else text)


def _content(file: str) -> bytes:
    try:
        if file == "-":
            return sys.stdin.buffer.read(_MAX_INPUT + 1)
        with Path(file).open("rb") as stream:
            return stream.read(_MAX_INPUT + 1)
    except OSError as error:
        message = f"{file}: cannot be read ({error.strerror}); give a file in PEM or DER, or -"
        raise InputError(message) from error
