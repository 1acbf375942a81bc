"""The kernel's figures of a process that is known: this one."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING

import pytest

from bench.processes import Meter, control_plane, usage
from e2e.errors import E2EError

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
    assert after.peak >= after.resident >= len(held)
    spent = os.times()
    assert abs(after.cpu - spent.user - spent.system) < 0.1


def test_a_meter_begins_at_zero() -> None:
    """CPU from before does not count; memory is as it is."""
    read = Meter({"me": os.getpid()}).read()["me"]
    assert 0 <= read.cpu < 0.1
    assert read.peak > 1_000_000


def test_a_process_that_is_gone_is_told() -> None:
    """By its id."""
    with pytest.raises(E2EError, match="process 4194305 cannot be measured"):
        usage(4194305)  # beyond the kernel's largest


def test_components_of_a_devcluster(tmp_path: Path) -> None:
    """By name; another cluster has none."""
    assert control_plane(tmp_path) == {}
    (tmp_path / "pids").mkdir()
    (tmp_path / "pids" / "etcd.json").write_text(json.dumps({"pid": 12, "started": "1"}))
    assert control_plane(tmp_path) == {"etcd": 12}
