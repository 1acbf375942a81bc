"""Percentiles and write counts, from numbers that are known."""

from __future__ import annotations

import pytest

from bench.figures import Latency, parse_writes

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


def test_only_what_was_written_counts() -> None:
    """No dry run, no refusal, no read, no Lease."""
    assert parse_writes(METRICS) == {
        ("secrets", "POST"): 3,
        ("secrets", "PUT"): 1,
        ("agentidentities/status", "PUT"): 2,
    }


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
