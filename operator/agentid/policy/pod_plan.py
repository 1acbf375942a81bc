"""What has to be done about an identity whose pods get certificates of their own.

Pods ask by themselves, and a kubelet renews by itself, so nothing is issued here. What is left is
to take away: a pod's certificate when the pod is gone, and what gives more than is granted now,
after the grace period, since no kubelet can be told to ask anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentid.policy.grant import takes_away

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from agentid.policy.grant import Grant
    from agentid.policy.observed import Held, Observed

__all__ = ["earliest_end", "exceeding", "of_gone_pods", "pods_of"]


def of_gone_pods(seen: Observed) -> tuple[Held, ...]:
    """The certificates of pods that are gone."""
    return tuple(each for each in seen.held if each.pod is not None and each.pod.uid in seen.gone)


def exceeding(
    held: Iterable[Held], grant: Grant, moving: frozenset[str], now: datetime
) -> tuple[Held, ...]:
    """Certificates that give something that is not granted any more.

    Args:
        held: In force.
        grant: What is granted now, through a door that pods use.
        moving: Authorities below which nothing may stay.
        now: From when on schedules of different zones are compared.
    """
    return tuple(
        each
        for each in held
        if each.pod is None
        or each.door is not grant.delivery
        or each.grant is None
        or each.authority in moving
        or takes_away(each.grant, grant, now)
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
