"""AgentRevocation: an incident, which takes back what was issued, and what came of it."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, ClassVar, Final, Self

from pydantic import Field, StrictBool

from agentid.api.conditions import PENDING, Conditions
from agentid.api.fields import Generation, Items, Number, Prose, Text, Timestamp, format_time
from agentid.api.labels import LabelSelector
from agentid.api.model import NAME_RULE, Model, Resource
from agentid.api.moment import Moment
from agentid.api.names import Contact, Hex, NamespaceName, Purpose, ResourceName, Shown
from agentid.api.rules import Rule, Transition
from agentid.api.unknown import unknown_fields
from agentid.api.violation import Violation
from agentid.errors import SpecError
from agentid.identity import RevocationReason, SerialNumber

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "MAX_HELD",
    "MAX_HITS",
    "AgentRevocation",
    "AgentRevocationSpec",
    "AgentRevocationStatus",
    "HeldIdentity",
    "Hit",
    "IdentityReference",
    "IncidentReason",
    "IssuanceWindow",
    "Phase",
    "Selection",
]

MAX_HITS: Final = 50
"""Certificates that a status lists: enough to see whether the right ones are hit. All of them stand
on the ledger, under the name of the AgentRevocation."""

MAX_HELD: Final = 500
"""Identities that a status can keep in a hold by serial or by window: some 80 KB at worst."""


class IncidentReason(StrEnum):
    """A CRLReason of RFC 5280 §5.3.1 that is final: an incident takes back for good."""

    UNSPECIFIED = RevocationReason.UNSPECIFIED.value
    KEY_COMPROMISE = RevocationReason.KEY_COMPROMISE.value
    CA_COMPROMISE = RevocationReason.CA_COMPROMISE.value
    AFFILIATION_CHANGED = RevocationReason.AFFILIATION_CHANGED.value
    SUPERSEDED = RevocationReason.SUPERSEDED.value
    CESSATION_OF_OPERATION = RevocationReason.CESSATION_OF_OPERATION.value
    PRIVILEGE_WITHDRAWN = RevocationReason.PRIVILEGE_WITHDRAWN.value
    AA_COMPROMISE = RevocationReason.AA_COMPROMISE.value


class Phase(StrEnum):
    """How far an incident is."""

    PENDING = "Pending"
    DRY_RUN = "DryRun"
    EXECUTING = "Executing"
    EXECUTED = "Executed"
    RELEASED = "Released"


class IdentityReference(Model):
    """One AgentIdentity, whether it still exists or not."""

    namespace: NamespaceName
    """Namespace of the AgentIdentity."""
    name: ResourceName
    """Name of the AgentIdentity."""


class IssuanceWindow(Model):
    """A span of time; both ends count, to the whole second. At least one is given."""

    after: Timestamp | None = None
    """First second of the window. Default: the beginning of time."""
    before: Timestamp | None = None
    """Last second of the window. Default: the moment at which the incident starts."""

    rules: ClassVar = (
        Rule["IssuanceWindow"](
            field="before",
            found=lambda window: (
                f'"{format_time(window.before)}"'
                if window.after and window.before and window.before < window.after
                else None
            ),
            allowed="lies before the beginning of the window",
            remedy="swap the two, or correct one",
            cel="!has(self.after) || !has(self.before) || self.after <= self.before",
        ),
    )


Serial = Annotated[
    str,
    Text(
        "([0-9A-Fa-f][0-9A-Fa-f]){1,20}",
        40,
        "is not a serial number",
        "write an even number of hexadecimal digits, at most 40, without 0x and colons",
        but_not="0*",
        check=SerialNumber.parse,
    ),
]


def _names(kind: str, maximum: int) -> Items:
    remedy = f"name from 1 to {maximum} {kind}, each once, or leave the list out"
    return Items(maximum, remedy, minimum=1, list_type="set")


class Selection(Model):
    """Which certificates are hit: those that every given field selects.

    Within one field any entry will do.
    """

    identities: Annotated[
        tuple[IdentityReference, ...],
        Items(
            500,
            "name from 1 to 500 identities, each once, or leave the list out",
            minimum=1,
            list_type="map",
            keys=("namespace", "name"),
        ),
    ] = ()
    """Certificates of these AgentIdentities, of namesakes that are gone as well."""
    class_names: Annotated[tuple[ResourceName, ...], _names("classes", 64)] = ()
    """Certificates that were issued under one of these AgentClasses."""
    issuer_names: Annotated[tuple[ResourceName, ...], _names("issuers", 64)] = ()
    """Certificates that one of these AgentIssuers signed."""
    namespaces: Annotated[tuple[NamespaceName, ...], _names("namespaces", 256)] = ()
    """Certificates of all AgentIdentities in one of these namespaces."""
    label_selector: LabelSelector | None = None
    """Certificates of AgentIdentities whose labels are selected. An identity that is gone has no
    labels any more."""
    serials: Annotated[tuple[Serial, ...], _names("serials", 1000)] = ()
    """Certificates of these serial numbers, in hexadecimal of even length without colons."""
    issued: IssuanceWindow | None = None
    """Certificates that were issued within a window of time."""

    rules: ClassVar = (
        Rule["Selection"](
            field="labelSelector",
            found=lambda it: "" if it.label_selector and it.label_selector.is_empty else None,
            allowed="is empty, and an empty selector would say everything or nothing",
            remedy="add matchLabels or matchExpressions, or remove it",
            cel="!has(self.labelSelector) || has(self.labelSelector.matchLabels) || "
            "has(self.labelSelector.matchExpressions)",
        ),
        Rule["Selection"](
            field="issued",
            found=lambda it: (
                "" if it.issued and not (it.issued.after or it.issued.before) else None
            ),
            allowed="is empty, and an empty window would say everything or nothing",
            remedy="add after, before or both, or remove it",
            cel="!has(self.issued) || has(self.issued.after) || has(self.issued.before)",
        ),
    )

    @property
    def is_empty(self) -> bool:
        """Whether it selects by nothing, and so selects nothing."""
        named = self.identities or self.class_names or self.issuer_names or self.namespaces
        return not (named or self.label_selector or self.serials or self.issued)

    @property
    def by_certificate(self) -> bool:
        """Whether it goes by what a certificate has and an identity has not."""
        return bool(self.serials or self.issued)


_FIXED: Final = " && ".join(
    (
        "self.reason == oldSelf.reason",
        "self.hold == oldSelf.hold",
        "self.select == oldSelf.select",
        *(
            f"has(self.{name}) == has(oldSelf.{name}) && "
            f"(!has(self.{name}) || self.{name} == oldSelf.{name})"
            for name in ("explanation", "contact")
        ),
    )
)


class AgentRevocationSpec(Model):
    """What is to be taken back, why, and whether it is already meant."""

    reason: IncidentReason
    """Why, for the CRL (RFC 5280 §5.3.1): unspecified, keyCompromise, cACompromise,
    affiliationChanged, superseded, cessationOfOperation, privilegeWithdrawn or aACompromise."""
    explanation: Purpose | None = None
    """What happened, for people, in one line of at most 1024 characters. Owners of identities that
    are held read it."""
    contact: Contact | None = None
    """Whom to ask: an e-mail address or a URI in visible ASCII, at most 253 characters. Owners of
    identities that are held read it."""
    dry_run: Annotated[
        StrictBool,
        Transition(
            "oldSelf || !self",
            "cannot be set back to true, since revoked stays revoked; to end a hold set release to "
            "true",
        ),
    ] = True
    """True only tells in the status what would be hit, and revokes nothing. False executes, once,
    and for good; the rest of the spec cannot be changed in the same step. Default true."""
    hold: StrictBool = False
    """True keeps the identities that are hit from getting another certificate until release is
    true, or this object is deleted. Default false."""
    release: Annotated[
        StrictBool,
        Transition(
            "self || !oldSelf",
            "cannot be set back to false, since identities may have new certificates; create "
            "another AgentRevocation",
        ),
    ] = False
    """True ends the hold. Default false."""
    select: Selection
    """Which certificates are hit, of those issued until the incident starts. Fields narrow one
    another; an empty selection is refused."""

    rules: ClassVar = (
        Rule["AgentRevocationSpec"](
            field="select",
            found=lambda spec: "" if spec.select.is_empty else None,
            allowed="is empty, and would hit nothing",
            remedy="name identities, classNames, issuerNames, namespaces, a labelSelector, serials "
            "or a window in which certificates were issued",
            cel=" || ".join(
                f"has(self.select.{name})"
                for name in (
                    "identities",
                    "classNames",
                    "issuerNames",
                    "namespaces",
                    "labelSelector",
                    "serials",
                    "issued",
                )
            ),
        ),
        Rule["AgentRevocationSpec"](
            field="release",
            found=lambda spec: "true" if spec.release and not spec.hold else None,
            allowed="has no meaning unless hold is true",
            remedy="remove it",
            cel="!self.release || self.hold",
            cel_found="'true'",
        ),
    )


class Hit(Model):
    """One certificate that is hit."""

    namespace: Shown
    """Namespace of its AgentIdentity."""
    name: Shown
    """Name of its AgentIdentity."""
    serial: Hex
    """Serial number in lower-case hexadecimal."""
    spiffe_id: Annotated[str, Prose(2048)]
    """SPIFFE ID in the certificate."""
    why: Annotated[str, Prose(1024)]
    """The fields of the selection that select it, with what they found."""


class HeldIdentity(Model):
    """One identity that is held by name."""

    namespace: Shown
    """Namespace of the AgentIdentity."""
    name: Shown
    """Name of the AgentIdentity."""


_Count = Annotated[int, Number(0, 2**31 - 1)]


class AgentRevocationStatus(Model):
    """What came of it."""

    observed_generation: Generation | None = None
    """The metadata.generation that this status judges."""
    conditions: Conditions = ()
    """Ready, Reconciling and Stalled, each with reason and message."""
    phase: Phase | None = None
    """Pending, DryRun, Executing, Executed or Released."""
    started_at: Moment | None = None
    """When it was executed: certificates that were issued later are not hit."""
    completed_at: Timestamp | None = None
    """When everything was revoked; of a dry run, when it looked."""
    matched: _Count | None = None
    """Number of certificates that are hit."""
    identities: _Count | None = None
    """Number of AgentIdentities that these certificates belong to."""
    revoked: _Count | None = None
    """Number of certificates that it has revoked so far."""
    progress: Annotated[int, Number(0, 100)] | None = None
    """How much of it is done, in percent of the certificates."""
    hits: Annotated[tuple[Hit, ...], Items(MAX_HITS)] = ()
    """The first certificates that are hit, by namespace and name. The ledger has all of them."""
    more: _Count | None = None
    """Number of certificates that are hit and not listed."""
    held: Annotated[tuple[HeldIdentity, ...], Items(MAX_HELD)] = ()
    """Identities that are held by name, where the selection goes by serial or by time of issuance;
    in all other cases the selection itself says who is held."""


class AgentRevocation(Resource):
    """An incident: certificates that are revoked together, once, and what came of it."""

    KIND: ClassVar[str] = "AgentRevocation"

    spec: Annotated[
        AgentRevocationSpec,
        Transition(
            f"self.dryRun || ({_FIXED})",
            "reason, explanation, contact, hold and select cannot be changed together with setting "
            "dryRun to false, nor afterwards, so that what was looked at is what is executed; "
            "change them first and look at the dry run, or create another AgentRevocation",
        ),
    ]
    """What is to be taken back, why, and whether it is already meant."""
    status: AgentRevocationStatus = Field(default=AgentRevocationStatus(conditions=(PENDING,)))
    """What came of it."""

    rules: ClassVar = (NAME_RULE,)

    @classmethod
    def parse(cls, body: Mapping[str, object]) -> Self:
        """Read an object; one with a field that is not known does not parse.

        Fields of a selection narrow one another: without one of them it would hit more than was
        meant, and what is revoked stays revoked.
        """
        unknown = unknown_fields(AgentRevocationSpec, body.get("spec"))
        if unknown:
            remedy = "use a release of agentid that knows it, or remove it"
            raise SpecError(
                [Violation(path, "", "is not known", remedy).sentence for path in unknown]
            )
        return super().parse(body)

    @classmethod
    def status_of(cls, body: Mapping[str, object]) -> AgentRevocationStatus:
        """Read the status of an object, whatever its spec holds; leniently, as `parse` does."""
        status = cls._readable_status(body.get("status"))
        return status if isinstance(status, AgentRevocationStatus) else AgentRevocationStatus()

    @property
    def actor(self) -> str:
        """Who revoked, on each of its records on the ledger: this object, and no namesake."""
        return f"AgentRevocation {self.metadata.name} ({self.metadata.uid})"

    @property
    def revocation_reason(self) -> RevocationReason:
        """The reason on each of its records."""
        return RevocationReason(self.spec.reason.value)
