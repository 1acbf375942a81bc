"""What an object looks like once a manifest was applied over it; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentid.kube.objects import metadata_of, resource_version_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from agentid.kube.objects import JsonObject

__all__ = ["applied_over", "kept_fields"]


def kept_fields(live: JsonObject, body: JsonObject) -> frozenset[str]:
    """Fields of the spec that a manifest is silent about and that stay all the same.

    Applying removes what was applied earlier; what somebody else has written stays, such as a
    `suspend` of an incident.

    Args:
        live: The object that is there, with its managedFields.
        body: The manifest.
    """
    there, written = _mapping(live.get("spec")), _mapping(body.get("spec"))
    return frozenset(name for name in _of_others(live) if name in there and name not in written)


def applied_over(live: JsonObject, body: JsonObject) -> JsonObject:
    """The object that is there, after the manifest was applied.

    Args:
        live: The object, with its managedFields.
        body: The manifest.

    Returns:
        It with the resourceVersion that it has now, so that nothing but it is meant.
    """
    there, written = metadata_of(live), metadata_of(body)
    merged = {
        part: {**_mapping(there.get(part)), **_mapping(written.get(part))}
        for part in ("labels", "annotations")
    }
    metadata = {**there, **written, **merged, "resourceVersion": resource_version_of(live)}
    spec: object = body.get("spec")
    if isinstance(spec, dict):
        old = _mapping(live.get("spec"))
        spec = {**{name: old[name] for name in sorted(kept_fields(live, body))}, **spec}
    return {**live, **body, "metadata": metadata, "spec": spec, "status": live.get("status")}


def _of_others(live: JsonObject) -> Iterator[str]:
    """Fields of the spec that somebody wrote without applying."""
    managed = metadata_of(live).get("managedFields")
    for entry in managed if isinstance(managed, list) else ():
        match entry:
            # Server-side, or as kubectl has done it ever since.
            case {"operation": "Apply"} | {"manager": "kubectl-client-side-apply"}:
                continue
            case {"fieldsV1": {"f:spec": dict(fields)}}:
                yield from (name.removeprefix("f:") for name in fields if name.startswith("f:"))
            case _:
                continue


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}
