"""The base of every model of the API, and the way from a body to a model or to its violations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Final, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel
from pydantic_core import ErrorDetails, PydanticCustomError

from agentid.api.fields import FAULT, Timestamp
from agentid.api.rules import Rule
from agentid.api.violation import Violation, shown
from agentid.errors import InternalError, SpecError

__all__ = [
    "MAX_NAME_LENGTH",
    "NAME_RULE",
    "Model",
    "ObjectMeta",
    "Resource",
    "api_name",
    "violations_of",
]

BROKEN_RULES = "agentid_broken_rules"
"""The type of a pydantic error whose context holds (field, found, allowed, remedy) of each rule."""

MAX_NAME_LENGTH = 63
"""Of our objects. The API server would allow 253, a label value no more than this; and labels are
how pods select an identity and how objects of ours are found again."""


def api_name(python_name: str) -> str:
    """Spell a field the way the API does: camelCase, initialisms kept in capitals."""
    initialisms = {
        "spiffe_id": "spiffeID",
        "secret_uid": "secretUID",
        "endpoint_spiffe_id": "endpointSpiffeID",
        "cps_uri": "cpsURI",
    }
    return initialisms.get(python_name) or to_camel(python_name)


class Model(BaseModel):
    """A frozen part of a resource.

    Fields that are not known are dropped, as the API server drops them: an operator that is older
    than its CRD has to go on reading what is stored.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        alias_generator=api_name,
        validate_by_name=True,
        validate_by_alias=True,
        use_attribute_docstrings=True,
    )

    rules: ClassVar[tuple[Rule[Any], ...]] = ()

    @model_validator(mode="after")
    def _keep_rules(self) -> Self:
        if self.rules:
            broken = [
                (rule.field, found, rule.allowed, rule.remedy)
                for rule in self.rules
                if (found := rule.found(self)) is not None
            ]
            if broken:
                raise PydanticCustomError(BROKEN_RULES, "broken rules", {"broken": broken})
        return self

    def to_api(self) -> dict[str, object]:
        """Write the model as the API server takes it: camelCase, JSON values, no nulls."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class ObjectMeta(Model):
    """What the API server keeps about every object, as far as agentid looks at it."""

    name: str = ""
    """Name, unique for its kind in its namespace."""
    namespace: str = ""
    """Namespace; empty for kinds of the cluster."""
    uid: str = ""
    """Identifier that no other object ever has."""
    generation: int = 0
    """Counts changes of the spec."""
    resource_version: str = ""
    """Changes with every write; opaque."""
    labels: dict[str, str] = Field(default_factory=dict)
    """Labels."""
    annotations: dict[str, str] = Field(default_factory=dict)
    """Annotations."""
    finalizers: tuple[str, ...] = ()
    """Who still has to let go before a deletion takes place."""
    creation_timestamp: Timestamp | None = None
    """When it was created."""
    deletion_timestamp: Timestamp | None = None
    """When its deletion was asked for, None if it was not."""


def _long_name(resource: Resource) -> str | None:
    name = resource.metadata.name
    return shown(name) if len(name) > MAX_NAME_LENGTH else None


NAME_RULE: Final = Rule["Resource"](
    field="metadata.name",
    found=_long_name,
    allowed=f"is longer than the {MAX_NAME_LENGTH} characters of a label value, by which pods and "
    "Secrets refer to it",
    remedy="choose a shorter name",
    cel=f"size(self.metadata.name) <= {MAX_NAME_LENGTH}",
    cel_found="""'"' + self.metadata.name + '"'""",
    blames_field=False,
)
"""Bounds the name of our kinds; namespace and name then fit into a SPIFFE ID as well."""


class Resource(Model):
    """A kind of the API; a subclass adds `spec` and `status`."""

    KIND: ClassVar[str]

    metadata: ObjectMeta
    """What the API server keeps about the object."""

    @classmethod
    def parse(cls, body: Mapping[str, object]) -> Self:
        """Read an object as the API server or a file holds it.

        The status is read leniently: a field of it that cannot be read, or the item of a list,
        counts as absent, since the next look writes it anew.

        Args:
            body: The object; `apiVersion` and `kind` may be missing.

        Raises:
            SpecError: With every violation. Rules between fields are judged once the fields of
                their object parse by themselves.
        """
        found = body.get("kind", cls.KIND)
        if found != cls.KIND:
            wrong = Violation("kind", shown(found), f"is not {cls.KIND}", "give the right object")
            raise SpecError([wrong.sentence])
        try:
            return cls.model_validate(
                {
                    "metadata": _plain(body.get("metadata", {})),
                    "spec": _plain(body.get("spec", {})),
                    "status": cls._readable_status(_plain(body.get("status"))),
                }
            )
        except ValidationError as error:
            raise SpecError([each.sentence for each in violations_of(error)]) from error

    @classmethod
    def metadata_of(cls, body: Mapping[str, object]) -> ObjectMeta:
        """Read what the API server keeps about an object, whatever its spec holds.

        Raises:
            SpecError: It is not what an API server would keep.
        """
        try:
            return ObjectMeta.model_validate(_plain(body.get("metadata", {})))
        except ValidationError as error:
            raise SpecError([each.sentence for each in violations_of(error)]) from error

    @classmethod
    def _readable_status(cls, status: object) -> Model:
        """Make of a stored status what can be read of it."""
        model = cls.model_fields["status"].annotation
        if not (isinstance(model, type) and issubclass(model, Model)):
            msg = f"{cls.KIND}.status is not a model"
            raise InternalError(msg)
        if not isinstance(status, dict):
            return model()
        try:
            return model.model_validate(status)
        except ValidationError as error:
            return model.model_validate(_without(status, [each["loc"] for each in error.errors()]))


def _without(
    status: Mapping[str, object], unreadable: Iterable[tuple[int | str, ...]]
) -> dict[str, object]:
    """Leave out what cannot be read: of a list the item, else the field."""
    fields: set[str] = set()
    items: dict[str, set[int]] = {}
    for place in unreadable:
        match place:
            case (str(name), int(at), *_):
                items.setdefault(name, set()).add(at)
            case (name, *_):
                fields.add(str(name))
            case _:
                pass
    kept = {name: value for name, value in status.items() if name not in fields}
    for name, gone in items.items():
        if isinstance(found := kept.get(name), list):
            kept[name] = [each for at, each in enumerate(found) if at not in gone]
    return kept


def _plain(section: object) -> object:
    """Return mappings as dictionaries, the only kind of mapping that pydantic takes everywhere."""
    return dict(section) if isinstance(section, Mapping) else section


def violations_of(error: ValidationError) -> tuple[Violation, ...]:
    """Tell what a failed validation found, in the order of the fields."""
    return tuple(
        violation
        for details in error.errors(include_url=False)
        for violation in _violations(details)
    )


def _violations(details: ErrorDetails) -> list[Violation]:
    where = _path(details["loc"])
    context = details.get("ctx", {})
    found = shown(details["input"])
    match details["type"]:
        case kind if kind == FAULT:
            return [Violation(where, context["found"], context["allowed"], context["remedy"])]
        case kind if kind == BROKEN_RULES:
            return [
                Violation(f"{where}.{field}" if where else field, value, allowed, remedy)
                for field, value, allowed, remedy in context["broken"]
            ]
        case "missing":
            return [Violation(where, "", "is required", "add it")]
        case "enum":
            expected = str(context["expected"]).replace("'", "").replace(" or ", ", ")
            return [Violation(where, found, "is not supported", f"use one of {expected}")]
        case kind:
            allowed, remedy = _PLAIN.get(kind, ("cannot be read", "mend it: {msg}"))
            remedy = remedy.format(msg=details["msg"])
            return [Violation(where, found, allowed.format(**context), remedy)]


_PLAIN: Final = {
    "model_type": ("is not an object", "write its fields beneath it"),
    "bool_type": ("is not a boolean", "write true or false"),
    "int_type": ("is not a whole number", "write a whole number"),
    "greater_than_equal": ("is below the minimum of {ge}", "choose a greater number"),
    "less_than_equal": ("is above the maximum of {le}", "choose a smaller number"),
    "string_type": ("is not a string", "write a string"),
    "string_too_long": ("is longer than {max_length} characters", "shorten it"),
}
"""Predicate and remedy for the types of error that pydantic finds by itself."""


def _path(location: tuple[int | str, ...]) -> str:
    """Write a location as people do: `spec.permissions.systems[3]`."""
    path = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in location)
    return path.removeprefix(".")
