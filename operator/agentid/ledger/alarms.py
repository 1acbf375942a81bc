"""Which alarms stand, and who is told when one is raised."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from agentid.ledger.verify import Alarm

__all__ = ["AlarmBook"]

_log = structlog.stdlib.get_logger(__name__)


class AlarmBook:
    """Alarms of the last verification, and those that last until the process ends."""

    def __init__(self, on_raised: Callable[[Alarm], None]) -> None:
        self._on_raised = on_raised
        self._found: frozenset[Alarm] = frozenset()
        self._lasting: set[Alarm] = set()

    def __iter__(self) -> Iterator[Alarm]:
        """All that stand, sorted."""
        return iter(sorted(self._found | self._lasting))

    def found(self, alarms: Iterable[Alarm]) -> None:
        """Take note of what a verification found: everything, not only what is new."""
        before, self._found = self._found, frozenset(alarms)
        for alarm in sorted(self._found - before - self._lasting):
            self._announce(alarm)
        for alarm in sorted(before - self._found - self._lasting):
            _log.info("ledger_alarm_cleared", kind=alarm.kind.value, segment=alarm.subject)

    def add(self, alarm: Alarm) -> None:
        """Raise an alarm that lasts until the process ends."""
        if alarm not in self._lasting:
            self._lasting.add(alarm)
            self._announce(alarm)

    def _announce(self, alarm: Alarm) -> None:
        _log.error(
            "ledger_alarm_raised",
            kind=alarm.kind.value,
            segment=alarm.subject,
            detail=alarm.detail,
        )
        self._on_raised(alarm)
