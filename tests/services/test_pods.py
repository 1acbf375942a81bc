"""Pods as a watch tells them, how often a status is written for them, and which doors there are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentid.api import DeliveryMode
from agentid.constants import CSI_DRIVER, LABEL_IDENTITY
from agentid.errors import UnavailableError
from agentid.kube.objects import ObjectKey
from agentid.policy.observed import PodRefusal
from agentid.services import pods as module
from agentid.services.doors import REQUESTS_POLICY, Doors
from agentid.services.pacing import Pacing
from agentid.services.pods import Pod, Pods, Refusals
from agentid.testing.clock import ManualClock

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from agentid.testing.api_server import FakeApiServer
    from tests.services.conftest import Cluster

    Open = Callable[[], AbstractAsyncContextManager[Cluster]]

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
READER = ObjectKey("finance", "reader")


def body(uid: str = "pod-1", identity: str = "reader", phase: str = "Running") -> dict[str, Any]:
    """A pod as the API server has it."""
    return {
        "metadata": {
            "namespace": "finance",
            "name": f"name-of-{uid}",
            "uid": uid,
            "labels": {LABEL_IDENTITY: identity, "app": "reader"},
            "creationTimestamp": "2026-11-01T11:00:00Z",
        },
        "spec": {"serviceAccountName": "reader", "nodeName": "node-1"},
        "status": {"phase": phase},
    }


# Pods


def test_a_pod_is_read_in_full() -> None:
    """Everything that decisions are made from."""
    assert Pod.of(body()) == Pod(
        namespace="finance",
        name="name-of-pod-1",
        uid="pod-1",
        service_account="reader",
        node="node-1",
        identity="reader",
        created=datetime(2026, 11, 1, 11, tzinfo=UTC),
    )
    ending = body()
    ending["metadata"] |= {
        "deletionTimestamp": "2026-11-01T11:30:00Z",
        "annotations": {"kubernetes.io/config.mirror": "x"},
    }
    assert Pod.of(ending).terminating
    assert Pod.of(ending).mirror


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)


@given(
    st.dictionaries(st.sampled_from(["metadata", "spec", "status"]), json),
    st.dictionaries(
        st.sampled_from(["labels", "annotations", "creationTimestamp", "uid", "name"]), json
    ),
)
def test_nonsense_is_a_pod_of_nobody(whole: dict[str, Any], metadata: dict[str, Any]) -> None:
    """Nothing that a watch tells ends the watch; such a pod carries nothing of ours."""
    for each in (whole, {**whole, "metadata": metadata}):
        assert not Pod.of(each).carries("finance", "reader")


@pytest.mark.parametrize(
    ("pod", "carries"),
    [
        pytest.param(body(), True, id="running"),
        pytest.param(body(phase="Pending"), True, id="starting"),
        pytest.param(body(phase="Unknown"), True, id="its-node-is-away"),
        pytest.param(body(phase="Succeeded"), False, id="done"),
        pytest.param(body(phase="Failed"), False, id="failed"),
        pytest.param(body(identity="other"), False, id="of-another-identity"),
        pytest.param(body(identity=""), False, id="without-a-name"),
    ],
)
def test_what_a_pod_carries(pod: dict[str, Any], *, carries: bool) -> None:
    """Until it is certain that it runs no more, it may use what it has."""
    assert Pod.of(pod).carries("finance", "reader") is carries
    assert not Pod.of(pod).carries("elsewhere", "reader")


def test_what_was_seen_to_go_is_gone_until_it_is_told_again() -> None:
    """A label that is taken away and given back makes a pod go and come."""
    pods = Pods()
    assert pods.put(Pod.of(body())) is None
    assert not pods.is_gone("pod-1")
    assert pods.drop("pod-1") == Pod.of(body())
    assert pods.is_gone("pod-1")
    assert pods.get("pod-1") is None
    pods.put(Pod.of(body()))
    assert not pods.is_gone("pod-1")
    assert len(pods) == 1


def test_a_new_beginning_knows_nothing_for_certain() -> None:
    """What was told before is told again or has gone, and nobody knows which."""
    pods = Pods()
    pods.synced = True
    pods.put(Pod.of(body()))
    pods.clear()
    assert (len(pods), pods.synced, pods.is_gone("pod-1")) == (0, False, False)


def test_those_that_are_gone_are_remembered_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest are forgotten; the API server can be asked about them."""
    monkeypatch.setattr(module, "_GONE", 3)
    pods = Pods()
    for number in range(5):
        pods.drop(f"pod-{number}")
    assert [pods.is_gone(f"pod-{number}") for number in range(5)] == [False] * 2 + [True] * 3


# Refusals


def refusal(minutes: int = 0, pod: str = "reader-1", message: str = "no") -> PodRefusal:
    """A refusal at noon and some minutes."""
    return PodRefusal(NOON + timedelta(minutes=minutes), pod, "Denied", message)


def test_only_what_is_new_is_news() -> None:
    """A kubelet that tries again and again is worth one write."""
    refusals = Refusals()
    assert refusals.put("finance", "reader", refusal())
    assert not refusals.put("finance", "reader", refusal(1)), "the same again"
    assert not refusals.put("finance", "reader", refusal(-1, "reader-2")), "an older one"
    assert refusals.put("finance", "reader", refusal(1, "reader-2"))
    assert refusals.put("finance", "other", refusal())
    assert refusals.get("finance", "reader") == refusal(1, "reader-2")
    refusals.drop("finance", "reader")
    assert refusals.get("finance", "reader") is None
    assert refusals.get("finance", "other") == refusal()


def test_pods_that_name_identities_that_are_not_there_fill_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever may create pods may name any; those that were refused last are remembered."""
    monkeypatch.setattr(module, "_REFUSALS", 2)
    refusals = Refusals()
    for name in ("a", "b", "a", "c"):
        refusals.put("finance", name, refusal(message=name * len(refusals._last)))
    assert refusals.get("finance", "b") is None
    assert refusals.get("finance", "a") is not None
    assert refusals.get("finance", "c") is not None


# Pacing


def test_a_rollout_is_one_write_and_the_next_half_a_minute_later() -> None:
    """Counted from the first change, and from the last write."""
    clock = ManualClock()
    pacing = Pacing(clock)
    assert pacing.wait(READER) == 2.0
    clock.advance(1.5)
    assert pacing.wait(READER) == 0.5, "more pods do not put it off"
    clock.advance(0.5)
    assert pacing.wait(READER) <= 0
    pacing.written(READER)
    clock.advance(1)
    assert pacing.wait(READER) == 29.0
    clock.advance(29)
    assert pacing.wait(READER) <= 0
    assert pacing.wait(ObjectKey("finance", "other")) == 2.0, "each by itself"


def test_a_change_that_took_itself_back_is_forgotten() -> None:
    """The next one settles as any other."""
    clock = ManualClock()
    pacing = Pacing(clock)
    pacing.wait(READER)
    pacing.settled(READER)
    clock.advance(60)
    assert pacing.wait(READER) == 2.0
    pacing.written(READER)
    pacing.forget(READER)
    assert pacing.wait(READER) == 2.0


def test_a_clock_that_is_set_back_delays_no_write() -> None:
    """It goes by the time that only moves on."""
    clock = ManualClock()
    pacing = Pacing(clock)
    pacing.wait(READER)
    clock.step(timedelta(days=-1))
    clock.advance(2)
    assert pacing.wait(READER) <= 0


# Doors

SERVED = {
    "kind": "APIResourceList",
    "resources": [{"name": "certificatesigningrequests"}, {"name": "podcertificaterequests"}],
}
ROOT = "/apis/admissionregistration.k8s.io/v1"
POLICY = f"{ROOT}/validatingadmissionpolicies/{REQUESTS_POLICY}"
BINDING = f"{ROOT}/validatingadmissionpolicybindings/{REQUESTS_POLICY}"
OPEN = frozenset({DeliveryMode.POD_CERTIFICATE})


def guarded(
    server: FakeApiServer,
    policy: dict[str, Any] | None = None,
    binding: dict[str, Any] | None = None,
) -> None:
    """Put policy and binding there, with what is different about them."""
    metadata = {"name": REQUESTS_POLICY, "creationTimestamp": "2026-11-01T11:00:00Z"}
    validations = [{"expression": "false"}]
    server.put(
        POLICY,
        {
            "metadata": metadata,
            "spec": {"failurePolicy": "Fail", "validations": validations, **(policy or {})},
        },
    )
    metadata = {**metadata, "creationTimestamp": "2026-11-01T11:30:00Z"}
    spec = {"policyName": REQUESTS_POLICY, "validationActions": ["Deny"], **(binding or {})}
    server.put(BINDING, {"metadata": metadata, "spec": spec})


def served(server: FakeApiServer) -> None:
    """Answer the next question for the resources of the group."""
    from aiohttp import web  # noqa: PLC0415 - a fake's answer

    server.answers.append(lambda _: web.json_response(SERVED))


async def test_a_door_is_open_when_requests_are_served_and_guarded(cluster: Open) -> None:
    """And it says since when: an older request may be anybody's."""
    async with cluster() as c:
        doors = Doors(c.client)
        guarded(c.server)
        served(c.server)
        assert await doors.look() == OPEN
        assert doors.closed.keys() == {DeliveryMode.CSI}
        assert doors.guarded_since == datetime(2026, 11, 1, 11, 30, tzinfo=UTC)
        c.server.put(f"/apis/storage.k8s.io/v1/csidrivers/{CSI_DRIVER}", {"metadata": {}})
        served(c.server)
        assert await doors.look() == OPEN | {DeliveryMode.CSI}
        assert doors.closed == {}


@pytest.mark.parametrize(
    ("policy", "binding", "why"),
    [
        pytest.param(
            {"failurePolicy": "Ignore"}, {}, "lets requests through when it fails", id="ignores"
        ),
        pytest.param({"validations": []}, {}, "stops nothing", id="without-a-rule"),
        pytest.param({}, {"validationActions": ["Audit", "Warn"]}, "stops nothing", id="audits"),
        pytest.param({}, {"policyName": "mine"}, "binds another policy", id="bound-elsewhere"),
        pytest.param(
            {},
            {"matchResources": {"namespaceSelector": {"matchLabels": {"a": "b"}}}},
            "leaves requests out",
            id="narrowed",
        ),
    ],
)
async def test_a_policy_that_lets_requests_through_opens_no_door(
    cluster: Open, policy: dict[str, Any], binding: dict[str, Any], why: str
) -> None:
    """Promise 2: what stands there by name only guards nobody."""
    async with cluster() as c:
        doors = Doors(c.client)
        guarded(c.server, policy, binding)
        served(c.server)
        assert await doors.look() == frozenset()
        assert why in doors.closed[DeliveryMode.POD_CERTIFICATE]
        assert "Install manifests/policies" in doors.closed[DeliveryMode.POD_CERTIFICATE]
        assert doors.guarded_since is None


async def test_each_thing_that_is_missing_is_named(cluster: Open) -> None:
    """What the cluster lacks, or what the installation does."""
    async with cluster() as c:
        doors = Doors(c.client)
        assert await doors.look() == frozenset()
        assert "which Kubernetes has since 1.37" in doors.closed[DeliveryMode.POD_CERTIFICATE]
        for path, kind in (
            (BINDING, "ValidatingAdmissionPolicyBinding"),
            (POLICY, "ValidatingAdmissionPolicy"),
        ):
            guarded(c.server)
            c.server.remove(path)
            served(c.server)
            assert await doors.look() == frozenset()
            message = doors.closed[DeliveryMode.POD_CERTIFICATE]
            assert message.startswith(f"the {kind} {REQUESTS_POLICY} is not there")


async def test_an_api_server_that_is_away_says_nothing_of_doors(cluster: Open) -> None:
    """It is an outage, and no reason to close them."""
    async with cluster() as c:
        c.server.fail_next(503)
        with pytest.raises(UnavailableError, match="503"):
            await Doors(c.client).look()
