"""Percentiles and write counts, from numbers that are known."""

from __future__ import annotations

import pytest

from bench.figures import Counts, Latency

METRICS = """\
# TYPE apiserver_request_total counter
apiserver_request_total{code="201",dry_run="",group="",resource="secrets",scope="resource",subresource="",verb="POST",version="v1"} 3
apiserver_request_total{code="200",dry_run="",group="agentid.dev",resource="agentidentities",scope="resource",subresource="status",verb="PUT",version="v1alpha1"} 2
apiserver_request_total{code="201",dry_run="All",group="",resource="secrets",scope="resource",subresource="",verb="POST",version="v1"} 5
apiserver_request_total{code="409",dry_run="",group="",resource="secrets",scope="resource",subresource="",verb="POST",version="v1"} 7
apiserver_request_total{code="200",dry_run="",group="",resource="secrets",scope="cluster",subresource="",verb="LIST",version="v1"} 11
apiserver_request_total{code="200",dry_run="",group="coordination.k8s.io",resource="leases",scope="resource",subresource="",verb="PUT",version="v1"} 13
apiserver_request_total{code="200",dry_run="",group="",resource="secrets",scope="resource",subresource="",verb="PUT",version="v1"} 1
apiserver_requests_other_total{code="200",verb="POST",resource="secrets"} 17
"""  # noqa: E501 - as the API server writes it


def test_writes_are_told_apart_by_what_became_of_them() -> None:
    """Carried out, refused, or none of an object's; a read is none at all."""
    counts = Counts.parse(METRICS)
    assert counts.done == {
        ("secrets", "POST"): 3,
        ("secrets", "PUT"): 1,
        ("agentidentities/status", "PUT"): 2,
    }
    assert counts.refused == {("secrets", "POST"): 7}
    assert counts.others == {("secrets", "POST"): 5, ("leases", "PUT"): 13}


def test_labels_that_differ_in_nothing_we_ask_are_added_up() -> None:
    """Such as two versions of an API, or two codes of success."""
    other = METRICS.replace('version="v1"', 'version="v2"').replace('code="201"', 'code="200"')
    counts = Counts.parse(METRICS + other)
    assert counts.done["secrets", "POST"] == 6


def test_a_phase_is_what_came_on_top() -> None:
    """Counters that did not move, or were not there before, are no exception."""
    before = Counts(done={("secrets", "POST"): 3, ("nodes", "PATCH"): 1})
    after = Counts(
        done={("secrets", "POST"): 5, ("nodes", "PATCH"): 1, ("events", "POST"): 2},
        refused={("secrets", "PUT"): 1},
    )
    since = after.since(before)
    assert since.done == {("secrets", "POST"): 2, ("events", "POST"): 2}
    assert since.refused == {("secrets", "PUT"): 1}
    assert since.of("events") == 2
    assert since.of("nodes") == 0


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        ([5.0], Latency(5.0, 5.0, 5.0)),
        ([2.0, 1.0], Latency(1.0, 2.0, 2.0)),
        ([float(n) for n in range(200, 0, -1)], Latency(100.0, 198.0, 200.0)),
    ],
)
def test_percentiles_are_values_that_were_measured(samples: list[float], expected: Latency) -> None:
    """Nearest rank, whatever the order of the samples."""
    assert Latency.of(samples) == expected
