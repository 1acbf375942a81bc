"""Histograms as Prometheus' text format has them: how many took no longer than a bound."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prometheus_client.parser import text_string_to_metric_families

from e2e.errors import E2EError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Histogram"]


@dataclass(frozen=True, slots=True)
class Histogram:
    """What was counted of one histogram, all series that were asked for added up.

    Attributes:
        name: Of the metric.
        below: How many were no larger than each bound, infinity last; empty before the first.
        sum: Of all that was observed.
    """

    name: str
    below: Mapping[float, int]
    sum: float

    @classmethod
    def parse(cls, text: str, name: str, labels: Mapping[str, str] | None = None) -> Histogram:
        """Read it out of all metrics of a process.

        Args:
            text: The metrics.
            name: Without `_bucket` and `_sum`.
            labels: Which series; by default all.
        """
        # One family in hundreds: parsing them all would take seconds.
        wanted = tuple(f"{name}_{part}" for part in ("bucket", "sum"))
        lines = "\n".join(line for line in text.splitlines() if line.startswith(wanted)) + "\n"
        below: dict[float, int] = {}
        total = 0.0
        for family in text_string_to_metric_families(lines):
            for sample in family.samples:
                if not (labels or {}).items() <= sample.labels.items():
                    continue
                if sample.name == f"{name}_bucket":
                    bound = float(sample.labels["le"])
                    below[bound] = below.get(bound, 0) + int(sample.value)
                elif sample.name == f"{name}_sum":
                    total += sample.value
        return cls(name, dict(sorted(below.items())), total)

    def since(self, before: Histogram) -> Histogram:
        """What came on top of an earlier reading."""
        below = {bound: n - before.below.get(bound, 0) for bound, n in self.below.items()}
        return Histogram(self.name, below, self.sum - before.sum)

    @property
    def count(self) -> int:
        """How many were observed."""
        return self.below.get(math.inf, 0)

    @property
    def mean(self) -> float:
        """Their mean.

        Raises:
            E2EError: There are none.
        """
        return self.sum / self._some()

    def bound(self, share: float) -> float:
        """The lowest bound that at least this share of them is no larger than.

        It is no value that was measured: a histogram knows none. Infinity where they are beyond
        the last bound.

        Raises:
            E2EError: There are none.
        """
        wanted = math.ceil(share * self._some())
        return next(bound for bound, n in self.below.items() if n >= wanted)

    def _some(self) -> int:
        if not self.count:
            msg = f"{self.name} counted nothing; was what it counts ever done?"
            raise E2EError(msg)
        return self.count
