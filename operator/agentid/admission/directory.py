"""What is known of every identity, and the answer that follows from it.

A judgement takes some hundred microseconds, and a Deployment asks for the same one a thousand
times. So what an identity is entitled to is kept by its name, and forgotten as soon as it, a class,
an issuer, an incident or a door changes; and after a minute at the latest, since schedules of
different time zones are compared as of now.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final

from agentid.admission.mount import Mount
from agentid.admission.verdict import Outcome, Refusal
from agentid.api.agentclass import AgentClass
from agentid.api.agentidentity import AgentIdentity
from agentid.api.agentissuer import AgentIssuer
from agentid.api.conditions import Reason
from agentid.api.violation import Violation, shown, summarize
from agentid.constants import LABEL_IDENTITY
from agentid.errors import SpecError
from agentid.kube.objects import ObjectKey
from agentid.policy.judge import Granted, judge
from agentid.policy.observed import Blocked
from agentid.services.backing import backing_of
from agentid.services.world import Parsed, World

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentid.api.vocabulary import DeliveryMode
    from agentid.clock import Clock
    from agentid.kube.objects import JsonObject
    from agentid.services.backing import Backing

__all__ = ["Directory", "Entitlement"]

_KEPT: Final = 20_000
"""Entitlements kept at most, some 2 KB each."""

_KEPT_SECONDS: Final = 60.0

_NEAR: Final = 200
"""Names that are compared with one that does not exist: 5 ms at most."""

_LENGTHS: Final = 4
"""How much longer or shorter a name may be to count as near."""


@dataclass(frozen=True, slots=True)
class Entitlement:
    """What the pods of an identity get, or why they get nothing.

    Attributes:
        identity: `namespace/name`.
        service_account: Whom the pods have to run as; None if that makes no difference, since
            nobody gets anything.
        given: What they get, or why they get nothing.
        warnings: What their authors should know.
    """

    identity: str
    service_account: str | None
    given: Mount | Refusal
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Kept:
    entitlement: Entitlement
    until: float


class Directory:
    """Identities, classes, issuers and incidents as the watches tell them.

    Args:
        clock: For the time of a judgement, and how long it is kept.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._world = World()
        self._names: dict[str, set[str]] = {}
        self._kept: dict[ObjectKey, _Kept] = {}
        self._doors: frozenset[DeliveryMode] = frozenset()
        self._closed: dict[DeliveryMode, str] = {}

    # What the watches tell

    def put_identity(self, body: Mapping[str, object]) -> None:
        """An AgentIdentity is there, new or changed."""
        if self._world.identities.put(body):
            key = ObjectKey.of(body)
            self._names.setdefault(key.namespace, set()).add(key.name)
            self._kept.pop(key, None)

    def drop_identity(self, key: ObjectKey) -> None:
        """An AgentIdentity is gone."""
        self._world.identities.drop(key)
        names = self._names.get(key.namespace, set())
        names.discard(key.name)
        if not names:
            self._names.pop(key.namespace, None)
        self._kept.pop(key, None)

    def put_class(self, body: Mapping[str, object]) -> None:
        """An AgentClass is there, new or changed."""
        self._world.classes[ObjectKey.of(body).name] = Parsed.of(AgentClass.parse, body)
        self._kept.clear()

    def drop_class(self, key: ObjectKey) -> None:
        """An AgentClass is gone."""
        self._world.classes.pop(key.name, None)
        self._kept.clear()

    def put_issuer(self, body: Mapping[str, object]) -> None:
        """An AgentIssuer is there, new or changed."""
        self._world.issuers[ObjectKey.of(body).name] = Parsed.of(AgentIssuer.parse, body)
        self._kept.clear()

    def drop_issuer(self, key: ObjectKey) -> None:
        """An AgentIssuer is gone."""
        self._world.issuers.pop(key.name, None)
        self._kept.clear()

    def put_incident(self, body: Mapping[str, object]) -> None:
        """An AgentRevocation is there, new or changed."""
        if self._world.incidents.put(body):
            self._kept.clear()

    def drop_incident(self, key: ObjectKey) -> None:
        """An AgentRevocation is gone."""
        self._world.incidents.drop(key.name)
        self._kept.clear()

    def open_doors(
        self, doors: frozenset[DeliveryMode], closed: Mapping[DeliveryMode, str]
    ) -> None:
        """These deliveries are served in this cluster, and others are not for these reasons."""
        if (doors, closed) != (self._doors, self._closed):
            self._doors, self._closed = doors, dict(closed)
            self._kept.clear()

    # What is asked

    @property
    def count(self) -> int:
        """How many AgentIdentities are known."""
        return len(self._world.identities)

    @property
    def doors(self) -> frozenset[DeliveryMode]:
        """Deliveries that are served in this cluster."""
        return self._doors

    def find(self, key: ObjectKey) -> Entitlement | None:
        """What pods of an identity get; None if no such identity is known."""
        now = self._clock.monotonic()
        kept = self._kept.get(key)
        if kept is not None and now < kept.until:
            return kept.entitlement
        body = self._world.identities.get(key)
        if body is None:
            return None
        entitlement = self.entitle(key, body)
        if len(self._kept) >= _KEPT:
            self._kept.clear()
        self._kept[key] = _Kept(entitlement, now + _KEPT_SECONDS)
        return entitlement

    def missing(self, key: ObjectKey) -> Refusal:
        """Say that there is no such identity, and which ones have a name like it."""
        names = self._names.get(key.namespace, set())
        likely = (name for name in names if abs(len(name) - len(key.name)) <= _LENGTHS)
        near = difflib.get_close_matches(key.name, list(islice(likely, _NEAR)), n=3)
        ask = f"kubectl get agentidentities -n {key.namespace}"
        if near:
            remedy = f"did you mean {' or '.join(near)}? ({ask})"
        else:
            remedy = f"apply one, or correct the label ({ask})"
        violation = Violation(
            f"metadata.labels[{LABEL_IDENTITY}]",
            shown(key.name),
            f"names no AgentIdentity in namespace {key.namespace}",
            remedy,
        )
        return Refusal(Outcome.NO_SUCH_IDENTITY, violation.sentence)

    # Judgement

    def entitle(self, key: ObjectKey, body: JsonObject) -> Entitlement:
        """Judge an identity as it is told here: as a pass of the controller does, in its order.

        Nothing is kept: what no watch told of, no watch will tell the end of.
        """
        name = str(key)
        try:
            identity = AgentIdentity.parse(body)
        except SpecError as error:
            return _nothing(name, Reason.INVALID_SPEC, summarize(error.violations))
        if (stopped := _stopped(identity)) is not None:
            return _nothing(name, *stopped)
        if (hold := self._world.hold_on(body)) is not None:
            return _nothing(name, Reason.HELD, hold.message)
        backing = backing_of(self._world, identity)
        if isinstance(backing, Blocked):
            return _nothing(name, backing.reason, backing.message)
        return self._judge(name, identity, backing)

    def _judge(self, name: str, identity: AgentIdentity, backing: Backing) -> Entitlement:
        issuer = backing.issuer.model
        if issuer is None:
            what = f"AgentIssuer {backing.agent_class.spec.issuer_name} cannot be used"
            why = summarize(backing.issuer.faults)
            return _nothing(name, Reason.ISSUER_NOT_READY, f"{what}: {why}")
        verdict = judge(
            identity,
            backing.agent_class,
            issuer.trust_domain,
            available_deliveries=self._doors,
            now=self._clock.now(),
        )
        account = identity.spec.subject.service_account_name
        if isinstance(verdict, Granted):
            return Entitlement(name, account, Mount.of(verdict.grant), _warnings(identity))
        sentences = [each.sentence for each in verdict.violations]
        if verdict.reason is Reason.DELIVERY_UNAVAILABLE:
            sentences += filter(None, [self._closed.get(identity.spec.delivery.mode)])
        refusal = Refusal(verdict.reason, f"AgentIdentity {name}: {summarize(sentences)}")
        return Entitlement(name, account, refusal)


def _nothing(name: str, reason: str, sentence: str) -> Entitlement:
    """What nobody gets anything from, whoever the pods run as."""
    return Entitlement(name, None, Refusal(reason, f"AgentIdentity {name}: {sentence}"))


def _stopped(identity: AgentIdentity) -> tuple[str, str] | None:
    """Reason and sentence where its own team has ended it, for now or for good."""
    if identity.metadata.deletion_timestamp is not None:
        return Outcome.IDENTITY_DELETING, (
            "it is being deleted, and its certificates are revoked; apply it again once it is "
            "gone, or take the label off the pod"
        )
    if identity.spec.suspend:
        namespace, name = identity.metadata.namespace, identity.metadata.name
        return Reason.SUSPENDED, (
            "spec.suspend is true, so no pod gets a certificate; set it to false "
            f"(kubectl agentid resume {name} -n {namespace})"
        )
    return None


def _warnings(identity: AgentIdentity) -> tuple[str, ...]:
    secret = identity.secret_name
    delivered = identity.status.delivery
    if secret is None or (delivered is not None and delivered.secret_name == secret):
        return ()
    return (f"Secret {secret} is not there yet; the pod starts once it is",)
