"""Pods that ask for an identity, as their authors write them, and with what admission adds."""

from __future__ import annotations

from typing import Any

__all__ = ["certificate_source", "container", "identity_volume", "pod"]

Json = dict[str, Any]


def container(name: str = "agent", **fields: Any) -> Json:  # noqa: ANN401 - JSON
    """A container."""
    return {"name": name, "image": "localhost/busybox:1", **fields}


def pod(
    namespace: str, identity: str | None = "reader", *, annotations: Json | None = None,
    **spec: Any,  # noqa: ANN401 - JSON
) -> Json:  # fmt: skip
    """A pod with the label, or without it, and one container unless told otherwise."""
    labels = {} if identity is None else {"agentid.dev/identity": identity}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "namespace": namespace, "name": "agent", "labels": labels,
            "annotations": annotations or {},
        },
        "spec": {"containers": [container()], **spec},
    }  # fmt: skip


def certificate_source(
    identity: str | None = "reader",
    signer: str = "agentid.dev/agent",
    key: str = "ECDSAP256",
    **annotations: str,
) -> Json:
    """A source of a projected volume that asks a signer for a certificate."""
    asked = {} if identity is None else {"agentid.dev/identity": identity}
    return {
        "podCertificate": {
            "signerName": signer,
            "keyType": key,
            "credentialBundlePath": "credentials.pem",
            "userAnnotations": asked | annotations,
        }
    }


def identity_volume(identity: str = "reader", name: str = "agentid") -> Json:
    """A volume that brings an identity."""
    return {"name": name, "projected": {"sources": [certificate_source(identity)]}}
