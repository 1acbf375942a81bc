"""What pods may have, from what the watches told: the one question that every door for pods asks.

```
 door: attest ─► Entitlements.of ─► Issuance.sign ─► ledger ─► door: deliver
                       └─► Withheld: the door says whether to wait
```
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from agentid.policy.entitlement import Withheld, WithheldReason, entitled, unplaced

if TYPE_CHECKING:
    from agentid.api.model import ObjectMeta
    from agentid.api.vocabulary import DeliveryMode
    from agentid.issuers import Issuer
    from agentid.kube.objects import ObjectKey
    from agentid.policy.judge import Granted
    from agentid.policy.observed import Observed
    from agentid.services.judging import Judging
    from agentid.services.world import World

__all__ = ["Entitled", "Entitlements", "behind"]


@dataclass(frozen=True, slots=True)
class Entitled:
    """A pod that may have a certificate.

    Attributes:
        key: The identity that it is of.
        owner: The same, as an object.
        seen: What was judged from.
        granted: The judgement.
        issuer: What signs.
    """

    key: ObjectKey
    owner: ObjectMeta
    seen: Observed
    granted: Granted
    issuer: Issuer


class Entitlements:
    """Reads caches alone; a door that is told no may ask whether they are current."""

    def __init__(self, *, world: World, judging: Judging) -> None:
        """Take the parts."""
        self._world = world
        self._judging = judging

    def of(self, key: ObjectKey, service_account: str, door: DeliveryMode) -> Entitled | Withheld:
        """What a pod may have.

        Args:
            key: The identity that it asks for.
            service_account: That it runs as; it was attested.
            door: By which it asks.
        """
        seen = self._judging.observe(key)
        granted = entitled(str(key), seen, door=door, service_account=service_account)
        if isinstance(granted, Withheld):
            return granted
        if seen is not None and (waits := unplaced(str(key), seen)) is not None:
            return waits
        state = self._world.issuer_states.get(granted.grant.issuer_name)
        if seen is None or seen.metadata is None or state is None or state.issuer is None:
            return behind(key)  # never so: it was judged by all of them just now
        return Entitled(key, seen.metadata, seen, granted, state.issuer)


def behind(key: ObjectKey) -> Withheld:
    """What is known is older than what is in force; a watch tells within a second or so."""
    message = f"AgentIdentity {key} or its class has just changed; agentid looks again"
    return Withheld(WithheldReason.CACHE_BEHIND, message)
