"""Selecting by labels, as Kubernetes does it: `matchLabels` and `matchExpressions`, all of them.

Unlike in Kubernetes an empty selector is refused: there it selects everything.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, ClassVar, Final

from pydantic_core import core_schema

from agentid.api.fields import Items, Text, fault
from agentid.api.model import Model
from agentid.api.rules import Rule
from agentid.api.violation import shown

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler

__all__ = ["LabelOperator", "LabelRequirement", "LabelSelector"]

MAX_LABELS: Final = 16
MAX_EXPRESSIONS: Final = 16
MAX_VALUES: Final = 32

_NAME: Final = "[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_PREFIX: Final = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
_KEY: Final = f"({_PREFIX}/)?{_NAME}"
_KEY_ALLOWED: Final = "is not the key of a label"
_KEY_REMEDY: Final = "write one such as team or example.com/team"

LabelKey = Annotated[str, Text(_KEY, 317, _KEY_ALLOWED, _KEY_REMEDY)]

LabelValue = Annotated[
    str,
    Text(
        _NAME,
        63,
        "is not the value of a label: letters, digits, '-', '_' and '.', a letter or digit at both "
        "ends",
        "write a value of at most 63 characters, or ask for the key with operator Exists",
    ),
]


@dataclass(frozen=True, slots=True)
class Entries:
    """A map from label keys to values, a dictionary inside.

    The API server checks the values and the number of entries. It cannot bound the cost of a rule
    over the keys, so a malformed key is found by the parser alone.

    Attributes:
        maximum: The most entries; at least one is asked for.
    """

    maximum: int

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        """Bound the map and check its keys before its values are looked at."""
        return core_schema.no_info_wrap_validator_function(self._validate, handler(source))

    def _validate(
        self, value: object, entries: core_schema.ValidatorFunctionWrapHandler
    ) -> Mapping[str, str]:
        if not isinstance(value, Mapping):
            raise fault(value, "is not a map", "write labels as key: value beneath it")
        if not value:
            raise fault(value, "is empty", "write labels as key: value, or leave it out")
        if len(value) > self.maximum:
            found = f"a map of {len(value)}"
            raise fault(found, f"is above the limit of {self.maximum} entries", "shorten it")
        for key in value:
            if not isinstance(key, str) or re.fullmatch(_KEY, key) is None:
                raise fault(key, _KEY_ALLOWED, _KEY_REMEDY)
        parsed: Mapping[str, str] = entries(dict(value))
        return parsed

    def schema(self) -> dict[str, object]:
        """A bounded map; the schema of its values comes from their type."""
        return {"minProperties": 1, "maxProperties": self.maximum}


class LabelOperator(StrEnum):
    """How a label is compared."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"


_WITH_VALUES: Final = frozenset({LabelOperator.IN, LabelOperator.NOT_IN})


class LabelRequirement(Model):
    """What one label has to be."""

    key: LabelKey
    """Key of the label."""
    operator: LabelOperator
    """In and NotIn compare with the values; Exists and DoesNotExist take none. NotIn is true of an
    object without the label."""
    values: Annotated[
        tuple[LabelValue, ...],
        Items(MAX_VALUES, f"give from 1 to {MAX_VALUES} values", minimum=1, list_type="set"),
    ] = ()
    """Values to compare with."""

    rules: ClassVar = (
        Rule["LabelRequirement"](
            field="values",
            found=lambda it: "" if it.operator in _WITH_VALUES and not it.values else None,
            allowed="are missing, and operators In and NotIn compare with them",
            remedy="add values, or use Exists",
            cel="!(self.operator in ['In', 'NotIn']) || has(self.values)",
        ),
        Rule["LabelRequirement"](
            field="values",
            found=lambda it: shown(it.values) if it.operator not in _WITH_VALUES and it.values
            else None,
            allowed="have no meaning with operators Exists and DoesNotExist",
            remedy="remove them, or use In",
            cel="self.operator in ['In', 'NotIn'] || !has(self.values)",
        ),
    )  # fmt: skip

    def holds(self, labels: Mapping[str, str]) -> bool:
        """Whether an object with these labels meets it."""
        found = labels.get(self.key)
        match self.operator:
            case LabelOperator.IN:
                return found in self.values
            case LabelOperator.NOT_IN:
                return found not in self.values
            case LabelOperator.EXISTS:
                return found is not None
            case LabelOperator.DOES_NOT_EXIST:
                return found is None

    @property
    def query(self) -> str:
        """The requirement as a `labelSelector` parameter spells it."""
        values = ",".join(self.values)
        match self.operator:
            case LabelOperator.IN:
                return f"{self.key} in ({values})"
            case LabelOperator.NOT_IN:
                return f"{self.key} notin ({values})"
            case LabelOperator.EXISTS:
                return self.key
            case LabelOperator.DOES_NOT_EXIST:
                return f"!{self.key}"


class LabelSelector(Model):
    """Which labels an object has to have; everything that is written has to hold."""

    match_labels: Annotated[dict[str, LabelValue], Entries(MAX_LABELS)] | None = None
    """Labels that have to be there with exactly these values."""
    match_expressions: Annotated[
        tuple[LabelRequirement, ...],
        Items(MAX_EXPRESSIONS, "shorten the list", minimum=1),
    ] = ()
    """What else has to hold of labels."""

    @property
    def is_empty(self) -> bool:
        """Whether it says nothing."""
        return not self.match_labels and not self.match_expressions

    def selects(self, labels: Mapping[str, str]) -> bool:
        """Whether an object with these labels is selected; never by an empty selector."""
        return (
            not self.is_empty
            and all(labels.get(key) == value for key, value in (self.match_labels or {}).items())
            and all(each.holds(labels) for each in self.match_expressions)
        )

    @property
    def query(self) -> str:
        """The selector as a `labelSelector` parameter of a request spells it."""
        equal = [f"{key}={value}" for key, value in (self.match_labels or {}).items()]
        return ",".join([*equal, *(each.query for each in self.match_expressions)])
