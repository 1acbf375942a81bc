"""The policies about pods, their labels and their requests: what they refuse and what not."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from tests.manifests.conftest import User
from tests.support.api import until
from tests.support.pods import certificate_source, container, identity_volume, pod

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from e2e.providers import Cluster

Json = dict[str, Any]

pytestmark = pytest.mark.integration

DRY = ("create", "--dry-run=server", "-f", "-")
NODE = "node-1"


@pytest.fixture
def home(installed: Cluster, make_namespace: Callable[[], str]) -> str:
    """A namespace that pods can be created in."""
    name = make_namespace()
    account = ("get", "serviceaccount", "default", "-n", name)
    until("the ServiceAccount", lambda: not installed.kubectl(*account, check=False).returncode)
    return name


# agentid-pod-volumes

SECRET = {"name": "agentid", "secret": {"secretName": "reader-agentid"}}


def driven(identity: str | None = "reader", **attributes: str) -> Json:
    """A volume of the node plugin's driver."""
    asked = {} if identity is None else {"agentid.dev/identity": identity}
    plugin = {"driver": "csi.agentid.dev", "readOnly": True, "volumeAttributes": asked | attributes}
    return {"name": "agentid", "csi": plugin}


PROJECTED_SECRET = {
    "name": "agentid",
    "projected": {"sources": [{"secret": {"name": "reader-agentid"}}]},
}


@pytest.mark.parametrize(
    "volume",
    [
        pytest.param(identity_volume(), id="a certificate of the kubelet's"),
        pytest.param(SECRET, id="a Secret"),
        pytest.param(PROJECTED_SECRET, id="a projected Secret"),
        pytest.param(driven(), id="the node plugin"),
    ],
)
def test_a_pod_with_a_volume_that_brings_its_identity_is_let_through(
    admin: User, home: str, volume: Json
) -> None:
    """By each of the deliveries, also without a webhook."""
    admin.may(*DRY, body=pod(home, volumes=[volume]))


@pytest.mark.parametrize(
    ("volumes", "because"),
    [
        pytest.param(
            [],
            'the pod asks for the identity "reader" by the label agentid.dev/identity and has no '
            "volume that brings it; the webhook of agentid mounts it, and did not see this pod",
            id="none",
        ),
        pytest.param(
            [identity_volume(name="mine")], "has no volume that brings it", id="another name"
        ),
        pytest.param(
            [{"name": "agentid", "emptyDir": {}}],
            "spec.volumes[agentid]: a volume of this name is there, and brings no identity",
            id="the author's own",
        ),
        pytest.param(
            [{"name": "agentid", "csi": {"driver": "csi.example.com"}}],
            "brings no identity", id="the driver of somebody else",
        ),
        pytest.param(
            [{"name": "agentid", "projected": {
                "sources": [certificate_source(signer="example.com/signer")]}}],
            "brings no identity", id="the signer of somebody else",
        ),
        pytest.param(
            [identity_volume("writer")],
            "asks for another identity than the label agentid.dev/identity names, which is "
            '"reader"; leave the volume out, so that it is added, or let userAnnotations',
            id="another identity",
        ),
        pytest.param(
            [identity_volume(), identity_volume("writer", name="second")],
            "asks for another identity than the label", id="another identity besides",
        ),
        pytest.param(
            [{"name": "agentid", "projected": {
                "sources": [certificate_source(**{"example.com/role": "root"})]}}],
            'agentid.dev/identity: "reader" and nothing else', id="more annotations",
        ),
        pytest.param(
            [{"name": "agentid", "projected": {"sources": [certificate_source(None)]}}],
            "asks for another identity than the label", id="no annotation",
        ),
        pytest.param(
            [driven("writer")], "asks for another identity", id="another identity of the driver"
        ),
        pytest.param([driven(None)], "asks for another identity", id="no attribute"),
        pytest.param(
            [driven(path="/etc")], "and nothing else", id="more attributes"
        ),
    ],
)  # fmt: skip
def test_an_opted_in_pod_without_its_volume_is_refused(
    admin: User, home: str, volumes: list[Json], because: str
) -> None:
    """With what to do about it; it is the admin who is refused here."""
    admin.may_not(*DRY, body=pod(home, volumes=volumes), because=because)


@pytest.mark.parametrize("kind", ["containers", "initContainers"])
@pytest.mark.parametrize("path", ["/var/run/agentid", "/var/run/agentid/", "/run/agentid"])
def test_a_volume_of_the_authors_in_the_place_of_ours_is_refused(
    admin: User, home: str, kind: str, path: str
) -> None:
    """The agent would read somebody else's files there."""
    mounting = container("side", volumeMounts=[{"name": "mine", "mountPath": path}])
    body = pod(home, volumes=[identity_volume(), {"name": "mine", "emptyDir": {}}])
    body["spec"][kind] = [mounting]
    admin.may_not(*DRY, body=body, because="container side: volumeMounts: /var/run/agentid is")
    body["metadata"]["labels"] = {}
    body["spec"]["volumes"] = [{"name": "mine", "emptyDir": {}}]
    admin.may(*DRY, body=body)


def test_the_annotation_names_containers_that_are_there(admin: User, home: str) -> None:
    """A name misspelt would leave an agent without its identity."""
    body = pod(home, volumes=[identity_volume()], initContainers=[container("setup")])
    body["metadata"]["annotations"] = {"agentid.dev/containers": "agent, setup"}
    admin.may(*DRY, body=body)
    body["metadata"]["annotations"] = {"agentid.dev/containers": "agnet,setup"}
    because = '"agnet" is no container of this pod; it has agent, setup'
    admin.may_not(*DRY, body=body, because=because)
    body["metadata"]["annotations"] = {"agentid.dev/containers": " , "}
    admin.may_not(*DRY, body=body, because='" , " is no container of this pod')


@pytest.mark.parametrize(
    "volume",
    [
        pytest.param(identity_volume(name="mine"), id="of the signer"),
        pytest.param(driven(), id="of the driver"),
    ],
)
def test_a_certificate_without_the_label_is_refused(admin: User, home: str, volume: Json) -> None:
    """It would be revoked by nobody."""
    body = pod(home, None, volumes=[volume])
    because = "are for pods with the label agentid.dev/identity, by which they are revoked"
    admin.may_not(*DRY, body=body, because=because)


@pytest.mark.parametrize(
    "volumes",
    [
        pytest.param([], id="nothing"),
        pytest.param([{"name": "agentid", "emptyDir": {}}], id="a volume of our name"),
        pytest.param(
            [{"name": "a", "projected": {"sources": [certificate_source(signer="a.com/b")]}}],
            id="a certificate of somebody else",
        ),
        pytest.param([{"name": "a", "projected": {"sources": []}}], id="a projection of nothing"),
    ],
)
def test_a_pod_that_asks_for_nothing_is_none_of_our_business(
    admin: User, home: str, volumes: list[Json]
) -> None:
    """Everybody else's pods are created as ever."""
    admin.may(*DRY, body=pod(home, None, volumes=volumes))


def test_no_namespace_is_left_out(admin: User) -> None:
    """Where the webhook does not look, the label is refused, not ignored."""
    account = ("get", "serviceaccount", "default", "-n", "kube-system")
    until("the ServiceAccount", lambda: not admin(*account).returncode)
    admin.may_not(*DRY, body=pod("kube-system"), because="does not serve this namespace")
    admin.may(*DRY, body=pod("kube-system", None))


# agentid-pod-labels


def relabel(namespace: str, identity: str | None, subresource: str = "") -> tuple[str, ...]:
    """A change of the pod's label."""
    change = {"metadata": {"labels": {"agentid.dev/identity": identity}}}
    into = (f"--subresource={subresource}",) if subresource else ()
    merge = ("--type=merge", "-p", json.dumps(change))
    return ("patch", "pod", "agent", "-n", namespace, *into, *merge)


@pytest.mark.parametrize("subresource", ["", "status"])
def test_the_label_comes_at_creation_or_never(admin: User, home: str, subresource: str) -> None:
    """A pod that is there has no volume for it; also by the way that statuses are written."""
    admin.may("create", "-f", "-", body=pod(home, None))
    because = "metadata.labels[agentid.dev/identity]: it cannot be given to a pod that is there"
    admin.may_not(*relabel(home, "reader", subresource), because=because)
    admin.may("label", "pod", "agent", "-n", home, "team=finance")


@pytest.mark.parametrize("subresource", ["", "status"])
def test_the_label_is_not_changed_and_may_be_taken_off(
    admin: User, home: str, subresource: str
) -> None:
    """Taking it off takes the pod's certificates away, which is what revocation is for."""
    admin.may("create", "-f", "-", body=pod(home, volumes=[identity_volume()]))
    because = 'it cannot be changed from "reader" on a pod that is there already'
    admin.may_not(*relabel(home, "writer", subresource), because=because)
    admin.may("label", "pod", "agent", "-n", home, "team=finance")
    admin.may(*relabel(home, None, subresource))
    admin.may_not(*relabel(home, "reader", subresource), because="cannot be given to a pod")


@pytest.mark.parametrize("resource", ["pods/agent/binding", "bindings"])
def test_who_places_a_pod_gives_it_no_label(admin: User, home: str, resource: str) -> None:
    """Labels of a Binding become those of the pod."""
    admin.may("create", "-f", "-", body=pod(home, None, schedulerName="nobody"))

    def binding(**labels: str) -> Json:
        return {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": "agent", "namespace": home, "labels": labels},
            "target": {"apiVersion": "v1", "kind": "Node", "name": NODE},
        }

    post = ("create", "--raw", f"/api/v1/namespaces/{home}/{resource}", "-f", "-")
    stolen = binding(**{"agentid.dev/identity": "reader"})
    admin.may_not(*post, body=stolen, because="it cannot be given to a pod")
    admin.may(*post, body=binding(zone="a"))


# agentid-pod-certificate-requests


@pytest.fixture(scope="module")
def stub() -> str:
    """A certificate request that holds a key and nothing else, DER in base64."""
    key = ec.generate_private_key(ec.SECP256R1())
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return base64.b64encode(request.sign(key, SHA256()).public_bytes(Encoding.DER)).decode()


@pytest.fixture
def node(installed: Cluster) -> Iterator[str]:
    """The UID of a node without a kubelet."""
    body = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}}
    made = installed.kubectl("create", "-o", "json", "-f", "-", stdin=json.dumps(body))
    yield json.loads(made.stdout)["metadata"]["uid"]
    installed.kubectl("delete", "node", NODE)


@pytest.fixture
def request_of_pod(admin: User, home: str, node: str, stub: str) -> Json:
    """What the kubelet of a pod's node asks for."""
    body = pod(home, volumes=[identity_volume()], nodeName=NODE)
    made = json.loads(admin("create", "-o", "json", "-f", "-", body=body).stdout)
    account = json.loads(admin("get", "sa", "default", "-n", home, "-o", "json").stdout)
    return {
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "PodCertificateRequest",
        "metadata": {"namespace": home, "name": "request"},
        "spec": {
            "signerName": "agentid.dev/agent",
            "podName": "agent",
            "podUID": made["metadata"]["uid"],
            "serviceAccountName": "default",
            "serviceAccountUID": account["metadata"]["uid"],
            "nodeName": NODE,
            "nodeUID": node,
            "maxExpirationSeconds": 86400,
            "unverifiedUserAnnotations": {"agentid.dev/identity": "reader"},
            "stubPKCS10Request": stub,
        },
    }


def kubelet(installed: Cluster, name: str = NODE) -> User:
    """Of a node; to be asked with `AS_NODE`."""
    return User(installed, f"system:node:{name}")


AS_NODE = (*DRY, "--as-group=system:nodes")
ONLY = "only the kubelet of its node may, as system:node:node-1 of the group system:nodes"


def test_the_kubelet_of_the_node_asks_for_a_certificate(
    installed: Cluster, request_of_pod: Json
) -> None:
    """With a key of its own making, and the annotation of the pod's volume."""
    until(
        "the pod in Kubernetes' own check",
        lambda: not kubelet(installed)(*AS_NODE, body=request_of_pod).returncode,
    )
    request_of_pod["spec"]["unverifiedUserAnnotations"] = {}
    kubelet(installed).may(*AS_NODE, body=request_of_pod)


def test_nobody_else_asks(
    admin: User, controller: User, installed: Cluster, request_of_pod: Json
) -> None:
    """Not the admin, not our controller, not who calls himself a node, not another node."""
    role = "all-requests"
    rule = ("--verb=*", "--resource=podcertificaterequests.certificates.k8s.io")
    installed.kubectl("create", "clusterrole", role, *rule)
    users = (f"--user={controller.name}", f"--user=system:node:{NODE}")
    installed.kubectl("create", "clusterrolebinding", role, f"--clusterrole={role}", *users)
    try:
        may = ("auth", "can-i", "create", "podcertificaterequests.certificates.k8s.io")
        until("the role", lambda: not controller(*may).returncode)
        for user in (admin, controller, kubelet(installed)):
            user.may_not(*DRY, body=request_of_pod, because=ONLY)
        kubelet(installed, "node-2").may_not(*AS_NODE, body=request_of_pod, because="node-2")
    finally:
        installed.kubectl("delete", "clusterrole,clusterrolebinding", role)


def test_only_our_annotation_comes_with_a_request(installed: Cluster, request_of_pod: Json) -> None:
    """Whatever else a pod's author wrote into the volume."""
    asked = request_of_pod["spec"]["unverifiedUserAnnotations"]
    asked["example.com/role"] = "root"
    because = 'is the only key that signer agentid.dev/agent knows, found "example.com/role"'
    until(
        "the pod in Kubernetes' own check",
        lambda: because in kubelet(installed)(*AS_NODE, body=request_of_pod).stderr,
    )


def test_requests_to_other_signers_are_none_of_our_business(
    admin: User, request_of_pod: Json
) -> None:
    """Their signers decide."""
    request_of_pod["spec"]["signerName"] = "example.com/signer"
    admin.may(*DRY, body=request_of_pod)
