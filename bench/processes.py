"""What processes have cost so far, as the kernel counts it."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Usage", "control_plane", "usage"]

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Usage:
    """Of one process.

    Attributes:
        cpu: Seconds of CPU since its start, of user and system together.
        peak: Bytes of memory resident at most (VmHWM).
    """

    cpu: float
    peak: int


def usage(pid: int) -> Usage:
    """Read a process; proc(5) says what the fields mean."""
    process = Path("/proc") / str(pid)
    # The name in parentheses may hold spaces; utime and stime are the 12th and 13th field after it.
    fields = (process / "stat").read_text().rpartition(")")[2].split()
    peak = next(
        int(line.split()[1]) * 1024
        for line in (process / "status").read_text().splitlines()
        if line.startswith("VmHWM:")
    )
    return Usage((int(fields[11]) + int(fields[12])) / _TICKS, peak)


def control_plane(directory: Path) -> dict[str, int]:
    """Process ids of a devcluster's components, by name; empty for other clusters."""
    return {
        path.stem: json.loads(path.read_text())["pid"]
        for path in sorted((directory / "pids").glob("*.json"))
    }
