"""AgentIssuer: a trust domain, and the certificate authority that signs for it."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, ClassVar, Final

from pydantic import Field

from agentid.api.conditions import PENDING, Conditions
from agentid.api.duration import format_duration
from agentid.api.fields import Generation, Items, Span, Text, Timestamp
from agentid.api.model import NAME_RULE, Model, Resource
from agentid.api.names import Hex, Shown
from agentid.api.rules import Rule, Transition
from agentid.identity import TrustDomain
from agentid.pki.algorithm import KeyAlgorithm

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "AgentIssuer",
    "AgentIssuerSpec",
    "AgentIssuerStatus",
    "AuthorityRole",
    "AuthorityStatus",
    "BuiltinCa",
    "CaSpec",
]

_DAY: Final = timedelta(days=1)
_HOST_LABEL: Final = "[a-z0-9_]([-a-z0-9_]{0,61}[a-z0-9_])?"


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


class CaSpec(Model):
    """The certificate authority; exactly one of its members is given."""

    builtin: BuiltinCa | None = None
    """Authorities that agentid makes and keeps itself. `{}` takes every default."""

    rules: ClassVar = (
        Rule["CaSpec"](
            field="builtin",
            found=lambda ca: "" if ca.builtin is None else None,
            allowed="is missing, and exactly one kind of authority has to be given",
            remedy="write builtin: {} for authorities that agentid makes itself",
            cel="has(self.builtin)",
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


class AuthorityRole(StrEnum):
    """What an authority is there for."""

    ROOT = "Root"
    ISSUING = "Issuing"


class AuthorityStatus(Model):
    """One certificate of the issuer's own chain."""

    role: AuthorityRole
    """Root, or the authority that signs leaves: Issuing."""
    subject: Shown
    """Distinguished name, as in RFC 4514."""
    serial: Hex
    """Serial number in lower-case hexadecimal."""
    algorithm: KeyAlgorithm
    """Key algorithm."""
    fingerprint: Hex
    """SHA-256 of the DER certificate in lower-case hexadecimal."""
    not_before: Timestamp
    """First second of validity."""
    not_after: Timestamp
    """Last second of validity."""


class AgentIssuerStatus(Model):
    """What the controller tells about an issuer."""

    observed_generation: Generation | None = None
    """The metadata.generation that this status judges."""
    conditions: Conditions = ()
    """Ready, Reconciling and Stalled, each with reason and message."""
    trust_domain: Shown | None = None
    """Trust domain that the authorities are made for."""
    authorities: Annotated[tuple[AuthorityStatus, ...], Items(16)] = ()
    """Certificates of the chain, root first."""


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
