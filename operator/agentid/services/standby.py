"""Keeps issuers able to sign on replicas that do not lead.

The leader alone makes and rotates authorities. The others read what it stored, so that any of them
may issue for a pod whoever leads. A replica has one of these, and every door that issues by itself
says that it is needed; where none does, no replica but the leader ever reads a key.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import structlog

from agentid.errors import AgentIdError, InputError
from agentid.issuers import BuiltinIssuer, JwtTerms
from agentid.issuers.authority_set import load_set
from agentid.kube.stores import SecretFiles
from agentid.policy.rotation import demands
from agentid.services.issuers import authority_secret
from agentid.services.world import IssuerState

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentid.api.agentissuer import AgentIssuer
    from agentid.clock import Clock
    from agentid.kube.client import Client
    from agentid.services.world import World

__all__ = ["StandbyIssuers"]

_log = structlog.stdlib.get_logger(__name__)

_EVERY: Final = 10.0
"""Seconds between two looks. A rotation keeps the authority that signed before valid for much
longer than that."""


class StandbyIssuers:
    """Reads authorities, and never writes any."""

    def __init__(
        self,
        *,
        world: World,
        client: Client,
        clock: Clock,
        random: Callable[[int], bytes],
        namespace: str,
        leads: Callable[[], bool],
    ) -> None:
        """Take the parts.

        Args:
            world: Where issuers that can sign are put.
            client: The API server.
            clock: For validity and waits.
            random: Gives unpredictable octets.
            namespace: The operator's own, where authorities are kept.
            leads: Whether this replica leads, and so looks after issuers itself.
        """
        self._world = world
        self._client = client
        self._clock = clock
        self._random = random
        self._namespace = namespace
        self._leads = leads
        self._read: dict[str, str] = {}
        self._needed = asyncio.Event()

    def need(self) -> None:
        """Begin, if nobody has had it begin before."""
        self._needed.set()

    async def run(self) -> None:
        """Read what changes as soon as somebody needs it, until cancelled."""
        await self._needed.wait()
        while True:
            if not self._leads():
                await self.look()
            await self._clock.sleep(_EVERY)

    async def look(self) -> None:
        """Read the authorities of all issuers once; what cannot be read is told in their states."""
        for gone in self._read.keys() - self._world.issuers.keys():
            del self._read[gone]
            self._world.issuer_states.pop(gone, None)
        for name, parsed in tuple(self._world.issuers.items()):
            if parsed.model is None:
                continue
            try:
                state = await self._state(name, parsed.model)
            except AgentIdError as error:
                _log.info("issuer_not_read", issuer=name, error=str(error))
                continue
            # Whoever has begun to lead meanwhile knows better.
            if state is not None and not self._leads():
                self._world.issuer_states[name] = state

    async def _state(self, name: str, issuer: AgentIssuer) -> IssuerState | None:
        """What the issuer can do; None if that has not changed.

        Raises:
            AgentIdError: Its authorities cannot be read now.
        """
        secret = authority_secret(name)
        stored = await SecretFiles(
            self._client, namespace=self._namespace, name=secret, labels={}
        ).read()
        known = self._world.issuer_states.get(name)
        if stored is None:
            return IssuerState(None, "its authorities were not made yet", passing=True)
        version = f"{stored.version}/{issuer.metadata.uid}/{issuer.metadata.generation}"
        if version == self._read.get(name) and known is not None and known.issuer:
            return None
        try:
            found = await asyncio.to_thread(load_set, stored.files, issuer.trust_domain)
            signs = BuiltinIssuer(
                name=name,
                authorities=found,
                clock=self._clock,
                random=self._random,
                jwt=JwtTerms(issuer.spec.jwt.token_lifetime, issuer.spec.jwt.oidc_issuer),
            )
        except InputError as error:
            return IssuerState(None, f"Secret {self._namespace}/{secret}: {error}", passing=True)
        self._read[name] = version
        asked = demands(found.records, frozenset(issuer.spec.distrust))
        return IssuerState(signs, authorities=found, demands=asked)
