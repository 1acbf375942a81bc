"""Figures as they are reported: times sorted into percentiles, counters as differences."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from prometheus_client.parser import text_string_to_metric_families

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Counts", "Latency", "Writes"]

_WRITE_VERBS: Final = frozenset({"POST", "PUT", "PATCH", "APPLY", "DELETE", "DELETECOLLECTION"})
_GROUPS_OF_OTHERS: Final = frozenset({"coordination.k8s.io", "authentication.k8s.io"})
"""Leases and tokens: they cost what they cost, whatever the number of objects."""

_METRIC: Final = "apiserver_request_total{"


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds from the beginning of a create until the object was seen Ready.

    Attributes:
        p50: Half of the objects took no longer.
        p99: All but one in a hundred took no longer.
        worst: None took longer.
    """

    p50: float
    p99: float
    worst: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Latency:
        """Sort the samples; there has to be one at least."""
        ordered = sorted(seconds)
        return cls(_rank(ordered, 0.5), _rank(ordered, 0.99), ordered[-1])


def _rank(ordered: Sequence[float], share: float) -> float:
    """The nearest-rank percentile: a value that was measured, never one in between."""
    return ordered[max(math.ceil(share * len(ordered)) - 1, 0)]


Writes = dict[tuple[str, str], int]
"""Write requests by resource, with its subresource behind a slash, and HTTP verb."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Write requests as the API server itself counted them.

    Attributes:
        done: Carried out.
        refused: Answered with an error. They change nothing and cost CPU all the same.
        others: Leases, tokens and dry runs.
    """

    done: Writes = field(default_factory=dict)
    refused: Writes = field(default_factory=dict)
    others: Writes = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> Counts:
        """Read the API server's metrics (`apiserver_request_total`)."""
        found = cls()
        # One family in hundreds: parsing them all would take seconds.
        lines = "\n".join(line for line in text.splitlines() if line.startswith(_METRIC)) + "\n"
        for family in text_string_to_metric_families(lines):
            for sample in family.samples:
                labels = sample.labels
                if labels["verb"] not in _WRITE_VERBS:
                    continue
                resource = "/".join(filter(None, (labels["resource"], labels.get("subresource"))))
                writes, key = found._kind(labels), (resource, labels["verb"])
                writes[key] = writes.get(key, 0) + int(sample.value)
        return found

    def _kind(self, labels: Mapping[str, str]) -> Writes:
        if labels.get("dry_run") or labels.get("group") in _GROUPS_OF_OTHERS:
            return self.others
        return self.done if labels["code"].startswith("2") else self.refused

    def since(self, before: Counts) -> Counts:
        """What came on top of an earlier reading."""
        return Counts(
            _difference(before.done, self.done),
            _difference(before.refused, self.refused),
            _difference(before.others, self.others),
        )

    def of(self, resource: str) -> int:
        """All writes that were carried out on a resource."""
        return sum(count for (name, _), count in self.done.items() if name == resource)


def _difference(before: Writes, after: Writes) -> Writes:
    return {key: n - before.get(key, 0) for key, n in after.items() if n != before.get(key, 0)}
