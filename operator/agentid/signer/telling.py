"""Tells people why a pod has no certificate: the identity's status, and an Event on the pod.

Of a denial the kubelet tells the pod's author itself. Of a request that waits it says nothing but
that the volume is not there yet, so what lasts is told here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentid.api.model import ObjectMeta
from agentid.constants import LABEL_IDENTITY
from agentid.kube.objects import ObjectKey
from agentid.kube.resources import PODS
from agentid.policy.observed import PodRefusal
from agentid.services.notices import Notice
from agentid.signer.reasons import WaitingReason

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentid.clock import Clock
    from agentid.services.notices import Notices
    from agentid.services.world import World
    from agentid.signer.reasons import Waiting
    from agentid.signer.request import PodCertificateRequest

__all__ = ["Telling"]


class Telling:
    """Puts what people are to read where they look for it."""

    def __init__(
        self,
        *,
        world: World,
        notices: Notices,
        clock: Clock,
        look_at: Callable[[ObjectKey], None],
    ) -> None:
        """Take the parts.

        Args:
            world: Keeps the last refusal of each identity.
            notices: Writes Events.
            clock: Tells when.
            look_at: Has an identity looked at whose status has something new to say.
        """
        self._world = world
        self._notices = notices
        self._clock = clock
        self._look_at = look_at

    def refused(self, request: PodCertificateRequest, refusal: PodRefusal) -> None:
        """A pod was refused, or waits."""
        identity = request.annotations.get(LABEL_IDENTITY, "")
        key = ObjectKey(request.key.namespace, identity)
        # What somebody wrote into a volume must not fill the memory: only identities that are.
        if key in self._world.identities and self._world.refusals.put(
            key.namespace, key.name, refusal
        ):
            self._look_at(key)

    def waits(self, request: PodCertificateRequest, waiting: Waiting) -> None:
        """A request waits; what a watch is about to tell is not worth a word."""
        if waiting.reason != WaitingReason.CACHE_BEHIND:
            now, reason = self._clock.now(), str(waiting.reason)
            self.refused(request, PodRefusal(now, request.pod_name, reason, waiting.message))

    def lasts(self, request: PodCertificateRequest, waiting: Waiting) -> None:
        """It has waited for long enough to be worth an Event."""
        pod = ObjectMeta(
            name=request.pod_name, namespace=request.key.namespace, uid=request.pod_uid
        )
        self._notices.tell(
            Notice.CERTIFICATE_WAITS,
            PODS.kind,
            pod,
            f"{waiting.reason}: {waiting.message}",
            str(waiting.reason),
            api_version=PODS.api_version,
        )
