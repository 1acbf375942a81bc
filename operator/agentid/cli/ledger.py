"""`agentid ledger`: what was issued and revoked, and whether the record is whole."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import Path
from typing import Annotated

import typer

from agentid.clock import SystemClock
from agentid.errors import InputError
from agentid.kube.client import Client
from agentid.kube.credentials import load_credentials
from agentid.kube.resources import CONFIG_MAPS, Selector
from agentid.ledger import StoredSegment, VerifyReport, verify_segments
from agentid.ledger.configmaps import SELECTOR, segment_of

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True)


@app.callback()
def root() -> None:
    """What was issued and revoked."""


@app.command()
def verify(
    directory: Annotated[
        Path | None,
        typer.Argument(help="Exported segments, a file each. Default: those in the cluster."),
    ] = None,
    namespace: Annotated[
        str, typer.Option("--namespace", "-n", help="Of the operator, in the cluster.")
    ] = "agentid-system",
) -> None:
    """Check every segment's seal and every chain; exit 1 and say what is wrong if one is broken."""
    segments = asyncio.run(_fetch(namespace)) if directory is None else _read(directory)
    report = verify_segments(segments)
    _tell(report)
    if report.alarms:
        raise typer.Exit(1)


def _read(directory: Path) -> list[StoredSegment]:
    try:
        files = sorted(path for path in directory.iterdir() if path.is_file())
        return [
            StoredSegment(path.name.removesuffix(".jsonl"), path.read_bytes()) for path in files
        ]
    except OSError as error:
        message = f"{directory}: cannot be read ({error.strerror}); give a directory of segments"
        raise InputError(message) from error


async def _fetch(namespace: str) -> list[StoredSegment]:
    async with Client(await load_credentials(clock=SystemClock())) as client:
        bodies = client.list(CONFIG_MAPS, namespace, selector=Selector(labels=SELECTOR))
        async with aclosing(bodies):
            return [segment_of(body) async for body in bodies]


def _tell(report: VerifyReport) -> None:
    for alarm in report.alarms:
        typer.echo(f"{alarm.kind.value}: {alarm.detail}", err=True)
    if not report.alarms:
        typer.echo(
            f"The ledger is whole: {report.records} records in {report.segments} segments of "
            f"{len(report.chains)} chains, {report.bytes} bytes."
        )
