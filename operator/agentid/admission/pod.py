"""A pod, as far as an identity is mounted into it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agentid.constants import ANNOTATION_CONTAINERS, LABEL_IDENTITY
from agentid.errors import InputError
from agentid.kube.objects import metadata_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Container", "Pod"]

_MIRROR: Final = "kubernetes.io/config.mirror"
"""The annotation of a pod that a kubelet shows in the API, and runs from a file."""

_DEFAULT_ACCOUNT: Final = "default"
"""Whom the API server lets a pod run as that names nobody (plugin ServiceAccount)."""

_Object = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Container:
    """A container of a pod, an init container or one beside.

    Attributes:
        path: Where it stands, as a JSON Pointer (RFC 6901).
        name: Its name.
        mounts: Its volumeMounts, None if it has no such list yet.
        env: Its environment, likewise.
    """

    path: str
    name: str
    mounts: Sequence[_Object] | None
    env: Sequence[_Object] | None


@dataclass(frozen=True, slots=True)
class Pod:
    """What is asked of a pod.

    Attributes:
        label: Which AgentIdentity it asks for, None if it asks for none.
        wanted: The containers that its annotation names, None without one.
        service_account: Whom it runs as.
        mirror: Whether a kubelet runs it from a file.
        volumes: Its volumes, None if it has no such list yet.
        containers: Init containers first, in order. Ephemeral ones are not among them: what they
            mount cannot be changed.
    """

    label: str | None
    wanted: str | None
    service_account: str
    mirror: bool
    volumes: Sequence[_Object] | None
    containers: Sequence[Container]

    @classmethod
    def of(cls, body: _Object) -> Pod:
        """Read a pod; what is not asked about is not looked at.

        Raises:
            InputError: It is no pod that an API server would send.
        """
        metadata, spec = metadata_of(body), _mapping(body.get("spec"), "spec")
        labels = _mapping(metadata.get("labels"), "metadata.labels")
        annotations = _mapping(metadata.get("annotations"), "metadata.annotations")
        account = spec.get("serviceAccountName")
        return cls(
            label=_text(labels.get(LABEL_IDENTITY), f"metadata.labels[{LABEL_IDENTITY}]"),
            wanted=_text(
                annotations.get(ANNOTATION_CONTAINERS),
                f"metadata.annotations[{ANNOTATION_CONTAINERS}]",
            ),
            service_account=_text(account, "spec.serviceAccountName") or _DEFAULT_ACCOUNT,
            mirror=_MIRROR in annotations,
            volumes=_objects(spec.get("volumes"), "spec.volumes"),
            containers=(
                *_containers(spec, "initContainers"),
                *_containers(spec, "containers"),
            ),
        )


def _containers(spec: _Object, field: str) -> Iterator[Container]:
    for number, body in enumerate(_objects(spec.get(field), f"spec.{field}") or ()):
        where = f"spec.{field}[{number}]"
        yield Container(
            path=f"/spec/{field}/{number}",
            name=_text(body.get("name"), f"{where}.name") or "",
            mounts=_objects(body.get("volumeMounts"), f"{where}.volumeMounts"),
            env=_objects(body.get("env"), f"{where}.env"),
        )


def _mapping(value: object, where: str) -> _Object:
    match value:
        case None:
            return {}
        case Mapping():
            return value
        case _:
            msg = f"request.object.{where}: not an object"
            raise InputError(msg)


def _objects(value: object, where: str) -> Sequence[_Object] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        msg = f"request.object.{where}: not a list of objects"
        raise InputError(msg)
    return value


def _text(value: object, where: str) -> str | None:
    if value is None or isinstance(value, str):
        return value
    msg = f"request.object.{where}: not a string"
    raise InputError(msg)
