"""`agentid show`: one identity in words."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from agentid.api.agentclass import AgentClass
from agentid.cli.connection import Context, Kubeconfig, Namespace, connected
from agentid.cli.output import Format, Output, as_name, print_data, print_lines, slim
from agentid.cli.portrait import Portrait
from agentid.cli.roster import Entry
from agentid.errors import ForbiddenError, NotFoundError, SpecError
from agentid.kube.resources import AGENT_CLASSES, AGENT_IDENTITIES

if TYPE_CHECKING:
    from pathlib import Path

    from agentid.kube.client import Client

__all__ = ["show"]


def show(
    name: Annotated[str, typer.Argument(help="Of the AgentIdentity.")],
    *,
    namespace: Namespace = None,
    output: Output = Format.TABLE,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Tell who an agent is, what it may do, why this tier, why it is not Ready, and what next.

    Exit 1 if it cannot use its identity.
    """
    portrait = asyncio.run(
        _portrait(name, namespace, kubeconfig, context, wide=output is Format.WIDE)
    )
    match output:
        case Format.JSON | Format.YAML:
            found = portrait.agent_class
            about = None if found is None else found.spec.to_api()
            identity = slim(portrait.entry.body, AGENT_IDENTITIES)
            print_data(
                {"explanation": portrait.to_json(), "identity": identity, "classSpec": about},
                output,
            )
        case Format.NAME:
            typer.echo(as_name(AGENT_IDENTITIES, portrait.entry.name))
        case Format.TABLE | Format.WIDE:
            print_lines(portrait.lines())
    if not portrait.entry.is_ready:
        raise typer.Exit(1)


async def _portrait(
    name: str, namespace: str | None, kubeconfig: Path | None, context: str | None, *, wide: bool
) -> Portrait:
    async with connected(kubeconfig, context) as cluster:
        where = namespace or cluster.namespace
        entry = Entry.of(await cluster.client.get(AGENT_IDENTITIES, name, where))
        agent_class, problem = await _class(cluster.client, entry.class_name)
        return Portrait(entry, agent_class, problem, cluster.clock.now(), wide)


async def _class(client: Client, name: str) -> tuple[AgentClass | None, str | None]:
    if not name:
        return None, "no class is named"
    try:
        return AgentClass.parse(await client.get(AGENT_CLASSES, name)), None
    except NotFoundError:
        return None, f"there is no AgentClass {name}"
    except ForbiddenError:
        return None, f"you may not read AgentClass {name}, so its ceiling is not shown"
    except SpecError as error:
        return None, f"AgentClass {name} is malformed: {error}"
