"""The example repository builds, is what Argo CD and Flux read, and keeps teams apart."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from e2e.toolchain import devcluster
from tests.support.api import condition, until
from tests.support.gitopsview import argo_health, decode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.api import Api

Json = dict[str, Any]

EXAMPLE = Path(__file__).parents[2] / "gitops" / "example"
WAVE = "argocd.argoproj.io/sync-wave"
OPTIONS = "argocd.argoproj.io/sync-options"
TEAM = "--as=system:serviceaccount:finance:gitops"


def built(folder: str) -> list[Json]:
    """What `kubectl kustomize` makes of a folder, without a complaint."""
    command = [str(devcluster()), "kubectl", "kustomize", str(EXAMPLE / folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return list(yaml.safe_load_all(done.stdout))


def applications() -> dict[str, Json]:
    """The objects of Argo CD, by kind and name; of the set, the Application that it makes."""
    files = sorted((EXAMPLE / "argocd").rglob("*.yaml"))
    bodies = [yaml.safe_load(file.read_text()) for file in files]
    made = {f"{each['kind']} {each['metadata']['name']}": each for each in bodies}
    template = made["ApplicationSet agents"]["spec"]["template"]
    text = yaml.safe_dump(template).replace("{{.path.basename}}", "finance")
    return made | {
        "Application agents-finance": yaml.safe_load(
            text.replace("{{.path.path}}", "agents/finance")
        )
    }


def annotation(body: Json, name: str) -> str:
    """An annotation, empty if it is not there."""
    return str((body["metadata"].get("annotations") or {}).get(name, ""))


def test_flux_reads_every_object_of_its_own() -> None:
    """By its own types, which know each field; and finds the folders that they name."""
    objects = built("flux") + built("flux/teams")
    assert decode(objects) == [each["metadata"]["name"] for each in objects]
    for each in objects:
        source = each["spec"].get("sourceRef", {}).get("name")
        if source == "agents":
            assert built(each["spec"]["path"])


def test_flux_is_told_what_a_suspended_agent_is() -> None:
    """Each Kustomization of a team waits for its agents, by the expressions that are tested."""
    shipped = yaml.safe_load((EXAMPLE / "flux" / "teams" / "health-checks.yaml").read_text())
    for each in built("flux/teams"):
        assert each["spec"]["healthCheckExprs"] == shipped["spec"]["healthCheckExprs"]
        assert each["spec"]["wait"] is True


def test_argo_cd_finds_what_its_applications_name() -> None:
    """Their folders are there, they go into the project, and each has a revision."""
    objects = applications()
    project = objects["AppProject agents"]["spec"]
    for name, body in objects.items():
        if not name.startswith("Application "):
            continue
        source = body["spec"]["source"]
        assert source["targetRevision"]
        if source["repoURL"].endswith("/agents.git"):
            assert (EXAMPLE / source["path"]).is_dir()
    team = objects["Application agents-finance"]["spec"]
    assert team["project"] == "agents"
    assert team["source"]["repoURL"] in project["sourceRepos"]
    assert team["destination"] in project["destinations"]
    accounts = {(each["namespace"], each["defaultServiceAccount"]) for each in _accounts(project)}
    assert accounts == {("finance", "gitops")}
    allowed = {(each["group"], each["kind"]) for each in project["namespaceResourceWhitelist"]}
    assert project["clusterResourceWhitelist"] == []
    for each in built("agents/finance"):
        assert (each["apiVersion"].rpartition("/")[0], each["kind"]) in allowed
        assert each["metadata"]["namespace"] == "finance"


def _accounts(project: Json) -> list[Json]:
    accounts: list[Json] = project["destinationServiceAccounts"]
    return accounts


def test_waves_go_from_the_issuer_to_the_agents() -> None:
    """CRDs, issuer, classes, agents; and none among the agents, so that no sync waits for one."""
    objects = applications()
    order = ("Application agentid", "Application agents-platform", "ApplicationSet agents")
    assert [annotation(objects[each], WAVE) for each in order] == ["0", "1", "2"]
    waves = {kind: set[str]() for kind in ("AgentIssuer", "AgentClass", "Namespace")}
    for each in built("platform"):
        if each["kind"] in waves:
            waves[each["kind"]].add(annotation(each, WAVE))
    assert waves == {"AgentIssuer": {"-2"}, "AgentClass": {"-1"}, "Namespace": {""}}
    assert {annotation(each, WAVE) for each in built("agents/finance")} == {""}


def test_nothing_is_pruned_that_takes_every_agent_along() -> None:
    """Not agentid, not the issuer, not a namespace; a single agent is, since Git says so."""
    objects = applications()
    assert objects["Application agentid"]["spec"]["syncPolicy"]["automated"]["prune"] is False
    assert all("finalizers" not in each["metadata"] for each in objects.values())
    (agentid,) = (each for each in built("flux") if each["metadata"]["name"] == "agentid"
                  and each["kind"] == "Kustomization")  # fmt: skip
    assert agentid["spec"]["prune"] is False
    for each in built("platform"):
        if each["kind"] in {"AgentIssuer", "Namespace"}:
            assert annotation(each, OPTIONS) == "Prune=false,Delete=false"
            assert annotation(each, "kustomize.toolkit.fluxcd.io/prune") == "disabled"
    for each in built("agents/finance"):
        assert annotation(each, OPTIONS) == ""


@pytest.fixture(scope="module")
def deployed(api: Api) -> Iterator[Api]:
    """The example as its tools apply it: the platform as admin, the team's folder as the team."""
    api.cluster.kubectl("apply", "--server-side", "-k", str(EXAMPLE / "platform"))
    folder = str(EXAMPLE / "agents" / "finance")
    api.cluster.kubectl("apply", "--server-side", TEAM, "-k", folder)
    yield api
    api.cluster.kubectl("delete", "-k", folder, "--timeout=60s")
    api.cluster.kubectl("delete", "-k", str(EXAMPLE / "platform"), "--timeout=60s")


@pytest.mark.integration
@pytest.mark.usefixtures("running")
class TestOnARealCluster:
    """What the example makes of a cluster."""

    def test_everything_turns_green(self, deployed: Api) -> None:
        """Issuer, classes and agent, by Argo CD's health."""

        def bodies() -> list[Json]:
            classes = [
                deployed.object("agentclasses", each["metadata"]["name"]) or {}
                for each in built("platform")
                if each["kind"] == "AgentClass"
            ]
            issuer = deployed.object("agentissuers", "default") or {}
            return [issuer, *classes, deployed.identity("finance", "invoice-reader") or {}]

        def green() -> bool:
            return {argo_health(each)[0].status for each in bodies()} == {"Healthy"}

        until("everything Healthy", green)

    @pytest.mark.parametrize(
        ("command", "said"),
        [
            pytest.param(
                ("patch", "agentidentity", "invoice-reader", "-n", "finance", "--type=merge",
                 "-p", '{"spec":{"className":"privileged-operator"}}'),
                "may not use AgentClass privileged-operator",
                id="another-class",
            ),
            pytest.param(
                ("delete", "agentclass", "assistant"), "cannot delete resource", id="a-class"
            ),
            pytest.param(
                ("delete", "agentissuer", "default"), "cannot delete resource", id="an-issuer"
            ),
            pytest.param(
                ("get", "secrets", "-n", "finance"), "cannot list resource", id="certificates"
            ),
            pytest.param(
                ("get", "agentidentities", "-n", "default"), "cannot list resource",
                id="another-namespace",
            ),
        ],
    )  # fmt: skip
    def test_the_team_can_do_no_more_than_it_is_for(
        self, deployed: Api, command: tuple[str, ...], said: str
    ) -> None:
        """Whatever stands in its folder, its ServiceAccount is refused the rest."""
        done = deployed.cluster.kubectl(*command, TEAM, check=False)
        assert done.returncode != 0
        assert said in done.stderr

    def test_git_suspends_and_resumes_while_the_issuer_is_broken(self, deployed: Api) -> None:
        """The team's folder needs nothing of the platform's: suspending an agent always works."""
        deployed.until_ready("finance", "invoice-reader")
        serial = deployed.serial("finance", "invoice-reader")
        where = ("agentissuer", "default", "--cascade=background")
        deployed.cluster.kubectl("delete", *where)
        self._apply(deployed, suspend=True)
        deployed.until_reason("finance", "invoice-reader", "Suspended", "Suspended")
        assert serial in deployed.ledger().revoked
        self._apply(deployed, suspend=False)
        deployed.until_reason("finance", "invoice-reader", "Reconciling", "IssuerNotFound")
        deployed.cluster.kubectl("apply", "--server-side", "-k", str(EXAMPLE / "platform"))
        deployed.until_ready("finance", "invoice-reader")
        ready = condition(deployed.status("finance", "invoice-reader"), "Ready")
        assert ready["status"] == "True"

    def _apply(self, deployed: Api, *, suspend: bool) -> None:
        """Apply the team's folder as it is after a commit."""
        bodies = built("agents/finance")
        for each in bodies:
            if each["kind"] == "AgentIdentity" and suspend:
                each["spec"]["suspend"] = True
        command = ("apply", "--server-side", "-f", "-", TEAM)
        deployed.cluster.kubectl(*command, stdin=yaml.safe_dump_all(bodies))
