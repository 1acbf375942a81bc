"""The closed vocabularies of the API, each with its meaning and its order."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

__all__ = [
    "OPERATIONS",
    "AccessPrivileges",
    "DecisionAuthority",
    "DeliveryMode",
    "Instances",
    "Lifespan",
    "Operation",
    "Ordered",
    "RiskExposure",
    "Tier",
    "Weekday",
]


class Ordered(StrEnum):
    """An enumeration whose members ascend in the order of their definition.

    Compares by rank, not by spelling, and only within the same enumeration.
    """

    @property
    def rank(self) -> int:
        """Position from 0, the lowest."""
        return list(type(self)).index(self)

    def _rank_of(self, other: object) -> int:
        # Not NotImplemented: a string would then be compared by the alphabet.
        if isinstance(other, Ordered) and type(other) is type(self):
            return other.rank
        msg = f"{type(self).__name__} does not compare with {type(other).__name__}"
        raise TypeError(msg)

    def __lt__(self, other: object) -> bool:
        """Whether this member ranks below the other."""
        return self.rank < self._rank_of(other)

    def __le__(self, other: object) -> bool:
        """Whether this member ranks no higher than the other."""
        return self.rank <= self._rank_of(other)

    def __gt__(self, other: object) -> bool:
        """Whether this member ranks above the other."""
        return self.rank > self._rank_of(other)

    def __ge__(self, other: object) -> bool:
        """Whether this member ranks no lower than the other."""
        return self.rank >= self._rank_of(other)


class AccessPrivileges(Ordered):
    """What the agent may do to data and systems."""

    PUBLIC = "Public"
    READ_ONLY = "ReadOnly"
    READ_WRITE = "ReadWrite"
    ADMINISTRATIVE = "Administrative"


class DecisionAuthority(Ordered):
    """How far the agent decides without a person."""

    ADVISORY = "Advisory"
    SUPERVISED = "Supervised"
    BOUNDED = "Bounded"
    AUTONOMOUS = "Autonomous"


class RiskExposure(Ordered):
    """What it costs when the agent errs or is taken over."""

    MINIMAL = "Minimal"
    LIMITED = "Limited"
    SIGNIFICANT = "Significant"
    SEVERE = "Severe"


class Lifespan(Ordered):
    """How long the agent exists."""

    TASK = "Task"
    SESSION = "Session"
    PERSISTENT = "Persistent"


class Tier(Ordered):
    """How strictly an agent's certificate is handled; computed, never declared."""

    LOW = "Low"
    MODERATE = "Moderate"
    HIGH = "High"
    CRITICAL = "Critical"


class Operation(StrEnum):
    """What every class knows an agent may do; a class may define more under other names."""

    LIST = "list"
    SEARCH = "search"
    READ = "read"
    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"
    EXECUTE = "execute"
    APPROVE = "approve"
    TRANSFER = "transfer"
    CONFIGURE = "configure"
    GRANT = "grant"


OPERATIONS: Final = frozenset(operation.value for operation in Operation)
"""The names of the operations that no class has to define."""


class DeliveryMode(StrEnum):
    """The door through which an agent gets its certificate."""

    SECRET = "Secret"  # noqa: S105 (a kind of object, not a password)
    POD_CERTIFICATE = "PodCertificate"
    CSI = "CSI"


class Instances(StrEnum):
    """Whether the pods of an identity share one SPIFFE ID."""

    SHARED = "Shared"
    PER_POD = "PerPod"


class Weekday(StrEnum):
    """A day, as schedules spell it."""

    MON = "Mon"
    TUE = "Tue"
    WED = "Wed"
    THU = "Thu"
    FRI = "Fri"
    SAT = "Sat"
    SUN = "Sun"
