"""Where a command reads the ledger from: an export in a file, or the segments of a cluster."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Final, TypeAlias

import typer

from agentid.cli.connection import connected
from agentid.errors import InputError, NotFoundError, UnavailableError
from agentid.kube.objects import ObjectKey
from agentid.kube.resources import CONFIG_MAPS, Selector
from agentid.ledger.configmaps import SELECTOR, segment_of
from agentid.ledger.export import Exporter, Seal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentid.clock import Clock
    from agentid.kube.client import Client

__all__ = ["FromFile", "Source", "opened", "spool", "spool_from"]

FromFile: TypeAlias = Annotated[
    str | None,
    typer.Option("--from", help="Read this export and no cluster; - reads standard input."),
]

_ATTEMPTS: Final = 5
"""How often reading is begun anew since segments were compacted meanwhile. A round of compaction
comes once in minutes, and reading takes seconds."""


@dataclass(frozen=True, slots=True)
class Source:
    """The ledger of a cluster.

    Attributes:
        namespace: The operator's.
        kubeconfig: As the option says.
        context: As the option says.
    """

    namespace: str
    kubeconfig: Path | None = None
    context: str | None = None


@contextmanager
def opened(file: str | None, source: Source) -> Iterator[IO[bytes]]:
    """An export, from its beginning.

    Args:
        file: Where it is, `-` for standard input; None for one of the cluster's segments, which is
            spooled to a temporary file.
        source: Which cluster's, otherwise.

    Raises:
        InputError: The file cannot be read.
        AgentIdError: The cluster cannot.
    """
    if file == "-":
        yield sys.stdin.buffer
    elif file is not None:
        try:
            stream = Path(file).open("rb")  # noqa: SIM115 - closed below, errors of its users pass
        except OSError as error:
            message = f"{file}: cannot be read ({error.strerror}); give a file of ledger export"
            raise InputError(message) from error
        with stream:
            yield stream
    else:
        with tempfile.TemporaryFile() as spooled:
            spool(source, spooled)
            spooled.seek(0)
            yield spooled


def spool(source: Source, stream: IO[bytes]) -> Seal:
    """Write an export of the cluster's segments, one segment in memory at a time.

    Raises:
        UnavailableError: The cluster is away, or the ledger changes faster than it can be read.
        AgentIdError: The cluster refuses.
    """
    return asyncio.run(_spool(source, stream))


async def _spool(source: Source, stream: IO[bytes]) -> Seal:
    async with connected(source.kubeconfig, source.context) as cluster:
        return await spool_from(cluster.client, source.namespace, stream, cluster.clock)


async def spool_from(client: Client, namespace: str, stream: IO[bytes], clock: Clock) -> Seal:
    """Do so with a client that is there; raises what `spool` raises."""
    for _ in range(_ATTEMPTS):
        stream.seek(0)
        stream.truncate()
        exporter = Exporter(stream.write, clock.now())
        try:
            await _read(client, namespace, exporter)
        except NotFoundError:
            continue  # another segment stands for it now
        return exporter.end()
    message = (
        f"the ledger in namespace {namespace} was compacted {_ATTEMPTS} times while it was read; "
        "try again"
    )
    raise UnavailableError(message)


async def _read(client: Client, namespace: str, exporter: Exporter) -> None:
    """Read what there is at one moment: segments never change, so those listed then are it."""
    listed = client.list_metadata(CONFIG_MAPS, namespace, selector=Selector(labels=SELECTOR))
    names = sorted([ObjectKey.of(body).name async for body in listed])
    for name in names:
        exporter.add(segment_of(await client.get(CONFIG_MAPS, name, namespace)))
