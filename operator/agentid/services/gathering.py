"""Gathers what a decision about one identity is made from."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from agentid.api.agentidentity import AgentIdentity, AgentIdentityStatus
from agentid.api.conditions import Reason
from agentid.api.violation import summarize
from agentid.api.vocabulary import DeliveryMode
from agentid.errors import InputError, NotFoundError, SpecError
from agentid.identity import Validity
from agentid.kube.objects import uid_of
from agentid.kube.resources import AGENT_IDENTITIES, PODS
from agentid.policy.grant import Grant
from agentid.policy.judge import judge
from agentid.policy.observed import Blocked, Held, Observed
from agentid.policy.rotation import NO_DEMANDS
from agentid.services.backing import backing_of
from agentid.services.pods import Pod
from agentid.telemetry.tracing import step

if TYPE_CHECKING:
    from datetime import datetime

    from agentid.api.agentclass import AgentClass
    from agentid.kube.client import Client
    from agentid.kube.objects import JsonObject, ObjectKey
    from agentid.ledger import Issued, Ledger, PodRef
    from agentid.policy.judge import Granted, Refused
    from agentid.policy.rotation import Demands
    from agentid.services.world import World

__all__ = ["SERVED_DELIVERIES", "Gatherer", "held_of"]

SERVED_DELIVERIES: Final = frozenset({DeliveryMode.SECRET})
"""The doors that the controller serves by itself."""

_DOUBT: Final = timedelta(hours=24)
"""How far our clock may be ahead while the ledger knows no better time: certificates that expired
more recently by our clock still count when something has to be revoked. It is the longest lifetime
that a certificate has, so nothing that is still good is left out by a clock a day ahead."""


_ASKED_AT_ONCE: Final = 16
"""Pods asked for at a time, after a start: those that went meanwhile."""


class Gatherer:
    """Reads the caches; asks the API server only about what they do not hold."""

    def __init__(
        self,
        world: World,
        *,
        ledger: Ledger,
        client: Client,
        deliveries: frozenset[DeliveryMode],
    ) -> None:
        """Take the parts.

        Args:
            world: What the watches told.
            ledger: What was issued and revoked.
            client: To make sure that an identity is gone.
            deliveries: The doors that are open whatever cluster this is.
        """
        self._world = world
        self._ledger = ledger
        self._client = client
        self._deliveries = deliveries

    @property
    def unread(self) -> str | None:
        """Why nobody is granted anything now: a later release has written into the ledger.

        What was issued and revoked is not known as a whole then, so nothing is replaced or taken
        away either, but for those who are to have nothing at all.
        """
        later = self._ledger.later_format
        return None if later is None else f"Nothing is issued: {later}"

    async def gather(self, key: ObjectKey, now: datetime) -> Observed:
        """Observe one identity.

        That it is gone is believed only from the API server itself: everything it held is revoked.
        So is that a certificate is another object's: replicas whose caches are ahead of ours issue
        for pods, and would have it revoked by one that has not heard of the new object yet. And so
        is that an identity must have nothing, where that is `doubted`.

        Raises:
            UnavailableError: The API server is away, and the caches do not tell.
        """
        held = self._held(key, now)
        body = self._world.identities.get(key)
        doubted = key in self._world.doubted
        if doubted or body is None or any(each.uid != uid_of(body) for each in held):
            body = await self._ask(key, needed=doubted or bool(held))
        if body is None:
            return Observed(None, None, AgentIdentityStatus(), held)
        seen = self._observe(body, held, now)
        refusal = self._world.refusals.get(key.namespace, key.name)
        unread = self._ledger.later_format is not None
        seen = replace(seen, refusal=refusal, ledger_unread=unread)
        seen = self._with_revoked(key, seen, now)
        if seen.verdict is None:
            return seen  # all of it goes, whatever became of the pods
        return replace(seen, gone=await self._pods_gone(key, held))

    def observe(self, key: ObjectKey, now: datetime) -> Observed | None:
        """Observe one identity by what the watches told, without what it holds.

        Returns:
            None if no such identity was seen, or it is gone.
        """
        body = self._world.identities.get(key)
        return None if body is None else self._observe(body, (), now)

    def _observe(
        self, body: Mapping[str, object], held: tuple[Held, ...], now: datetime
    ) -> Observed:
        metadata = AgentIdentity.metadata_of(body)
        status, hold = AgentIdentity.status_of(body), self._world.hold_on(body)
        try:
            identity = AgentIdentity.parse(body)
        except SpecError as error:
            verdict = Blocked(Reason.INVALID_SPEC, summarize(error.violations), stalled=True)
            # What takes away is heeded, though the rest cannot be read.
            spec = body.get("spec")
            suspend = isinstance(spec, Mapping) and spec.get("suspend") is True
            return Observed(
                metadata, None, status, held, None, verdict, hold, unread_suspend=suspend
            )
        agent_class = self._class_of(identity)
        if metadata.deletion_timestamp is not None or identity.spec.suspend or hold is not None:
            return Observed(metadata, identity, status, held, agent_class, hold=hold)
        with step("judge"):
            verdict_of = self._judge(identity, now)
        demands = self._demands(agent_class)
        return Observed(metadata, identity, status, held, agent_class, verdict_of, demands=demands)

    async def _ask(self, key: ObjectKey, *, needed: bool) -> JsonObject | None:
        if not needed:
            return None  # nothing is on record of it, so its absence has no consequence
        try:
            body = await self._client.get(AGENT_IDENTITIES, key.name, key.namespace)
        except NotFoundError:
            return None
        self._world.identities.learn(body)
        return body

    def _class_of(self, identity: AgentIdentity) -> AgentClass | None:
        parsed = self._world.classes.get(identity.spec.class_name)
        return None if parsed is None else parsed.model

    def _demands(self, agent_class: AgentClass | None) -> Demands:
        name = None if agent_class is None else agent_class.spec.issuer_name
        state = None if name is None else self._world.issuer_states.get(name)
        return NO_DEMANDS if state is None else state.demands

    def _judge(self, identity: AgentIdentity, now: datetime) -> Granted | Refused | Blocked:
        if (unread := self.unread) is not None:
            return Blocked(Reason.LEDGER_UNAVAILABLE, unread)
        backing = backing_of(self._world, identity)
        if isinstance(backing, Blocked):
            return backing
        issuer_name = backing.agent_class.spec.issuer_name
        state = self._world.issuer_states.get(issuer_name)
        if backing.issuer.model is None or state is None or state.issuer is None:
            why = state.problem if state is not None else "it has not been set up yet"
            message = f"AgentIssuer {issuer_name} cannot sign: {why}"
            return Blocked(Reason.ISSUER_NOT_READY, message)
        return judge(
            identity,
            backing.agent_class,
            state.issuer.trust_domain,
            available_deliveries=self._deliveries | self._world.doors,
            now=now,
        )

    async def _pods_gone(self, key: ObjectKey, held: tuple[Held, ...]) -> frozenset[str]:
        """Which of the pods that hold certificates are certainly gone.

        A pod that the watch does not show may be newer than what it has told: only one that was
        seen to go, or that the API server itself does not know, is gone.
        """
        pods = {each.pod.uid: each.pod for each in held if each.pod is not None}
        if not pods or not self._world.pods.synced:
            return frozenset()
        gone = {uid for uid, pod in pods.items() if self._is_gone(key, pod)}
        unknown = [
            pod
            for uid, pod in pods.items()
            if uid not in gone and self._world.pods.get(uid) is None
        ]
        asked = asyncio.Semaphore(_ASKED_AT_ONCE)

        async def ask(pod: PodRef) -> None:
            async with asked:
                if not await self._still_carries(key, pod):
                    gone.add(pod.uid)

        await asyncio.gather(*map(ask, unknown))
        return frozenset(gone)

    def _is_gone(self, key: ObjectKey, pod: PodRef) -> bool:
        known = self._world.pods.get(pod.uid)
        if known is None:
            return self._world.pods.is_gone(pod.uid)
        return not known.carries(key.namespace, key.name)

    async def _still_carries(self, key: ObjectKey, pod: PodRef) -> bool:
        # The answer is not kept: the watch may have told the pod's end by the time it is here, and
        # would not tell it again.
        try:
            found = Pod.of(await self._client.get(PODS, pod.name, key.namespace))
        except NotFoundError:
            return False
        return found.uid == pod.uid and found.carries(key.namespace, key.name)

    def _with_revoked(self, key: ObjectKey, seen: Observed, now: datetime) -> Observed:
        """Add what certificates tell that are revoked."""
        uid = None if seen.metadata is None else seen.metadata.uid
        revoked = [
            entry.issued
            for entry in self._ledger.state.entries_of(key.namespace, key.name)
            if entry.revoked is not None and entry.issued.uid == uid and entry.issued.pod is None
        ]
        if not revoked:
            return seen
        grants = (_grant(each.grant) for each in revoked if each.not_after >= now)
        names = (None if grant is None else grant.secret_name for grant in grants)
        return replace(
            seen,
            revoked_into=frozenset(name for name in names if name is not None),
            replaced=frozenset(each.replaces for each in revoked if each.replaces is not None),
        )

    def _held(self, key: ObjectKey, now: datetime) -> tuple[Held, ...]:
        certain = min(now, self._ledger.trusted_now() or now - _DOUBT)
        return tuple(
            held_of(entry.issued, doubtful=entry.doubtful)
            for entry in self._ledger.state.unrevoked(key.namespace, key.name)
            if entry.issued.not_after >= certain
        )


def held_of(issued: Issued, *, doubtful: bool = False) -> Held:
    """A record of the ledger as decisions are made from it."""
    return Held(
        serial=issued.serial,
        uid=issued.uid,
        door=issued.door,
        grant=_grant(issued.grant),
        validity=Validity(issued.not_before, issued.not_after),
        issued_at=issued.issued_at,
        replaces=issued.replaces,
        doubtful=doubtful,
        authority=issued.authority,
        bundle=issued.bundle,
        pod=issued.pod,
    )


@lru_cache(maxsize=4096)
def _grant(text: str) -> Grant | None:
    try:
        return Grant.from_json(text)
    except InputError:
        return None
