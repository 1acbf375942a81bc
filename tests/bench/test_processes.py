"""The kernel's figures of a process that is known: this one."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING

from bench.processes import control_plane, usage

if TYPE_CHECKING:
    from pathlib import Path


def test_cpu_and_memory_of_this_process() -> None:
    """They agree with what the process itself is told, and grow with what it does."""
    before = usage(os.getpid())
    held = bytearray(os.urandom(1)) * 50_000_000
    end = time.process_time() + 0.1
    while time.process_time() < end:
        pass
    after = usage(os.getpid())
    assert after.cpu - before.cpu >= 0.08
    assert after.peak >= len(held)
    spent = os.times()
    assert abs(after.cpu - spent.user - spent.system) < 0.1


def test_components_of_a_devcluster(tmp_path: Path) -> None:
    """By name; another cluster has none."""
    assert control_plane(tmp_path) == {}
    (tmp_path / "pids").mkdir()
    (tmp_path / "pids" / "etcd.json").write_text(json.dumps({"pid": 12, "started": "1"}))
    assert control_plane(tmp_path) == {"etcd": 12}
