"""Fields of a spec that this release does not know.

A later release, or a typing error, put them there. The API server drops what its own definition of
the kind does not have. So what is found here is in the definition that is installed, or in a file
that no API server has seen yet.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import get_args

from agentid.api.model import Model, api_name

__all__ = ["unknown_fields"]


def unknown_fields(model: type[Model], body: object, where: str = "spec") -> tuple[str, ...]:
    """Paths of the fields that a model has no place for, such as `spec.select.nodes`.

    Args:
        model: Of what is looked at.
        body: As the API server or a file holds it.
        where: Path of the body.
    """
    return tuple(_unknown(model, body, where))


def _unknown(model: type[Model], body: object, where: str) -> Iterator[str]:
    if not isinstance(body, Mapping):
        return  # the parser says what is wrong with it
    fields = {
        field.alias or api_name(name): field.annotation
        for name, field in model.model_fields.items()
    }
    for name, value in body.items():
        path = f"{where}.{name}"
        if name not in fields:
            yield path
        elif (inner := _model_in(fields[name])) is None:
            continue
        elif isinstance(value, list):
            for at, item in enumerate(value):
                yield from _unknown(inner, item, f"{path}[{at}]")
        else:
            yield from _unknown(inner, value, path)


def _model_in(annotation: object) -> type[Model] | None:
    """The model that a field holds, by itself or in a list; None if it holds none."""
    if isinstance(annotation, type) and issubclass(annotation, Model):
        return annotation
    return next((found for each in get_args(annotation) if (found := _model_in(each))), None)
