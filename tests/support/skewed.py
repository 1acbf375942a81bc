"""The operator as it ships, by a clock that is wrong.

Run as `python -m tests.support.skewed operator …`. The file that CLOCK_SKEW names holds by how many
seconds the wall clock is ahead; it may be written anew while the operator runs.
"""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from agentid.cli import main
from agentid.clock import SystemClock

if TYPE_CHECKING:
    from datetime import datetime

_SKEW = Path(os.environ["CLOCK_SKEW"])


def _set_wrong() -> None:
    right = SystemClock.now

    def now(self: SystemClock) -> datetime:
        return right(self) + timedelta(seconds=float(_SKEW.read_text() or 0))

    SystemClock.now = now  # type: ignore[method-assign] # the fault


if __name__ == "__main__":
    _set_wrong()
    main()
