"""Decides about one request: attest, then judge as every door does."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from agentid.api.agentclass import AgentClass
from agentid.api.fields import format_time
from agentid.api.vocabulary import DeliveryMode
from agentid.errors import NotFoundError
from agentid.kube.objects import ObjectKey, resource_version_of
from agentid.kube.resources import AGENT_CLASSES, AGENT_IDENTITIES
from agentid.policy.entitlement import Withheld, WithheldReason, grant_for_key
from agentid.services.doors import REQUESTS_POLICY
from agentid.services.entitlements import behind
from agentid.signer.attestation import attest, check_annotations
from agentid.signer.reasons import Denial, DenialReason, Waiting, WaitingReason
from agentid.signer.stub import read_stub

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from agentid.kube.client import Client
    from agentid.policy.grant import Grant
    from agentid.services.entitlements import Entitled, Entitlements
    from agentid.services.world import World
    from agentid.signer.request import PodCertificateRequest
    from agentid.signer.stub import Stub
    from agentid.signer.surroundings import Surroundings

__all__ = ["Decided", "Deciding"]

_IN_FORCE: Final = timedelta(seconds=5)
"""Until the API server goes by a policy that was created; it takes a second or two."""

_BEHIND: Final = timedelta(seconds=1)
"""For a watch to tell what the API server has."""


@dataclass(frozen=True, slots=True)
class Decided:
    """A request that is to be issued.

    Attributes:
        request: Which.
        stub: Its key.
        entitled: The identity, and what it was judged by.
        grant: What it is given, for a key of this algorithm.
    """

    request: PodCertificateRequest
    stub: Stub
    entitled: Entitled
    grant: Grant


class Deciding:
    """Believes caches when they say yes, and the API server alone when the answer is no."""

    def __init__(
        self,
        *,
        world: World,
        entitlements: Entitlements,
        client: Client,
        surroundings: Surroundings,
        guarded_since: Callable[[], datetime | None],
    ) -> None:
        """Take the parts.

        Args:
            world: What the watches told.
            entitlements: Knows what pods may have.
            client: To make sure before a denial.
            surroundings: Looks up whom a request names.
            guarded_since: Since when nobody but kubelets can make requests, None while others can.
        """
        self._guarded_since = guarded_since
        self._world = world
        self._entitlements = entitlements
        self._client = client
        self._surroundings = surroundings

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
        found = self._entitlements.of(key, request.service_account, DeliveryMode.POD_CERTIFICATE)
        if isinstance(found, Withheld):
            return await self._said(key, found)
        grant = grant_for_key(str(key), found.granted, found.seen, stub.algorithm)
        if isinstance(grant, Withheld):
            return await self._said(key, grant)
        return Decided(request, stub, found, grant)

    async def _said(self, key: ObjectKey, withheld: Withheld) -> Denial | Waiting:
        """What a request is told; a no that is final only after the API server was asked."""
        denial = _final(withheld)
        if denial is not None:
            if await self._is_current(key):
                return denial
            withheld = behind(key)
        after = _BEHIND if withheld.reason == WithheldReason.CACHE_BEHIND else None
        return Waiting(withheld.reason, withheld.message, after)

    async def _is_current(self, key: ObjectKey) -> bool:
        """Whether the API server has of identity and class what was judged by."""
        known = self._world.identities.get(key)
        spec = None if known is None else known.get("spec")
        class_name = str(spec.get("className")) if isinstance(spec, dict) else ""
        judged_by = self._world.classes.get(class_name)
        if known is None or judged_by is None:
            return False
        try:
            identity = await self._client.get(AGENT_IDENTITIES, key.name, key.namespace)
            agent_class = await self._client.get(AGENT_CLASSES, class_name)
        except NotFoundError:
            return False
        return resource_version_of(known) == resource_version_of(identity) and _generation(
            judged_by.body
        ) == _generation(agent_class)


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


def _final(withheld: Withheld) -> Denial | None:
    """The denial of what cannot come right while the pod lives; None if it can."""
    match withheld.reason:
        case WithheldReason.NOT_ITS_SERVICE_ACCOUNT:
            return Denial(DenialReason.NOT_ITS_SERVICE_ACCOUNT, withheld.message)
        case WithheldReason.UNSUPPORTED_KEY_TYPE:
            message = (
                f"{withheld.message}; set keyType: {withheld.key_algorithm} in the volume, or let "
                "admission add it, and create the pod anew"
            )
            return Denial(DenialReason.UNSUPPORTED_KEY_TYPE, message)
        case _:
            return None
