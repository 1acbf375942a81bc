"""Reads objects of the API server as they come, field by field; whatever is odd reads as absent.

The models of `agentid.api` would refuse an object as a whole where one field is wrong, and take a
tenth of a millisecond for each: with 10,000 of them that is a second in which no OCSP question is
answered. A page shows what there is.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ConditionView", "conditions_in", "items_in", "section_in", "text_in", "time_in"]

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ConditionView:
    """A condition, as it is shown.

    Attributes:
        type: Such as `Ready`.
        status: `True`, `False` or `Unknown`.
        reason: In one word.
        message: In sentences.
        since: When the status last changed.
    """

    type: str
    status: str
    reason: str
    message: str
    since: datetime | None


def section_in(body: Mapping[str, object], *path: str) -> Mapping[str, object]:
    """The object at a path, empty if there is none."""
    found: object = body
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def text_in(section: Mapping[str, object], name: str) -> str:
    """A text, empty if there is none."""
    found = section.get(name)
    return found if isinstance(found, str) else ""


def time_in(section: Mapping[str, object], name: str) -> datetime | None:
    """A time with its zone, in UTC; None if there is none."""
    try:
        found = datetime.fromisoformat(text_in(section, name))
    except ValueError:
        return None
    return None if found.tzinfo is None else found.astimezone(UTC)


def items_in(section: Mapping[str, object], name: str) -> Sequence[Mapping[str, object]]:
    """The objects in a list, without what is none."""
    found = section.get(name)
    if not isinstance(found, list):
        return ()
    return [each for each in found if isinstance(each, Mapping)]


def conditions_in(status: Mapping[str, object]) -> tuple[ConditionView, ...]:
    """The conditions of a status, in their order."""
    return tuple(
        ConditionView(
            text_in(each, "type"),
            text_in(each, "status"),
            text_in(each, "reason"),
            text_in(each, "message"),
            time_in(each, "lastTransitionTime"),
        )
        for each in items_in(status, "conditions")
    )
