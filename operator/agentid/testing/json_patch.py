"""JSON Patch as far as agentid sends it: what the fake API server makes of one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["apply_operation"]


def apply_operation(document: object, operation: Mapping[str, object]) -> None:
    """Apply one operation of RFC 6902 in place: add, remove, replace or test.

    Raises:
        LookupError: A test does not hold, or there is nothing at the path.
        ValueError: It is another operation.
    """
    tokens = str(operation["path"]).split("/")[1:]
    *parents, last = [token.replace("~1", "/").replace("~0", "~") for token in tokens]
    for token in parents:
        document = _member(document, token)
    match operation["op"], document:
        case "test", _:
            if _member(document, last) != operation["value"]:
                message = f"testing {operation['path']} failed"
                raise LookupError(message)
        case "add", list():
            document.insert(len(document) if last == "-" else int(last), operation["value"])
        case "add", dict():
            document[last] = operation["value"]
        case "replace", dict():
            document[last] = operation["value"] if last in document else document[last]
        case "remove", list():
            del document[int(last)]
        case "remove", dict():
            del document[last]
        case _:
            message = f"{operation['op']} at {operation['path']} is not served"
            raise ValueError(message)


def _member(document: object, token: str) -> object:
    match document:
        case list():
            return document[int(token)]
        case dict():
            return document[token]
        case _:
            message = f"nothing is below {token}"
            raise LookupError(message)
