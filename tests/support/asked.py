"""A PodCertificateRequest as a watch tells it, and the pod, account and node that it names."""

from __future__ import annotations

import base64
from functools import cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from tests.support.pod_requests import LABEL, SIGNER, stub

__all__ = ["account_body", "key", "node_body", "pod_body", "request_body"]

Json = dict[str, Any]


@cache
def key() -> ec.EllipticCurvePrivateKey:
    """The key of the pod."""
    return ec.derive_private_key(7, ec.SECP256R1())


def request_body(name: str = "req-1", **changes: object) -> Json:
    """What a kubelet asks for pod `finance/reader-1`, with some fields of the spec changed."""
    spec = {
        "signerName": SIGNER,
        "podName": "reader-1",
        "podUID": "p-1",
        "serviceAccountName": "default",
        "serviceAccountUID": "sa-1",
        "nodeName": "node-a",
        "nodeUID": "n-1",
        "maxExpirationSeconds": 86400,
        "stubPKCS10Request": base64.b64encode(stub(key())).decode(),
        "unverifiedUserAnnotations": {LABEL: "reader"},
        **changes,
    }
    return {
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "PodCertificateRequest",
        "metadata": {
            "namespace": "finance",
            "name": name,
            "uid": f"r-{name.rpartition('-')[2]}",
            "resourceVersion": "7",
            "creationTimestamp": "2026-11-01T12:00:00Z",
        },
        "spec": spec,
    }


def pod_body(
    name: str = "reader-1", uid: str = "p-1", identity: str = "reader", **spec: str
) -> Json:
    """The pod."""
    return {
        "metadata": {
            "namespace": "finance",
            "name": name,
            "uid": uid,
            "labels": {LABEL: identity} if identity else {},
            "creationTimestamp": "2026-11-01T11:59:00Z",
        },
        "spec": {"serviceAccountName": "default", "nodeName": "node-a", **spec},
    }


def account_body(uid: str = "sa-1") -> Json:
    """Its ServiceAccount."""
    return {"metadata": {"namespace": "finance", "name": "default", "uid": uid}}


def node_body(uid: str = "n-1") -> Json:
    """Its node."""
    return {"metadata": {"name": "node-a", "uid": uid}}
