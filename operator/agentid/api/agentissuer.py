"""AgentIssuer: a trust domain, and the certificate authority that signs for it."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, ClassVar, Final

from pydantic import Field

from agentid.api.conditions import PENDING
from agentid.api.duration import format_duration
from agentid.api.fields import (
    Items,
    Number,
    Prose,
    Span,
    Text,
    time_in,
)
from agentid.api.issuer_status import (
    AgentIssuerStatus,
    AuthorityRole,
    AuthorityState,
    AuthorityStatus,
    FederationStatus,
    JwtKeyStatus,
)
from agentid.api.model import NAME_RULE, Model, Resource
from agentid.api.names import SecretName
from agentid.api.rules import Rule, Transition
from agentid.api.violation import shown
from agentid.constants import (
    ANNOTATION_ROTATE_JWT_REQUESTED,
    ANNOTATION_ROTATE_REQUESTED,
    ANNOTATION_ROTATE_ROOT_REQUESTED,
)
from agentid.identity import SpiffeId, TrustDomain
from agentid.pki.algorithm import KeyAlgorithm
from agentid.pki.jws import JwtAlgorithm

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

__all__ = [
    "AgentIssuer",
    "AgentIssuerSpec",
    "AgentIssuerStatus",
    "AuthorityRole",
    "AuthorityState",
    "AuthorityStatus",
    "BuiltinCa",
    "BundleProfile",
    "BundleSpec",
    "CaSpec",
    "FederationSpec",
    "FederationStatus",
    "JwtKeyStatus",
    "JwtSpec",
    "ResponderSpec",
    "RotationSpec",
    "SecretCa",
]

_DAY: Final = timedelta(days=1)
_HOST_LABEL: Final = "[a-z0-9_]([-a-z0-9_]{0,61}[a-z0-9_])?"

Fingerprint = Annotated[
    str,
    Text(
        "[0-9a-f]{64}",
        64,
        "is not a SHA-256 fingerprint of 64 lower-case hexadecimal digits",
        "copy it from status.authorities or status.jwtKeys of the AgentIssuer",
    ),
]

ForeignTrustDomain = Annotated[
    str,
    Text(
        "[a-z0-9._-]+",
        255,
        "is not the name of a trust domain",
        "write the bare name, such as agents.example.net",
    ),
]


class BuiltinCa(Model):
    """Authorities that agentid makes and keeps in a Secret of its own namespace."""

    root_algorithm: KeyAlgorithm = KeyAlgorithm.ECDSAP384
    """Key algorithm of the root. Default ECDSAP384."""
    root_lifetime: Annotated[timedelta, Span(_DAY, 30 * 365 * _DAY)] = 10 * 365 * _DAY
    """Lifetime of the root, as a duration in h, m, s. Default 87600h (10 years)."""
    intermediate_algorithm: KeyAlgorithm = KeyAlgorithm.ECDSAP256
    """Key algorithm of the issuing authority. Default ECDSAP256."""
    intermediate_lifetime: Annotated[timedelta, Span(_DAY, 10 * 365 * _DAY)] = 90 * _DAY
    """Lifetime of the issuing authority, as a duration in h, m, s; never longer than the root's.
    Default 2160h (90 days)."""

    rules: ClassVar = (
        Rule["BuiltinCa"](
            field="intermediateLifetime",
            found=lambda ca: (
                f'"{format_duration(ca.intermediate_lifetime)}"'
                if ca.intermediate_lifetime > ca.root_lifetime
                else None
            ),
            allowed="is longer than rootLifetime",
            remedy="shorten it: nothing may outlive the authority above it",
            cel="duration(self.intermediateLifetime) <= duration(self.rootLifetime)",
            cel_found="""'"' + self.intermediateLifetime + '"'""",
        ),
    )


class SecretCa(Model):
    """An issuing authority that a CA of the organisation has certified."""

    name: SecretName
    """Secret in agentid's own namespace: tls.crt holds the issuing certificate and the
    intermediates above it, tls.key its private key, ca.crt the root. Another certificate in it is
    taken up as a successor."""


class CaSpec(Model):
    """The certificate authority; exactly one of its members is given."""

    builtin: BuiltinCa | None = None
    """Authorities that agentid makes and keeps itself. `{}` takes every default."""
    secret: SecretCa | None = None
    """An issuing authority from elsewhere, given in a Secret."""

    rules: ClassVar = (
        Rule["CaSpec"](
            field="builtin",
            found=lambda ca: "" if (ca.builtin is None) == (ca.secret is None) else None,
            allowed="or secret has to be given, exactly one of the two",
            remedy="write builtin: {} for authorities that agentid makes itself",
            cel="has(self.builtin) != has(self.secret)",
            blames_field=False,
        ),
    )


class RotationSpec(Model):
    """How authorities are exchanged for their successors."""

    propagation_time: Annotated[timedelta, Span(timedelta(seconds=1), 7 * _DAY)] = timedelta(
        minutes=15
    )
    """How long a new root stands in every bundle, and beside every certificate, before anything
    below it is used, and how long the CRLs of a new issuing authority are served before it signs,
    as a duration in h, m, s: the time until the slowest verifier has read them. Default 15m, three
    refresh hints."""


class ResponderSpec(Model):
    """Where verifiers find out what is revoked, and how fresh that is."""

    url: Annotated[
        str,
        Text(
            r"http://[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?(/[A-Za-z0-9._~-]+)*",
            200,
            "is not a plain http URL without a slash at its end",
            "write one such as http://agentid-responder.agentid-system.svc; verifiers ask for "
            "CRLs and OCSP by http, since what they get is signed",
        ),
    ] = "http://agentid-responder.agentid-system.svc"
    """Base of the URLs in certificates, where `agentid responder` answers: CRLs, OCSP,
    certificates of authorities, policies. A change counts for authorities that are made from now
    on. Default http://agentid-responder.agentid-system.svc."""
    crl_lifetime: Annotated[timedelta, Span(timedelta(minutes=2), 7 * _DAY)] = timedelta(hours=4)
    """How long a CRL may be relied on (nextUpdate), as a duration in h, m, s; it is signed anew
    after a quarter of that. Verifiers that insist on a fresh CRL refuse everybody once agentid
    was away for the rest. Default 4h."""
    shards: Annotated[int, Number(1, 256)] = 8
    """Number of CRLs among which the certificates of one authority are spread; it counts for
    authorities that are made from now on. Default 8."""


class BundleSpec(Model):
    """How the trust bundle is published."""

    refresh_hint: Annotated[timedelta, Span(timedelta(seconds=10), _DAY)] = timedelta(minutes=5)
    """How often readers of the bundle should look for a new one, as a duration in h, m, s.
    Default 5m."""


class JwtSpec(Model):
    """How JWT-SVIDs are signed, for whoever takes tokens in place of certificates."""

    algorithm: JwtAlgorithm = JwtAlgorithm.ES256
    """What a key signs with; it counts for keys that are made from now on. Default ES256."""
    rotation_period: Annotated[timedelta, Span(timedelta(hours=1), 365 * _DAY)] = 30 * _DAY
    """How long a key signs until its successor does, as a duration in h, m, s. Default 720h
    (30 days)."""
    token_lifetime: Annotated[timedelta, Span(timedelta(seconds=10), timedelta(hours=1))] = (
        timedelta(minutes=5)
    )
    """How long a token serves at most, as a duration in h, m, s: it cannot be revoked. Default
    5m."""
    oidc_issuer: (
        Annotated[
            str,
            Text(
                r"https://[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?"
                r"(/[A-Za-z0-9._~-]+)*",
                200,
                "is not a plain https URL without a slash at its end",
                "write the one at which identity providers reach the responder, such as "
                "https://oidc.example.com/oidc/agents.example.com",
            ),
        ]
        | None
    ) = None
    """Issuer URL of OpenID Connect: the iss of every token, and below which the responder's
    discovery document is found from outside, at /.well-known/openid-configuration. Without it
    tokens have no iss."""


class BundleProfile(StrEnum):
    """How a bundle endpoint proves who it is (SPIFFE Federation §5)."""

    HTTPS_WEB = "https_web"
    HTTPS_SPIFFE = "https_spiffe"


class FederationSpec(Model):
    """A foreign trust domain whose bundle is fetched and published beside ours."""

    trust_domain: ForeignTrustDomain
    """Name of the foreign trust domain."""
    url: Annotated[
        str,
        Text(
            r"https://[!-~]+",
            512,
            "is not an https URL",
            "write the URL of its bundle endpoint, such as https://spiffe.example.net/bundle",
        ),
    ]
    """Its bundle endpoint."""
    profile: BundleProfile = BundleProfile.HTTPS_WEB
    """How the endpoint proves who it is: https_web by a certificate of the web PKI, https_spiffe by
    an SVID. Default https_web."""
    endpoint_spiffe_id: (
        Annotated[
            str,
            Text(
                r"spiffe://[!-~]+",
                2048,
                "is not a SPIFFE ID",
                "write the SPIFFE ID of the endpoint's server, such as spiffe://example.net/bundle",
                check=SpiffeId.parse,
            ),
        ]
        | None
    ) = None
    """SPIFFE ID that the endpoint has to prove; only with https_spiffe."""
    bundle: Annotated[str, Prose(64 * 1024)] | None = None
    """First bundle of the endpoint's trust domain, PEM or a SPIFFE bundle document, by which its
    first answer is verified with https_spiffe; with https_web, roots to trust beside those of the
    system."""

    rules: ClassVar = (
        Rule["FederationSpec"](
            field="endpointSpiffeID",
            found=lambda foreign: (
                shown(foreign.endpoint_spiffe_id or "")
                if (foreign.profile is BundleProfile.HTTPS_SPIFFE)
                != (foreign.endpoint_spiffe_id is not None)
                else None
            ),
            allowed="goes with profile https_spiffe, and only with it",
            remedy="set profile to https_spiffe and name the SPIFFE ID, or leave both out",
            cel="has(self.endpointSpiffeID) == (self.profile == 'https_spiffe')",
            blames_field=False,
        ),
    )


class AgentIssuerSpec(Model):
    """What the platform asks of an issuer."""

    trust_domain: Annotated[
        str,
        Text(
            rf"{_HOST_LABEL}(\.{_HOST_LABEL})*",
            255,
            "is not a trust domain: a lower-case host name whose labels have at most 63 "
            "characters and whose last label is not a number",
            "write the bare name, such as agents.example.org",
            transition=Transition(
                "self == oldSelf",
                "cannot be changed, since every SPIFFE ID begins with it; create another "
                "AgentIssuer and move the classes over",
            ),
            # A last label that is a number, also in hexadecimal, reads as an IPv4 address.
            but_not=r"(.*\.)?([0-9]+|0x[0-9a-f]*)",
            check=lambda name: TrustDomain.parse(name).require_host_name(),
        ),
    ]
    """SPIFFE trust domain of every identity this issuer signs for, without scheme, such as
    agents.example.org. Cannot be changed."""
    ca: CaSpec
    """Certificate authority that signs. Exactly one member is given."""
    rotation: RotationSpec = RotationSpec()
    """How authorities are exchanged for their successors."""
    distrust: Annotated[
        tuple[Fingerprint, ...],
        Items(16, "remove those that are gone from status.authorities", list_type="set"),
    ] = ()
    """Authorities that must not be trusted any more, as SHA-256 fingerprints from
    status.authorities. What they signed is reissued, then revoked; then they leave the bundles.
    Fingerprints from status.jwtKeys as well: such a key leaves the bundles at once."""
    responder: ResponderSpec = ResponderSpec()
    """Where verifiers find out what is revoked."""
    bundle: BundleSpec = BundleSpec()
    """How the trust bundle is published."""
    jwt: JwtSpec = JwtSpec()
    """How JWT-SVIDs are signed."""
    federation: Annotated[
        tuple[FederationSpec, ...],
        Items(32, "federate with fewer", list_type="map", keys=("trust_domain",)),
    ] = ()
    """Foreign trust domains whose bundles are published beside ours, never merged with it."""


class AgentIssuer(Resource):
    """A trust domain, and the certificate authority that signs for its agents."""

    KIND: ClassVar[str] = "AgentIssuer"

    spec: AgentIssuerSpec
    """What the platform asks of the issuer."""
    status: AgentIssuerStatus = Field(default=AgentIssuerStatus(conditions=(PENDING,)))
    """What the controller tells about it."""

    rules: ClassVar = (NAME_RULE,)

    @classmethod
    def status_of(cls, body: Mapping[str, object]) -> AgentIssuerStatus:
        """Read the status of an object, whatever its spec holds; leniently, as `parse` does."""
        status = cls._readable_status(body.get("status"))
        return status if isinstance(status, AgentIssuerStatus) else AgentIssuerStatus()

    @property
    def trust_domain(self) -> TrustDomain:
        """The trust domain as a value."""
        return TrustDomain.parse(self.spec.trust_domain)

    @property
    def rotation_requested(self) -> datetime | None:
        """When somebody asked for another issuing authority, None if nobody did."""
        return time_in(self.metadata.annotations, ANNOTATION_ROTATE_REQUESTED)

    @property
    def root_rotation_requested(self) -> datetime | None:
        """Likewise for another root."""
        return time_in(self.metadata.annotations, ANNOTATION_ROTATE_ROOT_REQUESTED)

    @property
    def jwt_rotation_requested(self) -> datetime | None:
        """Likewise for another key for JWT-SVIDs."""
        return time_in(self.metadata.annotations, ANNOTATION_ROTATE_JWT_REQUESTED)
