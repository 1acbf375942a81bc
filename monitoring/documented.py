"""The metrics as their pages document them, which tests hold against what is served."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["ROOT", "Family", "documented", "unknown_in"]

ROOT: Final = Path(__file__).parent.parent

_PAGES: Final = (
    "docs/reference/admission.md",
    "docs/reference/metrics.md",
    "docs/reference/node.md",
    "docs/reference/responder.md",
)
_ROW: Final = re.compile(r"^\| `(agentid_\w+)` \| (\w+) \|([^|]*)\|", re.MULTILINE)
_NAME: Final = re.compile(r"\bagentid_\w+")
_SELECTOR: Final = re.compile(r"(agentid_\w+)\{([^}]*)\}")
_LABEL: Final = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")
_GROUPING: Final = re.compile(r"\b(?:by|on|without|ignoring)\s*\(([^)]*)\)")

_OF_SCRAPES: Final = frozenset({"instance", "job", "le"})
"""Labels that Prometheus adds, and that of buckets."""


@dataclass(frozen=True, slots=True)
class Family:
    """A metric by what a query has to know of it.

    Attributes:
        kind: counter, gauge or histogram.
        labels: Their names.
    """

    kind: str
    labels: frozenset[str]


def documented() -> dict[str, Family]:
    """All metrics of all processes, by the name that stands in the pages."""
    return {
        name: Family(kind, frozenset(re.findall(r"`(\w+)`", labels)))
        for page in _PAGES
        for name, kind, labels in _ROW.findall((ROOT / page).read_text(encoding="utf-8"))
    }


def unknown_in(query: str) -> list[str]:
    """What a query names that no metric has: a sentence each, none if all is well."""
    families, faults, labels = documented(), [], set(_OF_SCRAPES)
    for name in _NAME.findall(query):
        family = families.get(_base(name, families))
        if family is None:
            faults.append(f"{name} is no metric")
        elif family.kind == "histogram" and name in families:
            faults.append(f"{name} is a histogram; take its _bucket, _sum or _count")
        else:
            labels |= family.labels
    for name, selector in _SELECTOR.findall(query):
        family = families.get(_base(name, families))
        known = _OF_SCRAPES if family is None else family.labels | _OF_SCRAPES
        asked = _LABEL.findall(re.sub(r'"[^"]*"', "", selector))
        faults += [f"{name} has no label {label}" for label in asked if label not in known]
    for group in _GROUPING.findall(query):
        faults += [
            f"nothing in it has a label {label.strip()}"
            for label in group.split(",")
            if label.strip() and label.strip() not in labels
        ]
    return faults


def _base(name: str, families: dict[str, Family]) -> str:
    """The name of a histogram for one of its series; any other as it is."""
    for suffix in ("_bucket", "_sum", "_count"):
        base = name.removesuffix(suffix)
        if base != name and base in families and families[base].kind == "histogram":
            return base
    return name
