"""What a crash, a lost race or an outage leaves behind: nothing that nobody has."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from e2e.install import operator, start_operator
from e2e.providers import DevCluster
from tests.controller.test_crashes import crash
from tests.support.api import until
from tests.support.manifests import identity
from tests.support.probing import leads, ports

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.api import Api
    from tests.support.pod_requests import Kubelets

pytestmark = pytest.mark.integration

Json = dict[str, Any]
DELIVERY = {"mode": "PodCertificate"}
MODES = {"modes": ["PodCertificate"]}


def serial_of(request: Json) -> str:
    """The serial that an answer tells."""
    condition = request["status"]["conditions"][0]
    assert condition["type"] == "Issued", condition
    return str(condition["message"].rpartition("serial ")[2])


def settled(api: Api, namespace: str, *serials: str) -> Callable[[], bool]:
    """Exactly these are on record and not revoked."""
    return lambda: sorted(api.ledger().unrevoked(namespace, "reader")) == sorted(serials)


def ready(api: Api, namespace: str, class_name: str) -> None:
    """Bring the identity `reader` to Ready by an operator that nothing happens to."""
    api.create("agentidentities", identity("reader", class_name, delivery=DELIVERY), namespace)
    api.free_lease()
    with operator(api.cluster, "undisturbed"):
        api.until_ready(namespace, "reader")


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("at", [pytest.param(1, id="the-ledger"), pytest.param(2, id="the-answer")])
def test_killed_at_a_write_it_converges(
    api: Api,
    kubelets: Kubelets,
    namespace: str,
    make_class: Callable[..., str],
    tmp_path: Path,
    at: int,
    when: str,
) -> None:
    """The request has one certificate, and what was made on the way to it is revoked."""
    ready(api, namespace, make_class(delivery=MODES))
    request = kubelets.ask(kubelets.asking(kubelets.pod(namespace, "reader-1")))
    writes = ["create configmaps", "update podcertificaterequests/status"]
    assert crash(api, namespace, tmp_path / "writes", at, when) == writes[:at]
    on_record = len(api.ledger().of(namespace, "reader"))
    assert on_record == (0 if (at, when) == (1, "before") else 1)
    api.free_lease()
    with operator(api.cluster, "after"):
        serial = serial_of(kubelets.until_answered(request))
        assert serial in api.ledger().issued, "promise 3"
        until("one certificate and no stray one", settled(api, namespace, serial))
        made = len(api.ledger().of(namespace, "reader"))
        answered_at_once = (at, when) == (2, "after")
        assert made == (1 if answered_at_once or on_record == 0 else 2)


def test_two_replicas_and_a_leader_that_is_killed(
    api: Api, kubelets: Kubelets, namespace: str, make_class: Callable[..., str]
) -> None:
    """Every request is answered, each with one certificate, whoever was at it."""
    ready(api, namespace, make_class(delivery=MODES))
    pods = [kubelets.pod(namespace, f"reader-{number}") for number in range(40)]
    api.free_lease()
    first, second = ports(2)
    replicas = {
        port: start_operator(api.cluster, f"replica-{port}", port) for port in (first, second)
    }
    try:
        until("a leader", lambda: leads(first) or leads(second))
        leader = first if leads(first) else second
        with ThreadPoolExecutor(8) as pool:
            asked = pool.map(lambda pod: kubelets.ask(kubelets.asking(pod)), pods[:20])
            requests = list(asked)
            replicas[leader].process.kill()
            requests += pool.map(lambda pod: kubelets.ask(kubelets.asking(pod)), pods[20:])
        # The follower answers what has waited for five seconds; the Lease runs out later.
        serials = [serial_of(kubelets.until_answered(request, 40)) for request in requests]
        assert len(set(serials)) == 40
        until("no stray one", settled(api, namespace, *serials), 60)
    finally:
        for replica in replicas.values():
            replica.process.kill()
            replica.process.wait()


def test_the_api_server_goes_away_and_comes_back(
    api: Api, kubelets: Kubelets, namespace: str, make_class: Callable[..., str]
) -> None:
    """Requests go on within seconds, and none has two certificates."""
    if api.cluster.name != "devcluster":
        pytest.fail("this test stops the API server, which only devcluster allows")
    devcluster = DevCluster(api.cluster.directory)
    api.create(
        "agentidentities",
        identity("reader", make_class(delivery=MODES), delivery=DELIVERY),
        namespace,
    )
    pods = [kubelets.pod(namespace, f"reader-{number}") for number in range(20)]
    api.free_lease()
    with operator(api.cluster, "outlasting"):
        api.until_ready(namespace, "reader")
        asked = [kubelets.ask(kubelets.asking(pod)) for pod in pods[:10]]
        devcluster.run("stop", "kube-apiserver", "--kill")
        devcluster.run("start", "kube-apiserver")
        asked += [kubelets.ask(kubelets.asking(pod)) for pod in pods[10:]]
        serials = [serial_of(kubelets.until_answered(request, 60)) for request in asked]
        until("no stray one", settled(api, namespace, *serials), 60)
