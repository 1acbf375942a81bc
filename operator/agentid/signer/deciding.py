"""Decides about one request: attest, then judge as every door does."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from agentid.api.agentclass import AgentClass
from agentid.api.fields import format_time
from agentid.errors import NotFoundError
from agentid.kube.objects import ObjectKey, resource_version_of
from agentid.kube.resources import AGENT_CLASSES, AGENT_IDENTITIES
from agentid.services.doors import REQUESTS_POLICY
from agentid.signer.attestation import attest, check_annotations, check_binding
from agentid.signer.granting import allowed_algorithms, granted_to, with_key
from agentid.signer.reasons import Denial, Waiting, WaitingReason
from agentid.signer.stub import read_stub

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from agentid.api.model import ObjectMeta
    from agentid.clock import Clock
    from agentid.issuers import Issuer
    from agentid.kube.client import Client
    from agentid.policy.grant import Grant
    from agentid.policy.judge import Granted
    from agentid.policy.observed import Observed
    from agentid.services.gathering import Gatherer
    from agentid.services.world import World
    from agentid.signer.request import PodCertificateRequest
    from agentid.signer.stub import Stub
    from agentid.signer.surroundings import Surroundings

__all__ = ["Decided", "Deciding"]

_IN_FORCE: Final = timedelta(seconds=5)
"""Until the API server goes by a policy that was created; it takes a second or two."""

_BEHIND: Final = timedelta(seconds=1)
"""For a watch to tell what the API server has."""


_MOST: Final = 4096
"""Identities of which that is kept."""

_SAME: Final = 0.5
"""Seconds for which what was observed of an identity serves its other pods too, unless it is
forgotten before: the pods of a Deployment ask within the same moment."""


@dataclass(frozen=True, slots=True)
class Decided:
    """A request that is to be issued.

    Attributes:
        request: Which.
        stub: Its key.
        owner: The AgentIdentity.
        seen: What was judged by.
        grant: What it is given, for a key of this algorithm.
        issuer: What signs.
    """

    request: PodCertificateRequest
    stub: Stub
    owner: ObjectMeta
    seen: Observed
    grant: Grant
    issuer: Issuer


class Deciding:
    """Believes caches when they say yes, and the API server alone when the answer is no."""

    def __init__(
        self,
        *,
        world: World,
        gatherer: Gatherer,
        client: Client,
        surroundings: Surroundings,
        clock: Clock,
        guarded_since: Callable[[], datetime | None],
    ) -> None:
        """Take the parts.

        Args:
            world: What the watches told.
            gatherer: Observes identities.
            client: To make sure before a denial.
            surroundings: Looks up whom a request names.
            clock: Tells when.
            guarded_since: Since when nobody but kubelets can make requests, None while others can.
        """
        self._guarded_since = guarded_since
        self._world = world
        self._gatherer = gatherer
        self._client = client
        self._surroundings = surroundings
        self._clock = clock
        self._seen: dict[ObjectKey, tuple[float, Observed | None]] = {}

    def forget(self) -> None:
        """Observe anew: an identity has changed, or what it depends on."""
        self._seen.clear()

    async def decide(self, request: PodCertificateRequest) -> Decided | Denial | Waiting:
        """Decide.

        Raises:
            UnavailableError: The API server is away.
            ForbiddenError: We may not read what is needed.
        """
        since = self._guarded_since()
        if since is None or request.created <= since + _IN_FORCE:
            return _unguarded(request)
        name, stub = check_annotations(request), read_stub(request.stub)
        if isinstance(name, Denial):
            return name
        if isinstance(stub, Denial):
            return stub
        found = attest(request, name, await self._surroundings.look(request))
        if found is not None:
            found = attest(request, name, await self._surroundings.look(request, anew=True))
        return found or await self._judge(request, ObjectKey(request.key.namespace, name), stub)

    async def _judge(
        self, request: PodCertificateRequest, key: ObjectKey, stub: Stub
    ) -> Decided | Denial | Waiting:
        seen = self._observe(key)
        granted = granted_to(key, seen)
        if isinstance(granted, Waiting):
            return granted
        if seen is None or seen.metadata is None:  # never so: it was granted something
            return _behind(key)
        denial = check_binding(
            request,
            key.name,
            granted.grant.service_account,
            stub.algorithm,
            allowed_algorithms(granted, seen),
        )
        if denial is not None:
            return denial if await self._is_current(key, granted) else _behind(key)
        state = self._world.issuer_states.get(granted.grant.issuer_name)
        if state is None or state.issuer is None:  # never so: it was judged by it just now
            return _behind(key)
        grant = with_key(granted.grant, stub.algorithm)
        return Decided(request, stub, seen.metadata, seen, grant, state.issuer)

    def _observe(self, key: ObjectKey) -> Observed | None:
        moment = self._clock.monotonic()
        since, seen = self._seen.get(key, (float("-inf"), None))
        if moment - since >= _SAME:
            if len(self._seen) >= _MOST:
                self._seen.clear()
            seen = self._gatherer.observe(key, self._clock.now())
            self._seen[key] = (moment, seen)
        return seen

    async def _is_current(self, key: ObjectKey, granted: Granted) -> bool:
        """Whether the API server has of identity and class what was judged by."""
        class_name = granted.grant.class_name
        try:
            identity = await self._client.get(AGENT_IDENTITIES, key.name, key.namespace)
            agent_class = await self._client.get(AGENT_CLASSES, class_name)
        except NotFoundError:
            return False
        known, judged_by = self._world.identities.get(key), self._world.classes.get(class_name)
        return (
            known is not None
            and judged_by is not None
            and resource_version_of(known) == resource_version_of(identity)
            and _generation(judged_by.body) == _generation(agent_class)
        )


def _generation(body: Mapping[str, object]) -> tuple[str, int]:
    metadata = AgentClass.metadata_of(body)
    return metadata.uid, metadata.generation


def _unguarded(request: PodCertificateRequest) -> Waiting:
    message = (
        f"when it was made, at {format_time(request.created)}, the policy {REQUESTS_POLICY} was "
        "not in force, by which nobody but a kubelet can ask; create the pod anew once it is "
        "(agentid doctor tells)"
    )
    return Waiting(WaitingReason.UNGUARDED, message)


def _behind(key: ObjectKey) -> Waiting:
    message = f"AgentIdentity {key} or its class has just changed; agentid looks again"
    return Waiting(WaitingReason.CACHE_BEHIND, message, _BEHIND)
