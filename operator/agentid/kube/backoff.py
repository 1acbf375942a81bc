"""How long to leave alone what failed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

__all__ = ["Backoff"]


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long a key that failed is left alone: full jitter, up to a bound that doubles.

    Full jitter (any time up to the bound) spreads keys that failed together, such as all of them
    while the API server was away, better than a bound with a little noise does.

    Attributes:
        base: The bound after the first failure.
        ceiling: The bound never exceeds it.
    """

    base: timedelta = timedelta(seconds=0.5)
    ceiling: timedelta = timedelta(minutes=5)

    def seconds(self, failures: int, share: float, at_least: timedelta | None = None) -> float:
        """Return the seconds to wait.

        Args:
            failures: Failures in a row, this one included; 1 or more.
            share: A random number in [0, 1).
            at_least: How long the other side asked to be left alone. Up to a tenth is added, so
                that all who were told the same do not come at the same moment.
        """
        # 2**32 half-seconds is more than any ceiling; without a limit the power grows for ever.
        doubled = self.base.total_seconds() * 2.0 ** min(failures - 1, 32)
        wait = share * min(doubled, self.ceiling.total_seconds())
        if at_least is not None:
            wait = max(wait, at_least.total_seconds() * (1 + share / 10))
        return wait
