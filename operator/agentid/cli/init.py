"""`agentid init`: the manifest of a new agent, out of a few questions or options."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from agentid.api.agentclass import AgentClass
from agentid.cli.access import usable
from agentid.cli.asking import ask, can_ask
from agentid.cli.connection import Context, Kubeconfig, Namespace, connected
from agentid.cli.drafting import QUESTIONS, Draft, Question, faults_of, to_yaml
from agentid.clock import SystemClock
from agentid.errors import InputError, SpecError
from agentid.kube.resources import AGENT_CLASSES

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["init"]


def init(
    name: Annotated[str | None, typer.Argument(help="Of the agent.")] = None,
    *,
    class_name: Annotated[str | None, typer.Option("--class", help="Its AgentClass.")] = None,
    sponsor: Annotated[str | None, typer.Option(help="Who answers for it.")] = None,
    purpose: Annotated[str | None, typer.Option(help="What it is for.")] = None,
    service_account: Annotated[
        str | None, typer.Option(help="That its pods run as. Default: its name.")
    ] = None,
    systems: Annotated[
        list[str] | None, typer.Option("--system", help="That it may reach. Repeatable.")
    ] = None,
    operations: Annotated[
        list[str] | None, typer.Option("--operation", help="That it may do there. Repeatable.")
    ] = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Ask no cluster which classes there are.")
    ] = False,
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Write the manifest of an AgentIdentity to standard output.

    Asks on a terminal for what no option says, and offers the classes that you may use. Exit 1 if
    the class would refuse it.
    """
    if offline:
        classes: Mapping[str, AgentClass] = {}
        where = namespace or "default"
    else:
        where, classes = asyncio.run(_offered(namespace, kubeconfig, context))
    draft = Draft(
        where,
        name,
        class_name,
        sponsor,
        purpose,
        service_account,
        None if systems is None else tuple(systems),
        None if operations is None else tuple(operations),
    )
    draft = _completed(draft, classes)
    found = classes.get(draft.class_name or "")
    if faults := faults_of(draft, found, SystemClock().now()):
        for each in faults:
            typer.echo(each, err=True)
        raise typer.Exit(1)
    if found is None and not offline:
        typer.echo(
            f"{draft.class_name} is no AgentClass that you may use in namespace {where}: ask its "
            "owner before you apply this",
            err=True,
        )
    typer.echo(to_yaml(draft), nl=False)


async def _offered(
    namespace: str | None, kubeconfig: Path | None, context: str | None
) -> tuple[str, dict[str, AgentClass]]:
    """The classes that serve the namespace and that the caller may use."""
    async with connected(kubeconfig, context) as cluster:
        where, served = namespace or cluster.namespace, {}
        async for body in cluster.client.list(AGENT_CLASSES):
            try:
                found = AgentClass.parse(body)
            except SpecError:
                continue
            if found.spec.namespaces.serve(where):
                served[found.metadata.name] = found
        mine = await usable(cluster.client, served)
        return where, {name: found for name, found in sorted(served.items()) if name in mine}


def _completed(draft: Draft, classes: Mapping[str, AgentClass]) -> Draft:
    """The draft with an answer to every question.

    Raises:
        InputError: Something is missing, and nobody is there to be asked.
    """
    asks = can_ask()
    missing = []
    for question in QUESTIONS:
        if not question.is_open(draft):
            continue
        found = classes.get(draft.class_name or "")
        default = question.default(draft)
        if asks:
            if question.field == "spec.className":
                _offer(classes)
            draft = _answered(question, draft, found, default)
        elif default or not question.is_required(found):
            draft = question.take(draft, default)
        else:
            missing.append(question.option)
    if missing:
        message = (
            f"{', '.join(missing)}: not given, and there is no terminal to ask at; give "
            f"{'it' if len(missing) == 1 else 'them'}"
        )
        raise InputError(message)
    return draft


def _answered(
    question: Question, draft: Draft, agent_class: AgentClass | None, default: str
) -> Draft:
    """Ask until the answer is one that the field takes, and that the class allows."""
    allowed = "" if agent_class is None else question.hint(agent_class)
    text = f"{question.text} [the class allows {allowed}]" if allowed else question.text
    while True:
        required = question.is_required(agent_class)
        said = ask(text, default)
        taken = question.take(draft, said)
        faults = [
            each
            for each in faults_of(taken, agent_class, SystemClock().now())
            if each.startswith(question.field)
        ]
        if not faults and (said or not required):
            return taken
        for each in faults:
            typer.echo(each, err=True)


def _offer(classes: Mapping[str, AgentClass]) -> None:
    if not classes:
        typer.echo("There is no AgentClass here that you may use; ask the platform team.", err=True)
    for name, found in classes.items():
        typer.echo(f"  {name:<20} {found.spec.description or ''}".rstrip(), err=True)
