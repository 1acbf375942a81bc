"""Kubelets of nodes that nobody runs: their requests, made by impersonating them.

So all rules of the API server apply. What is in a request comes out of the pod's volume, as a
kubelet does it.
"""

from __future__ import annotations

import asyncio
import base64
import time
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from agentid.clock import SystemClock
from agentid.constants import SIGNER_NAME
from agentid.errors import AlreadyExistsError, ForbiddenError, NotFoundError, UnavailableError
from agentid.kube.objects import ObjectKey, uid_of
from agentid.kube.reflector import ChangeType, reflect
from agentid.kube.resources import POD_CERTIFICATE_REQUESTS, SERVICE_ACCOUNTS
from e2e.errors import E2EError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Collection, Mapping

    from agentid.kube.client import Client
    from agentid.kube.credentials import Credentials
    from agentid.kube.objects import JsonObject

__all__ = [
    "AsNode",
    "Kubelets",
    "account_uid",
    "member",
    "mounted_certificate",
    "pod_of",
    "request_for",
]

_PATIENCE: Final = 120.0
_AGAIN: Final = 0.1
"""Seconds until a request is made again that the API server refused: its own caches, by which it
judges kubelets, may not have the pod yet."""

_REFUSALS: Final = frozenset({"Denied", "Failed"})


class AsNode:
    """The credentials of an administrator who acts as a kubelet."""

    def __init__(self, admin: Credentials, node: str) -> None:
        self._admin = admin
        self._acting = {
            "Impersonate-User": f"system:node:{node}",
            "Impersonate-Group": "system:nodes",
        }
        self.server: str = admin.server
        self.namespace: str = admin.namespace
        self.ssl_context: ssl.SSLContext | None = admin.ssl_context
        self.server_hostname: str | None = admin.server_hostname
        self.proxy: str | None = admin.proxy

    async def headers(self) -> Mapping[str, str]:
        """Those of the administrator, and whom he acts as."""
        return {**await self._admin.headers(), **self._acting}

    async def renew(self, refused: Mapping[str, str]) -> bool:
        """As the administrator does."""
        return await self._admin.renew(refused)

    def as_kopf_fields(self) -> dict[str, object]:
        """Nothing; Kopf is not there."""
        return {}


async def account_uid(client: Client, namespace: str, name: str = "default") -> str:
    """UID of a ServiceAccount, once the cluster has made it.

    Raises:
        E2EError: It has not in two minutes.
    """
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        try:
            return uid_of(await client.get(SERVICE_ACCOUNTS, name, namespace))
        except NotFoundError:
            await asyncio.sleep(_AGAIN)
    msg = f"ServiceAccount {namespace}/{name} is not made; does the cluster run whole?"
    raise E2EError(msg)


def member(body: JsonObject, *path: str) -> object:
    """What stands at a path of an object, None where nothing does."""
    found: object = body
    for name in path:
        found = found.get(name) if isinstance(found, dict) else None
    return found


def mounted_certificate(pod: JsonObject) -> JsonObject | None:
    """The first volume source that has a kubelet ask our signer, None where there is none."""
    volumes = member(pod, "spec", "volumes")
    for volume in volumes if isinstance(volumes, list) else []:
        sources = member(volume, "projected", "sources")
        for source in sources if isinstance(sources, list) else []:
            asked = member(source, "podCertificate")
            if isinstance(asked, dict) and asked.get("signerName") == SIGNER_NAME:
                return asked
    return None


def request_for(pod: JsonObject, *, account_uid: str, node_uid: str, stub_der: bytes) -> JsonObject:
    """The PodCertificateRequest of a pod's volume.

    Args:
        pod: As the API server has it, on its node.
        account_uid: UID of its ServiceAccount.
        node_uid: UID of its node.
        stub_der: The kubelet's certificate signing request.

    Raises:
        E2EError: It has no volume that is filled by our signer.
    """
    key, volume = ObjectKey.of(pod), mounted_certificate(pod)
    if volume is None:
        msg = f"pod {key}: spec.volumes has no podCertificate of {SIGNER_NAME}"
        raise E2EError(msg)
    return {
        "apiVersion": POD_CERTIFICATE_REQUESTS.api_version,
        "kind": POD_CERTIFICATE_REQUESTS.kind,
        "metadata": {"name": f"req-{key.name}", "namespace": key.namespace},
        "spec": {
            "signerName": SIGNER_NAME,
            "podName": key.name,
            "podUID": uid_of(pod),
            "serviceAccountName": member(pod, "spec", "serviceAccountName"),
            "serviceAccountUID": account_uid,
            "nodeName": member(pod, "spec", "nodeName"),
            "nodeUID": node_uid,
            "maxExpirationSeconds": volume.get("maxExpirationSeconds", 86_400),
            "stubPKCS10Request": base64.b64encode(stub_der).decode(),
            "unverifiedUserAnnotations": volume.get("userAnnotations", {}),
        },
    }


def pod_of(request: JsonObject) -> ObjectKey:
    """The pod that a request is for."""
    return ObjectKey(ObjectKey.of(request).namespace, str(member(request, "spec", "podName")))


@dataclass
class Kubelets:
    """Make requests, and see what becomes of them.

    Attributes:
        clients: By node, acting as its kubelet.
        sent: When each request was sent first, by its pod; seconds of `time.monotonic`.
        made: When the API server had it.
        issued: When it was seen to be issued.
        refused: What was said of those that ended otherwise.
        repeated: How many requests had to be made again.
        changed: Set whenever something was seen.
    """

    clients: Mapping[str, Client]
    sent: dict[ObjectKey, float] = field(default_factory=dict)
    made: dict[ObjectKey, float] = field(default_factory=dict)
    issued: dict[ObjectKey, float] = field(default_factory=dict)
    refused: dict[ObjectKey, str] = field(default_factory=dict)
    repeated: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def ask(self, node: str, body: JsonObject) -> None:
        """Make one request, again and again while the API server does not know its pod.

        Raises:
            AgentIdError: It is refused for two minutes, or for good.
        """
        pod = pod_of(body)
        self.sent[pod] = time.monotonic()
        while True:
            try:
                await self.clients[node].create(POD_CERTIFICATE_REQUESTS, body)
            except AlreadyExistsError:
                pass  # the answer to an earlier try was lost
            except (UnavailableError, ForbiddenError):
                if time.monotonic() > self.sent[pod] + _PATIENCE:
                    raise
                self.repeated += 1
                await asyncio.sleep(_AGAIN)
                continue
            self.made[pod] = time.monotonic()
            return

    async def until_issued(self, pods: Collection[ObjectKey]) -> None:
        """Wait until all of these have their certificates.

        Raises:
            E2EError: One is refused, or they do not have them in two minutes.
        """
        deadline = time.monotonic() + _PATIENCE
        while not all(pod in self.issued for pod in pods):
            self.check()
            if time.monotonic() > deadline:
                missing = sum(pod not in self.issued for pod in pods)
                msg = f"{missing} of {len(pods)} requests were not issued in {_PATIENCE:.0f} s"
                raise E2EError(msg)
            self.changed.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self.changed.wait(), 1)

    def check(self) -> None:
        """See whether any was refused.

        Raises:
            E2EError: One was; the message is the signer's.
        """
        for pod, why in self.refused.items():
            msg = f"the request of pod {pod} was refused: {why}"
            raise E2EError(msg)

    async def watch(self, client: Client, namespace: str | None = None) -> None:
        """Note what becomes of requests, until cancelled."""
        changes = reflect(
            client, POD_CERTIFICATE_REQUESTS, namespace, clock=SystemClock(), random=lambda: 0.5
        )
        async with aclosing(changes) as seen:
            async for change in seen:
                if change.type in {ChangeType.ADDED, ChangeType.MODIFIED}:
                    self._see(change.object)

    def _see(self, request: JsonObject) -> None:
        if member(request, "status", "certificateChain") is not None:
            self.issued.setdefault(pod_of(request), time.monotonic())
            self.changed.set()
        conditions = member(request, "status", "conditions")
        for each in conditions if isinstance(conditions, list) else []:
            if member(each, "type") in _REFUSALS:
                self.refused[pod_of(request)] = str(member(each, "message"))
                self.changed.set()
