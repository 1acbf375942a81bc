"""`agentid ledger verify`: whether the record is whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from agentid.cli.connection import (
    OPERATOR_NAMESPACE,
    Context,
    Kubeconfig,
    OperatorNamespace,
)
from agentid.cli.ledger.source import Source, opened
from agentid.errors import InputError
from agentid.ledger import AlarmKind, verify_segments
from agentid.ledger.export import ExportReader

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentid.ledger import StoredSegment

__all__ = ["verify"]


def verify(
    file: Annotated[
        str | None,
        typer.Argument(help="An export; - reads standard input. Default: the cluster's ledger."),
    ] = None,
    operator_namespace: OperatorNamespace = OPERATOR_NAMESPACE,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Check every segment's seal and every chain; exit 1 and say what is wrong if one is broken."""
    source = Source(operator_namespace, kubeconfig, context)
    with opened(file, source) as stream:
        reader = _Tolerant(ExportReader(stream))
        report = verify_segments(reader)
    for alarm in report.alarms:
        # Of a file that ends early, whatever comes later is missing: that is said once.
        if reader.fault is None or alarm.kind is AlarmKind.DAMAGED:
            typer.echo(f"{alarm.kind.value}: {alarm.detail}", err=True)
    if reader.fault is not None:
        typer.echo(f"Altered: {reader.fault}", err=True)
    if report.alarms or reader.fault is not None:
        raise typer.Exit(1)
    typer.echo(
        f"The ledger is whole: {report.records} records in {report.segments} segments of "
        f"{len(report.chains)} chains, {report.bytes} bytes."
    )
    if file is not None and reader.export.seal is not None:
        typer.echo(
            f"The file is the one that was exported if that printed {reader.export.seal.sha256}"
        )


class _Tolerant:
    """The segments of an export as far as it can be read, and why no further."""

    def __init__(self, export: ExportReader) -> None:
        self.export = export
        self.fault: InputError | None = None

    def __iter__(self) -> Iterator[StoredSegment]:
        try:
            yield from self.export
        except InputError as error:
            self.fault = error
