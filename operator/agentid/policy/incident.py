"""What an AgentRevocation hits, and whom it holds.

A selection is asked about certificates, which it revokes, and about identities, which it keeps from
getting another. Every field that is given has to select; within one any entry will do. A selection
that gives nothing selects nothing.

Pure, and quick to ask: an incident looks at every certificate on the ledger.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from agentid.api.fields import format_time
from agentid.identity import SerialNumber

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from agentid.api.agentrevocation import AgentRevocation, Selection
    from agentid.identity import RevocationReason

__all__ = ["Bearer", "Candidate", "Hold", "Incident", "Sieve"]


@dataclass(frozen=True, slots=True)
class Bearer:
    """An AgentIdentity, as far as a selection looks at it.

    Attributes:
        namespace: Where it is.
        name: What it is called.
        class_name: Its AgentClass, None if that is not known.
        issuer_name: The AgentIssuer that signs for it, None if that is not known.
        labels: Its labels; None if there is no such identity (any more).
    """

    namespace: str
    name: str
    class_name: str | None
    issuer_name: str | None
    labels: Mapping[str, str] | None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A certificate on the ledger that may be hit.

    Attributes:
        bearer: Whose it is; class and issuer are those it was issued under.
        serial: Its serial number.
        issued_at: When it was made.
    """

    bearer: Bearer
    serial: SerialNumber
    issued_at: datetime


@dataclass(frozen=True, slots=True)
class Hold:
    """What keeps an identity from getting a certificate.

    Attributes:
        incident: Name of the AgentRevocation.
        reason: Why its certificates are revoked.
        explanation: What happened, empty if nobody wrote it.
        contact: Whom to ask, empty if nobody is named.
    """

    incident: str
    reason: RevocationReason
    explanation: str = ""
    contact: str = ""

    @property
    def message(self) -> str:
        """What the owner of the identity is told."""
        why = f" ({self.explanation})" if self.explanation else ""
        who = self.contact or "the security officers of this cluster"
        return (
            f"AgentRevocation {self.incident}{why} holds the identity: every certificate is "
            f"revoked and none is issued. Ask {who}; they release it with: kubectl patch "
            f'agentrevocation {self.incident} --type=merge -p \'{{"spec":{{"release":true}}}}\''
        )


class Sieve:
    """A selection, made ready to be asked about thousands of certificates."""

    def __init__(self, select: Selection) -> None:
        """Take the selection apart."""
        self._identities = frozenset((each.namespace, each.name) for each in select.identities)
        self._classes = frozenset(select.class_names)
        self._issuers = frozenset(select.issuer_names)
        self._namespaces = frozenset(select.namespaces)
        self._labels = select.label_selector
        self._serials = frozenset(SerialNumber.parse(serial) for serial in select.serials)
        self._window = select.issued

    @property
    def serials(self) -> frozenset[SerialNumber]:
        """The serial numbers that it names."""
        return self._serials

    def admits(self, namespace: str, name: str) -> bool:
        """Whether an identity of this name may be selected, as far as the name tells."""
        return (not self._namespaces or namespace in self._namespaces) and (
            not self._identities or (namespace, name) in self._identities
        )

    def why_identity(self, bearer: Bearer) -> tuple[str, ...]:
        """Tell by which fields an identity is selected.

        Returns:
            A phrase for each field; empty if the identity is not selected. Serials and windows say
            nothing about an identity, so a selection by these alone selects none.
        """
        return _all(self._of_bearer(bearer))

    def why(self, candidate: Candidate) -> tuple[str, ...]:
        """Tell by which fields a certificate is selected.

        Returns:
            A phrase for each field that is given; empty if the certificate is not selected.
        """
        words = [*self._of_bearer(candidate.bearer), *self._of_certificate(candidate)]
        return _all(iter(words))

    def _of_bearer(self, bearer: Bearer) -> Iterator[str | None]:
        """Yield, for each given field, what it found, or None if it does not select."""
        if self._identities:
            found = (bearer.namespace, bearer.name) in self._identities
            yield f"AgentIdentity {bearer.namespace}/{bearer.name}" if found else None
        if self._classes:
            found = bearer.class_name in self._classes
            yield f"AgentClass {bearer.class_name}" if found else None
        if self._issuers:
            found = bearer.issuer_name in self._issuers
            yield f"AgentIssuer {bearer.issuer_name}" if found else None
        if self._namespaces:
            found = bearer.namespace in self._namespaces
            yield f"namespace {bearer.namespace}" if found else None
        if self._labels is not None:
            labels = bearer.labels
            yield "labels" if labels is not None and self._labels.selects(labels) else None

    def _of_certificate(self, candidate: Candidate) -> Iterator[str | None]:
        if self._serials:
            yield f"serial {candidate.serial}" if candidate.serial in self._serials else None
        if self._window is not None:
            # The window counts whole seconds, both ends included.
            second = candidate.issued_at.replace(microsecond=0)
            after, before = self._window.after, self._window.before
            inside = (
                (after is not None or before is not None)
                and (after is None or after <= second)
                and (before is None or second <= before)
            )
            yield f"issued at {format_time(second)}" if inside else None


def _all(words: Iterator[str | None]) -> tuple[str, ...]:
    """All phrases, or none of them if one field does not select."""
    found: list[str] = []
    for word in words:
        if word is None:
            return ()
        found.append(word)
    return tuple(found)


class Incident:
    """An AgentRevocation, ready to be asked."""

    def __init__(self, resource: AgentRevocation) -> None:
        """Make the sieve."""
        self.resource = resource
        self.sieve = Sieve(resource.spec.select)
        self._held = frozenset((each.namespace, each.name) for each in resource.status.held)

    @property
    def hold(self) -> Hold | None:
        """The hold, while it is in force: from the durable start of the incident to its release."""
        spec, status = self.resource.spec, self.resource.status
        if not spec.hold or spec.release or spec.dry_run or status.started_at is None:
            return None
        return Hold(
            self.resource.metadata.name,
            self.resource.revocation_reason,
            spec.explanation or "",
            spec.contact or "",
        )

    def may_concern(self, namespace: str, name: str) -> bool:
        """Whether `concerns` may say yes, by the name alone, which costs less to ask."""
        if self.resource.spec.select.by_certificate:
            return (namespace, name) in self._held
        return self.sieve.admits(namespace, name)

    def concerns(self, bearer: Bearer) -> bool:
        """Whether an identity is one that a hold would hold.

        Where the selection goes by what a certificate has, the identities that were hit stand in
        the status; else the identity is asked about as it is now, so that one that comes later is
        held too.
        """
        if self.resource.spec.select.by_certificate:
            return (bearer.namespace, bearer.name) in self._held
        return bool(self.sieve.why_identity(bearer))
