"""Secrets in which a certificate may lie that is revoked, though no status ever told of it.

A Secret is written before the status that tells of it. Whoever is suspended in between has a status
that knows of no Secret; what it was written for stands on the ledger alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentid.api.conditions import ConditionStatus

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from agentid.api.conditions import ConditionType
    from agentid.identity import SerialNumber
    from agentid.policy.observed import Held, Observed

__all__ = ["doubtful_places"]


def doubtful_places(
    seen: Observed, revoked: Collection[SerialNumber], tells: ConditionType
) -> frozenset[str]:
    """Names of the Secrets that have to be emptied to be sure.

    What an earlier pass revoked, and came no further, counts until the status tells that the
    identity has nothing: from then on each pass would write for nothing.

    Args:
        seen: What is seen.
        revoked: What this pass revokes.
        tells: The condition by which the status tells.
    """
    own = [each for each in seen.own if each.pod is None]
    into = _places(each for each in own if each.serial in revoked)
    if (into or not own) and not _told(seen, tells):
        into |= seen.revoked_into
    return into - _places(each for each in own if each.serial not in revoked)


def _places(held: Iterable[Held]) -> frozenset[str]:
    grants = (each.grant for each in held)
    names = (None if grant is None else grant.secret_name for grant in grants)
    return frozenset(name for name in names if name is not None)


def _told(seen: Observed, tells: ConditionType) -> bool:
    generation = None if seen.metadata is None else seen.metadata.generation
    return seen.status.observed_generation == generation and any(
        each.type == tells and each.status is ConditionStatus.TRUE
        for each in seen.status.conditions
    )
