"""A moment to the microsecond, as metav1.MicroTime writes one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

from pydantic import GetCoreSchemaHandler  # noqa: TC002 - pydantic looks at the signature
from pydantic_core import core_schema

from agentid.api.fields import fault

__all__ = ["Moment", "format_moment"]

_REMEDY = "write it as 2026-01-31T12:00:00.000000Z (RFC 3339)"


def format_moment(instant: datetime) -> str:
    """Write an instant as metav1.MicroTime does: RFC 3339, UTC, six digits of a second."""
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@dataclass(frozen=True, slots=True)
class _MicroInstant:
    """A time in RFC 3339, an aware UTC datetime inside, with its fraction of a second."""

    def __get_pydantic_core_schema__(
        self, _source: object, _handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        """Validate with `validate`, write with `format_moment`."""
        return core_schema.no_info_plain_validator_function(
            self.validate,
            serialization=core_schema.plain_serializer_function_ser_schema(
                format_moment, when_used="json"
            ),
        )

    def validate(self, value: object) -> datetime:
        """Return the instant, or raise the fault."""
        try:
            found = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
            if found.tzinfo is not None:
                return found.astimezone(UTC)
        except (ValueError, OverflowError):
            pass
        raise fault(value, "is not a time", _REMEDY)

    def schema(self) -> dict[str, object]:
        """A date-time; its length is bounded by its format."""
        return {"type": "string", "format": "date-time"}


Moment = Annotated[datetime, _MicroInstant()]
