"""A lost cluster comes back as the pages say, and so does what is lost in one."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from e2e.install import install, operator
from e2e.providers import DevCluster
from tests.support.api import Api
from tests.support.manifests import agent_class, identity, issuer
from tests.support.walking import Walk, make_programs
from website.pages import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from e2e.providers import Cluster

_PAGES = ROOT / "docs" / "operations"


def _filled(cluster: Cluster) -> None:
    """One agent that works, and one that is suspended; all of the pages' names."""
    api = Api(cluster)
    cluster.kubectl("create", "namespace", "backup")
    api.create("agentissuers", issuer("backup"))
    api.create("agentclasses", agent_class("backup", issuerName="backup"))
    for name in ("reader", "stopped"):
        api.create("agentidentities", identity(name, "backup"), "backup")
        cluster.kubectl(
            "wait", "agentidentity", name, "-n", "backup", "--for=condition=Ready", "--timeout=60s"
        )
    api.patch("agentidentities", "stopped", {"spec": {"suspend": True}}, "backup")
    cluster.kubectl(
        "wait", "agentidentity", "stopped", "-n", "backup", "--for=condition=Suspended"
    )  # fmt: skip


@pytest.fixture
def clusters(tmp_path: Path) -> Iterator[tuple[Cluster, Cluster]]:
    """A cluster, and the one that comes after it, both with agentid and without an operator.

    Of this test's own in any case: nobody else's cluster is to be lost.
    """
    with ExitStack() as stack:
        made = []
        for name in ("old", "new"):
            chosen = DevCluster(tmp_path / name)
            stack.callback(chosen.down)
            made.append(chosen.up())
            install(made[-1])
        old, new = made
        yield old, new


@pytest.mark.integration
def test_restore(clusters: tuple[Cluster, Cluster], tmp_path: Path) -> None:
    """Promise 4: what was revoked is revoked in the cluster that follows a lost one.

    Then everything of `disaster.md` befalls the new one.
    """
    old, new = clusters
    here = tmp_path / "walk"
    here.mkdir()
    variables = {
        "PATH": f"{make_programs(tmp_path / 'programs', new)}:{os.environ['PATH']}",
        "KUBECONFIG": str(old.kubeconfig),
    }
    with ExitStack() as running:
        with operator(old, "old"):
            _filled(old)

        def move() -> None:
            variables["KUBECONFIG"] = str(new.kubeconfig)
            (here / "variables").unlink()

        def start() -> None:
            running.enter_context(operator(new, "new"))

        walk = Walk(here, variables, {"move to the new cluster": move, "start the operator": start})
        walk.through(_PAGES / "backup.md")
        (here / "variables").unlink()
        walk.through(_PAGES / "disaster.md")
