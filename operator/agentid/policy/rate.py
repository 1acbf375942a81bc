"""How many certificates are made in a minute; pure, as times are handed in.

A window remembers when certificates were made in the last minute. Who comes when it is full is
given the moment at which there is room again, and that moment is kept for it: what waits is made in
the order in which it came, and nobody has to come twice. What is made without asking, such as a
renewal that is due, takes up the moments to come, so that others pay for it.

In any minute at most as many are made as the limit says, and as many again that had waited for
their moment and came late for it.
"""

from __future__ import annotations

from collections import deque
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from agentid.policy.grant import takes_away
from agentid.policy.judge import Granted
from agentid.policy.plan import Cause, renewal_of
from agentid.policy.tiers import template_for

if TYPE_CHECKING:
    from datetime import datetime

    from agentid.policy.observed import Held, Observed

__all__ = ["MINUTE", "RateWindow", "is_due", "renewal_is_due"]

_HARMLESS: Final = timedelta(hours=1)
"""From this lifetime on an identity may choose it as it likes: a renewal every forty minutes."""

MINUTE: Final = 60.0
"""Seconds that a window looks back, and gives moments ahead."""


def is_due(cause: Cause, seen: Observed, now: datetime) -> bool:
    """Whether a certificate is to be made whatever the rate.

    So is what agentid owes at a time that no user chooses, one that ran out unrenewed included, and
    what takes something away from an agent: nobody can put that off by using the rate up. A first
    certificate is not, such as after a suspension, nor is one that somebody asked for.

    Args:
        cause: To issue.
        seen: What was planned from.
        now: The present.
    """
    if cause is Cause.AUTHORITY:
        return True
    if cause is Cause.RENEWAL:
        return not _is_hasty(seen)
    told = seen.status.certificate
    if cause is Cause.EXPIRED:
        # One that was revoked is no matter of time: suspended and resumed at once looks like this.
        return told is not None and told.not_after < now and not _is_hasty(seen)
    current = next((e for e in seen.own if told is not None and str(e.serial) == told.serial), None)
    if current is None or cause not in {Cause.CHANGED, Cause.REQUESTED}:
        return False
    return renewal_is_due(current, seen, now) or _takes_away(current, seen, now)


def renewal_is_due(held: Held, seen: Observed, now: datetime) -> bool:
    """Whether the time has come to renew a certificate, by a lifetime that the class gives."""
    return not _is_hasty(seen) and now >= renewal_of(held, seen.agent_class)


def _takes_away(current: Held, seen: Observed, now: datetime) -> bool:
    verdict = seen.verdict
    return (
        isinstance(verdict, Granted)
        and current.grant is not None
        and takes_away(current.grant, verdict.grant, now)
    )


def _is_hasty(seen: Observed) -> bool:
    """Whether an identity chose a lifetime that has it renewed far more often than its class does.

    Lifetimes of a minute would make a certificate for each identity every forty seconds, at a
    tenant's will, whatever the rate.
    """
    verdict, agent_class = seen.verdict, seen.agent_class
    if not isinstance(verdict, Granted) or agent_class is None:
        return False
    lifetime = verdict.grant.lifetime
    return lifetime < _HARMLESS and (
        lifetime < template_for(verdict.grant.tier, agent_class.spec).lifetime
    )


class RateWindow:
    """Of one class and one namespace. All times are seconds by one clock that never goes back."""

    __slots__ = ("_kept", "_moments")

    def __init__(self) -> None:
        """Nothing was made yet."""
        self._moments: deque[float] = deque()
        self._kept: dict[str, float] = {}

    def take(self, whose: str, limit: int, now: float, *, due: bool = False) -> float:
        """Have a certificate made, if its moment has come.

        Args:
            whose: Who asks; the moment that is given is theirs.
            limit: Certificates in a minute.
            now: The present.
            due: Whether it is made at any rate.

        Returns:
            0 if it may be made now, else the seconds until then.
        """
        self._forget(now)
        kept = self._kept.get(whose)
        if kept is not None and not due and kept > now:
            return kept - now
        if kept is not None:
            del self._kept[whose]
            return 0.0
        moment = self._next(limit, now)
        if due or moment <= now:
            self._moments.append(min(moment, now + MINUTE))
            return 0.0
        if moment <= now + MINUTE:
            self._moments.append(moment)
            self._kept[whose] = moment
        return moment - now

    def count(self, limit: int, now: float, age: float = 0.0) -> None:
        """A certificate was made elsewhere.

        Args:
            limit: Certificates in a minute.
            now: The present.
            age: Seconds since it was made. Those of a past run come in the order of their age.
        """
        self._forget(now)
        self._moments.append(min(self._next(limit, now - age), now + MINUTE))

    def is_empty(self, now: float) -> bool:
        """Whether it remembers nothing that counts."""
        self._forget(now)
        return not self._moments and not self._kept

    def _next(self, limit: int, now: float) -> float:
        """The moment from which one more would be no more than the limit.

        Moments never go back, whatever the limit becomes meanwhile.
        """
        moments = self._moments
        if not moments:
            return now
        following = max(now, moments[-1])
        return following if len(moments) < limit else max(following, moments[-limit] + MINUTE)

    def _forget(self, now: float) -> None:
        while self._moments and self._moments[0] <= now - MINUTE:
            self._moments.popleft()
        # They were given in the order of their moments.
        while self._kept and next(iter(self._kept.values())) <= now - MINUTE:
            del self._kept[next(iter(self._kept))]
