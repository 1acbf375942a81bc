"""Names that the API server, the policies in `manifests/` and this code agree on."""

from __future__ import annotations

from typing import Final

__all__ = [
    "ANNOTATION_IDENTITY",
    "ANNOTATION_RENEW_REQUESTED",
    "ANNOTATION_ROTATE_REQUESTED",
    "ANNOTATION_ROTATE_ROOT_REQUESTED",
    "FINALIZER",
    "GROUP",
    "LABEL_FEDERATED_BY",
    "LABEL_IDENTITY_UID",
    "LABEL_ISSUER",
    "LABEL_MANAGED",
    "LABEL_PUBLICATION",
    "LABEL_TRUST_BUNDLE",
    "LABEL_TRUST_DOMAIN",
    "SIGNER_NAME",
    "VERSION",
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
