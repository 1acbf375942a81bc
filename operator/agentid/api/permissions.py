"""Permissions as they are written: by an identity that asks, by a class that sets the ceiling."""

from __future__ import annotations

from typing import Annotated, ClassVar

from agentid.api.fields import Items
from agentid.api.model import Model
from agentid.api.names import (
    ClockTime,
    ComplianceTag,
    DayEnd,
    OperationName,
    SystemPattern,
    ZoneName,
)
from agentid.api.rules import Rule
from agentid.api.violation import shown
from agentid.api.vocabulary import Weekday

__all__ = [
    "MAX_COMPLIANCE",
    "MAX_OPERATIONS",
    "MAX_SYSTEMS",
    "MAX_WINDOWS",
    "PermissionsSpec",
    "ScheduleSpec",
    "WindowSpec",
]

# The bounds keep a grant, which every ledger record carries, within about 40 KB at worst, and the
# CEL cost of each list within the API server's budget for one CRD.
MAX_SYSTEMS = 128
MAX_OPERATIONS = 64
MAX_COMPLIANCE = 32
MAX_WINDOWS = 16


class WindowSpec(Model):
    """A span of time that recurs every week."""

    days: Annotated[
        tuple[Weekday, ...],
        Items(7, "name each day at most once, Mon to Sun", minimum=1, list_type="set"),
    ]
    """Days on which the window begins: Mon, Tue, Wed, Thu, Fri, Sat, Sun."""
    start: ClockTime
    """First minute, as HH:MM on the clock of the schedule's time zone."""
    end: DayEnd
    """Minute at which it is over, as HH:MM up to 24:00. At or before the start it lies on the next
    day."""

    rules: ClassVar = (
        Rule["WindowSpec"](
            field="end",
            found=lambda window: shown(window.end) if window.start == window.end else None,
            allowed="equals the start, which leaves open whether a day or nothing is meant",
            remedy="write 00:00 to 24:00 for a whole day",
            cel="self.start != self.end",
            cel_found="""'"' + self.end + '"'""",
        ),
    )


class ScheduleSpec(Model):
    """When permissions hold."""

    time_zone: ZoneName
    """Time zone of the clock times, a name of the IANA database such as Europe/Berlin or UTC.
    Summer time is followed."""
    windows: Annotated[
        tuple[WindowSpec, ...],
        Items(MAX_WINDOWS, f"give from 1 to {MAX_WINDOWS} windows, or no schedule", minimum=1),
    ]
    """Weekly windows; the permissions hold inside any of them."""


class PermissionsSpec(Model):
    """What an agent may do. Whatever is not listed is not granted."""

    systems: Annotated[
        tuple[SystemPattern, ...],
        Items(
            MAX_SYSTEMS,
            "use wildcards such as erp.*, or split the agent",
            list_type="set",
        ),
    ] = ()
    """Systems, as dotted lower-case names. `erp.*` covers every name beneath erp at any depth, but
    not erp itself; `*` covers everything. Empty: none."""
    operations: Annotated[
        tuple[OperationName, ...],
        Items(MAX_OPERATIONS, "split the agent", list_type="set"),
    ] = ()
    """Operations on these systems: list, search, read, create, update, delete, execute, approve,
    transfer, configure, grant, or names that the AgentClass defines. Empty: none."""
    schedule: ScheduleSpec | None = None
    """When the permissions hold. Absent: always."""
    compliance: Annotated[
        tuple[ComplianceTag, ...],
        Items(MAX_COMPLIANCE, "split the agent", list_type="set"),
    ] = ()
    """Compliance regimes whose data the agent may touch, as tags such as gdpr. Empty: none."""
