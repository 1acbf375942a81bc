"""Work on many AgentIdentities: select them, do something to each, wait for what comes of it."""

from __future__ import annotations

import asyncio
import random
import sys
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

import typer

from agentid.cli.advice import in_one_line
from agentid.cli.output import plain
from agentid.cli.roster import Entry
from agentid.errors import AgentIdError, UnavailableError
from agentid.kube.objects import ObjectKey
from agentid.kube.reflector import ChangeType, reflect
from agentid.kube.resources import AGENT_IDENTITIES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from agentid.cli.connection import Cluster, Scope

__all__ = [
    "Every",
    "Names",
    "Report",
    "Timeout",
    "Wait",
    "Yes",
    "await_each",
    "do_each",
    "selected",
]

_TOGETHER: Final = 8
"""Requests in flight; more only queue up in the API server."""

Names: TypeAlias = Annotated[list[str] | None, typer.Argument(help="Of AgentIdentities.")]
Every: TypeAlias = Annotated[
    bool, typer.Option("--all", help="All of the namespace, or of all with -A.")
]
Yes: TypeAlias = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before.")]
Wait: TypeAlias = Annotated[
    bool, typer.Option("--wait/--no-wait", help="Return only when it has come about.")
]
Timeout: TypeAlias = Annotated[
    str, typer.Option("--timeout", help="How long to wait, such as 90s or 5m.")
]


@dataclass(slots=True)
class Report:
    """What came of it, by namespace/name.

    Attributes:
        done: Those that are as was asked for.
        refused: Those that are not and will not be, and why.
        failed: Those that could not be written, and why.
        late: Those that were not as asked for in time.
    """

    done: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    late: list[str] = field(default_factory=list)

    def tell(self, participle: str) -> None:
        """Print it, and exit: 2 if something could not be done, 1 if something did not come about.

        Args:
            participle: What was done to each, such as `renewed`.
        """
        for key in self.done:
            typer.echo(f"{key} {participle}")
        for key, why in (self.refused | self.failed).items():
            typer.echo(f"{key} not {participle}: {plain(why)}", err=True)
        for key in self.late:
            typer.echo(
                f"{key} not {participle} in time; look again with: agentid show "
                f"{key.partition('/')[2]} -n {key.partition('/')[0]}",
                err=True,
            )
        if self.failed:
            raise typer.Exit(2)
        if self.refused or self.late:
            raise typer.Exit(1)


async def selected(cluster: Cluster, scope: Scope) -> list[Entry]:
    """The identities that are meant.

    Raises:
        NotFoundError: One that is named is not there.
        AgentIdError: They cannot be read.
    """
    where = scope.where(cluster)
    if scope.names:
        names = dict.fromkeys(scope.names)
        return [Entry.of(await cluster.client.get(AGENT_IDENTITIES, n, where)) for n in names]
    listed = cluster.client.list(AGENT_IDENTITIES, where, selector=scope.selector)
    return [Entry.of(each) async for each in listed]


async def do_each(
    entries: Sequence[Entry], work: Callable[[Entry], Awaitable[object]], *, what: str
) -> Report:
    """Do something to each, some at a time; what fails stops none of the others.

    Args:
        entries: To what.
        work: What is done.
        what: The same in a word, for the progress bar.

    Returns:
        Who is done and who failed.

    Raises:
        UnavailableError: The API server is away.
    """
    report, slots = Report(), asyncio.Semaphore(_TOGETHER)
    with _progress(what, len(entries)) as step:

        async def one(entry: Entry) -> None:
            key = f"{entry.namespace}/{entry.name}"
            async with slots:
                try:
                    await work(entry)
                except UnavailableError:
                    raise
                except AgentIdError as error:
                    report.failed[key] = in_one_line(error)
                else:
                    report.done.append(key)
            step()

        tasks = [asyncio.create_task(one(entry)) for entry in entries]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
    report.done.sort()
    return report


async def await_each(
    cluster: Cluster,
    scope: Scope,
    report: Report,
    look: Callable[[Entry], bool | str],
    seconds: float,
) -> Report:
    """Wait until those that are done are as they should be.

    Args:
        cluster: Where they are.
        scope: How they were selected.
        report: Of `do_each`.
        look: True if one is as it should be, False if it is not yet, and why if it never will be.
        seconds: How long to wait.
    """
    pending = {ObjectKey(*key.split("/", 1)) for key in report.done}
    made = Report(failed=report.failed)
    with _progress("waiting", len(pending)) as step:

        def settle(key: ObjectKey, outcome: bool | str) -> None:  # noqa: FBT001 - what `look` says
            if outcome is False:
                return
            pending.discard(key)
            step()
            if isinstance(outcome, str):
                made.refused[str(key)] = outcome
            else:
                made.done.append(str(key))

        try:
            async with asyncio.timeout(seconds):
                await _watch(cluster, scope, pending, look, settle)
        except TimeoutError:
            made.late = sorted(map(str, pending))
    made.done.sort()
    return made


async def _watch(
    cluster: Cluster,
    scope: Scope,
    pending: set[ObjectKey],
    look: Callable[[Entry], bool | str],
    settle: Callable[[ObjectKey, bool | str], None],
) -> None:
    if not pending:
        return
    changes = reflect(
        cluster.client,
        AGENT_IDENTITIES,
        scope.where(cluster),
        clock=cluster.clock,
        random=random.random,
        selector=scope.selector,
    )
    seen: set[ObjectKey] = set()
    async with aclosing(changes):
        async for change in changes:
            if change.type is ChangeType.SYNCED:
                for key in pending - seen:
                    settle(key, "it is gone")
            elif change.key in pending:
                seen.add(change.key)
                gone = change.type is ChangeType.DELETED
                settle(change.key, "it is gone" if gone else look(Entry.of(change.object)))
            if not pending:
                return


@contextmanager
def _progress(what: str, total: int) -> Iterator[Callable[[], None]]:
    """A bar on standard error while many are worked on and somebody looks; else nothing."""
    if total < 2 or not sys.stderr.isatty():  # noqa: PLR2004 - a bar of one says nothing
        yield lambda: None
        return
    # rich costs 8 MB, which only who looks at a bar pays.
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn  # noqa: PLC0415

    shown = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    with shown:
        task = shown.add_task(what, total=total)
        yield lambda: shown.advance(task)
