"""Limits of a class at the kubelet's door, on a real API server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from agentid.pki import KeyAlgorithm, generate
from tests.support.manifests import identity

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.api import Api
    from tests.support.pod_requests import Kubelets

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("running")]

DELIVERY = {"mode": "PodCertificate"}
Json = dict[str, Any]


def ask(kubelets: Kubelets, pod: Json) -> Json:
    """A kubelet asks for a pod, with a key of its own."""
    return kubelets.ask(kubelets.asking(pod, key=generate(KeyAlgorithm.ECDSAP256)))


def is_issued(request: Json) -> bool:
    """Whether it was answered with a certificate."""
    conditions = request["status"].get("conditions") or [{}]
    return bool(conditions[0].get("type") == "Issued")


def made_for(api: Api, namespace: str) -> int:
    """How many certificates are on record for a namespace."""
    return sum(each.namespace == namespace for each in api.ledger().issued.values())


def test_pods_of_an_identity_without_a_place_wait_for_it(
    api: Api, kubelets: Kubelets, namespace: str, make_class: Callable[..., str]
) -> None:
    """And get theirs when it has one, denied never."""
    name = make_class(delivery={"modes": ["PodCertificate"]}, limits={"identities": 1})
    for each in ("first", "second"):
        api.create("agentidentities", identity(each, name, delivery=DELIVERY), namespace)
        reason = "Available" if each == "first" else "QuotaExceeded"
        api.until_reason(namespace, each, "Ready", reason)
    served = kubelets.pod(namespace, "pod-1", identity="first")
    waiting = kubelets.pod(namespace, "pod-2", identity="second")
    waits = ask(kubelets, waiting)
    assert is_issued(kubelets.until_answered(ask(kubelets, served)))
    assert kubelets.condition(waits) == {}
    assert made_for(api, namespace) == 1
    api.delete("agentidentities", "first", namespace)
    api.until_ready(namespace, "second")
    assert is_issued(kubelets.until_answered(waits, 20))


def test_requests_over_the_rate_stay_pending_until_their_turn(
    api: Api, kubelets: Kubelets, namespace: str, make_class: Callable[..., str]
) -> None:
    """However many a pod is asked for, and whatever pods come and go."""
    name = make_class(
        delivery={"modes": ["PodCertificate"]}, limits={"issuancesPerMinutePerNamespace": 2}
    )
    api.create("agentidentities", identity("reader", name, delivery=DELIVERY), namespace)
    api.until_ready(namespace, "reader")
    for number in (1, 2):
        pod = kubelets.pod(namespace, f"pod-{number}")
        assert is_issued(kubelets.until_answered(ask(kubelets, pod)))
        kubelets.delete_pod(namespace, f"pod-{number}")
    third = ask(kubelets, kubelets.pod(namespace, "pod-3"))
    api.until_ready(namespace, "reader")
    assert kubelets.condition(third) == {}
    assert made_for(api, namespace) == 2
    assert is_issued(kubelets.until_answered(third, 90))
    assert made_for(api, namespace) == 3
