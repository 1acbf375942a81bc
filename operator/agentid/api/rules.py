"""Rules between fields, each stated once: as Python for the parser, as CEL for the API server.

The Python side is the authority. `tests/api/data/refused.yaml` is held against both, the parser
and a real API server, which have to refuse the same in the same words.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Rule", "Transition", "cel_string"]

Subject = TypeVar("Subject")


def cel_string(text: str) -> str:
    """Write a text as a CEL string literal."""
    # JSON's escapes are a subset of CEL's.
    return json.dumps(text, ensure_ascii=False)


# Not slotted: Python 3.11 cannot call Rule[Subject](...) on a class that is frozen and slotted.
@dataclass(frozen=True)
class Rule(Generic[Subject]):
    """What has to hold between the fields of one object.

    Attributes:
        field: The field to blame, relative to the object: `renewal.renewBefore`.
        found: Returns what stands there if the rule is broken, None if it holds.
        allowed: As in `Violation`.
        remedy: As in `Violation`.
        cel: The same condition in CEL over `self`; true if the rule holds.
        cel_found: What `found` returns, or the first of it, as a CEL expression of type string;
            evaluated only where the rule is broken. Never a join: the API server cannot bound its
            cost. Empty if the message can do without.
        blames_field: Whether the API server can blame `field`. It cannot for metadata, of which
            a schema states nothing: then the message has to name it.
    """

    field: str
    found: Callable[[Subject], str | None]
    allowed: str
    remedy: str
    cel: str
    cel_found: str = ""
    blames_field: bool = True

    def validation(self) -> dict[str, object]:
        """The rule as an entry of `x-kubernetes-validations`."""
        subject = "" if self.blames_field else f"{self.field}: "
        message = f"{self.allowed}; {self.remedy}"
        entry: dict[str, object] = {"rule": self.cel, "message": subject + message}
        if self.cel_found:
            prefix = f"{cel_string(subject)} + " if subject else ""
            entry["messageExpression"] = f"{prefix}{self.cel_found} + {cel_string(f' {message}')}"
        if self.blames_field:
            entry["fieldPath"] = f".{self.field}"
        return entry


@dataclass(frozen=True, slots=True)
class Transition:
    """What has to hold between the old and the new value of a field; only the API server sees both.

    Attributes:
        cel: The condition in CEL over `self` and `oldSelf`.
        message: The limit and the remedy, as in `Violation`.
    """

    cel: str
    message: str

    def validation(self) -> dict[str, object]:
        """The rule as an entry of `x-kubernetes-validations`."""
        return {"rule": self.cel, "message": self.message}
