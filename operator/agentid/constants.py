"""Names that the API server, the policies in `manifests/` and this code agree on."""

from __future__ import annotations

from typing import Final

__all__ = [
    "ANNOTATION_CONTAINERS",
    "ANNOTATION_IDENTITY",
    "ANNOTATION_RENEW_REQUESTED",
    "ANNOTATION_ROTATE_JWT_REQUESTED",
    "ANNOTATION_ROTATE_REQUESTED",
    "ANNOTATION_ROTATE_ROOT_REQUESTED",
    "CSI_DRIVER",
    "FINALIZER",
    "GROUP",
    "LABEL_FEDERATED_BY",
    "LABEL_IDENTITY",
    "LABEL_IDENTITY_UID",
    "LABEL_ISSUER",
    "LABEL_MANAGED",
    "LABEL_PUBLICATION",
    "LABEL_TRUST_BUNDLE",
    "LABEL_TRUST_DOMAIN",
    "MOUNT_PATH",
    "SIGNER_NAME",
    "VERSION",
    "VOLUME_NAME",
    "cluster_trust_bundle_name",
]

GROUP: Final = "agentid.dev"
"""API group of all kinds."""

VERSION: Final = "v1alpha1"
"""API version that is stored and served."""

FINALIZER: Final = "agentid.dev/revocation"
"""Holds an AgentIdentity until its live certificates are revoked; `policies/finalizer.yaml`."""

LABEL_MANAGED: Final = "agentid.dev/managed"
"""`"true"` on every Secret of ours; the policies on Secrets select by it."""

LABEL_IDENTITY_UID: Final = "agentid.dev/identity-uid"
"""The UID of the AgentIdentity a Secret belongs to; an update tests it, so that no Secret of
somebody else, nor of a namesake that is gone, is ever overwritten."""

ANNOTATION_IDENTITY: Final = "agentid.dev/identity"
"""The name of the AgentIdentity a Secret belongs to, for the people who read the Secret."""

ANNOTATION_RENEW_REQUESTED: Final = "agentid.dev/renew-requested"
"""An RFC 3339 time: a certificate issued before it is replaced. Never written by agentid."""

ANNOTATION_ROTATE_REQUESTED: Final = "agentid.dev/rotate-requested"
"""An RFC 3339 time on an AgentIssuer: an issuing authority made before it is replaced."""

ANNOTATION_ROTATE_ROOT_REQUESTED: Final = "agentid.dev/rotate-root-requested"
"""Likewise of the root, and the issuing authority with it."""

ANNOTATION_ROTATE_JWT_REQUESTED: Final = "agentid.dev/rotate-jwt-requested"
"""Likewise of the key that signs JWT-SVIDs, which nothing else depends on."""

LABEL_PUBLICATION: Final = "agentid.dev/publication"
"""`crl` or `bundle`, on the ConfigMaps that `agentid responder` serves from."""

LABEL_ISSUER: Final = "agentid.dev/issuer"
"""The AgentIssuer that a published object is about."""

LABEL_TRUST_BUNDLE: Final = "agentid.dev/trust-bundle"
"""`enabled` on a namespace that wants the bundles in a ConfigMap."""

LABEL_TRUST_DOMAIN: Final = "agentid.dev/trust-domain"
"""The foreign trust domain that a ClusterTrustBundle is about."""

LABEL_FEDERATED_BY: Final = "agentid.dev/federated-by"
"""The AgentIssuer that a foreign ClusterTrustBundle stands beside. Not `agentid.dev/issuer`: a
pod that selects by that label must never be given two trust domains as one."""

SIGNER_NAME: Final = "agentid.dev/agent"
"""Whose ClusterTrustBundles, and PodCertificateRequests, are ours."""

LABEL_IDENTITY: Final = "agentid.dev/identity"
"""On a pod: the AgentIdentity whose certificate it is to have. It selects and grants nothing. The
volume that carries the certificate repeats it among its userAnnotations, under the same key."""

ANNOTATION_CONTAINERS: Final = "agentid.dev/containers"
"""On such a pod: the containers that get the certificate, with commas; without it all of them."""

VOLUME_NAME: Final = "agentid"
"""The volume of a pod that carries its certificate."""

MOUNT_PATH: Final = "/var/run/agentid"
"""Where containers find it."""

CSI_DRIVER: Final = "csi.agentid.dev"
"""The driver of that volume where delivery.mode is CSI."""


def cluster_trust_bundle_name(issuer: str) -> str:
    """The ClusterTrustBundle of an AgentIssuer; the API server asks for the signer's name in it."""
    return f"{SIGNER_NAME.replace('/', ':')}:{issuer}"
