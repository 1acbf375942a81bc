"""The whole way: the image on a node, the chart by Helm, agents that talk, upgrade, and the end.

The tests tell one story, in this order; each leaves the installation running but for the last.
"""

from __future__ import annotations

import os
import shutil
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from e2e.chart import CHART
from e2e.errors import E2EError
from e2e.image import image, load
from e2e.providers import DevCluster
from tests.support.agent_pods import agent, agent_class, ask, pod, run_once, serve
from tests.support.api import until
from tests.support.release import AGENTS, NAMESPACE, Release

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.release import Held

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(os.geteuid() != 0, reason="a kubelet needs root"),
]

VALUES: dict[str, Any] = {
    "image": {"pullPolicy": "Never"},
    "issuer": {"trustDomain": "agents.example.com"},
    "node": {"enabled": False},  # `restricted` is enforced, which it is not
}

EVERY_MODULE = """
import importlib, pkgutil, sys, agentid
names = [each.name for each in pkgutil.walk_packages(agentid.__path__, "agentid.")]
# Adapters to what agents bring along, and the operator does not.
others = {"agentid.workload.httpx", "agentid.workload.uvicorn"}
for name in names:
    if not name.endswith("__main__") and name not in others:
        importlib.import_module(name)
print(len(names), sys.flags.dont_write_bytecode)
"""


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Release]:
    """The chart on a node, in namespaces where Pod Security `restricted` is enforced."""
    directory = tmp_path_factory.mktemp("chart")
    cluster = DevCluster(directory)
    try:
        made = Release(cluster.up(node=True, install_packages=True))
        load(image(), directory)
        for namespace in (NAMESPACE, AGENTS):
            made.cluster.kubectl("create", "namespace", namespace)
            label = "pod-security.kubernetes.io/enforce=restricted"
            made.cluster.kubectl("label", "namespace", namespace, label)
        made.install(CHART, VALUES)
        yield made
    finally:
        cluster.down()


@pytest.fixture(scope="module")
def talkers(release: Release) -> dict[str, Held]:
    """Two agents with their certificates; the pod of one of them answers the other."""
    release.apply(agent_class(), agent("alice"), agent("bob"))
    held = release.until_issued("alice", "bob")
    serve(release, "alice", client="bob")
    return held


def test_everything_is_ready(release: Release) -> None:
    """Two of each, none was restarted, and the first issuer is there."""
    pods = release.get("pods", NAMESPACE)
    parts = [each["metadata"]["labels"]["app.kubernetes.io/component"] for each in pods]
    assert sorted(parts) == sorted(2 * ["admission", "controller", "responder"])
    states = [each["status"]["containerStatuses"][0] for each in pods]
    assert [(each["ready"], each["restartCount"]) for each in states] == [(True, 0)] * 6
    until("the issuer", lambda: "True" in str(release.get("agentissuers")[0].get("status")))
    assert [each["metadata"]["name"] for each in release.get("agentissuers")] == ["default"]


def test_a_second_installation_is_refused(release: Release) -> None:
    """Its policies would name another controller, for the whole cluster."""
    with pytest.raises(E2EError, match=r'"meta\.helm\.sh/release-name" must equal "second"'):
        release.helm("install", "second", str(CHART), "--set", "node.enabled=false")
    with pytest.raises(E2EError, match="release: not found"):
        release.helm("status", "second")


def test_the_node_plugin_is_refused_where_it_could_not_start(release: Release) -> None:
    """In a namespace that admits no privileged pods; the refusal says both ways out."""
    options = ("--reuse-values", "--set", "node.enabled=true")
    with pytest.raises(E2EError, match=r"enforce is restricted.* label it privileged, or set node"):
        release.helm("upgrade", "agentid", str(CHART), *options)
    assert release.get("daemonsets", NAMESPACE) == []


def test_helm_test_issues_and_verifies(release: Release) -> None:
    """The test of the chart passes, twice, and leaves nothing but its pod and an authority."""
    for _ in range(2):
        told = release.helm("test", "agentid", "--logs", "--timeout", "120s")
        assert "Phase:          Succeeded" in told
        assert "verified" in told
        assert "spiffe://agentid-test.invalid/ns/identities/agent/agentid-test" in told
    assert release.get("agentidentities", NAMESPACE) == []
    assert [each["metadata"]["name"] for each in release.get("agentissuers")] == ["default"]
    assert [each["metadata"]["name"] for each in release.get("agentclasses")] == []


def test_agents_talk(release: Release, talkers: dict[str, Held]) -> None:
    """By mTLS with what lies in their Secrets; each sees the certificate of the other."""
    told = ask(release, "bob", server="alice", run="bob-calls")
    assert told["ok"], told
    assert told["theirs"].lower().lstrip("0") == talkers["alice"].serial.lstrip("0")
    assert told["ours"].lower().lstrip("0") == talkers["bob"].serial.lstrip("0")
    told = ask(release, "bob", server="alice", expected="carol", run="bob-is-misled")
    assert "the peer is" in told["error"]
    told = ask(release, "alice", server="alice", run="alice-calls")
    assert not told["ok"], "alice answers bob and nobody else"


def test_the_responder_serves_crls(release: Release) -> None:
    """Through its Service, as certificates name it."""
    assert crls(release).startswith("-----BEGIN X509 CRL-----")


def crls(release: Release) -> str:
    """What the responder's Service serves, asked for through the API server."""
    service = f"/api/v1/namespaces/{NAMESPACE}/services/agentid-responder:http/proxy"
    return release.cluster.kubectl("get", "--raw", f"{service}/crl/default/all.pem").stdout


def test_every_part_of_the_package_is_in_the_image(release: Release) -> None:
    """Each module can be imported there, on a root file system that cannot be written."""
    told = run_once(release, pod("imports", "-c", EVERY_MODULE))
    assert int(told.split()[0]) > 100


@contextmanager
def load_on(release: Release) -> Iterator[list[str]]:
    """New agents, and questions to the responder, one after the other meanwhile.

    Yields:
        Names of the agents, to which more come; what goes wrong is raised at the end.
    """
    names: list[str] = []
    wrong: list[str] = []
    stop = threading.Event()

    def make() -> None:
        while not stop.wait(0.5):
            name = f"newcomer-{len(names)}"
            try:
                release.apply(agent(name))
                crls(release)
            except E2EError as error:
                wrong.append(str(error))
            names.append(name)

    thread = threading.Thread(target=make)
    thread.start()
    try:
        yield names
    finally:
        stop.set()
        thread.join()
    assert wrong == []


def replicas_of(release: Release) -> set[str]:
    """Names of the pods of the installation that are not on their way out."""
    return {
        each["metadata"]["name"]
        for each in release.get("pods", NAMESPACE)
        if each["metadata"]["labels"]["app.kubernetes.io/name"] == "agentid"
        and "deletionTimestamp" not in each["metadata"]
    }


def test_upgrade_and_rollback_lose_nothing(
    release: Release, talkers: dict[str, Held], tmp_path: Path
) -> None:
    """To a changed chart and back, while agents come: none is refused, and none is issued anew."""
    changed = shutil.copytree(CHART, tmp_path / "agentid")
    about = (changed / "Chart.yaml").read_text()
    (changed / "Chart.yaml").write_text(about.replace("version: 0.1.0", "version: 0.1.1"))
    values = {**VALUES, "logLevel": "debug", "controller": {"podAnnotations": {"changed": "true"}}}
    replicas = replicas_of(release)
    with load_on(release) as names:
        release.install(changed, values)
        upgraded = replicas_of(release)
        during = release.held()
        release.rollback(1)
    assert len(names) > 5
    assert not replicas & upgraded, "the pods were not exchanged"
    held = release.until_issued(*names)
    assert {**talkers, **during}.items() <= {**held, **release.held()}.items()
    assert ask(release, "bob", server="alice", run="bob-calls-later")["ok"]


def test_uninstall_leaves_agents_alone(release: Release, talkers: dict[str, Held]) -> None:
    """Secrets, identities, authorities and ledger stay; a new installation goes on with them."""
    before = release.held()
    assert talkers.items() <= before.items()
    told = release.helm("uninstall", "agentid", "--wait", "--timeout", "120s")
    assert "kept due to the resource policy" in told
    assert release.get("deployments", NAMESPACE) == []
    assert release.held() == before
    assert ask(release, "bob", server="alice", run="bob-calls-on")["ok"]
    names = [each["metadata"]["name"] for each in release.get("secrets", NAMESPACE)]
    assert "agentid-ca-default" in names
    assert any(
        each["metadata"]["labels"].get("agentid.dev/ledger") == "segment"
        for each in release.get("configmaps", NAMESPACE)
        if each["metadata"].get("labels")
    )
    release.install(CHART, VALUES)
    release.apply(agent("late"))
    late = release.until_issued("late")
    assert release.held() == {**before, **late}
