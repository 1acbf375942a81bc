"""Reading a PodCertificateRequest: whatever the API server lets through, and nothing else."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from agentid.errors import InputError
from agentid.signer.request import Answer, AnswerType, PodCertificateRequest
from agentid.testing.ca import ThrowawayCA
from tests.support.asked import request_body

Json = dict[str, Any]


def test_everything_that_counts_is_read() -> None:
    """Who is said to ask, for what, and with which key."""
    found = PodCertificateRequest.parse(request_body())
    assert (found.key.namespace, found.key.name, found.uid) == ("finance", "req-1", "r-1")
    assert (found.pod_name, found.pod_uid) == ("reader-1", "p-1")
    assert (found.service_account, found.service_account_uid) == ("default", "sa-1")
    assert (found.node_name, found.node_uid) == ("node-a", "n-1")
    assert found.max_lifetime == timedelta(hours=24)
    assert found.annotations == {"agentid.dev/identity": "reader"}
    assert found.created == datetime(2026, 11, 1, 12, tzinfo=UTC)
    assert found.version == "7"
    assert found.answer is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"podName": None}, "spec.podName", id="no-pod"),
        pytest.param({"podUID": 7}, "spec.podUID", id="a-number-for-a-UID"),
        pytest.param({"serviceAccountName": ""}, "spec.serviceAccountName", id="no-account"),
        pytest.param({"serviceAccountUID": []}, "spec.serviceAccountUID", id="a-list"),
        pytest.param({"nodeName": None}, "spec.nodeName", id="no-node"),
        pytest.param({"nodeUID": {}}, "spec.nodeUID", id="an-object"),
        pytest.param({"maxExpirationSeconds": None}, "maxExpirationSeconds", id="no-lifetime"),
        pytest.param({"maxExpirationSeconds": True}, "maxExpirationSeconds", id="a-boolean"),
        pytest.param({"maxExpirationSeconds": 0}, "maxExpirationSeconds", id="none-at-all"),
        pytest.param({"maxExpirationSeconds": 1 << 31}, "maxExpirationSeconds", id="33-bits"),
        pytest.param({"stubPKCS10Request": None}, "stubPKCS10Request", id="no-stub"),
        pytest.param({"stubPKCS10Request": "%%%%"}, "stubPKCS10Request", id="not-base64"),
        pytest.param(
            {"stubPKCS10Request": base64.b64encode(bytes(10 * 1024 + 3)).decode()},
            "at most 10240 bytes",
            id="a-stub-too-large",
        ),
        pytest.param(
            {"unverifiedUserAnnotations": ["a"]}, "unverifiedUserAnnotations", id="list-of-names"
        ),
        pytest.param(
            {"unverifiedUserAnnotations": {"a/b": 1}}, "unverifiedUserAnnotations", id="a-number"
        ),
    ],
)
def test_a_faulty_field_is_named(changes: Json, message: str) -> None:
    """What no API server sends is no request."""
    with pytest.raises(InputError, match=message):
        PodCertificateRequest.parse(request_body(**changes))


def test_what_has_no_spec_or_uid_is_refused() -> None:
    """As what is left of an object whose deletion was found by a new list."""
    body = request_body()
    with pytest.raises(InputError, match=r"spec is a value of type NoneType"):
        PodCertificateRequest.parse({"metadata": body["metadata"]})
    with pytest.raises(InputError, match=r"metadata.uid"):
        PodCertificateRequest.parse({**body, "metadata": {"name": "req-1"}})


def test_any_number_of_annotations_is_read() -> None:
    """The API server takes 256 KiB of them; what is too much is to be denied, not to be ignored."""
    many = {f"example.org/{number}": "x" for number in range(5000)}
    found = PodCertificateRequest.parse(request_body(unverifiedUserAnnotations=many))
    assert len(found.annotations) == 5000
    assert (
        PodCertificateRequest.parse(request_body(unverifiedUserAnnotations=None)).annotations == {}
    )


@pytest.mark.parametrize("kind", list(AnswerType))
def test_an_answer_is_read(kind: AnswerType) -> None:
    """With the fingerprint of the leaf, whatever comes behind it."""
    leaf = ThrowawayCA().issue().leaf
    condition = {
        "type": kind.value,
        "status": "True",
        "reason": "Because",
        "message": "of this",
        "lastTransitionTime": "2026-11-01T12:00:05Z",
    }
    status = {"conditions": [condition], "certificateChain": leaf.chain_pem.decode()}
    found = PodCertificateRequest.parse({**request_body(), "status": status}).answer
    at = datetime(2026, 11, 1, 12, 0, 5, tzinfo=UTC)
    assert found == Answer(kind, at, "Because", "of this", leaf.fingerprint)


@pytest.mark.parametrize(
    "chain",
    [
        pytest.param("no PEM", id="no-PEM"),
        pytest.param("\ud800", id="no-unicode"),
        pytest.param("-" * (100 * 1024 + 1), id="too-long"),
        pytest.param(7, id="a-number"),
    ],
)
def test_a_chain_that_is_none_is_not_ours(chain: object) -> None:
    """Then nothing that we made was the answer."""
    status = {"conditions": [{"type": "Issued"}], "certificateChain": chain}
    found = PodCertificateRequest.parse({**request_body(), "status": status}).answer
    assert found is not None
    assert found.fingerprint == ""


@pytest.mark.parametrize(
    "status",
    [
        pytest.param(None, id="none"),
        pytest.param({}, id="empty"),
        pytest.param({"conditions": "Issued"}, id="a-text"),
        pytest.param({"conditions": [{"type": "Ready"}, 7]}, id="of-another-type"),
    ],
)
def test_without_a_known_condition_it_waits(status: object) -> None:
    """A condition that we do not know ends no request."""
    assert PodCertificateRequest.parse({**request_body(), "status": status}).answer is None
