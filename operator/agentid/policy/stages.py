"""How far what signs is in its life."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["Stage"]


class Stage(StrEnum):
    """How far an issuing authority or key is, spelled as in the status of an AgentIssuer."""

    STAGED = "Staged"
    SIGNING = "Signing"
    RETIRED = "Retired"
