"""What is generated of the chart is current, and what is written by hand agrees with itself."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from agentid import __version__
from e2e.chart import CHART, generated
from e2e.errors import E2EError
from e2e.image import IMAGE
from e2e.rendering import HEADER, by_template, kustomization
from e2e.values_table import Value, documented_values, table

VALUES = (CHART / "values.yaml").read_text()
SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())


def test_what_is_generated_is_current() -> None:
    """The CRDs in the chart are those of the models, the table of values is that of values.yaml."""
    stale = [path.name for path, text in generated().items() if path.read_text() != text]
    assert stale == [], "run: make chart"


def test_the_chart_is_of_the_release_of_this_tree() -> None:
    """Chart, image and package have one version."""
    about = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert about["version"] == about["appVersion"] == __version__
    assert f"{yaml.safe_load(VALUES)['image']['repository']}:{__version__}" == IMAGE


def is_closed(schema: dict[str, Any]) -> bool:
    """Whether an object takes only names that the schema has."""
    return schema.get("additionalProperties") is False and "patternProperties" not in schema


def allowed(schema: dict[str, Any], path: str = "") -> set[str]:
    """Every value that a closed schema names, by its path."""
    if not is_closed(schema):
        return {path}
    found: set[str] = set()
    for name, below in schema["properties"].items():
        found |= allowed(below, f"{path}.{name}" if path else name)
    return found


def test_schema_and_values_know_the_same_values() -> None:
    """Nothing can be set that is not documented, and nothing is documented that cannot be set."""
    documented = {each.path for each in documented_values(VALUES)}
    named = allowed(SCHEMA) - {"global"}  # Helm's own, for charts that have this one inside
    assert [path for path in documented if not any(is_part(other, path) for other in named)] == []
    assert [path for path in named if not any(is_part(path, other) for other in documented)] == []


def is_part(path: str, whole: str) -> bool:
    """Whether a path is another one, or below it."""
    return f"{path}.".startswith(f"{whole}.")


def test_names_are_free_only_where_they_are_not_the_charts() -> None:
    """A misspelt value is refused wherever the chart itself gives names to values."""
    labels = {
        f"monitoring.{name}.labels" for name in ("serviceMonitor", "prometheusRule", "dashboard")
    }
    placement = {
        f"{component}.{value}"
        for component in ("controller", "responder", "admission", "node")
        for value in (
            "affinity.nodeAffinity", "affinity.podAffinity", "affinity.podAntiAffinity",
            "nodeSelector", "podAnnotations", "podLabels", "resources.limits", "resources.requests",
        )
    }  # fmt: skip
    others = {"global", "issuer.spec", "responder.service.annotations", "controller.env"}
    assert open_objects(SCHEMA) == labels | placement | others


def open_objects(schema: dict[str, Any], path: str = "") -> set[str]:
    """The objects that take names of any kind."""
    schema = (
        SCHEMA["definitions"][schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    )
    if schema.get("type") != "object":
        return set()
    if not is_closed(schema):
        return {path}
    found: set[str] = set()
    for name, below in schema["properties"].items():
        found |= open_objects(below, f"{path}.{name}" if path else name)
    return found


def test_a_value_is_documented_by_the_comment_above_it() -> None:
    """Also one that is told of as a whole, and those under a heading."""
    text = (
        "# A heading.\nimage:\n  # Where it is,\n  # without tag.\n  repository: here\n\n"
        "# How much it gets.\nresources:\n  requests: {cpu: 1}\n"
    )
    values = documented_values(text)
    assert values == [
        Value("image.repository", '"here"', "Where it is, without tag."),
        Value("resources", '{"requests": {"cpu": 1}}', "How much it gets."),
    ]
    assert table(values).splitlines()[2:] == [
        '| `image.repository` | `"here"` | Where it is, without tag. |',
        '| `resources` | `{"requests": {"cpu": 1}}` | How much it gets. |',
    ]


def test_a_value_without_a_comment_is_refused() -> None:
    """Whoever adds one says what it is for."""
    with pytest.raises(E2EError, match=r"image\.tag has no comment; write above it what it is for"):
        documented_values("image:\n  # Where.\n  repository: here\n  tag: x\n")


def test_documents_go_back_to_their_templates() -> None:
    """In the order in which Helm installs them, with their comments."""
    printed = (
        "---\n# Source: agentid/templates/rbac/users.yaml\n# Who may.\nkind: ClusterRole\n"
        "---\n# Source: agentid/templates/controller.yaml\nkind: Deployment\n\n"
        "---\n# Source: agentid/templates/rbac/users.yaml\nkind: ClusterRoleBinding  \n"
    )
    files = by_template(printed)
    assert files == {
        "controller.yaml": f"{HEADER}kind: Deployment\n",
        "rbac/users.yaml": f"{HEADER}# Who may.\nkind: ClusterRole\n"
        "---\nkind: ClusterRoleBinding\n",
    }
    assert yaml.safe_load(kustomization(files))["resources"] == [
        "namespace.yaml", "controller.yaml", "rbac/users.yaml",
    ]  # fmt: skip
