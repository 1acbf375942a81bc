"""AgentIdentity: one agent, what it asks for, and the certificate it was given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Final

from pydantic import Field, StrictBool

from agentid.api.agentclass import Lifetime
from agentid.api.conditions import PENDING, Conditions
from agentid.api.fields import Generation, Items, Number, Prose, Timestamp, time_in
from agentid.api.model import NAME_RULE, Model, Resource
from agentid.api.names import (
    Hex,
    Purpose,
    ResourceName,
    SecretName,
    ServiceAccountName,
    Shown,
    Sponsor,
)
from agentid.api.permissions import PermissionsSpec
from agentid.api.rules import Rule, Transition
from agentid.api.violation import shown
from agentid.api.vocabulary import (
    AccessPrivileges,
    DecisionAuthority,
    DeliveryMode,
    Instances,
    Lifespan,
    RiskExposure,
    Tier,
)
from agentid.constants import ANNOTATION_RENEW_REQUESTED
from agentid.pki.algorithm import KeyAlgorithm

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

__all__ = [
    "AgentIdentity",
    "AgentIdentitySpec",
    "AgentIdentityStatus",
    "CertificateStatus",
    "ClassificationSpec",
    "ClassificationStatus",
    "DeliverySpec",
    "DeliveryStatus",
    "PodCertificateStatus",
    "PodsStatus",
    "RefusalStatus",
    "SubjectSpec",
]

SECRET_SUFFIX: Final = "-agentid"  # noqa: S105 (part of a name)


class SubjectSpec(Model):
    """Who the agent is inside the cluster."""

    service_account_name: ServiceAccountName
    """ServiceAccount of the same namespace that the agent's pods run as."""


class ClassificationSpec(Model):
    """What the team declares about its agent: a floor, which the permissions can only raise."""

    access_privileges: AccessPrivileges | None = None
    """What the agent may do to data and systems: Public, ReadOnly, ReadWrite or Administrative.
    Default: what the permissions imply."""
    decision_authority: DecisionAuthority | None = None
    """How far it decides without a person: Advisory, Supervised, Bounded or Autonomous.
    Default: what the permissions imply."""
    risk_exposure: RiskExposure | None = None
    """What it costs when it errs or is taken over: Minimal, Limited, Significant or Severe.
    Default: what the permissions imply."""
    lifespan: Lifespan | None = None
    """How long the agent exists: Task, Session or Persistent. Default Task."""


class DeliverySpec(Model):
    """How the agent gets its certificate."""

    mode: DeliveryMode = DeliveryMode.SECRET
    """Secret: a Secret of type kubernetes.io/tls in the same namespace. PodCertificate: the kubelet
    projects it. CSI: the node plugin mounts it. Default Secret."""
    secret_name: SecretName | None = None
    """Name of the Secret; only with mode Secret. Default: the identity's name with -agentid
    appended."""

    rules: ClassVar = (
        Rule["DeliverySpec"](
            field="secretName",
            found=lambda delivery: (
                shown(delivery.secret_name)
                if delivery.secret_name and delivery.mode is not DeliveryMode.SECRET
                else None
            ),
            allowed="has no meaning unless mode is Secret",
            remedy="remove it, or set mode to Secret",
            cel="!has(self.secretName) || self.mode == 'Secret'",
            cel_found="""'"' + self.secretName + '"'""",
        ),
    )


class AgentIdentitySpec(Model):
    """What the team asks for."""

    class_name: ResourceName
    """Name of the AgentClass, which sets the ceiling for everything else."""
    sponsor: Sponsor | None = None
    """Who answers for the agent: an e-mail address or a URI in visible ASCII, at most 253
    characters. Required unless the class says otherwise."""
    purpose: Purpose | None = None
    """What the agent is for, in one line of at most 1024 characters."""
    subject: Annotated[
        SubjectSpec,
        Transition(
            "self == oldSelf",
            "cannot be changed, since it says who the agent is; create another AgentIdentity",
        ),
    ]
    """Who the agent is inside the cluster. Cannot be changed."""
    permissions: PermissionsSpec = PermissionsSpec()
    """What the agent may do; has to lie within the ceiling of the class. Absent or empty:
    nothing."""
    classification: ClassificationSpec = ClassificationSpec()
    """What the team declares about its agent; the tier is computed from this and the
    permissions."""
    lifetime: Lifetime | None = None
    """Lifetime of certificates, as a duration in h, m, s; at most that of the class.
    Default: that of the class. The tier may shorten it."""
    delivery: DeliverySpec = DeliverySpec()
    """How the agent gets its certificate."""
    instances: Instances = Instances.SHARED
    """Shared: all pods of the agent have one SPIFFE ID. PerPod: each has its own, which ends in
    /pod/ and the pod's UID; not with delivery through a Secret. Default Shared."""
    suspend: StrictBool = False
    """True revokes every certificate and issues none until it is false again. Default false."""

    rules: ClassVar = (
        Rule["AgentIdentitySpec"](
            field="instances",
            found=lambda spec: (
                shown(str(spec.instances))
                if spec.instances is Instances.PER_POD and spec.delivery.mode is DeliveryMode.SECRET
                else None
            ),
            allowed="cannot be delivered through a Secret, which all pods share",
            remedy="set delivery.mode to PodCertificate or CSI, or instances to Shared",
            cel="self.instances != 'PerPod' || self.delivery.mode != 'Secret'",
            cel_found="""'"' + self.instances + '"'""",
        ),
    )


class ClassificationStatus(Model):
    """How the agent was classified."""

    tier: Tier
    """How strictly the certificate is handled: Low, Moderate, High or Critical."""
    score: Annotated[int, Number(0, 100)]
    """The four dimensions in one number from 0 to 100."""
    reasons: Annotated[tuple[Annotated[str, Prose(1024)], ...], Items(32)] = ()
    """Why, in sentences: what was declared, what the permissions imply, what the tier changed."""


class CertificateStatus(Model):
    """The certificate that was delivered last."""

    serial: Hex
    """Serial number in lower-case hexadecimal."""
    fingerprint: Hex
    """SHA-256 of the DER certificate in lower-case hexadecimal."""
    not_before: Timestamp
    """First second of validity."""
    not_after: Timestamp
    """Last second of validity."""
    renewal_time: Timestamp
    """When it will be renewed."""
    issuer: Shown
    """Name of the AgentIssuer that signed it."""
    key_algorithm: KeyAlgorithm | None = None
    """Algorithm of the agent's key."""


class DeliveryStatus(Model):
    """Where the certificate was delivered."""

    secret_name: Shown | None = None
    """Name of the Secret, where there is one."""
    secret_uid: Shown | None = None
    """The metadata.uid of that Secret; one of another UID is not written to."""


class PodCertificateStatus(Model):
    """What the volume of a pod has to ask for, where delivery.mode is PodCertificate."""

    key_type: KeyAlgorithm
    """Its keyType."""
    max_expiration_seconds: Annotated[int, Number(3600, 2**31 - 1)]
    """Its maxExpirationSeconds: the lifetime of certificates."""
    trust_bundle: Shown
    """Name of the ClusterTrustBundle to mount beside the certificate."""


class RefusalStatus(Model):
    """A pod that was given no certificate."""

    time: Timestamp
    """When."""
    pod: Shown
    """Name of the pod."""
    reason: Shown
    """Why, in one word."""
    message: Annotated[str, Prose(1024)]
    """Why, in sentences, with the next step."""


class PodsStatus(Model):
    """The pods that have certificates of this identity; told within half a minute."""

    certificates: Annotated[int, Number(0, 2**31 - 1)]
    """Number of pods that hold a certificate in force."""
    earliest_not_after: Timestamp | None = None
    """When the first of them ends that is not renewed meanwhile."""
    last_refusal: RefusalStatus | None = None
    """The last pod that was given none."""


class AgentIdentityStatus(Model):
    """What the controller tells about an identity."""

    observed_generation: Generation | None = None
    """The metadata.generation that this status judges."""
    conditions: Conditions = ()
    """Ready, Reconciling, Stalled and Suspended, each with reason and message."""
    spiffe_id: Annotated[str, Prose(2048)] | None = None
    """SPIFFE ID of the agent, without the pod's part."""
    classification: ClassificationStatus | None = None
    """Tier, score and the reasons for them."""
    certificate: CertificateStatus | None = None
    """The certificate that was delivered last."""
    delivery: DeliveryStatus | None = None
    """Where it was delivered."""
    pod_certificate: PodCertificateStatus | None = None
    """What the volume of a pod has to ask for, where delivery.mode is PodCertificate."""
    pods: PodsStatus | None = None
    """The pods that have certificates of this identity."""
    withdrawal_time: Timestamp | None = None
    """When certificates are revoked that give more than is granted now, and that pods still hold;
    restart the pods before."""
    active_certificates: Annotated[int, Number(0, 2**31 - 1)] | None = None
    """Number of certificates on record that are neither revoked nor expired."""


class AgentIdentity(Resource):
    """One AI agent: its class, who answers for it, what it may do, and its certificate."""

    KIND: ClassVar[str] = "AgentIdentity"

    spec: AgentIdentitySpec
    """What the team asks for."""
    status: AgentIdentityStatus = Field(default=AgentIdentityStatus(conditions=(PENDING,)))
    """What the controller tells about the identity."""

    rules: ClassVar = (NAME_RULE,)

    @classmethod
    def status_of(cls, body: Mapping[str, object]) -> AgentIdentityStatus:
        """Read the status of an object, whatever its spec holds; leniently, as `parse` does."""
        status = cls._readable_status(body.get("status"))
        return status if isinstance(status, AgentIdentityStatus) else AgentIdentityStatus()

    @property
    def secret_name(self) -> str | None:
        """The name of the Secret to deliver to, None if delivery is through another door."""
        if self.spec.delivery.mode is not DeliveryMode.SECRET:
            return None
        return self.spec.delivery.secret_name or f"{self.metadata.name}{SECRET_SUFFIX}"

    @property
    def renewal_requested(self) -> datetime | None:
        """The time in the annotation that asks for a renewal, None if there is no readable one.

        Certificates issued before it are to be replaced, once it has come.
        """
        return time_in(self.metadata.annotations, ANNOTATION_RENEW_REQUESTED)
