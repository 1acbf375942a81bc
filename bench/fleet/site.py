"""What has to be there before the first pod: nodes, operator, webhook, and identities."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from agentid.api.vocabulary import DeliveryMode
from agentid.errors import ApiError, UnavailableError
from agentid.kube.resources import (
    AGENT_CLASSES,
    AGENT_IDENTITIES,
    AGENT_ISSUERS,
    NAMESPACES,
    NODES,
    PODS,
)
from bench.fleet.kwok import kwok
from bench.fleet.lives import DOORS, lives, pod_body
from bench.fleet.nodes import mounted_driver
from bench.kubelets import mounted_certificate
from bench.load import many
from bench.processes import control_plane
from bench.templates import is_ready
from e2e.errors import E2EError
from e2e.install import admission, port_in_log, start_operator
from tests.support import manifests
from tests.support.node_plugins import NodePlugins
from tests.support.probing import ask, ports
from tests.support.webhook import configuration, serving_pair

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping

    from agentid.kube.client import Client
    from agentid.kube.objects import JsonObject
    from agentid.kube.resources import Resource
    from bench.fleet.lives import Life, Sizes
    from e2e.providers import Cluster

__all__ = ["Site", "declare", "running", "until"]

_CLASS: Final = "fleet"
_PATIENCE: Final = 120.0
_LOOK: Final = 0.5


@dataclass(frozen=True, slots=True)
class Site:
    """Everything that runs.

    Attributes:
        plugins: Makes nodes and tokens.
        issuer_port: Of the issuer service.
        operator_probes: Port of the operator's probes and metrics.
        webhook_probes: Port of the webhook's.
        processes: Ids by name.
    """

    plugins: NodePlugins
    issuer_port: int
    operator_probes: int
    webhook_probes: int
    processes: Mapping[str, int]


@contextmanager
def running(cluster: Cluster, sizes: Sizes) -> Iterator[Site]:
    """Run kwok, an operator with its issuer service, and the webhook, while the context is open.

    Args:
        cluster: Where agentid is installed.
        sizes: Which nodes there are to be; they are made here.

    Raises:
        E2EError: Something does not start.
    """
    plugins, pair = NodePlugins(cluster), serving_pair()
    plugins.install()
    with ExitStack() as stack:
        kwok_process = stack.enter_context(kwok(cluster))
        for name in sizes.node_names():
            plugins.node(name)
        issuer_port, probes = ports(2)
        operator = start_operator(cluster, "fleet", probes, issuer_port=issuer_port)
        stack.callback(operator.stop)
        _apply(cluster, pair.secret)
        webhook = stack.enter_context(admission(cluster, "fleet-admission"))
        _apply(cluster, configuration(port_in_log(webhook.log, "https_serving"), pair))
        yield Site(
            plugins=plugins,
            issuer_port=issuer_port,
            operator_probes=probes,
            webhook_probes=port_in_log(webhook.log, "admission_started", key="probes"),
            processes={
                "operator": operator.process.pid,
                "webhook": webhook.process.pid,
                "kwok": kwok_process,
                **control_plane(cluster.directory),
            },
        )


def _apply(cluster: Cluster, body: dict[str, object]) -> None:
    cluster.kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(body))


async def declare(client: Client, site: Site, sizes: Sizes) -> None:
    """Make issuer, class, namespaces and identities, and wait until pods of each door get in.

    Raises:
        AgentIdError: One of them is refused.
        E2EError: Something does not become ready in two minutes.
    """
    modes = [door.value for door in DOORS]
    await client.create(AGENT_ISSUERS, _whole(AGENT_ISSUERS, manifests.issuer()))
    described = manifests.agent_class(_CLASS, delivery={"modes": modes})
    await client.create(AGENT_CLASSES, _whole(AGENT_CLASSES, described))
    for name in sizes.namespace_names():
        await client.create(NAMESPACES, _whole(NAMESPACES, {"metadata": {"name": name}}))
    bodies = [
        _identity(namespace, name, door)
        for namespace in sizes.namespace_names()
        for door in DOORS
        for name in sizes.identity_names(door)
    ]
    await many(partial(client.create, AGENT_IDENTITIES, body) for body in bodies)
    await until("nodes are Ready", partial(_ready, client, NODES, sizes.nodes))
    await until("identities are Ready", partial(_ready, client, AGENT_IDENTITIES, len(bodies)))
    await until("the webhook is ready", partial(_answers, site.webhook_probes))
    first = {life.door: life for life in lives(sizes)}
    for life in first.values():
        await until(f"a volume is mounted into pods by {life.door}", partial(_mounts, client, life))


def _whole(resource: Resource, body: JsonObject) -> JsonObject:
    return {"apiVersion": resource.api_version, "kind": resource.kind, **body}


def _identity(namespace: str, name: str, door: DeliveryMode) -> JsonObject:
    body = manifests.identity(name, _CLASS, delivery={"mode": door.value})
    body["metadata"]["namespace"] = namespace
    return _whole(AGENT_IDENTITIES, body)


async def _ready(client: Client, resource: Resource, number: int) -> bool:
    return sum([is_ready(body) async for body in client.list(resource)]) >= number


async def _answers(port: int) -> bool:
    return (await asyncio.to_thread(ask, port, "/readyz"))[1].startswith("ok")


async def _mounts(client: Client, life: Life) -> bool:
    """Whether the webhook mounts; until it is called, a policy refuses pods like this."""
    try:
        pod = await client.create(PODS, pod_body(life), dry_run=True)
    except (ApiError, UnavailableError):
        return False
    if life.door is DeliveryMode.CSI:
        return mounted_driver(pod)
    return mounted_certificate(pod) is not None


async def until(what: str, holds: Callable[[], Awaitable[bool]]) -> None:
    """Ask until something holds.

    Raises:
        E2EError: It does not in two minutes; the message says what.
    """
    deadline = time.monotonic() + _PATIENCE
    while not await holds():
        if time.monotonic() > deadline:
            msg = f"not within {_PATIENCE:.0f} s: {what}"
            raise E2EError(msg)
        await asyncio.sleep(_LOOK)
