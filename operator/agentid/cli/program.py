"""What this program is called: `agentid`, or `kubectl agentid` when kubectl runs it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

__all__ = ["program_name"]

_PLUGIN: Final = "kubectl-agentid"


def program_name(command: str | None = None) -> str:
    """The name that a person typed.

    Args:
        command: How the process was started; by default what the interpreter says.
    """
    called = Path(sys.argv[0] if command is None else command).name
    return "kubectl agentid" if called.startswith(_PLUGIN) else "agentid"
