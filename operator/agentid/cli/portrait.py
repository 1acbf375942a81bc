"""One identity in words: who, what it may do, why this tier, why not Ready, what next; pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agentid.api.agentidentity import AgentIdentity
from agentid.api.conditions import ConditionType, Reason
from agentid.api.duration import format_duration
from agentid.api.fields import format_time
from agentid.cli.output import Line, Tone, span
from agentid.cli.roster import Entry
from agentid.errors import SpecError
from agentid.policy.schedule import Schedule

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from agentid.api.agentclass import AgentClass
    from agentid.api.agentidentity import AgentIdentityStatus
    from agentid.api.permissions import PermissionsSpec

__all__ = ["Portrait", "next_step_of"]

_LESS: Final = (
    "ask for less, choose another class (kubectl get agentclasses), or ask the class owner; "
    "agentid explain -f FILE tells beforehand what a change leads to"
)
_WAIT: Final = "nothing; agentid tries again by itself"
_ISSUER: Final = "ask the platform team; agentid issuer show tells how the issuer is"

_NEXT: Final = {
    Reason.PENDING: "wait some seconds; if it stays so, nobody is looking: agentid doctor",
    Reason.CLASS_NOT_FOUND: "name a class that exists (kubectl get agentclasses), or have it made",
    Reason.ISSUER_NOT_FOUND: _ISSUER,
    Reason.ISSUER_NOT_READY: _ISSUER,
    Reason.ISSUER_UNAVAILABLE: _WAIT,
    Reason.ISSUER_DENIED: _ISSUER,
    Reason.INVALID_SPEC: "correct the fields that are named; agentid explain -f FILE checks them",
    Reason.EXCEEDS_CLASS: _LESS,
    Reason.NAMESPACE_NOT_SERVED: "choose a class that serves the namespace, or ask its owner",
    Reason.SPONSOR_REQUIRED: "set spec.sponsor to who answers for the agent",
    Reason.DELIVERY_NOT_ALLOWED: "set spec.delivery.mode to one that the message names",
    Reason.DELIVERY_UNAVAILABLE: "set spec.delivery.mode to one that the message names",
    Reason.TIER_NOT_ALLOWED: _LESS,
    Reason.QUOTA_EXCEEDED: "delete an identity of the class that is not needed, or ask the class "
    "owner for more; it proceeds by itself when its turn comes",
    Reason.RATE_LIMITED: f"{_WAIT} when its turn comes; ask the class owner for more if it lasts",
    Reason.SECRET_CONFLICT: "remove that Secret, or set spec.delivery.secretName to another name",
    Reason.SECRET_REFUSED: "look which admission policy or quota of the namespace refuses Secrets",
    Reason.LEDGER_UNAVAILABLE: f"{_WAIT}; if it lasts: agentid doctor",
    Reason.INCIDENT_UNREADABLE: "ask the platform team; agentid doctor names the incident",
    Reason.SUSPENDED: "agentid resume gives it a new certificate",
    Reason.HELD: "ask whom the message names",
    Reason.DELETING: "nothing; it goes once its certificates are revoked",
    Reason.INTERNAL_ERROR: "report it, with the id in the message",
}
"""What to do about each reason that an identity can have for not being Ready."""


def next_step_of(entry: Entry) -> str | None:
    """What its owner can do now; None if there is nothing to be done."""
    if entry.is_ready:
        retried = entry.condition(ConditionType.RECONCILING)
        return None if retried is None else _WAIT
    ready = entry.condition(ConditionType.READY)
    try:
        return _NEXT.get(Reason.PENDING if ready is None else Reason(ready.reason))
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class Portrait:
    """What there is to say about an identity.

    Attributes:
        entry: The identity.
        agent_class: The class that it names; None if there is none that can be read.
        class_problem: Why there is none.
        now: The present.
        wide: Whether to tell everything.
    """

    entry: Entry
    agent_class: AgentClass | None
    class_problem: str | None
    now: datetime
    wide: bool = False

    def lines(self) -> Iterator[Line]:
        """The whole of it."""
        entry = self.entry
        yield Line("agent", f"{entry.name} in namespace {entry.namespace}", Tone.HEAD)
        yield Line("SPIFFE ID", entry.status.spiffe_id or "none yet")
        yield from self._standing()
        yield Line("", "")
        try:
            identity = AgentIdentity.parse(entry.body)
        except SpecError as error:
            for at, violation in enumerate(error.violations):
                yield Line("" if at else "malformed", violation, Tone.BAD)
        else:
            yield from self._asked(identity)
        yield Line("", "")
        yield from self._tier()
        yield Line("", "")
        yield from self._certificate()

    def to_json(self) -> dict[str, object]:
        """The same for programs: how it is, why, and what next."""
        ready = self.entry.condition(ConditionType.READY)
        return {
            "standing": self.entry.standing,
            "ready": self.entry.is_ready,
            "why": None if ready is None else ready.message,
            "nextStep": next_step_of(self.entry),
            "upToDate": self.entry.is_seen,
        }

    def _standing(self) -> Iterator[Line]:
        entry = self.entry
        metadata = AgentIdentity.metadata_of(entry.body)
        tone = Tone.GOOD if entry.is_ready else Tone.BAD
        yield Line("status", entry.standing, tone)
        told: set[str] = set()
        for condition in entry.status.conditions:
            about = condition.type in set(ConditionType)
            if about and condition.message not in told:
                yield Line("" if told else "why", condition.message)
                told.add(condition.message)
            if self.wide:
                since = format_time(condition.last_transition_time)
                yield Line("", f"{condition.type} {condition.status} since {since}")
        if metadata.deletion_timestamp is not None:
            asked = format_time(metadata.deletion_timestamp)
            waits = ", ".join(metadata.finalizers) or "nothing"
            yield Line("deletion", f"asked for at {asked}; waits for {waits}")
        if not self.entry.is_seen:
            yield Line("not seen yet", "the controller has not looked at the latest change")
        if (step := next_step_of(entry)) is not None:
            yield Line("next step", step, Tone.CARE)

    def _asked(self, identity: AgentIdentity) -> Iterator[Line]:
        spec, found = identity.spec, self.agent_class
        about = "" if found is None or not found.spec.description else f": {found.spec.description}"
        yield Line("class", f"{spec.class_name}{about}")
        if self.class_problem is not None:
            yield Line("", self.class_problem, Tone.BAD)
        yield Line("sponsor", spec.sponsor or "nobody answers for it")
        if spec.purpose:
            yield Line("purpose", spec.purpose)
        yield Line("runs as", f"ServiceAccount {spec.subject.service_account_name}")
        yield from _permissions(spec.permissions, None if found is None else found.spec.permissions)
        asked = "as the class says" if spec.lifetime is None else format_duration(spec.lifetime)
        most = "" if found is None else f", at most {format_duration(found.spec.lifetime)}"
        yield Line("lifetime", f"{asked}{most}")
        into = "" if identity.secret_name is None else f" {identity.secret_name}"
        yield Line("delivered by", f"{spec.delivery.mode}{into}")
        if identity.renewal_requested is not None:
            yield Line("renewal asked", format_time(identity.renewal_requested))

    def _tier(self) -> Iterator[Line]:
        found = self.entry.status.classification
        if found is None:
            yield Line("tier", "not judged yet")
            return
        yield Line("tier", f"{found.tier}, score {found.score} of 100")
        for at, reason in enumerate(found.reasons):
            yield Line("" if at else "because", reason)
        if self.agent_class is not None:
            yield Line("highest tier", f"{self.agent_class.spec.max_tier} in this class")

    def _certificate(self) -> Iterator[Line]:
        status, now = self.entry.status, self.now
        certificate = status.certificate
        if certificate is None and status.pod_certificate is not None:
            yield from _pods(status, now)
        elif certificate is None:
            yield Line("certificate", "none")
        else:
            left = certificate.not_after - now
            ends = "it has expired" if left.total_seconds() < 0 else f"{span(left)} left"
            yield Line("certificate", certificate.serial)
            yield Line("valid from", format_time(certificate.not_before))
            yield Line("valid until", f"{format_time(certificate.not_after)}, {ends}")
            yield Line("renewed at", format_time(certificate.renewal_time))
            yield Line("signed by", f"AgentIssuer {certificate.issuer}")
            if certificate.key_algorithm is not None:
                yield Line("key", certificate.key_algorithm)
            if self.wide:
                yield Line("SHA-256", certificate.fingerprint)
        active = status.active_certificates
        if active is not None:
            key = f"{self.entry.namespace}/{self.entry.name}"
            yield Line(
                "in force",
                f"{active} on record; agentid ledger list --identity {key} lists them",
            )


def _pods(status: AgentIdentityStatus, now: datetime) -> Iterator[Line]:
    pods = status.pods
    held = 0 if pods is None else pods.certificates
    yield Line("pods", "none holds a certificate" if not held else f"{held} with certificates")
    if pods is not None and pods.earliest_not_after is not None:
        left = span(pods.earliest_not_after - now)
        ends = f"{format_time(pods.earliest_not_after)}, in {left}, unless renewed"
        yield Line("first end", ends)
    if status.withdrawal_time is not None:
        when = format_time(status.withdrawal_time)
        yield Line("revoked at", f"{when}, what gives more than is granted now", Tone.CARE)
        yield Line("", "restart the pods that hold it before", Tone.CARE)
    if pods is not None and (refused := pods.last_refusal) is not None:
        yield Line(
            "last refusal", f"{refused.reason}, pod {refused.pod}, at {format_time(refused.time)}"
        )
        yield Line("", refused.message)


def _permissions(asked: PermissionsSpec, most: PermissionsSpec | None) -> Iterator[Line]:
    yield _bounded("may reach", asked.systems, None if most is None else most.systems)
    yield _bounded("may do there", asked.operations, None if most is None else most.operations)
    if asked.compliance or (most is not None and most.compliance):
        allowed = None if most is None else most.compliance
        yield _bounded("compliance", asked.compliance, allowed)
    if (hours := asked.schedule or (None if most is None else most.schedule)) is not None:
        whose = "" if asked.schedule else ", by the class"
        yield Line("hours", f"{Schedule.of(hours)}{whose}")


def _bounded(label: str, asked: tuple[str, ...], most: tuple[str, ...] | None) -> Line:
    said = ", ".join(asked) or "nothing"
    return Line(label, said if most is None else f"{said} (of {', '.join(most) or 'nothing'})")
