"""The converter refuses models that would make a weak schema."""

from __future__ import annotations

from typing import Annotated

import pytest

from agentid.api.fields import Items, Prose
from agentid.api.model import Model
from agentid.api.schema import schema_of
from agentid.errors import InternalError


class Unbounded(Model):
    """A model with a string of any length."""

    text: str
    """Text."""


class Undescribed(Model):
    """A model with a field that nobody explains."""

    text: Annotated[str, Prose(5)]


class Unlimited(Model):
    """A model with a list of any length."""

    texts: tuple[Annotated[str, Prose(5)], ...]
    """Texts."""


class Odd(Model):
    """A model with a type that has no schema."""

    number: float
    """Number."""


class Good(Model):
    """A model that says everything."""

    texts: Annotated[tuple[Annotated[str, Prose(5)], ...], Items(3, minimum=1)]
    """Texts of
    two lines."""
    other: Annotated[str, Prose(5)] | None = None
    """Other."""


@pytest.mark.parametrize(
    ("model", "message"),
    [
        pytest.param(Unbounded, r"Unbounded\.text has no bound", id="unbounded"),
        pytest.param(Undescribed, r"Undescribed\.text has no docstring", id="undescribed"),
        pytest.param(Unlimited, r"Unlimited\.texts has no bound", id="unlimited"),
        pytest.param(Odd, r"Odd\.number is of a type that a schema cannot state", id="odd"),
    ],
)
def test_weak_models_are_refused(model: type[Model], message: str) -> None:
    """A field without a bound or a description cannot reach a CRD."""
    with pytest.raises(InternalError, match=message):
        schema_of(model)


def test_good_model_is_described_whole() -> None:
    """Types, bounds, descriptions and what is required come from the model."""
    assert schema_of(Good) == {
        "type": "object",
        "required": ["texts"],
        "properties": {
            "texts": {
                "description": "Texts of two lines.",
                "type": "array",
                "items": {"type": "string", "maxLength": 5},
                "maxItems": 3,
                "minItems": 1,
                "x-kubernetes-list-type": "atomic",
            },
            "other": {"description": "Other.", "type": "string", "maxLength": 5},
        },
    }
