"""Manifests with placeholders."""

from __future__ import annotations

from pathlib import Path

import pytest

import bench
from bench.templates import Template, is_ready
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
