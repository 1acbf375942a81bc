"""Argo CD's scripts, on objects as a real API server held them, and on every reason there is."""

from __future__ import annotations

import os
import shutil
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from agentid.api.conditions import ConditionType, Reason
from gitops.__main__ import ARGOCD, main
from tests.support.gitopsview import (
    CUSTOMIZATIONS,
    action,
    actions,
    argo_health,
    flux_health,
    kstatus,
)

if TYPE_CHECKING:
    from pathlib import Path

Json = dict[str, Any]

KINDS = ("AgentClass", "AgentIdentity", "AgentIssuer", "AgentRevocation")


def recorded(kind: str) -> dict[str, Json]:
    """The recorded objects of a kind, by the path that `health_test.yaml` calls them."""
    files = sorted((CUSTOMIZATIONS / kind / "testdata").glob("*.yaml"))
    return {f"testdata/{each.name}": yaml.safe_load(each.read_text()) for each in files}


@pytest.mark.parametrize("kind", KINDS)
def test_the_recorded_states_are_read_as_written(kind: str) -> None:
    """`health_test.yaml`, in Argo CD's own form, tells health and message of every one.

    With GITOPS_RECORD=1 it is written anew, to be looked at before it is committed.
    """
    bodies = recorded(kind)
    found = argo_health(*bodies.values())
    tests = [
        {"healthStatus": asdict(health), "inputPath": path}
        for path, health in zip(bodies, found, strict=True)
    ]
    expected = CUSTOMIZATIONS / kind / "health_test.yaml"
    if os.environ.get("GITOPS_RECORD"):
        expected.write_text(yaml.safe_dump({"tests": tests}, sort_keys=False, width=100))
    assert yaml.safe_load(expected.read_text()) == {"tests": tests}


def example(**conditions: str) -> Json:
    """An identity with a condition of each given type, True for a reason."""
    ready = {} if "Ready" in conditions else {"Ready": "Pending"}
    return {
        "apiVersion": "agentid.dev/v1alpha1",
        "kind": "AgentIdentity",
        "metadata": {"name": "reader", "generation": 3},
        "spec": {},
        "status": {
            "observedGeneration": 3,
            "conditions": [
                {"type": kind, "status": status, "reason": reason, "message": "Why, in words"}
                for status, of_status in (("True", conditions), ("False", ready))
                for kind, reason in of_status.items()
            ],
        },
    }


@pytest.mark.parametrize(
    ("conditions", "argo", "flux"),
    [
        pytest.param(("Stalled",), "Degraded", "Failed", id="stalled"),
        pytest.param(("Ready", "Stalled"), "Degraded", "Failed", id="stalled-with-certificate"),
        pytest.param(("Reconciling",), "Progressing", "InProgress", id="retrying"),
        pytest.param(
            ("Ready", "Reconciling"), "Progressing", "InProgress", id="retrying-with-certificate"
        ),
        pytest.param(("Ready",), "Healthy", "Current", id="ready"),
        pytest.param((), "Progressing", "InProgress", id="not-ready"),
        # Of an issuer: it signs all the while, and waiting for it would hold everything up.
        pytest.param(("Ready", "Rotating"), "Healthy", "Current", id="rotating"),
        pytest.param(("Ready", "BundleWithheld"), "Healthy", "Current", id="bundle-withheld"),
    ],
)
def test_no_reason_changes_what_a_condition_means(
    tmp_path: Path, conditions: tuple[str, ...], argo: str, flux: str
) -> None:
    """For every reason that agentid may ever give."""
    assert set(conditions) <= {each.value for each in ConditionType}
    bodies = [example(**dict.fromkeys(conditions, reason.value)) for reason in Reason]
    assert {each.status for each in argo_health(*bodies)} == {argo}
    assert {each.status for each in kstatus(*bodies)} == {flux}
    assert {each.status for each in flux_health(tmp_path, *bodies)} == {flux}


@pytest.mark.parametrize(
    "status",
    [
        pytest.param(None, id="no-status"),
        pytest.param({}, id="empty"),
        pytest.param({"conditions": []}, id="no-conditions"),
        pytest.param({"observedGeneration": 2}, id="only-a-generation"),
    ],
)
def test_what_nobody_looked_at_is_not_green(status: Json | None) -> None:
    """Whatever is missing, no script fails and none says Healthy."""
    body = example(Ready="Issued")
    del body["status"]
    (found,) = argo_health(body if status is None else body | {"status": status})
    assert (found.status, found.message) in {
        ("Progressing", "Waiting for the controller"),
        ("Progressing", "Waiting for the controller to look at the spec"),
    }


def test_a_condition_of_somebody_else_is_no_business_of_ours() -> None:
    """One of another controller changes nothing, whatever it says."""
    body = example(Ready="Issued")
    body["status"]["conditions"].append(
        {"type": "example.com/Audited", "status": "False", "reason": "Never"}
    )
    assert [each.status for each in argo_health(body)] == ["Healthy"]


@pytest.mark.parametrize(
    ("spec", "metadata", "status", "offered"),
    [
        pytest.param({}, {}, {"certificate": {}}, {"renew", "suspend"}, id="ready"),
        pytest.param({}, {}, {}, {"suspend"}, id="without-certificate"),
        pytest.param({}, {}, None, {"suspend"}, id="without-status"),
        pytest.param({"suspend": True}, {}, {}, {"resume"}, id="suspended"),
        pytest.param(
            {}, {"deletionTimestamp": "2026-11-25T12:00:00Z"}, {"certificate": {}}, set(),
            id="being-deleted",
        ),
    ],
)  # fmt: skip
def test_only_actions_that_do_something_are_offered(
    spec: Json, metadata: Json, status: Json | None, offered: set[str]
) -> None:
    """Argo CD greys out the rest."""
    body = example(Ready="Issued") | {"spec": spec, "status": status}
    body["metadata"] |= metadata
    assert actions(body) == offered


def test_an_action_touches_one_field() -> None:
    """Annotations and everything else stay as they are."""
    body = recorded("AgentIdentity")["testdata/ready.yaml"]
    before = body | {"metadata": body["metadata"] | {"annotations": {"team": "a"}}}
    assert action("suspend", before) == before | {"spec": before["spec"] | {"suspend": True}}
    assert action("resume", before) == before | {"spec": before["spec"] | {"suspend": False}}
    renewed = action("renew", before)
    asked = renewed["metadata"]["annotations"].pop("agentid.dev/renew-requested")
    assert len(asked) == len("2026-01-31T12:00:00Z")
    assert renewed == before


def test_what_is_generated_is_what_its_sources_make(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The scripts of the other kinds and the patch of the ConfigMap; a change by hand is told."""
    assert main(["--check"]) == 0
    copied = shutil.copytree(ARGOCD, tmp_path / "argocd")
    patch = copied / "argocd-cm-patch.yaml"
    patch.write_text(patch.read_text().replace("Degraded", "Healthy"))
    assert main(["--check"], copied) == 1
    assert f"{patch} is not what its sources make; run `make gitops`" in capsys.readouterr().err
    assert main([], copied) == 0
    assert patch.read_text() == (ARGOCD / patch.name).read_text()


def test_the_config_map_holds_the_same_scripts() -> None:
    """What Argo CD reads out of it are the files of `resource_customizations`, to the letter."""
    data = yaml.safe_load((ARGOCD / "argocd-cm-patch.yaml").read_text())["data"]
    for kind in KINDS:
        script = (CUSTOMIZATIONS / kind / "health.lua").read_text()
        assert data.pop(f"resource.customizations.health.agentid.dev_{kind}") == script
    (offered,) = data.values()
    read = yaml.safe_load(offered)
    folder = CUSTOMIZATIONS / "AgentIdentity" / "actions"
    assert read["discovery.lua"] == (folder / "discovery.lua").read_text()
    assert {each["name"]: each["action.lua"] for each in read["definitions"]} == {
        each.parent.name: each.read_text() for each in folder.glob("*/action.lua")
    }
