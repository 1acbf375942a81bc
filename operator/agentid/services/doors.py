"""Which deliveries this cluster serves beside Secrets, as its API server tells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import orjson

from agentid.api.fields import parse_time
from agentid.api.vocabulary import DeliveryMode
from agentid.constants import CSI_DRIVER
from agentid.errors import ForbiddenError, InputError, NotFoundError, UnavailableError
from agentid.kube.objects import metadata_of
from agentid.kube.resources import (
    CSI_DRIVERS,
    POD_CERTIFICATE_REQUESTS,
    VALIDATING_POLICIES,
    VALIDATING_POLICY_BINDINGS,
)

if TYPE_CHECKING:
    from datetime import datetime

    from agentid.kube.client import Client
    from agentid.kube.resources import Resource

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
        self.guarded_since: datetime | None = None
        """When the policy and its binding were both there, by the API server's clock, None while
        they are not; as of the last look. A PodCertificateRequest that is older may be anybody's:
        nobody looked at who made it."""

    async def look(self) -> frozenset[DeliveryMode]:
        """Find the deliveries that are served by what is here.

        Raises:
            UnavailableError: The API server is away.
        """
        unserved, guarded_since = await self._pod_certificate()
        why = {DeliveryMode.POD_CERTIFICATE: unserved, DeliveryMode.CSI: await self._csi()}
        self.guarded_since = guarded_since
        self.closed = {mode: sentence for mode, sentence in why.items() if sentence}
        return frozenset(why.keys() - self.closed.keys())

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

    async def _csi(self) -> str:
        try:
            await self._client.get(CSI_DRIVERS, CSI_DRIVER)
        except (NotFoundError, ForbiddenError):
            return (
                f"the CSIDriver {CSI_DRIVER} is not there, or may not be read; install the node "
                "plugin of this release"
            )
        return ""

    async def _pod_certificate(self) -> tuple[str, datetime | None]:
        """Why it is closed, empty if it is open, and since when it is guarded."""
        if not await self.are_pods_served():
            why = (
                f"the API server does not serve {POD_CERTIFICATE_REQUESTS.plural} of "
                f"{POD_CERTIFICATE_REQUESTS.api_version}, which Kubernetes has since 1.37"
            )
            return why, None
        since: list[datetime] = []
        for resource in (VALIDATING_POLICIES, VALIDATING_POLICY_BINDINGS):
            try:
                found = await self._client.get(resource, REQUESTS_POLICY)
            except (NotFoundError, ForbiddenError):
                return _not_guarded(resource, "is not there, or may not be read"), None
            if weak := _weakness(found.get("spec")):
                return _not_guarded(resource, weak), None
            since.append(_created(metadata_of(found).get("creationTimestamp")))
        return "", max(since)


def _not_guarded(resource: Resource, how: str) -> str:
    return (
        f"the {resource.kind} {REQUESTS_POLICY} {how}; without it whoever may create a "
        "PodCertificateRequest could ask in the name of any pod. Install manifests/policies of "
        "this release"
    )


def _weakness(spec: object) -> str:
    """Why a policy or a binding lets requests through that it is to stop; empty if it does not."""
    match spec:
        case {"failurePolicy": "Ignore"}:
            return "lets requests through when it fails (spec.failurePolicy: Ignore)"
        case {"validations": [_, *_]}:
            return ""
        case {"policyName": policy} if policy != REQUESTS_POLICY:
            return "binds another policy (spec.policyName)"
        case {"matchResources": {}}:
            return "leaves requests out (spec.matchResources)"
        case {"policyName": _, "validationActions": [*actions]} if "Deny" in actions:
            return ""
        case _:
            return "stops nothing"


def _created(text: object) -> datetime:
    try:
        return parse_time(str(text))
    except InputError as error:
        msg = f"the API server tells when {REQUESTS_POLICY} was created in no known form: {error}"
        raise UnavailableError(msg) from error


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
