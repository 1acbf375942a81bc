"""Holds what is made for each namespace against the rate of its class, whatever door it is for.

Certificates that other replicas record count as soon as the ledger tells of them, and so do those
of a past run of this process: a restart gives nobody a fresh minute. What replicas make at the same
moment they do not know of each other yet, so that n of them together may make n times the rate
within one minute; the minutes that follow pay for it.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

import orjson

from agentid.api.conditions import Reason
from agentid.ledger import Issued
from agentid.policy.rate import MINUTE, RateWindow
from agentid.services.failure import PassError

if TYPE_CHECKING:
    from agentid.clock import Clock
    from agentid.ledger import Durable, Ledger
    from agentid.services.world import World

__all__ = ["Rates"]

_SWEEP: Final = 2 * MINUTE
"""Seconds between two looks for namespaces of which nothing has to be remembered any more."""

_UNKNOWN: Final = 60_000
"""The limit by which records are remembered of a class that sets none, or is not known yet."""


class Rates:
    """One for each process."""

    def __init__(self, *, world: World, ledger: Ledger, clock: Clock) -> None:
        """Take the parts, and listen to the ledger from its start on.

        Args:
            world: Knows the classes.
            ledger: Tells what is on record.
            clock: Of its two readings the monotonic one is gone by; the other one tells how old the
                records of a past run are.
        """
        self._world = world
        self._clock = clock
        self._windows: dict[tuple[str, str], RateWindow] = {}
        # Serials of the last minute, as compaction tells records twice.
        self._counted: dict[int, float] = {}
        self._swept = clock.monotonic()
        ledger.subscribe(self._learn)

    def take(self, class_name: str, namespace: str, whose: str, *, due: bool) -> None:
        """Do nothing, if a certificate may be made now. A moment is kept for who has to wait.

        Args:
            class_name: Of the grant.
            namespace: Of the identity.
            whose: Who has to come again if need be, such as the UID of the identity or the pod.
            due: Whether it is made at any rate, though it counts (`policy.rate`).

        Raises:
            PassError: It is not the time yet; `retry_after` tells how long it takes.
        """
        limit = self._limit(class_name)
        if limit is None:
            return
        now = self._clock.monotonic()
        wait = self._window(class_name, namespace, now).take(whose, limit, now, due=due)
        if wait > 0:
            message = (
                f"AgentClass {class_name} limits certificates for namespace {namespace} to {limit} "
                "a minute (spec.limits.issuancesPerMinutePerNamespace), and as many were made in "
                "the last one; agentid issues when its turn comes. Ask the class owner for more if "
                "that takes too long"
            )
            raise PassError(Reason.RATE_LIMITED, message, retry_after=timedelta(seconds=wait))

    def _limit(self, class_name: str) -> int | None:
        parsed = self._world.classes.get(class_name)
        if parsed is None or parsed.model is None:
            return None
        return parsed.model.spec.limits.issuances_per_minute_per_namespace

    def _window(self, class_name: str, namespace: str, now: float) -> RateWindow:
        if now - self._swept >= _SWEEP:
            self._swept = now
            for key in [key for key, each in self._windows.items() if each.is_empty(now)]:
                del self._windows[key]
        return self._windows.setdefault((class_name, namespace), RateWindow())

    def _learn(self, durable: Durable) -> None:
        now, wall = self._clock.monotonic(), self._clock.now()
        for record in durable.records:
            if not isinstance(record, Issued):
                continue
            # One that a clock ahead of ours made is as new as can be.
            age = max((wall - record.issued_at).total_seconds(), 0.0)
            if age < MINUTE and self._is_new(record.serial.value, now) and not durable.own:
                class_name = _class_of(record)
                limit = self._limit(class_name) or _UNKNOWN
                self._window(class_name, record.namespace, now).count(limit, now, age)

    def _is_new(self, serial: int, now: float) -> bool:
        while self._counted and next(iter(self._counted.values())) <= now - MINUTE:
            del self._counted[next(iter(self._counted))]
        if serial in self._counted:
            return False
        self._counted[serial] = now
        return True


def _class_of(record: Issued) -> str:
    """The class of a record, empty if another release wrote it in a form that is unknown here."""
    try:
        grant = orjson.loads(record.grant)
    except orjson.JSONDecodeError:
        return ""
    name = grant.get("class") if isinstance(grant, dict) else None
    return name if isinstance(name, str) else ""
