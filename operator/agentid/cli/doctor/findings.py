"""What a check says."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Finding", "Severity"]


class Severity(StrEnum):
    """How much it matters."""

    OK = "ok"
    """As it should be."""
    UNKNOWN = "unknown"
    """It could not be looked at."""
    WARNING = "warning"
    """It works, and will not for long or not in every case."""
    PROBLEM = "problem"
    """Something does not work, or is not safe."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        severity: How it is.
        about: What it is about, in a few words.
        found: What was found, in a sentence.
        remedy: How to mend it; empty where there is nothing to mend.
    """

    severity: Severity
    about: str
    found: str
    remedy: str = ""

    def to_json(self) -> dict[str, str]:
        """The same for programs."""
        return {
            "severity": self.severity.value,
            "about": self.about,
            "found": self.found,
            "remedy": self.remedy,
        }
