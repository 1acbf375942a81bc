"""Pods on nodes that nobody runs, and the PodCertificateRequests that their kubelets would make."""

from __future__ import annotations

import base64
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentid.pki import PrivateKey
    from e2e.providers import Cluster

__all__ = ["SIGNER", "Asking", "Kubelets", "stub"]

Json = dict[str, Any]

SIGNER: Final = "agentid.dev/agent"
LABEL: Final = "agentid.dev/identity"

_GROUP, _VERSION, _PLURAL = "certificates.k8s.io", "v1", "podcertificaterequests"
_PATIENCE = 30.0


def stub(
    key: PrivateKey | None = None, builder: x509.CertificateSigningRequestBuilder | None = None
) -> bytes:
    """The certificate signing request of a kubelet, empty but for the key; DER."""
    signing = key or ec.generate_private_key(ec.SECP256R1())
    empty = builder or x509.CertificateSigningRequestBuilder(x509.Name([]))
    elliptic_or_rsa = isinstance(signing, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey)
    digest = hashes.SHA256() if elliptic_or_rsa else None
    return empty.sign(signing, digest).public_bytes(Encoding.DER)


@dataclass(frozen=True)
class Asking:
    """A request as it is made; what is given here is what the kubelet of the pod would give.

    Attributes:
        pod: The pod as the API server has it.
        account_uid: UID of its ServiceAccount.
        node_uid: UID of its node.
        key: What the stub is for.
        changes: Fields of the spec that are to be different.
    """

    pod: Json
    account_uid: str
    node_uid: str
    key: PrivateKey
    changes: Mapping[str, object] = field(default_factory=dict)

    def body(self) -> Json:
        """The object."""
        metadata, spec = self.pod["metadata"], self.pod["spec"]
        name = metadata.get("labels", {}).get(LABEL)
        asked: Json = {
            "signerName": SIGNER,
            "podName": metadata["name"],
            "podUID": metadata["uid"],
            "serviceAccountName": spec["serviceAccountName"],
            "serviceAccountUID": self.account_uid,
            "nodeName": spec["nodeName"],
            "nodeUID": self.node_uid,
            "maxExpirationSeconds": 3600,
            "stubPKCS10Request": base64.b64encode(stub(self.key)).decode(),
            "unverifiedUserAnnotations": {LABEL: name} if name else {},
        }
        asked.update(self.changes)
        return {
            "apiVersion": f"{_GROUP}/{_VERSION}",
            "kind": "PodCertificateRequest",
            "metadata": {
                "generateName": f"req-{metadata['name']}-",
                "namespace": metadata["namespace"],
            },
            "spec": {name: value for name, value in asked.items() if value is not None},
        }


class Kubelets:
    """Makes nodes and pods as admin, and requests as the nodes' kubelets."""

    def __init__(self, cluster: Cluster) -> None:
        self._kubeconfig = str(cluster.kubeconfig)
        self._core: Any = client.CoreV1Api(self._api())
        self._admin: Any = client.CustomObjectsApi(self._api())
        self._as_node: dict[str, Any] = {}
        self._nodes: dict[str, str] = {}

    def _api(self) -> Any:  # noqa: ANN401 - the client's own types say so
        return config.new_client_from_config(self._kubeconfig)  # type: ignore[no-untyped-call]

    # Nodes and pods

    def node(self, name: str) -> str:
        """Register a node, and return its UID."""
        if name not in self._nodes:
            body = {"metadata": {"name": name}}
            try:
                made = self._core.create_node(body)
            except ApiException as error:
                if error.status != 409:
                    raise
                made = self._core.read_node(name)
            self._nodes[name] = made.metadata.uid
        return self._nodes[name]

    def account_uid(self, namespace: str, name: str = "default") -> str:
        """UID of a ServiceAccount, once the cluster has made it."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                return str(self._core.read_namespaced_service_account(name, namespace).metadata.uid)
            except ApiException:
                assert time.monotonic() < deadline, f"ServiceAccount {namespace}/{name}"
                time.sleep(0.1)

    def account(self, namespace: str, name: str) -> str:
        """Make a ServiceAccount, and return its UID."""
        made = self._core.create_namespaced_service_account(namespace, {"metadata": {"name": name}})
        return str(made.metadata.uid)

    def pod(
        self,
        namespace: str,
        name: str,
        *,
        identity: str = "reader",
        node: str = "node-a",
        account: str = "default",
        key_type: str = "ECDSAP256",
        signer: str = SIGNER,
    ) -> Json:
        """Make a pod that is bound to a node, with the volume that has its kubelet ask."""
        self.node(node)
        self.account_uid(namespace, account)
        source = {
            "podCertificate": {
                "signerName": signer,
                "keyType": key_type,
                "credentialBundlePath": "credentials.pem",
                "userAnnotations": {LABEL: identity} if identity else {},
            }
        }
        body = {
            "metadata": {"name": name, "labels": {LABEL: identity} if identity else {}},
            "spec": {
                "nodeName": node,
                "serviceAccountName": account,
                "containers": [{"name": "agent", "image": "agent"}],
                "volumes": [{"name": "agentid", "projected": {"sources": [source]}}],
            },
        }
        made = self._core.create_namespaced_pod(namespace, body)
        found: Json = self._core.api_client.sanitize_for_serialization(made)
        return found

    def delete_pod(self, namespace: str, name: str) -> None:
        """Delete a pod at once."""
        self._core.delete_namespaced_pod(name, namespace, grace_period_seconds=0)

    def asking(
        self, pod: Json, changes: Mapping[str, object] | None = None, key: PrivateKey | None = None
    ) -> Asking:
        """What the kubelet of a pod would ask, with some fields of the spec changed."""
        metadata, spec = pod["metadata"], pod["spec"]
        account = self.account_uid(metadata["namespace"], spec["serviceAccountName"])
        signing = key or ec.generate_private_key(ec.SECP256R1())
        return Asking(pod, account, self.node(spec["nodeName"]), signing, changes or {})

    # Requests

    def ask(
        self, asking: Asking, *, node: str = "", admin: bool = False, patience: float = _PATIENCE
    ) -> Json:
        """Make a request as the kubelet of a node; by default of the node that it names.

        A node that the API server has not seen in its own caches yet is told so by an error of the
        server; that is tried again.
        """
        body = asking.body()
        asker = self._admin if admin else self._node_api(node or asking.pod["spec"]["nodeName"])
        deadline = time.monotonic() + patience
        while True:
            try:
                made: Json = asker.create_namespaced_custom_object(
                    _GROUP, _VERSION, body["metadata"]["namespace"], _PLURAL, body
                )
            except ApiException as error:
                if error.status < 500 or time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
            else:
                return made

    def _node_api(self, node: str) -> Any:  # noqa: ANN401
        if node not in self._as_node:
            api = self._api()
            api.set_default_header("Impersonate-User", f"system:node:{node}")
            api.set_default_header("Impersonate-Group", "system:nodes")
            self._as_node[node] = client.CustomObjectsApi(api)
        return self._as_node[node]

    def get(self, request: Json) -> Json:
        """The request as it is now."""
        metadata = request["metadata"]
        found: Json = self._admin.get_namespaced_custom_object(
            _GROUP, _VERSION, metadata["namespace"], _PLURAL, metadata["name"]
        )
        return found

    def delete(self, request: Json) -> None:
        """Delete the request, as the cluster does after fifteen minutes."""
        metadata = request["metadata"]
        self._admin.delete_namespaced_custom_object(
            _GROUP, _VERSION, metadata["namespace"], _PLURAL, metadata["name"]
        )

    def annotate(self, request: Json, **annotations: str) -> None:
        """Change the request's metadata, which gives it another resourceVersion."""
        metadata = request["metadata"]
        self._admin.patch_namespaced_custom_object(
            _GROUP, _VERSION, metadata["namespace"], _PLURAL, metadata["name"],
            {"metadata": {"annotations": annotations}},
        )  # fmt: skip

    def answer(self, request: Json, status: Json, *, version: str | None = None) -> Json:
        """Answer a request as admin, with whatever status; for the version it has now, or one."""
        current = self.get(request)
        if version is not None:
            current["metadata"]["resourceVersion"] = version
        return self.write({**current, "status": status})

    def write(self, body: Json) -> Json:
        """Write the status of a request as admin."""
        metadata = body["metadata"]
        made: Json = self._admin.replace_namespaced_custom_object_status(
            _GROUP, _VERSION, metadata["namespace"], _PLURAL, metadata["name"], body
        )
        return made

    def replace(self, body: Json) -> Json:
        """Write everything but the status of a request as admin."""
        metadata = body["metadata"]
        made: Json = self._admin.replace_namespaced_custom_object(
            _GROUP, _VERSION, metadata["namespace"], _PLURAL, metadata["name"], body
        )
        return made

    def condition(self, request: Json) -> Json:
        """The condition that ends a request, empty while it waits."""
        conditions = (self.get(request).get("status") or {}).get("conditions") or [{}]
        found: Json = conditions[0]
        return found

    def until_answered(self, request: Json, seconds: float = _PATIENCE) -> Json:
        """Wait until a request has its answer, and return it with it."""
        deadline = time.monotonic() + seconds
        while not self.condition(request):
            assert time.monotonic() < deadline, f"no answer within {seconds:.0f} s: {request}"
            time.sleep(0.05)
        return self.get(request)
