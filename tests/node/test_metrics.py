"""What the node plugin counts: by its page, and by what happens on a node."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest
from prometheus_client.parser import text_string_to_metric_families

from agentid.errors import InputError, InternalError, UnavailableError
from agentid.node.issuer import RefusedError
from agentid.node.metrics import NodeMetrics, NodeSnapshot, failure
from tests.support.node import POD, Stream, connected
from tests.support.node_mounts import Node, until

if TYPE_CHECKING:
    from agentid.testing.node_issuer import FakeNodeIssuer

PAGE = Path(__file__).parents[2] / "docs/reference/node.md"


def used() -> NodeMetrics:
    """All metrics, each fed once."""
    metrics = NodeMetrics()
    metrics.publications.labels("Refused").inc()
    metrics.publish_seconds.observe(0.02)
    metrics.renewals.labels("").inc()
    metrics.takings.labels("revoked").inc()
    metrics.opened("FetchX509SVID")
    metrics.ended("FetchX509SVID", "OK")
    snapshot = NodeSnapshot({"serving": 1, "starting": 0, "ended": 0}, 12.5, 0)
    metrics.observe_state(lambda: snapshot, lambda: 3.0, lambda: 0.25)
    return metrics


def exposed(metrics: NodeMetrics) -> dict[str, tuple[str, frozenset[str]]]:
    """Kind and labels of each metric in a scrape, by the name that queries use."""
    found = {}
    for family in text_string_to_metric_families(metrics.render().decode()):
        labels = frozenset(x for sample in family.samples for x in sample.labels if x != "le")
        name = f"{family.name}_total" if family.type == "counter" else family.name
        found[name] = (family.type, labels)
    return {name: each for name, each in found.items() if not name.endswith("_created")}


def value(metrics: NodeMetrics, name: str, **labels: str) -> float:
    """One sample; 0 where there is none yet."""
    return metrics.registry.get_sample_value(f"agentid_node_{name}", labels) or 0.0


def test_the_page_and_the_registry_say_the_same() -> None:
    """Every metric has its row, and every row its metric, with the same type and labels."""
    rows = re.findall(r"^\| `(agentid_\w+)` \| (\w+) \|([^|]*)\|", PAGE.read_text(), re.MULTILINE)
    assert exposed(used()) == {
        name: (kind, frozenset(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows
    }


def test_no_certificate_has_no_expiry() -> None:
    """Where no pod holds a certificate there is no gauge that an alert could take for one."""
    metrics = NodeMetrics()
    metrics.observe_state(lambda: NodeSnapshot({"ended": 1}, None, 0), float, float)
    assert b"agentid_node_certificate_expiry_seconds" not in metrics.render()


@pytest.mark.parametrize(
    ("error", "label"),
    [
        (RefusedError("Suspended", "x"), "Refused"),
        (UnavailableError("x"), "Unavailable"),
        (InputError("x"), "Malformed"),
        (InternalError("x"), "InternalError"),
        (ZeroDivisionError(), "InternalError"),
        (KeyboardInterrupt(), "Cancelled"),
    ],
    ids=lambda each: each if isinstance(each, str) else type(each).__name__,
)
def test_a_failure_has_one_of_few_labels(error: BaseException, label: str) -> None:
    """Whatever the issuer service calls its reason, the label is one of a closed list."""
    assert failure(error) == label
    assert f"`{label}`" in PAGE.read_text()


@pytest.mark.node
async def test_what_happens_is_counted(node: Node, issuer: FakeNodeIssuer) -> None:
    """Published, refused, renewed, called and revoked: each counts once, and the state is told."""
    async with node.driver() as driver:
        metrics = node.metrics
        metrics.observe_state(driver.snapshot, float, float)
        issuer.refused[POD.uid] = RefusedError("NotFound", "no such identity")
        with pytest.raises(RefusedError, match="no such identity"):
            await driver.publish(node.order())
        issuer.refused.clear()
        await driver.publish(node.order())
        assert value(metrics, "publications_total", reason="Refused") == 1
        assert value(metrics, "publications_total", reason="") == 1
        assert value(metrics, "publish_seconds_count") == 1
        assert value(metrics, "volumes", state="serving") == 1
        assert 200 < value(metrics, "certificate_expiry_seconds") <= 300
        (volume,) = driver.volumes.values()
        driver.renewals.schedule(volume.saved.key, volume, 0.0)
        await until("renewed", lambda: value(metrics, "renewals_total", reason="") == 1)
        issuer.down = True
        driver.renewals.schedule(volume.saved.key, volume, 0.0)
        await until("failed", lambda: value(metrics, "renewals_total", reason="Unavailable"))
        issuer.down = False
        await until("the feed", lambda: issuer.followers)
        async with connected(node.target() / "workload.sock") as channel:
            stream = Stream(channel, "FetchX509SVID")
            await stream.next()
            assert value(metrics, "open_calls", method="FetchX509SVID") == 1
            issuer.revoke(POD.uid)
            assert (await stream.status())[0] is grpc.StatusCode.PERMISSION_DENIED
            code, _ = await Stream(channel, "FetchX509SVID", metadata=()).status()
            assert code is grpc.StatusCode.INVALID_ARGUMENT
        for ended in ("PERMISSION_DENIED", "INVALID_ARGUMENT"):
            assert value(metrics, "calls_total", method="FetchX509SVID", code=ended) == 1
        assert value(metrics, "open_calls", method="FetchX509SVID") == 0
        assert value(metrics, "takings_total", cause="revoked") == 1
        assert value(metrics, "volumes", state="ended") == 1
        assert b"certificate_expiry_seconds" not in metrics.render()
