"""What has to be done about an identity whose pods get certificates of their own.

Pods ask by themselves, and a kubelet renews by itself, so nothing is issued here. What is left is
to take away: a pod's certificate when the pod is gone, and what gives more than is granted now,
after the grace period, since no kubelet can be told to ask anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentid.policy.ceiling import delivery
from agentid.policy.grant import takes_away

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from agentid.api.agentclass import AgentClass
    from agentid.policy.grant import Grant
    from agentid.policy.observed import Held, Observed

__all__ = ["earliest_end", "exceeding", "of_gone_pods", "pods_of"]


def of_gone_pods(seen: Observed) -> tuple[Held, ...]:
    """The certificates of pods that are gone."""
    return tuple(each for each in seen.held if each.pod is not None and each.pod.uid in seen.gone)


def exceeding(
    held: Iterable[Held],
    grant: Grant,
    agent_class: AgentClass | None,
    moving: frozenset[str],
    now: datetime,
) -> tuple[Held, ...]:
    """Certificates of pods that give something that is not granted any more.

    Another mode of delivery alone takes nothing away: a pod that runs has its certificate from the
    old one, and the key is on its node. It is another matter if the class allows the old one no
    more.

    Args:
        held: In force.
        grant: What is granted now, through whatever door.
        agent_class: The class as it is now.
        moving: Authorities below which nothing may stay.
        now: From when on schedules of different zones are compared.
    """
    # The pods of one identity share few grants, and each is one object: judged once, not by pod.
    judged: dict[int, bool] = {}

    def too_much(old: Grant) -> bool:
        found = judged.get(id(old))
        if found is None:
            found = takes_away(old, grant, now) or (
                agent_class is not None and bool(delivery(old.delivery, old.tier, agent_class))
            )
            judged[id(old)] = found
        return found

    return tuple(
        each
        for each in held
        if each.grant is None or each.authority in moving or too_much(each.grant)
    )


def pods_of(held: Iterable[Held]) -> dict[str, datetime]:
    """By UID of the pod: when its last certificate ends."""
    found: dict[str, datetime] = {}
    for each in held:
        if each.pod is not None:
            end = each.validity.not_after
            found[each.pod.uid] = max(end, found.get(each.pod.uid, end))
    return found


def earliest_end(held: Iterable[Held]) -> datetime | None:
    """When the first pod is without a certificate if none is renewed."""
    return min(pods_of(held).values(), default=None)
