"""What there is: agents and issuers as the watches told, and the ledger's revocations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agentid.errors import InputError
from agentid.kube.objects import ObjectKey
from agentid.kube.resources import AGENT_IDENTITIES, AGENT_ISSUERS
from agentid.ledger.inventory import grant_of
from agentid.responder.inventory.agents import agent_of
from agentid.responder.inventory.authorities import issuer_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime

    from agentid.kube.resources import Resource
    from agentid.ledger import Entry, Revoked
    from agentid.responder.inventory.agents import Agent
    from agentid.responder.inventory.authorities import IssuerView
    from agentid.responder.register import LedgerSource

__all__ = ["KINDS", "Catalogue", "Revocation"]

KINDS: Final = (AGENT_IDENTITIES, AGENT_ISSUERS)
"""What is watched, in the whole cluster."""


@dataclass(frozen=True, slots=True)
class Revocation:
    """A revocation, and what is known of its certificate.

    Attributes:
        revoked: The record.
        key: Of the AgentIdentity; None if the certificate is on no record.
        class_name: It was issued under; empty if that is not known.
        issuer: The AgentIssuer that signed; likewise.
    """

    revoked: Revoked
    key: ObjectKey | None
    class_name: str = ""
    issuer: str = ""

    @property
    def haystack(self) -> str:
        """All that a search looks at, in lower case."""
        told = self.revoked
        whose = "" if self.key is None else str(self.key)
        searched = (whose, self.class_name, self.issuer, str(told.serial), told.reason, told.actor)
        return "\n".join(searched).lower()


class Catalogue:
    """Everything that the page shows, as it is known now.

    Args:
        ledger: The ledger, followed by who runs the responder.
        monotonic: Seconds from an arbitrary start.

    Attributes:
        agents: By namespace and name.
        issuers: By name.
        missing: Kinds that were not read yet, with what keeps us from it, empty if nothing does.
    """

    def __init__(self, ledger: LedgerSource, monotonic: Callable[[], float]) -> None:
        self.agents: dict[ObjectKey, Agent] = {}
        self.issuers: dict[str, IssuerView] = {}
        self.missing: dict[str, str] = {kind.plural: "" for kind in KINDS}
        self._ledger = ledger
        self._monotonic = monotonic
        self._heard: dict[str, float] = {}

    # Told by the watches

    def put(self, kind: Resource, body: Mapping[str, object]) -> None:
        """An object is there, new or changed.

        Raises:
            InputError: It has no name.
        """
        if kind is AGENT_IDENTITIES:
            agent = agent_of(body)
            self.agents[agent.key] = agent
        else:
            issuer = issuer_of(body)
            self.issuers[issuer.name] = issuer

    def drop(self, kind: Resource, key: ObjectKey) -> None:
        """An object is there no longer."""
        if kind is AGENT_IDENTITIES:
            self.agents.pop(key, None)
        else:
            self.issuers.pop(key.name, None)

    def current(self, kind: Resource) -> None:
        """Everything there is of this kind is known."""
        self.missing.pop(kind.plural, None)
        self._heard[kind.plural] = self._monotonic()

    # Asked by the views

    @property
    def is_read(self) -> bool:
        """Whether all of it was read."""
        return not self.missing and self._ledger.lag is not None

    @property
    def age(self) -> float:
        """Seconds since everything was known to be known; 0 before it was read."""
        lag = self._ledger.lag
        ages = [self._monotonic() - heard for heard in self._heard.values()]
        return max([*ages, 0.0 if lag is None else lag.total_seconds()])

    def certificates_of(self, key: ObjectKey) -> tuple[Entry, ...]:
        """The certificates on record of an identity and its namesakes, newest first."""
        return self._ledger.state.entries_of(key.namespace, key.name)

    def revocation_of(self, agent: Agent) -> Revoked | None:
        """The revocation of the certificate in an agent's status, None if it stands."""
        try:
            value = int(agent.serial, 16)
        except ValueError:
            return None
        return self._ledger.state.revocation_of(value)

    def revocations(self, namespace: str | None, now: datetime) -> Iterator[Revocation]:
        """Revocations of certificates that would be valid still, in no order.

        Args:
            namespace: Of the identities; None for all, and then also of what is on no record.
            now: What had expired by then is left out.
        """
        state = self._ledger.state
        for entry in state.entries():
            if (
                entry.revoked is not None
                and entry.issued.not_after >= now
                and namespace in {None, entry.issued.namespace}
            ):
                yield _revocation(entry, entry.revoked)
        if namespace is None:
            for revoked in state.unmatched():
                if revoked.not_after >= now:
                    yield Revocation(revoked, None)


def _revocation(entry: Entry, revoked: Revoked) -> Revocation:
    issued = entry.issued
    grant = grant_of(issued.grant)
    return Revocation(
        revoked,
        ObjectKey(issued.namespace, issued.name),
        "" if isinstance(grant, InputError) else grant.class_name,
        issued.issuer,
    )
