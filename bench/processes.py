"""What processes have cost, as the kernel counts it."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from e2e.errors import E2EError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Meter", "Usage", "control_plane", "usage"]

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Usage:
    """Of one process.

    Attributes:
        cpu: Seconds of CPU, of user and system together.
        peak: Bytes of memory resident at most since the process began (VmHWM).
        resident: Bytes of memory resident now (VmRSS).
    """

    cpu: float
    peak: int
    resident: int


def usage(pid: int) -> Usage:
    """Read a process; proc(5) says what the fields mean.

    Raises:
        E2EError: There is none of this id.
    """
    process = Path("/proc") / str(pid)
    try:
        stat, status = (process / "stat").read_text(), (process / "status").read_text()
    except OSError as error:
        msg = f"process {pid} cannot be measured ({error.strerror}); does it still run?"
        raise E2EError(msg) from error
    # The name in parentheses may hold spaces; utime and stime are the 12th and 13th field after it.
    fields = stat.rpartition(")")[2].split()
    memory = {
        name: int(rest.split()[0]) * 1024
        for name, _, rest in (line.partition(":") for line in status.splitlines())
        if name in {"VmHWM", "VmRSS"}
    }
    cpu = (int(fields[11]) + int(fields[12])) / _TICKS
    return Usage(cpu, memory["VmHWM"], memory["VmRSS"])


class Meter:
    """Measures processes from the moment it is made.

    Args:
        processes: Their ids by the name they are reported under.
    """

    def __init__(self, processes: Mapping[str, int]) -> None:
        self._processes = processes
        self._began = {name: usage(pid).cpu for name, pid in processes.items()}

    def read(self) -> dict[str, Usage]:
        """CPU since the beginning, and memory now and at most."""
        now = {name: usage(pid) for name, pid in self._processes.items()}
        return {
            name: Usage(spent.cpu - self._began[name], spent.peak, spent.resident)
            for name, spent in now.items()
        }


def control_plane(directory: Path) -> dict[str, int]:
    """Process ids of a devcluster's components, by name; empty for other clusters."""
    return {
        path.stem: json.loads(path.read_text())["pid"]
        for path in sorted((directory / "pids").glob("*.json"))
    }
