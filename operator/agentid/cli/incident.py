"""`agentid incident check`: what an AgentRevocation would do, before anybody applies it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
import yaml

from agentid.api.agentrevocation import AgentRevocation
from agentid.api.fields import format_time
from agentid.errors import InputError, SpecError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentid.api.agentrevocation import Selection

__all__ = ["app"]

_MAX_INPUT: Final = 1 << 20
"""Octets read of a file; the largest AgentRevocation has some 200 KB."""

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


def _revocations(file: str) -> list[dict[str, object]]:
    try:
        if file == "-":
            content = sys.stdin.buffer.read(_MAX_INPUT + 1)
        else:
            with Path(file).open("rb") as stream:
                content = stream.read(_MAX_INPUT + 1)
    except OSError as error:
        message = f"{file}: cannot be read ({error.strerror}); give a file in YAML or JSON, or -"
        raise InputError(message) from error
    if len(content) > _MAX_INPUT:
        message = f"{file}: is larger than the {_MAX_INPUT} octets that are read; split it"
        raise InputError(message)
    try:
        documents = list(yaml.safe_load_all(content))
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        message = f"{file}: is neither YAML nor JSON: {error}"
        raise InputError(message) from error
    return [
        each
        for each in documents
        if isinstance(each, dict) and each.get("kind") == AgentRevocation.KIND
    ]


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
