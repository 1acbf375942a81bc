"""Makes audit events of decisions, each once.

What is issued and revoked is told when the ledger says that it is durable, never before: a decision
is announced to the auditor (`will_issue`, `will_revoke`), and the ledger's own word makes it an
event, however late it comes. What changes nothing on the ledger is told when the status that says
so is about to be written, so a refusal that stands is told once and not at every look.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, TypeAlias

import orjson

from agentid.api.agentclass import AgentClass
from agentid.api.agentidentity import AgentIdentity
from agentid.api.agentissuer import AgentIssuer
from agentid.api.agentrevocation import AgentRevocation
from agentid.kube.objects import ObjectKey, metadata_of, spec_manager_of
from agentid.ledger import Issued, Revoked
from agentid.policy.judge import Refused
from agentid.telemetry.audit import (
    SCHEMA,
    Actor,
    AuditEvent,
    Certificate,
    Counts,
    Decision,
    ObjectRef,
    Token,
    encode,
    hash_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from agentid.api.model import ObjectMeta
    from agentid.clock import Clock
    from agentid.identity import SerialNumber
    from agentid.ledger import Durable, LedgerState
    from agentid.pki.jwt_svid import JwtSvid
    from agentid.policy.observed import Observed
    from agentid.policy.plan import Cause
    from agentid.services.world import World
    from agentid.telemetry.metrics import Metrics

__all__ = ["Auditor"]

CONTROLLER: Final = "agentid-controller"
"""Who decides what a change of a resource makes necessary, as it stands on the ledger."""

ISSUER: Final = "agentid-issuer"
"""Who decides what a node plugin is given and the ledger does not record."""

TOKEN_ASKED: Final = "asked"  # noqa: S105 - a reason
"""Why a token is minted: a pod asks for one whenever it needs one."""

_EXPECTED: Final = 65_536
"""Announced certificates that are remembered; the ledger has an answer within ten seconds, and no
operator announces as many in that time."""


_Versions: TypeAlias = "tuple[ObjectMeta, ObjectMeta | None]"


@dataclass(frozen=True, slots=True)
class _Announced:
    """What the ledger's record of a certificate will not say."""

    decision: Decision
    reason: str
    object: ObjectRef
    field_manager: str | None = None
    inputs: tuple[ObjectRef, ...] = ()


class Auditor:
    """One for each process; to be subscribed to the ledger."""

    def __init__(
        self,
        *,
        world: World,
        ledger: LedgerState,
        clock: Clock,
        metrics: Metrics,
        source: str,
        write: Callable[[bytes, bool], bool],
    ) -> None:
        """Take the parts.

        Args:
            world: For the versions of what was judged by.
            ledger: For whose certificate is revoked.
            clock: For the time of events.
            metrics: Counts events, and those that were lost.
            source: This run of the process, for the ids of events.
            write: Takes a line, and whether it may take the last of the room; False if it is lost.
        """
        self._world = world
        self._ledger = ledger
        self._clock = clock
        self._metrics = metrics
        self._source = source
        self._write = write
        self._number = 0
        self._announced: OrderedDict[tuple[type, int], _Announced] = OrderedDict()
        # By class: the versions of class and issuer, and what is told of them.
        self._inputs: dict[str, tuple[_Versions, tuple[ObjectRef, ...]]] = {}
        # How each identity that is given nothing was told of last.
        self._told: dict[ObjectKey, tuple[object, ...]] = {}

    # What goes through the ledger

    def will_issue(self, record: Issued, cause: Cause, seen: Observed) -> None:
        """A certificate is about to be recorded."""
        decision = Decision.ISSUED if record.replaces is None else Decision.RENEWED
        key = ObjectKey(record.namespace, record.name)
        self._announce(
            Issued,
            record.serial,
            _Announced(
                decision,
                cause.value,
                self._identity(key, seen),
                self._world.identities.manager_of(key),
                self._judged_by(seen),
            ),
        )

    def will_revoke(self, serials: Iterable[SerialNumber], seen: Observed | None = None) -> None:
        """Certificates are about to be revoked.

        Args:
            serials: Which.
            seen: The identity that a change of makes it necessary; None for an incident, which the
                records name.
        """
        for serial in serials:
            entry = self._ledger.by_serial(serial)
            if entry is None:
                continue  # nobody revokes what is on no record
            issued = entry.issued
            key = ObjectKey(issued.namespace, issued.name)
            whose = ObjectRef(AgentIdentity.KIND, issued.name, issued.namespace, issued.uid)
            told = _Announced(Decision.REVOKED, "", whose)
            if seen is not None and seen.metadata and seen.metadata.uid == issued.uid:
                told = replace(
                    told,
                    object=self._identity(key, seen),
                    field_manager=self._world.identities.manager_of(key),
                    inputs=self._judged_by(seen),
                )
            self._announce(Revoked, serial, told)

    def learn(self, durable: Durable) -> None:
        """Something became durable; the ledger's listener."""
        if not self._announced:
            return
        for record in durable.records:
            told = self._announced.pop((type(record), record.serial.value), None)
            if told is None:
                continue
            if isinstance(record, Issued):
                self._issued(record, told)
            else:
                self._revoked(record, told)

    def _announce(self, kind: type, serial: SerialNumber, told: _Announced) -> None:
        self._announced[kind, serial.value] = told
        if len(self._announced) > _EXPECTED:
            self._announced.popitem(last=False)

    def _issued(self, record: Issued, told: _Announced) -> None:
        self.given_again(ObjectKey(record.namespace, record.name))
        self._emit(told.reason, CONTROLLER, told, record)

    def _revoked(self, record: Revoked, told: _Announced) -> None:
        entry = self._ledger.by_serial(record.serial)
        if entry is not None:
            self._emit(record.reason.value, record.actor, told, entry.issued)

    # What does not

    def token_minted(self, record: Issued, svid: JwtSvid, seen: Observed) -> None:
        """A JWT-SVID was made, and is about to leave.

        Args:
            record: The certificate that it stands on.
            svid: It.
            seen: What was judged from.
        """
        told = _Announced(
            Decision.TOKEN_MINTED,
            TOKEN_ASKED,
            self._identity(ObjectKey(record.namespace, record.name), seen),
            self._world.identities.manager_of(ObjectKey(record.namespace, record.name)),
            self._judged_by(seen),
        )
        token = Token(svid.audience, svid.not_after, svid.token_id, svid.kid)
        self._emit(TOKEN_ASKED, ISSUER, told, record, token)

    def given_nothing(
        self,
        seen: Observed,
        decision: Decision,
        reason: str,
        message: str,
        violations: tuple[str, ...] = (),
    ) -> None:
        """An identity is refused, suspended or held; told once, until it changes."""
        metadata = seen.metadata
        if metadata is None:
            return
        key = ObjectKey(metadata.namespace, metadata.name)
        token = (metadata.uid, metadata.generation, decision, reason, message)
        if self._told.get(key) == token:
            return
        self._told[key] = token
        agent_class, identity = seen.agent_class, seen.identity
        classified = seen.verdict.classification if isinstance(seen.verdict, Refused) else None
        told = _Announced(
            decision,
            reason,
            self._identity(key, seen),
            self._world.identities.manager_of(key),
            self._judged_by(seen),
        )
        self._write_event(
            replace(
                self._draft(reason, CONTROLLER, told),
                message=message,
                spiffe_id=seen.status.spiffe_id,
                class_name=None if identity is None else identity.spec.class_name,
                issuer=None if agent_class is None else agent_class.spec.issuer_name,
                tier=None if classified is None else classified.tier.value,
                sponsor=None if identity is None else identity.spec.sponsor,
                violations=violations,
            )
        )

    def given_again(self, key: ObjectKey) -> None:
        """An identity is given something, or is gone: what it is refused next is told anew."""
        self._told.pop(key, None)

    def incident(self, decision: Decision, resource: AgentRevocation, counts: Counts) -> None:
        """An incident begins, is over, or is released."""
        parsed = self._world.incidents.get(resource.metadata.name)
        body = None if parsed is None else parsed.body
        told = _Announced(
            decision,
            resource.spec.reason.value,
            _ref(AgentRevocation.KIND, resource.metadata, body),
            None if body is None else spec_manager_of(body),
        )
        made = self._draft(told.reason, resource.actor, told)
        message = resource.spec.explanation or None
        self._write_event(replace(made, message=message, counts=counts))

    def authority(
        self, decision: Decision, issuer: AgentIssuer, authority: str, step: str, why: str
    ) -> None:
        """A step of a rotation was stored.

        Args:
            decision: What it comes to.
            issuer: Whose authority it is.
            authority: Its id; empty for one that was just made.
            step: Which step it was.
            why: In words, where the step says so.
        """
        parsed = self._world.issuers.get(issuer.metadata.name)
        body = None if parsed is None else parsed.body
        told = _Announced(
            decision,
            step,
            _ref(AgentIssuer.KIND, issuer.metadata, body),
            None if body is None else spec_manager_of(body),
        )
        made = self._draft(step, CONTROLLER, told)
        about = authority or None
        self._write_event(
            replace(made, issuer=issuer.metadata.name, authority=about, message=why or None)
        )

    # How

    def _draft(self, reason: str, actor: str, told: _Announced) -> AuditEvent:
        self._number += 1
        return AuditEvent(
            schema=SCHEMA,
            time=self._clock.now(),
            id=f"{self._source}-{self._number}",
            decision=told.decision,
            reason=reason,
            actor=Actor(actor, told.field_manager),
            object=told.object,
            inputs=told.inputs,
        )

    def _emit(
        self,
        reason: str,
        actor: str,
        told: _Announced,
        issued: Issued,
        token: Token | None = None,
    ) -> None:
        """Tell a decision about a certificate, with what the ledger says of it."""
        grant = _grant(issued.grant)
        certificate = Certificate(
            serial=str(issued.serial),
            not_after=issued.not_after,
            fingerprint=issued.fingerprint,
            not_before=issued.not_before,
            key_algorithm=grant.get("keyAlgorithm"),
            authority=issued.authority,
            door=issued.door.value,
            replaces=None if issued.replaces is None else str(issued.replaces),
        )
        self._write_event(
            replace(
                self._draft(reason, actor, told),
                spiffe_id=issued.spiffe_id,
                class_name=grant.get("class"),
                issuer=issued.issuer,
                tier=grant.get("tier"),
                sponsor=grant.get("sponsor"),
                grant_hash=hash_of(issued.grant),
                certificate=certificate,
                token=token,
            )
        )

    def _write_event(self, event: AuditEvent) -> None:
        self._metrics.audit_events.labels(event.decision.value).inc()
        if not self._write(encode(event), event.token is None):
            self._metrics.audit_lost.inc()

    def _identity(self, key: ObjectKey, seen: Observed) -> ObjectRef:
        metadata = seen.metadata
        if metadata is None:
            return ObjectRef(AgentIdentity.KIND, key.name, key.namespace)
        return _ref(AgentIdentity.KIND, metadata, self._world.identities.get(key))

    def _judged_by(self, seen: Observed) -> tuple[ObjectRef, ...]:
        """The class, as it was judged by, and its issuer; hashed once for each version of both."""
        agent_class = seen.agent_class
        if agent_class is None:
            return ()
        name = agent_class.metadata.name
        parsed, issuer = self._world.classes.get(name), None
        if (found := self._world.issuers.get(agent_class.spec.issuer_name)) is not None:
            issuer = None if found.model is None else found.model.metadata
        version = agent_class.metadata, issuer
        known = self._inputs.get(name)
        if known is not None and known[0] == version:
            return known[1]
        refs = [_ref(AgentClass.KIND, version[0], None if parsed is None else parsed.body)]
        if issuer is not None and found is not None:
            refs.append(_ref(AgentIssuer.KIND, issuer, found.body))
        self._inputs[name] = version, tuple(refs)
        return self._inputs[name][1]


def _grant(text: str) -> dict[str, str | None]:
    """The words of a grant; no more than these are needed, so it is not read as one."""
    try:
        read = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {}
    if not isinstance(read, dict):
        return {}
    wanted = ("class", "keyAlgorithm", "sponsor", "tier")
    return {name: read[name] for name in wanted if isinstance(read.get(name), str)}


def _ref(kind: str, metadata: ObjectMeta, body: Mapping[str, object] | None) -> ObjectRef:
    """An object as it was judged; the hash of its spec if that is still at hand."""
    spec = None
    if body is not None:
        about = metadata_of(body)
        if (about.get("uid"), about.get("generation")) == (metadata.uid, metadata.generation):
            spec = body.get("spec")
    return ObjectRef(
        kind=kind,
        name=metadata.name,
        namespace=metadata.namespace or None,
        uid=metadata.uid or None,
        resource_version=metadata.resource_version or None,
        generation=metadata.generation or None,
        spec_hash=hash_of(spec) if isinstance(spec, dict) else None,
    )
