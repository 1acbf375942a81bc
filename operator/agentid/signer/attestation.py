"""Whether a request is what it says: an ordered chain of small checks, all of them pure.

```
 the request alone ─► against pod, ServiceAccount and node
  annotations, stub     as the API server has them
```

Nothing that a request says is evidence. What it names is looked up, and has to agree; the pod's
label is what says that the pod is to have the identity. Whether it may is for `policy.entitlement`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agentid.api.violation import listed, shown
from agentid.constants import LABEL_IDENTITY, SIGNER_NAME
from agentid.signer.reasons import Denial, DenialReason, Waiting, WaitingReason

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentid.services.pods import Pod
    from agentid.signer.request import PodCertificateRequest

__all__ = ["Evidence", "attest", "check_annotations"]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the API server knows of whom a request names.

    Attributes:
        pod: The pod of that name, None if there is none.
        service_account_uid: UID of the ServiceAccount of that name, None if there is none.
        node_uid: UID of the node of that name, None if there is none.
    """

    pod: Pod | None
    service_account_uid: str | None
    node_uid: str | None


def check_annotations(request: PodCertificateRequest) -> str | Denial:
    """The name of the identity that the author of the pod selects, or why none is selected."""
    other = sorted(name for name in request.annotations if name != LABEL_IDENTITY)
    if other:
        message = (
            f"the volume has the userAnnotations {listed(map(shown, other))}, and {SIGNER_NAME} "
            f"knows {LABEL_IDENTITY} alone; take the others out"
        )
        return Denial(DenialReason.INVALID_ANNOTATIONS, message)
    identity = request.annotations.get(LABEL_IDENTITY, "")
    if not identity:
        message = (
            f"the volume has no userAnnotation {LABEL_IDENTITY}; give it the name of the "
            "AgentIdentity, as the label of the pod does"
        )
        return Denial(DenialReason.INVALID_ANNOTATIONS, message)
    return identity


def attest(
    request: PodCertificateRequest, identity: str, evidence: Evidence
) -> Denial | Waiting | None:
    """Hold a request against what the API server knows; None if they agree.

    Args:
        request: To be held.
        identity: What `check_annotations` found.
        evidence: Of this moment, when the answer is to be final.
    """
    pod = evidence.pod
    if pod is None or pod.uid != request.pod_uid:
        return _other_pod(request, pod)
    found = (check(request, identity, pod, evidence) for check in _CHECKS)
    return next((each for each in found if each is not None), None)


def _other_pod(request: PodCertificateRequest, pod: Pod | None) -> Denial:
    whole = f"{request.key.namespace}/{request.pod_name}"
    if pod is None:
        return Denial(DenialReason.POD_GONE, f"there is no pod {whole}")
    message = f"pod {whole} has the UID {pod.uid}, and the request is for {shown(request.pod_uid)}"
    return Denial(DenialReason.POD_REPLACED, message)


def _finished(_: PodCertificateRequest, __: str, pod: Pod, ___: Evidence) -> Denial | None:
    if not pod.finished:
        return None
    return Denial(DenialReason.POD_GONE, f"pod {pod.namespace}/{pod.name} has finished")


def _static(_: PodCertificateRequest, __: str, pod: Pod, ___: Evidence) -> Denial | None:
    if not pod.mirror:
        return None
    message = (
        f"pod {pod.namespace}/{pod.name} is a static pod, whose kubelet alone says what it is; "
        "run the agent as an ordinary pod"
    )
    return Denial(DenialReason.POD_IS_STATIC, message)


def _name(request: PodCertificateRequest, _: str, pod: Pod, __: Evidence) -> Denial | None:
    if (pod.namespace, pod.name) == (request.key.namespace, request.pod_name):
        return None
    message = (
        f"the pod of UID {pod.uid} is {pod.namespace}/{pod.name}, and the request says "
        f"{request.key.namespace}/{request.pod_name}"
    )
    return Denial(DenialReason.POD_REPLACED, message)


def _service_account(
    request: PodCertificateRequest, _: str, pod: Pod, evidence: Evidence
) -> Denial | Waiting | None:
    account = request.service_account
    if pod.service_account != account:
        message = f"the pod runs as ServiceAccount {pod.service_account}, not as {shown(account)}"
        return Denial(DenialReason.SERVICE_ACCOUNT_DIFFERS, message)
    if evidence.service_account_uid is None:
        message = f"ServiceAccount {account} is not there; create it, or create the pod anew"
        return Waiting(WaitingReason.SERVICE_ACCOUNT_NOT_FOUND, message)
    if evidence.service_account_uid != request.service_account_uid:
        message = (
            f"ServiceAccount {account} has the UID {evidence.service_account_uid}, and the request "
            f"names {shown(request.service_account_uid)}: it was created anew"
        )
        return Denial(DenialReason.SERVICE_ACCOUNT_DIFFERS, message)
    return None


def _node(
    request: PodCertificateRequest, _: str, pod: Pod, evidence: Evidence
) -> Denial | Waiting | None:
    node = request.node_name
    if pod.node != node:
        where = f"on node {pod.node}" if pod.node else "on no node yet"
        message = f"the pod is {where}, and the request says {shown(node)}"
        return Denial(DenialReason.NODE_DIFFERS, message)
    if evidence.node_uid is None:
        message = f"node {node} is not there; its kubelet has to register it"
        return Waiting(WaitingReason.NODE_NOT_FOUND, message)
    if evidence.node_uid != request.node_uid:
        message = (
            f"node {node} has the UID {evidence.node_uid}, and the request names "
            f"{shown(request.node_uid)}: it was registered anew"
        )
        return Denial(DenialReason.NODE_DIFFERS, message)
    return None


def _label(_: PodCertificateRequest, identity: str, pod: Pod, __: Evidence) -> Denial | None:
    if pod.identity == identity:
        return None
    says = f"says {shown(pod.identity)}" if pod.identity else "is not there"
    message = (
        f"the volume asks for AgentIdentity {shown(identity)}, and the label {LABEL_IDENTITY} of "
        f"the pod {says}; give both the same name"
    )
    return Denial(DenialReason.IDENTITY_DIFFERS, message)


_CHECKS: Final[
    tuple[Callable[[PodCertificateRequest, str, Pod, Evidence], Denial | Waiting | None], ...]
] = (
    _name,
    _finished,
    _static,
    _service_account,
    _node,
    _label,
)
"""Their order is what a user is told first."""
