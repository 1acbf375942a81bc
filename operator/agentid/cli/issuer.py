"""`agentid issuer`: the authorities of an issuer, and asking for others."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Final

import typer

from agentid.api.agentissuer import AgentIssuer
from agentid.api.conditions import ConditionType
from agentid.api.fields import format_time
from agentid.cli.connection import Context, Kubeconfig, connected
from agentid.clock import SystemClock
from agentid.constants import (
    ANNOTATION_ROTATE_JWT_REQUESTED,
    ANNOTATION_ROTATE_REQUESTED,
    ANNOTATION_ROTATE_ROOT_REQUESTED,
)
from agentid.errors import ConflictError, InputError, UnavailableError
from agentid.identity.quoting import quoted
from agentid.kube.resources import AGENT_ISSUERS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="Of the AgentIssuer.")]

_TRIES: Final = 5
"""To change a list that others change as well."""


@app.callback()
def root() -> None:
    """The authorities that sign for agents."""


@app.command()
def show(name: Name, *, kubeconfig: Kubeconfig = None, context: Context = None) -> None:
    """Tell which authorities an issuer has, how far each is, and what a rotation waits for."""
    for line in _lines(asyncio.run(_get(name, kubeconfig, context))):
        typer.echo(line)


@app.command()
def rotate(
    name: Name,
    *,
    root: Annotated[
        bool, typer.Option("--root", help="The root as well, and not the issuing authority alone.")
    ] = False,
    jwt: Annotated[
        bool, typer.Option("--jwt", help="The key that signs JWT-SVIDs, and no authority.")
    ] = False,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Have the issuing authority replaced by a successor, step by step, without an interruption.

    A new root stands in every bundle, and is delivered with every certificate, before it signs.
    """
    if root and jwt:
        message = "--root and --jwt ask for two rotations; ask for one after the other"
        raise InputError(message)
    annotation, what = ANNOTATION_ROTATE_REQUESTED, "issuing authority"
    if root:
        annotation, what = ANNOTATION_ROTATE_ROOT_REQUESTED, "root"
    if jwt:
        annotation, what = ANNOTATION_ROTATE_JWT_REQUESTED, "key for JWT-SVIDs"
    asyncio.run(_annotate(name, annotation, format_time(SystemClock().now()), kubeconfig, context))
    typer.echo(f"The {what} of {name} is to be rotated. How far it is: agentid issuer show {name}")


@app.command()
def distrust(
    name: Name,
    authority: Annotated[
        str, typer.Argument(help="Its id or fingerprint, as agentid issuer show tells them.")
    ],
    *,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Have an authority replaced, what it signed reissued and then revoked, and trust in it ended.

    For an authority whose key may be known to somebody else. It cannot be taken back by removing it
    from spec.distrust once its successor signs. A key for JWT-SVIDs leaves the bundles at once.
    """
    chosen = asyncio.run(_distrust(name, authority, kubeconfig, context))
    typer.echo(
        f"{chosen} is distrusted. What it signed is reissued first, then revoked. How far it is: "
        f"agentid issuer show {name}"
    )


def _lines(issuer: AgentIssuer) -> Iterator[str]:
    status = issuer.status
    yield f"AgentIssuer {issuer.metadata.name}, trust domain {issuer.spec.trust_domain}"
    yield f"bundle {status.bundle_sequence or 'not published yet'}"
    yield ""
    yield f"{'ROLE':<8} {'STATE':<11} {'ID':<17} {'KEY':<10} {'UNTIL':<21} FINGERPRINT"
    for each in status.authorities:
        yield (
            f"{each.role:<8} {each.state:<11} {each.id or '-':<17} {each.algorithm:<10} "
            f"{format_time(each.not_after):<21} {each.fingerprint}"
        )
    if status.jwt_keys:
        yield ""
        yield f"{'ROLE':<8} {'STATE':<11} {'ID':<43} {'KEY':<5} {'SINCE':<21} FINGERPRINT"
    for key in status.jwt_keys:
        yield (
            f"{'JWT':<8} {key.state:<11} {key.kid:<43} {key.algorithm:<5} "
            f"{format_time(key.since):<21} {key.fingerprint}"
        )
    for condition in status.conditions:
        yield ""
        yield f"{condition.type} is {condition.status}: {condition.message}"
    if not any(each.type == ConditionType.READY for each in status.conditions):
        yield "No controller has looked at it yet."
    for foreign in status.federation:
        sequence = "" if foreign.sequence is None else f", sequence {foreign.sequence}"
        problem = "" if foreign.problem is None else f"; {foreign.problem}"
        yield f"federated with {foreign.trust_domain}{sequence}{problem}"


async def _get(name: str, kubeconfig: Path | None, context: str | None) -> AgentIssuer:
    async with connected(kubeconfig, context) as cluster:
        return AgentIssuer.parse(await cluster.client.get(AGENT_ISSUERS, name))


async def _annotate(
    name: str, annotation: str, text: str, kubeconfig: Path | None, context: str | None
) -> None:
    async with connected(kubeconfig, context) as cluster:
        patch = {"metadata": {"annotations": {annotation: text}}}
        await cluster.client.patch_merge(AGENT_ISSUERS, name, patch)


async def _distrust(name: str, authority: str, kubeconfig: Path | None, context: str | None) -> str:
    async with connected(kubeconfig, context) as cluster:
        client = cluster.client
        for _ in range(_TRIES):
            issuer = AgentIssuer.parse(await client.get(AGENT_ISSUERS, name))
            chosen = _chosen(issuer, authority)
            if chosen in issuer.spec.distrust:
                return chosen
            patch = {
                "metadata": {"resourceVersion": issuer.metadata.resource_version},
                "spec": {"distrust": [*issuer.spec.distrust, chosen]},
            }
            try:
                await client.patch_merge(AGENT_ISSUERS, name, patch)
            except ConflictError:
                continue
            return chosen
    message = f"AgentIssuer {name} changes faster than it is written; try again"
    raise UnavailableError(message)


def _chosen(issuer: AgentIssuer, authority: str) -> str:
    """The fingerprint that is meant.

    Raises:
        InputError: None of the issuer's authorities is.
    """
    known = issuer.status.authorities
    for each in known:
        if authority.lower() in {each.id, each.fingerprint}:
            return each.fingerprint
    for key in issuer.status.jwt_keys:
        if authority == key.kid or authority.lower() == key.fingerprint:
            return key.fingerprint
    ids = [each.id or each.fingerprint for each in known]
    ids += [key.kid for key in issuer.status.jwt_keys]
    listed = ", ".join(ids) or "none that are known"
    message = (
        f"{quoted(authority)} is no authority of AgentIssuer {issuer.metadata.name}; it has "
        f"{listed}"
    )
    raise InputError(message)
