"""Puts a mount into a pod, as a JSON Patch, beside what its author wrote and never over it.

What is there already is left as it is, so a second look at the outcome finds nothing to do, and one
after another webhook has added a container finds that container.
"""

from __future__ import annotations

import difflib
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agentid.admission.verdict import Outcome, Refusal
from agentid.api.violation import Violation, listed, shown
from agentid.constants import ANNOTATION_CONTAINERS, MOUNT_PATH, VOLUME_NAME

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentid.admission.mount import Mount
    from agentid.admission.pod import Container, Pod
    from agentid.kube.objects import JsonObject

__all__ = ["Mounted", "mount_into"]

_RUN: Final = "/var/run"
_REAL_RUN: Final = "/run"
"""What `/var/run` is a link to in the images of most distributions (FHS 3.0 §5.13)."""

_MAX_WARNINGS: Final = 8
"""The API server drops those beyond 4096 characters together; an author reads fewer."""


@dataclass(frozen=True, slots=True)
class Mounted:
    """What a pod lacks.

    Attributes:
        patch: Operations that add it, in order; none if it lacks nothing.
        warnings: What of the environment its author has set otherwise, and so keeps.
    """

    patch: Sequence[JsonObject]
    warnings: Sequence[str]


def mount_into(pod: Pod, mount: Mount, identity: str) -> Mounted | Refusal:
    """Find what a pod lacks, or why it cannot be added.

    Args:
        pod: As it is so far.
        mount: What is to be in it.
        identity: `namespace/name` of the AgentIdentity, for messages.
    """
    chosen = _chosen(pod)
    if isinstance(chosen, Refusal):
        return chosen
    patch: list[JsonObject] = []
    volume = _volume(pod, mount, identity)
    if isinstance(volume, Refusal):
        return volume
    patch += volume
    writable = _writable_scratch(pod)
    warnings: list[str] = []
    for container in chosen:
        operations = _mounts(container, mount, writable)
        if isinstance(operations, Refusal):
            return operations
        patch += operations
        patch += _environment(container, mount, warnings)
    return Mounted(patch, warnings[:_MAX_WARNINGS])


# Containers


def _chosen(pod: Pod) -> Sequence[Container] | Refusal:
    if pod.wanted is None:
        return pod.containers
    field = f"metadata.annotations[{ANNOTATION_CONTAINERS}]"
    wanted = [name for each in pod.wanted.split(",") if (name := each.strip())]
    names = [container.name for container in pod.containers]
    if not wanted:
        remedy = "name containers of the pod with commas between, or remove it for all of them"
        return _refusal(
            Outcome.MALFORMED_CONTAINERS, field, pod.wanted, "names no container", remedy
        )
    for name in wanted:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            remedy = f"did you mean {near[0]}?" if near else "correct it or leave it out"
            allowed = f"names no container of the pod, which has {listed(names, limit=20)}"
            return _refusal(Outcome.MALFORMED_CONTAINERS, field, name, allowed, remedy)
    return [container for container in pod.containers if container.name in wanted]


# The volume


def _volume(pod: Pod, mount: Mount, identity: str) -> Sequence[JsonObject] | Refusal:
    for number, found in enumerate(pod.volumes or ()):
        if found.get("name") != VOLUME_NAME:
            continue
        if (where := _difference(mount.volume, found, f"spec.volumes[{number}]")) is None:
            return ()
        field, is_there, expected = where
        return _refusal(
            Outcome.VOLUME_TAKEN,
            field,
            is_there,
            f"is not what AgentIdentity {identity} has mounted, which is {shown(expected)}",
            f"remove volume {VOLUME_NAME} from the pod, since it is added by itself, or rename it",
        )
    if pod.volumes is None:
        return ({"op": "add", "path": "/spec/volumes", "value": [mount.volume]},)
    return ({"op": "add", "path": "/spec/volumes/-", "value": mount.volume},)


def _difference(expected: object, found: object, where: str) -> tuple[str, object, object] | None:
    """The first place where something is missing or differs; what is there besides does not count.

    The API server fills in defaults between two looks.
    """
    match expected, found:
        case dict(), Mapping():
            for name, value in expected.items():
                if (inner := _difference(value, found.get(name), f"{where}.{name}")) is not None:
                    return inner
            return None
        case list(), list() if len(expected) == len(found):
            for number, (one, other) in enumerate(zip(expected, found, strict=True)):
                if (inner := _difference(one, other, f"{where}[{number}]")) is not None:
                    return inner
            return None
        case _:
            # True is 1 to Python, and not to JSON.
            same = expected == found and isinstance(found, type(expected))
            return None if same else (where, found, expected)


# Mounts


def _writable_scratch(pod: Pod) -> frozenset[object]:
    """Names of volumes in which a directory to mount on can be made: those that are the pod's own.

    Kubernetes does the same with the token of a ServiceAccount, beneath an emptyDir at `/var/run`.
    """
    return frozenset(
        volume.get("name")
        for volume in pod.volumes or ()
        if volume.get("emptyDir") is not None or volume.get("ephemeral") is not None
    )


def _mounts(
    container: Container, mount: Mount, scratch: frozenset[object]
) -> Sequence[JsonObject] | Refusal:
    ours = False
    for number, found in enumerate(container.mounts or ()):
        field = f"{_field(container)}.volumeMounts[{number}]"
        path = _normal(found.get("mountPath"))
        own = found.get("name") == VOLUME_NAME
        if own and path == MOUNT_PATH:
            # What is mounted by a subPath is never exchanged, so it would run out.
            partial = found.get("subPath") or found.get("subPathExpr")
            if found.get("readOnly") is not True or partial:
                remedy = "remove the mount, since it is added by itself"
                allowed = "has to be readOnly, and without subPath and subPathExpr"
                return _refusal(Outcome.PATH_TAKEN, field, VOLUME_NAME, allowed, remedy)
            ours = True
        elif not own and (why := _in_the_way(path, found, scratch)):
            return _refusal(
                Outcome.PATH_TAKEN,
                f"{field}.mountPath",
                found.get("mountPath"),
                f"{why} {MOUNT_PATH}, where container {container.name} finds its identity",
                "mount it elsewhere, or leave this container out by annotation "
                f"{ANNOTATION_CONTAINERS}",
            )
    return () if ours else (_add(container.path, "volumeMounts", mount.mount, container.mounts),)


def _in_the_way(path: str, found: Mapping[str, object], scratch: frozenset[object]) -> str:
    """How another mount collides with ours; empty if it does not."""
    if path == MOUNT_PATH:
        return "is"
    if path.startswith(f"{MOUNT_PATH}/"):
        return "lies within"
    if not MOUNT_PATH.startswith(f"{path.rstrip('/')}/"):
        return ""
    if found.get("name") in scratch and found.get("readOnly") is not True:
        return ""  # runtimes mount the shorter path first
    return "covers"


def _normal(path: object) -> str:
    """A mount path without what means nothing in it, and as `/var/run` where it is `/run`."""
    text = posixpath.normpath(f"/{path}" if isinstance(path, str) else "/")
    text = f"/{text.lstrip('/')}"
    if text == _REAL_RUN or text.startswith(f"{_REAL_RUN}/"):
        return f"/var{text}"
    return text


# The environment


def _environment(container: Container, mount: Mount, warnings: list[str]) -> Sequence[JsonObject]:
    there = {each.get("name"): each for each in container.env or ()}
    missing = []
    for entry in mount.env:
        name = entry["name"]
        if name not in there:
            missing.append(entry)
        elif _difference(entry, there[name], "") is not None:
            warnings.append(
                f"container {container.name} sets {name} itself, and keeps it; agentid would set "
                "another value"
            )
    if not missing:
        return ()
    if container.env is None:
        return ({"op": "add", "path": f"{container.path}/env", "value": missing},)
    return [{"op": "add", "path": f"{container.path}/env/-", "value": entry} for entry in missing]


def _add(path: str, field: str, value: JsonObject, there: Sequence[object] | None) -> JsonObject:
    if there is None:
        return {"op": "add", "path": f"{path}/{field}", "value": [value]}
    return {"op": "add", "path": f"{path}/{field}/-", "value": value}


def _field(container: Container) -> str:
    """The container as messages name fields, such as `spec.containers[0]`."""
    head, _, number = container.path[1:].replace("/", ".").rpartition(".")
    return f"{head}[{number}]"


def _refusal(outcome: Outcome, field: str, found: object, allowed: str, remedy: str) -> Refusal:
    return Refusal(outcome, Violation(field, shown(found), allowed, remedy).sentence)
