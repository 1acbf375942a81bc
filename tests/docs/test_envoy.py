"""What the guide shows of Envoy is what Envoys are given in the tests with real ones."""

from __future__ import annotations

import re

import pytest
import yaml

from tests.support.envoy import agent_socket, downstream
from tests.support.node_plane import MOUNT
from website.pages import ROOT

CLERK = "spiffe://agents.example.com/ns/finance/agent/clerk"


@pytest.mark.parametrize(
    "run",
    [
        pytest.param(agent_socket(f"{MOUNT}/workload.sock"), id="cluster"),
        pytest.param(downstream("ROOTCA", CLERK), id="transport-socket"),
    ],
)
def test_the_guide_shows_what_is_run(run: dict[str, object]) -> None:
    """`tests/e2e/test_clients.py` runs this with real certificates; the page has the same."""
    text = (ROOT / "docs" / "guides" / "pods.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```yaml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert run in [yaml.safe_load(each) for each in blocks]
