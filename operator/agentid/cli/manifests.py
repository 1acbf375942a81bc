"""Manifests that a person names on the command line, as plain objects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import yaml

from agentid.cli.files import read_input
from agentid.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentid.api.model import Resource
    from agentid.kube.objects import JsonObject

__all__ = ["read_manifests", "unknown_fields"]

_MAX_INPUT: Final = 1 << 20
"""Octets read of a file; the largest AgentRevocation has some 200 KB."""


class _Loader(yaml.SafeLoader):
    """YAML as kubectl reads it: a time is text."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read_manifests(file: str) -> tuple[JsonObject, ...]:
    """All objects in a file of YAML or JSON, those of a List one by one; `-` is standard input.

    Raises:
        InputError: It cannot be read, is too large, or is neither.
    """
    content = read_input(file, limit=_MAX_INPUT)
    if len(content) > _MAX_INPUT:
        message = f"{file}: is larger than the {_MAX_INPUT} octets that are read; split it"
        raise InputError(message)
    try:
        # A subclass of the safe loader.
        documents = list(yaml.load_all(content, Loader=_Loader))
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        said = " ".join(str(error).split())
        message = f"{file}: is neither YAML nor JSON: {said}; mend it there"
        raise InputError(message) from error
    return tuple(each for document in documents for each in _objects(document))


def _objects(document: object) -> tuple[JsonObject, ...]:
    match document:
        case {"kind": "List", "items": list(items)}:
            return tuple(each for each in items if isinstance(each, dict))
        case dict():
            return (document,)
        case _:
            return ()


def unknown_fields(body: JsonObject, parsed: Resource) -> Iterator[str]:
    """Paths of fields in the spec of a manifest that its kind does not know.

    The API server drops them without a word, and so does the parser.
    """
    known = parsed.model_dump(mode="json", by_alias=True)
    yield from _strangers(body.get("spec"), known["spec"], "spec")


def _strangers(written: object, known: object, path: str) -> Iterator[str]:
    if not isinstance(written, dict) or not isinstance(known, dict):
        return
    for name, value in written.items():
        if name not in known:
            yield f"{path}.{name}"
        else:
            yield from _strangers(value, known[name], f"{path}.{name}")
