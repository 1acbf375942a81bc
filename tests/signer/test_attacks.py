"""Requests that must not be granted, made as the kubelets of real pods on a real API server."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from kubernetes.client.exceptions import ApiException

from agentid.pki import KeyAlgorithm, generate
from tests.support.api import until
from tests.support.manifests import identity
from tests.support.pod_requests import LABEL, stub

if TYPE_CHECKING:
    from collections.abc import Callable

    from e2e.install import Operator
    from tests.support.api import Api
    from tests.support.pod_requests import Kubelets

pytestmark = pytest.mark.integration

Json = dict[str, Any]
DELIVERY = {"mode": "PodCertificate"}


@pytest.fixture
def agent(
    api: Api, namespace: str, make_class: Callable[..., str], running: Operator
) -> Callable[..., str]:
    """Applies an AgentIdentity of a class that delivers to pods, and waits until it is Ready."""
    assert running.process.poll() is None
    class_name = make_class(delivery={"modes": ["PodCertificate"]})

    def apply(name: str = "reader", where: str = "", *, ready: bool = True, **spec: object) -> str:
        home = where or namespace
        api.create("agentidentities", identity(name, class_name, delivery=DELIVERY, **spec), home)
        if ready:
            api.until_ready(home, name)
        return home

    return apply


def is_denied(kubelets: Kubelets, request: Json, reason: str, message: str) -> None:
    """The request is denied for good, and says why."""
    condition = kubelets.until_answered(request)["status"]["conditions"][0]
    assert (condition["type"], condition["reason"]) == ("Denied", reason)
    assert message in condition["message"]


def waits(api: Api, kubelets: Kubelets, request: Json, reason: str) -> Json:
    """The request waits, and the author of its pod reads why."""
    namespace, pod = request["metadata"]["namespace"], request["spec"]["podName"]

    def told() -> list[Json]:
        listed = api.cluster.kubectl("get", "events", "-n", namespace, "-o", "json").stdout
        return [
            each
            for each in json.loads(listed)["items"]
            if each["involvedObject"]["name"] == pod
            and each["reason"] == "CertificateWaits"
            and each["message"].startswith(f"{reason}: ")
        ]

    until(f"an Event on pod {pod} that says {reason}", told)
    assert kubelets.condition(request) == {}
    (event,) = told()
    return event


def nothing_on_record(api: Api, namespace: str) -> None:
    """No certificate was made for anybody in the namespace."""
    assert [each for each in api.ledger().issued.values() if each.namespace == namespace] == []


def test_a_pod_gets_the_certificate_of_its_identity(
    api: Api, kubelets: Kubelets, agent: Callable[..., str]
) -> None:
    """For its kubelet's key, on record with pod, UID and node, and refreshed for another key."""
    namespace = agent()
    pod = kubelets.pod(namespace, "reader-1")
    for _ in range(2):
        key = generate(KeyAlgorithm.ECDSAP256)
        request = kubelets.until_answered(kubelets.ask(kubelets.asking(pod, key=key)))
        status = request["status"]
        assert status["conditions"][0]["type"] == "Issued", status
        leaf = x509.load_pem_x509_certificates(status["certificateChain"].encode())[0]
        assert leaf.public_key() == key.public_key()
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        found = names.get_values_for_type(x509.UniformResourceIdentifier)
        assert found == [f"spiffe://agents.test/ns/{namespace}/agent/reader"]
        record = api.ledger().of(namespace, "reader")[-1]
        assert record.serial.value == leaf.serial_number
        assert record.pod is not None
        assert record.pod.uid == pod["metadata"]["uid"]
        assert record.pod.node == "node-a"
        assert record.pod.request == request["metadata"]["uid"]


def test_an_identity_of_another_namespace_is_not_there(
    api: Api, kubelets: Kubelets, agent: Callable[..., str], make_namespace: Callable[[], str]
) -> None:
    """The label names one of the pod's own namespace, whoever has one of that name elsewhere."""
    agent("treasurer", make_namespace())
    other = make_namespace()
    pod = kubelets.pod(other, "thief", identity="treasurer")
    request = kubelets.ask(kubelets.asking(pod))
    event = waits(api, kubelets, request, "IdentityNotFound")
    assert f"there is no AgentIdentity {other}/treasurer" in event["message"]
    nothing_on_record(api, other)


def test_an_identity_that_comes_lets_the_pod_go_on(
    api: Api, kubelets: Kubelets, agent: Callable[..., str], namespace: str
) -> None:
    """Its pods wait for it without anybody's help."""
    request = kubelets.ask(kubelets.asking(kubelets.pod(namespace, "early", identity="late")))
    waits(api, kubelets, request, "IdentityNotFound")
    agent("late")
    condition = kubelets.until_answered(request, 10)["status"]["conditions"][0]
    assert condition["type"] == "Issued"


def test_another_account_does_not_get_it(
    api: Api, kubelets: Kubelets, agent: Callable[..., str]
) -> None:
    """The identity says which ServiceAccount its pods run as."""
    namespace = agent(subject={"serviceAccountName": "robot"})
    request = kubelets.ask(kubelets.asking(kubelets.pod(namespace, "thief")))
    is_denied(kubelets, request, "NotItsServiceAccount", "is bound to ServiceAccount robot")
    nothing_on_record(api, namespace)
    api.until_ready(namespace, "reader")
    kubelets.account(namespace, "robot")
    own = kubelets.ask(kubelets.asking(kubelets.pod(namespace, "own", account="robot")))
    assert kubelets.until_answered(own)["status"]["conditions"][0]["type"] == "Issued"


def test_a_suspended_one_gives_nothing_until_it_is_resumed(
    api: Api, kubelets: Kubelets, agent: Callable[..., str]
) -> None:
    """Suspending may be taken back, so the pod waits."""
    namespace = agent(ready=False, suspend=True)
    api.until_reason(namespace, "reader", "Suspended", "Suspended")
    request = kubelets.ask(kubelets.asking(kubelets.pod(namespace, "reader-1")))
    event = waits(api, kubelets, request, "Suspended")
    assert "set spec.suspend to false" in event["message"]
    nothing_on_record(api, namespace)
    api.patch("agentidentities", "reader", {"spec": {"suspend": False}}, namespace)
    condition = kubelets.until_answered(request, 10)["status"]["conditions"][0]
    assert condition["type"] == "Issued"


def test_a_volume_that_names_another_identity_is_denied(
    api: Api, kubelets: Kubelets, agent: Callable[..., str]
) -> None:
    """The label is what policies see; a volume that says something else is a trick."""
    namespace = agent()
    agent("treasurer", namespace)
    asking = kubelets.asking(
        kubelets.pod(namespace, "thief"), {"unverifiedUserAnnotations": {LABEL: "treasurer"}}
    )
    is_denied(kubelets, kubelets.ask(asking), "IdentityDiffers", 'says "reader"')
    nothing_on_record(api, namespace)


def test_a_pod_without_the_label_is_denied(
    api: Api, kubelets: Kubelets, agent: Callable[..., str]
) -> None:
    """It cannot be made with the volume alone; nor does it help to take the label off."""
    namespace = agent()
    with pytest.raises(ApiException, match="by which they are revoked"):
        kubelets.pod(namespace, "plain", identity="")
    pod = kubelets.pod(namespace, "reader-1")
    api.cluster.kubectl("label", "pod", "reader-1", "-n", namespace, f"{LABEL}-")
    asking = kubelets.asking(pod)
    is_denied(kubelets, kubelets.ask(asking), "IdentityDiffers", "is not there")
    nothing_on_record(api, namespace)


@pytest.mark.parametrize("annotations", [{LABEL: "reader", "example.org/tier": "Low"}, {}])
def test_other_annotations_get_nothing(
    annotations: dict[str, str], api: Api, kubelets: Kubelets, agent: Callable[..., str]
) -> None:
    """Refused by the policy, or denied by the signer; nobody looks past a key he does not know."""
    namespace = agent()
    pod = kubelets.pod(namespace, "reader-1")
    asking = kubelets.asking(pod, {"unverifiedUserAnnotations": annotations})
    try:
        request = kubelets.ask(asking)
    except ApiException as error:
        assert error.status in {403, 422}, error.body  # noqa: PT017 - the policy may come first
    else:
        is_denied(kubelets, request, "InvalidUnverifiedUserAnnotations", "userAnnotation")
    nothing_on_record(api, namespace)


@pytest.mark.parametrize(
    ("builder", "key", "reason"),
    [
        pytest.param(
            x509.CertificateSigningRequestBuilder(
                x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "system:masters")])
            ),
            None,
            "StubNotEmpty",
            id="a-subject",
        ),
        pytest.param(
            x509.CertificateSigningRequestBuilder(x509.Name([])).add_extension(
                x509.SubjectAlternativeName(
                    [x509.UniformResourceIdentifier("spiffe://agents.test/ns/x/agent/admin")]
                ),
                critical=False,
            ),
            None,
            "StubNotEmpty",
            id="another-SPIFFE-ID",
        ),
        pytest.param(
            None, generate(KeyAlgorithm.ED25519), "UnsupportedKeyType", id="another-key-type"
        ),
    ],
)
def test_a_stub_that_says_more_is_denied(
    builder: x509.CertificateSigningRequestBuilder | None,
    key: Any,  # noqa: ANN401 - any private key
    reason: str,
    api: Api,
    kubelets: Kubelets,
    agent: Callable[..., str],
) -> None:
    """A certificate says what its class says, whatever it was asked for."""
    namespace = agent()
    der = stub(key, builder)
    asking = kubelets.asking(
        kubelets.pod(namespace, "reader-1"),
        {"stubPKCS10Request": base64.b64encode(der).decode()},
    )
    is_denied(kubelets, kubelets.ask(asking), reason, "key")
    nothing_on_record(api, namespace)


def test_a_label_that_is_taken_away_takes_the_certificate_with_it(
    api: Api, kubelets: Kubelets, agent: Callable[..., str]
) -> None:
    """The next refresh is denied, since the pod is not to have the identity any more."""
    namespace = agent()
    pod = kubelets.pod(namespace, "reader-1")
    kubelets.until_answered(kubelets.ask(kubelets.asking(pod)))
    api.cluster.kubectl("label", "pod", "reader-1", "-n", namespace, f"{LABEL}-")
    refresh = kubelets.ask(kubelets.asking(pod))
    is_denied(kubelets, refresh, "IdentityDiffers", "is not there")


def test_a_deleted_identity_gives_nothing_to_pods_that_are_left(
    api: Api, kubelets: Kubelets, agent: Callable[..., str]
) -> None:
    """A refresh waits, and what the pod had is revoked."""
    namespace = agent()
    pod = kubelets.pod(namespace, "reader-1")
    kubelets.until_answered(kubelets.ask(kubelets.asking(pod)))
    api.delete("agentidentities", "reader", namespace)
    until("the end", lambda: api.identity(namespace, "reader") is None)
    until("the revocation", lambda: api.ledger().unrevoked(namespace, "reader") == [])
    waits(api, kubelets, kubelets.ask(kubelets.asking(pod)), "IdentityNotFound")
    assert api.ledger().unrevoked(namespace, "reader") == []


def test_a_request_that_is_deleted_while_it_waits_leaves_nothing(
    api: Api, kubelets: Kubelets, agent: Callable[..., str], namespace: str
) -> None:
    """A kubelet gives up after some minutes, and asks anew."""
    pod = kubelets.pod(namespace, "early", identity="late")
    request = kubelets.ask(kubelets.asking(pod))
    waits(api, kubelets, request, "IdentityNotFound")
    kubelets.delete(request)
    agent("late")
    later = kubelets.pod(namespace, "later", identity="late")
    kubelets.until_answered(kubelets.ask(kubelets.asking(later)))
    found = [each.pod and each.pod.name for each in api.ledger().of(namespace, "late")]
    assert found == ["later"]
