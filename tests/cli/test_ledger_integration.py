"""`agentid ledger` as people run it: on a real cluster, and on a file of it afterwards."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.controller.conftest import api, make_class, running
from tests.support.api import until
from tests.support.manifests import identity

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from e2e.providers import Cluster
    from tests.support.api import Api

__all__ = ["api", "make_class", "running"]

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("running")]


def ledger(
    cluster: Cluster | None, *arguments: str, code: int = 0
) -> subprocess.CompletedProcess[str]:
    """Run `agentid ledger`, with access to a cluster or to none."""
    kubeconfig = "/nowhere" if cluster is None else str(cluster.kubeconfig)
    done = subprocess.run(
        [sys.executable, "-m", "agentid", "ledger", *arguments],
        env={**os.environ, "KUBECONFIG": kubeconfig, "COLUMNS": "200"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    return done


def placeless(shown: str) -> list[str]:
    """All that is told of a certificate but its segments, which may be merged at any moment."""
    return [line for line in shown.splitlines() if not line.startswith("on record in")]


@pytest.mark.usefixtures("installed")
def test_the_inventory_of_a_cluster_and_of_its_export(
    api: Api,
    namespace: str,
    make_class: Callable[..., str],
    tmp_path: Path,
) -> None:
    """Listed, shown, exported and verified; the file alone says what the cluster did."""
    class_name = make_class()
    for name in ("reader", "writer", "gone"):
        api.create("agentidentities", identity(name, class_name), namespace)
    for name in ("reader", "writer", "gone"):
        api.until_ready(namespace, name)
    serials = {name: api.serial(namespace, name) for name in ("reader", "writer", "gone")}
    api.delete("agentidentities", "gone", namespace)
    until("revocation", lambda: serials["gone"] in api.ledger().revoked)

    options = ("--identity", f"{namespace}/", "-o", "json", "--sort", "identity")
    listed: list[dict[str, Any]] = json.loads(ledger(api.cluster, "list", *options).stdout)
    assert [(one["certificate"]["name"], one["serial"], one["state"]) for one in listed] == [
        ("gone", serials["gone"], "revoked"),
        ("reader", serials["reader"], "live"),
        ("writer", serials["writer"], "live"),
    ]
    table = ledger(api.cluster, "list", "--class", class_name, "--state", "live").stdout
    assert len(table.splitlines()) == 3

    file = tmp_path / "ledger.jsonl"

    def exported() -> bool:
        """Whether nothing was merged on the ledger between two looks."""
        nonlocal listed
        file.unlink(missing_ok=True)
        done = ledger(api.cluster, "export", "--output", str(file))
        assert done.stdout == ""
        assert "keep this to know the file by" in done.stderr
        assert [path.name for path in tmp_path.iterdir()] == ["ledger.jsonl"]
        listed = json.loads(ledger(api.cluster, "list", *options).stdout)
        again = ledger(api.cluster, "export").stdout.splitlines()[1:-1]
        return again == file.read_text().splitlines()[1:-1]

    until("two exports alike", exported, 60)
    assert "The ledger is whole" in ledger(None, "verify", str(file)).stdout
    assert json.loads(ledger(None, "list", "--from", str(file), *options).stdout) == listed
    shown = ledger(None, "show", "--from", str(file), serials["gone"]).stdout
    assert f"who                agent gone in namespace {namespace}" in shown
    assert "revoked for        cessationOfOperation" in shown
    assert placeless(ledger(api.cluster, "show", serials["gone"]).stdout) == placeless(shown)
    missing = ledger(api.cluster, "show", "ff" * 16, code=1)
    assert "No serial on record begins with" in missing.stderr

    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(bytes(data))
    assert "Altered: " in ledger(None, "verify", str(file), code=1).stderr
