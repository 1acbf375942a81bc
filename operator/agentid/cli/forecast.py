"""What would become of a manifest of an AgentIdentity in a cluster as it is; pure.

The judgement is the controller's own: `agentid.policy.judge`. What a change does to the
certificates in use is told from what the present spec is granted, as the cluster has it now.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from agentid.api.agentidentity import AgentIdentity
from agentid.api.conditions import ConditionStatus, ConditionType
from agentid.api.duration import format_duration
from agentid.api.vocabulary import DeliveryMode
from agentid.cli.grant_words import certificate_lines, changes
from agentid.cli.manifests import unknown_fields
from agentid.cli.output import Line, Tone
from agentid.constants import LABEL_IDENTITY
from agentid.errors import SpecError
from agentid.policy.grant import Grant, takes_away
from agentid.policy.incident import Bearer
from agentid.policy.judge import Granted, Refused, exceeds, judge

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from agentid.api.agentclass import AgentClass
    from agentid.api.agentissuer import AgentIssuer
    from agentid.kube.objects import JsonObject
    from agentid.policy.incident import Incident

__all__ = ["Forecast", "Outcome", "Surroundings", "forecast"]


class Outcome(StrEnum):
    """What it comes to."""

    ISSUED = "Issued"
    """It gets a certificate, the first or another one."""
    UNCHANGED = "Unchanged"
    """The certificate in use stays."""
    SUSPENDED = "Suspended"
    """It is suspended, as the manifest asks."""
    STILL_SUSPENDED = "StillSuspended"
    """Somebody else has suspended it, and the manifest is silent about that."""
    HELD = "Held"
    """An incident keeps it from getting a certificate."""
    WAITING = "Waiting"
    """Something that it needs is missing; it proceeds once that is there."""
    REFUSED = "Refused"
    """It asks for more than its class allows."""
    NOT_ADMITTED = "NotAdmitted"
    """The API server would not take the manifest."""
    MALFORMED = "Malformed"
    """The manifest does not parse."""


_FINE: Final = frozenset({Outcome.ISSUED, Outcome.UNCHANGED, Outcome.SUSPENDED})


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The cluster around a manifest.

    Attributes:
        classes: Those that parse, by name.
        issuers: Those that parse, by name.
        deliveries: The doors that the installation serves.
        live: The object of the same name, None if there is none or it may not be read.
        may_use: Whether the caller may use the class; None if nobody said.
        kept: Fields of the spec that somebody else has written, and that applying leaves.
        refusal: Why the API server would not take the manifest; None if it would.
        incidents: What may hold identities, as far as it may be read.
    """

    classes: Mapping[str, AgentClass]
    issuers: Mapping[str, AgentIssuer]
    deliveries: frozenset[DeliveryMode]
    live: JsonObject | None = None
    may_use: bool | None = None
    kept: frozenset[str] = frozenset()
    refusal: str | None = None
    incidents: tuple[Incident, ...] = ()


@dataclass(frozen=True, slots=True)
class Forecast:
    """What would become of one manifest.

    Attributes:
        key: Namespace and name.
        outcome: What it comes to.
        lines: The same in words.
        grant: What it would be given, None if nothing.
    """

    key: str
    outcome: Outcome
    lines: tuple[Line, ...]
    grant: Grant | None = field(default=None, repr=False)

    @property
    def is_fine(self) -> bool:
        """Whether its author gets what the manifest asks for."""
        return self.outcome in _FINE

    def to_json(self) -> dict[str, object]:
        """The same for programs; each label with what is said of it."""
        said: dict[str, list[str]] = {}
        label = ""
        for line in self.lines:
            label = line.label or label
            said.setdefault(label, []).append(line.text)
        return {"identity": self.key, "outcome": self.outcome.value, "fine": self.is_fine} | {
            "said": said
        }


def forecast(body: JsonObject, around: Surroundings, now: datetime) -> Forecast:
    """Tell what would happen if the manifest were applied now.

    Args:
        body: The object as it would be, with its namespace.
        around: The cluster.
        now: From when on schedules of different zones are compared.
    """
    metadata = body.get("metadata")
    about = metadata if isinstance(metadata, dict) else {}
    key = f"{about.get('namespace', '')}/{about.get('name', '')}"
    try:
        identity = AgentIdentity.parse(body)
    except SpecError as error:
        faults = tuple(
            Line("" if at else "malformed", each, Tone.BAD)
            for at, each in enumerate(error.violations)
        )
        return _made(key, Outcome.MALFORMED, faults)
    unknown = tuple(
        Line(
            "" if at else "unknown field",
            f"{name} is no field of an AgentIdentity and has no effect; is it misspelt?",
            Tone.CARE,
        )
        for at, name in enumerate(unknown_fields(body, identity))
    )
    return _Teller(identity, around, now).tell(key, unknown)


class _Teller:
    """Puts the lines together; each step adds its own."""

    def __init__(self, identity: AgentIdentity, around: Surroundings, now: datetime) -> None:
        self._identity = identity
        self._around = around
        self._now = now

    def tell(self, key: str, unknown: tuple[Line, ...]) -> Forecast:
        around, spec = self._around, self._identity.spec
        lines = [*unknown, *self._admission()]
        agent_class = around.classes.get(spec.class_name)
        verdict, missing = self._verdict(self._identity)
        lines += self._class(agent_class)
        if missing is not None:
            lines.append(Line("waits for", missing, Tone.CARE))
        classification = None if verdict is None else verdict.classification
        if classification is not None:
            lines.append(
                Line("tier", f"{classification.tier}, score {classification.score} of 100")
            )
            lines += [Line("", each) for each in classification.reasons]
        grant: Grant | None = None
        match verdict:
            case Refused(violations=violations):
                lines += [
                    Line("" if at else "beyond", each.sentence, Tone.BAD)
                    for at, each in enumerate(violations)
                ]
            case Granted() if agent_class is not None:
                grant = verdict.grant
                lines += certificate_lines(grant, agent_class)
        outcome, said = self._outcome(verdict)
        lines += [Line("" if at else "then", each) for at, each in enumerate(said)]
        if around.refusal is not None:
            outcome = Outcome.NOT_ADMITTED
        return _made(key, outcome, tuple(lines), grant)

    def _admission(self) -> Iterator[Line]:
        around = self._around
        if around.refusal is not None:
            yield Line("API server", f"refuses it: {around.refusal}", Tone.BAD)
        else:
            yield Line("API server", "takes it", Tone.GOOD)

    def _class(self, agent_class: AgentClass | None) -> Iterator[Line]:
        around, name = self._around, self._identity.spec.class_name
        about = "" if agent_class is None else agent_class.spec.description or ""
        yield Line("class", f"{name}: {about}" if about else name)
        match around.may_use, around.refusal:
            case True, _:
                yield Line("you", "may use this class", Tone.GOOD)
            case False, None:
                yield Line(
                    "you",
                    "may not use this class, and yet the API server takes it: is the policy "
                    "agentid-class-use in force? agentid doctor tells",
                    Tone.CARE,
                )
            case False, _:
                yield Line("you", "may not use this class; ask its owner for it", Tone.BAD)
            case _:
                pass

    def _verdict(self, identity: AgentIdentity) -> tuple[Granted | Refused | None, str | None]:
        """The judgement, or what has to be there first."""
        name = identity.spec.class_name
        agent_class = self._around.classes.get(name)
        if agent_class is None:
            return None, f"AgentClass {name}, which does not exist or is malformed"
        issuer_name = agent_class.spec.issuer_name
        issuer = self._around.issuers.get(issuer_name)
        if issuer is None:
            return None, f"AgentIssuer {issuer_name}, which does not exist or is malformed"
        verdict = judge(
            identity,
            agent_class,
            issuer.trust_domain,
            available_deliveries=self._around.deliveries,
            now=self._now,
        )
        return verdict, _not_ready(issuer)

    # What becomes of the certificates

    def _outcome(self, verdict: Granted | Refused | None) -> tuple[Outcome, list[str]]:
        identity, live = self._identity, self._live()
        if identity.spec.suspend:
            if "suspend" in self._around.kept:
                return Outcome.STILL_SUSPENDED, ["it stays suspended; agentid resume ends that"]
            return Outcome.SUSPENDED, self._suspended(live)
        if (hold := self._hold()) is not None:
            return Outcome.HELD, [hold]
        before = None if live is None or live.spec.suspend else self._verdict(live)[0]
        match verdict:
            case Granted(grant=grant) as granted:
                by_pods = grant.secret_name is None
                return (
                    self._by_pods(grant, before)
                    if by_pods
                    else self._granted(granted, live, before)
                )
            case Refused():
                return Outcome.REFUSED, self._refused(before)
            case None:
                kept = ["the certificate in use stays until it expires"] if live else []
                return Outcome.WAITING, ["no certificate is issued before that is there", *kept]

    def _granted(
        self, granted: Granted, live: AgentIdentity | None, before: Granted | Refused | None
    ) -> tuple[Outcome, list[str]]:
        if live is None:
            return Outcome.ISSUED, ["a certificate is issued: the first of this identity"]
        if live.spec.suspend:
            return Outcome.ISSUED, ["it is suspended no more: a new certificate is issued"]
        if not isinstance(before, Granted):
            return Outcome.ISSUED, ["it is refused now, and is given a certificate then"]
        old, new = before.grant, granted.grant
        # A class that migrates lets a key of the old algorithm wait for its renewal.
        compared = replace(old, key_algorithm=new.key_algorithm) if granted.gradual else old
        if compared == new and live.status.certificate is None:
            return Outcome.ISSUED, ["a certificate is issued: there is none yet"]
        if compared == new:
            return Outcome.UNCHANGED, ["nothing changes for its certificate: the one in use stays"]
        changed = ", ".join(changes(compared, new))
        said = [f"a new certificate is issued at once: {changed} changes"]
        if takes_away(old, new, self._now):
            grace = self._grace(new.class_name)
            said.append(f"the one in use is revoked {grace}, since it gives what is taken away")
        else:
            said.append("the one in use runs out by itself: nothing is taken away")
        if old.secret_name is not None and old.secret_name != new.secret_name:
            said.append(f"Secret {old.secret_name} is emptied")
        return Outcome.ISSUED, said

    def _by_pods(self, new: Grant, before: Granted | Refused | None) -> tuple[Outcome, list[str]]:
        if not isinstance(before, Granted):
            start = (
                f"pods of ServiceAccount {new.service_account} with the label "
                f"{LABEL_IDENTITY}: {new.agent.name} get certificates as they start"
            )
            return Outcome.ISSUED, [start]
        old = before.grant
        if old == new:
            return Outcome.UNCHANGED, ["nothing changes for the certificates of its pods"]
        changed = ", ".join(changes(old, new))
        said = [f"pods get it as they start, running ones when they renew: {changed} changes"]
        if takes_away(old, new, self._now):
            grace = self._grace(new.class_name)
            said.append(
                f"what running pods hold is revoked {grace}, since it gives what is taken away: "
                "restart them before"
            )
        if old.secret_name is not None:
            said.append(f"Secret {old.secret_name} is emptied then")
        return Outcome.ISSUED, said

    def _refused(self, before: Granted | Refused | None) -> list[str]:
        said = ["no certificate is issued"]
        agent_class = self._around.classes.get(self._identity.spec.class_name)
        if not isinstance(before, Granted) or agent_class is None:
            return said
        if exceeds(before.grant, agent_class, self._now):
            grace = self._grace(agent_class.metadata.name)
            return [*said, f"the one in use is revoked {grace}, since this class does not allow it"]
        return [*said, "the one in use runs out, and is not renewed"]

    def _suspended(self, live: AgentIdentity | None) -> list[str]:
        if live is None:
            return ["no certificate is issued until spec.suspend is false"]
        if live.spec.suspend:
            return ["it stays suspended"]
        return ["every certificate of it is revoked at once, for good, and its Secret is emptied"]

    def _hold(self) -> str | None:
        identity = self._identity
        found = self._around.classes.get(identity.spec.class_name)
        bearer = Bearer(
            identity.metadata.namespace,
            identity.metadata.name,
            identity.spec.class_name,
            None if found is None else found.spec.issuer_name,
            identity.metadata.labels,
        )
        for incident in self._around.incidents:
            if (hold := incident.hold) is not None and incident.concerns(bearer):
                return hold.message
        return None

    def _live(self) -> AgentIdentity | None:
        if self._around.live is None:
            return None
        try:
            return AgentIdentity.parse(self._around.live)
        except SpecError:
            return None

    def _grace(self, class_name: str) -> str:
        found = self._around.classes.get(class_name)
        grace = timedelta(0) if found is None else found.spec.revocation.grace_period
        return f"{format_duration(grace)} later" if grace else "at once"


def _made(
    key: str, outcome: Outcome, lines: tuple[Line, ...], grant: Grant | None = None
) -> Forecast:
    tone = Tone.GOOD if outcome in _FINE else Tone.BAD
    head = Line("identity", f"{key}: {_MEANING[outcome]}", tone)
    return Forecast(key, outcome, (head, *lines), grant)


_MEANING: Final = {
    Outcome.ISSUED: "gets a certificate",
    Outcome.UNCHANGED: "keeps its certificate",
    Outcome.SUSPENDED: "is suspended, as it asks",
    Outcome.STILL_SUSPENDED: "gets no certificate, somebody else has suspended it",
    Outcome.HELD: "gets no certificate, an incident holds it",
    Outcome.WAITING: "gets a certificate later, something is missing",
    Outcome.REFUSED: "gets no certificate, its class does not allow it",
    Outcome.NOT_ADMITTED: "is not taken by the API server",
    Outcome.MALFORMED: "is malformed",
}


def _not_ready(issuer: AgentIssuer) -> str | None:
    ready = next((c for c in issuer.status.conditions if c.type == ConditionType.READY), None)
    if ready is not None and ready.status is ConditionStatus.TRUE:
        return None
    why = "nobody has looked at it yet" if ready is None else ready.message
    return f"AgentIssuer {issuer.metadata.name}, which cannot sign: {why}"
