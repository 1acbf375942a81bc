"""The structural OpenAPI schema of a model, as a CRD takes it.

A CRD's schema knows no `$ref` and next to no `anyOf`, and everything in it has to have a type, so
pydantic's own JSON Schema would have to be taken apart again. This walks the models instead: the
type gives the shape, the marker in `Annotated` the bounds, the docstring the description, and the
rules of a model its CEL.
"""

from __future__ import annotations

import inspect
import types
import typing
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

from agentid.api.duration import format_duration
from agentid.api.fields import Marker
from agentid.api.model import Model
from agentid.api.rules import Transition
from agentid.errors import InternalError

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

__all__ = ["Schema", "field_schema", "schema_of"]

Schema = dict[str, object]


def schema_of(model: type[Model]) -> Schema:
    """Describe a model, its fields in the order of their definition.

    Raises:
        InternalError: A field has no description, or no bound that a marker or its type states.
    """
    schema: Schema = {"type": "object"}
    required: list[str] = []
    properties: dict[str, Schema] = {}
    for name, field in model.model_fields.items():
        spelled = field.alias or name
        properties[spelled] = field_schema(field, f"{model.__name__}.{name}")
        if field.is_required():
            required.append(spelled)
    if required:
        schema["required"] = required
    schema["properties"] = properties
    rules = [rule.validation() for rule in model.rules]
    if rules:
        schema["x-kubernetes-validations"] = rules
    return schema


def field_schema(field: FieldInfo, where: str) -> Schema:
    """Describe one field.

    Args:
        field: The field of a model.
        where: What a complaint should call it.

    Raises:
        InternalError: It, or a field beneath it, has no description or no bound.
    """
    if not field.description:
        msg = f"{where} has no docstring"
        raise InternalError(msg)
    schema: Schema = {"description": inspect.cleandoc(field.description).replace("\n", " ")}
    schema |= _type_schema(field.annotation, tuple(field.metadata), where)
    if not field.is_required():
        default = _default(field.get_default(call_default_factory=True))
        if default is not None:
            schema["default"] = default
    return schema


def _type_schema(kind: object, metadata: tuple[object, ...], where: str) -> Schema:
    """Describe a type, and lay over it what its markers say."""
    schema = _bare_schema(kind, where)
    for each in metadata:
        if isinstance(each, Marker):
            schema |= each.schema()
        elif isinstance(each, Transition):
            rules = schema.get("x-kubernetes-validations", [])
            schema["x-kubernetes-validations"] = [
                *(rules if isinstance(rules, list) else []),
                each.validation(),
            ]
    bounded = {"enum", "format", "maxLength", "maxItems", "maximum", "properties", "maxProperties"}
    if schema.get("type") != "boolean" and not bounded & schema.keys():
        msg = f"{where} has no bound"
        raise InternalError(msg)
    return schema


def _bare_schema(kind: object, where: str) -> Schema:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        return _type_schema(arguments[0], arguments[1:], where)
    if origin in {types.UnionType, typing.Union}:
        (member,) = (each for each in arguments if each is not type(None))
        # Absent and null are the same to the parser; the API server drops nulls by itself.
        return _type_schema(member, (), where)
    if origin in _CONTAINERS:
        name, entries, place = _CONTAINERS[origin]
        return {"type": name, entries: _type_schema(arguments[place], (), where)}
    if isinstance(kind, type):
        if issubclass(kind, Model):
            return schema_of(kind)
        if issubclass(kind, StrEnum):
            return {"type": "string", "enum": [str(member) for member in kind]}
        if kind in _SCALARS:
            return {"type": _SCALARS[kind]}
    msg = f"{where} is of a type that a schema cannot state: {kind!r}"
    raise InternalError(msg)


_CONTAINERS: dict[object, tuple[str, str, int]] = {
    tuple: ("array", "items", 0),
    dict: ("object", "additionalProperties", 1),
}
"""Type, keyword for the entries, and which argument of the type their schema comes from."""

_SCALARS: dict[object, str] = {
    bool: "boolean",
    int: "integer",
    str: "string",
    datetime: "string",
    timedelta: "string",
}


def _default(value: Any) -> object:  # noqa: ANN401 (a default may be of any type)
    """Write a default as JSON; None if the schema should not state one."""
    if value is None or value == ():
        # An empty list that is stored says nothing that its absence does not say.
        return None
    match value:
        case Model():
            # Only what differs from the defaults of its own fields, which the API server adds.
            return value.model_dump(
                mode="json", by_alias=True, exclude_defaults=True, exclude_none=True
            )
        case timedelta():
            return format_duration(value)
        case tuple():
            return [_default(each) for each in value]
        case StrEnum():
            return str(value)
        case _:
            return value
