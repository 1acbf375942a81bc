"""The world as the watches tell it: what a pass looks at instead of asking the API server.

Classes, issuers and incidents are few and are looked at in every pass, so they are kept parsed;
AgentIdentities are not (`known`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from agentid.api.agentrevocation import AgentRevocation, Phase
from agentid.constants import LABEL_TRUST_BUNDLE
from agentid.errors import SpecError
from agentid.kube.objects import (
    ObjectKey,
    metadata_of,
    uid_of,
    version_of,
)
from agentid.policy.incident import Bearer, Incident
from agentid.policy.rotation import NO_DEMANDS, Demands
from agentid.services.known import Ended, Identities
from agentid.services.pods import Pods, Refusals

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from agentid.api.agentclass import AgentClass
    from agentid.api.agentissuer import AgentIssuer, FederationStatus
    from agentid.api.vocabulary import DeliveryMode
    from agentid.issuers import AuthoritySet, Issuer
    from agentid.policy.incident import Hold

__all__ = ["Incidents", "IssuerState", "Parsed", "World"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Parsed(Generic[T]):
    """A resource of a small kind: the model, or why there is none.

    Attributes:
        body: The object as the API server told it.
        model: What it parses to, None if it does not.
        faults: Why not, a sentence each.
    """

    body: Mapping[str, object]
    model: T | None
    faults: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, parse: Callable[[Mapping[str, object]], T], body: Mapping[str, object]
    ) -> Parsed[T]:
        """Parse an object, and keep the faults if it does not parse."""
        try:
            return cls(body, parse(body))
        except SpecError as error:
            return cls(body, None, error.violations)


class Incidents:
    """The AgentRevocations, newest version of each."""

    def __init__(self) -> None:
        self._parsed: dict[str, Parsed[AgentRevocation]] = {}
        self._incidents: dict[str, Incident] = {}
        self._unread: set[str] = set()
        self._ended = Ended()

    def __iter__(self) -> Iterator[str]:
        """Yield the names of all there are at this moment."""
        return iter(tuple(self._parsed))

    def put(self, body: Mapping[str, object]) -> bool:
        """Take in an object as the API server told it.

        Returns:
            Whether it is news: an older version, which a watch may tell after the answer to a
            write, must not make a hold vanish for a moment, nor an object that has `ended` hold
            for ever.
        """
        if uid_of(body) in self._ended:
            return False
        name = ObjectKey.of(body).name
        if (before := self._parsed.get(name)) is not None:
            # A namesake that was there earlier is older, too.
            same = uid_of(before.body) == uid_of(body)
            if version_of(body) < version_of(before.body) + same:
                return False
        self._parsed[name] = parsed = Parsed.of(AgentRevocation.parse, body)
        self._incidents.pop(name, None)
        self._unread.discard(name)
        if parsed.model is not None:
            self._incidents[name] = Incident(parsed.model)
        elif _may_hold(body.get("spec")):
            self._unread.add(name)
        return True

    def ended(self, body: Mapping[str, object]) -> None:
        """Forget an object that is gone for good; a namesake that was told already stays."""
        uid, name = uid_of(body), ObjectKey.of(body).name
        self._ended.add(uid)
        if (known := self._parsed.get(name)) is not None and uid_of(known.body) == uid:
            self.drop(name)

    def drop(self, name: str) -> None:
        """Forget what is known by this name; what it held is held no longer."""
        self._parsed.pop(name, None)
        self._incidents.pop(name, None)
        self._unread.discard(name)

    @property
    def unread_hold(self) -> str | None:
        """An incident that holds identities and does not parse, so that nobody knows whom."""
        return min(self._unread, default=None)

    def get(self, name: str) -> Parsed[AgentRevocation] | None:
        """Return an object, None if there is none."""
        return self._parsed.get(name)

    def incident(self, name: str) -> Incident | None:
        """Return an object that parses, ready to be asked; None if there is none."""
        return self._incidents.get(name)

    def by_phase(self) -> dict[str, int]:
        """How many there are in each phase, for a gauge."""
        phases = [each.resource.status.phase or Phase.PENDING for each in self._incidents.values()]
        return {phase.value: phases.count(phase) for phase in Phase if phase in phases}

    def holds(self) -> Iterator[tuple[Incident, Hold]]:
        """Yield those that hold somebody now, by name: the first of several is who is told."""
        for name in sorted(self._incidents):
            if (hold := self._incidents[name].hold) is not None:
                yield self._incidents[name], hold


def _may_hold(spec: object) -> bool:
    """Whether an incident is executed, and holds; by what is the same in every release."""
    match spec:
        case {"dryRun": False, "hold": True, **rest}:
            return rest.get("release") is not True
        case _:
            return False


@dataclass(frozen=True, slots=True)
class IssuerState:
    """An issuer that was set up, or why it was not.

    Attributes:
        issuer: What signs, None while it cannot.
        problem: Why it cannot, for the conditions of identities that need it.
        passing: Whether that may come right without a change of the resource.
        authorities: All its authorities, None while they cannot be read.
        demands: What their rotation asks of the certificates.
    """

    issuer: Issuer | None
    problem: str = ""
    passing: bool = False
    authorities: AuthoritySet | None = None
    demands: Demands = NO_DEMANDS


class World:
    """Everything a pass over an identity looks at."""

    def __init__(self) -> None:
        self.identities = Identities()
        self.classes: dict[str, Parsed[AgentClass]] = {}
        self.issuers: dict[str, Parsed[AgentIssuer]] = {}
        self.issuer_states: dict[str, IssuerState] = {}
        self.incidents = Incidents()
        self.pods = Pods()
        self.refusals = Refusals()
        self.doubted: set[ObjectKey] = set()
        """Identities that have got a certificate which they must not have by what is known here:
        whoever issued it may know better, so nothing is taken away before the API server is
        asked."""
        self.doors: frozenset[DeliveryMode] = frozenset()
        """Deliveries that this cluster serves beside Secrets."""
        self.served_crls: frozenset[str] = frozenset()
        """Ids of issuing authorities whose CRLs are published."""
        self.served_ocsp: frozenset[str] = frozenset()
        """Ids of issuing authorities for which responders have an OCSP signer."""

        self.bundle_namespaces: dict[str, str] = {}
        """Namespaces that ask for trust bundles, with their UIDs."""
        self.published_bundles: dict[str, int] = {}
        """By issuer: sequence of the bundle that responders serve, as far as this leader knows."""
        self.withheld_bundles: dict[str, str] = {}
        """By issuer: why its bundle is not published."""
        self.federation: dict[str, tuple[FederationStatus, ...]] = {}
        """By issuer: what was fetched of foreign trust domains, once all were asked."""

    @property
    def served(self) -> frozenset[str]:
        """Ids of issuing authorities for whose certificates verifiers get an answer."""
        return self.served_crls & self.served_ocsp

    def take_namespace(self, body: Mapping[str, object], *, gone: bool) -> bool:
        """Take in a Namespace as the API server told it; True if other ones ask for bundles now."""
        name, metadata = ObjectKey.of(body).name, metadata_of(body)
        labels, before = metadata.get("labels"), self.bundle_namespaces.get(name)
        asks = isinstance(labels, dict) and labels.get(LABEL_TRUST_BUNDLE) == "enabled"
        # In one that is being deleted nothing can be made, and all of it goes anyhow.
        ends = gone or metadata.get("deletionTimestamp") is not None
        if ends and before not in {None, uid_of(body)}:
            return False  # a namesake has come since
        if asks and not ends:
            self.bundle_namespaces[name] = uid_of(body)
        else:
            self.bundle_namespaces.pop(name, None)
        return self.bundle_namespaces.get(name) != before

    def classes_of(self, issuer_name: str) -> frozenset[str]:
        """Names of the classes that an issuer signs for."""
        return frozenset(
            name
            for name, parsed in self.classes.items()
            if parsed.model is not None and parsed.model.spec.issuer_name == issuer_name
        )

    def bearer_of(self, body: Mapping[str, object]) -> Bearer:
        """An AgentIdentity as incidents see it, whether its spec parses or not."""
        key, labels, spec = ObjectKey.of(body), metadata_of(body).get("labels"), body.get("spec")
        name = spec.get("className") if isinstance(spec, dict) else None
        parsed = self.classes.get(str(name))
        issuer = None if parsed is None or parsed.model is None else parsed.model.spec.issuer_name
        return Bearer(
            key.namespace,
            key.name,
            name if isinstance(name, str) else None,
            issuer,
            labels if isinstance(labels, dict) else {},
        )

    def hold_on(self, body: Mapping[str, object]) -> Hold | None:
        """What keeps an AgentIdentity from getting a certificate, None if nothing does."""
        bearer = None
        for incident, hold in self.incidents.holds():
            bearer = bearer or self.bearer_of(body)
            if incident.concerns(bearer):
                return hold
        return None
