"""Nothing that agentid or the API server writes shows as drift: in Argo CD's own comparison."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.support.api import until
from tests.support.gitopsview import argo_health, drifts
from tests.support.manifests import agent_class, identity, issuer

if TYPE_CHECKING:
    from collections.abc import Callable

    from e2e.providers import Cluster
    from tests.support.api import Api

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("running")]

Json = dict[str, Any]

ARGO = "argocd-controller"
ROOT = Path(__file__).parents[2]
PLURALS = {
    "AgentIssuer": "agentissuers",
    "AgentClass": "agentclasses",
    "AgentIdentity": "agentidentities",
    "AgentRevocation": "agentrevocations",
}


def manifest(kind: str, body: Json, namespace: str = "") -> Json:
    """A whole manifest, as it stands in Git, with what Argo CD adds to know it as its own."""
    metadata = body["metadata"] | ({"namespace": namespace} if namespace else {})
    tracked = {"argocd.argoproj.io/tracking-id": f"agents:agentid.dev/{kind}:{metadata['name']}"}
    metadata["annotations"] = tracked | {"argocd.argoproj.io/sync-wave": "-1"}
    metadata["labels"] = {"app.kubernetes.io/instance": "agents"}
    return {"apiVersion": "agentid.dev/v1alpha1", "kind": kind, **body, "metadata": metadata}


def apply(cluster: Cluster, body: Json, manager: str = ARGO, *options: str) -> Json:
    """Apply as a tool does, and return what the API server holds then."""
    command = ("apply", "-f", "-", f"--field-manager={manager}", "-o", "json", *options)
    shown = cluster.kubectl(*command, "--show-managed-fields", stdin=json.dumps(body))
    held: Json = json.loads(shown.stdout)
    return held


def live(cluster: Cluster, body: Json) -> Json:
    """The object as the API server holds it."""
    metadata = body["metadata"]
    where = ("-n", metadata["namespace"]) if "namespace" in metadata else ()
    command = ("get", body["kind"].lower(), metadata["name"], *where, "-o", "json")
    held: Json = json.loads(cluster.kubectl(*command, "--show-managed-fields").stdout)
    return held


@pytest.fixture(scope="module")
def document(api: Api, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The API server's OpenAPI document, with our kinds in it."""

    def published() -> str:
        return api.cluster.kubectl("get", "--raw", "/openapi/v2").stdout

    until("our kinds in OpenAPI", lambda: "dev.agentid.v1alpha1.AgentRevocation" in published())
    path = tmp_path_factory.mktemp("openapi") / "v2.json"
    path.write_text(published())
    return path


@pytest.fixture
def declared(namespace: str, make_class: Callable[..., str]) -> dict[str, Json]:
    """A manifest of each kind, with a list whose entries leave things out."""
    operations = [{"name": "file-claim", "implies": {"riskExposure": "Limited"}}, {"name": "look"}]
    federation = [{"trustDomain": "elsewhere.test", "url": "https://127.0.0.1:9/bundle"}]
    windows = [{"days": ["Mon", "Tue"], "start": "08:00", "end": "18:00"}]
    permissions = {
        "systems": ["erp.invoices", "crm.tickets"],
        "operations": ["read"],
        "schedule": {"timeZone": "Europe/Berlin", "windows": windows},
    }
    trust_domain = f"{namespace}.test"
    incident = {
        "metadata": {"name": namespace},
        "spec": {
            "reason": "keyCompromise",
            "explanation": "A laptop was stolen",
            "contact": "security@example.com",
            "select": {"namespaces": [namespace]},
        },
    }
    made = {
        "AgentIssuer": issuer(namespace, trustDomain=trust_domain, federation=federation),
        "AgentClass": agent_class(namespace, operations=operations, lifetime="90m"),
        "AgentIdentity": identity("reader", make_class(), permissions=permissions),
        "AgentRevocation": incident,
    }
    return {
        kind: manifest(kind, body, namespace if kind == "AgentIdentity" else "")
        for kind, body in made.items()
    }


def until_healthy(cluster: Cluster, body: Json) -> Json:
    """Wait until Argo CD calls it Healthy, so that the operator has written all it has to."""
    found: Json = {}

    def healthy() -> bool:
        found.update(live(cluster, body))
        return argo_health(found)[0].status == "Healthy"

    until(f"{body['kind']} Healthy", healthy)
    return found


def wanted(body: Json) -> Json:
    """What a tool may want of an object: not its status, and nothing that the API server counts."""
    kept = {"managedFields", "resourceVersion"}
    metadata = {key: each for key, each in body["metadata"].items() if key not in kept}
    return {key: each for key, each in body.items() if key != "status"} | {"metadata": metadata}


def compared(body: Json) -> Json:
    """What Argo CD compares: all but the status, which it leaves out unless told otherwise."""
    return {key: each for key, each in body.items() if key != "status"}


def written_at(body: Json) -> list[str]:
    """When the tool last changed something in an object."""
    return [each["time"] for each in body["metadata"]["managedFields"] if each["manager"] == ARGO]


def written_by_others(body: Json) -> set[str]:
    """The fields outside of the status that somebody else than the tool has written."""
    fields: set[str] = set()
    for entry in body["metadata"]["managedFields"]:
        if entry["manager"] != ARGO and entry.get("subresource") != "status":
            for part, below in entry["fieldsV1"].items():
                fields |= {f"{part}.{each}" for each in below}
    return fields


@pytest.mark.parametrize("kind", PLURALS)
def test_applied_from_the_client_it_is_in_sync(
    api: Api, declared: dict[str, Json], kind: str
) -> None:
    """Defaults, finalizer and status are no difference; applying again writes nothing."""
    config = declared[kind]
    apply(api.cluster, config)
    held = until_healthy(api.cluster, config)
    (found,) = drifts([{"config": config, "live": held}])
    assert not found["modified"], (found["live"], found["wanted"])
    again = apply(api.cluster, config)
    assert wanted(again) == wanted(held)
    assert written_at(again) == written_at(held)
    assert written_by_others(held) <= {"f:metadata.f:finalizers"}


@pytest.mark.parametrize("kind", PLURALS)
def test_applied_by_the_server_it_is_in_sync(
    api: Api, declared: dict[str, Json], document: Path, kind: str
) -> None:
    """The same with server-side apply, in both of Argo CD's comparisons."""
    config = declared[kind]
    apply(api.cluster, config, ARGO, "--server-side")
    held = until_healthy(api.cluster, config)
    predicted = apply(api.cluster, config, ARGO, "--server-side", "--dry-run=server")
    pair = {
        "config": config,
        "live": compared(held),
        "predicted": compared(predicted),
    }
    assert wanted(predicted) == wanted(held), "what Flux compares"
    for found in (*drifts([pair]), *drifts([pair], document)):
        assert not found["modified"], (found["live"], found["wanted"])
    again = apply(api.cluster, config, ARGO, "--server-side")
    assert wanted(again) == wanted(held)
    assert written_at(again) == written_at(held)
    assert written_by_others(held) <= {"f:metadata.f:finalizers"}


@pytest.mark.parametrize("options", [(), ("--server-side",)], ids=["client", "server"])
def test_a_change_by_hand_is_drift(
    api: Api, declared: dict[str, Json], document: Path, options: tuple[str, ...]
) -> None:
    """What Git says and somebody changed is shown: the comparison sees what it has to see."""
    config = declared["AgentIdentity"]
    apply(api.cluster, config, ARGO, *options)
    until_healthy(api.cluster, config)
    changed = {"spec": {"sponsor": "somebody-else@example.com"}}
    api.patch("agentidentities", "reader", changed, config["metadata"]["namespace"])
    pair: Json = {"config": config, "live": compared(live(api.cluster, config))}
    if options:
        force = ("--server-side", "--dry-run=server", "--force-conflicts")
        pair["predicted"] = compared(apply(api.cluster, config, ARGO, *force))
        assert drifts([pair], document)[0]["modified"]
    assert drifts([pair])[0]["modified"]


def test_two_managers_share_an_identity(api: Api, declared: dict[str, Json]) -> None:
    """Argo CD applies it, a person adds what is his; neither takes anything from the other."""
    config = declared["AgentIdentity"]
    namespace = config["metadata"]["namespace"]
    apply(api.cluster, config, ARGO, "--server-side")
    until_healthy(api.cluster, config)
    own = {
        "apiVersion": config["apiVersion"],
        "kind": config["kind"],
        "metadata": {
            "name": "reader",
            "namespace": namespace,
            "annotations": {"agentid.dev/renew-requested": "2026-01-01T00:00:00Z"},
        },
        "spec": {
            "className": config["spec"]["className"],
            "subject": config["spec"]["subject"],
            "suspend": True,
        },
    }
    apply(api.cluster, own, "person", "--server-side")
    api.until_reason(namespace, "reader", "Suspended", "Suspended")
    apply(api.cluster, config, ARGO, "--server-side")
    held = live(api.cluster, config)
    assert held["spec"]["suspend"] is True, "Git does not say it, so Argo CD does not undo it"
    assert held["metadata"]["annotations"].keys() > config["metadata"]["annotations"].keys()
    apply(api.cluster, {**own, "spec": own["spec"] | {"suspend": False}}, "person", "--server-side")
    api.until_ready(namespace, "reader")
    taken = {**own, "spec": own["spec"] | {"sponsor": "person@example.com"}}
    done = api.cluster.kubectl(
        "apply", "-f", "-", "--server-side", "--field-manager=person",
        stdin=json.dumps(taken), check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert f'conflict with "{ARGO}": .spec.sponsor' in done.stderr


def test_what_argo_cd_knows_its_objects_by_is_not_handed_on(
    api: Api, declared: dict[str, Json]
) -> None:
    """The Secret does not look like an object of the Application, which would then prune it."""
    config = declared["AgentIdentity"]
    apply(api.cluster, config)
    until_healthy(api.cluster, config)
    where = ("get", "secret", "reader-agentid", "-n", config["metadata"]["namespace"])
    metadata = json.loads(api.cluster.kubectl(*where, "-o", "json").stdout)["metadata"]
    assert not [each for each in metadata["annotations"] if "argocd" in each]
    assert "app.kubernetes.io/instance" not in metadata["labels"]
    assert metadata["ownerReferences"][0]["name"] == "reader"


@pytest.mark.parametrize("options", [(), ("--server-side",)], ids=["client", "server"])
def test_the_ca_bundle_of_the_webhook_is_no_drift(api: Api, options: tuple[str, ...]) -> None:
    """The operator sets it; no tool wants it away, and applying again leaves it where it is."""
    text = (ROOT / "manifests" / "admission.yaml").read_text()
    kind = "MutatingWebhookConfiguration"
    (config,) = [each for each in yaml.safe_load_all(text) if each["kind"] == kind]

    def bundle() -> str:
        return str(live(api.cluster, config)["webhooks"][0]["clientConfig"].get("caBundle", ""))

    apply(api.cluster, config, ARGO, *options)
    try:
        until("the bundle", bundle)
        held, before = live(api.cluster, config), bundle()
        pair: Json = {"config": config, "live": held}
        if options:
            dry = apply(api.cluster, config, ARGO, *options, "--dry-run=server")
            pair["predicted"] = dry
            assert wanted(dry) == wanted(held), "what Flux compares"
        (found,) = drifts([pair])
        assert not found["modified"], (found["live"], found["wanted"])
        apply(api.cluster, config, ARGO, *options)
        assert bundle() == before
    finally:
        api.cluster.kubectl("delete", kind, config["metadata"]["name"])


@pytest.mark.parametrize("part", ["crds", "manifests/rbac", "manifests/policies"])
def test_what_is_installed_is_in_sync(api: Api, part: str) -> None:
    """Definitions, roles and policies: none holds what the API server writes in another way."""
    configs = [
        body
        for path in sorted((ROOT / part).glob("*.yaml"))
        for body in yaml.safe_load_all(path.read_text())
    ]
    pairs = [{"config": each, "live": live(api.cluster, each)} for each in configs]
    for config, found in zip(configs, drifts(pairs), strict=True):
        name = f"{config['kind']} {config['metadata']['name']}"
        assert not found["modified"], (name, found["live"], found["wanted"])
    compared = api.cluster.kubectl("diff", "-f", str(ROOT / part), check=False)
    assert compared.returncode == 0, compared.stdout + compared.stderr
