"""Where results that take minutes are kept, for whoever works on this machine next."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["alone", "cache"]


def cache() -> Path:
    """The user's cache directory for agentid."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "agentid"


@contextlib.contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Let one process build while others wait for its result."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
