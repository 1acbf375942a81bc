"""What a field may hold: one marker per sort of value, for the parser and for the CRD alike.

A marker stands in `Annotated[type, marker]`. Pydantic asks it to validate; `agentid.api.crd` asks
it for its part of the schema. So a bound is written down once. It is one list of markers, and grows
with the sorts of values.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Literal, Protocol, runtime_checkable

from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError, core_schema

from agentid.api.duration import (
    DURATION_PATTERN,
    MAX_DURATION_LENGTH,
    format_duration,
    parse_duration,
)
from agentid.api.rules import Transition, cel_string
from agentid.api.violation import shown
from agentid.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pydantic import GetCoreSchemaHandler

__all__ = [
    "FAULT",
    "Generation",
    "Instant",
    "Items",
    "Marker",
    "Number",
    "Prose",
    "Span",
    "Text",
    "Timestamp",
    "fault",
    "format_time",
    "parse_time",
    "time_in",
]

FAULT = "agentid_fault"
"""The type of a pydantic error whose context holds found, allowed and remedy."""


@runtime_checkable
class Marker(Protocol):
    """Says in the terms of a CRD what the field may hold."""

    def schema(self) -> dict[str, object]:
        """The keywords that this marker adds to the field's schema."""


def fault(value: object, allowed: str, remedy: str) -> PydanticCustomError:
    """Make the error that the parser turns into a `Violation`."""
    context = {"found": shown(value), "allowed": allowed, "remedy": remedy}
    return PydanticCustomError(FAULT, "{found} {allowed}; {remedy}", context)


def re2(pattern: str) -> str:
    """Spell a Python pattern for RE2, anchored at both ends as `fullmatch` is."""
    spelled = re.sub(r"\\u([0-9a-f]{4})", r"\\x{\1}", pattern)
    return f"^(?:{spelled})$"


@dataclass(frozen=True, slots=True)
class Text:
    r"""A string of one syntax.

    The pattern has to mean the same in Python and in RE2: ASCII classes and ranges only, no
    look-around, no `\d` or `\w`. What people write is checked by a CEL rule, since the message of
    the schema's `pattern` is the bare expression; what agentid writes into a status, at every
    issuance, by the cheaper `pattern`.

    Attributes:
        pattern: What the whole string has to match.
        max_length: In characters.
        allowed: As in `Violation`, for a string that does not match.
        remedy: As in `Violation`, for every fault.
        transition: What has to hold between old and new value, if anything.
        but_not: What the whole string must not match, for want of look-ahead; empty for nothing.
        by_people: Whether people write it, and need the message.
        check: A further check that CEL cannot express; raises InputError. What it alone refuses
            should be rare: the user learns of it in a condition, not from the API server.
    """

    pattern: str
    max_length: int
    allowed: str
    remedy: str
    transition: Transition | None = None
    but_not: str = ""
    by_people: bool = True
    check: Callable[[str], object] | None = None

    def __get_pydantic_core_schema__(
        self, _source: object, _handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        """Validate with `validate`, and nothing else."""
        return core_schema.no_info_plain_validator_function(self.validate)

    def validate(self, value: object) -> str:
        """Return the value if it is such a string, or raise the fault."""
        if not isinstance(value, str):
            raise fault(value, "is not a string", self.remedy)
        if not value:
            raise fault(value, "is empty", self.remedy)
        if len(value) > self.max_length:
            allowed = f"has {len(value)} characters, above the limit of {self.max_length}"
            raise fault(value, allowed, self.remedy)
        if not self.matches(value) or not self._passes_check(value):
            raise fault(value, self.allowed, self.remedy)
        return value

    def matches(self, value: str) -> bool:
        """Whether the syntax alone, which is all that the API server sees, accepts the string."""
        return re.fullmatch(self.pattern, value) is not None and not (
            self.but_not and re.fullmatch(self.but_not, value)
        )

    def _passes_check(self, value: str) -> bool:
        if self.check is None:
            return True
        try:
            self.check(value)
        except InputError:
            return False
        return True

    def schema(self) -> dict[str, object]:
        """A bounded string with its syntax."""
        bounds: dict[str, object] = {"type": "string", "minLength": 1, "maxLength": self.max_length}
        if not self.by_people:
            return bounds | {"pattern": re2(self.pattern)}
        syntax = f"self.matches({cel_string(re2(self.pattern))})"
        if self.but_not:
            syntax += f" && !self.matches({cel_string(re2(self.but_not))})"
        rules: list[dict[str, object]] = [
            {
                "rule": syntax,
                "message": f"{self.allowed}; {self.remedy}",
            }
        ]
        if self.transition is not None:
            rules.append(self.transition.validation())
        return bounds | {"x-kubernetes-validations": rules}


@dataclass(frozen=True, slots=True)
class Prose:
    """A string of any syntax that agentid itself writes for people; it may be empty.

    Attributes:
        max_length: In characters.
    """

    max_length: int

    def __get_pydantic_core_schema__(
        self, _source: object, _handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        """Validate type and length."""
        return core_schema.str_schema(strict=True, max_length=self.max_length)

    def schema(self) -> dict[str, object]:
        """A bounded string."""
        return {"type": "string", "maxLength": self.max_length}


@dataclass(frozen=True, slots=True)
class Span:
    """A duration in Go's notation, a timedelta inside.

    Attributes:
        minimum: The shortest allowed; both ends count.
        maximum: The longest allowed.
    """

    minimum: timedelta
    maximum: timedelta

    @property
    def _bounds(self) -> tuple[str, str]:
        return format_duration(self.minimum), format_duration(self.maximum)

    @property
    def _outside(self) -> tuple[str, str]:
        low, high = self._bounds
        return f"is outside {low} to {high}", "choose a duration within these bounds"

    def __get_pydantic_core_schema__(
        self, _source: object, _handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        """Validate with `validate`, write with `format_duration`."""
        return core_schema.no_info_plain_validator_function(
            self.validate,
            serialization=core_schema.plain_serializer_function_ser_schema(
                format_duration, when_used="json"
            ),
        )

    def validate(self, value: object) -> timedelta:
        """Return the duration if it is within bounds, or raise the fault."""
        if isinstance(value, timedelta):
            duration = value
        else:
            try:
                duration = parse_duration(value if isinstance(value, str) else "")
            except InputError:
                raise fault(value, *_NOT_A_DURATION) from None
        if not self.minimum <= duration <= self.maximum:
            found = format_duration(duration) if isinstance(value, timedelta) else value
            raise fault(found, *self._outside)
        return duration

    def schema(self) -> dict[str, object]:
        """A short string, a rule for its syntax and one for its bounds."""
        low, high = self._bounds
        syntax = f"self.matches({cel_string(re2(DURATION_PATTERN))})"
        # A text that is no duration fails the first rule alone: duration() would raise on it.
        within = (
            f"!{syntax} || (duration(self) >= duration('{low}')"
            f" && duration(self) <= duration('{high}'))"
        )
        return {
            "type": "string",
            "minLength": 2,
            "maxLength": MAX_DURATION_LENGTH,
            "x-kubernetes-validations": [
                {"rule": syntax, "message": "; ".join(_NOT_A_DURATION)},
                {"rule": within, "message": "; ".join(self._outside)},
            ],
        }


_NOT_A_DURATION = (
    "is not a duration",
    "write whole hours, minutes and seconds such as 1h30m, 45m or 90s",
)


@dataclass(frozen=True, slots=True)
class Number:
    """A whole number within bounds that both count."""

    minimum: int
    maximum: int

    def __get_pydantic_core_schema__(
        self, _source: object, _handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        """Validate strictly: neither a bool nor a string of digits is a number."""
        return core_schema.int_schema(strict=True, ge=self.minimum, le=self.maximum)

    def schema(self) -> dict[str, object]:
        """A bounded 64-bit integer."""
        return {
            "type": "integer",
            "format": "int64",
            "minimum": self.minimum,
            "maximum": self.maximum,
        }


@dataclass(frozen=True, slots=True)
class Items:
    """A list, a tuple inside.

    Attributes:
        maximum: The most entries.
        remedy: As in `Violation`, for a list that is too long or too short.
        minimum: The fewest entries.
        list_type: How the API server merges and compares: `set` refuses duplicates, `map` refuses
            two entries of one key, `atomic` is replaced as a whole.
        keys: For `map`: the fields that identify an entry, as the model spells them.
    """

    maximum: int
    remedy: str = "shorten the list"
    minimum: int = 0
    list_type: Literal["set", "map", "atomic"] = "atomic"
    keys: tuple[str, ...] = field(default=())

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        """Bound the list before its entries are looked at, then refuse duplicates."""
        return core_schema.no_info_wrap_validator_function(self._validate, handler(source))

    def _validate(
        self, value: object, entries: core_schema.ValidatorFunctionWrapHandler
    ) -> tuple[object, ...]:
        if not isinstance(value, list | tuple):
            raise fault(value, "is not a list", self.remedy)
        if len(value) > self.maximum:
            raise fault(value, f"is above the limit of {self.maximum} entries", self.remedy)
        if len(value) < self.minimum:
            raise fault(value, f"is below the minimum of {self.minimum} entries", self.remedy)
        parsed: tuple[object, ...] = entries(list(value))
        if self.list_type != "atomic":
            self._refuse_duplicates(parsed)
        return parsed

    def _refuse_duplicates(self, parsed: tuple[object, ...]) -> None:
        seen: set[object] = set()
        for entry in parsed:
            key = tuple(getattr(entry, name) for name in self.keys) if self.keys else entry
            if key in seen:
                twice = key[0] if isinstance(key, tuple) else key
                raise fault(str(twice), "is listed twice", "remove one of the two")
            seen.add(key)

    def schema(self) -> dict[str, object]:
        """A bounded array; the schema of its entries comes from their type."""
        bounds: dict[str, object] = {"type": "array", "maxItems": self.maximum}
        if self.minimum:
            bounds["minItems"] = self.minimum
        bounds["x-kubernetes-list-type"] = self.list_type
        if self.keys:
            bounds["x-kubernetes-list-map-keys"] = [to_camel(key) for key in self.keys]
        return bounds


Generation = Annotated[int, Number(0, 2**53 - 1)]
"""A metadata.generation. The bounds of a schema are floating point numbers: beyond 2^53 the API
server would hold another number than the file does, and every apply would find a difference."""


def parse_time(text: str) -> datetime:
    """Read an RFC 3339 time.

    Returns:
        The instant, aware, in UTC; a fraction of a second is dropped.

    Raises:
        InputError: The text is not such a time, or has no offset.
    """
    msg = f"{shown(text)} is not a time; write it as 2026-01-31T12:00:00Z (RFC 3339)"
    if re.match(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d", text, re.ASCII) is None:
        raise InputError(msg)
    try:
        instant = datetime.fromisoformat(text)
        if instant.tzinfo is None:
            raise InputError(msg)
        return instant.astimezone(UTC).replace(microsecond=0)
    except (ValueError, OverflowError):
        raise InputError(msg) from None


def time_in(annotations: Mapping[str, str], name: str) -> datetime | None:
    """The time that an annotation gives, None if there is none that can be read."""
    text = annotations.get(name)
    if text is None:
        return None
    try:
        return parse_time(text)
    except InputError:
        return None


def format_time(instant: datetime) -> str:
    """Write an instant as Kubernetes does: RFC 3339, UTC, whole seconds."""
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True, slots=True)
class Instant:
    """A time in RFC 3339, an aware UTC datetime of whole seconds inside."""

    def __get_pydantic_core_schema__(
        self, _source: object, _handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        """Validate with `validate`, write with `format_time`."""
        return core_schema.no_info_plain_validator_function(
            self.validate,
            serialization=core_schema.plain_serializer_function_ser_schema(
                format_time, when_used="json"
            ),
        )

    def validate(self, value: object) -> datetime:
        """Return the instant, or raise the fault."""
        if isinstance(value, datetime) and value.tzinfo is not None:
            return value.astimezone(UTC).replace(microsecond=0)
        try:
            return parse_time(value if isinstance(value, str) else "")
        except InputError:
            remedy = "write it as 2026-01-31T12:00:00Z (RFC 3339)"
            raise fault(value, "is not a time", remedy) from None

    def schema(self) -> dict[str, object]:
        """A date-time; its length is bounded by its format."""
        return {"type": "string", "format": "date-time"}


Timestamp = Annotated[datetime, Instant()]
