"""What a check says."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Finding", "Verdict"]


class Verdict(StrEnum):
    """How bad it is."""

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
        verdict: How it is.
        about: What it is about, in a few words.
        found: What was found, in a sentence.
        remedy: How to mend it; empty where there is nothing to mend.
    """

    verdict: Verdict
    about: str
    found: str
    remedy: str = ""

    def to_json(self) -> dict[str, str]:
        """The same for programs."""
        return {
            "verdict": self.verdict.value,
            "about": self.about,
            "found": self.found,
            "remedy": self.remedy,
        }
