"""Figures as they are reported: times sorted into percentiles, counters as differences."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prometheus_client.parser import text_string_to_metric_families

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Latency", "Writes", "parse_writes"]

_WRITE_VERBS = frozenset({"POST", "PUT", "PATCH", "APPLY", "DELETE", "DELETECOLLECTION"})
_GROUPS_OF_OTHERS = frozenset({"coordination.k8s.io", "authentication.k8s.io"})
"""Leases and tokens: they cost what they cost, whatever the number of objects."""


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
"""Successful write requests by resource, with its subresource behind a slash, and HTTP verb."""


def parse_writes(text: str) -> Writes:
    """Count the writes in the API server's own metrics (`apiserver_request_total`).

    Dry runs, refused requests, Leases and tokens are left out.
    """
    found: Writes = {}
    for family in text_string_to_metric_families(text):
        if family.name != "apiserver_request":
            continue
        for sample in family.samples:
            labels = sample.labels
            if sample.name != "apiserver_request_total" or not _counts(labels):
                continue
            resource = "/".join(filter(None, (labels["resource"], labels.get("subresource"))))
            key = resource, labels["verb"]
            found[key] = found.get(key, 0) + int(sample.value)
    return found


def _counts(labels: Mapping[str, str]) -> bool:
    return (
        labels["verb"] in _WRITE_VERBS
        and labels["code"].startswith("2")
        and not labels.get("dry_run")
        and labels.get("group") not in _GROUPS_OF_OTHERS
    )
