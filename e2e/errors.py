"""What stops a command of this package, told in one message."""

from __future__ import annotations

__all__ = ["E2EError"]


class E2EError(Exception):
    """The message says what was found and what to do next; no traceback belongs to it."""
