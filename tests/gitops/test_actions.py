"""Argo CD's actions on identities: as its API server runs them, and seen by its comparison."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.api import until
from tests.support.gitopsview import action, actions, argo_health, drifts
from tests.support.manifests import identity

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator

    from tests.support.api import Api

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("running")]

Json = dict[str, Any]

SERVER = "system:serviceaccount:argocd:argocd-server"
RIGHTS = Path(__file__).parents[2] / "gitops" / "argocd" / "actions-rbac.yaml"


@pytest.fixture
def argocd_server(api: Api) -> Iterator[str]:
    """Who runs actions, with the rights that Argo CD's installation gives it."""
    name = "argocd-server"
    rules = ("--verb=get,patch,delete", "--resource=agentidentities.agentid.dev")
    api.cluster.kubectl("create", "clusterrole", name, *rules)
    whom = (f"--clusterrole={name}", "--serviceaccount=argocd:argocd-server")
    api.cluster.kubectl("create", "clusterrolebinding", name, *whom)
    yield SERVER
    api.cluster.kubectl("delete", "clusterrole,clusterrolebinding", name)
    api.cluster.kubectl("delete", "-f", str(RIGHTS), "--ignore-not-found")


@pytest.fixture
def config(api: Api, namespace: str, make_class: Callable[..., str]) -> Json:
    """An identity as it stands in Git, applied and Ready."""
    body = identity("reader", make_class())
    whole = {"apiVersion": "agentid.dev/v1alpha1", "kind": "AgentIdentity", **body}
    whole["metadata"] = {"name": "reader", "namespace": namespace}
    api.cluster.kubectl("apply", "-f", "-", stdin=json.dumps(whole))
    api.until_ready(namespace, "reader")
    return whole


def live(api: Api, config: Json) -> Json:
    """The object as the API server holds it."""
    body = api.identity(config["metadata"]["namespace"], "reader")
    assert body is not None
    return body


def run(api: Api, config: Json, name: str) -> subprocess.CompletedProcess[str]:
    """Run an action as Argo CD does: what it changed goes to the API server as a merge patch."""
    before = live(api, config)
    assert name in actions(before)
    made = action(name, before)
    patch = {
        part: {key: each for key, each in made[part].items() if before[part].get(key) != each}
        for part in ("metadata", "spec")
    }
    assert made == {**before, **{part: before[part] | patch[part] for part in patch}}
    where = ("patch", "agentidentity", "reader", "-n", config["metadata"]["namespace"])
    asked = ("--type=merge", "-p", json.dumps(patch), f"--as={SERVER}")
    return api.cluster.kubectl(*where, *asked, check=False)


def assert_in_sync(api: Api, config: Json) -> None:
    """Argo CD sees no difference from what Git says."""
    (found,) = drifts([{"config": config, "live": live(api, config)}])
    assert not found["modified"], (found["live"], found["wanted"])


@pytest.mark.usefixtures("argocd_server")
def test_actions_do_what_they_say_and_are_no_drift(api: Api, config: Json) -> None:
    """Renew, suspend and resume take effect, and a sync does not undo them."""
    namespace = config["metadata"]["namespace"]
    api.cluster.kubectl("apply", "-f", str(RIGHTS))
    first = api.serial(namespace, "reader")
    issued = f"{api.ledger().issued[first].issued_at:%Y-%m-%dT%H:%M:%SZ}"

    def requested() -> str:
        """The time that the action would ask for; a certificate has to be older than that."""
        annotations = action("renew", live(api, config))["metadata"]["annotations"]
        return str(annotations["agentid.dev/renew-requested"])

    until("another second", lambda: requested() > issued)
    assert run(api, config, "renew").returncode == 0
    until("a renewal", lambda: api.serial(namespace, "reader") not in {first, ""})
    assert_in_sync(api, config)
    until("the right to use the class", lambda: run(api, config, "suspend").returncode == 0)
    api.until_reason(namespace, "reader", "Suspended", "Suspended")
    assert_in_sync(api, config)
    api.cluster.kubectl("apply", "-f", "-", stdin=json.dumps(config))
    assert live(api, config)["spec"]["suspend"] is True
    assert actions(live(api, config)) == {"resume"}
    assert run(api, config, "resume").returncode == 0
    api.until_ready(namespace, "reader")
    assert argo_health(live(api, config))[0].status == "Healthy"
    assert_in_sync(api, config)


@pytest.mark.usefixtures("argocd_server")
def test_without_the_right_to_use_the_class_only_renew_works(api: Api, config: Json) -> None:
    """Argo CD's installation gives it none, and the refusal says what is missing."""
    assert run(api, config, "renew").returncode == 0
    refused = run(api, config, "suspend")
    assert refused.returncode != 0
    assert f"{SERVER} may not use AgentClass {config['spec']['className']}" in refused.stderr
