"""The chart, rendered by a real Helm."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from e2e import chart, toolchain

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Json = dict[str, Any]

PROGRAMS = [
    pytest.param(toolchain.helm, id="helm 4"),
    pytest.param(toolchain.helm3, id="helm 3"),
]


@pytest.fixture(scope="session", params=PROGRAMS)
def program(request: pytest.FixtureRequest) -> Path:
    """Each Helm that the chart is for."""
    build: Callable[[], Path] = request.param
    return build()


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A copy of the chart that a test may change."""
    return shutil.copytree(chart.CHART, tmp_path / "agentid")


def objects(text: str) -> list[Json]:
    """The objects in a text of YAML documents."""
    return [each for each in yaml.safe_load_all(text) if each]


def of_kind(text: str, kind: str, name: str = "") -> Json:
    """The only object of a kind, or of a kind and name."""
    found = [
        each
        for each in objects(text)
        if each["kind"] == kind and name in ("", each["metadata"]["name"])
    ]
    assert len(found) == 1, f"{len(found)} objects {kind} {name}"
    return found[0]
