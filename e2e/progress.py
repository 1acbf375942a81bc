"""Says what is being done: one line that renews itself on a terminal, else a line now and then."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["Progress", "say"]

_PLAIN_PERIOD: Final = 30.0
"""Seconds between lines in a log, where a line cannot be renewed."""

_BAR: Final = 30


def say(text: str) -> None:
    """Print one line at once, also where output is buffered."""
    print(text, flush=True)


class Progress:
    """Counts towards a total that is known, roughly, beforehand.

    Args:
        what: What is being done, as the beginning of a line.
        total: The number at which it is done.
    """

    def __init__(self, what: str, total: int) -> None:
        self._what = what
        self._total = max(total, 1)
        self._done = 0
        self._began = self._shown = time.monotonic()
        self._live = sys.stdout.isatty()

    def __enter__(self) -> Self:
        if not self._live:
            say(f"{self._what} …")
        return self

    def step(self) -> None:
        """Count one, and show it if that is due."""
        self._done = min(self._done + 1, self._total)
        self.show()

    def show(self) -> None:
        """Show how far it is."""
        now = time.monotonic()
        if now - self._shown < (0.2 if self._live else _PLAIN_PERIOD):
            return
        self._shown = now
        share = self._done / self._total
        if self._live:
            filled = int(share * _BAR)
            bar = "█" * filled + "·" * (_BAR - filled)
            line = f"\r{self._what} {bar} {share:4.0%}  {now - self._began:4.0f} s "
            print(line, end="", flush=True)
        else:
            say(f"  {share:.0%} after {now - self._began:.0f} s")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        if self._live:
            print("\r\033[K", end="")
        if kind is None:
            say(f"{self._what}: done in {time.monotonic() - self._began:.0f} s")
