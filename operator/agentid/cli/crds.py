"""`agentid crds`: the resource definitions, from the models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agentid.api.crd import render_crds

__all__ = ["crds"]


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
