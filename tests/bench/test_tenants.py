"""What is printed of a tenant beside a noisy one."""

from __future__ import annotations

from bench.figures import Latency
from bench.processes import Usage
from bench.tenants import Phase, arguments, as_text


def phase(name: str, factor: float) -> Phase:
    """One in which everything took so many times as long."""
    took = Latency(0.02 * factor, 0.05 * factor, 0.1 * factor)
    return Phase(name, took, took, took, 360, 180.0, 50.0, {"operator": Usage(2.5, 1, 1)})


def test_each_figure_stands_beside_that_of_being_alone() -> None:
    """As a ratio, which is what is asked for."""
    lines = as_text(phase("and churn", 1.1), phase("alone", 1.0))
    assert lines == [
        "and churn: 360 identities in 180 s; 50 churned /s",
        "  create to Ready  p50   22.0 ms (1.10)  p99   55.0 ms (1.10)  worst 110 ms",
        "  of this, create  p50   22.0 ms (1.10)  p99   55.0 ms (1.10)  worst 110 ms",
        "  bare ConfigMap   p50   22.0 ms (1.10)  p99   55.0 ms (1.10)  worst 110 ms",
        "  CPU: operator 2.5 s",
    ]


def test_the_defaults_are_what_is_promised() -> None:
    """Five thousand that are broken, and fifty a second."""
    given = arguments([])
    assert (given.broken, given.churn) == (5000, 50)
