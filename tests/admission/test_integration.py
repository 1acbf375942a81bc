"""`agentid admission` as its own ServiceAccount, called by a real API server, read by authors.

There is no node, so no pod runs: what counts is what the API server stores, and what it says.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import pytest
from kubernetes import client, config

from e2e.install import admission, port_in_log
from tests.support.api import until
from tests.support.intruding import adding_a_container, never_answering
from tests.support.manifests import agent_class, identity, issuer
from tests.support.reviewing import container
from tests.support.webhook import Pair, configuration, serving_pair

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path
    from subprocess import CompletedProcess

    from e2e.install import Operator
    from e2e.providers import Cluster

pytestmark = pytest.mark.integration

Json = dict[str, Any]

SYSTEM: Final = "agentid-system"
OURS: Final = {"name": "agentid", "mountPath": "/var/run/agentid", "readOnly": True}
LABEL: Final = "metadata.labels[agentid.dev/identity]"
NOT_MOUNTED: Final = "has no volume that brings it"
"""What the policy `agentid-pod-volumes` says of a pod that passed a webhook that was away."""


def ready(port: int) -> str:
    """What the readiness probe says, empty while nobody answers."""
    try:
        with urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
            said: bytes = answer.read()
    except HTTPError as error:
        with error:
            said = error.read()
    except (URLError, ConnectionError):
        return ""
    return said.decode()


@dataclass(slots=True)
class Site:
    """A cluster with the webhook, and a namespace for agents.

    Attributes:
        cluster: It.
        namespace: Where the identities are.
        pair: What the webhook serves with.
        port: Where it serves.
        running: The webhook's process.
        made: How many pods have got names.
        configurations: Of webhooks, by name, as they are in force.
    """

    cluster: Cluster
    namespace: str
    pair: Pair
    port: int
    running: Operator
    made: int = 0
    configurations: dict[str, Json] = field(default_factory=dict)

    def pod(
        self,
        label: str | None = "reader",
        *,
        annotations: Mapping[str, str] | None = None,
        containers: list[Json] | None = None,
        **spec: Any,  # noqa: ANN401 - JSON
    ) -> Json:
        """A pod of a name of its own."""
        self.made += 1
        metadata: Json = {"name": f"pod-{self.made}", "namespace": self.namespace}
        if label is not None:
            metadata["labels"] = {"agentid.dev/identity": label}
        if annotations is not None:
            metadata["annotations"] = dict(annotations)
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": metadata,
            "spec": {"containers": containers or [container()], **spec},
        }

    def create(self, body: Json, *options: str) -> CompletedProcess[str]:
        """Create something as an author does."""
        return self.cluster.kubectl(
            "create", "-f", "-", "-o", "json", *options, stdin=json.dumps(body), check=False
        )

    def stored(self, body: Json, *options: str) -> Json:
        """A pod as it was stored."""
        done = self.create(body, *options)
        assert done.returncode == 0, done.stderr
        found: Json = json.loads(done.stdout)
        return found

    def refused(self, body: Json) -> str:
        """What an author reads."""
        done = self.create(body)
        assert done.returncode != 0, done.stdout
        return done.stderr

    def apply(self, *bodies: Json) -> None:
        """Create or change objects."""
        whole = {"apiVersion": "v1", "kind": "List", "items": list(bodies)}
        self.cluster.kubectl(
            "apply", "--server-side", "--force-conflicts", "-f", "-", stdin=json.dumps(whole)
        )

    def agent(self, name: str, class_name: str = "batch", **spec: Any) -> Json:  # noqa: ANN401
        """An identity, to be applied."""
        body = of_kind("AgentIdentity", identity(name, class_name, **spec))
        body["metadata"]["namespace"] = self.namespace
        return body

    @contextmanager
    def configured(
        self,
        port: int,
        pair: Pair,
        name: str = "agentid-pods",
        **webhook: Any,  # noqa: ANN401
    ) -> Iterator[None]:
        """Have the API server call a webhook while the context is open, then the one before."""
        body = configuration(port, pair, name, **webhook)
        self.apply(body)
        before = self.configurations.get(name)
        self.configurations[name] = body
        try:
            yield
        finally:
            if before is None:
                self.cluster.kubectl("delete", body["kind"], name)
                del self.configurations[name]
            else:
                self.apply(before)
                self.configurations[name] = before


def of_kind(kind: str, body: Json) -> Json:
    """A manifest of one of our kinds."""
    return {"apiVersion": "agentid.dev/v1alpha1", "kind": kind, **body}


@pytest.fixture(scope="module")
def site(installed: Cluster) -> Iterator[Site]:
    """The webhook, in force, with identities of every kind."""
    namespace, pair = "admission-agents", serving_pair()
    installed.kubectl("create", "namespace", namespace)
    with admission(installed) as running:
        found = Site(installed, namespace, pair, 0, running)
        found.apply(pair.secret)
        found.port = port_in_log(running.log, "https_serving")
        found.apply(
            of_kind("AgentIssuer", issuer("test")),
            of_kind("AgentClass", agent_class("batch", lifetime="2h")),
            of_kind("AgentClass", agent_class("short", lifetime="10m")),
            of_kind("AgentClass", agent_class("elsewhere", namespaces={"names": ["crm"]})),
        )
        certificate = {"mode": "PodCertificate"}
        found.apply(
            found.agent("reader", delivery=certificate),
            found.agent("each", delivery=certificate, instances="PerPod"),
            found.agent("in-secret"),
            found.agent("by-csi", delivery={"mode": "CSI"}),
            found.agent("asleep", delivery=certificate, suspend=True),
            found.agent("minutes", "short", delivery=certificate),
            found.agent("foreign", "elsewhere", delivery=certificate),
            found.agent("classless", "nonesuch", delivery=certificate),
            found.agent("bound", delivery=certificate, subject={"serviceAccountName": "robot"}),
        )
        probes = port_of_probes(running)
        until("ready", lambda: ready(probes).startswith("ok"))
        with found.configured(found.port, pair):
            until("in force", lambda: "volumes" in mounted_in(found))
            yield found
    installed.kubectl("delete", "secret", pair.secret["metadata"]["name"], "-n", SYSTEM)
    installed.kubectl("delete", "namespace", namespace, "--wait=false")


def port_of_probes(running: Operator) -> int:
    """Where the probes are, as its log tells."""
    return port_in_log(running.log, "admission_started", key="probes")


def mounted_in(site: Site) -> Json:
    """The spec of a dry run's pod, empty if it is refused."""
    done = site.create(site.pod(), "--dry-run=server")
    if done.returncode != 0:
        return {}
    spec: Json = json.loads(done.stdout)["spec"]
    return spec if any(each["name"] == "agentid" for each in spec.get("volumes", ())) else {}


def volume_of(pod: Json) -> Json:
    """The volume of the identity."""
    (found,) = (each for each in pod["spec"]["volumes"] if each["name"] == "agentid")
    assert isinstance(found, dict)
    return found


def env_of(body: Json) -> dict[str, object]:
    """A container's environment."""
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in body["env"]}


# What is stored


def test_the_api_server_takes_what_is_mounted(site: Site) -> None:
    """A credential bundle, key and chain as files of their own, and the trust bundle."""
    found = site.stored(site.pod(initContainers=[container("init")]))
    certificate, bundle = volume_of(found)["projected"]["sources"]
    assert certificate["podCertificate"] == {
        "signerName": "agentid.dev/agent",
        "keyType": "ECDSAP256",
        "maxExpirationSeconds": 7200,
        "credentialBundlePath": "credentials.pem",
        "keyPath": "tls.key",
        "certificateChainPath": "tls.crt",
        "userAnnotations": {"agentid.dev/identity": "reader"},
    }
    assert bundle["clusterTrustBundle"] == {"name": "agentid.dev:agent:test", "path": "ca.crt"}
    for each in (*found["spec"]["initContainers"], *found["spec"]["containers"]):
        assert OURS in each["volumeMounts"]
        assert env_of(each) == {
            "AGENTID_DIR": "/var/run/agentid",
            "AGENTID_SPIFFE_ID": f"spiffe://agents.test/ns/{site.namespace}/agent/reader",
        }


def test_each_pod_knows_its_own_name(site: Site) -> None:
    """With instances PerPod the SPIFFE ID ends in the pod's UID, which the kubelet puts in."""
    env = env_of(site.stored(site.pod("each"))["spec"]["containers"][0])
    assert env["AGENTID_POD_UID"] == {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.uid"}}
    assert str(env["AGENTID_SPIFFE_ID"]).endswith("/agent/each/pod/$(AGENTID_POD_UID)")
    assert list(env).index("AGENTID_POD_UID") < list(env).index("AGENTID_SPIFFE_ID")


def test_a_secret_is_mounted_and_waited_for(site: Site) -> None:
    """Its author is told what the pod waits for."""
    done = site.create(site.pod("in-secret"))
    assert done.returncode == 0, done.stderr
    found = volume_of(json.loads(done.stdout))
    assert found["secret"]["secretName"] == "in-secret-agentid"
    assert (
        "Warning: Secret in-secret-agentid is not there yet; the pod starts once it is"
        in done.stderr
    )


def test_twenty_containers_on_the_hosts_network(site: Site) -> None:
    """All of them, by one patch that the API server applies."""
    every = [container(f"c-{number}") for number in range(20)]
    found = site.stored(site.pod(containers=every, hostNetwork=True))
    assert len([each for each in found["spec"]["containers"] if OURS in each["volumeMounts"]]) == 20


def test_containers_by_annotation(site: Site) -> None:
    """The others stay as their author wrote them."""
    body = site.pod(
        annotations={"agentid.dev/containers": "agent"},
        containers=[container(), container("other")],
    )
    agent, other = site.stored(body)["spec"]["containers"]
    assert OURS in agent["volumeMounts"]
    assert OURS not in other.get("volumeMounts", ())
    assert "env" not in other


def test_a_dry_run_shows_it_and_makes_nothing(site: Site) -> None:
    """So an author can look first."""
    body = site.pod()
    assert volume_of(site.stored(body, "--dry-run=server"))
    gone = site.cluster.kubectl(
        "get", "pod", body["metadata"]["name"], "-n", site.namespace, check=False
    )
    assert "not found" in gone.stderr


def test_a_pod_without_the_label_never_comes_here(site: Site) -> None:
    """Nobody counts it."""
    before = reviews(site)
    assert "agentid" not in json.dumps(site.stored(site.pod(None))["spec"])
    assert reviews(site) == before


def reviews(site: Site) -> float:
    """How many reviews were answered."""
    with urlopen(f"http://127.0.0.1:{port_of_probes(site.running)}/metrics", timeout=5) as answer:
        text: str = answer.read().decode()
    lines = [line for line in text.splitlines() if line.startswith("agentid_admission_reviews_")]
    return sum(float(line.rpartition(" ")[2]) for line in lines if "_total{" in line)


def test_ephemeral_containers_are_left_alone(site: Site) -> None:
    """They are added to a pod that runs; nothing of theirs is changed, and nothing refused."""
    body = site.stored(site.pod())
    api = config.new_client_from_config(str(site.cluster.kubeconfig))  # type: ignore[no-untyped-call]
    core: Any = client.CoreV1Api(api)
    added = {"name": "debugger", "image": "localhost/busybox:1"}
    done = core.patch_namespaced_pod_ephemeralcontainers(
        body["metadata"]["name"], site.namespace, {"spec": {"ephemeralContainers": [added]}}
    )
    (found,) = done.spec.ephemeral_containers
    assert (found.name, found.env, found.volume_mounts) == ("debugger", None, None)


def test_another_webhook_that_adds_a_container_afterwards(site: Site, tmp_path: Path) -> None:
    """The API server comes back, the new container gets its mount, and the others stay."""
    with (
        adding_a_container(site.pair, tmp_path) as port,
        site.configured(port, site.pair, "zz-others"),
    ):
        until("in force", lambda: len(mounted_in(site).get("containers", ())) == 2)
        added, agent = site.stored(site.pod())["spec"]["containers"]
    assert (added["name"], agent["name"]) == ("added", "agent")
    assert [OURS in each["volumeMounts"] for each in (added, agent)] == [True, True]
    assert [each["name"] for each in agent["env"]] == ["AGENTID_DIR", "AGENTID_SPIFFE_ID"]
    assert env_of(added) == env_of(agent)


def test_an_identity_and_its_pod_in_one_breath(site: Site) -> None:
    """Twenty times: none is told that its identity does not exist."""
    for number in range(20):
        name = f"new-{number}"
        site.apply(site.agent(name, delivery={"mode": "PodCertificate"}), site.pod(name))


# What is refused

VOLUME: Final = {"name": "agentid", "emptyDir": {}}


def _mirror(site: Site) -> Json:
    return site.pod(annotations={"kubernetes.io/config.mirror": "0a"}, nodeName="node-1")


def _taken(path: str, source: Json) -> Callable[[Site], Json]:
    mount = {"name": "theirs", "mountPath": path}
    return lambda site: site.pod(
        volumes=[{"name": "theirs", **source}], containers=[container(volumeMounts=[mount])]
    )


@pytest.mark.parametrize(
    ("make", "said"),
    [
        pytest.param(
            lambda site: site.pod("The_Reader"),
            f'{LABEL}: "The_Reader" is not the name of an AgentIdentity: lower-case letters, ',
            id="label",
        ),
        pytest.param(
            lambda site: site.pod("raeder"),
            f'{LABEL}: "raeder" names no AgentIdentity in namespace admission-agents; did you mean '
            "reader? (kubectl get agentidentities -n admission-agents)",
            id="no-such-identity",
        ),
        pytest.param(
            lambda site: site.pod("asleep"),
            "AgentIdentity admission-agents/asleep: spec.suspend is true, so no pod gets a "
            "certificate; set it to false (kubectl agentid resume asleep -n admission-agents)",
            id="suspended",
        ),
        pytest.param(
            lambda site: site.pod("bound"),
            'spec.serviceAccountName: "default" is not whom AgentIdentity admission-agents/bound '
            'is for, which is "robot"; run the pod as that ServiceAccount',
            id="service-account",
        ),
        pytest.param(
            lambda site: site.pod("classless"),
            "AgentIdentity admission-agents/classless: spec.className: there is no AgentClass "
            "nonesuch",
            id="class",
        ),
        pytest.param(
            lambda site: site.pod("foreign"),
            'metadata.namespace: "admission-agents" is not served by AgentClass elsewhere, which '
            "serves crm",
            id="namespace",
        ),
        pytest.param(
            lambda site: site.pod("minutes"),
            "spec.delivery.mode: PodCertificate cannot carry a lifetime of 10m",
            id="lifetime",
        ),
        pytest.param(
            lambda site: site.pod("by-csi"),
            "spec.delivery.mode: CSI is served by nothing in this cluster, which serves "
            "PodCertificate, Secret; choose one of these",
            id="door",
        ),
        pytest.param(_mirror, f"{LABEL}: a static pod runs as no ServiceAccount", id="static-pod"),
        pytest.param(
            lambda site: site.pod(volumes=[VOLUME]),
            "spec.volumes[0].projected: null is not what AgentIdentity admission-agents/reader has "
            "mounted",
            id="volume",
        ),
        pytest.param(
            _taken("/run/agentid", {"emptyDir": {}}),
            'spec.containers[0].volumeMounts[0].mountPath: "/run/agentid" is /var/run/agentid',
            id="path",
        ),
        pytest.param(
            _taken("/var/run", {"hostPath": {"path": "/x"}}),
            'spec.containers[0].volumeMounts[0].mountPath: "/var/run" covers /var/run/agentid',
            id="path-above",
        ),
        pytest.param(
            lambda site: site.pod(annotations={"agentid.dev/containers": "agnet"}),
            'metadata.annotations[agentid.dev/containers]: "agnet" names no container of the pod, '
            "which has agent; did you mean agent?",
            id="containers",
        ),
    ],
)
def test_what_an_author_reads(site: Site, make: Callable[[Site], Json], said: str) -> None:
    """The whole sentence, as kubectl shows it."""
    refusal = site.refused(make(site))
    assert 'admission webhook "pods.agentid.dev" denied the request: ' in refusal
    assert said in refusal


def test_an_identity_of_another_namespace(site: Site, namespace: str) -> None:
    """Whoever may not make identities in a namespace gets none of its identities."""
    body = site.pod()
    body["metadata"]["namespace"] = namespace
    assert f'"reader" names no AgentIdentity in namespace {namespace}' in site.refused(body)


def test_an_identity_that_is_held_by_an_incident(site: Site) -> None:
    """From the moment that its status tells of it, until it is released."""
    incident = of_kind(
        "AgentRevocation",
        {
            "metadata": {"name": "leak"},
            "spec": {
                "select": {"namespaces": [site.namespace]},
                "reason": "keyCompromise",
                "hold": True,
                "dryRun": False,
                "contact": "security@example.com",
            },
        },
    )
    site.apply(incident)
    site.cluster.kubectl(
        "patch", "agentrevocation", "leak", "--subresource=status", "--type=merge", "-p",
        json.dumps({"status": {"startedAt": "2026-11-01T11:00:00Z"}}),
    )  # fmt: skip
    try:
        until("held", lambda: not mounted_in(site))
        refusal = site.refused(site.pod())
        assert "AgentRevocation leak holds the identity" in refusal
        assert "Ask security@example.com" in refusal
    finally:
        site.cluster.kubectl("delete", "agentrevocation", "leak")
    until("released", lambda: mounted_in(site))


def test_the_controller_of_pods_reads_it_too(site: Site) -> None:
    """A Deployment's owner finds the sentence in the condition of its ReplicaSet."""
    template = site.pod("raeder")
    metadata = {"labels": {**template["metadata"]["labels"], "app": "reader"}}
    site.apply(
        {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "metadata": {"name": "mistyped", "namespace": site.namespace},
            "spec": {
                "replicas": 3,
                "selector": {"matchLabels": {"app": "reader"}},
                "template": {"metadata": metadata, "spec": template["spec"]},
            },
        }
    )

    def told() -> str:
        found: str = site.cluster.kubectl(
            "get", "replicaset", "mistyped", "-n", site.namespace, "-o",
            "jsonpath={.status.conditions[?(@.type=='ReplicaFailure')].message}",
        ).stdout  # fmt: skip
        return found

    until("told", lambda: "did you mean reader?" in told())


# When the webhook is away


def test_a_webhook_that_is_away_in_any_way(site: Site, tmp_path: Path) -> None:
    """The API server lets the pod pass as it is, and the policy behind it refuses it."""
    stranger = serving_pair()
    with never_answering(site.pair, tmp_path) as silent:
        ways: dict[str, Callable[[], AbstractContextManager[None]]] = {
            "down": lambda: site.configured(1, site.pair),
            "wrong-bundle": lambda: site.configured(site.port, stranger),
            "slow": lambda: site.configured(silent, site.pair, timeoutSeconds=1),
        }
        for name, way in ways.items():
            with way():
                until(name, lambda: NOT_MOUNTED in site.create(site.pod()).stderr)
    until("in force again", lambda: mounted_in(site))


def test_a_certificate_is_exchanged_while_pods_are_made(site: Site) -> None:
    """First the API server trusts both, then the webhook has the new one: no pod is refused."""
    fresh = serving_pair()
    both = Pair(site.pair.certificate + fresh.certificate, b"")
    with site.configured(site.port, both):
        until("both are trusted", lambda: mounted_in(site))
        site.apply(fresh.secret)
        for _ in range(5):
            assert mounted_in(site)
        until("loaded", lambda: site.running.log.read_text().count("tls_identity_loaded") >= 2)
        with site.configured(site.port, fresh):
            for _ in range(5):
                assert mounted_in(site)
        site.apply(site.pair.secret)
        until("loaded", lambda: site.running.log.read_text().count("tls_identity_loaded") >= 3)
        assert mounted_in(site)


def test_another_replica_starts_and_ends_in_order(site: Site) -> None:
    """It is ready once it has read everything, and its end is no error."""
    with admission(site.cluster, "admission-2", "--linger", "0.5") as other:
        probes = port_of_probes(other)
        until("ready", lambda: ready(probes) == "ok\n")
        port = port_in_log(other.log, "https_serving")
        with site.configured(port, site.pair):
            until("in force", lambda: mounted_in(site))
            assert other.stop() == 0
        assert '"admission_stopped"' in other.log.read_text()
    until("in force again", lambda: mounted_in(site))


def test_nothing_was_ever_written(site: Site) -> None:
    """The webhook has no right to, and never asked for one."""
    assert "Forbidden" not in site.running.log.read_text()
    assert '"review_failed"' not in site.running.log.read_text()
    verbs = ("create", "update", "patch", "delete")
    for resource in ("pods", "secrets", "agentidentities.agentid.dev"):
        for verb in verbs:
            answer = site.cluster.kubectl(
                "auth", "can-i", verb, resource, "-A",
                "--as", f"system:serviceaccount:{SYSTEM}:agentid-admission", check=False,
            )  # fmt: skip
            assert answer.stdout.strip() == "no", (verb, resource)
