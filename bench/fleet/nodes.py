"""The nodes of the fleet: what kubelets and node plugins do for a pod once they see it."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agentid.api.vocabulary import DeliveryMode
from agentid.errors import AgentIdError, ForbiddenError, NotFoundError, UnavailableError
from agentid.kube.client import Client
from agentid.kube.resources import Resource
from agentid.node.issuer import ChangeKind, PodProof
from bench.kubelets import AsNode, Kubelets, account_uid, member, request_for
from e2e.errors import E2EError
from tests.support.node_plugins import AUDIENCE, DRIVER
from tests.support.pod_requests import stub

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

    from agentid.kube.credentials import Credentials
    from agentid.kube.objects import JsonObject
    from agentid.node.service_client import IssuerServiceClient
    from bench.fleet.lives import Life, Sizes
    from tests.support.node_plugins import NodePlugins

__all__ = ["Nodes", "Tries", "mounted_driver", "nodes_of"]

_ACCOUNT: Final = "default"
_TOKENS: Final = Resource("", "v1", f"serviceaccounts/{_ACCOUNT}/token", "TokenRequest")
"""Tokens of the account, spelled as a collection: creating one is the same request."""

_TOKEN_SECONDS: Final = 3600
_PATIENCE: Final = 120.0
_AGAIN: Final = 0.1
"""Seconds until something is asked for again, of the API server or of the issuer service. A real
plugin waits for longer; so whoever is overloaded here is asked more often than by one."""

_CONNECTIONS: Final = 8
"""Of one kubelet."""


@dataclass(slots=True)
class Tries:
    """What had to be asked for again, as nodes do.

    Attributes:
        tokens: From the API server: its caches did not have the pod yet.
        issuer: From the issuer service: it was busy, or did not answer.
    """

    tokens: int = 0
    issuer: int = 0


class Nodes:
    """Kubelets and plugins of all nodes; `nodes_of` makes them."""

    def __init__(
        self,
        kubelets: Kubelets,
        plugins: Mapping[str, IssuerServiceClient],
        node_uids: Mapping[str, str],
        account_uids: Mapping[str, str],
        stubs: Iterator[bytes],
    ) -> None:
        """Take the parts.

        Args:
            kubelets: That make PodCertificateRequests.
            plugins: Clients of the issuer service, by node.
            node_uids: UIDs of nodes, by name.
            account_uids: UIDs of the ServiceAccount of all pods, by namespace.
            stubs: A certificate signing request for each pod, made beforehand.
        """
        self.kubelets = kubelets
        self.tries = Tries()
        self.told: Counter[str] = Counter()
        """How often plugins were told that a certificate is revoked, by its serial."""
        self._plugins = plugins
        self._node_uids = node_uids
        self._account_uids = account_uids
        self._stubs = stubs

    async def serve(self, life: Life, pod: JsonObject) -> None:
        """Do for a pod what its node does when it sees it first.

        By PodCertificate the certificate is there later, and `kubelets` tell of it.

        Raises:
            AgentIdError: What is asked for is refused, for good or for two minutes.
            E2EError: The pod has not the volume of its door.
        """
        life.asked = time.monotonic()
        if life.door is DeliveryMode.POD_CERTIFICATE:
            body = request_for(
                pod,
                account_uid=self._account_uids[life.key.namespace],
                node_uid=self._node_uids[life.node],
                stub_der=next(self._stubs),
            )
            await self.kubelets.ask(life.node, body)
            return
        if not mounted_driver(pod):
            msg = f"pod {life.key}: spec.volumes has none of driver {DRIVER}"
            raise E2EError(msg)
        proof = PodProof(
            *(life.key.namespace, life.key.name, life.uid, _ACCOUNT, life.identity),
            token=await self._token(life),
        )
        await self._certificate(life.node, proof, next(self._stubs))
        life.issued = time.monotonic()

    async def listen(self, node: str) -> None:
        """Hold the stream of changes of a node open, as its plugin does, until cancelled."""
        while True:
            with suppress(AgentIdError):  # for whatever reason it ended, plugins come again
                async with aclosing(self._plugins[node].changes()) as changes:
                    async for change in changes:
                        if change.kind is ChangeKind.REVOKED and change.serial is not None:
                            self.told[change.serial] += 1
            await asyncio.sleep(_AGAIN)

    async def _token(self, life: Life) -> str:
        """A token of a pod, bound to it, as its kubelet asks for one for the driver."""
        bound = {"apiVersion": "v1", "kind": "Pod", "name": life.key.name, "uid": life.uid}
        body: JsonObject = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "metadata": {"namespace": life.key.namespace, "name": _ACCOUNT},
            "spec": {
                "audiences": [AUDIENCE],
                "expirationSeconds": _TOKEN_SECONDS,
                "boundObjectRef": bound,
            },
        }
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                made = await self.kubelets.clients[life.node].create(_TOKENS, body)
            except (UnavailableError, ForbiddenError, NotFoundError):
                # The authorizer of nodes, and admission, may not know the pod yet.
                if time.monotonic() > deadline:
                    raise
                self.tries.tokens += 1
                await asyncio.sleep(_AGAIN)
            else:
                return str(member(made, "status", "token"))

    async def _certificate(self, node: str, proof: PodProof, csr_der: bytes) -> None:
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                await self._plugins[node].x509(proof, csr_der)
            except UnavailableError:
                if time.monotonic() > deadline:
                    raise
                self.tries.issuer += 1
                await asyncio.sleep(_AGAIN)
            else:
                return


def mounted_driver(pod: JsonObject) -> bool:
    """Whether a pod has a volume that the node plugin fills."""
    volumes = member(pod, "spec", "volumes")
    found = volumes if isinstance(volumes, list) else []
    return any(member(each, "csi", "driver") == DRIVER for each in found)


@asynccontextmanager
async def nodes_of(
    sizes: Sizes,
    admin: Client,
    credentials: Credentials,
    plugins: NodePlugins,
    issuer_port: int,
    changed: asyncio.Event,
) -> AsyncIterator[Nodes]:
    """Kubelets and plugins while the context is open; the nodes have to be there.

    Args:
        sizes: Which nodes and namespaces there are, and how many pods.
        admin: The API server.
        credentials: The admin's.
        plugins: For tokens of plugins, and whom they trust.
        issuer_port: Of the issuer service, on the loopback.
        changed: Set whenever a request is seen to be answered.
    """
    uids = {name: plugins.node(name) for name in sizes.node_names()}
    accounts = {name: await account_uid(admin, name, _ACCOUNT) for name in sizes.namespace_names()}
    async with AsyncExitStack() as stack:
        clients, services = {}, {}
        for name in uids:
            kubelet = Client(AsNode(credentials, name), connections=_CONNECTIONS, timeout=60)
            clients[name] = await stack.enter_async_context(kubelet)
            service = plugins.client(issuer_port, name)
            services[name] = await stack.enter_async_context(service)
        kubelets = Kubelets(clients, changed=changed)
        # Making keys is the nodes' work, and would be done by this one process.
        stubs = iter([stub() for _ in range(sizes.pods)])
        nodes = Nodes(kubelets, services, uids, accounts, stubs)
        work = [kubelets.watch(admin), *(nodes.listen(name) for name in uids)]
        tasks = [asyncio.create_task(each) for each in work]
        try:
            yield nodes
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
