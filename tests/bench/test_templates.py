"""Manifests with placeholders."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

import bench
from agentid.errors import NotFoundError
from bench.templates import Template, all_known, is_ready
from e2e.errors import E2EError

READY = {"type": "Ready", "status": "True"}
SHIPPED = sorted((Path(bench.__file__).parent / "templates").glob("*.yaml"))


@pytest.mark.parametrize(
    "path", [p for p in SHIPPED if "setup" not in p.stem], ids=lambda p: p.stem
)
def test_each_shipped_template_makes_objects_of_its_own(path: Path) -> None:
    """Name and namespace are where they belong, and differ from object to object."""
    made = Template.read(path).body("there", 7, "busy")
    assert made["metadata"] == {"name": "busy-7", "namespace": "there"}
    assert Template.read(path).body("there", 8) != made


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("kind: ${KIND}", "allowed are"),
        ("a: [", "template broken"),
        ("- 1", "no manifest of one object"),
        ("kind: A", "no manifest of one object"),
    ],
)
def test_what_is_no_template_is_told(text: str, said: str) -> None:
    """With the file and what is allowed."""
    with pytest.raises(E2EError, match=said):
        Template("broken", text).body("there", 0)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    """With the option that named it."""
    with pytest.raises(E2EError, match="--template"):
        Template.read(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("status", "ready"),
    [
        (None, False),
        ({}, False),
        ({"conditions": [{"type": "Ready", "status": "False"}]}, False),
        ({"conditions": [{"type": "Stalled", "status": "True"}]}, False),
        ({"conditions": [{"type": "A", "status": "False"}, READY]}, True),
    ],
)
def test_ready_is_a_condition(status: dict[str, object] | None, ready: bool) -> None:  # noqa: FBT001
    """True, and of that type."""
    assert is_ready({"status": status}) is ready


def test_another_condition_may_count_as_ready() -> None:
    """As other systems name it."""
    body = {"status": {"conditions": [{"type": "Programmed", "status": "True"}]}}
    assert is_ready(body, "Programmed")
    assert not is_ready(body)


GADGETS = Template("gadget", "{apiVersion: things.example/v1, kind: Gadget, metadata: {}}")


class Served:
    """An API server that serves gadgets once it was asked so many times."""

    def __init__(self, after: int) -> None:
        self._left = after

    async def get_raw(self, path: str) -> bytes:
        """List the kinds of the group, or say that there is none."""
        self._left -= 1
        if path != "/apis/things.example/v1" or self._left >= 0:
            message = f"get {path}: not found"
            raise NotFoundError(message, status=404)
        names = ["gadgets", "gadgets/status"]
        kinds = [{"name": name, "kind": "Gadget", "namespaced": True} for name in names]
        return json.dumps({"resources": kinds}).encode()


def test_a_kind_that_was_just_defined_is_waited_for() -> None:
    """A CRD that --setup applied is served a moment later."""
    asyncio.run(all_known(Served(after=2), [GADGETS], seconds=60.0))
    found = asyncio.run(GADGETS.resource(Served(after=0)))
    assert (found.group, found.plural, found.namespaced) == ("things.example", "gadgets", True)


@pytest.mark.parametrize(
    "kind", ["{apiVersion: things.example/v1, kind: Widget, metadata: {}}",
             "{apiVersion: none.example/v1, kind: Gadget, metadata: {}}"],
    ids=["no-kind", "no-group"],
)  # fmt: skip
def test_a_kind_that_the_cluster_does_not_know_is_told(kind: str) -> None:
    """With the template's name, whether its group is known or not."""
    unknown = Template("widget", kind)
    with pytest.raises(E2EError, match=r"template widget: the cluster knows no .*install what"):
        asyncio.run(all_known(Served(after=0), [GADGETS, unknown], seconds=0.0))
