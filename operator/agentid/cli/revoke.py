"""`agentid revoke`: take certificates back for good, after a look at which ones."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Final

import typer

from agentid.api.agentrevocation import AgentRevocation, IncidentReason, Phase
from agentid.api.conditions import ConditionType
from agentid.api.duration import parse_duration
from agentid.cli.asking import confirmed
from agentid.cli.bulk import Names, Timeout, Wait, Yes
from agentid.cli.connection import Context, Kubeconfig, Namespace, connected
from agentid.cli.output import Format, Output, as_name, in_colour, print_data, render_table, slim
from agentid.cli.revocation import COLUMNS, Wish, certificates, manifest, question, rows
from agentid.errors import NotFoundError, UnavailableError
from agentid.kube.objects import ObjectKey, uid_of
from agentid.kube.resources import AGENT_REVOCATIONS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from agentid.api.agentrevocation import AgentRevocationStatus
    from agentid.cli.connection import Cluster
    from agentid.kube.objects import JsonObject

__all__ = ["revoke"]

_LOOK_EVERY: Final = 0.3
"""Seconds between two looks at what the controller says of one object."""


def revoke(
    names: Names = None,
    *,
    reason: Annotated[
        IncidentReason, typer.Option(help="For the CRL (RFC 5280 5.3.1).", case_sensitive=False)
    ],
    serials: Annotated[
        list[str] | None, typer.Option("--serial", help="This certificate alone. Repeatable.")
    ] = None,
    explanation: Annotated[
        str | None, typer.Option(help="What happened; owners of held agents read it.")
    ] = None,
    contact: Annotated[str | None, typer.Option(help="Whom to ask.")] = None,
    hold: Annotated[
        bool, typer.Option("--hold", help="No new certificates until somebody releases them.")
    ] = False,
    name: Annotated[
        str | None, typer.Option(help="Of the AgentRevocation. Default: one is made.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Tell what would be hit, and leave it at that.")
    ] = False,
    wait: Wait = True,
    timeout: Timeout = "2m",
    yes: Yes = False,
    namespace: Namespace = None,
    output: Output = Format.TABLE,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Revoke certificates of agents, or single ones by serial, for good.

    Makes an AgentRevocation as a dry run, shows what it hits, and executes it after a yes. Exit 1
    if nothing is hit, or the answer is no; then the AgentRevocation is removed. Many at once, by
    class, label or time: kubectl apply an AgentRevocation, docs/operations/incidents.md.
    """
    wish = Wish(tuple(names or ()), tuple(serials or ()), reason, explanation, contact, hold, name)
    seconds = parse_duration(timeout).total_seconds()
    asyncio.run(
        _revoke(
            wish, namespace, kubeconfig, context, output,
            dry_run=dry_run, yes=yes, wait=wait, seconds=seconds,
        )
    )  # fmt: skip


async def _revoke(
    wish: Wish,
    namespace: str | None,
    kubeconfig: Path | None,
    context: str | None,
    output: Format,
    *,
    dry_run: bool,
    yes: bool,
    wait: bool,
    seconds: float,
) -> None:
    async with connected(kubeconfig, context) as cluster:
        body = manifest(wish, namespace or cluster.namespace, cluster.clock.now())
        made = await cluster.client.create(AGENT_REVOCATIONS, body)
        looked = await _until(cluster, made, _has_looked, seconds)
        status = AgentRevocation.status_of(looked)
        _print_hits(looked, status, output)
        if not status.matched and not wish.hold:
            await _remove(cluster, made)
            typer.echo(
                "Nothing is revoked: no certificate that is still good is selected. "
                "agentid ledger list tells which there are.",
                err=True,
            )
            raise typer.Exit(1)
        key = ObjectKey.of(made).name
        if dry_run:
            typer.echo(
                f"Nothing is revoked. To execute it: kubectl patch agentrevocation {key} "
                """--type=merge -p '{"spec":{"dryRun":false}}'""",
                err=True,
            )
            return
        if not await _may_execute(cluster, made, status, hold=wish.hold, yes=yes):
            typer.echo("Nothing is revoked.", err=True)
            raise typer.Exit(1)
        await cluster.client.patch_merge(AGENT_REVOCATIONS, key, {"spec": {"dryRun": False}})
        if wait:
            typer.echo("Revoking; the last look comes some 12 s after the first.", err=True)
            done = await _until(cluster, made, _is_executed, seconds)
            count = AgentRevocation.status_of(done).revoked or 0
            typer.echo(f"Revoked by AgentRevocation {key}: {certificates(count)}.", err=True)
        else:
            typer.echo(f"AgentRevocation {key} executes. Do not delete it before.", err=True)
        if wish.hold:
            typer.echo(
                f"To release them: kubectl patch agentrevocation {key} --type=merge "
                """-p '{"spec":{"release":true}}'""",
                err=True,
            )


async def _may_execute(
    cluster: Cluster, made: JsonObject, status: AgentRevocationStatus, *, hold: bool, yes: bool
) -> bool:
    """Ask; what nobody wants goes again.

    Raises:
        InputError: Nobody can be asked.
    """
    agreed = False
    try:
        agreed = confirmed(
            question(status, hold=hold), yes=yes, otherwise="say --yes, or look with --dry-run"
        )
    finally:
        if not agreed:
            await _remove(cluster, made)
    return agreed


def _print_hits(body: JsonObject, status: AgentRevocationStatus, output: Format) -> None:
    match output:
        case Format.JSON | Format.YAML:
            print_data(slim(body, AGENT_REVOCATIONS), output)
        case Format.NAME:
            typer.echo(as_name(AGENT_REVOCATIONS, ObjectKey.of(body).name))
        case Format.TABLE | Format.WIDE if status.hits:
            wide = output is Format.WIDE
            typer.echo(render_table(COLUMNS, rows(status), wide=wide, colour=in_colour()))
            if status.more:
                typer.echo(f"and {status.more} more")
        case _:
            pass


async def _until(
    cluster: Cluster,
    made: JsonObject,
    reached: Callable[[AgentRevocationStatus], bool],
    seconds: float,
) -> JsonObject:
    """The object once the controller has come that far.

    Raises:
        UnavailableError: It has not in time, or it stalls.
        NotFoundError: Somebody has deleted it meanwhile.
    """
    name = ObjectKey.of(made).name
    deadline = cluster.clock.monotonic() + seconds
    while cluster.clock.monotonic() < deadline:
        body = await cluster.client.get(AGENT_REVOCATIONS, name)
        status = AgentRevocation.status_of(body)
        for condition in status.conditions:
            if condition.type == ConditionType.STALLED:
                message = f"AgentRevocation {name} stalls: {condition.message}"
                raise UnavailableError(message)
        if reached(status):
            return body
        await cluster.clock.sleep(_LOOK_EVERY)
    message = (
        f"AgentRevocation {name} did not come further within {seconds:.0f} s; it stays and goes on "
        f"by itself: kubectl get agentrevocation {name}. If nobody looks at it: agentid doctor"
    )
    raise UnavailableError(message)


def _has_looked(status: AgentRevocationStatus) -> bool:
    return status.phase is Phase.DRY_RUN


def _is_executed(status: AgentRevocationStatus) -> bool:
    return status.phase in {Phase.EXECUTED, Phase.RELEASED}


async def _remove(cluster: Cluster, made: JsonObject) -> None:
    try:
        await cluster.client.delete(AGENT_REVOCATIONS, ObjectKey.of(made).name, uid=uid_of(made))
    except NotFoundError:
        return
