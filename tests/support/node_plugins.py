"""Nodes that nobody runs, pods on them with the volume of the node plugin, and real tokens."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException

from agentid.node.issuer import PodProof
from agentid.node.service_client import IssuerServiceClient
from e2e.install import NAMESPACE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from e2e.providers import Cluster

__all__ = ["AUDIENCE", "DRIVER", "LABEL", "SERVED_NAME", "NodePlugins", "OnNode", "csr"]

Json = dict[str, Any]

AUDIENCE: Final = "agentid.dev"
LABEL: Final = "agentid.dev/identity"
DRIVER: Final = "csi.agentid.dev"
ACCOUNT: Final = "agentid-node"
SERVED_NAME: Final = f"agentid-issuer.{NAMESPACE}.svc"

_PATIENCE: Final = 30.0

_RESTRICTED: Final = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
"""As the Pod Security Standard of that name has it: the operator's namespace asks for it."""


def csr(key: ec.EllipticCurvePrivateKey | None = None) -> bytes:
    """A certificate signing request as the plugin makes it; DER."""
    signing = key or ec.generate_private_key(ec.SECP256R1())
    empty = x509.CertificateSigningRequestBuilder(x509.Name([]))
    return empty.sign(signing, hashes.SHA256()).public_bytes(Encoding.DER)


@dataclass(frozen=True, slots=True)
class OnNode:
    """A pod, with what its kubelet has of it."""

    body: Json
    token: str

    @property
    def proof(self) -> PodProof:
        """What the plugin shows."""
        metadata, spec = self.body["metadata"], self.body["spec"]
        return PodProof(
            metadata["namespace"],
            metadata["name"],
            metadata["uid"],
            spec["serviceAccountName"],
            metadata["labels"].get(LABEL, ""),
            self.token,
        )


class NodePlugins:
    """Makes nodes, pods and tokens as admin, where the cluster and its kubelets would."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        api = config.new_client_from_config(str(cluster.kubeconfig))  # type: ignore[no-untyped-call]
        self._core: Any = client.CoreV1Api(api)
        self._nodes: dict[str, str] = {}

    def install(self) -> None:
        """What the chart brings: the driver's object, and the plugins' ServiceAccount."""
        driver = {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "CSIDriver",
            "metadata": {"name": DRIVER},
            "spec": {
                "attachRequired": False,
                "podInfoOnMount": True,
                "requiresRepublish": True,
                "volumeLifecycleModes": ["Ephemeral"],
                "tokenRequests": [{"audience": AUDIENCE}],
            },
        }
        self.cluster.kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(driver))
        self.account(NAMESPACE, ACCOUNT)

    def account(self, namespace: str, name: str) -> str:
        """A ServiceAccount, made unless it is there; returns its UID."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                found = self._core.read_namespaced_service_account(name, namespace)
            except ApiException:
                if name != "default":
                    body = {"metadata": {"name": name}}
                    found = self._core.create_namespaced_service_account(namespace, body)
                    return str(found.metadata.uid)
                assert time.monotonic() < deadline, f"ServiceAccount {namespace}/{name}"
                time.sleep(0.1)
            else:
                return str(found.metadata.uid)

    def delete_account(self, namespace: str, name: str) -> None:
        """Delete a ServiceAccount."""
        self._core.delete_namespaced_service_account(name, namespace)

    def node(self, name: str) -> str:
        """Register a node, unless it is; returns its UID."""
        if name not in self._nodes:
            try:
                made = self._core.create_node({"metadata": {"name": name}})
            except ApiException as error:
                if error.status != 409:
                    raise
                made = self._core.read_node(name)
            self._nodes[name] = made.metadata.uid
        return self._nodes[name]

    def delete_node(self, name: str) -> None:
        """Take a node out of the cluster."""
        self._nodes.pop(name, None)
        self._core.delete_node(name)

    def pod(
        self,
        namespace: str,
        name: str,
        *,
        identity: str = "reader",
        node: str = "node-a",
        account: str = "default",
        audience: str = AUDIENCE,
        token: bool = True,
    ) -> OnNode:
        """A pod that is bound to a node, with a token of its own."""
        self.node(node)
        self.account(namespace, account)
        volume = {
            "name": "agentid",
            "csi": {
                "driver": DRIVER,
                "readOnly": True,
                "volumeAttributes": {LABEL: identity} if identity else {},
            },
        }
        body = {
            "metadata": {"name": name, "labels": {LABEL: identity} if identity else {"a": "b"}},
            "spec": {
                "nodeName": node,
                "serviceAccountName": account,
                "securityContext": {
                    "runAsNonRoot": True,
                    "seccompProfile": {"type": "RuntimeDefault"},
                },
                "containers": [{"name": "agent", "image": "agent", "securityContext": _RESTRICTED}],
                "volumes": [volume] if identity else [],
            },
        }
        made = self._core.create_namespaced_pod(namespace, body)
        found: Json = self._core.api_client.sanitize_for_serialization(made)
        return OnNode(found, self.token_of(found, audience) if token else "")

    def token_of(self, pod: Json, audience: str = AUDIENCE, seconds: int = 3600) -> str:
        """A token of a pod, bound to it, as its kubelet asks for."""
        metadata = pod["metadata"]
        bound = {
            "apiVersion": "v1",
            "kind": "Pod",
            "name": metadata["name"],
            "uid": metadata["uid"],
        }
        return self._token(
            metadata["namespace"], pod["spec"]["serviceAccountName"], audience, bound, seconds
        )

    def node_token(
        self, node: str, *, account: str = ACCOUNT, audience: str = AUDIENCE, bound: bool = True
    ) -> str:
        """A token of a node's plugin, bound to the node."""
        uid = self.node(node)
        reference = {"apiVersion": "v1", "kind": "Node", "name": node, "uid": uid}
        return self._token(NAMESPACE, account, audience, reference if bound else None, 3600)

    def _token(
        self, namespace: str, account: str, audience: str, bound: Json | None, seconds: int
    ) -> str:
        spec: Json = {"audiences": [audience], "expirationSeconds": seconds}
        if bound is not None:
            spec["boundObjectRef"] = bound
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        made = self._core.create_namespaced_service_account_token(account, namespace, body)
        return str(made.status.token)

    def delete_pod(self, pod: OnNode) -> None:
        """Delete a pod at once."""
        metadata = pod.body["metadata"]
        self._core.delete_namespaced_pod(
            metadata["name"], metadata["namespace"], grace_period_seconds=0
        )

    def finish(self, pod: OnNode) -> None:
        """Have a pod end for good, as its kubelet says when a Job is done."""
        metadata = pod.body["metadata"]
        self._core.patch_namespaced_pod_status(
            metadata["name"], metadata["namespace"], {"status": {"phase": "Succeeded"}}
        )

    def authorities(self) -> bytes:
        """What plugins trust, once the leader has made it."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            text = self.cluster.kubectl(
                "get", "secret", "agentid-issuer", "--namespace", NAMESPACE,
                "-o", "jsonpath={.data.ca\\.crt}", check=False,
            ).stdout  # fmt: skip
            if text:
                return _decoded(text)
            assert time.monotonic() < deadline, "Secret agentid-issuer"
            time.sleep(0.1)

    @asynccontextmanager
    async def client(
        self, port: int, node: str = "node-a", token: str = ""
    ) -> AsyncIterator[IssuerServiceClient]:
        """A plugin's client."""
        shown = token or self.node_token(node)
        trusted = ssl.create_default_context(cadata=self.authorities().decode())

        async def headers() -> dict[str, str]:
            return {"Authorization": f"Bearer {shown}"}

        url = f"https://127.0.0.1:{port}"
        async with IssuerServiceClient(
            url, lambda: trusted, headers, server_name=SERVED_NAME
        ) as client:
            yield client
        # A connection that the service ended says goodbye by itself, in the loop that is about to
        # end.
        await asyncio.sleep(0.1)


def _decoded(text: str) -> bytes:
    return base64.b64decode(text)
