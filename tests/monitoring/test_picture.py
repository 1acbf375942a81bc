"""The picture of the dashboard: what is drawn where, and how values read."""

from __future__ import annotations

import json
import math
import xml.etree.ElementTree as ET

import pytest

from monitoring.documented import ROOT
from monitoring.drawing import Box, Line, Span, colour, legend, place, segments, stat, timeseries
from monitoring.picture import page
from monitoring.prometheus import Answer
from monitoring.scales import in_unit, minutes, ticks

SPAN = Span(1_800_000_000, 1_800_000_300, 5)
BOX = Box(0, 0, 400, 200)
FALL: list[dict[str, object]] = [{"color": "red", "value": None}, {"color": "green", "value": 1}]


def line(name: str, *values: float) -> Line:
    """A line of points from the beginning of the span on."""
    return Line(name, tuple((SPAN.start + 5 * index, value) for index, value in enumerate(values)))


def texts(drawn: str) -> list[str]:
    """What can be read, which shows as well that it is XML."""
    return [each.text or "" for each in ET.fromstring(f"<svg>{drawn}</svg>").iter("text")]


@pytest.mark.parametrize(
    ("value", "unit", "reads"),
    [
        pytest.param(0, "s", "0", id="zero-has-no-unit"),
        pytest.param(0.00025, "s", "250 µs", id="microseconds"),
        pytest.param(0.0424, "s", "42.4 ms", id="milliseconds"),
        pytest.param(90, "s", "1.5 min", id="minutes"),
        pytest.param(86400 * 7, "s", "7 days", id="days"),
        pytest.param(-7200, "s", "-2 h", id="negative"),
        pytest.param(2048, "bytes", "2 KiB", id="bytes"),
        pytest.param(0.25, "ops", "0.25 op/s", id="operations"),
        pytest.param(1234, "reqps", "1.23k req/s", id="requests"),
        pytest.param(3, "short", "3", id="a-number"),
        pytest.param(3, "furlongs", "3", id="a-unit-that-is-not-known"),
    ],
)
def test_values_read_in_their_unit(value: float, unit: str, reads: str) -> None:
    """With a prefix that keeps them short."""
    assert in_unit(value, unit) == reads


@pytest.mark.parametrize(
    ("low", "high", "unit", "whole", "marks"),
    [
        pytest.param(0, 0, "short", False, [0, 0.5, 1], id="nothing-happens"),
        pytest.param(0, 1, "short", True, [0, 1], id="no-half-leaders"),
        pytest.param(0, 7, "short", False, [0, 5, 10], id="decimal"),
        pytest.param(0, 170, "s", False, [0, 60, 120, 180], id="whole-minutes"),
        pytest.param(-3, 3, "short", False, [-4, -2, 0, 2, 4], id="around-zero"),
        pytest.param(0, 3000, "bytes", False, [0, 1024, 2048, 3072], id="powers-of-two"),
    ],
)
def test_ticks_are_round(
    low: float, high: float, unit: str, *, whole: bool, marks: list[float]
) -> None:
    """They hold all values between them."""
    assert ticks(low, high, unit, whole=whole) == pytest.approx(marks)


def test_moments_are_on_whole_minutes() -> None:
    """Within the time that is shown."""
    assert minutes(100, 400) == [120, 180, 240, 300, 360]


def test_a_legend_has_the_labels_of_its_series() -> None:
    """What Grafana names by itself has all of them."""
    labels = {"issuer": "default", "step": "Promote"}
    assert legend("{{issuer}}: {{step}}", labels) == "default: Promote"
    assert legend("__auto", labels) == "default, Promote"


def test_thresholds_give_a_colour_from_their_value_on() -> None:
    """The first step has no bound."""
    assert [colour(FALL, value) for value in (0, 1, 2)] == ["red", "green", "green"]


def test_a_line_is_parted_where_points_are_missing() -> None:
    """NaN is a missing point: a quantile of nothing is none."""
    points = ((0.0, 1.0), (5.0, 2.0), (10.0, math.nan), (15.0, 3.0), (40.0, 4.0))
    assert segments(points, 5) == [[(0, 1), (5, 2)], [(15, 3)], [(40, 4)]]
    assert segments(((0.0, math.nan),), 5) == []


def test_places_lie_side_by_side() -> None:
    """Three of a third of the width, with gaps, fill it."""
    boxes = [place({"x": x, "y": 1, "w": 8, "h": 7}) for x in (0, 8, 16)]
    assert boxes[0].x + boxes[0].width < boxes[1].x
    assert boxes[1].x + boxes[1].width < boxes[2].x
    assert boxes[2].x + boxes[2].width == pytest.approx(1200 - boxes[0].x)


def test_a_panel_without_data_says_so() -> None:
    """Of either kind; also when all its values are no numbers."""
    empty = line("p50", math.nan, math.nan)
    assert texts(timeseries("Wait", [empty], SPAN, BOX, unit="s")) == ["Wait", "no data"]
    assert texts(stat("Leaders", [], SPAN, BOX, unit="short", steps=FALL)) == ["Leaders", "no data"]


def test_a_stat_shows_the_last_value_on_its_colour() -> None:
    """What is missing at the end is not the last."""
    drawn = stat("Leaders", [line("", 1, 0, math.nan)], SPAN, BOX, unit="short", steps=FALL)
    assert texts(drawn) == ["Leaders", "0"]
    assert 'fill="#c2433a"' in drawn


def test_each_line_is_drawn_and_named() -> None:
    """Names are text, whatever is in them; a lonely point is a dot."""
    lines = [line("<b>&", 1, 2, 3), line("other", 1, math.nan, 2, 3), line("none", math.nan)]
    drawn = timeseries("Queue", lines, SPAN, BOX, unit="short")
    read = texts(drawn)
    assert "<b>&" in read
    assert "other" in read
    assert "none" not in read
    assert drawn.count('stroke-linejoin="round"') == 2
    assert drawn.count("<circle") == 1


def test_a_long_legend_counts_what_it_leaves_out() -> None:
    """In few lines, with no name cut."""
    lines = [line(f"a rather long name {number}", 1, 2) for number in range(20)]
    named = texts(timeseries("Queue", lines, SPAN, BOX, unit="short"))
    shown = [name for name in named if name.startswith("a rather")]
    assert 0 < len(shown) < 20
    assert named[-1] == f"and {20 - len(shown)} more"


def test_the_page_has_every_panel_of_the_dashboard() -> None:
    """Each query is asked with Grafana's variables put in."""
    dashboard = json.loads((ROOT / "helm/agentid/files/dashboard.json").read_text())
    asked: list[str] = []

    def ask(query: str) -> list[Answer]:
        asked.append(query)
        return [Answer({}, ((SPAN.start, 1.0), (SPAN.start + 5, 2.0)))]

    read = texts(page(dashboard, SPAN, ask).partition("</style>")[2])
    assert {panel["title"] for panel in dashboard["panels"]} <= set(read)
    assert "no data" not in read
    queries = sum(len(panel.get("targets", ())) for panel in dashboard["panels"])
    assert len(asked) == queries
    assert not [query for query in asked if "$" in query]
    assert any("[60s]" in query for query in asked)
