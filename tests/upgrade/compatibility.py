"""Whether every object of an earlier definition is one of a later definition, and means the same.

Pure, and on the safe side: what cannot be shown to be compatible is told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["incompatible"]

Json = dict[str, Any]

_AT_MOST: Final = ("maxLength", "maxItems", "maximum", "maxProperties")
_AT_LEAST: Final = ("minLength", "minItems", "minimum", "minProperties")
_SAME: Final = (
    "type", "format", "default", "x-kubernetes-list-type", "x-kubernetes-list-map-keys",
    "x-kubernetes-int-or-string", "x-kubernetes-preserve-unknown-fields", "nullable",
)  # fmt: skip


def incompatible(old: Json, new: Json) -> tuple[str, ...]:
    """What is wrong with a definition that comes after another one; empty if nothing is.

    Args:
        old: A CustomResourceDefinition that was installed.
        new: The one that is to take its place.
    """
    return tuple(_definition(old["spec"], new["spec"]))


def _definition(old: Json, new: Json) -> Iterator[str]:
    for name in ("group", "scope", "names"):
        if old[name] != new[name]:
            yield f"{name} was changed"
    versions = {each["name"]: each for each in new["versions"]}
    for each in old["versions"]:
        name = each["name"]
        found = versions.get(name)
        if found is None or (each["served"] and not found["served"]):
            yield f"version {name} is not served any more"
            continue
        sections = each["schema"]["openAPIV3Schema"], found["schema"]["openAPIV3Schema"]
        yield from _schema(*sections, name)
        if each.get("subresources") != found.get("subresources"):
            yield f"{name}: subresources were changed"


def _schema(old: Json, new: Json, path: str) -> Iterator[str]:
    yield from _bounds(old, new, path)
    yield from _rules(old, new, path)
    for name in sorted({*new.get("required", ())} - {*old.get("required", ())}):
        yield f"{path}.{name}: is required, and was not"
    there = new.get("properties", {})
    for name, field in old.get("properties", {}).items():
        if name in there:
            yield from _schema(field, there[name], f"{path}.{name}")
        else:
            yield f"{path}.{name}: was removed"
    for name in ("items", "additionalProperties"):
        if (name in old) != (name in new):
            yield f"{path}: {name} came or went"
        elif name in old:
            yield from _schema(old[name], new[name], f"{path}[]")


def _bounds(old: Json, new: Json, path: str) -> Iterator[str]:
    for name in _SAME:
        if old.get(name) != new.get(name):
            yield f"{path}: {name} was {old.get(name)}, and is {new.get(name)}"
    for name in _AT_MOST:
        if name in new and not (name in old and old[name] <= new[name]):
            yield f"{path}: {name} was {old.get(name)}, and is {new[name]}"
    for name in _AT_LEAST:
        if name in new and not (name in old and old[name] >= new[name]):
            yield f"{path}: {name} was {old.get(name)}, and is {new[name]}"
    if "enum" in new:
        gone = [each for each in old.get("enum", ("anything",)) if each not in new["enum"]]
        if gone:
            yield f"{path}: {', '.join(map(str, gone))} is not allowed any more"
    if "pattern" in new and old.get("pattern") != new["pattern"]:
        yield f"{path}: the pattern is another one, and what it allowed may not be allowed"


def _rules(old: Json, new: Json, path: str) -> Iterator[str]:
    known = {each["rule"] for each in old.get("x-kubernetes-validations", ())}
    for each in new.get("x-kubernetes-validations", ()):
        if each["rule"] not in known:
            yield f"{path}: a rule is new: {each['rule']}"
