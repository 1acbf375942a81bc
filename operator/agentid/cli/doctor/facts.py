"""What is known of an installation at one moment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta

    from agentid.api.agentclass import AgentClass
    from agentid.api.agentissuer import AgentIssuer
    from agentid.api.agentrevocation import AgentRevocation
    from agentid.api.vocabulary import DeliveryMode
    from agentid.cli.roster import Entry
    from agentid.kube.objects import JsonObject
    from agentid.ledger import VerifyReport

__all__ = [
    "FORBIDDEN",
    "NODE_PLUGIN",
    "RIGHTS",
    "WEBHOOK_RIGHT",
    "Crl",
    "Doors",
    "Facts",
    "NodePlane",
    "Right",
    "Seen",
    "Unreadable",
]

T = TypeVar("T")

NODE_PLUGIN: Final = "agentid-node"
"""The DaemonSet of the node plugin."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """It could not be looked at.

    Attributes:
        why: What the API server said, or what is missing.
        absent: Whether the kind itself is not there.
    """

    why: str
    absent: bool = False


Seen: TypeAlias = T | Unreadable


@dataclass(frozen=True, slots=True, order=True)
class Right:
    """Something that the controller has to be allowed, or must not be.

    Attributes:
        verb: As RBAC spells it.
        group: API group, empty for the core one.
        resource: Plural, with the subresource behind a slash.
        inside: Whether in the operator's namespace alone; else everywhere.
        name: The one object that is meant, empty for all.
    """

    verb: str
    group: str
    resource: str
    inside: bool = False
    name: str = ""

    def __str__(self) -> str:
        """Return such as `update agentidentities/status.agentid.dev`."""
        of = f".{self.group}" if self.group else ""
        which = f" {self.name}" if self.name else ""
        return f"{self.verb} {self.resource}{of}{which}"


def _rights(
    verbs: str, group: str, resources: str, *, inside: bool = False, name: str = ""
) -> tuple[Right, ...]:
    return tuple(
        Right(verb, group, resource, inside, name)
        for resource in resources.split()
        for verb in verbs.split()
    )


_KINDS: Final = "agentidentities agentclasses agentissuers agentrevocations"

RIGHTS: Final = (
    *_rights("get list watch", "agentid.dev", _KINDS),
    *_rights("patch", "agentid.dev", "agentidentities"),
    *_rights("update", "agentid.dev", " ".join(f"{each}/status" for each in _KINDS.split())),
    *_rights("update", "agentid.dev", "agentidentities/finalizers"),
    *_rights("create update", "", "secrets"),
    *_rights("create update delete", "", "configmaps"),
    *_rights("list watch", "", "namespaces"),
    *_rights("list create update delete", "certificates.k8s.io", "clustertrustbundles"),
    *_rights("attest sign", "certificates.k8s.io", "signers", name="agentid.dev/agent"),
    *_rights("get list watch", "certificates.k8s.io", "podcertificaterequests"),
    *_rights("update patch", "certificates.k8s.io", "podcertificaterequests/status"),
    *_rights("get list watch", "", "pods"),
    *_rights("get", "", "serviceaccounts nodes"),
    *_rights(
        "get",
        "admissionregistration.k8s.io",
        "validatingadmissionpolicies validatingadmissionpolicybindings",
        name="agentid-pod-certificate-requests",
    ),
    *_rights(
        "get patch",
        "admissionregistration.k8s.io",
        "mutatingwebhookconfigurations",
        name="agentid-pods",
    ),
    *_rights("get", "storage.k8s.io", "csidrivers", name="csi.agentid.dev"),
    *_rights("create", "authentication.k8s.io", "tokenreviews"),
    *_rights("create", "events.k8s.io", "events"),
    *_rights("get", "", "secrets", inside=True),
    *_rights("get list watch create update delete", "", "configmaps", inside=True),
    *_rights("get create update", "coordination.k8s.io", "leases", inside=True),
)
"""What `manifests/rbac/controller.yaml` grants, each for a reason that stands there."""

WEBHOOK_RIGHT: Final = Right(
    "patch",
    "admissionregistration.k8s.io",
    "mutatingwebhookconfigurations",
    name="agentid-pods",
)
"""The one of them that only the webhook needs: with admission.mode Webhook alone it is granted."""

FORBIDDEN: Final = (
    Right("get", "", "secrets"),
    Right("list", "", "secrets"),
    Right("escalate", "rbac.authorization.k8s.io", "clusterroles"),
    Right("impersonate", "", "users"),
)
"""What would let the controller read every Secret, or become somebody else (ADR 3)."""


@dataclass(frozen=True, slots=True)
class Crl:
    """A list that is published.

    Attributes:
        name: Of its ConfigMap.
        this_update: When it was signed.
        next_update: Until when it may be relied on.
        fault: Why it cannot be read; the times mean nothing then.
    """

    name: str
    this_update: datetime
    next_update: datetime
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Doors:
    """How certificates reach pods without a Secret.

    Attributes:
        open: Deliveries that this cluster serves.
        closed: Why one is not served, in a sentence.
    """

    open: frozenset[DeliveryMode]
    closed: Mapping[DeliveryMode, str]


@dataclass(frozen=True, slots=True)
class NodePlane:
    """What delivers certificates with keys that are made on the node.

    Attributes:
        driver: The CSIDriver, None if there is none.
        daemon_set: Of the node plugin, None if there is none.
        authorities: `ca.crt` of the issuer service's Secret; empty if there is none.
        told: `ca.crt` of the ConfigMap that plugins mount; empty if there is none.
    """

    driver: JsonObject | None
    daemon_set: JsonObject | None
    authorities: bytes
    told: bytes


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that is looked at.

    Attributes:
        now: The time by the API server.
        skew: How far this machine's clock is ahead of the API server's.
        version: Of the API server, such as v1.37.2.
        namespace: The operator's.
        account: Its ServiceAccount.
        crds: By name.
        policies: Admission policies and their bindings, by kind and name.
        rights: Whether the controller has each of `RIGHTS` and `FORBIDDEN`.
        webhooks: Webhook configurations that look at our kinds, or call into our namespace.
        lease: The controller's Lease, None if there is none.
        issuers: By name.
        classes: By name.
        malformed: What does not parse, with the first fault; by kind and name.
        unknown: Fields of specs that this program does not know, with the objects that have them;
            by kind and path.
        identities: All of them.
        incidents: By name.
        crls: Those that are published.
        bundles: Sequence of the bundle that is published, by issuer.
        ledger: What a verification of every segment found.
        services: Services of the operator's namespace, with the number of endpoints that are ready.
        doors: How certificates reach pods.
        webhook_bundle: `ca.crt` of the webhook's Secret, None if there is no such Secret.
        node_plane: What delivers by CSI.
    """

    now: datetime
    skew: timedelta
    version: Seen[str]
    namespace: str
    account: str
    crds: Seen[Mapping[str, JsonObject]]
    policies: Mapping[str, Seen[Mapping[str, JsonObject]]]
    rights: Seen[Mapping[Right, bool]]
    webhooks: Seen[tuple[JsonObject, ...]]
    lease: Seen[JsonObject | None]
    issuers: Seen[Mapping[str, AgentIssuer]]
    classes: Seen[Mapping[str, AgentClass]]
    malformed: Mapping[str, str]
    unknown: Mapping[tuple[str, str], tuple[str, ...]]
    identities: Seen[tuple[Entry, ...]]
    incidents: Seen[Mapping[str, AgentRevocation]]
    crls: Seen[tuple[Crl, ...]]
    bundles: Seen[Mapping[str, int]]
    ledger: Seen[VerifyReport]
    services: Seen[Mapping[str, int]]
    doors: Seen[Doors]
    webhook_bundle: Seen[bytes | None]
    node_plane: Seen[NodePlane]
