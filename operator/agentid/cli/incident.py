"""`agentid incident check`: what an AgentRevocation would do, before anybody applies it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from agentid.api.agentrevocation import AgentRevocation
from agentid.api.fields import format_time
from agentid.cli.manifests import read_manifests
from agentid.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentid.api.agentrevocation import Selection
    from agentid.kube.objects import JsonObject

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Incidents: certificates that are revoked together.")


@app.command()
def check(
    files: Annotated[list[str], typer.Argument(help="YAML or JSON; - reads standard input.")],
) -> None:
    """Say in words what AgentRevocations would do; exit 1 if one of them is faulty.

    Needs no cluster. Which certificates are hit is told by a dry run in the cluster.
    """
    faulty = False
    for file in files:
        bodies = _revocations(file)
        if not bodies:
            typer.echo(f"{file}: holds no AgentRevocation", err=True)
            faulty = True
        for body in bodies:
            try:
                resource = AgentRevocation.parse(body)
            except SpecError as error:
                faulty = True
                for violation in error.violations:
                    typer.echo(f"{file}: {violation}", err=True)
            else:
                typer.echo("\n".join(_words(resource)))
    if faulty:
        raise typer.Exit(1)


def _revocations(file: str) -> list[JsonObject]:
    return [each for each in read_manifests(file) if each.get("kind") == AgentRevocation.KIND]


def _words(resource: AgentRevocation) -> Iterator[str]:
    spec, name = resource.spec, resource.metadata.name
    mode = "a dry run, nothing is revoked" if spec.dry_run else "executes, once and for good"
    yield f"{name}: {mode}; reason {spec.reason.value}"
    yield "  hits certificates issued until it starts, if all of this holds:"
    for line in _selection(spec.select):
        yield f"    {line}"
    if not spec.hold:
        yield "  identities that are hit get new certificates at once"
    elif spec.release:
        yield "  the hold has been released"
    elif spec.select.by_certificate:
        yield "  holds the identities that are hit until spec.release is true"
    else:
        yield "  holds the identities it selects, also later ones, until spec.release is true"


def _selection(select: Selection) -> Iterator[str]:
    identities = [f"{each.namespace}/{each.name}" for each in select.identities]
    for what, names in (
        ("identity", identities),
        ("class", select.class_names),
        ("issuer", select.issuer_names),
        ("namespace", select.namespaces),
        ("serial", select.serials),
    ):
        if names:
            yield f"{what} is {' or '.join(names)}"
    if select.label_selector is not None:
        yield f"labels of the identity: {select.label_selector.query}"
    window = select.issued
    if window is not None:
        after = f" from {format_time(window.after)}" if window.after else ""
        before = f" until {format_time(window.before)}" if window.before else ""
        yield f"issued{after}{before}"
