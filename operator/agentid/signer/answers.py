"""The answers as the API takes them: the whole status, in one PUT."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentid.api.fields import format_time
from agentid.kube.resources import POD_CERTIFICATE_REQUESTS
from agentid.signer.request import AnswerType

if TYPE_CHECKING:
    from datetime import datetime

    from agentid.kube.objects import JsonObject
    from agentid.pki import Leaf
    from agentid.signer.reasons import Denial
    from agentid.signer.request import PodCertificateRequest

__all__ = ["denied", "issued"]

ISSUED_REASON = "Issued"

_MESSAGE = 1024
"""Characters of a message; the API takes 32 times as many, and a pod's Event far fewer."""


def issued(
    request: PodCertificateRequest, leaf: Leaf, refresh_at: datetime, now: datetime
) -> JsonObject:
    """A request with its certificate; the chain is leaf first, without the root."""
    message = f"{leaf.spiffe_id}, serial {leaf.serial}"
    return _answered(
        request,
        AnswerType.ISSUED,
        ISSUED_REASON,
        message,
        now,
        certificateChain=leaf.chain_pem.decode("ascii"),
        notBefore=format_time(leaf.validity.not_before),
        beginRefreshAt=format_time(refresh_at),
        notAfter=format_time(leaf.validity.not_after),
    )


def denied(request: PodCertificateRequest, denial: Denial, now: datetime) -> JsonObject:
    """A request that is denied, for good."""
    return _answered(request, AnswerType.DENIED, denial.reason.value, denial.message, now)


def _answered(
    request: PodCertificateRequest,
    kind: AnswerType,
    reason: str,
    message: str,
    now: datetime,
    **fields: str,
) -> JsonObject:
    return {
        "apiVersion": POD_CERTIFICATE_REQUESTS.api_version,
        "kind": POD_CERTIFICATE_REQUESTS.kind,
        "metadata": {
            "namespace": request.key.namespace,
            "name": request.key.name,
            "uid": request.uid,
            "resourceVersion": request.version,
        },
        "status": {
            "conditions": [
                {
                    "type": kind.value,
                    "status": "True",
                    "reason": reason,
                    "message": message[:_MESSAGE],
                    "lastTransitionTime": format_time(now),
                }
            ],
            **fields,
        },
    }
