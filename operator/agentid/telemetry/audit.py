"""What the audit stream says: one event for each decision, in a closed and versioned form.

The values are plain and frozen, and their JSON has the field names of the API, so that an event, a
resource and a record of the ledger are read with the same words. The form is `SCHEMA`; the JSON
Schema in `docs/reference` is generated from these classes, and `docs/reference/audit.md` explains
them.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from datetime import datetime  # noqa: TC003 - the schema is made from the annotations
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Literal

import orjson

from agentid.api.model import api_name

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "SCHEMA",
    "Actor",
    "AuditEvent",
    "Certificate",
    "Counts",
    "Decision",
    "ObjectRef",
    "Token",
    "encode",
    "hash_of",
]

SCHEMA: Final = "agentid.dev/audit/v1"
"""Names the form. A field may come within it; one that goes, or means something else, makes v2."""


class Decision(StrEnum):
    """What was decided."""

    ISSUED = "Issued"
    """A certificate stands on the ledger, for an identity that had none in use."""
    RENEWED = "Renewed"
    """A certificate stands on the ledger that takes the place of one in use."""
    TOKEN_MINTED = "TokenMinted"  # noqa: S105 - a decision
    """A JWT-SVID was made for a pod; it stands on a certificate that is on the ledger."""
    REVOKED = "Revoked"
    """A certificate is revoked on the ledger, for good."""
    REFUSED = "Refused"
    """An identity is given nothing: its spec is invalid, it asks for more than its class allows, or
    the certificate authority refuses. Told once, until something about it changes."""
    SUSPENDED = "Suspended"
    """`spec.suspend` took the certificates of an identity."""
    HELD = "Held"
    """An incident keeps an identity from getting a certificate."""
    INCIDENT_STARTED = "IncidentStarted"
    """An AgentRevocation begins to revoke; from here on it cannot be changed."""
    INCIDENT_EXECUTED = "IncidentExecuted"
    """An AgentRevocation has revoked everything that it hit."""
    INCIDENT_RELEASED = "IncidentReleased"
    """The hold of an AgentRevocation has ended."""
    AUTHORITY_STAGED = "AuthorityStaged"
    """A successor of an authority was made, or taken up; it signs nothing for agents yet."""
    AUTHORITY_ROTATED = "AuthorityRotated"
    """The successor signs from now on, and its predecessor retires."""
    AUTHORITY_DISTRUSTED = "AuthorityDistrusted"
    """A distrusted issuing authority was revoked on the CRL of its root, or a distrusted root left
    the trust bundle."""
    AUTHORITY_REMOVED = "AuthorityRemoved"
    """An authority that nothing depends on any more was forgotten, its key included."""


@dataclass(frozen=True, slots=True)
class ObjectRef:
    """One object as it was when it was judged.

    Attributes:
        kind: Such as AgentIdentity.
        name: Its name.
        namespace: Its namespace; absent for kinds of the cluster.
        uid: Which of several that had this name one after the other.
        resource_version: The version that was looked at; the API server's own audit log has it.
        generation: Counts the changes of the spec.
        spec_hash: SHA-256 over the spec as JSON with sorted keys and without spaces, in
            hexadecimal: what was judged, word for word.
    """

    kind: str
    name: str
    namespace: str | None = None
    uid: str | None = None
    resource_version: str | None = None
    generation: int | None = None
    spec_hash: str | None = None


@dataclass(frozen=True, slots=True)
class Certificate:
    """The certificate that an event is about.

    Attributes:
        serial: Lower-case hexadecimal.
        not_after: End of its validity.
        fingerprint: SHA-256 of its DER, lower-case hexadecimal.
        not_before: Start of its validity.
        key_algorithm: Of its key.
        authority: Id of the authority that signed it.
        door: How it is delivered.
        replaces: Serial of the certificate that was in use.
    """

    serial: str
    not_after: datetime
    fingerprint: str | None = None
    not_before: datetime | None = None
    key_algorithm: str | None = None
    authority: str | None = None
    door: str | None = None
    replaces: str | None = None


@dataclass(frozen=True, slots=True)
class Token:
    """The JWT-SVID that an event is about; not the token itself, with which one could act.

    Attributes:
        audience: Whom it is for.
        not_after: When it expires.
        id: Its `jti`.
        key: The `kid` of the key that signed it.
    """

    audience: tuple[str, ...]
    not_after: datetime
    id: str | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Actor:
    """Who decided, and who is known to have asked for it.

    Attributes:
        name: Of the part of agentid that decided, as it stands on the ledger: `agentid-controller`,
            or an AgentRevocation with its uid.
        field_manager: The name that a client gave itself when it last wrote the spec. Nobody
            verifies it; which user it was, the API server's audit log says under uid and
            resourceVersion. Absent where it is not known.
    """

    name: str
    field_manager: str | None = None


@dataclass(frozen=True, slots=True)
class Counts:
    """How much an incident hit.

    Attributes:
        matched: Certificates that were selected.
        revoked: Those that are revoked.
        identities: Identities whose certificates they are.
    """

    matched: int
    revoked: int
    identities: int


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """One decision.

    Attributes:
        schema: The form of the event.
        time: When it was decided, by the clock of the process.
        id: The process run, a dash, and a number that grows by one; a number that is missing was
            lost on the way.
        decision: What was decided.
        reason: Why, in one word: the cause of an issuance, the reason of a revocation (RFC 5280
            §5.3.1), the reason of a condition, or the step of a rotation.
        actor: Who decided.
        object: What it was decided about.
        message: Why, in a sentence, where a word does not say it.
        spiffe_id: Whose certificate.
        class_name: The AgentClass that it was judged against.
        issuer: The AgentIssuer that signs.
        tier: Low, Moderate, High or Critical.
        sponsor: Who answers for the agent.
        certificate: Which one; for a token, the one that it stands on.
        token: Which JWT-SVID, for one that was minted.
        authority: Id of the authority, for decisions about one.
        counts: For decisions about an incident.
        violations: Each rule that is broken, in a sentence, for a refusal.
        inputs: The other objects that were judged by.
        grant_hash: SHA-256 of the grant as it stands on the ledger, in hexadecimal.
    """

    schema: Literal["agentid.dev/audit/v1"]
    time: datetime
    id: str
    decision: Decision
    reason: str
    actor: Actor
    object: ObjectRef
    message: str | None = None
    spiffe_id: str | None = None
    class_name: str | None = None
    issuer: str | None = None
    tier: str | None = None
    sponsor: str | None = None
    certificate: Certificate | None = None
    token: Token | None = None
    authority: str | None = None
    counts: Counts | None = None
    violations: tuple[str, ...] = ()
    inputs: tuple[ObjectRef, ...] = ()
    grant_hash: str | None = None


def encode(event: AuditEvent) -> bytes:
    """Write an event, whose times are in UTC, as one line of JSON; what is absent is left out."""
    return orjson.dumps(_slim(event), option=_OPTIONS)


def hash_of(value: Mapping[str, object] | str) -> str:
    """The SHA-256 by which an input is named: of JSON with sorted keys, or of text as it is."""
    data = value.encode() if isinstance(value, str) else orjson.dumps(value, option=_SORTED)
    return hashlib.sha256(data).hexdigest()


_OPTIONS: Final = orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z | orjson.OPT_NAIVE_UTC
_SORTED: Final = orjson.OPT_SORT_KEYS


_KINDS: Final = (AuditEvent, ObjectRef, Certificate, Token, Actor, Counts)
_FIELDS: Final[dict[type, tuple[tuple[str, str], ...]]] = {
    kind: tuple((each.name, api_name(each.name)) for each in fields(kind)) for kind in _KINDS
}


def _slim(part: object) -> object:
    """What JSON is made of: what is absent left out, other values as they are."""
    known = _FIELDS.get(type(part))
    if known is None:
        return part
    slim: dict[str, object] = {}
    for name, wire in known:
        value = getattr(part, name)
        if value is None or value == ():
            continue
        slim[wire] = [_slim(each) for each in value] if type(value) is tuple else _slim(value)
    return slim
