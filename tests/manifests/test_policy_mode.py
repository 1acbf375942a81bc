"""admission.mode Policy: the API server mounts identities itself, and says why it does not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import pytest
import yaml

from agentid.api.conditions import PENDING
from e2e.chart import MANIFESTS, rendered
from tests.manifests.conftest import User
from tests.support.api import until
from tests.support.manifests import identity
from tests.support.pods import certificate_source, container, identity_volume, pod

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from e2e.providers import Cluster

    Json = dict[str, Any]

pytestmark = pytest.mark.integration

DRY = ("create", "--dry-run=server", "-o", "json", "-f", "-")
OURS: Final = ("agentid-pods", "agentid-pod-identities", "agentid-pod-volumes")
SPIFFE_ID: Final = "spiffe://agents.test/ns/{}/agent/reader"
PROJECTED: Final = {"keyType": "ED25519", "maxExpirationSeconds": 7200}
CERTIFICATE: Final = {
    "serial": "01",
    "fingerprint": "02",
    "notBefore": "2026-01-01T00:00:00Z",
    "notAfter": "2026-01-02T00:00:00Z",
    "renewalTime": "2026-01-01T12:00:00Z",
    "issuer": "test",
}
MOUNT: Final = {"name": "agentid", "mountPath": "/var/run/agentid", "readOnly": True}


@pytest.fixture(scope="module")
def by_policy(installed: Cluster) -> Iterator[Cluster]:
    """The cluster with the policies of this mode, for as long as this module runs."""
    text = rendered("--set", "admission.mode=Policy")
    bodies = [each for each in yaml.safe_load_all(text) if each]
    chosen = [each for each in bodies if each["metadata"]["name"] in OURS]
    assert len(chosen) == 6, "three policies, each with its binding"
    apply = ("apply", "--server-side", "--force-conflicts", "-f", "-")
    installed.kubectl(*apply, stdin=yaml.safe_dump_all(chosen))
    author = User(installed, "")
    give(author, "default", "probe")
    until("the policies", lambda: not author(*DRY, body=pod("default", "probe")).returncode)
    yield installed
    installed.kubectl("delete", "agentidentity", "probe", "-n", "default", "--wait=false")
    off = json.dumps({"metadata": {"finalizers": None}})
    patch = ("patch", "agentidentity", "probe", "-n", "default", "--type=merge", "-p", off)
    installed.kubectl(*patch, check=False)
    for kind in ("mutating", "validating"):
        kinds = f"{kind}admissionpolicy,{kind}admissionpolicybinding"
        installed.kubectl("delete", "--ignore-not-found", kinds, *OURS[:2])
    as_before = str(MANIFESTS / "policies" / "pod-volumes.yaml")
    installed.kubectl("apply", "--server-side", "--force-conflicts", "-f", as_before)


@pytest.fixture
def author(by_policy: Cluster) -> User:
    """Who writes pods; policies ask nobody who they are."""
    return User(by_policy, "")


@pytest.fixture
def home(by_policy: Cluster, make_namespace: Callable[[], str]) -> str:
    """A namespace with the ServiceAccount `default`."""
    name = make_namespace()
    account = ("get", "serviceaccount", "default", "-n", name)
    until("the ServiceAccount", lambda: not by_policy.kubectl(*account, check=False).returncode)
    return name


def condition(status: str = "True", message: str = "it holds a certificate") -> Json:
    """Ready."""
    return {
        "type": "Ready", "status": status, "reason": "Available", "message": message,
        "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 1,
    }  # fmt: skip


def granted(namespace: str) -> Json:
    """The status of an identity that is granted delivery by PodCertificate."""
    return {
        "spiffeID": SPIFFE_ID.format(namespace),
        "podCertificate": {**PROJECTED, "trustBundle": "agentid.dev:agent:test"},
        "conditions": [condition()],
    }


def give(
    author: User,
    namespace: str,
    name: str = "reader",
    status: Json | None = None,
    **spec: Any,  # noqa: ANN401 - JSON
) -> None:
    """Create an identity and its status, which the API server knows a moment later."""
    body = identity(name, "assistant", **({"delivery": {"mode": "PodCertificate"}} | spec))
    body |= {"apiVersion": "agentid.dev/v1alpha1", "kind": "AgentIdentity"}
    body["metadata"]["namespace"] = namespace
    author.may("create", "-f", "-", body=body)
    merge = json.dumps({"status": granted(namespace) if status is None else status})
    patch = ("--subresource=status", "--type=merge", "-p", merge)
    author.may("patch", "agentidentity", name, "-n", namespace, *patch)


def created(author: User, body: Json) -> Json:
    """The pod as it would be stored."""
    made: list[str] = []

    def passes() -> bool:
        done = author(*DRY, body=body)
        made.append(done.stdout)
        return done.returncode == 0

    until("the identity in the API server's cache", passes)
    stored: Json = json.loads(made[-1])["spec"]
    return stored


def volume(spec: Json) -> Json:
    """Its volume `agentid`."""
    found = [each for each in spec["volumes"] if each["name"] == "agentid"]
    assert len(found) == 1
    only: Json = found[0]
    return only


def mounts(container: Json) -> list[Json]:
    """Its mounts but that of the ServiceAccount's token."""
    return [
        each for each in container["volumeMounts"] if "/serviceaccount" not in each["mountPath"]
    ]


def test_the_volume_asks_for_what_the_identity_was_granted(author: User, home: str) -> None:
    """By its status; in all containers, with the environment, and nothing else is changed."""
    give(author, home)
    spec = created(author, pod(home))
    assert volume(spec) == {
        "name": "agentid",
        "projected": {
            "defaultMode": 420,
            "sources": [
                {
                    "podCertificate": {
                        **PROJECTED,
                        "signerName": "agentid.dev/agent",
                        "credentialBundlePath": "credentials.pem",
                        "keyPath": "tls.key",
                        "certificateChainPath": "tls.crt",
                        "userAnnotations": {"agentid.dev/identity": "reader"},
                    }
                },
                {"clusterTrustBundle": {"name": "agentid.dev:agent:test", "path": "ca.crt"}},
            ],
        },
    }
    (agent,) = spec["containers"]
    assert mounts(agent) == [MOUNT]
    assert agent["env"] == [
        {"name": "AGENTID_DIR", "value": "/var/run/agentid"},
        {"name": "AGENTID_SPIFFE_ID", "value": SPIFFE_ID.format(home)},
    ]


def test_each_pod_may_have_an_id_of_its_own(author: User, home: str) -> None:
    """With the pod's UID, which only the kubelet knows in time."""
    give(author, home, instances="PerPod")
    (agent,) = created(author, pod(home))["containers"]
    field = {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.uid"}}
    assert agent["env"] == [
        {"name": "AGENTID_DIR", "value": "/var/run/agentid"},
        {"name": "AGENTID_POD_UID", "valueFrom": field},
        {"name": "AGENTID_SPIFFE_ID", "value": f"{SPIFFE_ID.format(home)}/pod/$(AGENTID_POD_UID)"},
    ]


def test_the_node_plugin_brings_it_with_a_socket(author: User, home: str) -> None:
    """Delivery CSI."""
    give(author, home, delivery={"mode": "CSI"})
    spec = created(author, pod(home))
    assert volume(spec)["csi"] == {
        "driver": "csi.agentid.dev", "readOnly": True,
        "volumeAttributes": {"agentid.dev/identity": "reader"},
    }  # fmt: skip
    assert spec["containers"][0]["env"][-1] == {
        "name": "SPIFFE_ENDPOINT_SOCKET", "value": "unix:///var/run/agentid/workload.sock",
    }  # fmt: skip


@pytest.mark.parametrize(("given", "name"), [(None, "reader-agentid"), ("mine", "mine")])
def test_a_secret_is_mounted_likewise(
    author: User, home: str, given: str | None, name: str
) -> None:
    """Delivery Secret, which pods share."""
    delivery = {"mode": "Secret", **({"secretName": given} if given else {})}
    give(author, home, status={"certificate": CERTIFICATE}, delivery=delivery)
    spec = created(author, pod(home))
    assert volume(spec)["secret"]["secretName"] == name
    assert spec["containers"][0]["env"] == [{"name": "AGENTID_DIR", "value": "/var/run/agentid"}]


def test_what_the_author_wrote_stays(author: User, home: str) -> None:
    """Variables, mounts and volumes, in their order, in containers of every sort."""
    give(author, home)
    own = [
        {"name": "AGENTID_DIR", "value": "/mine"},
        {"name": "TWICE", "value": "1"},
        {"name": "TWICE", "value": "2"},
    ]
    data = {"name": "data", "mountPath": "/data"}
    ports = [{"containerPort": 80}, {"containerPort": 80, "protocol": "UDP"}]
    body = pod(
        home,
        containers=[container("agent", env=own, volumeMounts=[data], ports=ports)],
        initContainers=[
            container("setup"),
            container("sidecar", restartPolicy="Always", volumeMounts=[data]),
        ],
        volumes=[{"name": "data", "emptyDir": {}}],
    )
    spec = created(author, body)
    spiffe_id = {"name": "AGENTID_SPIFFE_ID", "value": SPIFFE_ID.format(home)}
    (agent,), (setup, sidecar) = spec["containers"], spec["initContainers"]
    assert agent["env"] == [*own, spiffe_id]
    assert mounts(agent) == mounts(sidecar) == [data, MOUNT]
    assert mounts(setup) == [MOUNT]
    assert setup["env"] == sidecar["env"]
    assert setup["env"][1] == spiffe_id
    assert spec["volumes"][0]["name"] == "data"


def test_a_pod_that_has_it_all_is_left_as_it_is(author: User, home: str) -> None:
    """What was mutated once, by whomever, is not mutated again."""
    give(author, home)
    once = created(author, pod(home, initContainers=[container("setup")]))
    body = pod(home, **{name: once[name] for name in ("containers", "initContainers", "volumes")})
    again = created(author, body)
    assert again == once


def test_the_authors_own_volume_of_an_identity_stays(author: User, home: str) -> None:
    """With other paths and a shorter life."""
    give(author, home)
    own = identity_volume()
    asked = own["projected"]["sources"][0]["podCertificate"]
    asked |= {"maxExpirationSeconds": 3600, "keyType": "ED25519"}
    spec = created(author, pod(home, volumes=[own]))
    assert volume(spec)["projected"]["sources"] == own["projected"]["sources"]
    assert mounts(spec["containers"][0]) == [MOUNT]


def test_the_annotation_chooses_containers(author: User, home: str) -> None:
    """Of every sort; the others get neither files nor environment."""
    give(author, home)
    body = pod(
        home,
        annotations={"agentid.dev/containers": " agent , setup"},
        containers=[container("agent"), container("logger")],
        initContainers=[container("setup"), container("other")],
    )
    spec = created(author, body)
    having = [
        each["name"]
        for each in (*spec["containers"], *spec["initContainers"])
        if mounts(each) or "env" in each
    ]
    assert having == ["agent", "setup"]


def test_a_pod_with_twenty_containers_and_much_in_them(author: User, home: str) -> None:
    """Within what the API server spends on one expression."""
    give(author, home, instances="PerPod")
    env = [{"name": f"VARIABLE_{number}", "value": "x" * 100} for number in range(50)]
    volumes = [{"name": f"v{number}", "emptyDir": {}} for number in range(20)]
    mounted = [{"name": each["name"], "mountPath": f"/{each['name']}"} for each in volumes]
    body = pod(
        home,
        containers=[container(f"c{n}", env=env, volumeMounts=mounted) for n in range(20)],
        initContainers=[container(f"i{n}", env=env) for n in range(20)],
        volumes=volumes,
    )
    spec = created(author, body)
    for each in (*spec["containers"], *spec["initContainers"]):
        assert MOUNT in each["volumeMounts"]
        assert len(each["env"]) == 53


def test_the_identity_is_that_of_the_label_among_many(author: User, home: str) -> None:
    """And of the pod's own namespace."""
    other = {"keyType": "ECDSAP384", "maxExpirationSeconds": 3600, "trustBundle": "other"}
    for number in range(20):
        give(author, home, f"other-{number}", {"podCertificate": other})
    give(author, home)
    source = volume(created(author, pod(home)))["projected"]["sources"][0]
    assert source["podCertificate"]["keyType"] == "ED25519"


@pytest.mark.parametrize(
    ("spec", "status", "because"),
    [
        pytest.param(
            {"subject": {"serviceAccountName": "robot"}}, None,
            'spec.serviceAccountName: the pod runs as "default", and AgentIdentity {}/reader is '
            'bound to "robot"',
            id="another ServiceAccount",
        ),
        pytest.param(
            {"suspend": True}, None,
            "AgentIdentity {}/reader is suspended, so no pod gets a certificate of it",
            id="suspended",
        ),
        pytest.param(
            {}, {"conditions": [condition("False", "spec.lifetime: 48h is above the ceiling")]},
            "AgentIdentity {}/reader is not granted: spec.lifetime: 48h is above the ceiling",
            id="refused by its class",
        ),
        pytest.param(
            {}, {"conditions": [condition("False", "x" * 5000)]},
            "AgentIdentity {}/reader is not granted: xxx", id="refused at length",
        ),
        pytest.param(
            {}, {}, f"is not granted: {PENDING.message}", id="not judged yet",
        ),
        pytest.param(
            {"delivery": {"mode": "CSI"}},
            {"conditions": [condition("False", "this cluster serves no CSI")]},
            "is not granted: this cluster serves no CSI", id="no such delivery here",
        ),
        pytest.param(
            {"delivery": {"mode": "Secret"}}, {}, "is not granted", id="no Secret yet",
        ),
    ],
)  # fmt: skip
def test_an_identity_that_brings_nothing_is_a_reason_that_is_told(
    author: User, home: str, spec: Json, status: Json | None, because: str
) -> None:
    """One reason, with what to do, before any kubelet waits for it."""
    give(author, home, status=status, **spec)
    expected = because.format(home)
    told: list[str] = []

    def refused() -> bool:
        told.append(author(*DRY, body=pod(home)).stderr)
        return expected in told[-1]

    until("the refusal", refused)
    assert "has no volume that brings it" not in told[-1]


def test_an_identity_that_is_not_there(author: User, home: str) -> None:
    """Nor is one of that name in another namespace."""
    because = "there is no AgentIdentity of this name in this namespace"
    author.may_not(*DRY, body=pod(home, "nobody"), because=because)
    author.may("get", "agentidentity", "probe", "-n", "default")
    author.may_not(*DRY, body=pod(home, "probe"), because=because)


def test_an_identity_that_is_being_deleted(author: User, home: str) -> None:
    """Its certificates are revoked already."""
    give(author, home)
    created(author, pod(home))
    author.may("delete", "agentidentity", "reader", "-n", home, "--wait=false")
    until(
        "the deletion in the API server's cache",
        lambda: "is being deleted" in author(*DRY, body=pod(home)).stderr,
    )


@pytest.mark.parametrize(
    ("delivery", "volumes", "because"),
    [
        pytest.param(
            "PodCertificate", {"secret": {"secretName": "reader-agentid"}},
            "it is not the delivery of AgentIdentity {}/reader, which is PodCertificate;",
            id="another delivery",
        ),
        pytest.param(
            "Secret", {"secret": {"secretName": "writer-agentid"}},
            "which is Secret through Secret reader-agentid;", id="another Secret",
        ),
        pytest.param(
            "Secret", {"projected": {"sources": [{"secret": {"name": "writer-agentid"}}]}},
            "which is Secret through Secret reader-agentid;", id="another Secret, projected",
        ),
        pytest.param(
            "PodCertificate", {"projected": {"sources": [certificate_source(key="ECDSAP256")]}},
            "keyType ECDSAP256 is not that of AgentIdentity {}/reader, which is ED25519;",
            id="another key",
        ),
    ],
)  # fmt: skip
def test_a_volume_that_brings_something_else_is_refused(
    author: User, home: str, delivery: str, volumes: Json, because: str
) -> None:
    """It would wait for ever, or bring what was not granted."""
    give(author, home, status={**granted(home), "certificate": CERTIFICATE},
         delivery={"mode": delivery})  # fmt: skip
    created(author, pod(home))
    body = pod(home, volumes=[{"name": "agentid", **volumes}])
    author.may_not(*DRY, body=body, because=because.format(home))


def test_pods_without_the_label_are_left_alone(author: User, home: str) -> None:
    """Whatever else they carry."""
    body = pod(home, None, annotations={"agentid.dev/containers": "agent"})
    assert "agentid" not in str(created(author, body))
