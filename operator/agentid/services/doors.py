"""Which deliveries this cluster serves beside Secrets, as its API server tells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import orjson

from agentid.api.vocabulary import DeliveryMode
from agentid.errors import ForbiddenError, NotFoundError, UnavailableError
from agentid.kube.resources import (
    POD_CERTIFICATE_REQUESTS,
    VALIDATING_POLICIES,
    VALIDATING_POLICY_BINDINGS,
)

if TYPE_CHECKING:
    from agentid.kube.client import Client

__all__ = ["REQUESTS_POLICY", "Doors"]

REQUESTS_POLICY: Final = "agentid-pod-certificate-requests"
"""The policy, and its binding, by which the API server lets nobody but a pod's own kubelet ask for
its certificate. A request does not say who made it: without the policy, whoever may create one gets
a certificate in the name of any pod, for a key of his own."""


class Doors:
    """Asks the API server."""

    def __init__(self, client: Client) -> None:
        """Ask nothing yet."""
        self._client = client
        self.closed: dict[DeliveryMode, str] = {}
        """Why a delivery is not served, in a sentence; as of the last look."""

    async def look(self) -> frozenset[DeliveryMode]:
        """Find the deliveries that are served by what is here.

        Raises:
            UnavailableError: The API server is away.
        """
        why = await self._pod_certificate()
        self.closed = {DeliveryMode.POD_CERTIFICATE: why} if why else {}
        return frozenset() if why else frozenset({DeliveryMode.POD_CERTIFICATE})

    async def are_pods_served(self) -> bool:
        """Whether the API server has PodCertificateRequests: all that people may find out.

        Raises:
            UnavailableError: The API server is away.
        """
        try:
            served = await self._client.get_raw(POD_CERTIFICATE_REQUESTS.root)
        except (NotFoundError, ForbiddenError):
            return False
        return _serves(served, POD_CERTIFICATE_REQUESTS.plural)

    async def _pod_certificate(self) -> str:
        if not await self.are_pods_served():
            return (
                f"the API server does not serve {POD_CERTIFICATE_REQUESTS.plural} of "
                f"{POD_CERTIFICATE_REQUESTS.api_version}, which Kubernetes has since 1.37"
            )
        for resource in (VALIDATING_POLICIES, VALIDATING_POLICY_BINDINGS):
            try:
                await self._client.get(resource, REQUESTS_POLICY)
            except (NotFoundError, ForbiddenError):
                return (
                    f"the {resource.kind} {REQUESTS_POLICY} is not there, or may not be read; "
                    "without it whoever may create a PodCertificateRequest could ask in the name "
                    "of any pod. Install manifests/policies of this release"
                )
        return ""


def _serves(listing: bytes, plural: str) -> bool:
    try:
        body = orjson.loads(listing)
    except orjson.JSONDecodeError as error:
        msg = f"the API server lists its resources in a form that is no JSON: {error}"
        raise UnavailableError(msg) from error
    resources = body.get("resources") if isinstance(body, dict) else None
    return any(
        isinstance(each, dict) and each.get("name") == plural
        for each in (resources if isinstance(resources, list) else ())
    )
