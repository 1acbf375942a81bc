"""A pass that could not be completed, in the words of a condition."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentid.errors import AgentIdError

if TYPE_CHECKING:
    from datetime import timedelta

    from agentid.api.conditions import Reason

__all__ = ["PassError"]


class PassError(AgentIdError):
    """One step of a pass failed, and what the user is told about it.

    Attributes:
        reason: For the conditions.
        stalled: Whether trying again does not help before something changes.
        retry_after: How long the other side asked us to wait, if it did.
    """

    def __init__(
        self,
        reason: Reason,
        message: str,
        *,
        stalled: bool = False,
        retry_after: timedelta | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.stalled = stalled
        self.retry_after = retry_after
