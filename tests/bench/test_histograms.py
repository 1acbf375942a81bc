"""Histograms as the API server writes them, with numbers that are known."""

from __future__ import annotations

import math

import pytest

from bench.histograms import Histogram
from e2e.errors import E2EError

NAME = "apiserver_admission_webhook_admission_duration_seconds"
METRICS = f"""\
# TYPE {NAME} histogram
{NAME}_bucket{{name="pods.agentid.dev",operation="CREATE",rejected="false",type="admit",le="0.005"}} 60
{NAME}_bucket{{name="pods.agentid.dev",operation="CREATE",rejected="false",type="admit",le="0.025"}} 98
{NAME}_bucket{{name="pods.agentid.dev",operation="CREATE",rejected="false",type="admit",le="0.1"}} 99
{NAME}_bucket{{name="pods.agentid.dev",operation="CREATE",rejected="false",type="admit",le="+Inf"}} 100
{NAME}_sum{{name="pods.agentid.dev",operation="CREATE",rejected="false",type="admit"}} 1.25
{NAME}_count{{name="pods.agentid.dev",operation="CREATE",rejected="false",type="admit"}} 100
{NAME}_bucket{{name="others",operation="CREATE",rejected="false",type="admit",le="0.005"}} 7
{NAME}_bucket{{name="others",operation="CREATE",rejected="false",type="admit",le="+Inf"}} 7
{NAME}_sum{{name="others",operation="CREATE",rejected="false",type="admit"}} 0.007
{NAME}_summary_bucket{{name="pods.agentid.dev",le="+Inf"}} 1000
"""  # noqa: E501 - as the API server writes it
OURS = {"name": "pods.agentid.dev"}


@pytest.mark.parametrize(
    ("share", "bound"),
    [
        pytest.param(0.5, 0.005, id="within-the-first"),
        pytest.param(0.6, 0.005, id="all-of-the-first"),
        pytest.param(0.61, 0.025, id="one-more"),
        pytest.param(0.99, 0.1, id="p99"),
        pytest.param(1.0, math.inf, id="beyond-the-last"),
    ],
)
def test_a_share_is_told_by_the_bound_above_it(share: float, bound: float) -> None:
    """Never by a value in between, which nobody measured."""
    assert Histogram.parse(METRICS, NAME, OURS).bound(share) == bound


def test_series_are_chosen_by_their_labels() -> None:
    """Others of the metric do not count, nor do metrics whose names begin alike."""
    ours, everything = Histogram.parse(METRICS, NAME, OURS), Histogram.parse(METRICS, NAME)
    assert (ours.count, ours.mean) == (100, 0.0125)
    assert (everything.count, everything.below[0.005]) == (107, 67)


def test_series_that_differ_in_other_labels_are_added_up() -> None:
    """Such as pods that were refused."""
    rejected = METRICS.replace('rejected="false"', 'rejected="true"')
    found = Histogram.parse(METRICS + rejected, NAME, OURS)
    assert (found.count, found.sum) == (200, 2.5)


def test_a_phase_is_what_came_on_top() -> None:
    """Also where nothing had been counted before."""
    empty, full = Histogram.parse("", NAME, OURS), Histogram.parse(METRICS, NAME, OURS)
    assert full.since(empty) == full
    nothing = full.since(full)
    assert (nothing.count, nothing.sum) == (0, 0)


def test_nothing_counted_is_no_figure() -> None:
    """A webhook that was never called is not one that answers at once."""
    nothing = Histogram.parse(METRICS, NAME, {"name": "pods.example"})
    with pytest.raises(E2EError, match=f"{NAME} counted nothing"):
        nothing.bound(0.99)
    with pytest.raises(E2EError, match=f"{NAME} counted nothing"):
        _ = nothing.mean
