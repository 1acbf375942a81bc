"""Identities in pods, on a real kubelet: as each starts, while it runs, and when it goes.

The same story is told twice: with the webhook that mounts the volume, and with the policy that does
it inside the API server.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from cryptography import x509

from e2e.chart import CHART
from e2e.image import example_image, image, load
from e2e.providers import DevCluster
from tests.support.api import until
from tests.support.opted_in import (
    agent,
    agent_class,
    deployment,
    live_by_pod,
    names_of,
    on_record,
    pod,
    refused,
    told,
)
from tests.support.release import AGENTS, NAMESPACE, Release

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(os.geteuid() != 0, reason="a kubelet needs root"),
]

VALUES: dict[str, Any] = {
    "image": {"pullPolicy": "Never"},
    "issuer": {"trustDomain": "agents.example.com"},
    "node": {"enabled": False},  # `restricted` is enforced, which it is not
}
MANY = 50
EXAMPLES = Path(__file__).parents[2] / "examples"


class Installed:
    """The chart on a node."""

    def __init__(self, directory: Path) -> None:
        self.devcluster = DevCluster(directory)
        self.release = Release(self.devcluster.up(node=True, install_packages=True))
        load(image(), directory)
        for namespace in (NAMESPACE, AGENTS):
            self.release.cluster.kubectl("create", "namespace", namespace)
            label = "pod-security.kubernetes.io/enforce=restricted"
            self.release.cluster.kubectl("label", "namespace", namespace, label)
        self.mode = ""

    def switch(self, mode: str) -> Release:
        """Have pods opted in by this way."""
        if self.mode != mode:
            self.release.install(CHART, {**VALUES, "admission": {"mode": mode}})
            self.mode = mode
        return self.release


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    """One cluster for both ways."""
    directory = tmp_path_factory.mktemp("pods")
    try:
        yield Installed(directory)
    finally:
        DevCluster(directory).down()


@pytest.fixture(scope="module", params=["Webhook", "Policy"])
def release(installed: Installed, request: pytest.FixtureRequest) -> Release:
    """The installation, which mounts in this way; a class is there."""
    made = installed.switch(request.param)
    made.apply(agent_class())
    return made


def settle(release: Release, name: str, **spec: object) -> None:
    """Apply an agent and wait until its pods may start."""
    release.apply(agent(name, **spec))
    where = ("-n", AGENTS, "-o", "json")

    def ready() -> bool:
        body = json.loads(release.cluster.kubectl("get", "agentidentity", name, *where).stdout)
        conditions = body.get("status", {}).get("conditions", ())
        return any((c["type"], c["status"]) == ("Ready", "True") for c in conditions)

    until(f"agent {name}", ready)


def trial(release: Release, name: str, **spec: object) -> str:
    """Wait until pods are mutated: after an installation the API server takes a moment for it."""
    settle(release, name, **spec)

    def mounted() -> bool:
        text = json.dumps(pod("trial", name))
        done = release.cluster.kubectl(
            "create", "--dry-run=server", "-f", "-", "-o", "json", stdin=text, check=False
        )
        return done.returncode == 0 and "agentid.dev/agent" in done.stdout

    until("pods to be mounted", mounted, 60)
    return name


def pods_status(release: Release, name: str) -> dict[str, Any]:
    """What the status of an agent says of its pods."""
    where = ("-n", AGENTS, "-o", "json")
    body = json.loads(release.cluster.kubectl("get", "agentidentity", name, *where).stdout)
    found: dict[str, Any] = body["status"].get("pods", {})
    return found


def of_mode(name: str, request: pytest.FixtureRequest) -> str:
    """A name of this way's own."""
    return f"{name}-{'webhook' if 'Webhook' in request.node.name else 'policy'}"


def test_each_replica_has_its_own_before_its_first_instruction(
    release: Release, request: pytest.FixtureRequest
) -> None:
    """Key, chain and bundle in init and main container alike; its end revokes one, no other."""
    name = trial(release, of_mode("reader", request))
    release.apply(deployment(name, 3))
    running = names_of(release, name, 3)
    serials = {}
    for each in running:
        for container in ("first", "main"):
            found, chain = told(release, each, container)
            assert found == {
                "id": f"spiffe://agents.example.com/ns/{AGENTS}/agent/{name}",
                "who": "1000",
            }
            leaf = x509.load_pem_x509_certificates(chain.encode())[0]
            san = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            assert san.get_values_for_type(x509.UniformResourceIdentifier) == [found["id"]]
            serials[each] = f"{leaf.serial_number:x}"
    assert len(set(serials.values())) == 3
    live = live_by_pod(release, name)
    assert {each: [serial.lstrip("0")] for each, (serial,) in live.items()} == {
        each: [serial] for each, serial in serials.items()
    }
    assert not [
        each["metadata"]["name"]
        for each in release.get("secrets", AGENTS)
        if name in each["metadata"]["name"]
    ]
    until("three pods in the status", lambda: pods_status(release, name).get("certificates") == 3)

    gone, *others = running
    (serial,) = live[gone]
    release.cluster.kubectl("delete", "pod", gone, "-n", AGENTS, "--wait=true")
    until("the revocation", lambda: on_record(release, name)[serial]["state"] == "revoked")
    assert on_record(release, name)[serial]["revocation"]["reason"] == "cessationOfOperation"
    names_of(release, name, 3)
    after = live_by_pod(release, name)
    assert {each: after[each] for each in others} == {each: live[each] for each in others}

    release.cluster.kubectl("delete", "agentidentity", name, "-n", AGENTS, "--wait=true")
    assert live_by_pod(release, name) == {}
    assert name in refused(release, pod("late", name))
    release.cluster.kubectl("delete", "deployment", name, "-n", AGENTS, "--wait=true")


def test_each_pod_may_have_an_identity_of_its_own(
    release: Release, request: pytest.FixtureRequest
) -> None:
    """With instances PerPod the SPIFFE ID ends in the pod's UID, in certificate and environment."""
    name = trial(release, of_mode("single", request), instances="PerPod")
    release.apply(pod(f"{name}-pod", name))
    until("the pod", lambda: running(release, f"{name}-pod"), 60)
    where = ("-n", AGENTS, "-o", "jsonpath={.metadata.uid}")
    uid = release.cluster.kubectl("get", "pod", f"{name}-pod", *where).stdout
    found, chain = told(release, f"{name}-pod")
    assert found["id"] == f"spiffe://agents.example.com/ns/{AGENTS}/agent/{name}/pod/{uid}"
    leaf = x509.load_pem_x509_certificates(chain.encode())[0]
    san = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert san.get_values_for_type(x509.UniformResourceIdentifier) == [found["id"]]
    release.cluster.kubectl("delete", "pod", f"{name}-pod", "-n", AGENTS, "--wait=false")


def running(release: Release, name: str) -> bool:
    """Whether a pod runs."""
    where = ("-n", AGENTS, "-o", "jsonpath={.status.phase}")
    return release.cluster.kubectl("get", "pod", name, *where).stdout == "Running"


def test_what_must_not_start_says_why(release: Release, request: pytest.FixtureRequest) -> None:
    """At the door, to whoever creates the pod."""
    name = trial(release, of_mode("careful", request))
    text = refused(release, pod("stranger", name, serviceAccountName="another"))
    assert "another" in text
    release.apply(agent(name, suspend=True))
    until(
        "the suspension at the door",
        lambda: "suspend" in refused(release, pod("suspended", name)).lower(),
    )
    assert "nobody" in refused(release, pod("unknown", "nobody"))


def test_pods_wait_for_an_operator_that_is_away(
    release: Release, request: pytest.FixtureRequest
) -> None:
    """They come up by themselves once it is back, and nothing was denied meanwhile."""
    name = trial(release, of_mode("patient", request))
    scale = ("scale", "deployment/agentid-controller", "-n", NAMESPACE)
    release.cluster.kubectl(*scale, "--replicas=0")
    until("no controller", lambda: not controllers(release), 60)
    release.apply(deployment(name, 2))
    where = ("-n", AGENTS, "-o", "json")

    def asked() -> bool:
        items = json.loads(release.cluster.kubectl("get", "podcertificaterequests", *where).stdout)[
            "items"
        ]
        return sum(not each.get("status", {}).get("conditions") for each in items) >= 2

    until("requests that wait", asked, 60)
    release.cluster.kubectl(*scale, "--replicas=2")
    names_of(release, name, 2, 240)
    release.cluster.kubectl("delete", "deployment", name, "-n", AGENTS, "--wait=false")


def controllers(release: Release) -> list[str]:
    """Names of the pods of the controller."""
    return [
        each["metadata"]["name"]
        for each in release.get("pods", NAMESPACE)
        if each["metadata"]["labels"].get("app.kubernetes.io/component") == "controller"
    ]


def test_a_kubelet_that_restarts_asks_for_all_its_pods(installed: Installed) -> None:
    """Fifty pods run on with what they have, and each gets a new certificate for a new key."""
    release = installed.switch("Webhook")
    release.apply(agent_class())
    name = trial(release, "crowd")
    release.apply(deployment(name, MANY))
    before = names_of(release, name, MANY, 240)
    uids = uids_of(release, name)
    installed.devcluster.run("stop", "kubelet", "--kill")
    installed.devcluster.run("start", "kubelet")

    def renewed() -> bool:
        live = live_by_pod(release, name)
        return len(live) == MANY and all(len(serials) >= 2 for serials in live.values())

    until("new certificates for all", renewed, 240)
    assert sorted(names_of(release, name, MANY)) == sorted(before)
    assert uids_of(release, name) == uids, "a pod was replaced or restarted"
    states = {each["state"] for each in on_record(release, name).values()}
    assert states == {"live"}
    release.cluster.kubectl("delete", "deployment", name, "-n", AGENTS, "--wait=false")
    until("all to be revoked", lambda: live_by_pod(release, name) == {}, 120)


def uids_of(release: Release, name: str) -> set[tuple[str, int]]:
    """UIDs of the pods of an agent, with how often a container was restarted."""
    return {
        (each["metadata"]["uid"], each["status"]["containerStatuses"][0]["restartCount"])
        for each in release.get("pods", AGENTS)
        if each["metadata"]["labels"].get("app") == name
    }


@pytest.mark.parametrize(
    ("folder", "namespace", "service", "allowed"),
    [
        pytest.param("two_agents", "two-agents", "archive", "clerk", id="two-agents"),
        pytest.param("mcp", "mcp-agents", "tools", "assistant", id="mcp"),
    ],
)
def test_the_examples_talk_and_turn_strangers_away(
    installed: Installed, folder: str, namespace: str, service: str, allowed: str
) -> None:
    """As their README has it, but for the address: there is no DNS on this node."""
    release = installed.switch("Webhook")
    load(example_image(), release.cluster.directory)
    bodies = list(yaml.safe_load_all((EXAMPLES / folder / "kubernetes.yaml").read_text()))
    release.cluster.kubectl("create", "namespace", namespace)
    release.apply(*(each for each in bodies if each["kind"] in {"Namespace", "Service"}))
    where = ("-n", namespace, "-o", "jsonpath={.spec.clusterIP}")
    address = release.cluster.kubectl("get", "service", service, *where).stdout
    agents = {"AgentIssuer", "AgentClass", "AgentIdentity", "ServiceAccount"}
    release.apply(*(each for each in bodies if each["kind"] in agents))

    def granted() -> bool:
        found = release.get("agentidentities", namespace)
        return bool(found) and all("podCertificate" in each.get("status", {}) for each in found)

    until("the agents", granted)
    text = json.dumps([each for each in bodies if each["kind"] == "Deployment"])
    host = f"{service}.{namespace}.svc"
    assert host in text
    release.apply(*json.loads(text.replace(host, address)))

    def calls(app: str) -> list[dict[str, Any]]:
        command = ("logs", "-n", namespace, "-l", f"app={app}", "--tail=-1")
        lines = release.cluster.kubectl(*command, check=False).stdout.splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    until("five answers", lambda: sum(each["ok"] for each in calls(allowed)) >= 5, 180)
    until("a stranger that asked", lambda: len(calls("stranger")) >= 3, 120)
    assert not any(each["ok"] for each in calls("stranger"))
    release.cluster.kubectl("delete", "namespace", namespace, "--wait=false")
