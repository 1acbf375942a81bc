"""Which resource of the API a request is about, and which of its objects."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote

from agentid.constants import GROUP, VERSION
from agentid.errors import InputError

__all__ = [
    "AGENT_CLASSES",
    "AGENT_IDENTITIES",
    "AGENT_ISSUERS",
    "AGENT_REVOCATIONS",
    "CLUSTER_TRUST_BUNDLES",
    "CONFIG_MAPS",
    "CSI_DRIVERS",
    "EVENTS",
    "EVERYTHING",
    "LEASES",
    "MUTATING_WEBHOOK_CONFIGURATIONS",
    "NAMESPACES",
    "NODES",
    "PODS",
    "POD_CERTIFICATE_REQUESTS",
    "SECRETS",
    "SERVICE_ACCOUNTS",
    "TOKEN_REVIEWS",
    "VALIDATING_POLICIES",
    "VALIDATING_POLICY_BINDINGS",
    "Resource",
    "Selector",
]


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource, as a path of the API spells it.

    Attributes:
        group: API group, empty for the core group.
        version: Version of the group.
        plural: Lower-case plural, such as `secrets`.
        kind: Kind of one object, such as `Secret`.
        namespaced: Whether its objects live in namespaces.
        root: Path of the version, without a slash at the end; made from the rest.
    """

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True
    root: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Make the root."""
        prefix = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        object.__setattr__(self, "root", prefix)

    @property
    def api_version(self) -> str:
        """`apiVersion` of its objects."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None = None, name: str = "", subresource: str = "") -> str:
        """Return the path of one object, or of the collection when there is no name.

        Args:
            namespace: Left out for cluster-scoped kinds, and to list all namespaces.
            name: Name of the object, percent-encoded here.
            subresource: Such as `status`.

        Raises:
            InputError: Namespace and kind do not go together, or the name would leave its place in
                the path.
        """
        if namespace and not self.namespaced:
            message = f"{self.plural} are cluster-scoped; found namespace {namespace}, leave it out"
            raise InputError(message)
        if name and self.namespaced and not namespace:
            message = f"{self.plural} live in namespaces; say in which one {name!r} is"
            raise InputError(message)
        parts = [self.root]
        if namespace:
            parts += ["namespaces", _segment(namespace)]
        parts.append(self.plural)
        if name:
            parts.append(_segment(name))
        if subresource:
            parts.append(subresource)
        return "/".join(parts)


@dataclass(frozen=True, slots=True)
class Selector:
    """Which objects of a kind are meant; the default selects all.

    Attributes:
        labels: A label selector, such as `agentid.dev/ledger=segment`.
        fields: A field selector, such as `spec.className=assistant`.
    """

    labels: str = ""
    fields: str = ""

    def as_query(self) -> dict[str, str]:
        """Return the parameters of a request."""
        query = {"labelSelector": self.labels, "fieldSelector": self.fields}
        return {name: value for name, value in query.items() if value}


def _segment(text: str) -> str:
    # The API server takes "." and ".." for directions, whatever they are encoded as.
    if text in {".", ".."}:
        message = f'no object or namespace can be named "{text}"; give its real name'
        raise InputError(message)
    return quote(text, safe="")


AGENT_IDENTITIES: Final = Resource(GROUP, VERSION, "agentidentities", "AgentIdentity")
AGENT_CLASSES: Final = Resource(GROUP, VERSION, "agentclasses", "AgentClass", namespaced=False)
AGENT_ISSUERS: Final = Resource(GROUP, VERSION, "agentissuers", "AgentIssuer", namespaced=False)
AGENT_REVOCATIONS: Final = Resource(
    GROUP, VERSION, "agentrevocations", "AgentRevocation", namespaced=False
)
SECRETS: Final = Resource("", "v1", "secrets", "Secret")
CONFIG_MAPS: Final = Resource("", "v1", "configmaps", "ConfigMap")
PODS: Final = Resource("", "v1", "pods", "Pod")
NAMESPACES: Final = Resource("", "v1", "namespaces", "Namespace", namespaced=False)
NODES: Final = Resource("", "v1", "nodes", "Node", namespaced=False)
SERVICE_ACCOUNTS: Final = Resource("", "v1", "serviceaccounts", "ServiceAccount")
CLUSTER_TRUST_BUNDLES: Final = Resource(
    "certificates.k8s.io", "v1", "clustertrustbundles", "ClusterTrustBundle", namespaced=False
)
POD_CERTIFICATE_REQUESTS: Final = Resource(
    "certificates.k8s.io", "v1", "podcertificaterequests", "PodCertificateRequest"
)
VALIDATING_POLICIES: Final = Resource(
    "admissionregistration.k8s.io",
    "v1",
    "validatingadmissionpolicies",
    "ValidatingAdmissionPolicy",
    namespaced=False,
)
VALIDATING_POLICY_BINDINGS: Final = Resource(
    "admissionregistration.k8s.io",
    "v1",
    "validatingadmissionpolicybindings",
    "ValidatingAdmissionPolicyBinding",
    namespaced=False,
)
TOKEN_REVIEWS: Final = Resource(
    "authentication.k8s.io", "v1", "tokenreviews", "TokenReview", namespaced=False
)
CSI_DRIVERS: Final = Resource("storage.k8s.io", "v1", "csidrivers", "CSIDriver", namespaced=False)
EVENTS: Final = Resource("events.k8s.io", "v1", "events", "Event")
MUTATING_WEBHOOK_CONFIGURATIONS: Final = Resource(
    "admissionregistration.k8s.io",
    "v1",
    "mutatingwebhookconfigurations",
    "MutatingWebhookConfiguration",
    namespaced=False,
)
LEASES: Final = Resource("coordination.k8s.io", "v1", "leases", "Lease")

EVERYTHING: Final = Selector()
