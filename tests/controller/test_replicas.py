"""Start, stop, fail over: what becomes of the operator itself, and what it leaves alone."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING

import pytest
from kubernetes.client.exceptions import ApiException

from e2e.install import operator, start_operator
from e2e.providers import DevCluster
from tests.support.api import until
from tests.support.manifests import agent_class, identity, issuer
from tests.support.probing import ask, leads, metric, ports

if TYPE_CHECKING:
    from collections.abc import Callable

    from e2e.install import Operator
    from tests.support.api import Api

pytestmark = pytest.mark.integration


@pytest.fixture
def port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number: int = probe.getsockname()[1]
        return number


def versions(api: Api, namespace: str) -> dict[str, str]:
    """The resourceVersion of what an operator could write: a namespace, and the authorities."""
    found = {
        f"identity/{body['metadata']['name']}": body["metadata"]["resourceVersion"]
        for body in api.identities()
        if body["metadata"]["namespace"] == namespace
    }
    for each in (namespace, "agentid-system"):
        listed = api.cluster.kubectl(
            "get", "secrets", "-n", each, "-o",
            "jsonpath={range .items[*]}{.kind}/{.metadata.name} "
            "{.metadata.resourceVersion}{'\\n'}{end}",
        ).stdout  # fmt: skip
        found |= dict(line.split() for line in listed.splitlines())
    return found


def created(api: Api, namespace: str, body: dict[str, object]) -> bool:
    """Whether an identity could be created: a server that has just started knows no CRDs yet."""
    try:
        api.create("agentidentities", body, namespace)
    except ApiException:
        return False
    return True


def test_probes_and_metrics(api: Api, port: int) -> None:
    """A replica that works answers its probes, and its metrics have the documented names."""
    api.free_lease()
    with operator(api.cluster, "probed", port):
        until("leadership", lambda: leads(port))
        assert ask(port, "/healthz") == (200, "ok\n")
        assert ask(port, "/readyz") == (200, "ok\n")
        text = ask(port, "/metrics")[1]
    for name in (
        "agentid_issuances_total", "agentid_failures_total", "agentid_revocations_total",
        "agentid_api_writes_total", "agentid_queue_depth", "agentid_queue_wait_seconds_bucket",
        "agentid_renewals_due", "agentid_ledger_bytes", "agentid_authority_expiry_seconds",
        "agentid_ledger_alarms", "agentid_event_loop_lag_seconds",
    ):  # fmt: skip
        assert f"# TYPE {name.removesuffix('_bucket')} " in text, name


def test_a_restart_writes_nothing(
    api: Api, namespace: str, make_class: Callable[..., str], port: int
) -> None:
    """An operator that comes back to identities in order reissues nothing and writes nothing."""
    name = make_class()
    api.free_lease()
    with operator(api.cluster, "first"):
        for number in range(20):
            api.create("agentidentities", identity(f"agent-{number}", name), namespace)
        for number in range(20):
            api.until_ready(namespace, f"agent-{number}")
    before = versions(api, namespace)
    with operator(api.cluster, "second", port):
        until("leadership", lambda: leads(port))
        until("the identities", lambda: metric(port, "agentid_identities") >= 20)
        api.create("agentidentities", identity("last", name), namespace)
        api.until_ready(namespace, "last")  # it came behind all others
        after = versions(api, namespace)
    changed = {key for key, version in before.items() if after.get(key) != version}
    assert changed == set()


def test_two_replicas_make_one_authority_and_one_leads(
    api: Api, namespace: str, make_class: Callable[..., str]
) -> None:
    """Started together, they end with one root, and hand over when the leader stops or dies."""
    one, two = ports(2)
    api.create("agentissuers", issuer("twin", trustDomain="twin.test"))
    api.create("agentclasses", agent_class("twin", issuerName="twin"))
    api.free_lease()
    replicas: dict[int, Operator] = {
        number: start_operator(api.cluster, f"replica-{number}", number) for number in (one, two)
    }
    try:
        until("a leader", lambda: leads(one) or leads(two))
        api.create("agentidentities", identity("reader", "twin"), namespace)
        api.until_ready(namespace, "reader")
        assert leads(one) != leads(two)

        leader, other = (one, two) if leads(one) else (two, one)
        began = time.monotonic()
        assert replicas[leader].stop() == 0
        assert time.monotonic() - began < 10, "a stop takes less than ten seconds"
        until("the handover", lambda: leads(other), 5)
        api.create("agentidentities", identity("after-stop", make_class()), namespace)
        api.until_ready(namespace, "after-stop")

        replicas[leader] = start_operator(api.cluster, f"replica-{leader}-again", leader)
        until("the follower", lambda: ask(leader, "/readyz")[0] == 200)
        replicas[other].process.kill()
        replicas[other].process.wait()
        until("the take-over", lambda: leads(leader), 30)
        api.create("agentidentities", identity("after-kill", make_class()), namespace)
        api.until_ready(namespace, "after-kill")
    finally:
        for replica in replicas.values():
            replica.stop()
    secrets = api.cluster.kubectl("get", "secrets", "-n", "agentid-system", "-o", "name").stdout
    assert secrets.count("agentid-ca-twin") == 1
    api.delete("agentclasses", "twin")
    api.delete("agentissuers", "twin")


def test_without_the_policy_the_controller_adds_the_finalizer(
    api: Api, namespace: str, make_class: Callable[..., str]
) -> None:
    """Where the API server adds no finalizer, none is issued for before the controller has."""
    name = make_class()
    body = identity("reader", name)
    api.free_lease()
    api.create("agentidentities", body, namespace)
    api.patch("agentidentities", "reader", {"metadata": {"finalizers": None}}, namespace)
    with operator(api.cluster, "adder"):
        api.until_ready(namespace, "reader")
        found = api.identity(namespace, "reader")
        assert found is not None
        assert found["metadata"]["finalizers"] == ["agentid.dev/revocation"]
        api.delete("agentidentities", "reader", namespace)
        until("the end", lambda: api.identity(namespace, "reader") is None)
    assert api.ledger().unrevoked(namespace, "reader") == []


def test_deleted_while_no_operator_runs(
    api: Api, namespace: str, make_class: Callable[..., str]
) -> None:
    """What is deleted, or forced off, while nobody watches is revoked by whoever comes next."""
    name = make_class()
    api.free_lease()
    with operator(api.cluster, "before"):
        for each in ("deleted", "forced"):
            api.create("agentidentities", identity(each, name), namespace)
            api.until_ready(namespace, each)
    api.delete("agentidentities", "deleted", namespace)
    api.patch("agentidentities", "forced", {"metadata": {"finalizers": None}}, namespace)
    api.delete("agentidentities", "forced", namespace)
    assert api.ledger().unrevoked(namespace, "forced") != []
    with operator(api.cluster, "after"):
        until("the end", lambda: api.identity(namespace, "deleted") is None)
        until("one revocation", lambda: not api.ledger().unrevoked(namespace, "deleted"))
        until("the other", lambda: not api.ledger().unrevoked(namespace, "forced"))


def test_the_api_server_goes_away_and_comes_back(
    api: Api, namespace: str, make_class: Callable[..., str], port: int
) -> None:
    """Promise 5: nothing that is valid is taken away meanwhile, and work goes on afterwards."""
    if api.cluster.name != "devcluster":
        pytest.fail("this test stops the API server, which only devcluster allows")
    name = make_class()
    devcluster = DevCluster(api.cluster.directory)
    api.free_lease()
    with operator(api.cluster, "outlasting", port) as running:
        api.create("agentidentities", identity("reader", name), namespace)
        api.until_ready(namespace, "reader")
        serial = api.serial(namespace, "reader")
        devcluster.run("stop", "kube-apiserver", "--kill")
        until("the loss of the Lease", lambda: not leads(port), 20)
        devcluster.run("start", "kube-apiserver")
        until("leadership", lambda: leads(port), 60)
        until("the API", lambda: created(api, namespace, identity("after", name)))
        api.until_ready(namespace, "after", 60)
        assert running.process.poll() is None
    assert api.serial(namespace, "reader") == serial
    assert serial not in api.ledger().revoked
