"""An admin takes a segment off the ledger, or changes it: that has to be found, and said."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from itertools import groupby
from typing import TYPE_CHECKING, Final

from e2e.chaos.dice import dice
from e2e.chaos.faults import CONTROLLER
from e2e.chaos.promises import Broken

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from e2e.chaos.admin import Admin
    from e2e.chaos.history import History
    from e2e.chaos.replicas import Replica

__all__ = ["tamper", "verifies"]

_MAPS: Final = "/api/v1/namespaces/agentid-system/configmaps"
_ALARM: Final = "ledger_alarm_raised"
_SECONDS: Final = 150.0


async def tamper(
    admin: Admin, history: History, replicas: Sequence[Replica], seed: int, how: str
) -> tuple[frozenset[str], list[Broken]]:
    """Delete or alter a segment, restart the replicas, and look whether they say so.

    The policies let nobody but the controller do that, so an admin has to pretend to be it.

    Args:
        admin: Who does it.
        history: Which segments there are.
        replicas: Who have to find out.
        seed: Which segment it is to be.
        how: `delete` or `alter`.

    Returns:
        The serials whose records were touched, and what was not found.
    """
    # The end of a chain is missed by those who saw it alone: what a restart is to find lies before.
    ends = {max(chain) for _, chain in groupby(sorted(history.segments), _writer)}
    among = sorted(each for each, held in history.segments.items() if held and each not in ends)
    if not among:
        return frozenset(), []
    name = dice(seed, "segment").choice(among)
    touched = frozenset(serial for _, serial in history.segments[name])
    body = await admin.insist("GET", f"{_MAPS}/{name}")
    marks = {each: _alarms(each, name) for each in replicas}
    await admin.insist("DELETE", f"{_MAPS}/{name}", user=CONTROLLER)
    if how == "alter":
        text = body["data"]["segment.jsonl"]
        about = body["metadata"]
        body["metadata"] = {key: about[key] for key in ("name", "namespace", "labels")}
        body["data"]["segment.jsonl"] = text.replace('"notAfter":"20', '"notAfter":"21', 1)
        await admin.insist("POST", _MAPS, body, user=CONTROLLER)
    for each in replicas:
        each.kill()
        each.start()
    deadline = time.monotonic() + _SECONDS
    silent = [each.name for each in replicas]
    while silent and time.monotonic() < deadline:
        await asyncio.sleep(0.5)
        silent = [each.name for each in replicas if _alarms(each, name) <= marks[each]]
    said = f"the segment {name} was tampered with ({how}), and no alarm was raised"
    return touched, [Broken(4, each, said) for each in silent]


async def verifies(kubeconfig: Path) -> bool:
    """Whether `agentid ledger verify` finds the ledger whole."""
    command = (sys.executable, "-m", "agentid", "ledger", "verify")
    done = await asyncio.to_thread(
        subprocess.run, command, env={**os.environ, "KUBECONFIG": str(kubeconfig)},
        capture_output=True, check=False,
    )  # fmt: skip
    return done.returncode == 0


def _writer(segment: str) -> str:
    return segment.rpartition("-")[0]


def _alarms(replica: Replica, segment: str) -> int:
    lines = replica.log.read_text(encoding="utf-8").splitlines()
    return sum(_ALARM in line and segment in line for line in lines)
