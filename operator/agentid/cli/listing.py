"""`agentid list`: agents by class, tier, expiry and sponsor."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from agentid.api.duration import parse_duration
from agentid.api.vocabulary import Tier
from agentid.cli import roster
from agentid.cli.connection import (
    AllNamespaces,
    Context,
    Kubeconfig,
    Labels,
    Namespace,
    connected,
    scope_of,
)
from agentid.cli.output import (
    Format,
    Output,
    as_list,
    as_name,
    in_colour,
    print_data,
    render_table,
)
from agentid.cli.roster import Entry, Question, SortKey
from agentid.clock import SystemClock
from agentid.errors import InputError
from agentid.kube.resources import AGENT_IDENTITIES

if TYPE_CHECKING:
    from datetime import timedelta
    from pathlib import Path

    from agentid.cli.connection import Scope
    from agentid.kube.objects import JsonObject

__all__ = ["list_identities"]


def list_identities(
    *,
    namespace: Namespace = None,
    everywhere: AllNamespaces = False,
    labels: Labels = None,
    class_name: Annotated[str | None, typer.Option("--class", help="Of this AgentClass.")] = None,
    tier: Annotated[Tier | None, typer.Option(case_sensitive=False, help="Of this tier.")] = None,
    sponsor: Annotated[
        str | None, typer.Option(help="Whose sponsor has this in it, such as @example.com.")
    ] = None,
    expiring: Annotated[
        str | None,
        typer.Option(help="Whose certificate ends within this time, such as 10m, or has ended."),
    ] = None,
    not_ready: Annotated[
        bool, typer.Option("--not-ready", help="Only agents that cannot use their identity.")
    ] = False,
    sort: Annotated[SortKey, typer.Option(help="What is urgent comes first.")] = SortKey.NAME,
    output: Output = Format.TABLE,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """List agents: how each is, its class and tier, when its certificate ends, who answers for it.

    EXPIRES IN is the end of the certificate in use; a renewal comes long before it.
    """
    scope = scope_of((), namespace=namespace, everywhere=everywhere, labels=labels)
    question = Question(class_name, tier, sponsor, _within(expiring), not_ready)
    where, bodies = asyncio.run(_read(scope, kubeconfig, context))
    now = SystemClock().now()
    found = roster.select(map(Entry.of, bodies), question, sort, now)
    match output:
        case Format.JSON | Format.YAML:
            print_data(as_list((each.body for each in found), AGENT_IDENTITIES), output)
        case Format.NAME:
            for each in found:
                typer.echo(as_name(AGENT_IDENTITIES, each.name))
        case Format.TABLE | Format.WIDE if found:
            shown = roster.rows(found, now, everywhere=everywhere)
            heads = roster.columns(everywhere=everywhere)
            wide = output is Format.WIDE
            typer.echo(render_table(heads, shown, wide=wide, colour=in_colour()))
        case _:
            place = "in any namespace" if where is None else f"in namespace {where}"
            which = "No agent identity" if not bodies else "No agent identity as asked for"
            typer.echo(f"{which} {place}.", err=True)


async def _read(
    scope: Scope, kubeconfig: Path | None, context: str | None
) -> tuple[str | None, list[JsonObject]]:
    async with connected(kubeconfig, context) as cluster:
        where = scope.where(cluster)
        listed = cluster.client.list(AGENT_IDENTITIES, where, selector=scope.selector)
        return where, [each async for each in listed]


def _within(text: str | None) -> timedelta | None:
    if text is None:
        return None
    try:
        return parse_duration(text)
    except InputError as error:
        message = f"--expiring: {error}"
        raise InputError(message) from error
