"""`agentid ledger export`: the whole record as one file, for somebody without a cluster."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agentid.cli.connection import (
    OPERATOR_NAMESPACE,
    Context,
    Kubeconfig,
    OperatorNamespace,
)
from agentid.cli.ledger.source import Source, spool
from agentid.errors import InputError

if TYPE_CHECKING:
    from agentid.ledger.export import Seal

__all__ = ["export"]


def export(
    output: Annotated[
        Path | None, typer.Option(help="The file; replaced at once, when it is complete.")
    ] = None,
    operator_namespace: OperatorNamespace = OPERATOR_NAMESPACE,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Write all segments as JSON Lines that can be verified without a cluster.

    What stands in it, and how to check it with sha256sum: docs/operations/ledger-export.md.
    """
    source = Source(operator_namespace, kubeconfig, context)
    seal = _to_stdout(source) if output is None else _to_file(source, output)
    typer.echo(f"{seal.segments} segments; keep this to know the file by: {seal.sha256}", err=True)


def _to_stdout(source: Source) -> Seal:
    with tempfile.TemporaryFile() as spooled:
        seal = spool(source, spooled)
        spooled.seek(0)
        shutil.copyfileobj(spooled, sys.stdout.buffer)
        sys.stdout.buffer.flush()
    return seal


def _to_file(source: Source, output: Path) -> Seal:
    try:
        with tempfile.NamedTemporaryFile(
            dir=output.parent, prefix=f".{output.name}.", delete=False
        ) as spooled:
            path = Path(spooled.name)
            try:
                seal = spool(source, spooled)
                spooled.flush()
                os.fsync(spooled.fileno())
                path.replace(output)
            except BaseException:
                path.unlink()
                raise
    except OSError as error:
        message = (
            f"{output}: cannot be written ({error.strerror}); give a file in a folder of yours"
        )
        raise InputError(message) from error
    return seal
