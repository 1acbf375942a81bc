"""The world as the watches tell it: the newest version of each object, however they come in."""

from __future__ import annotations

from typing import Any

import pytest

from agentid.api import AgentClass
from agentid.services.world import Incidents, Parsed, World
from tests.support.manifests import agent_class


def test_no_late_answer_has_an_incident_hold_again() -> None:
    """Nobody would release what it held."""
    seen = Incidents()

    def incident(uid: str, version: str) -> dict[str, Any]:
        spec = {"reason": "keyCompromise", "hold": True, "select": {"classNames": ["batch"]}}
        metadata = {"name": "leak", "uid": uid, "resourceVersion": version}
        return {"metadata": metadata, "spec": spec}

    assert seen.put(incident("u-1", "5"))
    seen.ended(incident("u-1", "6"))
    assert not seen.put(incident("u-1", "6"))
    assert list(seen) == []
    assert seen.put(incident("u-2", "7"))
    seen.ended(incident("u-1", "6"))
    assert list(seen) == ["leak"]


def test_small_kinds_are_kept_with_their_faults() -> None:
    """A class that does not parse stays known, with every violation in words."""
    broken = Parsed.of(AgentClass.parse, agent_class("batch", lifetime="48h", issuerName="Main"))
    assert broken.model is None
    assert [fault.split(":")[0] for fault in broken.faults] == ["spec.issuerName", "spec.lifetime"]
    sound = Parsed.of(AgentClass.parse, agent_class("batch"))
    assert sound.model is not None
    assert sound.faults == ()


def test_finds_the_classes_of_an_issuer() -> None:
    """Only those that parse: nobody can be given a certificate under another."""
    world = World()
    for name, spec in (
        ("a", {}), ("b", {"issuerName": "other"}), ("c", {"lifetime": "48h"}), ("d", {}),
    ):  # fmt: skip
        world.classes[name] = Parsed.of(AgentClass.parse, agent_class(name, **spec))
    assert world.classes_of("test") == {"a", "d"}


@pytest.mark.parametrize(
    ("metadata", "asks"),
    [
        pytest.param({"labels": {"agentid.dev/trust-bundle": "enabled"}}, True, id="labelled"),
        pytest.param({"labels": {"agentid.dev/trust-bundle": "yes"}}, False, id="otherwise"),
        pytest.param({"labels": {}}, False, id="no-label"),
        pytest.param({}, False, id="no-labels"),
        pytest.param(
            {
                "labels": {"agentid.dev/trust-bundle": "enabled"},
                "deletionTimestamp": "2026-11-01T12:00:00Z",
            },
            False,
            id="being-deleted",
        ),
    ],
)
def test_knows_which_namespaces_ask_for_bundles(metadata: dict[str, object], asks: bool) -> None:  # noqa: FBT001
    """By the label, and not while they go; what is no news is not told as such."""
    world = World()
    seen = {"metadata": {"name": "finance", "uid": "u-1", **metadata}}
    assert world.take_namespace(seen, gone=False) is asks
    assert world.bundle_namespaces == ({"finance": "u-1"} if asks else {})
    assert not world.take_namespace(seen, gone=False)
    assert world.take_namespace(seen, gone=True) is asks
    assert world.bundle_namespaces == {}
