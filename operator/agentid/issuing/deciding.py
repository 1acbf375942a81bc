"""Which pod asks, and what its identity lets it have by this door.

```
 plugin, pod's token ─► attest ─► Entitlements.of ─► Decided
                          └──────────┴─► RefusedError
```
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from agentid.api.conditions import Reason
from agentid.api.vocabulary import DeliveryMode
from agentid.issuing.reasons import RefusalReason, RefusedError
from agentid.kube.objects import ObjectKey
from agentid.policy.entitlement import Withheld, WithheldReason, grant_for_key

if TYPE_CHECKING:
    from agentid.issuing.attesting import Attesting
    from agentid.issuing.authenticating import Authenticator, NodePlugin
    from agentid.pki import KeyAlgorithm
    from agentid.policy.grant import Grant
    from agentid.services.entitlements import Entitled, Entitlements
    from agentid.services.pods import Pod, Pods

__all__ = ["Decided", "Deciding", "grant_for"]

_SOON: Final = timedelta(seconds=1)
"""For a watch to tell what the API server has."""

_FINAL: Final = frozenset(
    {
        Reason.DELETING.value,
        Reason.SUSPENDED.value,
        Reason.HELD.value,
        WithheldReason.NOT_ITS_SERVICE_ACCOUNT.value,
    }
)
"""What takes from a pod also what it holds."""


@dataclass(frozen=True, slots=True)
class Decided:
    """A pod that was attested, and what it may have.

    Attributes:
        pod: It.
        entitled: Its identity, and what that is granted.
    """

    pod: Pod
    entitled: Entitled


class Deciding:
    """Attests, then asks what every door asks."""

    def __init__(
        self,
        *,
        authenticator: Authenticator,
        attesting: Attesting,
        entitlements: Entitlements,
        pods: Pods,
    ) -> None:
        """Take the parts.

        Args:
            authenticator: Verifies tokens.
            attesting: Looks up what they are about.
            entitlements: Knows what pods may have.
            pods: What the watch told.
        """
        self._authenticator = authenticator
        self._attesting = attesting
        self._entitlements = entitlements
        self._pods = pods

    async def attest(self, plugin: NodePlugin, pod_token: str) -> Pod:
        """The pod whose token this is.

        Raises:
            RefusedError: There is none, or it is not the plugin's to ask for.
            UnavailableError: Nobody can tell now.
            ForbiddenError: We may not ask.
        """
        token = await self._authenticator.pod(pod_token)
        return await self._attesting.attest(token, plugin)

    def decide(self, pod: Pod) -> Decided:
        """What an attested pod may have.

        Raises:
            RefusedError: Nothing.
        """
        key = ObjectKey(pod.namespace, pod.identity)
        found = self._entitlements.of(key, pod.service_account, DeliveryMode.CSI)
        if isinstance(found, Withheld):
            raise _refusal(found)
        return Decided(pod, found)

    def check_still(self, before: Decided) -> None:
        """Do nothing, if a pod may have what it might when it was decided about.

        Raises:
            RefusedError: The pod went, or what its identity is granted is another thing.
        """
        pod, known = before.pod, self._pods.get(before.pod.uid)
        if self._pods.is_gone(pod.uid) or (known is not None and known.finished):
            raise RefusedError(RefusalReason.POD_GONE, "the pod went as it was made", final=True)
        if known is not None and known.identity != pod.identity:
            message = "the label of the pod changed as it was made; ask again"
            raise RefusedError(RefusalReason.TAKEN_AWAY, message)
        now = self.decide(pod).entitled
        if (now.owner.uid, now.granted.grant) != (
            before.entitled.owner.uid,
            before.entitled.granted.grant,
        ):
            message = f"what AgentIdentity {now.key} is granted changed; ask again"
            raise RefusedError(RefusalReason.TAKEN_AWAY, message)


def grant_for(decided: Decided, algorithm: KeyAlgorithm) -> Grant:
    """The grant of a certificate for a key of this algorithm.

    Raises:
        RefusedError: The class asks for another algorithm.
    """
    entitled = decided.entitled
    found = grant_for_key(str(entitled.key), entitled.granted, entitled.seen, algorithm)
    if isinstance(found, Withheld):
        raise _refusal(found)
    return found


def _refusal(withheld: Withheld) -> RefusedError:
    message, behind = withheld.message, withheld.reason == WithheldReason.CACHE_BEHIND
    if withheld.key_algorithm is not None:
        message += "; make one of that algorithm"
    return RefusedError(
        withheld.reason,
        message,
        final=withheld.reason in _FINAL,
        key_algorithm=withheld.key_algorithm,
        retry_after=_SOON if behind else None,
    )
