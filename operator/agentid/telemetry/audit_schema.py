"""The JSON Schema of an audit event, generated from its classes."""

from __future__ import annotations

import dataclasses
import inspect
import re
from typing import TYPE_CHECKING, Final

from pydantic import TypeAdapter

from agentid.api.model import api_name
from agentid.telemetry import audit

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["audit_schema"]

_PARTS: Final = (
    audit.Actor,
    audit.AuditEvent,
    audit.Certificate,
    audit.Counts,
    audit.ObjectRef,
    audit.Token,
)

_CLAUSE: Final = re.compile(r"^ {4}(\w+): (.*(?:\n {8,}.*)*)", re.MULTILINE)


def audit_schema() -> dict[str, object]:
    """Return the schema of one line of the stream, draft 2020-12; nothing else may stand in it."""
    schema = TypeAdapter(audit.AuditEvent).json_schema()
    definitions = schema.pop("$defs")
    definitions["AuditEvent"] = schema
    for part in _PARTS:
        _close(definitions[part.__name__], dict(_described(part)))
    definitions["Decision"]["description"] = "What was decided."
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"https://{audit.SCHEMA}",
        "$ref": "#/$defs/AuditEvent",
        "$defs": dict(sorted(definitions.items())),
    }


def _close(schema: dict[str, object], described: dict[str, str]) -> None:
    """Spell the fields as they are written, say what each is, and allow no other."""
    found = schema["properties"]
    if not isinstance(found, dict):
        raise TypeError(found)
    schema["properties"] = {
        api_name(name): _present(field) | {"description": described[name]}
        for name, field in found.items()
    }
    required = schema.get("required", [])
    schema["required"] = [api_name(name) for name in required] if isinstance(required, list) else []
    schema["additionalProperties"] = False
    schema.pop("title", None)
    schema.pop("description", None)


def _present(field: dict[str, object]) -> dict[str, object]:
    """A field as it is where it is there: what is absent is left out, and never null."""
    kept = {name: value for name, value in field.items() if name not in {"title", "default"}}
    choices = kept.get("anyOf")
    if isinstance(choices, list):
        (only,) = (each for each in choices if each != {"type": "null"})
        del kept["anyOf"]
        kept |= only
    return kept


def _described(part: type) -> Iterator[tuple[str, str]]:
    """What the docstring says of each field."""
    names = {each.name for each in dataclasses.fields(part)}
    for match in _CLAUSE.finditer(inspect.getdoc(part) or ""):
        if match[1] in names:
            yield match[1], " ".join(match[2].split())
