"""What Helm makes of the chart, without a cluster."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from agentid.api.crd import render_crds
from agentid.constants import CSI_DRIVER
from agentid.issuing.authenticating import AUDIENCE, NODE_ACCOUNT
from agentid.services.issuer_trust import TRUST_CONFIG_MAP
from agentid.services.issuing_credentials import ISSUER_SERVICE, served_name
from e2e.chart import CHART, helm, manifests, rendered
from e2e.errors import E2EError
from tests.helm.conftest import objects, of_kind

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.integration


def test_the_chart_passes_lint(program: Path) -> None:
    """A warning counts as a fault."""
    assert "0 chart(s) failed" in helm("lint", "--strict", str(CHART), program=program)


def test_the_manifests_are_rendered_from_the_chart(program: Path) -> None:
    """They cannot say anything else, whichever Helm renders them."""
    made = manifests(program=program)
    assert [path.name for path, text in made.items() if path.read_text() != text] == [], (
        "make chart"
    )


@pytest.mark.parametrize(
    ("values", "told"),
    [
        pytest.param(["controller.replica=3"], ["controller", "replica"], id="misspelt"),
        pytest.param(["controllers.replicas=3"], ["controllers"], id="misspelt group"),
        pytest.param(["controller.replicas=0"], ["controller", "replicas"], id="too few"),
        pytest.param(["controller.replicas=two"], ["controller", "replicas"], id="no number"),
        pytest.param(["image.tag=a b"], ["image", "tag"], id="no tag"),
        pytest.param(["image.repository="], ["image", "repository"], id="no repository"),
        pytest.param(["image.digest=sha256:1234"], ["image", "digest"], id="no digest"),
        pytest.param(["image.pullPolicy=Sometimes"], ["image", "pullPolicy"], id="no policy"),
        pytest.param(["logLevel=loud"], ["logLevel"], id="no level"),
        pytest.param(["controller.audit=/var/log"], ["controller", "audit"], id="no stream"),
        pytest.param(["controller.env.A-B=c"], ["controller", "env", "A-B"], id="no variable"),
        pytest.param(["responder.limits.rates=1"], ["responder", "limits", "rates"], id="limit"),
        pytest.param(["responder.limits.feeds=1.5"], ["responder", "limits", "feeds"], id="half"),
        pytest.param(
            ["responder.periods.ocspWindow=0"], ["responder", "periods", "ocspWindow"], id="period"
        ),
        pytest.param(
            ["responder.service.type=External"], ["responder", "service", "type"], id="service"
        ),
        pytest.param(
            ["responder.service.externalTrafficPolicy=Local"],
            ["responder", "service", "externalTrafficPolicy"],
            id="a policy that needs another type",
        ),
        pytest.param(
            ["networkPolicy.http.from[0].namespace=here"],
            ["networkPolicy", "http", "from", "0", "namespace"],
            id="a peer that is none",
        ),
        pytest.param(["admission.mode=Sometimes"], ["admission", "mode"], id="no mode"),
        pytest.param(
            ["admission.timeoutSeconds=31"], ["admission", "timeoutSeconds"], id="too long"
        ),
        pytest.param(["node.replicas=2"], ["node", "replicas"], id="one for each node"),
        pytest.param(["node.kubeletPath=var/lib"], ["node", "kubeletPath"], id="no absolute path"),
        pytest.param(
            ["node.kubeletPath=/var/lib/../etc"], ["node", "kubeletPath"], id="a path upwards"
        ),
        pytest.param(["node.volumeMib=0"], ["node", "volumeMib"], id="no room"),
        pytest.param(
            ["node.updateStrategy.rollingUpdate.maxSurge=1"],
            ["node", "updateStrategy", "rollingUpdate", "maxSurge"],
            id="two plugins on a node",
        ),
        pytest.param(["issuer.trustDomain=Agents"], ["issuer", "trustDomain"], id="trust domain"),
        pytest.param(["issuer.spec.trustDomain=x"], ["issuer", "spec"], id="in the wrong place"),
        pytest.param(["monitoring.enabled=true"], ["monitoring", "enabled"], id="too high up"),
        pytest.param(
            ["controller.topologySpreadConstraints[0].labelSelector.matchLabels.a=b"],
            ["controller", "topologySpreadConstraints", "0"],
            id="a selector that is the chart's",
        ),
    ],
)  # fmt: skip
def test_a_wrong_value_is_refused_by_name(
    program: Path, values: list[str], told: list[str]
) -> None:
    """Whatever it is, the refusal says where it is."""
    options = [part for value in values for part in ("--set", value)]
    with pytest.raises(E2EError, match=".*".join(map(re.escape, told))):
        rendered(*options, program=program)


def test_an_older_kubernetes_is_refused(program: Path) -> None:
    """With what is needed and what was found."""
    with pytest.raises(E2EError, match=r">=1\.34\.0-0 .*incompatible with Kubernetes v1\.33\.9"):
        rendered("--kube-version", "1.33.9", program=program)


@pytest.mark.parametrize(
    ("options", "there"),
    [
        pytest.param(("--kube-version", "1.35.4"), False, id="before 1.36"),
        pytest.param(("--kube-version", "1.36.0"), True, id="from 1.36 on"),
        pytest.param(("--api-versions", "v1/Namespace"), False, id="a server without it"),
        pytest.param(
            (
                "--api-versions", "v1/Namespace",
                "--api-versions", "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy",
            ),
            True,
            id="a server with it",
        ),
    ],
)  # fmt: skip
def test_the_finalizer_policy_is_there_where_it_is_served(
    program: Path, options: tuple[str, ...], *, there: bool
) -> None:
    """Elsewhere the controller adds the finalizer itself."""
    kinds = {each["kind"] for each in objects(rendered(*options, program=program))}
    assert ("MutatingAdmissionPolicy" in kinds) is there
    assert ("MutatingAdmissionPolicyBinding" in kinds) is there


def about_pods(*options: str, program: Path | None = None) -> set[tuple[str, str]]:
    """Kind and name of everything that mounts identities, or serves who does."""
    return {
        (each["kind"], each["metadata"]["name"])
        for each in objects(rendered(*options, program=program))
        if "Binding" not in each["kind"]
        and each["metadata"]["name"]
        in {"agentid-admission", "agentid-pods", "agentid-pod-identities"}
    }


@pytest.mark.parametrize(
    ("mode", "kinds"),
    [
        pytest.param(
            "Webhook",
            {"Deployment", "Service", "ServiceAccount", "PodDisruptionBudget", "NetworkPolicy",
             "ClusterRole", "Role", "MutatingWebhookConfiguration"},
            id="webhook",
        ),
        pytest.param(
            "Policy", {"MutatingAdmissionPolicy", "ValidatingAdmissionPolicy"}, id="policy"
        ),
        pytest.param("None", set(), id="nobody"),
    ],
)  # fmt: skip
def test_identities_are_mounted_in_one_way(program: Path, mode: str, kinds: set[str]) -> None:
    """What the others need is not there; what refuses pods without their volume always is."""
    options = ("--set", f"admission.mode={mode}")
    assert {kind for kind, _ in about_pods(*options, program=program)} == kinds
    text = rendered(*options, program=program)
    of_kind(text, "ValidatingAdmissionPolicy", "agentid-pod-volumes")
    of_kind(text, "ValidatingAdmissionPolicy", "agentid-pod-certificate-requests")
    role = of_kind(text, "ClusterRole", "agentid-controller")
    (rule,) = [
        each for each in role["rules"] if each["resources"] == ["mutatingwebhookconfigurations"]
    ]
    assert ("patch" in rule["verbs"]) is (mode == "Webhook"), "ADR 13"


def test_a_policy_that_mounts_needs_a_server_that_has_such_policies(program: Path) -> None:
    """Silence would leave every agent without its identity."""
    options = ("--set", "admission.mode=Policy", "--kube-version", "1.35.4")
    with pytest.raises(E2EError, match=r"admission\.mode Policy needs .* from 1\.36 on"):
        rendered(*options, program=program)


def test_the_webhook_sees_pods_that_ask_and_no_others() -> None:
    """By the label, outside of the namespaces that a cluster and this webhook come up from."""
    text = rendered(namespace="ids")
    configuration = of_kind(text, "MutatingWebhookConfiguration", "agentid-pods")
    (hook,) = configuration["webhooks"]
    service = of_kind(text, "Service", "agentid-admission")
    called = hook["clientConfig"]["service"]
    assert (called["name"], called["namespace"]) == ("agentid-admission", "ids")
    assert called["port"] == service["spec"]["ports"][0]["port"]
    assert "caBundle" not in hook["clientConfig"], "Helm would take it away at each upgrade"
    assert hook["objectSelector"] == {
        "matchExpressions": [{"key": "agentid.dev/identity", "operator": "Exists"}]
    }
    (left_out,) = hook["namespaceSelector"]["matchExpressions"]
    assert (left_out["operator"], left_out["values"]) == ("NotIn", ["kube-system", "ids"])
    asked = {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"],
             "operations": ["CREATE"], "scope": "Namespaced"}  # fmt: skip
    assert hook["rules"] == [asked]
    settings = ("failurePolicy", "sideEffects", "reinvocationPolicy", "timeoutSeconds")
    assert [hook[each] for each in settings] == ["Ignore", "None", "IfNeeded", 3]


@pytest.mark.parametrize("namespace", ["identities", "2026", "1e3"])
def test_any_namespace_will_do(program: Path, namespace: str) -> None:
    """Nothing that is rendered for another namespace names the usual one."""
    text = rendered("--set", "crds.install=false", namespace=namespace, program=program)
    assert "agentid-system" not in text
    for each in objects(text):
        assert each["metadata"].get("namespace", namespace) == namespace
        for subject in each.get("subjects", ()):
            assert subject.get("namespace", namespace) == namespace
    policy = of_kind(text, "ValidatingAdmissionPolicy", "agentid-ledger")
    assert f"system:serviceaccount:{namespace}:agentid-controller" in str(policy)


def test_names_of_digits_stay_names() -> None:
    """Kubernetes allows them, and YAML would make numbers of them."""
    names = "controller.priorityClassName=7,responder.tls.secretName=8,image.pullSecrets={9}"
    text = rendered("--set-string", names)
    pod = of_kind(text, "Deployment", "agentid-controller")["spec"]["template"]["spec"]
    assert (pod["priorityClassName"], pod["imagePullSecrets"]) == ("7", [{"name": "9"}])
    pod = of_kind(text, "Deployment", "agentid-responder")["spec"]["template"]["spec"]
    assert pod["volumes"][0]["secret"]["secretName"] == "8"


def test_the_crds_are_the_generated_ones_and_are_kept() -> None:
    """They differ in one annotation, so the end of a release is not the end of all identities."""
    made = [each for each in objects(rendered()) if each["kind"] == "CustomResourceDefinition"]
    for each in made:
        assert each["metadata"].pop("annotations") == {"helm.sh/resource-policy": "keep"}
    models = [each for text in render_crds().values() for each in objects(text)]
    assert sorted(made, key=str) == sorted(models, key=str)
    without = objects(rendered("--set", "crds.install=false"))
    assert "CustomResourceDefinition" not in {each["kind"] for each in without}


def test_the_issuer_is_made_once_and_left_alone() -> None:
    """By a hook that deletes nothing, and that Argo CD, which cannot look for it, skips."""
    shown = ("--show-only", "templates/issuer.yaml")
    options = ("--set", "issuer.trustDomain=agents.example", *shown)
    text = helm("template", "agentid", str(CHART), "--namespace", "ids", *options)
    issuer = of_kind(text, "AgentIssuer", "default")
    assert issuer["metadata"]["annotations"] == {
        "helm.sh/hook": "post-install,post-upgrade",
        "helm.sh/hook-delete-policy": "hook-failed",
        "argocd.argoproj.io/hook": "Skip",
    }
    assert issuer["spec"] == {
        "trustDomain": "agents.example",
        "ca": {"builtin": {}},
        "responder": {"url": "http://agentid-responder.ids.svc"},
    }
    given = ("--set", "issuer.spec.ca.secret.name=ours,issuer.spec.responder.shards=4")
    text = helm("template", "agentid", str(CHART), "--namespace", "ids", *options, *given)
    spec = of_kind(text, "AgentIssuer")["spec"]
    assert spec["ca"] == {"secret": {"name": "ours"}}, "exactly one authority may be given"
    assert spec["responder"] == {"shards": 4, "url": "http://agentid-responder.ids.svc"}


def test_settings_of_the_responder_become_flags() -> None:
    """As the program names them; numbers as they were written."""
    limits = '{"clientRate": 0.5, "clientBurst": 2000000}'
    given = ("--set-json", f"responder.limits={limits}", "--set", "responder.periods.maxAge=5")
    text = rendered(*given)
    pod = of_kind(text, "Deployment", "agentid-responder")["spec"]["template"]["spec"]
    assert pod["containers"][0]["args"] == [
        "responder", "--client-burst=2000000", "--client-rate=0.5", "--max-age=5",
    ]  # fmt: skip


def test_no_peers_means_nobody() -> None:
    """An empty list closes a port; for Kubernetes a rule without peers would open it to all."""
    policy = of_kind(rendered("--set-json", "networkPolicy.https.from=[]"),
                     "NetworkPolicy", "agentid-responder")  # fmt: skip
    opened = [rule["ports"][0]["port"] for rule in policy["spec"]["ingress"]]
    assert opened == ["http", "probes"]
    closed = ("http", "https", "metrics")
    options = [part for name in closed for part in ("--set-json", f"networkPolicy.{name}.from=[]")]
    assert not of_kind(rendered(*options), "NetworkPolicy", "agentid-responder")["spec"]["ingress"]


def test_metrics_are_found_by_the_service_monitor() -> None:
    """It selects the Service by its labels and names its port."""
    text = rendered("--set", "monitoring.serviceMonitor.enabled=true")
    monitor, service = of_kind(text, "ServiceMonitor"), of_kind(text, "Service", "agentid-metrics")
    selected = monitor["spec"]["selector"]["matchLabels"].items()
    assert selected <= service["metadata"]["labels"].items()
    assert monitor["spec"]["endpoints"][0]["port"] == service["spec"]["ports"][0]["name"]
    for kind, name in (
        ("Deployment", "controller"), ("Deployment", "responder"), ("Deployment", "admission"),
        ("DaemonSet", "node"),
    ):  # fmt: skip
        pod = of_kind(text, kind, f"agentid-{name}")["spec"]["template"]
        assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
        ports = {port["name"] for port in pod["spec"]["containers"][0]["ports"]}
        assert service["spec"]["ports"][0]["targetPort"] in ports


def test_the_node_plugin_and_what_it_asks_fit_together() -> None:
    """Names, ports, audience and trust, as the programs have them."""
    text = rendered(namespace="ids")
    plugin = of_kind(text, "DaemonSet", "agentid-node")["spec"]["template"]
    spec, (container,) = plugin["spec"], plugin["spec"]["containers"]
    assert spec["serviceAccountName"] == NODE_ACCOUNT
    service = of_kind(text, "Service", ISSUER_SERVICE)
    (port,) = service["spec"]["ports"]
    values = {each["name"]: each.get("value") for each in container["env"]}
    assert values["AGENTID_ISSUER_URL"] == f"https://{served_name('ids')}:{port['port']}"
    controller = of_kind(text, "Deployment", "agentid-controller")["spec"]["template"]
    assert service["spec"]["selector"].items() <= controller["metadata"]["labels"].items()
    assert {"name": port["targetPort"], "containerPort": 8445} in (
        controller["spec"]["containers"][0]["ports"]
    )
    (trust,) = [each["projected"] for each in spec["volumes"] if "projected" in each]
    token, authorities = trust["sources"]
    assert token["serviceAccountToken"]["audience"] == AUDIENCE
    assert token["serviceAccountToken"]["expirationSeconds"] <= 600
    assert authorities["configMap"]["name"] == TRUST_CONFIG_MAP
    assert authorities["configMap"]["optional"], "it is made once a controller leads"
    assert not any("secret" in each for each in (*spec["volumes"], *trust["sources"]))
    driver = of_kind(text, "CSIDriver", CSI_DRIVER)["spec"]
    assert [each["audience"] for each in driver["tokenRequests"]] == [AUDIENCE]
    (rule,) = [
        each
        for each in of_kind(text, "NetworkPolicy", "agentid-controller")["spec"]["ingress"]
        if each["ports"][0]["port"] == port["targetPort"]
    ]
    (peer,) = rule["from"]
    assert peer["podSelector"]["matchLabels"].items() <= plugin["metadata"]["labels"].items()


def test_the_node_plugin_has_three_folders_of_the_node_and_no_more() -> None:
    """Privileged it has to be, since Kubernetes lets nobody else mount for others."""
    path = "/var/lib/rancher/kubelet"
    text = rendered("--set", f"node.kubeletPath={path}")
    spec = of_kind(text, "DaemonSet", "agentid-node")["spec"]["template"]["spec"]
    assert not {"hostNetwork", "hostPID", "hostIPC", "hostUsers"} & spec.keys()
    (container,) = spec["containers"]
    assert container["securityContext"] == {"privileged": True, "readOnlyRootFilesystem": True}
    assert f"--kubelet={path}" in container["args"]
    places = {
        each["name"]: each["hostPath"]["path"] for each in spec["volumes"] if "hostPath" in each
    }
    assert places == {
        "plugin": f"{path}/plugins/csi.agentid.dev",
        "pods": f"{path}/pods",
        "registry": f"{path}/plugins_registry",
    }
    mounted = {each["name"]: each for each in container["volumeMounts"]}
    for name, place in places.items():
        assert mounted[name]["mountPath"] == place, "the kubelet names paths as the node has them"
    assert {name for name, each in mounted.items() if "mountPropagation" in each} == {
        "plugin", "pods"
    }  # fmt: skip


def test_without_the_node_plugin_nothing_of_it_is_there(program: Path) -> None:
    """No driver, so no identity is promised by it, and no port that nobody asks."""
    text = rendered("--set", "node.enabled=false", program=program)
    assert not {"DaemonSet", "CSIDriver"} & {each["kind"] for each in objects(text)}
    assert {each["metadata"]["name"] for each in objects(text)}.isdisjoint(
        {"agentid-node", ISSUER_SERVICE}
    )
    spec = of_kind(text, "Deployment", "agentid-controller")["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert {"name": "AGENTID_ISSUER_PORT", "value": "0"} in container["env"]
    assert [each["name"] for each in container["ports"]] == ["probes"]
    policy = of_kind(text, "NetworkPolicy", "agentid-controller")
    assert "issuer" not in str(policy["spec"])


@pytest.mark.parametrize(
    ("version", "there"), [("1.34.0", False), ("1.35.0", True), ("1.37.2", True)]
)
def test_tokens_come_apart_from_attributes_where_that_can_be(version: str, *, there: bool) -> None:
    """An API server that does not know the field would refuse the driver."""
    text = rendered("--kube-version", version)
    assert ("serviceAccountTokenInSecrets" in of_kind(text, "CSIDriver")["spec"]) is there


def test_the_inventory_page_is_opened_to_nobody_by_itself() -> None:
    """It is reached through `kubectl port-forward` until peers are named."""
    text = rendered("--set", "inventory.enabled=true")
    container = of_kind(text, "Deployment", "agentid-responder")["spec"]["template"]["spec"][
        "containers"
    ][0]
    assert "--inventory-port=8444" in container["args"]
    policy = of_kind(text, "NetworkPolicy", "agentid-responder")
    assert "inventory" not in str(policy["spec"])
    assert of_kind(text, "ClusterRoleBinding", "agentid-inventory")
    assert "agentid-inventory" not in rendered()


@pytest.mark.parametrize(
    ("value", "file", "kind"),
    [
        pytest.param("prometheusRule", "rules.yaml", "PrometheusRule", id="rules"),
        pytest.param("dashboard", "dashboard.json", "ConfigMap", id="dashboard"),
    ],
)
def test_rules_and_dashboard_are_taken_as_they_are(
    copied: Path, value: str, file: str, kind: str
) -> None:
    """What looks like a template in them is Prometheus', and stays."""
    content = '{"groups": [{"name": "{{ $labels.issuer }}", "rules": []}]}'
    path = copied / "files" / file
    path.unlink(missing_ok=True)
    enabled = ("template", "agentid", str(copied), "--set", f"monitoring.{value}.enabled=true")
    with pytest.raises(E2EError, match=f"files/{file} is not in this chart"):
        helm(*enabled)
    path.write_text(content)
    found = of_kind(helm(*enabled), kind)
    assert "{{ $labels.issuer }}" in str(found.get("spec") or found["data"])
