"""Bad manifests get a message that names field, found, allowed and the next step."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from agentid.api import AgentClass, AgentIdentity, AgentIssuer, AgentRevocation
from agentid.api.permissions import MAX_COMPLIANCE, MAX_OPERATIONS, MAX_SYSTEMS
from agentid.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentid.api.model import Resource

KINDS: dict[str, type[Resource]] = {
    kind.KIND: kind for kind in (AgentIssuer, AgentClass, AgentIdentity, AgentRevocation)
}
DATA: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "data/refused.yaml").read_text())


def merged(base: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """Lay a change over a spec; null removes a field."""
    result = copy.deepcopy(base)
    for name, value in change.items():
        if value is None:
            result.pop(name, None)
        elif isinstance(value, dict) and isinstance(result.get(name), dict):
            result[name] = merged(result[name], value)
        else:
            result[name] = value
    return result


def manifest(kind: str, change: dict[str, Any], name: str = "sample") -> dict[str, Any]:
    """A manifest of a kind, valid but for the change."""
    return {
        "apiVersion": "agentid.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": merged(DATA["base"][kind], change),
    }


ROWS = [pytest.param(kind, row, id=f"{kind}-{row['id']}") for kind in KINDS for row in DATA[kind]]


@pytest.mark.parametrize("kind", KINDS)
def test_base_of_the_table_is_valid(kind: str) -> None:
    """What the rows start from is refused for no reason of its own."""
    KINDS[kind].parse(manifest(kind, {}))


@pytest.mark.parametrize(("kind", "row"), ROWS)
def test_refuses_with_every_violation(kind: str, row: dict[str, Any]) -> None:
    """The parser finds exactly these violations, in these words and in this order."""
    with pytest.raises(SpecError, match=r".") as refused:
        KINDS[kind].parse(manifest(kind, row["spec"]))
    assert list(refused.value.violations) == [
        f"{field}: {found} {message}" if found else f"{field}: {message}"
        for field, found, message in row["finds"]
    ]


@pytest.mark.parametrize(
    ("field", "limit", "make"),
    [
        pytest.param("systems", MAX_SYSTEMS, "s{}".format, id="systems"),
        pytest.param("operations", MAX_OPERATIONS, "o{}".format, id="operations"),
        pytest.param("compliance", MAX_COMPLIANCE, "c{}".format, id="compliance"),
    ],
)
def test_thousands_of_permissions_are_one_violation(
    field: str, limit: int, make: Callable[[int], str]
) -> None:
    """A list beyond its bound is told once, not once for each entry."""
    body = manifest("AgentIdentity", {"permissions": {field: [make(n) for n in range(5000)]}})
    with pytest.raises(SpecError, match=rf"a list of 5000 is above the limit of {limit}") as told:
        AgentIdentity.parse(body)
    assert len(told.value.violations) == 1
    full = manifest("AgentIdentity", {"permissions": {field: [make(n) for n in range(limit)]}})
    assert len(getattr(AgentIdentity.parse(full).spec.permissions, field)) == limit


@pytest.mark.parametrize("kind", KINDS)
def test_name_is_bounded_by_what_a_label_holds(kind: str) -> None:
    """A name that no label could repeat is refused, so that it fits a SPIFFE ID as well."""
    KINDS[kind].parse(manifest(kind, {}, name="n" * 63))
    message = r'metadata\.name: "n{64}" is longer than the 63 characters of a label value'
    with pytest.raises(SpecError, match=message):
        KINDS[kind].parse(manifest(kind, {}, name="n" * 64))


@pytest.mark.parametrize("kind", KINDS)
def test_body_of_another_kind_is_refused(kind: str) -> None:
    """A mix-up of kinds is named, instead of a list of missing fields."""
    body = manifest(kind, {}) | {"kind": "Pod"}
    with pytest.raises(SpecError, match=f'kind: "Pod" is not {kind}; give the right object'):
        KINDS[kind].parse(body)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("spec", [None, [], "text", 7])
def test_spec_that_is_no_object_is_refused(kind: str, spec: object) -> None:
    """Whatever stands in place of the spec, the parser raises its one error."""
    with pytest.raises(SpecError, match=r"spec: .* is not an object; write its fields beneath it"):
        KINDS[kind].parse({"metadata": {"name": "sample"}, "spec": spec})
