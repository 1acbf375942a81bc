"""Looks after AgentClasses: whether each is usable, and how far it is in moving to another key."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from agentid.api.agentclass import AgentClass, AgentClassStatus, KeyAlgorithmStatus
from agentid.api.conditions import ConditionStatus, ConditionType, Reason, Wanted, set_conditions
from agentid.api.violation import summarize
from agentid.kube.resources import AGENT_CLASSES
from agentid.services.census import take_census
from agentid.services.statuses import stalled, write_status

if TYPE_CHECKING:
    from datetime import datetime

    from agentid.clock import Clock
    from agentid.kube.client import Client
    from agentid.ledger import LedgerState
    from agentid.services.world import World

__all__ = ["ClassService"]

_TRUE, _FALSE = ConditionStatus.TRUE, ConditionStatus.FALSE


class ClassService:
    """AgentClasses come in tens, so every change looks at the object whole."""

    def __init__(
        self, *, world: World, client: Client, clock: Clock, ledger: LedgerState | None = None
    ) -> None:
        """Take the parts.

        Args:
            world: What the watches told.
            client: The API server.
            clock: For transition times.
            ledger: What was issued; None leaves the keys in use untold.
        """
        self._world = world
        self._client = client
        self._clock = clock
        self._ledger = ledger

    def migrating(self) -> tuple[str, ...]:
        """Names of the classes that move to another key algorithm, or have just stopped to."""
        return tuple(
            name
            for name, parsed in self._world.classes.items()
            if parsed.model is not None
            and (parsed.model.spec.migration is not None or parsed.model.status.key_algorithms)
        )

    async def reconcile(self, name: str) -> None:
        """Tell in the status of a class whether it can be used.

        Raises:
            UnavailableError: The API server is away.
        """
        parsed = self._world.classes.get(name)
        if parsed is None:
            return
        metadata, old = AgentClass.metadata_of(parsed.body), AgentClass.status_of(parsed.body)
        if parsed.model is None:
            wanted = stalled(Reason.INVALID_SPEC, summarize(parsed.faults))
        else:
            wanted = self._conditions(parsed.model)
        now = self._clock.now()
        status = AgentClassStatus(
            observed_generation=metadata.generation,
            conditions=set_conditions(old.conditions, wanted, now, metadata.generation),
            key_algorithms=await self._keys(parsed.model, now),
        )
        if status == old:
            return
        await write_status(self._client, AGENT_CLASSES, metadata, status.to_api())

    def _conditions(self, agent_class: AgentClass) -> tuple[Wanted, ...]:
        issuer = agent_class.spec.issuer_name
        if issuer not in self._world.issuers:
            message = (
                f"spec.issuerName: there is no AgentIssuer {issuer}; create it or name another "
                "one. The class proceeds by itself"
            )
            return (
                Wanted(ConditionType.READY, _FALSE, Reason.ISSUER_NOT_FOUND, message),
                Wanted(ConditionType.RECONCILING, _TRUE, Reason.ISSUER_NOT_FOUND, message),
            )
        message = f"Identities may use it; AgentIssuer {issuer} signs"
        return (Wanted(ConditionType.READY, _TRUE, Reason.AVAILABLE, message),)

    async def _keys(
        self, agent_class: AgentClass | None, now: datetime
    ) -> tuple[KeyAlgorithmStatus, ...]:
        """The keys in use while the class migrates; nothing is counted, nor written, otherwise."""
        if agent_class is None or agent_class.spec.migration is None or self._ledger is None:
            return ()
        census = await take_census(self._ledger, now)
        counted = census.keys.get(agent_class.metadata.name) or Counter()
        return tuple(
            KeyAlgorithmStatus(algorithm=algorithm, certificates=count)
            for algorithm, count in sorted(counted.items())
        )
