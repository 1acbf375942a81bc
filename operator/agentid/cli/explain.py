"""`agentid explain`: what would become of a manifest, before it is applied."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from agentid.api.agentclass import AgentClass
from agentid.api.agentidentity import AgentIdentity
from agentid.api.agentissuer import AgentIssuer
from agentid.api.agentrevocation import AgentRevocation
from agentid.api.vocabulary import DeliveryMode
from agentid.cli.access import may_use
from agentid.cli.applying import applied_over, kept_fields
from agentid.cli.connection import Context, Kubeconfig, Namespace, connected
from agentid.cli.forecast import Forecast, Surroundings, forecast
from agentid.cli.manifests import read_manifests
from agentid.cli.output import Format, Line, Output, print_data, print_lines
from agentid.errors import ApiError, ForbiddenError, InputError, NotFoundError, SpecError
from agentid.identity.quoting import quoted
from agentid.kube.objects import metadata_of
from agentid.kube.resources import (
    AGENT_CLASSES,
    AGENT_IDENTITIES,
    AGENT_ISSUERS,
    AGENT_REVOCATIONS,
)
from agentid.policy.incident import Incident
from agentid.services.doors import Doors
from agentid.services.gathering import SERVED_DELIVERIES

if TYPE_CHECKING:
    from pathlib import Path
    from typing import TypeVar

    from agentid.api.model import Resource as Kind
    from agentid.cli.connection import Cluster
    from agentid.kube.client import Client
    from agentid.kube.objects import JsonObject
    from agentid.kube.resources import Resource

    K = TypeVar("K", bound=Kind)

__all__ = ["explain"]


def explain(
    files: Annotated[
        list[str],
        typer.Option("--filename", "-f", help="YAML or JSON; - reads standard input. Repeatable."),
    ],
    *,
    namespace: Namespace = None,
    output: Output = Format.TABLE,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Tell what would happen if a manifest of an AgentIdentity were applied to this cluster.

    Nothing is changed. The API server is asked whether it would take it (a dry run), and the
    controller's own judgement says which tier, certificate and changes it leads to. Exit 1 if an
    identity would not get what it asks for.
    """
    found = [(file, each) for file in files for each in read_manifests(file)]
    ours = [each for _, each in found if each.get("kind") == AgentIdentity.KIND]
    if not ours:
        message = f"{', '.join(files)}: holds no AgentIdentity; give a file with one"
        raise InputError(message)
    forecasts = asyncio.run(_forecasts(ours, namespace, kubeconfig, context))
    match output:
        case Format.JSON | Format.YAML:
            print_data([each.to_json() for each in forecasts], output)
        case Format.NAME:
            for each in forecasts:
                typer.echo(f"{each.key} {each.outcome.value}")
        case Format.TABLE | Format.WIDE:
            for at, each in enumerate(forecasts):
                print_lines((*((Line("", ""),) if at else ()), *each.lines))
    if not all(each.is_fine for each in forecasts):
        raise typer.Exit(1)


async def _forecasts(
    bodies: list[JsonObject], namespace: str | None, kubeconfig: Path | None, context: str | None
) -> list[Forecast]:
    async with connected(kubeconfig, context) as cluster:
        around = await _cluster(cluster.client)
        made = []
        for body in bodies:
            placed = _placed(body, namespace, cluster)
            about = await _about(cluster.client, placed, around)
            whole = placed if about.live is None else applied_over(about.live, placed)
            made.append(forecast(whole, about, cluster.clock.now()))
        return made


def _placed(body: JsonObject, namespace: str | None, cluster: Cluster) -> JsonObject:
    """The manifest with its namespace, as kubectl fills it in."""
    metadata = metadata_of(body)
    own = metadata.get("namespace")
    if own and namespace and own != namespace:
        message = (
            f"metadata.namespace: {quoted(str(own))} is not the --namespace {quoted(namespace)}; "
            "leave one of them out"
        )
        raise InputError(message)
    where = own or namespace or cluster.namespace
    return {**body, "metadata": {**metadata, "namespace": where}}


async def _cluster(client: Client) -> Surroundings:
    """What is the same for every manifest."""
    return Surroundings(
        classes=await _parsed(client, AGENT_CLASSES, AgentClass),
        issuers=await _parsed(client, AGENT_ISSUERS, AgentIssuer),
        deliveries=SERVED_DELIVERIES | await _by_pods(client),
        incidents=await _incidents(client),
    )


async def _by_pods(client: Client) -> frozenset[DeliveryMode]:
    served = await Doors(client).are_pods_served()
    return frozenset({DeliveryMode.POD_CERTIFICATE} if served else ())


async def _parsed(client: Client, resource: Resource, model: type[K]) -> dict[str, K]:
    found = {}
    async for body in client.list(resource):
        try:
            parsed = model.parse(body)
        except SpecError:
            continue  # the controller does not use it either
        found[parsed.metadata.name] = parsed
    return found


async def _incidents(client: Client) -> tuple[Incident, ...]:
    """Those that may hold somebody; agent teams may not read them, and see it in their status."""
    try:
        found = await _parsed(client, AGENT_REVOCATIONS, AgentRevocation)
    except ForbiddenError:
        return ()
    return tuple(Incident(found[name]) for name in sorted(found))


async def _about(client: Client, body: JsonObject, around: Surroundings) -> Surroundings:
    """What is about this manifest alone."""
    live = await _live(client, body)
    spec = body.get("spec")
    name = spec.get("className") if isinstance(spec, dict) else None
    allowed = await may_use(client, name) if isinstance(name, str) and name else None
    refusal = await _refusal(client, body, live)
    kept = frozenset[str]() if live is None else kept_fields(live, body)
    return replace(around, live=live, may_use=allowed, refusal=refusal, kept=kept)


async def _live(client: Client, body: JsonObject) -> JsonObject | None:
    metadata = metadata_of(body)
    name = str(metadata.get("name") or "")
    if not name:
        return None
    try:
        return await client.get(AGENT_IDENTITIES, name, str(metadata.get("namespace")))
    except (NotFoundError, ForbiddenError):
        return None


async def _refusal(client: Client, body: JsonObject, live: JsonObject | None) -> str | None:
    """Ask the API server itself, schema, rules, policies, quota and rights included."""
    whole: JsonObject = {
        "apiVersion": AGENT_IDENTITIES.api_version,
        "kind": AGENT_IDENTITIES.kind,
        **body,
    }
    try:
        if live is None:
            await client.create(AGENT_IDENTITIES, whole, dry_run=True)
        else:
            await client.replace(AGENT_IDENTITIES, applied_over(live, whole), dry_run=True)
    except ApiError as error:
        return str(error)
    return None
