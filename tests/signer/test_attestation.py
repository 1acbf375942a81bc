"""Whether a request is what it says: each check, and the order in which a user is told."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from agentid.services.pods import Pod
from agentid.signer.attestation import Evidence, attest, check_annotations
from agentid.signer.reasons import Denial, DenialReason, Waiting, WaitingReason
from agentid.signer.request import PodCertificateRequest
from tests.support.asked import pod_body, request_body

if TYPE_CHECKING:
    from collections.abc import Callable

POD = Pod.of(pod_body())
TRUE = Evidence(POD, "sa-1", "n-1")


def request(**changes: Any) -> PodCertificateRequest:  # noqa: ANN401 - JSON
    """A request that is what it says, but for these fields."""
    return PodCertificateRequest.parse(request_body(**changes))


def test_what_agrees_is_attested() -> None:
    """Nothing is found against a request whose every field is the API server's."""
    assert attest(request(), "reader", TRUE) is None


def pod(**changes: Any) -> Callable[[], Evidence]:  # noqa: ANN401 - fields of a pod
    """Evidence of another pod."""
    return lambda: replace(TRUE, pod=replace(POD, **changes))


@pytest.mark.parametrize(
    ("evidence", "reason", "message"),
    [
        pytest.param(
            lambda: replace(TRUE, pod=None),
            DenialReason.POD_GONE,
            "there is no pod finance/reader-1",
            id="no-pod",
        ),
        pytest.param(
            pod(uid="p-2"),
            DenialReason.POD_REPLACED,
            'pod finance/reader-1 has the UID p-2, and the request is for "p-1"',
            id="a-namesake",
        ),
        pytest.param(
            pod(name="other"),
            DenialReason.POD_REPLACED,
            "the pod of UID p-1 is finance/other, and the request says finance/reader-1",
            id="a-UID-under-another-name",
        ),
        pytest.param(
            pod(namespace="other"),
            DenialReason.POD_REPLACED,
            "the pod of UID p-1 is other/reader-1",
            id="a-UID-of-another-namespace",
        ),
        pytest.param(
            pod(finished=True), DenialReason.POD_GONE, "has finished", id="a-pod-that-has-finished"
        ),
        pytest.param(pod(mirror=True), DenialReason.POD_IS_STATIC, "static pod", id="a-mirror-pod"),
        pytest.param(
            pod(service_account="admin"),
            DenialReason.SERVICE_ACCOUNT_DIFFERS,
            'runs as ServiceAccount admin, not as "default"',
            id="another-account",
        ),
        pytest.param(
            lambda: replace(TRUE, service_account_uid="sa-2"),
            DenialReason.SERVICE_ACCOUNT_DIFFERS,
            "it was created anew",
            id="an-account-made-anew",
        ),
        pytest.param(
            pod(node="node-b"),
            DenialReason.NODE_DIFFERS,
            'on node node-b, and the request says "node-a"',
            id="another-node",
        ),
        pytest.param(
            pod(node=""), DenialReason.NODE_DIFFERS, "on no node yet", id="a-pod-without-a-node"
        ),
        pytest.param(
            lambda: replace(TRUE, node_uid="n-2"),
            DenialReason.NODE_DIFFERS,
            "it was registered anew",
            id="a-node-registered-anew",
        ),
        pytest.param(
            pod(identity="writer"),
            DenialReason.IDENTITY_DIFFERS,
            'agentid.dev/identity of the pod says "writer"',
            id="another-label",
        ),
        pytest.param(
            pod(identity=""), DenialReason.IDENTITY_DIFFERS, "is not there", id="no-label"
        ),
    ],
)
def test_what_differs_is_denied(
    evidence: Callable[[], Evidence], reason: DenialReason, message: str
) -> None:
    """A field that names somebody else than the API server does was forged, or is out of date."""
    found = attest(request(), "reader", evidence())
    assert isinstance(found, Denial)
    assert found.reason is reason
    assert message in found.message


@pytest.mark.parametrize(
    ("evidence", "reason"),
    [
        pytest.param(
            replace(TRUE, service_account_uid=None),
            WaitingReason.SERVICE_ACCOUNT_NOT_FOUND,
            id="account",
        ),
        pytest.param(replace(TRUE, node_uid=None), WaitingReason.NODE_NOT_FOUND, id="node"),
    ],
)
def test_what_is_not_there_may_come(evidence: Evidence, reason: WaitingReason) -> None:
    """A denial ends the pod; a ServiceAccount that is applied again a moment later does not."""
    found = attest(request(), "reader", evidence)
    assert isinstance(found, Waiting)
    assert found.reason is reason


def test_the_first_difference_is_told() -> None:
    """What the pod is comes before what it runs as, and that before where."""
    other = replace(POD, finished=True, service_account="admin", node="node-b", identity="")
    told: list[str] = []
    while (found := attest(request(), "reader", replace(TRUE, pod=other))) is not None:
        told.append(str(found.reason))
        match found.reason:
            case DenialReason.POD_GONE:
                other = replace(other, finished=False)
            case DenialReason.SERVICE_ACCOUNT_DIFFERS:
                other = replace(other, service_account="default")
            case DenialReason.NODE_DIFFERS:
                other = replace(other, node="node-a")
            case _:
                other = replace(other, identity="reader")
    assert told == ["PodGone", "ServiceAccountDiffers", "NodeDiffers", "IdentityDiffers"]


# What the author of the pod wrote


def test_one_annotation_selects() -> None:
    """It names the identity, and is believed to do no more."""
    assert check_annotations(request()) == "reader"


@pytest.mark.parametrize(
    ("annotations", "message"),
    [
        pytest.param({}, "has no userAnnotation agentid.dev/identity", id="none"),
        pytest.param({"agentid.dev/identity": ""}, "has no userAnnotation", id="an-empty-one"),
        pytest.param(
            {"agentid.dev/identity": "reader", "agentid.dev/tier": "Low"},
            'has the userAnnotations "agentid.dev/tier"',
            id="one-more",
        ),
        pytest.param(
            {f"example.org/{number}": "x" for number in range(500)},
            "and 495 more",
            id="very-many",
        ),
        pytest.param({"a/b\u202e\n": "x"}, r"a/b\u202e\n", id="what-would-move-a-terminal"),
    ],
)
def test_other_annotations_are_denied(annotations: dict[str, str], message: str) -> None:
    """By the reason that Kubernetes has for it; a pod's volume does not change."""
    found = check_annotations(request(unverifiedUserAnnotations=annotations))
    assert isinstance(found, Denial)
    assert found.reason.value == "InvalidUnverifiedUserAnnotations"
    assert message in found.message
    assert len(found.message) < 1000
