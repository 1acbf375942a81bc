"""AgentClass: the certificate template, and the ceiling of what its identities may be given."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, ClassVar, Final

from pydantic import ConfigDict, Field, StrictBool

from agentid.api.agentclass_rules import CLASS_RULES
from agentid.api.conditions import PENDING, Conditions
from agentid.api.fields import Generation, Items, Number, Span, Text
from agentid.api.model import NAME_RULE, Model, Resource
from agentid.api.names import NamespacePattern, OperationName, Purpose, ResourceName
from agentid.api.permissions import MAX_OPERATIONS, PermissionsSpec
from agentid.api.rules import Rule, cel_string
from agentid.api.violation import shown
from agentid.api.vocabulary import (
    OPERATIONS,
    AccessPrivileges,
    DecisionAuthority,
    DeliveryMode,
    RiskExposure,
    Tier,
)
from agentid.pki.algorithm import KeyAlgorithm

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "MAX_LIFETIME",
    "MIN_LIFETIME",
    "AgentClass",
    "AgentClassSpec",
    "AgentClassStatus",
    "AuthorizationSpec",
    "CertificatePolicySpec",
    "ClassDelivery",
    "ClassLimits",
    "ClassOperation",
    "Implications",
    "KeyAlgorithmStatus",
    "MigrationSpec",
    "NamespacesSpec",
    "RenewalSpec",
    "RevocationSpec",
    "TierRule",
    "TierRules",
]

MIN_LIFETIME: Final = timedelta(minutes=1)
"""Shorter would be renewed faster than a kubelet swaps the file in a pod."""

MAX_LIFETIME: Final = timedelta(hours=24)
"""Longer is no short-lived identity: peers that check no CRL accept it until it expires."""

MAX_IDENTITIES: Final = 1_000_000
"""More than the ledger is meant for; a bound for what is read."""

MAX_ISSUANCES: Final = 60_000
"""A thousand a second is more than an API server takes; a bound for what is remembered."""

Lifetime = Annotated[timedelta, Span(MIN_LIFETIME, MAX_LIFETIME)]
Modes = Annotated[
    tuple[DeliveryMode, ...],
    Items(len(DeliveryMode), "name each delivery mode at most once", minimum=1, list_type="set"),
]


class RenewalSpec(Model):
    """When a certificate is replaced."""

    renew_before: Annotated[timedelta, Span(timedelta(seconds=1), MAX_LIFETIME)] | None = None
    """How long before notAfter a certificate is renewed, as a duration in h, m, s; at most three
    quarters of the lifetime. Default: a third of the lifetime, also where a tier shortens the
    lifetime so far that this would be more than three quarters of it."""


class RevocationSpec(Model):
    """How a certificate is revoked."""

    grace_period: Annotated[timedelta, Span(timedelta(0), timedelta(hours=1))] = timedelta(
        minutes=2
    )
    """How long the old certificate stays valid when a change takes something away, as a duration
    in h, m, s, so that kubelets can swap the file. Suspending and deleting revoke at once.
    Default 2m."""
    ephemeral_lifetime: Annotated[timedelta, Span(timedelta(0), MAX_LIFETIME)] = timedelta(
        minutes=5
    )
    """Certificates that live no longer than this say that no CRL and no OCSP answer will tell of
    them (noRevAvail, RFC 9608), as a duration in h, m, s; they run out instead, and stand in the
    deny feed. 0s: none. Default 5m."""


class CertificatePolicySpec(Model):
    """The certificate policy that certificates of the class name (RFC 5280 §4.2.1.4)."""

    oid: (
        Annotated[
            str,
            Text(
                r"[0-2](\.(0|[1-9][0-9]{0,9})){1,30}",
                128,
                "is not an object identifier in dotted numbers",
                "write one such as 1.3.6.1.4.1.99999.1, or leave it out for that of the class",
                but_not=r"2\.5\.29\.32\.0",
            ),
        ]
        | None
    ) = None
    """Object identifier. Default: one below agentid's own arc, derived from the name of the
    class."""
    cps_uri: (
        Annotated[
            str,
            Text(
                r"https?://[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]+",
                512,
                "is not an http or https URI",
                "write where the policy is explained, such as https://pki.example.org/cps",
            ),
        ]
        | None
    ) = None
    """Where the policy is explained."""


class AuthorizationSpec(Model):
    """The extension by which a certificate says what its agent may do."""

    critical: StrictBool = False
    """Whether verifiers that do not know the extension have to refuse the certificate. Default
    false, since no verifier in use knows it unless it was told."""


class MigrationSpec(Model):
    """A second key algorithm that agents are moved to, one renewal after the other."""

    key_algorithm: KeyAlgorithm
    """The algorithm of the keys that are made from now on."""


class Implications(Model):
    """What holding an operation means for the classification, at the least."""

    access_privileges: AccessPrivileges = AccessPrivileges.READ_WRITE
    """Least access privileges: Public, ReadOnly, ReadWrite or Administrative. Default ReadWrite,
    since an operation of unknown effect is taken to change something."""
    decision_authority: DecisionAuthority = DecisionAuthority.ADVISORY
    """Least decision authority: Advisory, Supervised, Bounded or Autonomous. Default Advisory."""
    risk_exposure: RiskExposure = RiskExposure.MINIMAL
    """Least risk exposure: Minimal, Limited, Significant or Severe. Default Minimal."""


class ClassOperation(Model):
    """An operation that this class defines beside the ones that every class knows."""

    name: OperationName
    """Name of the operation, such as place-order."""
    implies: Implications = Implications()
    """What holding it means for the classification of an identity."""

    rules: ClassVar = (
        Rule["ClassOperation"](
            field="name",
            found=lambda operation: shown(operation.name) if operation.name in OPERATIONS else None,
            allowed="is an operation that every class knows, and cannot be defined anew",
            remedy="choose another name, or leave the definition out",
            cel=f"!(self.name in [{', '.join(cel_string(name) for name in sorted(OPERATIONS))}])",
            cel_found="""'"' + self.name + '"'""",
        ),
    )


class ClassDelivery(Model):
    """How certificates of this class may be delivered."""

    modes: Modes = tuple(DeliveryMode)
    """Allowed delivery modes: Secret, PodCertificate, CSI. Default: all of them."""


class ClassLimits(Model):
    """How many agents of the class there may be, and how fast certificates are made for them.

    A limit takes away nothing that is there: who has a place keeps it, also when the limit is
    lowered, and a renewal that is due is made whatever the rate.
    """

    identities: Annotated[int, Number(0, MAX_IDENTITIES)] | None = None
    """Most AgentIdentities of the class that have certificates, or may have, at a time; those
    beyond it wait, the oldest first. Absent: any number."""
    identities_per_namespace: Annotated[int, Number(0, MAX_IDENTITIES)] | None = None
    """The same for each namespace. Absent: any number."""
    issuances_per_minute_per_namespace: Annotated[int, Number(1, MAX_ISSUANCES)] | None = None
    """Certificates of the class made in a minute for each namespace, by whatever delivery; what is
    beyond it waits. A renewal that is due counts, and does not wait. Absent: any number."""


class NamespacesSpec(Model):
    """Which namespaces may use the class."""

    names: Annotated[
        tuple[NamespacePattern, ...],
        Items(256, "use prefixes such as team-*", list_type="set"),
    ]
    """Namespaces that are served: exact names, prefixes such as `team-*`, or `*` for all.
    Empty: none."""

    def serve(self, namespace: str) -> bool:
        """Whether an identity of this namespace may use the class."""
        return any(
            namespace.startswith(name[:-1]) if name.endswith("*") else namespace == name
            for name in self.names
        )


class TierRule(Model):
    """What this class asks of one tier beyond the tier's own limits."""

    lifetime: Lifetime | None = None
    """Longest lifetime, as a duration in h, m, s. Default: the tier's limit (Low 24h, Moderate 12h,
    High 4h, Critical 1h) or the lifetime of the class, whichever is shorter."""
    key_algorithm: KeyAlgorithm | None = None
    """Key algorithm, at least as strong as the tier and the class ask. Default: that of the class,
    or ECDSAP384 where the tier asks for more strength."""
    delivery_modes: Modes | None = None
    """Delivery modes allowed for the tier. Default: those of the class; Critical never Secret."""


class TierRules(Model):
    """Stricter rules for each tier; no rule can be laxer than the tier's own limits."""

    model_config = ConfigDict(alias_generator=str.capitalize)

    low: TierRule | None = None
    """Rules for identities classified Low."""
    moderate: TierRule | None = None
    """Rules for identities classified Moderate."""
    high: TierRule | None = None
    """Rules for identities classified High."""
    critical: TierRule | None = None
    """Rules for identities classified Critical."""

    def of(self, tier: Tier) -> TierRule:
        """The rule for a tier; one without content if the class states none."""
        by_tier = {
            Tier.LOW: self.low,
            Tier.MODERATE: self.moderate,
            Tier.HIGH: self.high,
            Tier.CRITICAL: self.critical,
        }
        return by_tier[tier] or TierRule()


class AgentClassSpec(Model):
    """The template and the ceiling."""

    issuer_name: ResourceName
    """Name of the AgentIssuer that signs for this class."""
    description: Purpose | None = None
    """What the class is for, in one line of at most 1024 characters."""
    lifetime: Lifetime = timedelta(hours=1)
    """Lifetime of certificates, as a duration in h, m, s from 1m to 24h; the tier of an identity
    may shorten it. Default 1h."""
    key_algorithm: KeyAlgorithm = KeyAlgorithm.ECDSAP256
    """Algorithm of the agents' keys: ECDSAP256, ECDSAP384, ECDSAP521, ED25519, RSA3072, RSA4096, or
    the post-quantum MLDSA44, MLDSA65 or MLDSA87, which peers must know. Default ECDSAP256."""
    migration: MigrationSpec | None = None
    """A second algorithm to move to as certificates are renewed; status.keyAlgorithms shows how far
    it is. A change of keyAlgorithm itself has everything reissued at once. Absent: none."""
    certificate_policy: CertificatePolicySpec = CertificatePolicySpec()
    """The certificate policy that certificates name."""
    authorization: AuthorizationSpec = AuthorizationSpec()
    """The extension by which certificates say what their agent may do."""
    renewal: RenewalSpec = RenewalSpec()
    """When certificates are replaced."""
    revocation: RevocationSpec = RevocationSpec()
    """How certificates are revoked."""
    permissions: PermissionsSpec = PermissionsSpec()
    """Ceiling of the permissions that an identity may ask for. Absent or empty: nothing."""
    operations: Annotated[
        tuple[ClassOperation, ...],
        Items(MAX_OPERATIONS, "split the class", list_type="map", keys=("name",)),
    ] = ()
    """Operations that this class defines beside list, search, read, create, update, delete,
    execute, approve, transfer, configure and grant."""
    delivery: ClassDelivery = ClassDelivery()
    """How certificates may be delivered."""
    namespaces: NamespacesSpec
    """Which namespaces may use the class."""
    limits: ClassLimits = ClassLimits()
    """How many identities of the class there may be, and how fast their certificates are made."""
    require_sponsor: StrictBool = True
    """Whether an identity has to name its sponsor. Default true."""
    max_tier: Tier = Tier.CRITICAL
    """Highest tier an identity may be classified as: Low, Moderate, High or Critical; one above it
    is refused. Default Critical."""
    tiers: TierRules = TierRules()
    """Rules for each tier, stricter than the tier's own limits."""

    rules: ClassVar = CLASS_RULES


class KeyAlgorithmStatus(Model):
    """How many certificates in use have keys of one algorithm."""

    algorithm: KeyAlgorithm
    """Key algorithm."""
    certificates: Annotated[int, Number(0, 2**31 - 1)]
    """Number of certificates that are in force and were not replaced yet."""


class AgentClassStatus(Model):
    """What the controller tells about a class."""

    observed_generation: Generation | None = None
    """The metadata.generation that this status judges."""
    conditions: Conditions = ()
    """Ready, Reconciling and Stalled, each with reason and message."""
    identities: Annotated[int, Number(0, 2**31 - 1)] | None = None
    """Number of AgentIdentities that name this class."""
    key_algorithms: Annotated[
        tuple[KeyAlgorithmStatus, ...],
        Items(16, list_type="map", keys=("algorithm",)),
    ] = ()
    """Certificates of the class that are in use, by the algorithm of their keys; written while a
    migration goes on, every half a minute at most."""


class AgentClass(Resource):
    """The certificate template of a sort of agents, and the ceiling of what they may be given."""

    KIND: ClassVar[str] = "AgentClass"

    spec: AgentClassSpec
    """The template and the ceiling."""
    status: AgentClassStatus = Field(default=AgentClassStatus(conditions=(PENDING,)))
    """What the controller tells about the class."""

    rules: ClassVar = (NAME_RULE,)

    @classmethod
    def status_of(cls, body: Mapping[str, object]) -> AgentClassStatus:
        """Read the status of an object, whatever its spec holds; leniently, as `parse` does."""
        status = cls._readable_status(body.get("status"))
        return status if isinstance(status, AgentClassStatus) else AgentClassStatus()
