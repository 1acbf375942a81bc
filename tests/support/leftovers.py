"""What a cluster of our own has running, and what it leaves behind."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["kill", "kill_everything", "leftovers", "processes"]


def processes(directory: Path) -> dict[str, int]:
    """The process id of each component that the cluster has on record."""
    return {
        path.stem: json.loads(path.read_text())["pid"]
        for path in (directory / "pids").glob("*.json")
    }


def kill_everything(directory: Path) -> None:
    """End all of it by SIGKILL, in no order, as a crash of the machine's owner would."""
    kill(*processes(directory).values())


def kill(*pids: int) -> None:
    """End processes by SIGKILL, and wait until the kernel has ended them."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):  # a sandbox takes others along
            os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while any(_runs(pid) for pid in pids):
        assert time.monotonic() < deadline, "SIGKILL did not end it"
        time.sleep(0.05)


def leftovers(directory: Path) -> list[str]:
    """Processes and mounts that still have to do with the cluster."""
    found = [f"process {pid}: {line}" for pid, line in _command_lines() if str(directory) in line]
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    return found + [f"mount: {line}" for line in mounts if str(directory) in line]


def _runs(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in {"Z", "X"}


def _command_lines() -> Iterator[tuple[int, str]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                yield int(entry.name), (entry / "cmdline").read_bytes().decode(errors="replace")
