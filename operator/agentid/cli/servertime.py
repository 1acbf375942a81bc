"""What time it is by the API server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agentid.api.fields import parse_time
from agentid.errors import InputError, UnavailableError
from agentid.kube.objects import metadata_of
from agentid.kube.resources import Resource

if TYPE_CHECKING:
    from datetime import datetime

    from agentid.kube.client import Client

__all__ = ["server_time"]

_REVIEWS: Final = Resource(
    "authentication.k8s.io", "v1", "selfsubjectreviews", "SelfSubjectReview", namespaced=False
)
"""Everybody who is known may ask who they are; the answer carries the time at which it was made."""


async def server_time(client: Client) -> datetime:
    """The API server's wall clock, rounded down to a second.

    Raises:
        UnavailableError: It does not say.
    """
    answer = await client.create(
        _REVIEWS, {"apiVersion": _REVIEWS.api_version, "kind": _REVIEWS.kind}
    )
    try:
        return parse_time(str(metadata_of(answer).get("creationTimestamp")))
    except InputError as error:
        message = "the API server does not tell the time (SelfSubjectReview); is it 1.34 or newer?"
        raise UnavailableError(message) from error
