"""kwok beside a cluster: what it is told, that it is ended, and what is said when it ends."""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bench.fleet.kwok import kwok
from e2e import toolchain
from e2e.errors import E2EError
from e2e.providers import Cluster
from tests.support.api import until

if TYPE_CHECKING:
    from collections.abc import Callable

WAITS = "import json, sys, time\nprint(json.dumps(sys.argv[1:]), flush=True)\ntime.sleep(600)\n"
STUBBORN = f"import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n{WAITS}"
FAILS = "import sys\nsys.exit('Error: no stages found')\n"


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    """A cluster that is not asked for anything."""
    return Cluster("test", tmp_path, tmp_path / "kubeconfig", ("false",))


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Puts a program in the place of kwok."""

    def put(text: str) -> Path:
        path = tmp_path / "bin" / "kwok"
        path.parent.mkdir()
        path.write_text(f"#!{sys.executable}\n{text}", encoding="utf-8")
        path.chmod(0o700)
        monkeypatch.setattr(toolchain, "kwok", lambda: path)
        return path

    return put


def test_it_is_told_of_the_cluster_and_of_its_stages(
    cluster: Cluster, program: Callable[[str], Path]
) -> None:
    """Its log is the cluster's; at the end nothing of it runs."""
    path = program(WAITS)
    log = cluster.directory / "kwok.log"
    with kwok(cluster) as pid:
        until("it runs", lambda: log.exists() and log.read_text().endswith("\n"))
        assert Path(f"/proc/{pid}").exists()
    assert not Path(f"/proc/{pid}").exists()
    options = cluster.directory / "kwok-options.yaml"
    assert json.loads(log.read_text()) == [
        *("--kubeconfig", str(cluster.kubeconfig)),
        *("--config", str(path.with_name("stages.yaml")), "--config", str(options)),
    ]
    told = json.loads(options.read_text())
    assert told["kind"] == "KwokConfiguration"
    assert told["options"]["manageAllNodes"]
    numbers = {name: n for name, n in told["options"].items() if "arallelism" in name}
    assert len(numbers) == 4
    assert all(numbers.values())  # none at a time is nothing at all


def test_one_that_does_not_listen_is_ended_all_the_same(
    cluster: Cluster, program: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits for it for long."""
    program(STUBBORN)
    monkeypatch.setattr("bench.fleet.kwok._STOP", 0.2)
    log = cluster.directory / "kwok.log"
    with kwok(cluster) as pid:
        until("it runs", lambda: log.exists() and log.read_text().endswith("\n"))
    assert not Path(f"/proc/{pid}").exists()


def test_one_that_ended_is_the_reason(cluster: Cluster, program: Callable[[str], Path]) -> None:
    """Whatever else failed meanwhile, failed because of that."""
    program(FAILS)
    log = cluster.directory / "kwok.log"

    def run() -> None:
        with kwok(cluster) as pid:
            until("it ended", lambda: log.read_text() and _is_over(pid))
            msg = "revocations: nothing has happened for 120 s"
            raise E2EError(msg)

    with pytest.raises(E2EError, match=r"kwok ended by itself with 1:\nError: no stages found"):
        run()


def _is_over(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return False


def test_stages_come_from_the_module_that_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of kwokctl, one document each; descriptions of folders are none."""
    module = tmp_path / "module"
    for part in ("node/fast", "node/heartbeat-with-lease", "pod/fast", "pod/chaos"):
        folder = module / "kustomize" / "stage" / part
        (folder / "testdata").mkdir(parents=True)
        for name in ("stage", "kustomization", "testdata/input"):
            (folder / f"{name}.yaml").write_text(f"of: {part} {name}\n", encoding="utf-8")
    go = tmp_path / "go"
    answer = json.dumps({"Path": "sigs.k8s.io/kwok", "Dir": str(module)})
    go.write_text(f"#!/bin/sh\necho '{answer}'\n", encoding="utf-8")
    go.chmod(0o700)
    built: list[str] = []
    monkeypatch.setattr(toolchain, "_build_tool", lambda *given: built.append(given[1]))
    toolchain._build_kwok(str(go), tmp_path / "kwok")
    assert (tmp_path / "stages.yaml").read_text() == (
        "of: node/fast stage\n---\nof: node/heartbeat-with-lease stage\n---\nof: pod/fast stage\n"
    )
    assert built == ["sigs.k8s.io/kwok/cmd/kwok"]


def test_a_module_with_other_stages_is_refused(tmp_path: Path) -> None:
    """Nodes that nothing happens to would never be Ready, and nobody would say why."""
    go = tmp_path / "go"
    go.write_text(f'#!/bin/sh\necho \'{{"Dir": "{tmp_path}"}}\'\n', encoding="utf-8")
    go.chmod(0o700)
    with pytest.raises(E2EError, match="the module of kwok has other stages than node/fast"):
        toolchain._build_kwok(str(go), tmp_path / "kwok")
    assert not os.path.lexists(tmp_path / "kwok")
