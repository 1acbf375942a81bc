"""What the report says of figures that are known."""

from __future__ import annotations

import json
from dataclasses import replace

from bench.bare import Bare
from bench.figures import Counts, Latency
from bench.processes import Usage
from bench.report import Round, as_json, as_text
from bench.run import Result

BARE = Bare(number=10, rate=200.0, costs={"etcd": Usage(0.01, 150_000_000, 140_000_000)})


def a_round(rate: float = 100.0) -> Round:
    """Ten widgets, each with a Secret, and a status that took two tries."""
    result = Result(
        name="widget",
        resource="widgets",
        number=10,
        rate=rate,
        idle=Latency(0.012, 0.019, 0.02),
        busy=Latency(1.0, 2.0, 3.0),
        created=Counts(
            done={("widgets", "POST"): 10, ("secrets", "POST"): 10, ("widgets/status", "PUT"): 12},
            refused={("widgets/status", "PUT"): 3},
            others={("leases", "PUT"): 2},
        ),
        deleted=Counts(done={("widgets", "DELETE"): 10, ("secrets", "DELETE"): 10}),
        delete_rate=300.0,
        costs={"controller": Usage(0.05, 120_000_000, 110_000_000)},
        delete_costs={},
    )
    return Round(BARE, [result])


def test_each_figure_stands_beside_its_limit() -> None:
    """Rates as a share of bare, writes without the user's own, and what was left out."""
    text = as_text([a_round()])
    for line in (
        "created         100 /s     0.50 of bare",
        "create to Ready: p50 12 ms, p99 19 ms, worst 20 ms",
        "writes for each that is created, 2.20 beside the user's create:",
        "1.200  PUT widgets/status",
        "refused, in all: 3 PUT widgets/status",
        "not counted, in all: 2 PUT leases",
        "Events written meanwhile: 0",
        "writes for each that is deleted, 1.00 beside the user's delete:",
        "0.1 s CPU    5.00 ms each    110 MB, 120 MB at most",
    ):
        assert line in text
    assert "ROUND" not in text


def test_several_rounds_end_in_their_spread() -> None:
    """Median, lowest and highest."""
    text = as_text([a_round(100.0), a_round(120.0), a_round(104.0)])
    assert "ROUND 3 OF 3" in text
    assert "created      104 (100 to 120) /s" in text
    assert "of bare      0.52 (0.50 to 0.60)" in text
    assert "writes       2.20 (2.20 to 2.20)" in text


def beside(rate: float, slower: float) -> Round:
    """Widgets and, in the same round, gadgets that are made more slowly and waited for longer."""
    (widget,) = a_round(rate).results
    gadget = replace(
        widget,
        name="gadget",
        rate=rate / slower,
        delete_rate=75.0,
        idle=Latency(0.12, 0.2, 0.3),
        busy=Latency(4.0, 5.0, 6.0),
        created=Counts(done={("widgets", "POST"): 10, ("secrets", "POST"): 110}),
    )
    return Round(BARE, [widget, gadget])


def test_the_first_template_is_put_beside_each_other_one() -> None:
    """Figures of the same round are divided, and rounds give a spread."""
    once = as_text([beside(100.0, 8.0)]).partition("widget beside gadget")[2]
    for line in (
        "created      8.00",
        "deleted      4.00",
        "idle p50     0.10",
        "busy p50     0.25",
        "writes       0.20",
    ):
        assert line in once
    thrice = as_text([beside(100.0, 8.0), beside(50.0, 10.0), beside(90.0, 9.0)])
    assert thrice.count("widget beside gadget") == 1
    assert "created      9.00 (8.00 to 10.00)" in thrice


def test_what_was_not_measured_is_not_compared() -> None:
    """No samples one at a time, nothing written by the other, nobody else."""
    assert "beside" not in as_text([a_round()]).replace("beside the user's", "")
    assert "beside" not in as_text([a_round(), a_round()]).replace("beside the user's", "")
    widget, gadget = beside(100.0, 8.0).results
    silent = replace(gadget, idle=None, created=Counts(done={("widgets", "POST"): 10}))
    text = as_text([Round(BARE, [widget, silent])]).partition("widget beside gadget")[2]
    assert "idle" not in text
    assert "writes       -" in text


def test_a_program_reads_the_same() -> None:
    """Every figure, with writes named as in the text."""
    (only,) = json.loads(as_json([a_round()]))["rounds"]
    assert only["bare"]["rate"] == 200.0
    (result,) = only["results"]
    assert result["created"]["done"]["PUT widgets/status"] == 12
    assert result["created"]["refused"] == {"PUT widgets/status": 3}
    assert result["idle"]["p50"] == 0.012
    assert result["costs"]["controller"]["peak"] == 120_000_000
