"""The picture of costs against numbers: each figure at its place, a linear cost as a level line."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pytest

from bench.bare import Bare
from bench.processes import Usage
from bench.scale.plot import draw
from bench.scale.recording import Run, Stage

STAGES = ("create", "restart", "class change", "renewal", "incident", "delete")
SVG = "{http://www.w3.org/2000/svg}"


def lives(*numbers: int, power: float = 1.0) -> list[Run]:
    """Runs whose time and CPU grow with a power of the number."""

    def stage(name: str, number: int) -> Stage:
        cost = number**power / 100
        usage = Usage(cpu=cost, peak=100_000_000 + 4000 * number, resident=0)
        costs = {"operator": usage, "kube-apiserver": usage}
        return Stage(name, seconds=cost, number=number, costs=costs)

    return [Run(n, Bare(n, 200.0, {}), [stage(name, n) for name in STAGES]) for n in numbers]


def heights(picture: str, panel: int, stage: int) -> list[float]:
    """Of the points of one line, from the top."""
    groups = ET.fromstring(picture).findall(f"{SVG}g")
    lines = [each.get("d") or "" for each in groups[panel].iter(f"{SVG}path")]
    drawn = [line for line in lines if re.match(r"M[\d.]+ [\d.]+(L|$)", line)]
    return [float(point.split()[1]) for point in drawn[stage].removeprefix("M").split("L")]


@pytest.mark.parametrize("panel", [0, 1, 2])
def test_a_linear_cost_is_level(panel: int) -> None:
    """And one that grows faster rises."""
    level = heights(draw(lives(1000, 3000, 10_000)), panel, 0)
    assert len(level) == 3
    assert len(set(level)) == 1
    rising = heights(draw(lives(1000, 3000, 10_000, power=1.2)), panel, 0)
    assert rising[0] > rising[1] > rising[2]


def test_memory_is_shown_as_it_is() -> None:
    """Not for each identity."""
    rising = heights(draw(lives(1000, 10_000)), 3, 0)
    assert rising[0] > rising[1]


def test_one_run_and_a_stage_without_certificates() -> None:
    """A picture comes of whatever was measured."""
    of_one = lives(100)
    of_one[0].stages[3].number = 0
    assert "<circle" in draw(of_one)
