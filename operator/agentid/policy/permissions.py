"""What an agent may do, and whether that lies within what it could be given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from agentid.api.violation import Violation, listed, shown
from agentid.errors import InputError
from agentid.policy.schedule import Schedule

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from agentid.api.permissions import PermissionsSpec

__all__ = ["Permissions", "covers_system"]


def covers_system(pattern: str, name: str) -> bool:
    """Whether a pattern of systems covers a name, or everything that another pattern covers.

    `*` covers everything; `erp.*` covers every name beneath `erp.` at any depth, and so `erp.a.*`,
    but not `erp` itself. There is no end of names beneath a prefix, so a wildcard is covered by
    a single wildcard or not at all.
    """
    if pattern == "*":
        return True
    if pattern.endswith(".*"):
        return name.startswith(pattern[:-1])
    return pattern == name


@dataclass(frozen=True, slots=True)
class Permissions:
    """A set of permissions in canonical order: two that list the same are equal.

    An empty tuple grants nothing. Only the schedule is different: None is no limit in time.

    Attributes:
        systems: Names and wildcards, sorted.
        operations: Names, sorted.
        schedule: When they hold; None for always.
        compliance: Tags, sorted.
    """

    systems: tuple[str, ...] = ()
    operations: tuple[str, ...] = ()
    schedule: Schedule | None = None
    compliance: tuple[str, ...] = ()

    @classmethod
    def of(cls, spec: PermissionsSpec) -> Permissions:
        """Make the value of a parsed spec."""
        return cls(
            systems=tuple(sorted(set(spec.systems))),
            operations=tuple(sorted(set(spec.operations))),
            schedule=Schedule.of(spec.schedule) if spec.schedule else None,
            compliance=tuple(sorted(set(spec.compliance))),
        )

    def excess(
        self, ceiling: Permissions, *, ceiling_name: str, now: datetime
    ) -> tuple[Violation, ...]:
        """Find what these permissions hold beyond a ceiling.

        Args:
            ceiling: What may be held at most.
            ceiling_name: How a message calls it: "AgentClass batch".
            now: From when on schedules of different zones are compared.

        Returns:
            One violation for each entry too many; none if, and only if, these permissions are a
            subset. `field` starts at `spec.permissions`.
        """
        beyond = [
            *_beyond(
                "systems",
                (
                    name
                    for name in self.systems
                    if not any(covers_system(pattern, name) for pattern in ceiling.systems)
                ),
                ceiling.systems,
                ceiling_name,
            ),
            *_beyond(
                "operations",
                (name for name in self.operations if name not in ceiling.operations),
                ceiling.operations,
                ceiling_name,
            ),
            *_beyond(
                "compliance",
                (tag for tag in self.compliance if tag not in ceiling.compliance),
                ceiling.compliance,
                ceiling_name,
            ),
        ]
        if ceiling.schedule is not None:
            beyond += self._schedule_excess(ceiling.schedule, ceiling_name, now)
        return tuple(beyond)

    def within(self, ceiling: Permissions, *, now: datetime) -> bool:
        """Whether these permissions are a subset of the ceiling; `now` as in `excess`."""
        return not self.excess(ceiling, ceiling_name="", now=now)

    def _schedule_excess(
        self, ceiling: Schedule, ceiling_name: str, now: datetime
    ) -> list[Violation]:
        if self.schedule is None:
            return [
                Violation(
                    "spec.permissions.schedule",
                    "",
                    f"is absent, which means always, and {ceiling_name} allows only a schedule",
                    "add one within the schedule of the class",
                )
            ]
        gap = self.schedule.gap(ceiling, now=now)
        if gap is None:
            return []
        return [
            Violation(
                "spec.permissions.schedule.windows",
                gap.text,
                f"is outside the schedule of {ceiling_name}",
                "narrow the windows or ask the class owner",
            )
        ]

    def to_json(self) -> dict[str, object]:
        """Write the permissions in plain values, canonical like the value itself."""
        return {
            "systems": list(self.systems),
            "operations": list(self.operations),
            "schedule": self.schedule.to_json() if self.schedule else None,
            "compliance": list(self.compliance),
        }

    @classmethod
    def from_json(cls, data: object) -> Permissions:
        """Read what `to_json` writes.

        Raises:
            InputError: It is something else.
        """
        match data:
            case {
                "systems": [*systems],
                "operations": [*operations],
                "schedule": schedule,
                "compliance": [*compliance],
            }:
                return cls(
                    systems=_strings(systems),
                    operations=_strings(operations),
                    schedule=None if schedule is None else Schedule.from_json(schedule),
                    compliance=_strings(compliance),
                )
            case _:
                msg = "permissions: is not an object of systems, operations, schedule, compliance"
                raise InputError(msg)


def _strings(values: list[object]) -> tuple[str, ...]:
    texts = [value for value in values if isinstance(value, str)]
    if len(texts) != len(values):
        msg = "permissions: a list holds something else than strings"
        raise InputError(msg)
    return tuple(sorted(set(texts)))


def _beyond(
    field: str, entries: Iterable[str], allowed: tuple[str, ...], ceiling_name: str
) -> list[Violation]:
    most = listed(allowed, nothing="nothing")
    return [
        Violation(
            f"spec.permissions.{field}",
            shown(entry),
            f"is outside the ceiling of {ceiling_name}, which allows {most}",
            "remove it or ask the class owner",
        )
        for entry in entries
    ]
