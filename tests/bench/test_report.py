"""What the report says of figures that are known."""

from __future__ import annotations

import json

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


def test_a_program_reads_the_same() -> None:
    """Every figure, with writes named as in the text."""
    (only,) = json.loads(as_json([a_round()]))["rounds"]
    assert only["bare"]["rate"] == 200.0
    (result,) = only["results"]
    assert result["created"]["done"]["PUT widgets/status"] == 12
    assert result["created"]["refused"] == {"PUT widgets/status": 3}
    assert result["idle"]["p50"] == 0.012
    assert result["costs"]["controller"]["peak"] == 120_000_000
