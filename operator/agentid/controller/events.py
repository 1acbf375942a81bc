"""What the body that a watch told says about what is to be done, and how soon."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentid.constants import (
    ANNOTATION_RENEW_REQUESTED,
    ANNOTATION_ROTATE_JWT_REQUESTED,
    ANNOTATION_ROTATE_REQUESTED,
    ANNOTATION_ROTATE_ROOT_REQUESTED,
)
from agentid.kube.objects import metadata_of, uid_of, version_of
from agentid.kube.queue import Lane

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["is_older", "lane_of", "rotations_asked", "same_generation"]


def lane_of(body: Mapping[str, object]) -> Lane:
    """How urgent it is to look at an identity that was seen."""
    metadata, spec, status = metadata_of(body), body.get("spec"), body.get("status")
    if metadata.get("deletionTimestamp") is not None:
        return Lane.REVOCATION
    if isinstance(spec, dict) and spec.get("suspend") is True:
        return Lane.REVOCATION
    told = status.get("observedGeneration") if isinstance(status, dict) else None
    if told != metadata.get("generation"):
        return Lane.CHANGE
    annotations = metadata.get("annotations")
    asked = isinstance(annotations, dict) and ANNOTATION_RENEW_REQUESTED in annotations
    return Lane.CHANGE if asked else Lane.BACKGROUND


def rotations_asked(body: Mapping[str, object]) -> tuple[object, ...]:
    """The rotations of an issuer that were asked for: annotations, which are no new generation."""
    annotations = metadata_of(body).get("annotations")
    if not isinstance(annotations, dict):
        return None, None
    names = (
        ANNOTATION_ROTATE_REQUESTED,
        ANNOTATION_ROTATE_ROOT_REQUESTED,
        ANNOTATION_ROTATE_JWT_REQUESTED,
    )
    return tuple(annotations.get(name) for name in names)


def same_generation(one: Mapping[str, object], other: Mapping[str, object]) -> bool:
    """Whether two bodies are of the same object, and ask for the same."""

    def version(body: Mapping[str, object]) -> tuple[str, object]:
        return uid_of(body), metadata_of(body).get("generation")

    return version(one) == version(other)


def is_older(body: Mapping[str, object], known: Mapping[str, object], *, gone: bool) -> bool:
    """Whether an event is of a time before what is known: of a namesake that was there earlier.

    Kopf keeps the order of the events of each object, and those of namesakes are of two.
    """
    older = gone or version_of(body) < version_of(known)
    return older and uid_of(body) != uid_of(known)
