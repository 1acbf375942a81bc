"""What the person at the terminal may do, as the API server's own authorizer says it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from agentid.constants import GROUP
from agentid.kube.resources import Resource

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agentid.kube.client import Client

__all__ = ["may_use", "usable"]

_REVIEWS: Final = Resource(
    "authorization.k8s.io",
    "v1",
    "selfsubjectaccessreviews",
    "SelfSubjectAccessReview",
    namespaced=False,
)


async def may_use(client: Client, class_name: str) -> bool:
    """Whether we may name an AgentClass in an AgentIdentity: the verb `use` on it.

    Raises:
        AgentIdError: The API server does not say.
    """
    answer = await client.create(
        _REVIEWS,
        {
            "apiVersion": _REVIEWS.api_version,
            "kind": _REVIEWS.kind,
            "spec": {
                "resourceAttributes": {
                    "group": GROUP,
                    "resource": "agentclasses",
                    "name": class_name,
                    "verb": "use",
                }
            },
        },
    )
    status = answer.get("status")
    return isinstance(status, dict) and status.get("allowed") is True


async def usable(client: Client, class_names: Iterable[str]) -> frozenset[str]:
    """Those of the classes that we may use.

    Raises:
        AgentIdError: The API server does not say.
    """
    names = tuple(class_names)
    answers = await asyncio.gather(*(may_use(client, name) for name in names))
    return frozenset(name for name, allowed in zip(names, answers, strict=True) if allowed)
