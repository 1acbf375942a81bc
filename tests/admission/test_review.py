"""AdmissionReviews: read strictly as far as they are asked about, and answered in their form."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agentid.admission.review import MAX_REVIEW_BYTES, encode_answer, read_review
from agentid.admission.verdict import Outcome, Refusal, Verdict
from agentid.errors import InputError
from tests.support.reviewing import answer_of, pod, review_of

UID = "705ab4f5-6393-11e8-b7cc-42010a800002"


def changed(**request: Any) -> bytes:  # noqa: ANN401 - JSON
    """A review with other fields in its request."""
    return review_of(pod(), **request)


def without(name: str) -> bytes:
    """A review whose request lacks a field."""
    whole = json.loads(review_of(pod()))
    del whole["request"][name]
    return json.dumps(whole).encode()


def test_reads_what_an_api_server_sends() -> None:
    """Fields that are not asked about are ignored."""
    review = read_review(changed(somethingNew={"a": [1]}))
    assert (review.uid, review.creates, review.namespace) == (UID, True, "finance")
    assert review.pod["kind"] == "Pod"


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(changed(operation="UPDATE"), id="update"),
        pytest.param(changed(operation="DELETE", object=None), id="delete"),
        pytest.param(changed(operation="CONNECT"), id="connect"),
        pytest.param(changed(operation="CREATE", subResource="binding"), id="binding"),
        pytest.param(
            changed(operation="UPDATE", subResource="ephemeralcontainers"), id="ephemeral"
        ),
    ],
)
def test_only_the_making_of_a_pod_is_looked_at(body: bytes) -> None:
    """Whatever else is sent is no review of a pod that is made."""
    assert not read_review(body).creates


_NOT_PODS = {"group": "apps", "version": "v1", "resource": "deployments"}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        pytest.param(b"", "not JSON", id="empty"),
        pytest.param(b"{", "not JSON", id="cut"),
        pytest.param(b"\xff\xfe{}", "not JSON", id="utf-16"),
        pytest.param(b'{"a":"\xc3\x28"}', "not JSON", id="utf-8"),
        pytest.param(b'{"a":"\\ud800"}', "not JSON", id="surrogate"),
        pytest.param(b"[" * 200_000, "not JSON", id="deep"),
        pytest.param(b"NaN", "not JSON", id="nan"),
        pytest.param(b"[]", 'apiVersion ""', id="list"),
        pytest.param(b"null", 'apiVersion ""', id="null"),
        pytest.param(b"{}", 'apiVersion ""', id="nothing"),
        pytest.param(
            b'{"apiVersion":"admission.k8s.io/v1beta1","kind":"AdmissionReview"}',
            'apiVersion "admission.k8s.io/v1beta1"',
            id="version",
        ),
        pytest.param(b'{"apiVersion":"admission.k8s.io/v1","kind":"Pod"}', 'kind "Pod"', id="kind"),
        pytest.param(
            b'{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"}',
            "request: uid, operation or resource is missing",
            id="no-request",
        ),
        pytest.param(without("uid"), "uid, operation or resource", id="no-uid"),
        pytest.param(changed(uid=""), "uid, operation or resource", id="empty-uid"),
        pytest.param(changed(uid="x" * 129), "uid, operation or resource", id="long-uid"),
        pytest.param(changed(uid=7), "uid, operation or resource", id="number-for-uid"),
        pytest.param(without("operation"), "uid, operation or resource", id="no-operation"),
        pytest.param(changed(resource="pods"), "uid, operation or resource", id="resource-text"),
        pytest.param(
            changed(resource=_NOT_PODS), '"apps.v1.deployments" is not reviewed here', id="others"
        ),
        pytest.param(changed(object=None), "has a namespace and an object", id="no-object"),
        pytest.param(changed(object=[]), "has a namespace and an object", id="list-for-object"),
        pytest.param(changed(namespace=""), "has a namespace and an object", id="no-namespace"),
        pytest.param(changed(namespace=None), "has a namespace and an object", id="null-namespace"),
        pytest.param(
            b" " * (MAX_REVIEW_BYTES + 1), f"at most {MAX_REVIEW_BYTES} are read", id="large"
        ),
    ],
)
def test_refuses_what_is_no_review(body: bytes, message: str) -> None:
    """With a sentence that says what to send."""
    with pytest.raises(InputError, match=message.replace("[", r"\[")):
        read_review(body)


def test_a_refusal_is_a_status() -> None:
    """The API server hands code, reason and message on to the author of the pod."""
    refused = Verdict.refused(Refusal(Outcome.STATIC_POD, "no"), "finance/reader")
    response, _ = answer_of(encode_answer("u", refused))
    assert response == {
        "uid": "u",
        "allowed": False,
        "status": {"code": 403, "reason": "Forbidden", "message": "no"},
        "auditAnnotations": {"identity": "finance/reader", "verdict": "StaticPod"},
    }


def test_what_may_come_right_by_itself_is_told_apart() -> None:
    """503, so that whoever asked knows to come again."""
    refused = Verdict.refused(Refusal(Outcome.UNAVAILABLE, "later"))
    response, _ = answer_of(encode_answer("u", refused))
    assert response["status"] == {"code": 503, "reason": "ServiceUnavailable", "message": "later"}


def test_a_message_is_bounded() -> None:
    """However much was wrong."""
    refused = Verdict.refused(Refusal(Outcome.STATIC_POD, "n" * 100_000))
    assert len(refused.message) == 4096


def test_a_pod_that_is_let_through_as_it_is_gets_no_patch() -> None:
    """Nothing stands in the answer that an API server would have to do."""
    response, patch = answer_of(encode_answer("u", Verdict(Outcome.NOT_SELECTED)))
    assert response == {"uid": "u", "allowed": True}
    assert patch == []


def test_a_patch_and_warnings_reach_the_api_server() -> None:
    """In the form that it takes: JSONPatch in base64."""
    operation: dict[str, object] = {"op": "add", "path": "/spec/volumes", "value": []}
    verdict = Verdict(Outcome.MOUNTED, patch=[operation], warnings=["w"], identity="a/b")
    response, patch = answer_of(encode_answer("u", verdict))
    assert patch == [operation]
    assert response["warnings"] == ["w"]
    assert response["allowed"] is True
