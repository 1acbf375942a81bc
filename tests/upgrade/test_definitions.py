"""Today's definitions take every object that an earlier release's took."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

import pytest

from agentid.api.crd import crd_manifests
from tests.upgrade.compatibility import incompatible
from tests.upgrade.corpus import CORPORA, Corpus

if TYPE_CHECKING:
    from collections.abc import Callable

Json = dict[str, Any]

TODAY: dict[str, Any] = {
    each["spec"]["names"]["kind"]: each  # type: ignore[index] # a manifest
    for each in crd_manifests()
}

ACCEPTED: frozenset[tuple[str, str, str]] = frozenset()
"""Release, kind and what is told, where a person has shown that no stored object is concerned. Each
entry has its reason beside it."""


@pytest.mark.parametrize("corpus", CORPORA, ids=str)
@pytest.mark.parametrize("kind", TODAY)
def test_they_take_what_an_earlier_release_stored(corpus: Corpus, kind: str) -> None:
    """No field was removed, no bound became tighter, no default another; see ADR 18."""
    found = incompatible(corpus.crds[kind], TODAY[kind])
    told = [each for each in found if (corpus.release, kind, each) not in ACCEPTED]
    assert told == [], (
        f"objects of {corpus.release} are stored in clusters; keep the field and the bound, or "
        "bring a new API version (docs/adr/0018-versions-of-what-is-stored.md)"
    )


def changed(change: Callable[[Json], object]) -> Json:
    """The definition of identities with a change in its spec."""
    found: Json = deepcopy(TODAY["AgentIdentity"])
    change(found["spec"])
    return found


def spec_of(definition: Json) -> Json:
    """The properties of `spec` in the only version."""
    schema: Json = definition["versions"][0]["schema"]["openAPIV3Schema"]
    fields: Json = schema["properties"]["spec"]
    return fields


def field(definition: Json, name: str) -> Json:
    """A field of `spec`."""
    found: Json = spec_of(definition)["properties"][name]
    return found


@pytest.mark.parametrize(
    ("change", "told"),
    [
        pytest.param(
            lambda d: d["versions"][0].update(served=False),
            "version v1alpha1 is not served any more", id="version-not-served",
        ),
        pytest.param(
            lambda d: d["versions"][0].update(name="v1"),
            "version v1alpha1 is not served any more", id="version-gone",
        ),
        pytest.param(lambda d: d.update(scope="Cluster"), "scope was changed", id="scope"),
        pytest.param(
            lambda d: d["versions"][0].pop("subresources"),
            "v1alpha1: subresources were changed", id="status-subresource",
        ),
        pytest.param(
            lambda d: spec_of(d)["properties"].pop("purpose"),
            "v1alpha1.spec.purpose: was removed", id="field-removed",
        ),
        pytest.param(
            lambda d: field(d, "permissions")["properties"].pop("systems"),
            "v1alpha1.spec.permissions.systems: was removed", id="nested-field-removed",
        ),
        pytest.param(
            lambda d: spec_of(d)["required"].append("sponsor"),
            "v1alpha1.spec.sponsor: is required, and was not", id="newly-required",
        ),
        pytest.param(
            lambda d: field(d, "suspend").update(type="string"),
            "v1alpha1.spec.suspend: type was boolean, and is string", id="type",
        ),
        pytest.param(
            lambda d: field(d, "suspend").update(default=True),
            "v1alpha1.spec.suspend: default was False, and is True", id="default",
        ),
        pytest.param(
            lambda d: field(d, "instances")["enum"].remove("PerPod"),
            "v1alpha1.spec.instances: PerPod is not allowed any more", id="enum-value-removed",
        ),
        pytest.param(
            lambda d: field(d, "purpose").update(enum=["this"]),
            "v1alpha1.spec.purpose: anything is not allowed any more", id="enum-added",
        ),
        pytest.param(
            lambda d: field(d, "purpose").update(maxLength=3),
            "v1alpha1.spec.purpose: maxLength was 1024, and is 3", id="shorter",
        ),
        pytest.param(
            lambda d: field(d, "purpose").update(minLength=3),
            "v1alpha1.spec.purpose: minLength was ", id="longer",
        ),
        pytest.param(
            lambda d: field(d, "purpose").update(pattern="^x$"),
            "v1alpha1.spec.purpose: the pattern is another one", id="pattern",
        ),
        pytest.param(
            lambda d: spec_of(d).setdefault("x-kubernetes-validations", []).append(
                {"rule": "self.suspend", "message": "no"}
            ),
            "v1alpha1.spec: a rule is new: self.suspend", id="rule",
        ),
        pytest.param(
            lambda d: field(d, "permissions")["properties"]["systems"].pop("items"),
            "v1alpha1.spec.permissions.systems: items came or went", id="items",
        ),
    ],
)  # fmt: skip
def test_what_would_refuse_stored_objects_is_told(
    change: Callable[[Json], object], told: str
) -> None:
    """Each way in which a definition can become tighter, or mean something else."""
    found = incompatible(TODAY["AgentIdentity"], changed(change))
    assert any(each.startswith(told) for each in found), found


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(
            lambda d: spec_of(d)["properties"].update(budget={"type": "integer"}), id="new-field"
        ),
        pytest.param(
            lambda d: field(d, "instances")["enum"].append("PerNode"), id="new-enum-value"
        ),
        pytest.param(lambda d: field(d, "purpose").update(maxLength=4096), id="longer"),
        pytest.param(lambda d: spec_of(d).update(required=[]), id="no-longer-required"),
        pytest.param(lambda d: field(d, "purpose").update(description="another"), id="description"),
        pytest.param(
            lambda d: d["versions"].append(
                {**d["versions"][0], "name": "v1beta1", "storage": False}
            ),
            id="new-version",
        ),
    ],
)
def test_what_takes_more_is_no_matter(change: Callable[[Json], object]) -> None:
    """A release may add fields, values and versions, and loosen bounds."""
    assert incompatible(TODAY["AgentIdentity"], changed(change)) == ()
