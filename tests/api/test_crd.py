"""The CRDs are what the models say, and what the API server can bear."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from agentid.api.crd import crd_manifests, render_crds

if TYPE_CHECKING:
    from collections.abc import Iterator

CRDS = Path(__file__).parents[2] / "crds"
Schema = dict[str, Any]
MANIFESTS: dict[str, Schema] = {
    manifest["spec"]["names"]["kind"]: manifest  # type: ignore[index]
    for manifest in crd_manifests()
}

ALLOWED_KEYWORDS = {
    "type", "format", "description", "default", "enum", "required", "properties", "items",
    "pattern", "minLength", "maxLength", "minItems", "maxItems", "minimum", "maximum",
    "minProperties", "maxProperties", "additionalProperties",
    "x-kubernetes-validations", "x-kubernetes-list-type", "x-kubernetes-list-map-keys",
}  # fmt: skip


def version(kind: str) -> Schema:
    """The one version of a kind."""
    (only,) = MANIFESTS[kind]["spec"]["versions"]
    return only  # type: ignore[no-any-return]


def root(kind: str) -> Schema:
    """The schema of a kind."""
    return version(kind)["schema"]["openAPIV3Schema"]  # type: ignore[no-any-return]


def walk(schema: Schema, path: str) -> Iterator[tuple[str, Schema]]:
    """Every field beneath a schema, entries of lists included."""
    for name, field in schema.get("properties", {}).items():
        yield f"{path}.{name}", field
        yield from walk(field, f"{path}.{name}")
    if "items" in schema:
        yield f"{path}[]", schema["items"]
        yield from walk(schema["items"], f"{path}[]")
    if "additionalProperties" in schema:
        yield f"{path}[]", schema["additionalProperties"]


FIELDS = [
    pytest.param(path, field, id=path)
    for kind in MANIFESTS
    for section in ("spec", "status")
    for path, field in [
        (f"{kind}.{section}", root(kind)["properties"][section]),
        *walk(root(kind)["properties"][section], f"{kind}.{section}"),
    ]
]


def test_files_are_the_generated_ones() -> None:
    """`crds/` holds exactly what the models generate; `agentid crds` brings it up to date."""
    held = {path.name: path.read_text("utf-8") for path in CRDS.glob("*.yaml")}
    assert held == render_crds()


def test_files_are_yaml_of_the_manifests() -> None:
    """The text says what the manifest says."""
    assert [yaml.safe_load(text) for text in render_crds().values()] == list(crd_manifests())


@pytest.mark.parametrize(("path", "field"), FIELDS)
def test_every_field_is_described(path: str, field: Schema) -> None:
    """`kubectl explain` has a sentence for every field."""
    if not path.endswith("[]"):
        assert field["description"].endswith("."), path
        assert field["description"][0].isupper() or field["description"][0] == "`"


@pytest.mark.parametrize(("path", "field"), FIELDS)
def test_every_field_is_bounded(path: str, field: Schema) -> None:
    """No field can hold more than its schema states."""
    match field["type"]:
        case "string":
            assert {"enum", "format", "maxLength"} & field.keys(), path
        case "integer":
            assert {"minimum", "maximum"} <= field.keys(), path
        case "array":
            assert "maxItems" in field, path
            assert field["x-kubernetes-list-type"] in {"set", "map", "atomic"}
        case "object":
            assert (
                "properties" in field
                or {
                    "maxProperties",
                    "additionalProperties",
                }
                <= field.keys()
            ), path
        case kind:
            assert kind == "boolean"


@pytest.mark.parametrize(("path", "field"), FIELDS)
def test_schema_is_structural(path: str, field: Schema) -> None:
    """Every field has a type, and no keyword that a structural schema forbids."""
    assert field["type"] in {"object", "array", "string", "integer", "boolean"}, path
    assert field.keys() <= ALLOWED_KEYWORDS, path


@pytest.mark.parametrize(("path", "field"), FIELDS)
def test_every_rule_has_a_message(path: str, field: Schema) -> None:
    """A broken rule is told in words with a remedy, within the API server's bounds."""
    for rule in field.get("x-kubernetes-validations", []):
        assert "; " in rule["message"], path
        assert "\n" not in rule["message"]
        assert len(rule["message"]) <= 2048
        assert len(rule["rule"]) <= 4096


@pytest.mark.parametrize(("path", "field"), FIELDS)
def test_status_has_no_cel(path: str, field: Schema) -> None:
    """A status is written at every issuance, so its schema stays cheap."""
    if ".status" in path:
        assert "x-kubernetes-validations" not in field, path


@pytest.mark.parametrize(("path", "field"), FIELDS)
def test_default_in_the_description_is_the_default(path: str, field: Schema) -> None:
    """A description never promises another default than the schema sets."""
    default = field.get("default")
    if isinstance(default, bool | str) and ".status" not in path:
        assert (
            f"Default {str(default).lower() if isinstance(default, bool) else default}"
            in (field["description"])
        )


@pytest.mark.parametrize("kind", MANIFESTS)
def test_status_defaults_to_pending(kind: str) -> None:
    """Before the controller looks, Ready reads Unknown; Flux and Argo CD then wait."""
    assert root(kind)["properties"]["status"]["default"] == {
        "conditions": [
            {
                "type": "Ready",
                "status": "Unknown",
                "lastTransitionTime": "1970-01-01T00:00:00Z",
                "reason": "Pending",
                "message": "Waiting for the controller",
            }
        ]
    }


@pytest.mark.parametrize(
    ("kind", "scope", "short", "columns", "wide", "selectable"),
    [
        pytest.param(
            "AgentIssuer", "Cluster", "aiss",
            ["Ready", "Trust-Domain", "Age"], ["Reason"], [".spec.trustDomain"],
            id="AgentIssuer",
        ),
        pytest.param(
            "AgentClass", "Cluster", "aclass",
            ["Ready", "Issuer", "Lifetime", "Max-Tier", "Age"], ["Identities", "Reason"],
            [".spec.issuerName"],
            id="AgentClass",
        ),
        pytest.param(
            "AgentIdentity", "Namespaced", "aid",
            ["Ready", "Class", "Tier", "Not-After", "Age"], ["SPIFFE ID", "Serial", "Reason"],
            [".spec.className", ".spec.suspend", ".spec.delivery.mode"],
            id="AgentIdentity",
        ),
        pytest.param(
            "AgentRevocation", "Cluster", "arev",
            ["Ready", "Phase", "Reason", "Hits", "Revoked", "Dry-Run", "Age"],
            ["Identities", "Hold", "Started"],
            [".spec.reason", ".spec.dryRun"],
            id="AgentRevocation",
        ),
    ],
)  # fmt: skip
def test_what_kubectl_offers(
    kind: str, scope: str, short: str, columns: list[str], wide: list[str], selectable: list[str]
) -> None:
    """Scope, short name, category, columns and field selectors are the documented ones."""
    spec = MANIFESTS[kind]["spec"]
    assert spec["scope"] == scope
    assert spec["names"]["shortNames"] == [short]
    assert spec["names"]["categories"] == ["agentid"]
    printed = version(kind)["additionalPrinterColumns"]
    assert [column["name"] for column in printed if "priority" not in column] == columns
    assert [column["name"] for column in printed if column.get("priority") == 1] == wide
    assert [field["jsonPath"] for field in version(kind)["selectableFields"]] == selectable


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        pytest.param("AgentIssuer", ("trustDomain",), id="trust-domain"),
        pytest.param("AgentIdentity", ("subject",), id="subject"),
    ],
)
def test_immutable_fields(kind: str, path: tuple[str, ...]) -> None:
    """What names an agent cannot be changed, and is required, so that it cannot be added either."""
    spec = root(kind)["properties"]["spec"]
    assert path[0] in spec["required"]
    rules = spec["properties"][path[0]]["x-kubernetes-validations"]
    assert "self == oldSelf" in [rule["rule"] for rule in rules]
